"""The page's entries for paydays, and the sentence that answers which design to take."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oversold.model import yuan
from oversold.report.cells import Spread, worst_verdict
from oversold.report.page.entries import Column, Entry, Table, fastest, ranged_value, runs_value, worst_value
from oversold.report.payout_tables import Reckoning
from oversold.report.payout_words import both_sides
from oversold.report.phrases import between, nothing_proven
from oversold.report.tables import duration, shown_name

COLUMNS = (
    Column("paid twice", "payouts with two effects or more in the channels' books; of several runs the worst"),
    Column("overpaid yuan", "paid beyond what was due; of several runs the worst"),
    Column("withdrawn yuan", "what of the overpaid is gone at the least; of several runs the worst"),
    Column("missed", "payouts neither paid in full at the horizon nor left to people; of several runs the worst"),
    Column("missed yuan", "what those lack"),
    Column("to review", "payouts left to people, who have to look; of several runs the worst"),
    Column("paid in p95", "95 of 100 payouts were paid within this time since their job was to start"),
    Column("in doubt", "most payouts believed UNKNOWN at one time; of several runs the worst"),
    Column("runs", "how many runs there are, one a seed", "high"),
)
_SEVERITY = {"pass": 0, "fail": 2}  # the others prove nothing: 1


@dataclass(frozen=True)
class Group:
    """The runs of one design under one load, a seed each."""

    name: str
    load: str
    runs: tuple[Mapping[str, Any], ...]

    @property
    def canary(self) -> bool:
        """Whether this is the design that must pay twice."""
        return bool(self.runs[0].get("canary"))

    @property
    def verdict(self) -> str:
        """The worst verdict of the runs."""
        return worst_verdict([str(run["verdict"]) for run in self.runs])

    @property
    def books(self) -> list[Reckoning]:
        """What the channels' books came to, of the runs that have them."""
        return [one for one in map(Reckoning.read, self.runs) if not one.lost]

    @property
    def paid_in_s(self) -> Spread:
        """The 95th percentile of the times to paid, in seconds, of the runs that paid anything."""
        return Spread.of([run.get("time_to_paid_s", {}).get("p95") or None for run in self.runs])

    def most(self, of: Callable[[Reckoning], int]) -> Spread:
        """Return the range of a number of the books."""
        return Spread.of([of(one) for one in self.books])


def tabulate(runs: Sequence[Mapping[str, Any]]) -> Table:
    """Return the entries of the payout runs among some summaries, and the answer that they give."""
    groups = _gather([run for run in runs if "obligations" in run])
    size = {group.load: _size(group.runs[0]) for group in groups}
    loads = sorted(size, key=lambda load: size[load])
    order = _ranked(groups)
    groups.sort(key=lambda group: (order[group.name], -loads.index(group.load)))
    entries = tuple(_entry(group, order[group.name], loads) for group in groups)
    return Table(_answer(groups, loads), COLUMNS, tuple(loads), entries)


def _gather(runs: Sequence[Mapping[str, Any]]) -> list[Group]:
    differing = _differing(runs)
    grouped: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for run in runs:
        load = ", ".join([f"{_size(run)[0]:,} payouts", *(f"{name} {of(run)}" for name, of in differing.items())])
        grouped.setdefault((shown_name(run), load), []).append(run)
    return [Group(name, load, tuple(own)) for (name, load), own in grouped.items()]


def _size(run: Mapping[str, Any]) -> tuple[int, int]:
    return int(run["obligations"].get("count") or 0), int(run.get("load", {}).get("users") or 0)


def _differing(runs: Sequence[Mapping[str, Any]]) -> dict[str, Callable[[Mapping[str, Any]], str]]:
    """Return how to word each condition that differs between the runs, by its name."""
    settings = dict.fromkeys(name for run in runs for name in run.get("settings", {}) if name != "obligations")
    conditions: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "profile": lambda run: str(run.get("profile") or "?"),
        "users": lambda run: f"{_size(run)[1]:,}",
        **{name: _reader(name) for name in settings},
    }
    return {name: of for name, of in conditions.items() if len({of(run) for run in runs}) > 1}


def _reader(name: str) -> Callable[[Mapping[str, Any]], str]:
    def read(run: Mapping[str, Any]) -> str:
        value = run.get("settings", {}).get(name)
        return "default" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

    return read


