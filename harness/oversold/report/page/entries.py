"""What the page says of each design: one entry a design and load, its numbers in columns, and why."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from oversold.report.cells import Spread, worst_verdict
from oversold.report.phrases import between
from oversold.report.tables import NOTHING


class Card(Protocol):
    """What is told of a strategy: how it works, what it keeps, and where its hole is."""

    @property
    def algorithm(self) -> str:
        """How it works, in a sentence."""

    @property
    def guarantee(self) -> str:
        """What it keeps."""

    @property
    def hole(self) -> str:
        """Where it fails."""


@dataclass(frozen=True)
class Column:
    """A column of numbers: its title, what it means in a sentence, and which end of it is the best."""

    title: str
    meaning: str
    best: Literal["low", "high"] = "low"


@dataclass(frozen=True)
class Value:
    """A number as it is told, as it sorts (None: there is none), and what stands below it in small."""

    text: str
    sort: float | None
    small: str = ""


NO_VALUE = Value(NOTHING, None)


@dataclass(frozen=True)
class Entry:
    """One design under one load: the runs of all seeds together.

    `strategy` is the name that a strategy is run by, `name` the one that tells it from the others here. `rank`
    counts designs from 1, the best first. `worst` is the run that broke most. A design that is `broken` is so on
    purpose, to be compared with the one that mends it.
    """

    rank: int
    name: str
    strategy: str
    load: int
    verdict: str
    canary: bool
    values: tuple[Value, ...]
    runs: tuple[Mapping[str, Any], ...]
    worst: Mapping[str, Any]
    broken: bool = False

    @property
    def reasons(self) -> list[tuple[str, str]]:
        """Why the worst run did not pass: (check, sentence); the check is empty where it is not known."""
        return reasons(self.worst)

    @property
    def others(self) -> list[str]:
        """What the runs other than the worst came to, in a few words each, where not all passed."""
        if self.verdict == "pass":
            return []
        return [f"{run_words(run)}: {_brief(run)}" for run in self.runs if run is not self.worst]

    @property
    def which(self) -> str:
        """Which run `worst` is, if there are several."""
        return f"{run_words(self.worst)}, the worst of {len(self.runs)} runs" if len(self.runs) > 1 else ""

    @property
    def paces(self) -> list[str]:
        """What set the pace of its runs, each cause once."""
        return list(dict.fromkeys(pace for run in self.runs if (pace := pace_of(run))))

    @property
    def command(self) -> str:
        """The command that repeats the worst run."""
        return str(self.worst.get("command") or "")

    @property
    def cause(self) -> str:
        """Why the worst run broke its promise, by the shortest schedule that does; nothing where none is known."""
        return str((self.worst.get("cause") or {}).get("sentence") or "")

    @property
    def explain(self) -> str:
        """The command that explores why; nothing where it cannot be explored."""
        return str(self.worst.get("explain") or "")


@dataclass(frozen=True)
class Table:
    """All entries, the best design first, and the answer that they give.

    `loads` are the labels of the loads, the largest last. `pace` says what set the pace of the design that the
    answer names the fastest, where that was not the design itself.
    """

    answer: str
    columns: tuple[Column, ...]
    loads: tuple[str, ...]
    entries: tuple[Entry, ...]
    pace: str = ""

    @property
    def designs(self) -> dict[str, str]:
        """Each design's name with its worst verdict over all loads, the best design first."""
        worst: dict[str, str] = {}
        for entry in self.entries:
            worst[entry.name] = worst_verdict([worst.get(entry.name, "pass"), entry.verdict])
        return worst

    @property
    def broken_passes(self) -> int:
        """How many designs pass although they are broken on purpose."""
        broken = {entry.name for entry in self.entries if entry.broken}
        return sum(verdict == "pass" for name, verdict in self.designs.items() if name in broken)

    @property
    def first(self) -> int | None:
        """The index of the load to look at first: the largest, if all designs were put under it."""
        last = len(self.loads) - 1
        there = {entry.name for entry in self.entries if entry.load == last}
        return last if len(there) == len(self.designs) else None

    def elsewhere(self, entry: Entry) -> str:
        """Say under which other loads a design came out worse than in this entry; nothing if it did not."""
        verdict = self.designs[entry.name]
        if verdict == entry.verdict:
            return ""
        loads = [other.load for other in self.entries if (other.name, other.verdict) == (entry.name, verdict)]
        return f"{verdict} at {'; '.join(self.loads[load] for load in sorted(loads))}"


def fastest(number: int, of: int) -> str:
    """Say that one design, or several that are level, were the fastest of those that kept their promise.

    >>> fastest(1, 1), fastest(1, 2), fastest(1, 3)
    ('was the only one that did', 'was the faster of the 2 that did', 'was the fastest of the 3 that did')
    >>> fastest(2, 3), fastest(2, 2)
    ('were the fastest of the 3 that did', 'were as fast as one another')
    """
    if number > 1:
        return "were as fast as one another" if number == of else f"were the fastest of the {of} that did"
    if of == 1:
        return "was the only one that did"
    return f"was the {'faster' if of == 2 else 'fastest'} of the {of} that did"


def reasons(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return why a run did not pass: (check, sentence)."""
    found = [one for one in run.get("findings", []) if one["verdict"] != "pass"]
    checks = {str(one["detail"]): str(one["check"]).replace("_", " ") for one in found}
    said = [str(reason) for reason in run.get("reasons") or checks]
    if not said and run["verdict"] != "pass":
        said = ["the run recorded no reason"]
    return [(checks.get(reason, ""), " ".join(reason.split())) for reason in said]


def run_words(run: Mapping[str, Any]) -> str:
    """Say which of several runs of one design this is."""
    return f"seed {run.get('seed', '?')}"


def pace_of(run: Mapping[str, Any]) -> str:
    """Return what limited a run, or nothing if it does not say."""
    return str(run.get("limits", {}).get("limited_by") or "")


def pace_cause(pace: str) -> str:
    """Return what limited a run without how far it did.

    >>> pace_cause("the load generator's CPU (97% of a core in the busiest process) and the lanes (88% busy)")
    "the load generator's CPU and the lanes"
    """
    return re.sub(r" \([^()]*\)", "", pace)


def number(value: Any) -> float | None:
    """Return a finite number, or None for what is missing, null, NaN or no number at all."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def worst_value(spread: Spread, word: Callable[[float], str]) -> Value:
    """Return the greatest of a range."""
    return NO_VALUE if number(spread.high) is None else Value(word(spread.high), spread.high)


def mean_value(spread: Spread | None, word: Callable[[float], str]) -> Value:
    """Return the mean of a range."""
    if spread is None or number(spread.mean) is None:
        return NO_VALUE
    return Value(word(spread.mean), spread.mean)


def ranged_value(spread: Spread, word: Callable[[float], str]) -> Value:
    """Return the mean of a range, and below it the range itself where its ends read differently."""
    mean = mean_value(spread, word)
    if mean.sort is None or word(spread.low) == word(spread.high):
        return mean
    return Value(mean.text, mean.sort, between([spread.low, spread.high], word))


def runs_value(runs: Sequence[Mapping[str, Any]], verdict: str) -> Value:
    """Return how many runs there are, and below it how many of them have the verdict, if not all."""
    same = sum(run["verdict"] == verdict for run in runs)
    return Value(f"{len(runs)}", float(len(runs)), f"{same} {verdict}" if same < len(runs) else "")


def _brief(run: Mapping[str, Any]) -> str:
    checks = [check for check, _ in reasons(run) if check]
    return f"{run['verdict']} ({', '.join(checks)})" if checks else str(run["verdict"])
