"""Where the names beside the marks of a chart may stand, so that none lies on a mark, a line or another name."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

_GAP = 0.05  # inches between a name and whatever is beside it
_AWAY = 0.16  # inches from the middle of a mark to a name beside it
_ROUND = 24  # directions tried around a mark
_ACROSS, _UPWARDS = 0.2, 0.1  # inches between the places that are tried farther off


@dataclass(frozen=True)
class Box:
    """A rectangle on the page, in inches."""

    x0: float
    y0: float
    x1: float
    y1: float

    @classmethod
    def around(cls, x: float, y: float, half: float) -> Self:
        """Return the square whose middle is (x, y)."""
        return cls(x - half, y - half, x + half, y + half)

    def overlaps(self, other: "Box", gap: float = 0.0) -> bool:
        """Return whether two boxes are nearer to one another than `gap`."""
        apart_x = self.x0 >= other.x1 + gap or other.x0 >= self.x1 + gap
        return not (apart_x or self.y0 >= other.y1 + gap or other.y0 >= self.y1 + gap)

    def within(self, other: "Box") -> bool:
        """Return whether the whole box lies inside another."""
        return self.x0 >= other.x0 and self.x1 <= other.x1 and self.y0 >= other.y0 and self.y1 <= other.y1

    def nearest(self, x: float, y: float) -> tuple[float, float]:
        """Return the place on the box that is nearest to (x, y)."""
        return min(max(x, self.x0), self.x1), min(max(y, self.y0), self.y1)

    def crossed(self, a: tuple[float, float], b: tuple[float, float]) -> bool:
        """Return whether the straight line from a to b runs through the box."""
        enter, leave = 0.0, 1.0
        for start, end, low, high in ((a[0], b[0], self.x0, self.x1), (a[1], b[1], self.y0, self.y1)):
            if start == end:
                if not low < start < high:
                    return False
                continue
            first, second = sorted(((low - start) / (end - start), (high - start) / (end - start)))
            enter, leave = max(enter, first), min(leave, second)
        return enter < leave


@dataclass(frozen=True)
class Label:
    """A text that belongs to a mark at (x, y), and the inches that it takes."""

    x: float
    y: float
    wide: float
    high: float
    lines: tuple[str, ...]


def placed(labels: Sequence[Label], taken: Sequence[Box], room: Box) -> list[tuple[Label, Box]]:
    """Return a box for each label inside `room`, as near to its mark as can be.

    No box lies on what is `taken` (marks and texts) or on another label, and none on the line that joins another
    label to its mark as long as that can be had. A label that fits nowhere gets the place right of its mark.
    """
    found: list[tuple[Label, Box]] = []
    # From the top down and from the right, so that lines to the marks seldom cross.
    for label in sorted(labels, key=lambda each: (-each.y, -each.x)):
        boxes = [*taken, *(box for _, box in found)]
        free = [
            box
            for box in _candidates(label, room)
            if box.within(room) and not any(box.overlaps(other, _GAP) for other in boxes)
        ]
        clear = (box for box in free if not _tangled(label, box, boxes, found))
        found.append((label, next(clear, free[0] if free else _beside(label, 0.0))))
    return found


def _tangled(label: Label, box: Box, boxes: Sequence[Box], found: Sequence[tuple[Label, Box]]) -> bool:
    """Return whether the line to the label's mark crosses a box, or the box lies on the line of another label."""
    mark = (label.x, label.y)
    # What the mark itself lies on cannot be avoided.
    others = [other for other in boxes if other.nearest(*mark) != mark]
    return any(other.crossed(mark, box.nearest(*mark)) for other in others) or any(
        box.crossed((other.x, other.y), place.nearest(other.x, other.y)) for other, place in found
    )


def _candidates(label: Label, room: Box) -> list[Box]:
    """Return places for a label: around its mark, to the right first; then all over the room, near ones first."""
    turns = [math.pi * (i // 2 + i % 2) * (1 if i % 2 else -1) * 2 / _ROUND for i in range(_ROUND)]
    across = _steps(room.x0, room.x1 - label.wide, _ACROSS)
    upwards = _steps(room.y0, room.y1 - label.high, _UPWARDS)
    anywhere = [Box(x, y, x + label.wide, y + label.high) for x in across for y in upwards]
    anywhere.sort(key=lambda box: math.dist((label.x, label.y), box.nearest(label.x, label.y)))
    return [*(_beside(label, turn) for turn in turns), *anywhere]


def _beside(label: Label, turn: float) -> Box:
    """Return the place whose nearest edge or corner lies in a direction (radians) from the mark."""
    dx, dy = math.cos(turn), math.sin(turn)
    x = label.x + _AWAY * dx - (0 if dx > 0.1 else label.wide if dx < -0.1 else label.wide / 2)
    y = label.y + _AWAY * dy - label.high * (0.5 - 0.5 * dy)
    return Box(x, y, x + label.wide, y + label.high)


def _steps(low: float, high: float, step: float) -> list[float]:
    return [low + step * i for i in range(math.floor((high - low) / step) + 1)] if high >= low else []
