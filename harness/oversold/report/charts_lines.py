"""Many lines on one chart: how each looks, its name in a column at its end, and a note on those in grey."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from oversold.report.charts_paper import (
    BLACK,
    BLUE,
    DPI,
    FAINT_INK,
    GREEN,
    MARGIN,
    ORANGE,
    PURPLE,
    SKY,
    SMALL_PT,
    TEXT_PT,
    VERMILLION,
    new_paper,
    spread,
    text_height,
    wrapped,
    write,
)

GREY = "#B8B8B8"  # the lines that only show where the others lie

# 7 colours, 4 dashes and 5 markers repeat together only after 140 lines.
_COLORS = (BLUE, VERMILLION, GREEN, PURPLE, BLACK, ORANGE, SKY)
_DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
_MARKERS = ("o", "s", "^", "D", "v")


def line_style(i: int) -> tuple[str, object, str]:
    """Return the colour, the dashes and the marker of the i-th line."""
    return _COLORS[i % 7], _DASHES[i % 4], _MARKERS[i % 5]


@dataclass(frozen=True)
class End:
    """Where a line ends, in the units of its axes, and what is written there."""

    x: float
    y: float
    label: str
    color: str
    marker: str


def write_ends(figure: Figure, axes: Axes, ends: Sequence[End]) -> None:
    """Write the labels in a column right of the axes, each joined to the end of its line."""
    width, height = figure.get_size_inches()
    area = axes.get_window_extent()
    low, right = area.y0 / DPI, area.x1 / DPI
    inches = [axes.transData.transform((end.x, end.y)) / DPI for end in ends]
    wishes = [float(y) - low for _, y in inches]
    places = spread(wishes, text_height(TEXT_PT), 0.05, area.height / DPI - 0.05)
    for end, (x, y), place in zip(ends, inches, places, strict=True):
        xs = [x / width, (right + 0.05) / width, (right + 0.45) / width]
        ys = [y / height, y / height, (low + place) / height]
        figure.add_artist(Line2D(xs, ys, color=end.color, lw=0.5, alpha=0.7))
        figure.add_artist(Line2D(xs[-1:], ys[-1:], marker=end.marker, color=end.color, markersize=5, ls="none"))
        write(figure, right + 0.55, low + place, end.label, va="center")


class Note:
    """A note at the foot of the paper: `high` inches for its lines, nothing for an empty text."""

    def __init__(self, text: str, width: float) -> None:
        self._lines = wrapped(new_paper(width, 1), text, SMALL_PT, width - 2 * MARGIN) if text else []

    @property
    def high(self) -> float:
        """How many inches it takes, with the room above it."""
        return text_height(SMALL_PT, len(self._lines)) + 0.1 if self._lines else 0.0

    def write(self, figure: Figure) -> None:
        """Write it where the paper begins."""
        for i, line in enumerate(self._lines):
            y = self.high - 0.05 - text_height(SMALL_PT, i)
            write(figure, MARGIN, y, line, SMALL_PT, color=FAINT_INK, va="top")
