"""The Mermaid diagram of a schedule: who speaks to which store, with notes, and no text that breaks it."""

import re

import pytest
from tests.unit.report_schedule import schedules

from oversold.report.schedule.mermaid import drawn, escaped
from oversold.schedule import Schedule

LINE = re.compile(
    r"participant [as]\d+ as [^;:]+|Note over [as]\d+(,[as]\d+)?: .+|[as]\d+(->>|-->>|-x|--x)[as]\d+: .+"
    r"|rect rgb\(\d+, \d+, \d+\)|end"
)


def broken_lines(text: str) -> list[str]:
    """Return the lines that Mermaid would read otherwise than meant."""
    head, *lines = text.splitlines()
    found = [] if head == "sequenceDiagram" else [head]
    for line in (each.strip() for each in lines):
        bare = re.sub(r"#\d+;", "", line)
        if not LINE.fullmatch(bare) or ";" in bare or "#" in bare or "%%" in bare or bare.count(":") > 1:
            found.append(line)
    depth = [line.strip().split()[0] for line in lines if line.strip().split()[0] in {"rect", "end"}]
    return found if depth == ["rect", "end"] * (len(depth) // 2) else [*found, "rect without end"]


@pytest.mark.parametrize("made", [make() for make in schedules.ALL], ids=[make.__name__ for make in schedules.ALL])
def test_every_schedule_becomes_a_diagram_that_can_be_parsed(made: Schedule) -> None:
    """Each line is a statement that Mermaid knows, whatever stands in commands and replies."""
    assert broken_lines(drawn(made)) == []


@pytest.mark.parametrize(
    "planted", ["a1->>s1: a; b", "a1->>s1: #9", "a1->>s1: %% gone", "a1 s1", "rect rgb(1, 2, 3)"]
)
def test_a_line_that_breaks_the_diagram_is_noticed(planted: str) -> None:
    """The check above does not let pass what it is there for."""
    assert broken_lines(drawn(schedules.lost_update()) + planted + "\n")


def test_actors_speak_to_stores() -> None:
    """Participants come first; a step is a message and its reply, and a read that was overtaken has a note."""
    lines = [line.strip() for line in drawn(schedules.lost_update()).splitlines()]
    assert lines[1:5] == [
        "participant a1 as bidder 1",
        "participant a2 as bidder 2",
        "participant s1 as redis",
        "participant s2 as ledger",
    ]
    assert lines[5:7] == ["a1->>s1: 1. GET left", "s1-->>a1: 100"]
    assert "Note over a2: ! stale#58; changed at 3" in lines
    assert lines[-2:] == ["Note over a2: ✗ oversells", "end"]


def test_faults_are_drawn() -> None:
    """A lost reply ends in a cross, a channel is a participant of its own, and time is a note over the store."""
    text = drawn(schedules.paid_twice())
    assert "participant s2 as channel A" in text
    assert "s2--xa1: no reply" in text
    assert "Note over s1: 3. lock expires" in drawn(schedules.lease_ends())
    lost = schedules.schedule([schedules.step(1, "bidder 1", "GET a", reads="redis/a", choice="lost_request")])
    assert "a1-xs1: 1. GET a" in drawn(lost)


def test_text_is_shown_as_it_is() -> None:
    """What Mermaid would read is written as entities; letters of any script stay."""
    assert escaped('满标; "a" #1\n<b>') == "满标#59; #34;a#34; #35;1 #60;b#62;"
