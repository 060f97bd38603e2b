"""The page's entries for bursts of bids."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from oversold.model import yuan
from oversold.report import cells
from oversold.report.cells import Cell, Load
from oversold.report.page.answer import answered
from oversold.report.page.entries import (
    Column,
    Entry,
    Table,
    Value,
    mean_value,
    ranged_value,
    runs_value,
    worst_value,
)
from oversold.report.tables import duration, percent, rate

COLUMNS = (
    Column("oversold", "sold beyond the capacity, as a share of it; of several runs the worst"),
    Column(
        "undersold",
        "left although somebody who wanted it was sent away; of several runs the worst; below it the dust",
    ),
    Column("ok/s", "goodput: bids told ok per second, the mean of the runs; below it their range", "high"),
    Column("p99", "99 of 100 bidders had their last answer within this time since they first meant to tap"),
    Column("taps a bid", "how often a bidder tapped; 1: nobody had to try again"),
    Column("inversions", "pairs of equal bids in which the later one was served; 0: first come, first served"),
    Column("Gini", "how unequal the chances of early and late bidders were; 0: equal"),
    Column("runs", "how many runs there are, one a seed", "high"),
)


def tabulate(runs: Sequence[Mapping[str, Any]]) -> Table:
    """Return the entries of the bid runs among some summaries, and the answer that they give."""
    found = cells.gather(runs)
    loads, order = cells.loads(found), cells.ranked(found)
    sources = list(dict.fromkeys(cell.source for cell in found))
    rank = {name: place for place, name in enumerate(order, 1)}
    found.sort(key=lambda cell: (rank[cell.strategy], -loads.index(cell.load)))
    entries = tuple(_entry(cell, rank[cell.strategy], loads) for cell in found)
    said = answered(found, loads, sources)
    return Table(said.text, COLUMNS, tuple(load.label for load in loads), entries, said.pace)


def _entry(cell: Cell, rank: int, loads: Sequence[Load]) -> Entry:
    values = (
        worst_value(cell.over, percent),
        _undersold(cell),
        ranged_value(cell.goodput, rate),
        ranged_value(cell.p99_ms, duration),
        mean_value(cell.attempts, "{:.1f}".format),
        mean_value(cell.inversions, percent),
        mean_value(cell.gini, "{:.2f}".format),
        runs_value(cell.runs, cell.verdict),
    )
    return Entry(
        rank,
        cell.strategy,
        str(cell.runs[0]["strategy"]),
        loads.index(cell.load),
        cell.verdict,
        cell.canary,
        values,
        cell.runs,
        cell.worst_run,
        cell.broken and not cell.canary,
    )


def _undersold(cell: Cell) -> Value:
    """Return the greatest share undersold, and below it the dust, which is no such share."""
    value = worst_value(cell.under, percent)
    return replace(value, small=f"dust {yuan(cell.dust_fen)}") if cell.dust_fen else value
