"""Draws schedules where there are too many to walk all: at random, and by priorities that change at few moments.

Probabilistic concurrency testing (Burckhardt, Kothari, Musuvathi and Nagarakatte 2010): a bug that needs d
orderings among n actors that take k steps is found by one execution in at most n * k ** (d - 1). Which d a bug
needs is not known, so the portfolio goes round. The same seed draws the same schedules.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from random import Random

from oversold.clock import seeded
from oversold.explore.execution import Execution, Option
from oversold.schedule import NOBODY

LENGTH = 30  # steps that an execution is expected to take, until one has been seen
RECENT = 8  # executions whose longest tells how long the next one may be
DEPTHS = (1, 2, 3)


class RandomWalk:
    """Chooses among all who can go on, each with the same chance. `length` is how many steps are expected."""

    def __init__(self, seed: int | str, length: int = LENGTH) -> None:
        self._random = seeded("walk", seed)
        self.length = length
        self.made = 0  # choices so far

    def choose(self, options: Sequence[Option], execution: Execution) -> Option:
        """Return one of the options."""
        self.made += 1
        fault = drawn(self._random, options, execution.budget, self.length)
        return fault or self._random.choice([option for option in options if option.choice == "go"])


class Pct:
    """Lets the actor of the highest priority go on; priorities change at `depth` - 1 of the expected steps.

    Who has slept goes behind all others, as a thread that yields does: otherwise a loop that waits may never end.
    """

    def __init__(self, seed: int | str, depth: int, length: int = LENGTH) -> None:
        self._random = seeded("pct", depth, seed)
        self.depth = depth
        self.length = length
        moments = range(1, max(length, depth))
        self._changes = frozenset(self._random.sample(moments, depth - 1))
        self._priorities: dict[str, float] = {}
        self._lowest = 0.0
        self._rested: set[str] = set()  # who has gone behind the others since its last step
        self.made = 0  # choices so far

    def choose(self, options: Sequence[Option], execution: Execution) -> Option:
        """Return one of the options."""
        now, self.made = self.made, self.made + 1
        fault = drawn(self._random, options, execution.budget, self.length)
        if fault is not None:
            return fault
        able = [option for option in options if option.choice == "go"]
        for option in able:
            if option.actor not in self._priorities:
                self._priorities[option.actor] = 1.0 + self._random.random()
        slept = {actor.name for actor in execution.actors if actor.slept}
        for option in able:
            if option.actor in slept - self._rested:
                self._rested.add(option.actor)
                self._lower(option.actor)
        if now in self._changes:
            self._lower(self._first(able).actor)
        chosen = self._first(able)
        self._rested.discard(chosen.actor)
        return chosen

    def _first(self, able: Sequence[Option]) -> Option:
        return max(able, key=lambda option: self._priorities[option.actor])

    def _lower(self, actor: str) -> None:
        self._lowest -= 1.0
        self._priorities[actor] = self._lowest


def drawn(random: Random, options: Sequence[Option], budget: int, length: int) -> Option | None:
    """Return a fault now and then: about `budget` of them in `length` steps. Each kind has the same chance."""
    faults = [option for option in options if option.choice != "go"]
    if not faults or random.random() >= budget / max(length, 2 * budget):
        return None
    kind = random.choice(sorted({(option.actor in NOBODY, option.choice) for option in faults}))
    return random.choice([option for option in faults if (option.actor in NOBODY, option.choice) == kind])


def portfolio(seed: int) -> Iterator[RandomWalk | Pct]:
    """Yield one chooser after the other, each for one execution. How long executions are is learned on the way."""
    makers: list[Callable[[str, int], RandomWalk | Pct]] = [RandomWalk]
    makers += [lambda word, length, depth=depth: Pct(word, depth, length) for depth in DEPTHS]  # type: ignore[misc]
    lengths: deque[int] = deque(maxlen=RECENT)
    number = 0
    while True:
        chooser = makers[number % len(makers)](f"{seed}.{number}", max(lengths, default=LENGTH))
        yield chooser
        if chooser.made:
            lengths.append(chooser.made)
        number += 1
