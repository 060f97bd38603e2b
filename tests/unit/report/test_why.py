"""The page's part on causes, and what Markdown and the terminal say of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.unit.report.comparisons import run
from tests.unit.report.page_eyes import fetched, foreign_code, parsed
from tests.unit.report_schedule.schedules import crowd, hostile, lease_ends, lost_update, paid_twice, tapped_again

from oversold import schedule_file
from oversold.ci import markdown as pull_request
from oversold.report import pages
from oversold.report.page import page
from oversold.report.schedule import story
from oversold.schedule import Schedule

CANARY = {"strategy": "none", "oversold": True, "runs": [{"oversubscription": 0.2}]}


def keep(folder: Path, *schedules: Schedule) -> None:
    """Put schedules where a run puts them."""
    for place, schedule in enumerate(schedules):
        below = folder / "explain" / f"design{place}"
        below.mkdir(parents=True)
        schedule_file.write(schedule, below / "replay.jsonl")


def html_of(folder: Path, *runs: dict[str, Any], **document: Any) -> str:
    """Return the page of some runs."""
    return page.write(folder, {"runs": list(runs), "canary": CANARY, **document}, {})[0].read_text("utf-8")


def why_of(html: str) -> Any:
    """Return the section on causes."""
    (section,) = parsed(html).find("section", id="why")
    return section


@pytest.mark.parametrize(
    ("schedule", "title"),
    [
        (lost_update(), "Why it oversells: the shortest schedule"),
        (tapped_again(), "Why it undersells: the shortest schedule"),
        (paid_twice(), "Why it pays twice: the shortest schedule"),
        (replace(lost_update(), outcome="DEADLOCK"), "Why it oversells: the shortest schedule"),
    ],
)
def test_a_design_s_schedule_is_on_the_page(schedule: Schedule, title: str, tmp_path: Path) -> None:
    """Its message, sentence, picture, number of steps, the command that replays it, and the diagram's text."""
    keep(tmp_path, schedule)
    html = html_of(tmp_path, run(schedule.strategy, over=0.1))
    section = why_of(html)
    assert section.find("h2")[0].text == title
    assert section.find("h3")[0].text == story.headline(schedule)
    assert story.sentence(schedule) in " ".join(section.text.split())
    assert f"{len(schedule.steps)} steps, {'no fault' if not schedule.faults else '1 fault'}" in section.text
    assert len(section.find("svg")) == 1
    assert f"oversold replay {tmp_path}/explain/design0/replay.jsonl" in section.text
    assert "sequenceDiagram" in section.text
    assert '<a href="#why">' in html
    assert ".schedule .f-ink" in html


def test_a_page_without_schedules_says_nothing_of_them(tmp_path: Path) -> None:
    """No empty section, no link that leads nowhere, no colours for nothing."""
    html = html_of(tmp_path, run("none", over=0.1))
    assert parsed(html).find("section", id="why") == []
    assert '"#why"' not in html
    assert ".schedule .f-ink" not in html


def test_several_come_in_the_order_of_the_designs(tmp_path: Path) -> None:
    """The best design first, whatever the folders are called; the first is open, the others can be opened."""
    keep(tmp_path, lost_update(), replace(crowd(), strategy="b"), lease_ends())
    html = html_of(tmp_path, run("redis-lock", over=0.3), run("b", over=0.1), run("a"))
    section = why_of(html)
    assert section.find("h2")[0].text == "Why they oversell: the shortest schedules"
    heads = [each.text.split()[0] for each in section.find("h3")]
    assert heads == ["b", "redis-lock", "none"]
    keep(tmp_path / "mixed", lost_update(), tapped_again())
    mixed = why_of(html_of(tmp_path / "mixed", run("none", over=0.1)))
    assert mixed.find("h2")[0].text == "Why they fail: the shortest schedules"


