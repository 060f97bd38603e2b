"""The page's part on causes: each design's shortest schedule as a picture, in a sentence, and to be replayed."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oversold.report import explained
from oversold.report.explained import Explained
from oversold.report.page.entries import Table
from oversold.report.schedule import colours, mermaid, story, svg
from oversold.report.schedule.cards import lanes
from oversold.report.tables import printable

_TITLES = {  # of one design, of several
    "oversubscription": ("Why it oversells", "Why they oversell"),
    "undersubscription": ("Why it undersells", "Why they undersell"),
    "overpaid": ("Why it pays twice", "Why they pay twice"),
}
_SMALLEST = 0.75  # of its size, at which nine pixels are left of its type
_OTHER = ("Why it fails", "Why they fail")


@dataclass(frozen=True)
class Why:
    """One design's cause. Its picture is drawn no narrower than `least_px` pixels: below that it scrolls."""

    name: str
    strategy: str
    headline: str
    sentence: str
    count: str
    picture: str
    least_px: int
    command: str
    mermaid: str


@dataclass(frozen=True)
class Causes:
    """The causes of a page, in the order of its designs, under one title; a line for each that cannot be shown."""

    title: str
    whys: tuple[Why, ...]
    problems: tuple[str, ...]


def causes(folder: Path, document: Mapping[str, Any], table: Table) -> Causes:
    """Return what is known of the causes in a folder of a run, of a comparison, or of several side by side."""
    found, problems = explained.beside(folder, document)
    order = {name: place for place, name in enumerate(table.designs)}
    found.sort(key=lambda each: order.get(each.name, len(order)))
    return Causes(_title(found), tuple(map(_why, found)), tuple(problems))


def dark_rules(root: str) -> str:
    """Return the CSS that repaints the pictures below a selector on dark paper."""
    return colours.dark_rules(root)


def _title(found: Sequence[Explained]) -> str:
    checks = {each.schedule.broken.check for each in found if each.schedule.broken}
    one, several = _TITLES.get(checks.pop(), _OTHER) if len(checks) == 1 else _OTHER
    return f"{several}: the shortest schedules" if len(found) > 1 else f"{one}: the shortest schedule"


def _why(found: Explained) -> Why:
    schedule = found.schedule
    steps, faults = len(schedule.steps), schedule.faults
    return Why(
        found.name,
        printable(schedule.strategy),
        story.headline(schedule),
        story.sentence(schedule),
        f"{steps} step{'s' * (steps != 1)}, {f'{faults} fault' + 's' * (faults != 1) if faults else 'no fault'}",
        svg.drawn(schedule),
        round(_SMALLEST * lanes(schedule).right),
        shlex.join(["oversold", "replay", str(found.path)]),
        mermaid.drawn(schedule),
    )
