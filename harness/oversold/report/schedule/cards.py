"""The cards of a drawn schedule: how wide a lane is, what a step's card says, and where it lies."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from oversold.report.schedule import faults
from oversold.report.schedule.lanes import answered
from oversold.report.schedule.rows import Again, Kind, Row
from oversold.report.tables import printable
from oversold.schedule import NOBODY, Schedule

# All in pixels.
NUMBERS = 52.0  # what the column of step numbers takes
GUTTER = 30.0  # between two cards, where arrows run
GAP = 16.0  # between two rows, where arrows cross lanes
LINE, PAD = 17.0, 8.0
MONO, SANS = 12.5, 12.0  # sizes of type
_CHARACTER = 0.61 * MONO  # a little more than the widest of the usual fonts takes
_MARK_CHARACTER = 0.585 * SANS  # of bold letters, on the average of a long word
_BESIDE = 24.0  # a card's padding and the bar or sign in it
_WIDEST, _NARROWEST, _SHEET = 360.0, 190.0, 1200.0

_BEFORE_NUMBER = re.compile(r" (?=\d)")  # where no line breaks

LineKind = Literal["command", "reply", "stale", "acts", "fault", "broken"]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text on a card; `first` tells that it begins what it says."""

    kind: LineKind
    text: str
    first: bool


@dataclass(frozen=True, slots=True)
class Card:
    """A row's place on the sheet: its lane (None: all of them), its box, and its lines."""

    row: Row | Again
    lane: int | None
    x: float
    y: float
    width: float
    height: float
    lines: tuple[Line, ...]

    @property
    def middle(self) -> float:
        """The height of its middle."""
        return self.y + self.height / 2

    @property
    def right(self) -> float:
        """Where it ends to the right."""
        return self.x + self.width


@dataclass(frozen=True, slots=True)
class Lanes:
    """The lanes of a sheet: how many, and how wide each is with its gutter."""

    names: tuple[str, ...]
    width: float

    def left(self, lane: int) -> float:
        """Where a lane's cards begin."""
        return NUMBERS + lane * self.width + GUTTER / 2

    def middle(self, lane: int) -> float:
        """Where a lane's line of life runs."""
        return self.left(lane) + self.card / 2

    @property
    def card(self) -> float:
        """How wide a card is."""
        return self.width - GUTTER

    @property
    def right(self) -> float:
        """Where the sheet ends."""
        return NUMBERS + len(self.names) * self.width


def lanes(schedule: Schedule) -> Lanes:
    """Return the lanes of a schedule, as wide as the sheet allows."""
    names = schedule.actors
    wide = (_SHEET - NUMBERS) / max(1, len(names))
    return Lanes(names, min(_WIDEST, max(_NARROWEST, wide)))


def placed(rows: list[Row | Again], sheet: Lanes, top: float) -> list[Card]:
    """Return the card of each row, from `top` downwards."""
    cards: list[Card] = []
    y = top
    for row in rows:
        y += GAP / 2
        lane = None if isinstance(row, Again) else sheet.names.index(row.step.actor)
        lines = tuple(_lines(row, sheet.card - _BESIDE))
        height = len(lines) * LINE + 2 * PAD
        x = sheet.left(lane or 0)
        width = sheet.card if lane is not None else sheet.right - x - GUTTER / 2
        cards.append(Card(row, lane, x, y, width, height, lines))
        y += height + GAP / 2
    return cards


def _lines(row: Row | Again, width: float) -> list[Line]:
    if isinstance(row, Again):
        return [Line("reply", f"steps {row.text}", True)]
    times = f"  (×{row.times})" if row.times > 1 else ""
    found = _written("command", printable(row.step.operation) + times, width, _CHARACTER)
    if reply := printable(answered(row.step)):
        found += _written("reply", f"→ {reply}", width, _CHARACTER)
    for mark in row.marks:
        kind: Kind = mark.kind
        text = _BEFORE_NUMBER.sub("\xa0", printable(mark.text))
        found += _written(kind, text, width - 14, _MARK_CHARACTER)
    return found


def _written(kind: LineKind, text: str, width: float, character: float) -> list[Line]:
    parts = wrapped(text, int(width / character))
    return [Line(kind, part.replace("\xa0", " "), not place) for place, part in enumerate(parts)]


def columns(text: str) -> int:
    """Return how many columns of a fixed font a text takes; Chinese signs take two."""
    return sum(
        0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1
        for sign in text
    )


def wrapped(text: str, width: int) -> list[str]:
    """Return a text in lines of at most `width` columns, broken between words, and within one that is longer.

    >>> wrapped("SET lock 12345678", 8), wrapped("", 8)
    (['SET lock', '12345678'], [''])
    """
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if columns(joined) <= width:
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        for sign in word:
            if columns(lines[-1] + sign) > width:
                lines.append("")
            lines[-1] += sign
    return lines


def dies(card: Card) -> bool:
    """Tell whether a card's actor dies at it."""
    return isinstance(card.row, Row) and card.row.step.choice in faults.DEATHS


def is_event(card: Card) -> bool:
    """Tell whether nobody does what a card says."""
    return isinstance(card.row, Row) and card.row.step.actor in NOBODY
