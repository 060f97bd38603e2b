"""Over- and undersubscription by strategy: bars to the right and to the left of sold exactly."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from oversold.errors import UsageError
from oversold.model import yuan
from oversold.report.charts_paper import (
    BLUE,
    SMALL_PT,
    TEXT_PT,
    VERMILLION,
    fitted,
    largest_below,
    with_heading,
)
from oversold.report.charts_words import conditions, headline
from oversold.report.phrases import listed
from oversold.report.rows import PAD, WIDTH, Column, Sheet, height
from oversold.report.scales import LEAST_REACH, RateScale, labelled
from oversold.report.tables import Sale, broken_checks, percent

_NAME_MAX = 3.0
_SIDE_MIN = 1.2  # inches that each side needs for its heading


def draw(summaries: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw one row a run; UsageError if no bid run is among the summaries."""
    runs = [run for run in summaries if "tranche" in run]
    if not runs:
        raise UsageError("no over- or undersubscription to draw: give at least one run of a bid scenario")
    sales = [Sale.read(run) for run in runs]
    figure, top = with_heading(WIDTH, height(len(runs)), headline(sales), conditions(runs))
    sheet = Sheet.lay(figure, top, len(runs))
    left = sheet.write_columns(_columns(figure, runs, sales), title_pt=TEXT_PT)
    right = sheet.write_verdicts([sale.verdict for sale in sales])
    labels = [_label(sale, run) for sale, run in zip(sales, runs, strict=True)]
    _draw_bars(sheet, sales, labels, left + 0.3, right - 0.25)
    return figure


def _columns(figure: Figure, runs: Sequence[Mapping[str, Any]], sales: Sequence[Sale]) -> list[Column]:
    """Return the names, and what else tells the rows apart."""
    users = [f"{int(run['load']['users']):,}" for run in runs]
    seeds = [str(run.get("seed", "")) for run in runs]
    columns = [Column("strategy", [fitted(figure, sale.name, TEXT_PT, _NAME_MAX) for sale in sales])]
    if len(set(users)) > 1:
        columns.append(Column("users", users, "right"))
    if len(set(seeds)) > 1 and len({(s.strategy, u) for s, u in zip(sales, users, strict=True)}) < len(sales):
        columns.append(Column("seed", seeds, "right"))
    return columns


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
    failed = broken_checks(run)
    return f"{sold}; fails {listed(failed)}" if failed and sale.verdict == "fail" else sold


def _draw_bars(sheet: Sheet, sales: Sequence[Sale], labels: Sequence[str], left: float, right: float) -> None:
    """Draw bars, their labels and the scale between two places along x."""
    scale = RateScale.fit([rate for sale in sales for rate in (sale.over, sale.under)])
    labels, widths = sheet.fit_labels(labels, (right - left) * 0.55)
    under, over = (max(getattr(sale, side) for sale in sales) for side in ("under", "over"))
    ticks = [scale.ticks(max(most, LEAST_REACH)) if most else [] for most in (under, over)]

    def sides(inches: float) -> tuple[float, float]:
        """Return how far the left and the right side reach when a step takes so many inches."""
        reach = [max(_SIDE_MIN, inches * scale.steps(marks[-1]) + 0.25 if marks else 0) for marks in ticks]
        for sale, width in zip(sales, widths, strict=True):
            side, rate = (0, sale.under) if sale.under else (1, sale.over)
            reach[side] = max(reach[side], scale.length(rate, inches) + width)
        return reach[0], reach[1]

    # A step takes as many inches as the bars with their labels leave it.
    widest = (right - left) / scale.steps(LEAST_REACH)
    inches = largest_below(lambda k: sum(sides(k)) <= right - left, 0, widest)
    zero = left + sides(inches)[0]
    _draw_scale(sheet, scale, inches, zero, ticks)
    for row, (sale, label) in enumerate(zip(sales, labels, strict=True)):
        sign, rate, color, hatch = (-1, sale.under, BLUE, "////") if sale.under else (1, sale.over, VERMILLION, "")
        end = zero + sign * scale.length(rate, inches)
        if rate:
            cuts = [zero + sign * inches * scale.steps(mark) for mark in scale.cuts(rate, ticks[sign > 0])]
            sheet.draw_bar(row, zero, end, cuts, color=color, hatch=hatch)
        elif sale.confirmed_fen is not None:
            sheet.draw_dot(row, zero)
        sheet.write_label(row, end, label, faint=not rate, to="left" if sign < 0 else "right")


def _draw_scale(
    sheet: Sheet, scale: RateScale, inches: float, zero: float, ticks: Sequence[Sequence[float]]
) -> None:
    """Draw the zero line, the grid with its labels below, and the headings of both sides above."""
    sheet.draw_origin(zero)
    sheet.head(zero - PAD, "◀ undersold", ha="right", color=BLUE, weight="bold")
    sheet.head(zero + PAD, "oversold ▶", ha="left", color=VERMILLION, weight="bold")
    texts = {rate: f"{100 * rate:,.10g} %" for marks in ticks for rate in marks}
    if not texts:
        return
    widths = [sheet.wide(text, SMALL_PT) + 0.12 for text in texts.values()]
    for sign, marks in zip((-1, 1), ticks, strict=True):
        for i, rate in enumerate(marks):
            every = labelled(widths, inches * (1 if scale.least else marks[0]))
            rank = round(math.log10(rate)) if scale.least else i + 1
            text = "" if rank % every else texts[rate]
            sheet.draw_mark(zero + sign * inches * scale.steps(rate), text)
    ends = [sign * inches * scale.steps(marks[-1]) for sign, marks in zip((-1, 1), ticks, strict=True) if marks]
    scaled = "each block is ten times the one before it" if scale.least else "to scale"
    sheet.name_scale(zero + sum(ends) / 2, f"share of the capacity ({scaled})")
