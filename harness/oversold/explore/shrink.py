"""Makes a counterexample as small as it can be: the same promise, fewer faults, actors, steps and switches.

Every candidate is run, loosely: what is not possible any more is skipped. One that breaks the same promise and is
smaller takes the place of the best so far (delta debugging, Zeller and Hildebrandt 2002).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from oversold.clock import SystemClock
from oversold.errors import UsageError
from oversold.explore.execution import Pruned
from oversold.explore.replay import Loose, Move, findings, moves, played, recorded
from oversold.explore.search import Diverged
from oversold.explore.subject import Scenario, Subject
from oversold.schedule import NOBODY, Schedule

Candidate = tuple[tuple[Move, ...], Scenario]
Size = tuple[int, int, int, int]
NUMBERED = re.compile(r"(?P<role>.+) (?P<number>[0-9]+)")


def shrunk(stage: Callable[[Scenario], Subject], schedule: Schedule, wanted: str, until: float) -> Schedule:
    """Return the smallest schedule found that breaks the promise `wanted`, the schedule itself if there is none.

    `stage` gives the subject of a scenario. At `until`, in seconds of the monotonic clock, the best so far is
    returned.

    Raises:
        Escape: a strategy got past its context.
    """
    return _Shrinking(stage, schedule, wanted, until).done()


def size(schedule: Schedule) -> Size:
    """Return by what schedules are compared: faults, the scenario's numbers, steps, changes of the actor."""
    numbers = sum(value for value in schedule.scenario.values() if isinstance(value, int))
    switches = sum(
        one.actor != other.actor for one, other in zip(schedule.steps, schedule.steps[1:], strict=False)
    )
    return schedule.faults, numbers, len(schedule.steps), switches


class _Shrinking:
    def __init__(
        self, stage: Callable[[Scenario], Subject], schedule: Schedule, wanted: str, until: float
    ) -> None:
        self._stage, self._wanted, self._until = stage, wanted, until
        self._clock = SystemClock()
        self._tried: set[tuple[object, ...]] = set()
        self.best = schedule

    def done(self) -> Schedule:
        # First as it is: from now on it has no more budget than faults, so that it can be followed to the letter.
        again = self._outcome(moves(self.best), self.best.scenario)
        if again is not None:
            self.best = again
        passes = [fewer_faults, fewer_actors, smaller_numbers]
        if self._wanted != "livelock":  # that has as many steps as it is given
            passes += [fewer_steps, fewer_switches]
        before = None
        while before != self.best:  # fewer steps may make fewer actors possible, and so on
            before = self.best
            for candidates in passes:
                while any(self._smaller(candidate) for candidate in candidates(self.best)):
                    pass  # from the new best on
        self._smaller(renamed(self.best), or_equal=True)
        return self.best

    def _smaller(self, candidate: Candidate, *, or_equal: bool = False) -> bool:
        """Run a candidate; true when it has become the best so far."""
        steps, scenario = candidate
        known = (steps, *sorted(scenario.items()))
        if known in self._tried or self._clock.now_s() > self._until:
            return False
        self._tried.add(known)
        found = self._outcome(steps, scenario)
        if found is None or size(found) > size(self.best) or (size(found) == size(self.best) and not or_equal):
            return False
        self.best = found
        return True

    def _outcome(self, steps: Sequence[Move], scenario: Scenario) -> Schedule | None:
        """Return what comes of some moves, when it breaks the same promise."""
        faults = sum(move.choice != "go" for move in steps)
        try:
            subject = self._stage(scenario)
            execution = played(subject, lambda: Loose(steps), faults)
        except (UsageError, Diverged, Pruned):  # no such scenario, locks not to be learned, nobody gives up
            return None
        for finding in findings(subject, execution):
            if finding.check == self._wanted:
                found = recorded(execution, subject, finding, self.best.outcome, self.best.seed)
                return found if found.faults == faults else self._settled(found)
        return None

    def _settled(self, found: Schedule) -> Schedule | None:
        """Return the same with no more budget than the faults that could still happen."""
        return self._outcome(moves(found), found.scenario)


def fewer_faults(best: Schedule) -> Iterator[Candidate]:
    """Yield the moves without one of the faults: the command is served, or what nobody does does not happen."""
    steps = moves(best)
    for place, move in enumerate(steps):
        if move.choice != "go":
            instead = () if move.actor in NOBODY else (Move(move.actor, "go"),)
            yield (*steps[:place], *instead, *steps[place + 1 :]), best.scenario


