"""Over- and undersubscription by strategy: bars to the right and to the left of sold exactly."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oversold.errors import UsageError
from oversold.model import yuan
from oversold.report.charts_paper import (
    BAND,
    BLUE,
    FAINT_INK,
    GREEN,
    INK,
    MARGIN,
    RULE,
    SMALL_PT,
    TEXT_PT,
    VERMILLION,
    fitted,
    largest_below,
    place_axes,
    text_width,
    with_heading,
    write,
)
from oversold.report.charts_words import conditions, headline
from oversold.report.tables import Sale, percent

_WIDTH = 11.0
_ROW = 0.34
_ABOVE, _BELOW = 0.42, 0.62  # inches for the columns' headings and for the scale
_NAME_MAX = 3.0
_LABEL_PT = 9.0
_SHORTEST = 0.05  # inches of the shortest bar, so that no rate but zero vanishes
_SIDE_MIN = 1.2  # inches that each side needs for its heading
_PAD = 0.08
_LEAST_REACH = 0.1  # a scale reaches 10 % at least, so that a tiny rate never fills the page
_LINEAR_SPAN = 40  # a linear scale still shows a rate that is this many times smaller than its reach

# Each verdict is told by its word, its marker and its colour.
_MARKS = {"pass": ("o", GREEN), "fail": ("X", VERMILLION), "inconclusive": ("s", FAINT_INK)}


def draw(summaries: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw one row a run; UsageError if no bid run is among the summaries."""
    runs = [run for run in summaries if "tranche" in run]
    if not runs:
        raise UsageError("no over- or undersubscription to draw: give at least one run of a bid scenario")
    sales = [Sale.read(run) for run in runs]
    rows_high = _ROW * len(runs)
    figure, top = with_heading(_WIDTH, _ABOVE + rows_high + _BELOW, headline(sales), conditions(runs))
    axes = place_axes(figure, 0, top - _ABOVE - rows_high, _WIDTH, rows_high)
    axes.set_axis_off()
    axes.set_xlim(0, _WIDTH)
    axes.set_ylim(len(runs) - 0.5, -0.5)
    for row in range(0, len(runs), 2):
        axes.axhspan(
            row - 0.5, row + 0.5, MARGIN / 2 / _WIDTH, 1 - MARGIN / 2 / _WIDTH, color=BAND, lw=0, zorder=0
        )
    sheet = _Sheet(figure, axes, top - _ABOVE + 0.1, top - _ABOVE - rows_high)
    left = _draw_columns(sheet, runs, sales)
    right = _draw_verdicts(sheet, sales)
    labels = [_label(sale, run) for sale, run in zip(sales, runs, strict=True)]
    _draw_bars(sheet, sales, labels, left + 0.3, right - 0.25)
    return figure


@dataclass(frozen=True)
class _Sheet:
    """Where the rows are: axes with inches along x and rows along y, headings above, the scale below."""

    figure: Figure
    axes: Axes
    head_y: float
    foot_y: float

    def text_at(self, x: float, row: float, text: str, points: float = TEXT_PT, **style: Any) -> None:
        self.axes.text(x, row, text, fontsize=points, va="center_baseline", **style)

    def head(self, x: float, text: str, **style: Any) -> None:
        write(self.figure, x, self.head_y, text, SMALL_PT, **{"color": FAINT_INK, **style})


@dataclass(frozen=True)
class _Scale:
    """Turns a fraction of the capacity into steps along the axis.

    Linear when `least` is 0. Otherwise each step is a power of ten and `least` lies one step from zero.
    """

    least: float

    @classmethod
    def fit(cls, rates: Sequence[float]) -> "_Scale":
        """Choose the linear scale if that still shows the smallest of the rates."""
        seen = [rate for rate in rates if rate > 0]
        if not seen or max(_LEAST_REACH, *seen) / min(seen) <= _LINEAR_SPAN:
            return cls(0.0)
        return cls(10.0 ** max(-5, math.floor(math.log10(min(seen)))))

    def steps(self, rate: float) -> float:
        """Return how many steps from zero a rate lies."""
        if not self.least:
            return rate
        return rate / self.least if rate < self.least else 1 + math.log10(rate / self.least)

    def ticks(self, most: float) -> list[float]:
        """Return the rates to draw lines at, without zero, up to the first that covers `most`."""
        if self.least:
            last = max(0, math.ceil(math.log10(most / self.least) - 1e-9))
            return [self.least * 10**i for i in range(last + 1)]
        unit = 10.0 ** math.floor(math.log10(most))
        step = next(unit * m for m in (0.2, 0.5, 1, 2) if most / (unit * m) <= 5)
        return [step * i for i in range(1, math.ceil(most / step - 1e-9) + 1)]


