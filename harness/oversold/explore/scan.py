"""A first look before all schedules are walked: one actor after the other, with one fault at each place in turn.

Most holes show there already. A search from the end of the schedules backwards would come to them last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from oversold.explore.execution import Execution, Option
from oversold.schedule import Choice

# What breaks most designs comes first.
ORDER: tuple[Choice, ...] = (
    "lost_reply",
    "lie",
    "expire",
    "evict",
    "time_passes",
    "step_fails",
    "crash_after",
    "lost_request",
)
# These harm whoever holds something just then and goes on late.
PAUSES: frozenset[Choice] = frozenset({"expire", "evict", "time_passes"})


@dataclass
class Straight:
    """Lets one actor after the other go on to its end, but takes one option at one moment. From there it goes
    `away` to the other actors, where that is wished, and comes back when they are through. `offered` is what else
    could have been done: the moment, and the option's key."""

    moment: int | None = None
    away: bool = False
    key: tuple[str, Choice, str] | None = None
    offered: list[tuple[int, tuple[str, Choice, str]]] = field(default_factory=list)
    _moments: int = 0
    _last: str = ""
    _left: str = ""

    def choose(self, options: Sequence[Option], execution: Execution) -> Option:
        """Go on with whoever went last."""
        moment, self._moments = self._moments, self._moments + 1
        if moment == self.moment:
            chosen = next((option for option in options if option.key == self.key), None)
            if chosen is not None:
                self._left = self._last if self.away else ""
                return chosen
        plain = [option for option in options if option.choice == "go"]
        others = [option for option in plain if option.actor != self._left]
        plain = others or plain
        chosen = next((option for option in plain if option.actor == self._last), plain[0])
        if self.moment is None:
            self.offered += [(moment, option.key) for option in options if option.choice != "go"]
        self._last = chosen.actor
        return chosen


def scan(play: Callable[[Straight], object]) -> Iterator[None]:
    """Play the straight schedule, then the same with each of the faults that were offered there; yield after
    each."""
    first = Straight()
    play(first)
    yield
    ranked = sorted(first.offered, key=lambda each: (ORDER.index(each[1][1]), each[0]))
    for moment, key in ranked:
        for away in (True, False) if key[1] in PAUSES else (False,):
            play(Straight(moment, away, key))
            yield
