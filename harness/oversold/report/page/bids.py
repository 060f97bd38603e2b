"""The page's entries for bursts of bids, and the sentence that answers which design to take."""

from collections.abc import Mapping, Sequence
from typing import Any

from oversold.report import cells
from oversold.report.cells import Cell, Load
from oversold.report.charts_words import headline
from oversold.report.page.entries import (
    Column,
    Entry,
    Table,
    fastest,
    mean_value,
    ranged_value,
    runs_value,
    worst_value,
)
from oversold.report.phrases import listed, nothing_proven
from oversold.report.tables import duration, percent, rate

COLUMNS = (
    Column("oversold", "sold beyond the capacity, as a share of it; of several runs the worst"),
    Column("undersold", "not sold although somebody who wanted it was sent away; of several runs the worst"),
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
    rank = {name: place for place, name in enumerate(order, 1)}
    found.sort(key=lambda cell: (rank[cell.strategy], -loads.index(cell.load)))
    entries = tuple(_entry(cell, rank[cell.strategy], loads) for cell in found)
    return Table(_answer(found, loads), COLUMNS, tuple(load.label for load in loads), entries)


def _entry(cell: Cell, rank: int, loads: Sequence[Load]) -> Entry:
    values = (
        worst_value(cell.over, percent),
        worst_value(cell.under, percent),
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
    )


def _answer(found: Sequence[Cell], loads: Sequence[Load]) -> str:
    """Say which design kept its promise and was fastest, or how those that there are broke it.

    `found` are the cells, the best design first.
    """
    own: dict[str, list[Cell]] = {}
    for cell in found:
        own.setdefault(cell.strategy, []).append(cell)
    designs = {name: mine for name, mine in own.items() if not mine[0].canary} or own
    kept = [name for name, mine in designs.items() if all(cell.verdict == "pass" for cell in mine)]
    if kept:
        return _praise([designs[name] for name in kept], len(designs), loads)
    if not designs:
        return "Nothing was run"
    if len(designs) == 1:
        return _alone(next(iter(designs.values())))
    return _blame(designs)


def _praise(kept: Sequence[Sequence[Cell]], designs: int, loads: Sequence[Load]) -> str:
    """Say what the best of the designs that kept their promise did; `kept` are the cells of each, best first."""
    mine = kept[0]
    sold = "sold exactly" if _exact(mine) else "sold all but dust"
    sold += " at every load" if 1 < len(loads) == len(mine) else ""
    most = max(mine, key=lambda cell: loads.index(cell.load))
    pace = f"{rate(most.goodput.mean)} ok/s, p99 {duration(most.p99_ms.mean)}"
    pace += f" at {most.load.label}" if len(loads) > 1 else ""
    if designs == 1:
        return f"{most.strategy} {sold}: {pace}"
    if len(kept) == 1:
        return f"Only {most.strategy} kept its promise: it {sold}, {pace}"
    rivals = [cell for other in kept for cell in other if cell.load == most.load]
    level = [cell.strategy for cell in rivals if cell is not most and cell.goodput.mean >= most.goodput.low]
    beside = f", level with {level[0]}{f' and {len(level) - 1} more' if level[1:] else ''}" if level else ""
    return f"{most.strategy} {sold} and was {fastest(len(rivals))}{beside}: {pace}"


def _exact(mine: Sequence[Cell]) -> bool:
    return all(cells.shown_sale(run).off_fen == 0 for cell in mine for run in cell.runs)


def _alone(mine: Sequence[Cell]) -> str:
    """Say how the only design broke its promise."""
    failed = list(dict.fromkeys(check for cell in mine for check in cell.failed))
    sales = [cells.shown_sale(run) for cell in mine for run in cell.runs]
    if failed and not any(sale.over or sale.under for sale in sales):
        return f"{mine[0].label} broke its promise: {listed(failed)}"
    return headline(sales)


def _blame(designs: Mapping[str, Sequence[Cell]]) -> str:
    """Say how many designs broke their promise how; each counts once, for the worst that it did."""
    counts = dict.fromkeys(("oversold", "undersold", "broke another promise", "proved nothing"), 0)
    for mine in designs.values():
        failed = [cell for cell in mine if cell.verdict == "fail"]
        if not failed:
            counts["proved nothing"] += 1
        elif any(cell.over.high > 0 for cell in failed):
            counts["oversold"] += 1
        elif any(cell.under.high > 0 for cell in failed):
            counts["undersold"] += 1
        else:
            counts["broke another promise"] += 1
    if counts["proved nothing"] == len(designs):
        return nothing_proven(sum(len(cell.runs) for mine in designs.values() for cell in mine))
    said = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f"{'Neither' if len(designs) == 2 else 'No'} design kept its promise: {said}"