def _draw_columns(sheet: _Sheet, runs: Sequence[Mapping[str, Any]], sales: Sequence[Sale]) -> float:
    """Write the names, and what else tells the rows apart; return where the columns end."""
    users = [f"{int(run['load']['users']):,}" for run in runs]
    seeds = [str(run.get("seed", "")) for run in runs]
    columns = [("strategy", [fitted(sheet.figure, sale.name, TEXT_PT, _NAME_MAX) for sale in sales], "left")]
    if len(set(users)) > 1:
        columns.append(("users", users, "right"))
    if len(set(seeds)) > 1 and len({(s.strategy, u) for s, u in zip(sales, users, strict=True)}) < len(sales):
        columns.append(("seed", seeds, "right"))
    x = MARGIN
    for title, cells, side in columns:
        width = max(text_width(sheet.figure, cell, TEXT_PT) for cell in [*cells, title])
        at = x if side == "left" else x + width
        sheet.head(at, title, ha=side)
        for row, cell in enumerate(cells):
            sheet.text_at(at, row, cell, ha=side)
        x += width + 0.25
    return x - 0.25


def _draw_verdicts(sheet: _Sheet, sales: Sequence[Sale]) -> float:
    """Write the verdicts at the right edge; return where their column starts."""
    left = _WIDTH - MARGIN - text_width(sheet.figure, "inconclusive", TEXT_PT, "bold")
    sheet.head(left, "verdict")
    for row, sale in enumerate(sales):
        marker, color = _MARKS.get(sale.verdict, ("s", FAINT_INK))
        sheet.axes.plot([left - 0.14], [row], marker, color=color, markersize=6, clip_on=False)
        weight = "bold" if sale.verdict == "fail" else "normal"
        sheet.text_at(left, row, sale.verdict, weight=weight)
    return left - 0.2


def _label(sale: Sale, run: Mapping[str, Any]) -> str:
    if sale.confirmed_fen is None:
        return "no ledger"
    if sale.over or sale.under:
        return f"{percent(sale.over or sale.under)}  ·  {yuan(sale.off_fen)}"
    left = sale.capacity_fen - sale.confirmed_fen
    if left > 0:
        # A run that proves nothing may have lacked demand: what is left then is no mere dust.
        sold = f"{yuan(left)} left" if sale.verdict == "inconclusive" else f"dust {yuan(left)}"
    else:
        sold = "sold exactly"
    failed = [str(found["check"]) for found in run.get("findings", []) if found["verdict"] == "fail"]
    return f"{sold}; fails {', '.join(failed).replace('_', ' ')}" if failed and sale.verdict == "fail" else sold


