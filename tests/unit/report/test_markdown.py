"""The report as Markdown: short enough for a pull request, and no text of the data becomes markup."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.report.comparisons import comparison, run

from oversold.report.page import markdown, page
from oversold.report.page.markdown import LIMIT_BYTES, code, plain

REPORTS = Path(__file__).parents[3] / "fixtures" / "reports"


def text_of(folder: Path, runs: list[dict[str, Any]], **document: Any) -> str:
    """Return the Markdown of some runs."""
    return page.write(folder, {"runs": runs, **document}, {})[1].read_text("utf-8")


@pytest.mark.parametrize("name", sorted(path.parent.name for path in REPORTS.glob("*/compare.json")))
def test_a_recorded_comparison_reads_as_it_did(name: str, tmp_path: Path) -> None:
    """The report of a real comparison is the one that was looked at.

    After a wanted change write it anew and look at it:
    python -c "from oversold.report.page import page; import json; from pathlib import Path;
    p = Path('fixtures/reports/NAME'); page.write(p, json.loads((p / 'compare.json').read_text()), {})"
    (which also writes report.html there: that is not kept).
    """
    recorded = json.loads((REPORTS / name / "compare.json").read_text("utf-8"))
    _, path = page.write(tmp_path, recorded, {})
    assert path.read_text("utf-8") == (REPORTS / name / "report.md").read_text("utf-8")


def test_the_recorded_comparisons_are_there() -> None:
    """The test above compares something, of bids and of payouts."""
    assert {path.parent.name for path in REPORTS.glob("*/compare.json")} == {"bid-burst", "payout-overlap"}


@pytest.mark.parametrize(
    "reason", ["short.", "A very long story, told at length. " * 200, "`" * 5000, "满" * 3000]
)
def test_it_stays_below_what_a_pull_request_takes(reason: str, tmp_path: Path) -> None:
    """39 strategies under four loads with three seeds fit, however much they have to say."""
    runs = comparison(39, loads=4, seeds=3)
    for each in runs:
        each["strategy"] = f"{'deep/' * 60}{each['strategy']}.py:Class"
        each["verdict"], each["reasons"], each["command"] = "fail", [reason] * 5, f"oversold run {reason}"
    text = text_of(tmp_path, runs)
    assert len(text.encode()) < LIMIT_BYTES
    assert text.count(".py:Class") >= 39
    assert "report.html" in text


def test_short_reasons_are_kept_whole_and_long_ones_end_in_an_ellipsis(tmp_path: Path) -> None:
    """What fits is said in full; what does not says that something is missing."""
    short, long = "3 holds were lost.", "lost " * 500
    whole = text_of(tmp_path, [run("a", verdict="fail", reasons=[short])])
    assert short in whole
    cut = text_of(tmp_path, [run("a", verdict="fail", reasons=[long])])
    assert long not in cut
    assert "lost…" in cut


def unescaped(line: str) -> int:
    """Return how many columns a table's line has for GitHub: bars that no backslash takes away."""
    return line.replace("\\|", "").count("|")


@pytest.mark.parametrize(
    "name", ["a|b", "`a`", "a`|`b", "<details>", "[x](http://e.example)", "@someone", "a\nb", "**a**"]
)
def test_a_name_breaks_no_table(name: str, tmp_path: Path) -> None:
    """Whatever a strategy is called, its row has as many columns as the head, and stands on one line."""
    text = text_of(tmp_path, [run(name), run("b", over=0.1)])
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len({unescaped(line) for line in table}) == 1
    assert len(table) == 4
    assert unescaped("| a|b |") != unescaped("| a\\|b |")  # the planted violation: a name as it is


def test_text_is_only_text() -> None:
    """Formatting, HTML and mentions lose their meaning; the same text unescaped is the planted violation."""
    hostile = "<img src=x> **b** [l](u) @who #1 `c` ~~s~~ a_b_c $x$"
    said = plain(hostile)
    assert said != hostile
    for mark in ("<", ">", "*", "[", "]", "#", "`", "~", "_", "$"):
        assert said.count(mark) == said.count(f"\\{mark}")
    assert "@w" not in said
    assert code("a`b``c") == "``` a`b``c ```"


def test_the_fence_of_a_command_is_longer_than_any_in_it(tmp_path: Path) -> None:
    """A command with backticks cannot end its block."""
    text = text_of(tmp_path, [run("a", over=0.1, command="oversold run ```` x")])
    assert "`````sh\noversold run ```` x\n`````" in text


def test_the_worst_load_of_a_design_gives_its_reasons(tmp_path: Path) -> None:
    """A design that fails under another load than the largest is shown as failing, with where and why."""
    runs = [run("a", users=100, verdict="fail", reasons=["It broke."]), run("a", users=1000), run("b", users=1000)]
    text = text_of(tmp_path, [*runs, run("b", users=100)])
    assert "**fail** (at 100 users)" in text
    assert "<details><summary><code>a</code>: fail, 100 users</summary>" in text
    assert "It broke." in text


def test_nothing_at_all_is_a_report_too(tmp_path: Path) -> None:
    """An interrupted comparison without a run says so."""
    text = text_of(tmp_path, [], interrupted=True)
    assert "Nothing was run" in text
    assert "Interrupted" in text
    assert markdown.LIMIT_BYTES < 65_536
