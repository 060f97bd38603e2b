"""What the bidders of each strategy were told in the end: bars of 100 % from ok to nothing at all."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from oversold.errors import UsageError
from oversold.model import HOLD_VERDICTS
from oversold.report.cells import Cell, Load, ordered
from oversold.report.charts_heatmap import tint
from oversold.report.charts_paper import (
    FAINT_INK,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    SMALL_PT,
    TEXT_PT,
    VERMILLION,
    fitted,
    with_heading,
    write_legend,
)
from oversold.report.charts_words import conditions_of, left_out
from oversold.report.rows import WIDTH, Column, Sheet, height
from oversold.report.tables import percent

_KEY, _NAME_MAX = 0.35, 3.0
_COLORS = {"ok": GREEN, "sold_out": FAINT_INK, "busy": ORANGE, "error": VERMILLION, "unknown": PURPLE}
_HATCHES = {"busy": "////", "error": "xxxx", "unknown": "...."}  # a definite answer is plain
_WORDS = {"unknown": "no answer at all"}
_TICKS = (0.25, 0.5, 0.75, 1.0)


def draw(cells: Sequence[Cell], load: Load | None = None) -> Figure:
    """Draw one bar a strategy at one load; UsageError if no bidder of any run was told anything."""
    own = ordered(cells, load) if cells else []
    told = [(cell, shares) for cell in own if (shares := shares_of(cell))]
    if not told:
        raise UsageError("no outcomes to draw: give at least one run of a bid scenario in which somebody bid")
    drawn = [cell for cell, _ in told]
    subtitle = conditions_of(drawn, "each bar the sum")
    subtitle += left_out("nobody bid", [cell.label for cell in own if cell not in drawn])
    figure, top = with_heading(WIDTH, _KEY + height(len(told)), _title(told), subtitle)
    _write_key(figure, top - 0.18, [shares for _, shares in told])
    sheet = Sheet.lay(figure, top - _KEY, len(told))
    names = [fitted(figure, cell.label, TEXT_PT, _NAME_MAX) for cell in drawn]
    left = sheet.write_columns([Column("strategy", names)], title_pt=TEXT_PT) + 0.25
    right = sheet.write_verdicts([cell.verdict for cell in drawn]) - 0.35
    for share in _TICKS:
        sheet.draw_mark(left + share * (right - left), f"{100 * share:g} %")
    sheet.draw_origin(left)
    sheet.name_scale((left + right) / 2, "share of the bidders, by the last thing that they were told")
    for row, (_, shares) in enumerate(told):
        _draw_bar(sheet, row, shares, left, right)
    return figure


def shares_of(cell: Cell) -> dict[str, float]:
    """Return the share of the bids for each last word that was said, over all runs; nothing without bids."""
    counts = {
        word: sum(int((run.get("outcomes") or {}).get(word) or 0) for run in cell.runs) for word in HOLD_VERDICTS
    }
    bids = sum(counts.values())
    return {word: count / bids for word, count in counts.items() if count}


def _draw_bar(sheet: Sheet, row: int, shares: dict[str, float], left: float, right: float) -> None:
    at = left
    for word, share in shares.items():
        end = at + share * (right - left)
        sheet.draw_bar(row, at, end, [], **_fill(word), zorder=2)
        said = percent(share)
        if sheet.wide(said, SMALL_PT) + 0.1 < end - at:
            paper = {"facecolor": tint(_COLORS[word], 0.5), "edgecolor": "none", "pad": 1.2}
            sheet.text_at((at + end) / 2, row, said, SMALL_PT, ha="center", color=INK, bbox=paper, zorder=4)
        at = end


def _fill(word: str) -> dict[str, Any]:
    return {
        "facecolor": tint(_COLORS[word], 0.5),
        "edgecolor": _COLORS[word],
        "hatch": _HATCHES.get(word, ""),
        "lw": 0.4,
    }


def _write_key(figure: Figure, y: float, shares: Sequence[dict[str, float]]) -> None:
    seen = [word for word in HOLD_VERDICTS if any(word in each for each in shares)]
    labels = {word: _WORDS.get(word, word.replace("_", " ")) for word in seen}
    write_legend(figure, y, [Patch(label=label, **_fill(word)) for word, label in labels.items()])


def _title(told: Sequence[tuple[Cell, dict[str, float]]]) -> str:
    """Say who left most bidders without a definite answer, and how many left nobody so."""
    lost = [(shares.get("busy", 0) + shares.get("unknown", 0), cell.label) for cell, shares in told]
    most, name = max(lost, key=lambda each: each[0])
    answered = sum(share == 0 for share, _ in lost)
    if len(told) == 1:
        ok = told[0][1].get("ok", 0.0)
        rest = percent(most) if most else "nobody"
        return f"{name} told {percent(ok)} of the bidders ok, and {rest} only busy or nothing"
    if not most:
        return f"{'Both' if len(told) == 2 else f'All {len(told)}'} designs gave every bidder a definite answer"
    said = f"{name} left {percent(most)} of the bidders with busy or no answer"
    return f"{said}; {answered} of {len(told)} designs left nobody so" if answered else f"{said}, the others fewer"
