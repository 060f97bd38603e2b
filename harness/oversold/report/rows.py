"""The sheet that bars stand on: one row a run with its name and verdict, headings above and a scale below."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oversold.report.charts_paper import (
    BAND,
    FAINT_INK,
    INK,
    MARGIN,
    RULE,
    SMALL_PT,
    TEXT_PT,
    fitted,
    place_axes,
    text_width,
    verdict_mark,
    write,
)

WIDTH = 11.0
LABEL_PT = 9.0
PAD = 0.08  # inches between a bar and its label
_ROW = 0.34
_ABOVE, _BELOW = 0.42, 0.62  # inches for the columns' headings and for the scale
_BETWEEN = 0.25

Side = Literal["left", "right"]


def height(rows: int) -> float:
    """Return how many inches a sheet of so many rows takes with its headings and its scale."""
    return _ABOVE + _ROW * rows + _BELOW


@dataclass(frozen=True)
class Column:
    """What a column says of each row, and the side that its texts are flush with."""

    title: str
    cells: Sequence[str]
    side: Side = "left"


@dataclass(frozen=True)
class Sheet:
    """Where the rows are: axes with inches along x and rows along y, headings above, the scale below."""

    figure: Figure
    axes: Axes
    head_y: float
    foot_y: float

    @classmethod
    def lay(cls, figure: Figure, top: float, rows: int) -> Self:
        """Lay a sheet of so many rows from `top` inches down, every other row on a grey band."""
        high = _ROW * rows
        foot = top - _ABOVE - high
        axes = place_axes(figure, 0, foot, WIDTH, high)
        axes.set_axis_off()
        axes.set_xlim(0, WIDTH)
        axes.set_ylim(rows - 0.5, -0.5)
        edge = MARGIN / 2 / WIDTH
        for row in range(0, rows, 2):
            axes.axhspan(row - 0.5, row + 0.5, edge, 1 - edge, color=BAND, lw=0, zorder=0)
        return cls(figure, axes, top - _ABOVE + 0.1, foot)

    def wide(self, text: str, points: float = TEXT_PT, weight: str = "normal") -> float:
        """Return how many inches wide a text comes out."""
        return text_width(self.figure, text, points, weight)

    def text_at(self, x: float, row: float, text: str, points: float = TEXT_PT, **style: Any) -> None:
        """Write a text in a row."""
        self.axes.text(x, row, text, fontsize=points, va="center_baseline", **style)

    def head(self, x: float, text: str, **style: Any) -> None:
        """Write a heading above the rows."""
        write(self.figure, x, self.head_y, text, SMALL_PT, **{"color": FAINT_INK, **style})

    def write_columns(self, columns: Sequence[Column], title_pt: float = SMALL_PT) -> float:
        """Write columns from the left margin on; return where they end.

        A column is as wide as its widest cell, or as its title would be at `title_pt`.
        """
        x = MARGIN
        for column in columns:
            width = max(self.wide(column.title, title_pt), *(self.wide(cell) for cell in column.cells))
            at = x if column.side == "left" else x + width
            self.head(at, column.title, ha=column.side)
            for row, cell in enumerate(column.cells):
                self.text_at(at, row, cell, ha=column.side)
            x += width + _BETWEEN
        return x - _BETWEEN

    def write_verdicts(self, verdicts: Sequence[str]) -> float:
        """Write the verdicts at the right edge; return where their column starts."""
        left = WIDTH - MARGIN - self.wide("inconclusive", weight="bold")
        self.head(left, "verdict")
        for row, verdict in enumerate(verdicts):
            marker, color = verdict_mark(verdict)
            self.axes.plot([left - 0.14], [row], marker, color=color, markersize=6, clip_on=False)
            self.text_at(left, row, verdict, weight="bold" if verdict == "fail" else "normal")
        return left - 0.2

    def fit_labels(self, labels: Sequence[str], room: float) -> tuple[list[str], list[float]]:
        """Return the bars' labels, shortened to `room` inches, and the inches that each takes beside its bar."""
        said = [fitted(self.figure, label, LABEL_PT, room) for label in labels]
        return said, [self.wide(label, LABEL_PT) + 2 * PAD for label in said]

    def draw_bar(self, row: int, start: float, end: float, cuts: Sequence[float], **style: Any) -> None:
        """Draw a bar, to the left where it ends left of its start, with a white line at each of the cuts."""
        self.axes.barh(row, end - start, 0.6, start, **{"edgecolor": "white", "lw": 0, "zorder": 2, **style})
        self.axes.vlines(cuts, row - 0.32, row + 0.32, color="white", lw=1.6, zorder=2.5)

    def draw_dot(self, row: int, x: float) -> None:
        """Draw the dot that stands for a bar of no length."""
        self.axes.plot([x], [row], "o", color=INK, markersize=4)

    def write_label(self, row: int, end: float, text: str, *, faint: bool, to: Side = "right") -> None:
        """Write a bar's label beside its end, on paper of the row's colour that covers the grid."""
        paper = {"facecolor": BAND if row % 2 == 0 else "white", "edgecolor": "none", "pad": 1.5}
        x, flush = (end + PAD, "left") if to == "right" else (end - PAD, "right")
        self.text_at(x, row, text, LABEL_PT, ha=flush, color=FAINT_INK if faint else INK, bbox=paper)

    def draw_mark(self, x: float, text: str) -> None:
        """Draw a line of the scale through all rows, and write its text below them."""
        self.axes.axvline(x, color=RULE, lw=0.8, zorder=1)
        self._below(x, text, 0.2)

    def draw_origin(self, x: float) -> None:
        """Draw the line of zero through all rows."""
        self.axes.axvline(x, color=INK, lw=1.2, zorder=3)
        self._below(x, "0", 0.2)

    def name_scale(self, middle: float, words: str) -> None:
        """Write what the scale is of, below its texts."""
        self._below(middle, words, 0.42)

    def _below(self, x: float, text: str, inches: float) -> None:
        if text:
            write(self.figure, x, self.foot_y - inches, text, SMALL_PT, ha="center", color=FAINT_INK)
