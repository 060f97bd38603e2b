"""Money paid too much by strategy: one bar a run, and of it what its receivers have already withdrawn."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from oversold.model import yuan
from oversold.report.charts_paper import (
    FAINT_INK,
    INK,
    SMALL_PT,
    TEXT_PT,
    VERMILLION,
    fitted,
    largest_below,
    with_heading,
    write_legend,
)
from oversold.report.payout_tables import Reckoning
from oversold.report.payout_words import conditions, overpaid, payout_runs
from oversold.report.phrases import listed
from oversold.report.rows import PAD, WIDTH, Column, Sheet, height
from oversold.report.scales import MoneyScale, labelled, tick_text
from oversold.report.tables import percent

_KEY = 0.3  # inches for the key, where there is something withdrawn
_NAME_MAX = 3.4
_BAR_MIN = 1.0  # inches that the longest bar has, however long its label
_WITHDRAWN = "#8A3A00"  # a darker vermillion
_SHADE: dict[str, Any] = {"facecolor": _WITHDRAWN, "edgecolor": "white", "hatch": "////", "lw": 0}


def draw(summaries: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw one row a run; UsageError if no payout run is among the summaries."""
    runs = payout_runs(summaries)
    reckonings = [Reckoning.read(run) for run in runs]
    key = _KEY if any(one.unrecoverable_fen for one in reckonings) else 0.0
    figure, top = with_heading(WIDTH, key + height(len(runs)), overpaid(reckonings), conditions(runs))
    if key:
        _write_key(figure, top - 0.2)
    sheet = Sheet.lay(figure, top - key, len(runs))
    left = sheet.write_columns(_columns(figure, runs, reckonings))
    right = _write_numbers(sheet, reckonings, sheet.write_verdicts([one.verdict for one in reckonings]))
    labels = [_label(one, run) for one, run in zip(reckonings, runs, strict=True)]
    _draw_bars(sheet, reckonings, labels, left + 0.3, right - 0.25)
    return figure


def _columns(figure: Figure, runs: Sequence[Mapping[str, Any]], reckonings: Sequence[Reckoning]) -> list[Column]:
    """Return the names, and what else tells the rows apart."""
    names = [fitted(figure, one.name, TEXT_PT, _NAME_MAX) for one in reckonings]
    apart = (
        Column("channels", [str(run.get("profile", "")) for run in runs]),
        Column("jobs", [str(run.get("settings", {}).get("jobs", "")) for run in runs]),
        Column("seed", [str(run.get("seed", "")) for run in runs], "right"),
    )
    return [Column("strategy", names), *(column for column in apart if len(set(column.cells)) > 1)]


def _write_numbers(sheet: Sheet, reckonings: Sequence[Reckoning], right: float) -> float:
    """Write the people paid too much, and what they withdrew of it; return where these columns start."""
    columns = [("people", [f"{one.users_affected:,}" for one in reckonings])]
    if any(one.unrecoverable_fen for one in reckonings):
        gone = [yuan(one.unrecoverable_fen).removesuffix(" yuan") for one in reckonings]
        columns.append(("withdrawn, yuan", gone))
    for title, cells in reversed(columns):
        right -= 0.2
        sheet.head(right, title, ha="right")
        for row, (cell, one) in enumerate(zip(cells, reckonings, strict=True)):
            color = INK if one.overpaid_fen else FAINT_INK
            sheet.text_at(right, row, "-" if one.lost else cell, ha="right", color=color)
        right -= max(sheet.wide(title, SMALL_PT), *(sheet.wide(cell) for cell in cells))
    return right


def _label(one: Reckoning, run: Mapping[str, Any]) -> str:
    if one.lost:
        return "no books"
    if one.overpaid_fen:
        return f"{yuan(one.overpaid_fen)}  ·  {percent(run.get('rates', {}).get('overpaid'))}"
    # A row without a bar that failed says what else is wrong with it.
    return f"0; fails {listed(one.failed)}" if one.failed else "0"


def _draw_bars(
    sheet: Sheet, reckonings: Sequence[Reckoning], labels: Sequence[str], left: float, right: float
) -> None:
    """Draw bars, their labels and the scale between two places along x."""
    amounts = [one.overpaid_fen for one in reckonings]
    scale = MoneyScale.fit(amounts)
    labels, widths = sheet.fit_labels(labels, right - left - _BAR_MIN)
    ticks = scale.ticks() if any(amounts) else []

    def fits(inches: float) -> bool:
        """Return whether the bars with their labels, and the scale, have room when a step takes so many inches."""
        ends = [scale.length(fen, inches) + width for fen, width in zip(amounts, widths, strict=True)]
        return max([*ends, inches * scale.steps(ticks[-1]) + 0.25 if ticks else 0.0]) <= right - left

    inches = largest_below(fits, 0, (right - left) / scale.steps(scale.most))
    _draw_scale(sheet, scale, inches, left, ticks)
    for row, (one, label) in enumerate(zip(reckonings, labels, strict=True)):
        end = left + scale.length(one.overpaid_fen, inches)
        if one.overpaid_fen:
            cuts = [left + inches * scale.steps(mark) for mark in scale.cuts(one.overpaid_fen, ticks)]
            sheet.draw_bar(row, left, end, cuts, color=VERMILLION)
            if one.unrecoverable_fen:
                gone = min(scale.length(one.unrecoverable_fen, inches), end - left)
                sheet.draw_bar(row, left, left + gone, (), **_SHADE)
        elif not one.lost:
            sheet.draw_dot(row, left)
        sheet.write_label(row, end, label, faint=not one.overpaid_fen)


def _write_key(figure: Figure, y: float) -> None:
    """Write what the two parts of a bar are."""
    keys = [
        Patch(facecolor=VERMILLION, lw=0, label="overpaid"),
        Patch(label="of it withdrawn already: cannot be got back", **_SHADE),
    ]
    write_legend(figure, y, keys, handle=2.0, apart=1.6)


def _draw_scale(sheet: Sheet, scale: MoneyScale, inches: float, zero: float, ticks: Sequence[int]) -> None:
    """Draw the zero line, the grid with its labels below, and the heading above."""
    sheet.draw_origin(zero)
    sheet.head(zero + PAD, "overpaid ▶", ha="left", color=VERMILLION, weight="bold")
    if not ticks:
        return
    gap = inches * (1 if scale.least else ticks[0])
    every = labelled([sheet.wide(tick_text(mark), SMALL_PT) + 0.12 for mark in ticks], gap)
    for i, mark in enumerate(ticks):
        sheet.draw_mark(zero + inches * scale.steps(mark), "" if (i + 1) % every else tick_text(mark))
    middle = zero + inches * scale.steps(ticks[-1]) / 2
    words = f"yuan ({scale.explained})"
    # Below a short scale the words start where the scale does.
    sheet.name_scale(max(middle, zero + sheet.wide(words, SMALL_PT) / 2), words)
