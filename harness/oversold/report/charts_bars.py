"""Over- and undersubscription by strategy: bars to the right and to the left of sold exactly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from oversold.errors import UsageError
from oversold.model import yuan
from oversold.report.cells import (
    Cell,
    Load,
    Spread,
    badness,
    gather,
    loads,
    ranked,
    shown_sale,
    worst_verdict,
)
from oversold.report.charts_paper import (
    BLUE,
    INK,
    SMALL_PT,
    TEXT_PT,
    VERMILLION,
    fitted,
    largest_below,
    with_heading,
)
from oversold.report.charts_words import broken_note, conditions, headline
from oversold.report.phrases import listed
from oversold.report.rows import PAD, WIDTH, Column, Sheet, height
from oversold.report.scales import LEAST_REACH, RateScale, labelled
from oversold.report.tables import Sale, broken_checks, percent

_NAME_MAX, _SETTINGS_MAX = 3.0, 2.0  # inches of those columns at most
_SINGLE = 16  # of more runs than these each strategy gets one row
_STYLES: dict[int, dict[str, str]] = {-1: {"color": BLUE, "hatch": "////"}, 1: {"color": VERMILLION, "hatch": ""}}
_SIDE_MIN = 1.2  # inches that each side needs for its heading


@dataclass(frozen=True)
class _Row:
    """What one row shows: how far its runs oversold and undersold, and what is written beside either bar.

    A row of a single run has its load and seed, one of all runs of a strategy has neither.
    """

    name: str
    load: Load | None
    seed: str
    verdict: str
    over: Spread
    under: Spread
    over_label: str
    under_label: str = ""
    known: bool = True

    @property
    def broken(self) -> bool:
        return self.over.high > 0 or self.under.high > 0


def draw(summaries: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw one row a run, or of many runs one a strategy; UsageError if no bid run is among the summaries."""
    runs = [run for run in summaries if "tranche" in run]
    if not runs:
        raise UsageError("no over- or undersubscription to draw: give at least one run of a bid scenario")
    cells = gather(runs)
    if len(runs) > _SINGLE:
        names = ranked(cells)
        rows = [_worst_row([cell for cell in cells if cell.strategy == name], loads(cells)) for name in names]
    else:
        under = {id(run): cell.load for cell in cells for run in cell.runs}
        rows = [_row(run, under[id(run)]) for run in runs]
    parts = [conditions(runs), "worst run and range" if len(rows) < len(runs) else "", broken_note(cells)]
    said = "  ·  ".join(part for part in parts if part)
    figure, top = with_heading(WIDTH, height(len(rows)), headline([shown_sale(run) for run in runs]), said)
    sheet = Sheet.lay(figure, top, len(rows))
    left = sheet.write_columns(_columns(figure, rows), title_pt=TEXT_PT)
    right = sheet.write_verdicts([row.verdict for row in rows])
    _draw_bars(sheet, rows, left + 0.3, right - 0.25)
    return figure


def _row(run: Mapping[str, Any], load: Load) -> _Row:
    """Return the row of a single run under a load."""
    sale = shown_sale(run)
    over, under = Spread.of([0.0 if sale.under else sale.over]), Spread.of([sale.under])
    seed = str(run.get("seed", ""))
    label, known = _label(sale, run), sale.confirmed_fen is not None
    if sale.under:
        return _Row(sale.name, load, seed, sale.verdict, over, under, "", label)
    return _Row(sale.name, load, seed, sale.verdict, over, under, label, known=known)


def _worst_row(cells: Sequence[Cell], every: Sequence[Load]) -> _Row:
    """Return the row of all runs of a strategy: its worst rates, and which of `every` load each was seen with."""
    runs = [run for cell in cells for run in cell.runs]
    known = any(cell.over.count for cell in cells)
    sides, labels = [], []
    for side in ("over", "under"):
        sales = [(getattr(shown_sale(run), side), cell, run) for cell in cells for run in cell.runs]
        rates = [rate for rate, _, run in sales if shown_sale(run).confirmed_fen is not None]
        sides.append(Spread.of(rates or [0.0]))
        rate, cell, run = max(sales, key=lambda each: each[0])
        off = cell.load.label if len(every) > 1 else yuan(shown_sale(run).off_fen)
        labels.append(f"{percent(rate)}  ·  {off}" if rate else "")
    verdict = worst_verdict([cell.verdict for cell in cells])
    if not any(labels):
        worst = max(runs, key=badness)
        labels[0] = _label(shown_sale(worst), worst)
    return _Row(cells[0].label, None, "", verdict, sides[0], sides[1], labels[0], labels[1], known)


