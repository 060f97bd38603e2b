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
    house_style,
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
_SHORTEST = 0.05  # inches of the shortest bar, so that no rate but zero vanishes
_SIDE_MIN = 1.2  # inches that each side needs for its heading
_PAD = 0.08
_LEAST_REACH = 0.1  # a scale reaches 10 % at least, so that a tiny rate never fills the page
_LINEAR_SPAN = 40  # a linear scale still shows a rate that is this many times smaller than its reach

# Each verdict is told by its word, its marker and its colour.
_MARKS = {"pass": ("o", GREEN), "fail": ("X", VERMILLION), "inconclusive": ("s", FAINT_INK)}


@house_style()
def subscription_bars(summaries: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw one row a run: what was not raised to the left, what was sold too much to the right.

    `summaries` are run summaries (schema `oversold/run/1`) in the order to draw; payout runs are left
    out. Raises UsageError if no bid run is among them.
    """
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
        axes.axhspan(row - 0.5, row + 0.5, MARGIN / 2 / _WIDTH, 1 - MARGIN / 2 / _WIDTH, color=BAND, lw=0)
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

    def ticks(self, reach: float) -> list[float]:
        """Return the rates to label up to `reach`, without zero."""
        if self.least:
            powers = [self.least * 10**i for i in range(12)]
            return [rate for rate in powers if rate <= reach * 1.001]
        unit = 10.0 ** math.floor(math.log10(reach / 2))
        step = next(unit * m for m in (1, 2, 5, 10) if unit * m >= reach / 4)
        return [step * i for i in range(1, 12) if step * i <= reach * 1.001]


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
    return f"{sold}; fails {', '.join(failed)}" if failed and sale.verdict == "fail" else sold


def _draw_bars(
    sheet: _Sheet, sales: Sequence[Sale], labels: Sequence[str], left: float, right: float
) -> None:
    """Draw bars, their labels and the scale between two places along x."""
    scale = _Scale.fit([rate for sale in sales for rate in (sale.over, sale.under)])
    labels = [fitted(sheet.figure, label, SMALL_PT + 0.5, (right - left) * 0.55) for label in labels]
    widths = [text_width(sheet.figure, label, SMALL_PT + 0.5) + 2 * _PAD for label in labels]

    def length(rate: float, inches: float) -> float:
        return max(_SHORTEST, inches * scale.steps(rate)) if rate else 0.0

    def sides(inches: float) -> tuple[float, float]:
        unders, overs = [_SIDE_MIN], [_SIDE_MIN]
        for sale, width in zip(sales, widths, strict=True):
            side, rate = (unders, sale.under) if sale.under else (overs, sale.over)
            side.append(length(rate, inches) + width)
            side.append(inches * scale.steps(_LEAST_REACH if rate else 0))
        return max(unders), max(overs)

    # The scale is as large as the bars with their labels allow.
    inches = largest_below(
        lambda k: sum(sides(k)) <= right - left, 0, (right - left) / scale.steps(_LEAST_REACH)
    )
    zero = left + sides(inches)[0]
    _draw_scale(sheet, scale, inches, zero, (left, right))
    for row, (sale, label) in enumerate(zip(sales, labels, strict=True)):
        sign, rate, color, hatch = (
            (-1, sale.under, BLUE, "////") if sale.under else (1, sale.over, VERMILLION, "")
        )
        end = zero + sign * length(rate, inches)
        if rate:
            sheet.axes.barh(row, end - zero, 0.6, zero, color=color, hatch=hatch, edgecolor="white", lw=0)
        else:
            sheet.axes.plot([zero], [row], "o", color=INK, markersize=4)
        ink = INK if rate else FAINT_INK
        ha = "right" if sign < 0 else "left"
        sheet.text_at(end + sign * _PAD, row, label, SMALL_PT + 0.5, ha=ha, color=ink)


def _draw_scale(sheet: _Sheet, scale: _Scale, inches: float, zero: float, ends: tuple[float, float]) -> None:
    """Draw the zero line, the grid with its labels below, and the two sides' headings above."""
    sheet.axes.axvline(zero, color=INK, lw=1.2)
    sheet.head(zero - _PAD, "◀ undersold", ha="right", color=BLUE, weight="bold")
    sheet.head(zero + _PAD, "oversold ▶", ha="left", color=VERMILLION, weight="bold")
    y = sheet.foot_y - 0.2
    write(sheet.figure, zero, y, "0", SMALL_PT, ha="center", color=FAINT_INK)
    for sign, room in ((-1, zero - ends[0]), (1, ends[1] - zero)):
        last = zero
        for rate in scale.ticks(1e4):
            x = zero + sign * inches * scale.steps(rate)
            if abs(x - zero) > room or (sign < 0 and rate > 1):
                break
            sheet.axes.axvline(x, color=RULE, lw=0.8, zorder=0.5)
            text = f"{100 * rate:,.10g} %"
            if abs(x - last) > text_width(sheet.figure, text, SMALL_PT) + 0.12:
                write(sheet.figure, x, y, text, SMALL_PT, ha="center", color=FAINT_INK)
                last = x
    note = "each line is ten times the one before" if scale.least else "to scale"
    write(
        sheet.figure,
        zero,
        y - 0.22,
        f"share of the capacity ({note})",
        SMALL_PT,
        ha="center",
        color=FAINT_INK,
    )
