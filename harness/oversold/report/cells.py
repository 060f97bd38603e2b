"""The cells of a comparison of bids: one a strategy and load, with the runs of all its seeds; no pictures."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from oversold.model import yuan
from oversold.report.tables import BROKEN_MARK, CANARY, Sale, broken_checks, named, shown_name

_SEVERITY = {"pass": 0, "inconclusive": 1, "fail": 2}  # what this version does not know counts as unproven


@dataclass(frozen=True)
class Spread:
    """The least, the mean and the greatest of `count` numbers; of none all three are NaN, which is worded `-`."""

    low: float
    mean: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[Any]) -> Self:
        """Take the spread of those values that are numbers: neither None nor NaN."""
        numbers = [float(value) for value in values if value is not None and not math.isnan(value)]
        if not numbers:
            return cls(math.nan, math.nan, math.nan, 0)
        return cls(min(numbers), sum(numbers) / len(numbers), max(numbers), len(numbers))


@dataclass(frozen=True)
class Load:
    """What a strategy was put under: so many users, and those settings that differ between the runs."""

    users: int
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def label(self) -> str:
        """The load in words.

        >>> Load(1000, (("p", "0.05"),)).label
        '1,000 users, p 0.05'
        """
        return ", ".join([f"{self.users:,} users", *(f"{name} {value}" for name, value in self.settings)])


@dataclass(frozen=True)
class Cell:
    """The runs of one strategy under one load, a seed each. `strategy` is the name to show."""

    strategy: str
    load: Load
    runs: tuple[Mapping[str, Any], ...]
    source: str = ""

    @property
    def label(self) -> str:
        """The name to show, with a mark on the canary and on what is broken on purpose."""
        return _marked(self.strategy, self.runs[0])

    @property
    def broken(self) -> bool:
        """Whether the design is broken on purpose, to be compared with the one that mends it."""
        return any(run.get("broken") for run in self.runs)

    @property
    def sound(self) -> bool:
        """Whether it passed and may be praised for it: it is neither the canary nor broken on purpose."""
        return self.verdict == "pass" and not self.broken and not self.canary

    @property
    def canary(self) -> bool:
        """Whether this is the design that must oversell."""
        return is_canary(self.runs[0])

    @property
    def verdict(self) -> str:
        """The worst verdict of the runs: `fail`, then `inconclusive`, then `pass`."""
        return worst_verdict([str(run["verdict"]) for run in self.runs])

    @property
    def over(self) -> Spread:
        """Oversubscription, as a share of the capacity; of the runs whose ledger is known."""
        return Spread.of([sale.over for sale in self._sales()])

    @property
    def under(self) -> Spread:
        """Undersubscription, as a share of the capacity; of the runs whose ledger is known."""
        return Spread.of([sale.under for sale in self._sales()])

    @property
    def dust_fen(self) -> int:
        """The most that a run left since it was free for nobody when they asked; of runs that prove something."""
        proven = [run for run in self.runs if run["verdict"] != "inconclusive"]
        return max((int(run["tranche"].get("dust_fen") or 0) for run in proven), default=0)

    @property
    def goodput(self) -> Spread:
        """Bids told ok per second."""
        return self._spread("load", "goodput_per_s")

    @property
    def p99_ms(self) -> Spread:
        """The 99th percentile of the response times, in ms since the intended first tap."""
        return Spread.of([run.get("latency_ms", {}).get("response", {}).get("p99") for run in self.runs])

    @property
    def attempts(self) -> Spread:
        """Taps per bid."""
        return self._spread("load", "attempts_per_bid")

    @property
    def inversions(self) -> Spread | None:
        """Share of the comparable pairs in which the later bidder was served; None where no run says it."""
        return self._known("fairness", "inversions")

    @property
    def gini(self) -> Spread | None:
        """Gini coefficient of the win chance over arrival cohorts; None where no run says it."""
        return self._known("fairness", "gini")

    @property
    def worst_run(self) -> Mapping[str, Any]:
        """The run that broke most; of equal ones the first."""
        return max(self.runs, key=badness)

    @property
    def failed(self) -> tuple[str, ...]:
        """The names of the checks that some run failed."""
        return tuple(dict.fromkeys(check for run in self.runs for check in broken_checks(run)))

    def _sales(self) -> list[Sale]:
        sales = [Sale.read(run) for run in self.runs]
        return [sale for sale in sales if sale.confirmed_fen is not None]

    def _spread(self, part: str, key: str) -> Spread:
        return Spread.of([(run.get(part) or {}).get(key) for run in self.runs])

    def _known(self, part: str, key: str) -> Spread | None:
        spread = self._spread(part, key)
        return spread if spread.count else None


def is_canary(run: Mapping[str, Any]) -> bool:
    """Return whether a run is of the design that must oversell."""
    return bool(run.get("canary")) or run["strategy"] == CANARY


def shown_sale(run: Mapping[str, Any]) -> Sale:
    """Return what a run sold, under the name to show."""
    sale = Sale.read(run)
    name = _marked(shown_name(run), run)
    return Sale(name, sale.verdict, sale.capacity_fen, sale.confirmed_fen, sale.over, sale.under)


def _marked(name: str, run: Mapping[str, Any]) -> str:
    canary = is_canary(run)
    return f"{name} {BROKEN_MARK}" if run.get("broken") and not canary else named(name, canary=canary)


def worst_verdict(verdicts: Sequence[str]) -> str:
    """Return the worst of some verdicts."""
    return max(verdicts, key=lambda verdict: _SEVERITY.get(verdict, 1))


def badness(run: Mapping[str, Any]) -> tuple[int, float, int, int]:
    """Return how badly a run of bids came out, to sort by.

    First counts the verdict, then the share oversold or undersold, the number of failed checks, the fen off.
    """
    sale = Sale.read(run)
    return _SEVERITY.get(sale.verdict, 1), max(sale.over, sale.under), len(broken_checks(run)), sale.off_fen


def gather(runs: Sequence[Mapping[str, Any]]) -> list[Cell]:
    """Return the cells in order of first appearance, the seeds of a strategy and load together.

    `runs` are run summaries (schema `oversold/run/1`); runs of payouts are left out. A run's key `source`, where
    there is one, keeps its cells apart from those of other sources.
    """
    bids = [run for run in runs if "tranche" in run]
    differing = _differing(bids)
    cells: dict[tuple[str, Load], list[Mapping[str, Any]]] = {}
    for run in bids:
        load = Load(_users(run), tuple((name, word(run)) for name, word in differing.items()))
        cells.setdefault((shown_name(run), load), []).append(run)
    return [Cell(name, load, tuple(own), str(own[0].get("source") or "")) for (name, load), own in cells.items()]


def loads(cells: Sequence[Cell]) -> list[Load]:
    """Return the loads, the fewest users first; those of as many users in order of first appearance."""
    return sorted(dict.fromkeys(cell.load for cell in cells), key=lambda load: load.users)


def strategies(cells: Sequence[Cell]) -> list[str]:
    """Return the strategies' shown names in order of first appearance."""
    return list(dict.fromkeys(cell.strategy for cell in cells))