def _columns(figure: Figure, rows: Sequence[_Row]) -> list[Column]:
    """Return the names, and what else tells the rows apart."""
    columns = [Column("strategy", [fitted(figure, row.name, TEXT_PT, _NAME_MAX) for row in rows])]
    under = [row.load for row in rows if row.load]
    if len({load.users for load in under}) > 1:
        columns.append(Column("users", [f"{load.users:,}" for load in under], "right"))
    if len({load.settings for load in under}) > 1:
        said = [", ".join(f"{name} {value}" for name, value in load.settings) for load in under]
        columns.append(Column("settings", [fitted(figure, text, TEXT_PT, _SETTINGS_MAX) for text in said]))
    if len({row.seed for row in rows}) > 1 and len({(row.name, row.load) for row in rows}) < len(rows):
        columns.append(Column("seed", [row.seed for row in rows], "right"))
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


def _draw_bars(sheet: Sheet, rows: Sequence[_Row], left: float, right: float) -> None:
    """Draw bars, their labels and the scale between two places along x."""
    scale = RateScale.fit([rate for row in rows for rate in (row.over.high, row.under.high)])
    both = any(row.under_label for row in rows) and any(row.over_label for row in rows)
    # Labels on both sides must leave one another and the bars between them some room.
    room = (right - left) * (0.36 if both else 0.55)
    over_labels, over_widths = sheet.fit_labels([row.over_label for row in rows], room)
    under_labels, under_widths = sheet.fit_labels([row.under_label for row in rows], room)
    unders, overs = [row.under.high for row in rows], [row.over.high for row in rows]
    reaches = [max(most, LEAST_REACH) if most else 0.0 for most in (max(unders), max(overs))]
    ticks = [scale.ticks(reach, max(reaches)) if reach else [] for reach in reaches]
    beside = (
        list(zip(unders, under_labels, under_widths, strict=True)),
        list(zip(overs, over_labels, over_widths, strict=True)),
    )

    def sides(inches: float) -> tuple[float, float]:
        """Return how far the left and the right side reach when a step takes so many inches."""
        reach = [max(_SIDE_MIN, inches * scale.steps(marks[-1]) + 0.25 if marks else 0) for marks in ticks]
        for side, bars in enumerate(beside):
            bar_ends = [scale.length(rate, inches) + width for rate, label, width in bars if label]
            reach[side] = max([reach[side], *bar_ends])
        return reach[0], reach[1]

    # A step takes as many inches as the bars with their labels leave it.
    widest = (right - left) / scale.steps(LEAST_REACH)
    inches = largest_below(lambda k: sum(sides(k)) <= right - left, 0, widest)
    zero = left + sides(inches)[0]
    _draw_scale(sheet, scale, inches, zero, ticks)
    for i, row in enumerate(rows):
        for sign, spread, label in ((-1, row.under, under_labels[i]), (1, row.over, over_labels[i])):
            end = zero + sign * scale.length(spread.high, inches)
            if spread.high:
                cuts = [zero + sign * inches * scale.steps(m) for m in scale.cuts(spread.high, ticks[sign > 0])]
                sheet.draw_bar(i, zero, end, cuts, **_STYLES[sign])
            if 0 < spread.high > spread.low:
                whisker = [zero + sign * inches * scale.steps(rate) for rate in (spread.low, spread.high)]
                sheet.axes.plot(whisker, [i, i], color=INK, lw=1.4, zorder=3, solid_capstyle="butt")
            if label:
                sheet.write_label(i, end, label, faint=not spread.high, to="left" if sign < 0 else "right")
        if not row.broken and row.known:
            sheet.draw_dot(i, zero)


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
            text = "" if (i + 1) % every else texts[rate]
            sheet.draw_mark(zero + sign * inches * scale.steps(rate), text)
    ends = [sign * inches * scale.steps(marks[-1]) for sign, marks in zip((-1, 1), ticks, strict=True) if marks]
    scaled = "each block is ten times the one before it" if scale.least else "to scale"
    sheet.name_scale(zero + sum(ends) / 2, f"share of the capacity ({scaled})")
