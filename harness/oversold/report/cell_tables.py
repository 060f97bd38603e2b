"""A sweep of bids in numbers: one line a strategy and load, all seeds together, with their range."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from oversold.report.cells import Cell, Load, Spread, badness, loads, ordered, ranked
from oversold.report.tables import (
    BROKEN_NOTE,
    NOTHING,
    duration,
    percent,
    proof,
    rate,
    reasons_of,
    ruled,
    verdict_cell,
)


def cells_table(cells: Sequence[Cell], canary: Mapping[str, Any] | None) -> Table:
    """Lay out the cells under a heading for each load, the best strategy first.

    `over` and `under` are the worst of the seeds, the others their mean; below stands the range of those that
    differ. `canary` is what compare.json says under that key.
    """
    seeds = max((len(cell.runs) for cell in cells), default=0)
    several = "worst of the seeds; ok/s, p99, tries: mean and range" if seeds > 1 else "share of the capacity"
    legend = f"over, under: {several}; ok/s: goodput; p99: response since the intended start"
    marked = [BROKEN_NOTE] * any(cell.broken and not cell.canary for cell in cells)
    table = ruled(("over", "under", "ok/s", "p99", "tries", "runs"), [legend, *marked, *proof([], canary)])
    for load in loads(cells):
        table.add_row(Text(load.label, style="bold"))
        for cell in ordered(cells, load):
            table.add_row(*_row(cell))
    return table


def _row(cell: Cell) -> list[Text]:
    return [
        Text(cell.label if len(cell.label) < 30 else f"{cell.label[:14]}…{cell.label[-14:]}"),
        verdict_cell({"verdict": cell.verdict}),
        Text(_both(cell.over, percent, cell.over.high)),
        Text(_both(cell.under, percent, cell.under.high)),
        Text(_both(cell.goodput, rate, cell.goodput.mean)),
        Text(_both(cell.p99_ms, duration, cell.p99_ms.mean)),
        Text(_both(cell.attempts, lambda tries: NOTHING if math.isnan(tries or 0) else f"{tries:.1f}", None)),
        Text(str(len(cell.runs))),
    ]


def _both(spread: Spread, word: Any, shown: float | None) -> str:
    """Return a number, and the range that it comes from below it where there is one; a unit is told once."""
    main = word(spread.mean if shown is None else shown)
    if spread.count < 2 or word(spread.low) == word(spread.high):
        return str(main)
    low, high = word(spread.low), word(spread.high)
    number, _, unit = low.rpartition(" ")
    return f"{main}\n{number if number and high.endswith(f' {unit}') else low}..{high}"


def reasons(cells: Sequence[Cell]) -> list[str]:
    """Return one line for each strategy that did not pass everywhere: where it did worst, and why there."""
    lines = []
    for name in ranked(cells):
        own = [cell for cell in cells if cell.strategy == name]
        bad = [cell for cell in own if cell.verdict != "pass"]
        if not bad:
            continue
        worst = max(bad, key=lambda cell: badness(cell.worst_run))
        where = worst.load.label + (f", seed {worst.worst_run['seed']}" if len(worst.runs) > 1 else "")
        share = f" at {len(bad)} of {len(own)} loads" if len(own) > 1 else ""
        why = reasons_of(worst.worst_run)
        lines.append(f"{worst.label}: {worst.verdict}{share}; worst at {where}: {why}")
    return lines


def cell_rows(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Return the cells as plain JSON types, for compare.json. Rates are shares of 1; what is not known is null."""
    return [
        {
            "strategy": cell.runs[0]["strategy"],
            "sql": cell.runs[0].get("sql", "postgres"),
            **_load(cell.load),
            "seeds": [run["seed"] for run in cell.runs],
            "verdict": cell.verdict,
            "oversubscription": _spread(cell.over, "high"),
            "undersubscription": _spread(cell.under, "high"),
            "goodput_per_s": _spread(cell.goodput, "low"),
            "response_p99_ms": _spread(cell.p99_ms, "high"),
            "attempts_per_bid": _spread(cell.attempts, "high"),
            "inversions": _spread(cell.inversions, "high") if cell.inversions else None,
            "gini": _spread(cell.gini, "high") if cell.gini else None,
        }
        for cell in cells
    ]


def _load(load: Load) -> dict[str, Any]:
    return {"users": load.users, "varied": dict(load.settings)}


def _spread(spread: Spread, worst: str) -> dict[str, float] | None:
    if not spread.count:
        return None
    return {"worst": getattr(spread, worst), "low": spread.low, "mean": spread.mean, "high": spread.high}