def _draw_bars(sheet: _Sheet, sales: Sequence[Sale], labels: Sequence[str], left: float, right: float) -> None:
    """Draw bars, their labels and the scale between two places along x."""
    scale = _Scale.fit([rate for sale in sales for rate in (sale.over, sale.under)])
    labels = [fitted(sheet.figure, label, _LABEL_PT, (right - left) * 0.55) for label in labels]
    widths = [text_width(sheet.figure, label, _LABEL_PT) + 2 * _PAD for label in labels]
    under, over = (max(getattr(sale, side) for sale in sales) for side in ("under", "over"))
    ticks = [scale.ticks(max(most, _LEAST_REACH)) if most else [] for most in (under, over)]

    def sides(inches: float) -> tuple[float, float]:
        """Return how far the left and the right side reach when a step takes so many inches."""
        reach = [max(_SIDE_MIN, inches * scale.steps(marks[-1]) + 0.25 if marks else 0) for marks in ticks]
        for sale, width in zip(sales, widths, strict=True):
            side, rate = (0, sale.under) if sale.under else (1, sale.over)
            reach[side] = max(reach[side], _length(scale, rate, inches) + width)
        return reach[0], reach[1]

    # A step takes as many inches as the bars with their labels leave it.
    widest = (right - left) / scale.steps(_LEAST_REACH)
    inches = largest_below(lambda k: sum(sides(k)) <= right - left, 0, widest)
    zero = left + sides(inches)[0]
    _draw_scale(sheet, scale, inches, zero, ticks)
    for row, (sale, label) in enumerate(zip(sales, labels, strict=True)):
        sign, rate, color, hatch = (-1, sale.under, BLUE, "////") if sale.under else (1, sale.over, VERMILLION, "")
        end = zero + sign * _length(scale, rate, inches)
        if rate:
            sheet.axes.barh(
                row, end - zero, 0.6, zero, color=color, hatch=hatch, edgecolor="white", lw=0, zorder=2
            )
            # A bar on a logarithmic scale is cut into blocks, so that nobody reads it as a length.
            cuts = [
                zero + sign * inches * scale.steps(mark) for mark in ticks[sign > 0] if scale.least and mark < rate
            ]
            sheet.axes.vlines(cuts, row - 0.32, row + 0.32, color="white", lw=1.6, zorder=2.5)
        elif sale.confirmed_fen is not None:
            sheet.axes.plot([zero], [row], "o", color=INK, markersize=4)
        paper = {"facecolor": BAND if row % 2 == 0 else "white", "edgecolor": "none", "pad": 1.5}
        ink, side = INK if rate else FAINT_INK, "right" if sign < 0 else "left"
        sheet.text_at(end + sign * _PAD, row, label, _LABEL_PT, ha=side, color=ink, bbox=paper)


def _length(scale: _Scale, rate: float, inches: float) -> float:
    return max(_SHORTEST, inches * scale.steps(rate)) if rate else 0.0


def _draw_scale(
    sheet: _Sheet, scale: _Scale, inches: float, zero: float, ticks: Sequence[Sequence[float]]
) -> None:
    """Draw the zero line, the grid with its labels below, and the headings of both sides above."""
    sheet.axes.axvline(zero, color=INK, lw=1.2, zorder=3)
    sheet.head(zero - _PAD, "◀ undersold", ha="right", color=BLUE, weight="bold")
    sheet.head(zero + _PAD, "oversold ▶", ha="left", color=VERMILLION, weight="bold")
    below: dict[str, Any] = {"points": SMALL_PT, "ha": "center", "color": FAINT_INK}
    y = sheet.foot_y - 0.2
    write(sheet.figure, zero, y, "0", **below)
    texts = {rate: f"{100 * rate:,.10g} %" for marks in ticks for rate in marks}
    widest = max((text_width(sheet.figure, text, SMALL_PT) + 0.12 for text in texts.values()), default=0.0)
    for sign, marks in zip((-1, 1), ticks, strict=True):
        for i, rate in enumerate(marks):
            x = zero + sign * inches * scale.steps(rate)
            sheet.axes.axvline(x, color=RULE, lw=0.8, zorder=1)
            gap = inches * (1 if scale.least else marks[0])
            rank = round(math.log10(rate)) if scale.least else i + 1
            if rank % math.ceil(widest / gap) == 0:
                write(sheet.figure, x, y, texts[rate], **below)
    if texts:
        ends = [
            sign * inches * scale.steps(marks[-1]) for sign, marks in zip((-1, 1), ticks, strict=True) if marks
        ]
        scaled = "each block is ten times the one before it" if scale.least else "to scale"
        middle = zero + sum(ends) / 2
        write(sheet.figure, middle, y - 0.22, f"share of the capacity ({scaled})", **below)
