"""A payday's numbers in words and columns: what the terminal shows, worded as the payout charts word it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from rich.table import Table
from rich.text import Text

from oversold.model import yuan
from oversold.report.phrases import between
from oversold.report.tables import (
    NOTHING,
    broken_checks,
    duration,
    is_lost,
    named,
    packed,
    percent,
    printable,
    reasons,
    ruled,
    shown_name,
    verdict_cell,
)

__all__ = ["Reckoning", "comparison_table", "reasons", "settled"]

_NAME_WIDTH = 14  # longer strategy names break after a hyphen or plus, so that the table fits 80 columns


@dataclass(frozen=True)
class Reckoning:
    """What one payday came to by the channels' books, read from its summary (schema `oversold/run/1`).

    `paid_fen` is None where the run ended without the books; then the other amounts are 0 and mean nothing.
    `reviews` are payouts that were left to people; they are not `missed`. `failed` names the broken checks.
    """

    strategy: str
    verdict: str
    canary: bool
    count: int
    due_fen: int
    paid_fen: int | None
    duplicates: int
    overpaid_fen: int
    unrecoverable_fen: int
    users_affected: int
    missed: int
    missed_fen: int
    reviews: int
    reviews_fen: int
    failed: tuple[str, ...]

    @classmethod
    def read(cls, summary: Mapping[str, Any]) -> Self:
        """Take the reckoning out of the summary of a payout run; KeyError if it has no obligations."""
        told = summary["obligations"]
        paid = None if is_lost(summary, "books") else told.get("paid_fen")

        def number(key: str) -> int:
            return int(told.get(key) or 0) if paid is not None else 0

        return cls(
            strategy=printable(str(summary["strategy"])),
            verdict=str(summary["verdict"]),
            canary=bool(summary.get("canary")),
            count=int(told.get("count") or 0),
            due_fen=int(told.get("due_fen") or 0),
            paid_fen=None if paid is None else int(paid),
            duplicates=number("duplicates"),
            overpaid_fen=number("overpaid_fen"),
            unrecoverable_fen=number("unrecoverable_fen"),
            users_affected=number("users_affected"),
            missed=number("missed"),
            missed_fen=number("missed_fen"),
            reviews=number("reviews"),
            reviews_fen=number("reviews_fen"),
            failed=broken_checks(summary),
        )

    @property
    def name(self) -> str:
        """The strategy's name, with a mark on the canary."""
        return named(self.strategy, canary=self.canary)

    @property
    def lost(self) -> bool:
        """Whether the run ended without the channels' books."""
        return self.paid_fen is None


def settled(summary: Mapping[str, Any]) -> str:
    """Say in one line what the channels' books came to: paid of due, too much, missed, left to people.

    KeyError if the summary has no obligations.
    """
    one = Reckoning.read(summary)
    if one.paid_fen is None:
        return f"the channels' books are lost: nobody knows what was paid of {yuan(one.due_fen)}"
    said = [
        f"{yuan(one.paid_fen).removesuffix(' yuan')} of {yuan(one.due_fen)} paid by the channels' books",
        f"{yuan(one.overpaid_fen) if one.overpaid_fen else 0} too much",
        f"{one.missed:,} missed" + (f" ({yuan(one.missed_fen)})" if one.missed_fen else ""),
        f"{one.reviews:,} to review" + (f" ({yuan(one.reviews_fen)})" if one.reviews_fen else ""),
    ]
    return ", ".join(said)


def comparison_table(summaries: Sequence[Mapping[str, Any]], canary: Mapping[str, Any] | None = None) -> Table:
    """Lay out one block of lines a payout run, in the given order; it fits 80 columns.

    `canary` is what compare.json says under that key: the caption says whether it proved the load. Without it
    the runs among `summaries` that are marked as the canary prove it.
    """
    rows = list(summaries)
    titles = ("paid\ntwice", "overpaid\nyuan", "missed\nyuan", "to\nreview", "paid in\np95", "unknown\np95 age")
    legend = "paid in: due to paid in full; unknown: most at once, their age"
    table = ruled(titles, [legend, *_proof(rows, canary)])
    apart = [key for key, of in _APART.items() if len({of(run) for run in rows}) > 1]
    for run in rows:
        table.add_row(*_cells(run, [_APART[key](run) for key in apart]))
    return table


