"""Small multiples: how panels lie on the page, which of them carry the axes' texts, and their heads."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oversold.report.charts_paper import FAINT_INK, MARGIN, SMALL_PT, TEXT_PT, fitted, text_height, write

WIDTH = 12.0
MAX_PANELS = 12
HEAD_LINES = 2  # what a head says below its name takes so many lines at most
_GAP = 0.35
_AXIS = 0.5  # inches left of the first column for its numbers


@dataclass(frozen=True)
class Panels:
    """So many panels in rows of so many columns; `wide` is a panel's width in inches."""

    count: int
    columns: int

    @classmethod
    def of(cls, count: int, most_columns: int = 3) -> Self:
        """Choose the columns; more than three only for more than nine panels."""
        return cls(count, {0: 1, 1: 1, 2: 2, 4: 2}.get(count, 3 if count <= 9 else most_columns))

    @property
    def rows(self) -> int:
        """How many rows there are, the last of which may not be full."""
        return math.ceil(self.count / self.columns)

    @property
    def wide(self) -> float:
        """How many inches wide a panel's axes are."""
        return (WIDTH - 2 * MARGIN - _AXIS - _GAP * (self.columns - 1)) / self.columns

    def place(self, i: int) -> tuple[int, float]:
        """Return a panel's row, from 0 at the top, and the inches to its left edge."""
        row, column = divmod(i, self.columns)
        return row, MARGIN + _AXIS + column * (self.wide + _GAP)

    def label(self, axes: Axes, i: int, across: str, upwards: str) -> None:
        """Write what the axes are below the lowest panel of each column and left of the first of each row."""
        first, lowest = i % self.columns == 0, i + self.columns >= self.count
        axes.tick_params(labelleft=first, labelbottom=lowest)
        if first:
            axes.set_ylabel(upwards, fontsize=SMALL_PT)
        if lowest:
            axes.set_xlabel(across, fontsize=SMALL_PT)


def write_head(figure: Figure, x: float, y: float, wide: float, name: str, lines: Sequence[str]) -> None:
    """Write a panel's name at `y` inches, and below it the lines of what became of it."""
    write(figure, x, y, fitted(figure, name, TEXT_PT, wide, "bold"), weight="bold")
    for line in lines:
        y -= text_height(SMALL_PT)
        write(figure, x, y, line, SMALL_PT, color=FAINT_INK)