@pytest.mark.parametrize("damage", ["", "damaged", "{}\n"])
def test_a_damaged_file_is_one_line(damage: str, tmp_path: Path) -> None:
    """On the page and in the terminal, and the other schedules are shown."""
    keep(tmp_path, lost_update(), tapped_again())
    (tmp_path / "explain/design1/replay.jsonl").write_text(damage)
    runs = [run("none", over=0.1) | {"folder": "none"}]
    section = why_of(html_of(tmp_path, *runs))
    (note,) = section.find("p", class_="warning")
    assert "No schedule of design1 is shown" in note.text
    assert len(section.find("svg")) == 1
    assert "no schedule of design1 is shown" in printed({"runs": runs, "canary": CANARY}, tmp_path)
    (tmp_path / "explain/design0/replay.jsonl").unlink()
    assert why_of(html_of(tmp_path, *runs)).find("svg") == []


def test_several_folders_show_the_schedules_of_each(tmp_path: Path) -> None:
    """Side by side each schedule carries its source, and the page's own folder has none."""
    sources = []
    for word in ("before", "after"):
        keep(tmp_path / word, lost_update())
        sources.append({"source": word, "folder": str(tmp_path / word), "recorded": None})
    runs = [run("none", over=0.1, source=word, folder=str(tmp_path / word)) for word in ("before", "after")]
    out = tmp_path / "out"
    html = html_of(out, *runs, sources=sources)
    labels = [each.attributes["aria-label"] for each in why_of(html).find("div", role="region")]
    assert sorted(labels) == ["Schedule: none · after", "Schedule: none · before"]
    assert "none · after" in why_of(html).find("h3")[0].text + why_of(html).find("h3")[1].text


def test_no_text_of_a_schedule_becomes_code(tmp_path: Path) -> None:
    """Names, commands and replies that would like to be: the page runs its own script and fetches nothing."""
    keep(tmp_path, hostile())
    html = html_of(tmp_path, run("none", over=0.1))
    assert foreign_code(html) == []
    assert fetched(html) == []


def printed(document: dict[str, Any], folder: Path) -> str:
    """Return what the terminal shows of a comparison."""
    console = Console(width=100, force_terminal=False)
    with console.capture() as capture:
        pages.print_comparison(console, document, folder, [])
    return capture.get()


EXPLAIN = "oversold explore check-then-decr --bidders 2 --capacity-bids 1 --faults 0 --budget 30s"
CAUSE = {"check": "oversubscription", "sentence": "Bidder 1 read 100.", "steps": 6, "faults": 0, "folder": "x"}
FAILED = run("check-then-decr", over=0.1, explain=EXPLAIN, cause=CAUSE, command="oversold run x")


def test_the_terminal_ends_with_the_command_that_explains(tmp_path: Path) -> None:
    """Each command once, after what is known; of the canary, and where there is none, nothing."""
    passed, unknown = run("redis-lua", explain=None), run("none", over=0.2, explain="oversold explore none")
    runs = [each | {"folder": "x"} for each in (passed, FAILED, FAILED, unknown)]
    lines = printed({"runs": runs, "canary": CANARY}, tmp_path).splitlines()
    assert lines[-2:] == ["cause: check-then-decr: Bidder 1 read 100.", f"why: {EXPLAIN}"]
    assert sum("why: " in line for line in lines) == 1
    other = FAILED | {"cause": None, "folder": "x"}
    assert "cause: " not in printed({"runs": [other], "canary": CANARY}, tmp_path)


def test_pull_requests_are_told_the_cause(tmp_path: Path) -> None:
    """Below each design that failed, in report.md and in what --markdown writes, for one run and for several."""
    document = {"schema": "oversold/compare/1", "runs": [run("redis-lua"), FAILED], "canary": CANARY}
    (report,) = page.write(tmp_path, document, {})[1:]
    assert "- **cause**: Bidder 1 read 100." in report.read_text("utf-8")
    assert EXPLAIN in report.read_text("utf-8")
    for told in (document, FAILED):
        assert f"- **cause**: Bidder 1 read 100. `{EXPLAIN}`" in pull_request.text(told)
    assert "**cause**" not in pull_request.text({**document, "runs": [run("redis-lua"), run("b", over=0.1)]})