# What tells runs of one strategy apart.
_APART = {
    "profile": lambda run: f"profile {run.get('profile') or '?'}",
    "jobs": lambda run: f"jobs {run.get('settings', {}).get('jobs') or '?'}",
    "seed": lambda run: f"seed {run.get('seed', '?')}",
}


def _cells(run: Mapping[str, Any], apart: Sequence[str]) -> list[Text]:
    mark = ["(canary)"] if run.get("canary") else []
    name = [line for part in (shown_name(run), *mark, *apart) for line in _broken(part)]
    counts = [NOTHING] * 4
    if "obligations" in run and not (one := Reckoning.read(run)).lost:
        rate = percent(run.get("rates", {}).get("duplicate"))
        counts = [
            _stacked(one.duplicates, rate),
            _amount(one.overpaid_fen),
            _stacked(one.missed, _amount(one.missed_fen)),
            _count(one.reviews),
        ]
    unknown = run.get("unknown", {})
    peak, age_s = unknown.get("peak"), unknown.get("age_p95_s")
    # Zero is what the summary says when nothing was paid at all.
    paid_in_s = run.get("time_to_paid_s", {}).get("p95") or None
    return [
        Text("\n".join(name)),
        verdict_cell(run),
        *map(Text, counts),
        Text(duration(paid_in_s and 1000 * paid_in_s)),
        Text(NOTHING if peak is None else _stacked(peak, duration(age_s and 1000 * age_s))),
    ]


def _stacked(number: int, more: str) -> str:
    """Put a number over what there is to say of it; of zero there is nothing more."""
    return f"{_count(number)}\n{more}" if number else "0"


def _proof(rows: Sequence[Mapping[str, Any]], canary: Mapping[str, Any] | None) -> list[str]:
    told = [
        {"strategy": run["strategy"], "profile": run.get("profile"), **run["obligations"]}
        for run in rows
        if run.get("canary") and "obligations" in run
    ]
    if canary is not None:
        told = [{**canary, **run} for run in canary.get("runs", [])]
    if not told:
        return []
    # All runs of the canary are of one strategy over the channels of one profile.
    who = f"The canary ({told[0]['strategy']}, {_APART['profile'](told[0])})"
    # The people where they were counted; else the payouts, of which a person may have two.
    people = [int(run.get("users_affected") or run.get("duplicates") or 0) for run in told]
    if min(people) > 0:
        return [f"{who} paid {_people(people)} twice:", "a fault would show."]
    if max(people) > 0:
        return [f"{who} paid nobody twice in some runs:", "the others of those loads prove nothing."]
    return [f"{who} paid nobody twice:", "passes prove nothing."]


def _people(numbers: Sequence[int]) -> str:
    return f"{between(numbers, '{:,}'.format)} {'person' if max(numbers) == 1 else 'people'}"


def _count(number: int) -> str:
    """Word a number in at most seven characters."""
    return f"{number:,}" if number < 1_000_000 else f"{number / 1e6:,.2f} M"


def _amount(fen: int) -> str:
    """Word an amount in yuan in at most eight characters; only zero reads 0.

    >>> _amount(0), _amount(5), _amount(6_192_000), _amount(301_000_000)
    ('0', '0.05', '61,920', '3.01 M')
    """
    if fen >= 100_000_000:
        millions = fen / 1e8
        return f"{millions:,.2f} M" if millions < 99.995 else f"{millions:,.0f} M"
    if fen >= 1_000_000:
        return f"{round(fen / 100):,}"
    return yuan(fen).removesuffix(" yuan")


def _broken(name: str) -> list[str]:
    """Break a long name into lines of at most `_NAME_WIDTH`: after its plus, then after hyphens and the like."""
    if len(name) <= _NAME_WIDTH:
        return [name]
    if "+" in name[:-1]:
        return [line for half in re.split(r"(?<=\+)(?=.)", name, maxsplit=1) for line in _broken(half)]
    parts = re.split(r"(?<=[-_ /:])", name)
    pieces = (part[i : i + _NAME_WIDTH] for part in parts for i in range(0, len(part), _NAME_WIDTH))
    return packed(pieces, _NAME_WIDTH)
