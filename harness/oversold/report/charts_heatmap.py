"""Strategies against loads: in each square what was undersold to the left and what was oversold to the right."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from oversold.errors import UsageError
from oversold.report.cells import Cell, Load, loads, ranked, worst_verdict
from oversold.report.charts_paper import (
    BLUE,
    FAINT_INK,
    INK,
    MARGIN,
    RULE,
    SMALL_PT,
    TEXT_PT,
    VERMILLION,
    fitted,
    new_paper,
    place_axes,
    text_height,
    text_width,
    verdict_mark,
    with_heading,
    write,
    write_legend,
)
from oversold.report.charts_words import conditions_of, matrix_headline
from oversold.report.phrases import listed
from oversold.report.tables import percent

_WIDTH = 11.0
_ROW = 0.3
_NAME_MAX, _GAP = 2.9, 0.2
_SQUARE_MIN, _SQUARE_MAX = 1.1, 2.2  # inches across
_DEEPEST = 0.7  # how much of its colour a tint has at most, so that a dark text can be read on it
_UNDER, _OVER = "◀ undersold", "oversold ▶"
_PALEST, _FULL = 1e-5, 1.0  # the shares of the capacity where a tint begins and ends


def tint(color: str, depth: float) -> str:
    """Return a colour mixed with white: `depth` 0 is the palest that still shows, 1 the deepest."""
    part = 0.12 + (_DEEPEST - 0.12) * min(1.0, max(0.0, depth))
    red, green, blue = (1 - part * (1 - channel) for channel in to_rgb(color))
    return str(to_hex((red, green, blue)))


def draw(cells: Sequence[Cell]) -> Figure:
    """Draw one row a strategy and one column a load; UsageError if there is no cell."""
    if not cells:
        raise UsageError("no comparison to draw: give at least one run of a bid scenario")
    names, columns = ranked(cells), loads(cells)
    labels = {cell.strategy: cell.label for cell in cells}
    probe = new_paper(_WIDTH, 1.0)
    said = [fitted(probe, labels[name], TEXT_PT, _NAME_MAX) for name in names]
    left = MARGIN + max(text_width(probe, name, TEXT_PT) for name in said) + _GAP
    right = MARGIN + text_width(probe, "inconclusive", TEXT_PT, "bold") + 0.3
    wide = min(_SQUARE_MAX, max(_SQUARE_MIN, (_WIDTH - left - right) / len(columns)))
    width = max(_WIDTH, left + right + wide * len(columns))
    heads = [_head(probe, column, wide - 0.1) for column in columns]
    above = text_height(SMALL_PT, max(map(len, heads)) + 1) + 0.55
    high = _ROW * len(names)
    title, subtitle = matrix_headline(cells), conditions_of(cells, "each number the worst")
    figure, top = with_heading(width, above + high + 0.2, title, subtitle)
    _write_key(figure, top - 0.2, cells)
    axes = place_axes(figure, 0, top - above - high, width, high)
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(len(names) - 0.5, -0.5)
    grid = _Grid(figure, axes, left, wide)
    for column, head in enumerate(heads):
        grid.write_head(column, head, top - above)
    before = ""
    for row, (name, text) in enumerate(zip(names, said, strict=True)):
        axes.text(MARGIN, row, text, fontsize=TEXT_PT, va="center_baseline", color=INK)
        own = [cell for cell in cells if cell.strategy == name]
        for column, load in enumerate(columns):
            grid.draw_square(row, column, next((cell for cell in own if cell.load == load), None))
        verdict = worst_verdict([cell.verdict for cell in own])
        broken = any(cell.broken for cell in own) and verdict != "fail"
        group = "canary" if own[0].canary else "broken" if broken else verdict
        if row and group != before:
            axes.plot(
                [MARGIN, left + wide * len(columns) + right - MARGIN], [row - 0.5] * 2, color=FAINT_INK, lw=0.8
            )
        before = group
        _write_verdict(axes, left + wide * len(columns) + 0.3, row, verdict)
    return figure


def _head(figure: Figure, load: Load, wide: float) -> list[str]:
    """Return a load in lines: the users, then a setting a line."""
    said = [f"{load.users:,} users", *(f"{name} {value}" for name, value in load.settings)]
    return [fitted(figure, line, SMALL_PT, wide, "bold") for line in said]


@dataclass(frozen=True)
class _Grid:
    """The squares on axes with inches along x and rows along y."""

    figure: Figure
    axes: Axes
    left: float
    wide: float

    def write_head(self, column: int, lines: Sequence[str], foot: float) -> None:
        """Write a load above its column, and which side of a square means what."""
        middle = self.left + (column + 0.5) * self.wide
        # Where a word is too wide for its half, the arrows in the key say it.
        fits = text_width(self.figure, _UNDER, SMALL_PT) + 0.1 < self.wide / 2
        under, over = (_UNDER, _OVER) if fits else (_UNDER[0], _OVER[-1])
        write(self.figure, middle - 0.05, foot + 0.06, under, SMALL_PT, ha="right", color=BLUE)
        write(self.figure, middle + 0.05, foot + 0.06, over, SMALL_PT, ha="left", color=VERMILLION)
        for i, line in enumerate(reversed(lines)):
            y = foot + 0.06 + text_height(SMALL_PT, i + 1)
            write(self.figure, middle, y, line, SMALL_PT, ha="center", color=INK, weight="bold")

    def draw_square(self, row: int, column: int, cell: Cell | None) -> None:
        """Draw what became of a strategy under a load: two shares, or what else there is to say."""
        x, middle = self.left + column * self.wide, self.left + (column + 0.5) * self.wide
        frame = Rectangle((x + 0.02, row - 0.46), self.wide - 0.04, 0.92, fc="none", ec=RULE, lw=0.6, zorder=1)
        self.axes.add_patch(frame)
        if cell is None:
            self._say(middle, row, "not run", FAINT_INK)
            return
        rates = (cell.under.high, cell.over.high)
        for side, (rate, color) in enumerate(zip(rates, (BLUE, VERMILLION), strict=True)):
            if rate > 0:
                self._draw_half(row, middle - (0 if side else self.wide / 2 - 0.02), rate, color)
        if not any(rate > 0 for rate in rates):
            self._mark(row, middle, cell)
        elif cell.verdict == "inconclusive":
            free = middle + (0.25 if rates[0] > 0 else -0.25) * self.wide
            self._draw_mark(free if not all(rate > 0 for rate in rates) else x + 0.08, row, cell.verdict)

    def _draw_half(self, row: int, x: float, rate: float, color: str) -> None:
        wide = self.wide / 2 - 0.02
        depth = math.log(rate / _PALEST) / math.log(_FULL / _PALEST)
        self.axes.add_patch(Rectangle((x, row - 0.46), wide, 0.92, fc=tint(color, depth), lw=0, zorder=0.9))
        self._say(x + wide / 2, row, percent(rate), INK)

    def _mark(self, row: int, middle: float, cell: Cell) -> None:
        """Mark a square without a share: sold exactly, unproven, or failed for another reason."""
        words = {"pass": "", "fail": listed(cell.failed) or "fails"}.get(cell.verdict, "unproven")
        said = fitted(self.figure, words, SMALL_PT, self.wide - 0.4) if words else ""
        room = text_width(self.figure, said, SMALL_PT) + 0.16 if said else 0.0
        self._draw_mark(middle - room / 2, row, cell.verdict)
        if said:
            self._say(middle + 0.08, row, said, INK)

    def _draw_mark(self, x: float, row: int, verdict: str) -> None:
        marker, color = verdict_mark(verdict)
        self.axes.plot([x], [row], marker, color=color, markersize=5.5, mec="white", mew=0.4, zorder=3)

    def _say(self, x: float, row: int, text: str, color: str) -> None:
        self.axes.text(x, row, text, fontsize=SMALL_PT, ha="center", va="center_baseline", color=color)


def _write_verdict(axes: Axes, x: float, row: int, verdict: str) -> None:
    marker, color = verdict_mark(verdict)
    axes.plot([x - 0.12], [row], marker, color=color, markersize=6)
    bold = "bold" if verdict == "fail" else "normal"
    axes.text(x, row, verdict, fontsize=TEXT_PT, va="center_baseline", weight=bold)


def _write_key(figure: Figure, y: float, cells: Sequence[Cell]) -> None:
    """Write what the tints and marks mean."""
    keys: list[Patch | Line2D] = [
        Patch(fc=tint(BLUE, 0.8), lw=0, label=f"{_UNDER}, share of the capacity"),
        Patch(fc=tint(VERMILLION, 0.8), lw=0, label=_OVER),
    ]
    words = {"pass": "sold exactly, or all but dust", "fail": "failed another check", "inconclusive": "unproven"}
    for verdict in dict.fromkeys(cell.verdict for cell in cells):
        if verdict == "fail" and not any(c.verdict == "fail" and not _wrong(c) for c in cells):
            continue
        marker, color = verdict_mark(verdict)
        label = words.get(verdict, "unproven")
        keys.append(Line2D([], [], marker=marker, color=color, ls="none", markersize=6, label=label))
    write_legend(figure, y, keys)


def _wrong(cell: Cell) -> bool:
    return cell.over.high > 0 or cell.under.high > 0
