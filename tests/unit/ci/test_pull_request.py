"""What a pull request shows: Markdown, GitHub's step summary and its annotations."""

from __future__ import annotations

import io
import re

import pytest
from tests.unit.ci.recorded import HOSTILE, broken, changed, comparison, several, single

from oversold.ci import github, markdown, news
from oversold.ci.baseline import caveats, compared
from oversold.ci.news import Item
from oversold.ci.thresholds import judged_rows, parse
from oversold.errors import UsageError
from oversold.report.page.markdown import LIMIT_BYTES

P99 = "latency_ms.response.p99"


def judged(document, *pairs, before=None):
    """Return a document with thresholds and, if given, a baseline."""
    own = {**document, "thresholds": judged_rows(document, parse(pairs, "max"))}
    if before is not None:
        own["baseline"] = {"rows": compared(document, before), "caveats": caveats(document, before)}
    return own


def unescaped(text):
    """Return the characters of Markdown that could still mean something, outside code."""
    bare = re.sub(r"(?<![\\`])(`+)(?!`).*?(?<!`)\1(?!`)", "", text)
    bare = re.sub(r"<code>.*?</code>|</?(details|summary)>", "", bare)
    return re.findall(r"(?<!\\)[<>]|@(?!\u200b)", bare)


def test_a_run_is_its_verdict_and_its_findings():
    """The verdict is the first line, what did not pass the first row, the command the last."""
    run = broken(single(), "lost_order")
    lines = markdown.text(run).splitlines()
    assert lines[0] == "## ✗ oversold: fail"
    assert lines[2] == "redis-lua broke its promise: lost order."
    rows = [line for line in lines if line.startswith("| ")]
    assert rows[2] == "| ✗ | lost order | **fail** | The check lost\\_order says so. |"
    assert len(rows) == 2 + len(run["findings"])
    assert lines[-2:] == [run["command"], "```"]
    assert markdown.text(single()).startswith("## ✓ oversold: pass\n")


def test_a_comparison_is_a_row_a_design():
    """The canary that oversells is no failure; who failed is told why, with its command."""
    document = several(single(), broken(single("row-lock")), single("none"))
    text = markdown.text(document)
    assert text.startswith("## ✗ oversold: fail\n")
    assert "| `none` | 300 users | fail (as it must) | 20.6 % |" in text
    assert "| ✗ | `row-lock` | 300 users | **fail** |" in text
    assert "<code>row-lock</code>: fail, 300 users</summary>" in text
    assert "- **oversubscription**: The check oversubscription says so." in text
    assert document["runs"][1]["command"] in text
    assert document["runs"][0]["command"] not in text


def test_a_missed_threshold_is_no_clean_pass():
    """It is told in the first line, and those that are missed come first in their table."""
    document = judged(changed(single(), P99, 9e4), "oversubscription=0", "p99_ms=200", before=single())
    text = markdown.text(document)
    assert text.startswith(
        "## ✗ oversold: pass, but 1 of 2 thresholds missed and 1 number worse than the baseline\n"
    )
    assert text.index("`--max p99_ms=200`") < text.index("`--max oversubscription=0`")
    assert "| ✗ | redis-lua, 300 users | p99\\_ms | 353.4 | 90,000 | Worse by 89,647" in text
    assert "numbers compared did not get worse." in text
    assert markdown.text(judged(broken(single()), "p99_ms=1")).startswith("## ✗ oversold: fail; 1 of 1 thresholds")


def test_nothing_worse_and_nothing_compared_read_differently():
    """Silence would look like the one or the other."""
    same = markdown.text(judged(single(), before=single()))
    assert "Nothing got worse beyond the noise." in same
    other = markdown.text(judged(single(), before=changed(single(), "load.users", 5)))
    assert "- Nothing could be compared: make a new baseline." in other
    assert "beyond the noise" not in other
    assert "baseline" not in markdown.text(single())


def test_text_from_outside_cannot_format():
    """Pipes, HTML, mentions and fences of names, details and commands stay what they are."""
    run = {**broken(single()), "strategy": HOSTILE, "command": f"run ``` {HOSTILE}"}
    run["findings"] = [{"check": HOSTILE, "verdict": "fail", "detail": HOSTILE}]
    run["reasons"] = [HOSTILE]
    for document in (run, several(run), {**several(), "failed": [{"strategy": HOSTILE, "why": HOSTILE}]}):
        text = markdown.text(document)
        body = text.partition("### Again")[0]
        assert unescaped(body) == []
        assert not re.search(r"^::", text, re.MULTILINE)
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in body.splitlines() if line.startswith("|")}
        assert len(widths) <= 1
    assert unescaped("<b> @all") == ["<", ">", "@"]