def ranked(cells: Sequence[Cell]) -> list[str]:
    """Return the strategies' shown names, best first, the canary last.

    Those that passed everywhere come first, by their largest load and then by goodput there, then those with a
    doubt, likewise, then those that are broken on purpose and did not fail, then those that failed, by the largest
    share that they over- or undersold anywhere.
    """
    own: dict[str, list[Cell]] = {}
    for cell in cells:
        own.setdefault(cell.strategy, []).append(cell)
    size = {load: place for place, load in enumerate(loads(cells))}

    def place(name: str) -> tuple[bool, bool, bool, int, float, int, float]:
        severity = _SEVERITY.get(worst_verdict([cell.verdict for cell in own[name]]), 1)
        failed, broken = severity == _SEVERITY["fail"], any(cell.broken for cell in own[name])
        largest = max(own[name], key=lambda cell: size[cell.load])
        wrong = Spread.of([rate for cell in own[name] for rate in (cell.over.high, cell.under.high)])
        share = wrong.high if wrong.count and failed else 0.0
        speed = largest.goodput.mean if largest.goodput.count else 0.0
        return (
            own[name][0].canary,
            failed,
            broken and not failed,
            severity,
            share,
            -size[largest.load],
            -speed,
        )

    return sorted(own, key=place)


def ordered(cells: Sequence[Cell], load: Load | None = None) -> list[Cell]:
    """Return the cells of one load, by default the last of `loads`, in the order of `ranked` over all cells."""
    chosen = load or loads(cells)[-1]
    rank = {name: place for place, name in enumerate(ranked(cells))}
    return sorted((cell for cell in cells if cell.load == chosen), key=lambda cell: rank[cell.strategy])


def worth_showing(runs: Sequence[Mapping[str, Any]], most: int) -> list[int]:
    """Return the indices of at most `most` runs to show one by one: all if they are no more.

    Otherwise the worst run of each strategy, the canary first, then those that oversold, then the others, worst
    first. Of a single strategy its worst runs. All `runs` are of bids.
    """
    if len(runs) <= most:
        return list(range(len(runs)))
    worst_first = sorted(range(len(runs)), key=lambda i: _urgency(runs[i]), reverse=True)
    if len({shown_name(run) for run in runs}) == 1:
        return worst_first[:most]
    chosen: dict[str, int] = {}
    for i in worst_first:
        chosen.setdefault(shown_name(runs[i]), i)
    return sorted(chosen.values(), key=lambda i: not is_canary(runs[i]))[:most]


def _urgency(run: Mapping[str, Any]) -> tuple[bool, tuple[int, float, int, int]]:
    return Sale.read(run).over > 0, badness(run)


def _users(run: Mapping[str, Any]) -> int:
    return int(run.get("load", {}).get("users") or 0)


def _differing(runs: Sequence[Mapping[str, Any]]) -> dict[str, Callable[[Mapping[str, Any]], str]]:
    """Return how to word each condition that differs between runs of one source, by its name."""
    settings = dict.fromkeys(name for run in runs for name in run.get("settings", {}))
    conditions: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "capacity": lambda run: yuan(int(run["tranche"]["capacity_fen"])),
        **{name: _reader("load", name) for name in ("processes", "lanes")},
        "path": lambda run: "HTTP" if run.get("http") else "in-process",
        "rtt": lambda run: f"{_reader('load', 'rtt_ms')(run)} ms",
        **{name: _reader("settings", name) for name in settings},
    }
    # Sources are told apart by their name already: what only differs between them would put them side by side
    # in columns of their own.
    sources: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        sources.setdefault(str(run.get("source") or ""), []).append(run)
    return {
        name: word
        for name, word in conditions.items()
        if any(len({word(run) for run in own}) > 1 for own in sources.values())
    }


def _reader(part: str, key: str) -> Callable[[Mapping[str, Any]], str]:
    def read(run: Mapping[str, Any]) -> str:
        value = run.get(part, {}).get(key)
        if value is None:
            return "default"
        if isinstance(value, bool):
            return str(value).lower()
        return f"{value:g}" if isinstance(value, float) else str(value)

    return read