def _ranked(groups: Sequence[Group]) -> dict[str, int]:
    """Return each design's rank from 1: those that pass by time to paid, then doubts, then by yuan gone wrong."""
    own: dict[str, list[Group]] = {}
    for group in groups:
        own.setdefault(group.name, []).append(group)

    def place(name: str) -> tuple[bool, int, int, float]:
        mine = own[name]
        severity = _SEVERITY.get(worst_verdict([group.verdict for group in mine]), 1)
        wrong = max((max(one.overpaid_fen, one.missed_fen) for group in mine for one in group.books), default=0)
        slowest = Spread.of([group.paid_in_s.mean for group in mine])
        return mine[0].canary, severity, wrong * (severity == 2), slowest.high if slowest.count else float("inf")

    return {name: rank for rank, name in enumerate(sorted(own, key=place), 1)}


def _entry(group: Group, rank: int, loads: Sequence[str]) -> Entry:
    values = (
        worst_value(group.most(lambda one: one.duplicates), _count),
        worst_value(group.most(lambda one: one.overpaid_fen), _amount),
        worst_value(group.most(lambda one: one.unrecoverable_fen), _amount),
        worst_value(group.most(lambda one: one.missed), _count),
        worst_value(group.most(lambda one: one.missed_fen), _amount),
        worst_value(group.most(lambda one: one.reviews), _count),
        ranged_value(group.paid_in_s, _seconds),
        worst_value(Spread.of([run.get("unknown", {}).get("peak") for run in group.runs]), _count),
        runs_value(group.runs, group.verdict),
    )
    return Entry(
        rank,
        group.name,
        str(group.runs[0]["strategy"]),
        loads.index(group.load),
        group.verdict,
        group.canary,
        values,
        group.runs,
        max(group.runs, key=_badness),
    )


def _badness(run: Mapping[str, Any]) -> tuple[int, int]:
    one = Reckoning.read(run)
    return _SEVERITY.get(one.verdict, 1), max(one.overpaid_fen, one.missed_fen)


def _answer(groups: Sequence[Group], loads: Sequence[str]) -> str:
    """Say which design paid everybody once and was fastest, or how those that there are broke their promise."""
    own: dict[str, list[Group]] = {}
    for group in groups:
        own.setdefault(group.name, []).append(group)
    designs = {name: mine for name, mine in own.items() if not mine[0].canary} or own
    kept = [name for name, mine in designs.items() if all(group.verdict == "pass" for group in mine)]
    if kept:
        return _praise([designs[name] for name in kept], len(designs), loads)
    if not designs:
        return "Nothing was run"
    books = [Reckoning.read(run) for mine in designs.values() for group in mine for run in group.runs]
    return both_sides(books) if len(designs) == 1 else _blame(designs)


def _praise(kept: Sequence[Sequence[Group]], designs: int, loads: Sequence[str]) -> str:
    """Say what the best of the designs that kept their promise did; `kept` are the groups of each, best first."""
    mine = kept[0]
    left = [one.reviews for group in mine for one in group.books]
    paid = "paid everybody once" + (f" or left it to people ({between(left, _count)})" if any(left) else "")
    paid += " under every load" if 1 < len(loads) == len(mine) else ""
    slowest = Spread.of([group.paid_in_s.mean for group in mine])
    pace = f"p95 {_seconds(slowest.high)}"
    if designs == 1:
        return f"{mine[0].name} {paid}: {pace}"
    if len(kept) == 1:
        return f"Only {mine[0].name} kept its promise: it {paid}, {pace}"
    return f"{mine[0].name} {paid} and {fastest(1, len(kept))}: {pace}"


def _blame(designs: Mapping[str, Sequence[Group]]) -> str:
    """Say how many designs broke their promise how; each counts once, for the worst that it did."""
    counts = dict.fromkeys(("paid too much", "missed payouts", "broke another promise", "proved nothing"), 0)
    for mine in designs.values():
        failed = [group for group in mine if group.verdict == "fail"]
        books = [one for group in failed for one in group.books]
        if not failed:
            counts["proved nothing"] += 1
        elif any(one.overpaid_fen for one in books):
            counts["paid too much"] += 1
        elif any(one.missed for one in books):
            counts["missed payouts"] += 1
        else:
            counts["broke another promise"] += 1
    if counts["proved nothing"] == len(designs):
        return nothing_proven(sum(len(group.runs) for mine in designs.values() for group in mine))
    said = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f"{'Neither' if len(designs) == 2 else 'No'} design kept its promise: {said}"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _amount(fen: float) -> str:
    return yuan(round(fen)).removesuffix(" yuan")


def _seconds(value: float) -> str:
    return duration(1000 * value)