def test_the_text_fits_a_pull_request():
    """However many designs there are and however much they say, less than GitHub takes; the head stays."""
    noisy = {**broken(single()), "reasons": ["x" * 5000] * 30}
    many = several(*({**noisy, "strategy": f"design-{i}-{'y' * 200}"} for i in range(150)))
    text = markdown.text(judged(many, "p99_ms=1", "max_ms=1", "p50_ms=1", before=comparison()))
    assert len(text.encode()) < LIMIT_BYTES
    assert text.startswith("## ✗ oversold: fail; 450 of 450 thresholds missed")
    assert "and 90 more" in text
    small = markdown.text(comparison())
    assert "more" not in small.partition("### Again")[0].splitlines()[-1]
    assert "too long" not in small


def test_a_comparison_without_runs_says_so():
    """Interrupted before the first run."""
    text = markdown.text({**several(), "interrupted": True})
    assert text.startswith("## ? oversold: inconclusive\n\nNothing was run.\n\n**Interrupted:**")


def test_news_are_errors_first():
    """Broken promises, missed thresholds and what got worse are errors; doubts and caveats warnings."""
    document = judged(
        several(broken(single("row-lock"), "overlap", "inconclusive"), broken(single()), single("none")),
        "p99_ms=1",
    )
    document |= {
        "failed": [{"strategy": "version", "users": 5, "seed": 1, "why": "no disk"}],
        "baseline": {"rows": [], "caveats": ["CPUs was 2, is 4."]},
    }
    found = news.items(document)
    assert [item.level for item in found] == ["error"] * 4 + ["warning"] * 2
    assert {item.title for item in found} == {
        "bid-burst, redis-lua, 300 users: oversubscription",
        "bid-burst, row-lock, 300 users: overlap",
        "version, 5 users, seed 1: not run",
        "redis-lua, 300 users: threshold missed",
        "row-lock, 300 users: threshold missed",
        "baseline",
    }
    assert single()["command"] in found[0].text
    assert news.items(single()) == []
    assert news.items(several(single(), single("none"))) == []
    assert {item.title for item in news.items(single("none"))} >= {"bid-burst, none: oversubscription"}


def test_the_terminal_is_told_of_thresholds_and_baseline():
    """How many held, and a line for each that did not; nothing where nothing was asked for."""
    document = judged(changed(single(), P99, 9e4), "p99_ms=100", "oversubscription=0", before=single())
    lines = news.lines(document)
    assert lines[0] == "1 of 2 thresholds held"
    assert lines[1] == "redis-lua, 300 users: threshold missed: p99_ms 90,000 is above 100."
    assert lines[2].startswith(
        "redis-lua, 300 users: worse than the baseline: p99_ms was 353.4, is 90,000. Worse by"
    )
    assert news.lines(broken(single())) == []


def test_annotations_are_escaped_by_githubs_rules():
    """Percent signs and line ends everywhere, colons and commas in a title: a text cannot be a second command."""
    line = github.annotation(Item("warning", "a,b: 5 %\n", "50 %: a,b\r\n::error::no\x1b[31m"))
    assert line == "::warning title=a%2Cb%3A 5 %25%0A::50 %25: a,b%0D%0A::error::no [31m"
    assert github.annotation(Item("error", HOSTILE, HOSTILE)).count("\n") == 0


@pytest.mark.parametrize(("count", "shown"), [(0, 0), (1, 1), (10, 10), (11, 10), (500, 10)])
def test_there_are_at_most_ten_annotations(count, shown):
    """Beyond that the last one says how many there are besides."""
    stream = io.StringIO()
    github.annotate([Item("error", str(i), "text") for i in range(count)], stream)
    lines = stream.getvalue().splitlines()
    assert len(lines) == shown
    assert (f"and {count - 9} more" in (lines or [""])[-1]) == (count > 10)


def test_the_summary_of_a_step_is_appended_to(tmp_path):
    """What an earlier step wrote stays; without the variable nothing is written; a folder is one line."""
    path = tmp_path / "summary.md"
    path.write_text("before\n")
    github.summarise("## new \ud800 中", {"GITHUB_STEP_SUMMARY": str(path)})
    assert path.read_text(encoding="utf-8") == "before\n## new ? 中\n"
    github.summarise("x", {"GITHUB_STEP_SUMMARY": ""})
    github.summarise("x", {})
    with pytest.raises(UsageError, match=r"GITHUB_STEP_SUMMARY=.* cannot be written \(Is a directory\)"):
        github.summarise("x", {"GITHUB_STEP_SUMMARY": str(tmp_path)})
