"""Explores a mutant until something breaks that its sound original keeps."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from oversold.explorations.questions import Exploration
from oversold.explorations.servers import Stores
from oversold.explore import explorer
from oversold.explore.explorer import Explorer, Limits, Result
from oversold.explore.stage import Store
from oversold.explore.subject import Scenario, Subject
from oversold.schedule import Outcome
from tests.mutants import designs, making
from tests.mutants.corpus import Mutant
from tests.mutants.designs import Phase
from tests.mutants.originals import Originals, Seen
from tests.mutants.watching import Mark, Watched

FOUND: tuple[Outcome, ...] = ("VIOLATION", "DEADLOCK", "LIVELOCK")
NOT_SAFE = {"raised", "deadlock", "livelock"}
MORE = 40  # schedules after something besides safety was seen, for safety
SPIN_S = 15.0  # over the budget: then it turns round without a store command


@dataclass
class Hunted:
    """What came of a mutant. `kind` is `safety`, `otherwise` (a wait without end, an exception, another promise),
    `stillborn` (it cannot even be opened) or `survived`. `how` says by what, `phase` in which exploration."""

    mutant: Mutant
    kind: str
    how: str = ""
    phase: int = 0
    seen: list[Seen] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """How long it took."""
        return sum(each.seconds for each in self.seen)

    @property
    def done(self) -> bool:
        """Whether there is no phase left that may find it."""
        return self.kind != "survived" or len(self.seen) >= len(designs.PHASES[designs.kind(self.mutant.design)])

    @property
    def whole(self) -> bool:
        """Whether all schedules of all phases were walked."""
        return all(each.outcome == "EXHAUSTED" for each in self.seen)


class Hunter:
    """Explores mutants of one design after another on the same servers; knows what the originals show.

    A phase ends after a number of schedules, so that a slow machine finds the same; `budget_s` is for the case
    that even these take too long.
    """

    def __init__(
        self, servers: Stores, budget_s: float, store: Store = "real", originals: Originals | None = None
    ) -> None:
        self._servers, self._budget_s, self._store = servers, budget_s, store
        self._originals = originals or Originals()

    def hunted(self, mutant: Mutant, survived: Sequence[Seen] = ()) -> Hunted:
        """Explore a mutant phase by phase until it is found, after the phases that it has survived before."""
        result = Hunted(mutant, "survived", seen=list(survived))
        phases = designs.PHASES[designs.kind(mutant.design)]
        try:
            with making.made(mutant) as code:
                for number, phase in list(enumerate(phases, 1))[len(survived) :]:
                    known = self.original(mutant.design, number)
                    seen = self._seen(mutant.design, code, phase, phase.schedules, known.marks)
                    result.seen.append(seen)
                    if self._counts(result, seen, known):
                        result.phase = number
                        break
        except _StillbornError as error:
            result.kind, result.how = "stillborn", str(error)
        return result

    @staticmethod
    def _counts(result: Hunted, seen: Seen, known: Seen) -> bool:
        """Note what a phase showed that the original does not show; false if there is nothing."""
        new = sorted({mark[0] for mark in seen.marks - known.marks})
        if seen.outcome in FOUND and seen.broken != known.broken:
            result.kind = "otherwise" if seen.broken in NOT_SAFE else "safety"
            result.how = seen.broken
        elif seen.outcome == "NONDETERMINISTIC" != known.outcome:
            result.kind, result.how = "otherwise", "nondeterministic"
        elif new:
            result.kind, result.how = "otherwise", ", ".join(new)
        return result.kind != "survived"

    def original(self, design: str, number: int) -> Seen:
        """Return what a phase shows of the design itself."""
        phase = designs.PHASES[designs.kind(design)][number - 1]

        def explore() -> Seen:
            with making.loaded(design, {}) as code:
                return self._seen(design, code, phase, phase.for_originals, None)

        return self._originals.seen(design, phase, explore)

    def _seen(
        self, design: str, code: type[Any], phase: Phase, schedules: int, known: frozenset[Mark] | None
    ) -> Seen:
        """Explore; where something shows besides what is `known`, not for much longer."""
        seconds = self._budget_s
        asked = Exploration(
            design,
            designs.kind(design),
            phase.scenario,
            Limits(phase.faults, seconds),
            designs.store(design, self._store),
            code=code,
        )
        started = time.monotonic()
        with self._servers.stage(asked) as stage, _at_most(seconds + SPIN_S):
            watched: dict[int, Watched] = {}

            def subject(scenario: Scenario) -> Subject:
                found = stage.subject(scenario)
                if id(found) not in watched:
                    watched[id(found)] = Watched(found, phase.faults, pauses=design not in designs.PAUSED)
                return watched[id(found)]  # type: ignore[return-value]

            try:
                first = subject(phase.scenario)
            except Exception as error:
                raise _StillbornError(f"{type(error).__name__}: {error}".splitlines()[0]) from error
            marks = next(iter(watched.values())).marks
            ended = _Ended(schedules, marks, known)
            # The first counterexample is enough; it is repeated ten times all the same.
            with mock.patch.multiple(explorer, SETTLE_S=0.0, SHRINK_S=0.0, ASIDE_S=0.0):
                found = Explorer(first, asked.limits, subject, ended).search()
        broken = found.schedule.broken if found.schedule else None
        return Seen(
            found.outcome,
            broken.check if broken else "",
            broken.detail if broken else found.why,
            frozenset(marks),
            found.runs,
            time.monotonic() - started,
        )


class _Ended:
    """Ends a search after so many schedules, and soon after it has shown something besides what is known."""

    def __init__(self, schedules: int, marks: set[Mark], known: frozenset[Mark] | None) -> None:
        self._schedules, self._marks, self._known = schedules, marks, known

    def __call__(self, result: Result) -> None:
        if result.first_s is not None:
            return
        if self._known is not None and not self._marks <= self._known:
            self._schedules = min(self._schedules, result.runs + MORE)
            self._known = None
        if result.runs >= self._schedules:
            raise KeyboardInterrupt  # as a person would: the search tells what it has


class _StillbornError(Exception):
    """A mutant cannot even be opened."""


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raise in whatever runs when it takes longer: a mutant may turn round without a store command."""

    def spins(*_: object) -> None:
        raise TimeoutError(f"no store command for {SPIN_S:g} s")

    before = signal.signal(signal.SIGALRM, spins)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def expected(hunted: Hunted, explanations: Mapping[str, tuple[str, str]]) -> bool:
    """Tell whether a mutant was found, or has an explanation why not, but not both."""
    explained = hunted.mutant.name in explanations
    return explained == (hunted.kind == "survived") or hunted.kind == "stillborn"