def fewer_actors(best: Schedule) -> Iterator[Candidate]:
    """Yield the moves without some of the actors, in scenarios with fewer of them and less of everything else."""
    for role, count in _roles(best):
        for dropped in _chunks(count):
            kept = [number for number in range(1, count + 1) if number not in dropped]
            names = {f"{role} {number}": f"{role} {new}" for new, number in enumerate(kept, 1)}
            steps = _renamed((move for move in moves(best) if _stays(move, role, names)), names)
            for less in _with_less(best.scenario, len(dropped)):
                yield steps, {**less, f"{role}s": len(kept)}


def smaller_numbers(best: Schedule) -> Iterator[Candidate]:
    """Yield the same moves in scenarios of which one number is smaller."""
    for name, value in best.scenario.items():
        if isinstance(value, int):
            for less in sorted({1, value // 2, value - 1}):
                if 1 <= less < value:
                    yield moves(best), {**best.scenario, name: less}


def fewer_steps(best: Schedule) -> Iterator[Candidate]:
    """Yield the first moves only, then all but one: the rest is done by one actor after the other."""
    steps = moves(best)
    for count in range(len(steps)):
        yield steps[:count], best.scenario
    for place in range(len(steps)):
        yield (*steps[:place], *steps[place + 1 :]), best.scenario


def fewer_switches(best: Schedule) -> Iterator[Candidate]:
    """Yield the moves with a block of one actor's moves, or a part of it, brought to the actor's block before or
    after it."""
    steps = moves(best)
    blocks = _blocks(steps)
    for index, (start, end) in enumerate(blocks):
        again = next((each for each in blocks[index + 1 :] if steps[each[0]].actor == steps[start].actor), None)
        if again is None:
            continue
        first, last = again
        yield (*steps[:end], *steps[first:last], *steps[end:first], *steps[last:]), best.scenario
        yield (*steps[:start], *steps[end:first], *steps[start:end], *steps[first:]), best.scenario
        for middle in range(first + 1, last):
            yield (*steps[:end], *steps[first:middle], *steps[end:first], *steps[middle:]), best.scenario
        for middle in range(start + 1, end):
            yield (*steps[:middle], *steps[end:first], *steps[middle:end], *steps[first:]), best.scenario


def renamed(best: Schedule) -> Candidate:
    """Return the same moves with the actors numbered in the order of their first steps."""
    names: dict[str, str] = {}
    for role, count in _roles(best):
        mine = [f"{role} {number}" for number in range(1, count + 1)]
        acting = [name for name in dict.fromkeys(step.actor for step in best.steps) if name in mine]
        order = [*acting, *(name for name in mine if name not in acting)]
        names |= dict(zip(order, mine, strict=True))
    return _renamed(moves(best), names), best.scenario


def _roles(schedule: Schedule) -> list[tuple[str, int]]:
    """Return of which actors a scenario has how many: its `bidders` are `bidder 1`, `bidder 2`, and so on."""
    acting = {found["role"] for actor in schedule.actors if (found := NUMBERED.fullmatch(actor))}
    return [
        (name[:-1], value)
        for name, value in schedule.scenario.items()
        if isinstance(value, int) and name.endswith("s") and name[:-1] in acting
    ]


def _stays(move: Move, role: str, names: dict[str, str]) -> bool:
    numbered = NUMBERED.fullmatch(move.actor)
    return numbered is None or numbered["role"] != role or move.actor in names


def _renamed(steps: Iterable[Move], names: dict[str, str]) -> tuple[Move, ...]:
    return tuple(move._replace(actor=names.get(move.actor, move.actor)) for move in steps)


def _chunks(count: int) -> Iterator[range]:
    """Yield parts of the numbers from 1 to `count`, large ones first."""
    size = count - 1
    while size >= 1:
        for start in range(1, count + 1, size):
            yield range(start, min(start + size, count + 1))
        size //= 2


def _with_less(scenario: Scenario, less: int) -> Iterator[Scenario]:
    """Yield the scenario with its numbers at one, then with each of them less by so much, then as it is."""
    for smaller in (lambda value: 1, lambda value: value - less, lambda value: value):
        yield {
            name: min(value, max(1, smaller(value))) if isinstance(value, int) else value
            for name, value in scenario.items()
        }


def _blocks(steps: Sequence[Move]) -> list[tuple[int, int]]:
    """Return from where to where one actor's moves follow one another."""
    starts = [place for place in range(len(steps)) if place == 0 or steps[place].actor != steps[place - 1].actor]
    return list(zip(starts, [*starts[1:], len(steps)], strict=False))
