"""The course of a sale over time: pure functions of what a run recorded, for the charts to draw."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from oversold.evidence import Claims, Ints, Ledger, StatusLog
from oversold.report.cells import gather, loads, shown_sale
from oversold.report.charts_words import fate, level, moment, together
from oversold.report.phrases import clauses, worst_first
from oversold.report.tables import Sale, duration

Periods = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Course:
    """What there is to draw of one run; all times in ns since the starting gate opened.

    `live_hold_periods` are the periods, as (start, end), in which some hold was live, where they are known.
    """

    summary: Mapping[str, Any]
    ledger: Ledger
    status_log: StatusLog
    claims: Claims
    t_end_ns: int
    live_hold_periods: Periods | None = None

    @property
    def sale(self) -> Sale:
        """What was sold in the end."""
        return Sale.read(self.summary)

    def sold(self) -> tuple[Ints, Ints]:
        """Return the times of the orders and the fen sold by then, from 0 at the gate."""
        order = np.argsort(self.ledger.t, kind="stable")
        times = np.concatenate([[0], self.ledger.t[order]])
        return times, np.concatenate([[0], np.cumsum(self.ledger.amount_fen[order])])

    def filled_at(self) -> int | None:
        """Return when the ledger first held the capacity, None if it never did."""
        times, sold = self.sold()
        reached = np.flatnonzero(sold >= self.sale.capacity_fen)
        return int(times[reached[0]]) if len(reached) else None

    def full_periods(self) -> list[tuple[int, int]]:
        """Return the periods in which the platform's flag said FULL."""
        changes = [(int(t), bool(full)) for t, full in zip(self.status_log.t, self.status_log.full, strict=True)]
        periods, since = [], None
        for t, full in [*changes, (self.t_end_ns, False)]:
            if full and since is None:
                since = t
            elif not full and since is not None:
                periods.append((since, max(since, t)))
                since = None
        return periods

    def false_full_periods(self) -> list[tuple[int, int]]:
        """Return the periods marked FULL while the ledger still had room for the smallest bid.

        They stop counting when the last bidder has left. Only the summary knows when that was: the periods
        are cut where they come to its `false_full_s`. Where that is null nobody knows what was left.
        """
        smallest = max(1, int(self.summary["tranche"].get("min_bid_fen") or 1))
        times, sold = self.sold()
        reached = np.flatnonzero(sold > self.sale.capacity_fen - smallest)
        stop = int(times[reached[0]]) if len(reached) else self.t_end_ns
        rates = self.summary.get("rates", {})
        told = rates.get("false_full_s")
        if told is None and "false_full_s" in rates:
            return []
        budget = math.inf if told is None else round(told * 1e9)
        periods = []
        for start, end in self.full_periods():
            length = min(min(end, stop) - start, budget)
            if length > 0:
                periods.append((start, start + int(length)))
                budget -= length
        return periods

    def ended_full(self) -> bool:
        """Tell whether the flag said FULL at the end."""
        return bool(len(self.status_log.full) and self.status_log.full[-1])

    def message(self) -> str:
        """Say what became of the sale."""
        marked = len(self.full_periods()) > 0
        return fate(self.sale, self.filled_at(), ended_full=self.ended_full(), marked=marked)

    def claimed(self) -> tuple[Ints, Ints]:
        """Return when the strategy claimed a number, and the fen that it had sold by that claim."""
        numbers = self.claims.remaining_fen != -1
        return self.claims.t[numbers], self.sale.capacity_fen - self.claims.remaining_fen[numbers]


def headline_over_time(every: Sequence[Mapping[str, Any]], drawn: Sequence[Course]) -> str:
    """Say which designs were marked full while stock was left, the longest; at one load also who was full first.

    `every` are the summaries of all runs, `drawn` the courses of those that are shown.
    """
    told = [(shown_sale(run).name, run.get("rates", {}).get("false_full_s")) for run in every]
    designs = list(dict.fromkeys(name for name, _ in told))
    falsely = worst_first((name, seconds) for name, seconds in told if seconds is not None)
    if falsely:
        name, seconds = next(iter(falsely.items()))
        worst = f"for {duration(1000 * seconds)}"
        several = f"{len(falsely)} of {len(designs)} designs were marked full while stock was left, {name} {worst}"
        said = several if designs[1:] else f"{name} was marked full {worst} while stock was left"
    elif all(seconds is None for _, seconds in told):
        said = "How the orders grew towards the capacity"
    else:
        said = f"{'No design' if designs[1:] else designs[0]} was {'' if designs[1:] else 'never '}marked full"
        said += " while stock was left"
    return clauses([said, *_first_full(every, drawn)], 0)


def _first_full(every: Sequence[Mapping[str, Any]], drawn: Sequence[Course]) -> list[str]:
    """Say which of the sound designs had sold everything first, where all had the same load."""
    cells = gather(every)
    sound = {cell.label for cell in cells if cell.sound}
    filled = [(course.filled_at(), shown_sale(course.summary).name) for course in drawn]
    first = sorted((at, name) for at, name in filled if at is not None and name in sound)
    if len(loads(cells)) > 1 or len(first) < 2:
        return []
    at = first[0][0]
    names = [name for each, name in first if level(each, at)]
    return [f"{together(names)} had sold everything first, after {moment(at)}"]


def total_s(periods: Iterable[tuple[int, int]]) -> float:
    """Return the length of all periods, in seconds."""
    return sum(end - start for start, end in periods) / 1e9


def overlaps(one: Periods, other: Periods) -> list[tuple[int, int]]:
    """Return the periods that lie in both; neither may overlap itself."""
    both = [(max(a, c), min(b, d)) for a, b in one for c, d in other]
    return sorted((start, end) for start, end in both if start < end)


def without(one: Periods, other: Periods) -> list[tuple[int, int]]:
    """Return what is left of `one` outside of `other`."""
    left = []
    for start, end in one:
        at = start
        for begin, stop in overlaps([(start, end)], other):
            if begin > at:
                left.append((at, begin))
            at = stop
        if at < end:
            left.append((at, end))
    return left
