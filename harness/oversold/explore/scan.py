"""A first look before all schedules are walked: one actor after the other, with one fault at each place in turn,
then with two.

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
    "gives_up",
    "crash_after",
    "lost_request",
)
# These harm whoever holds something just then and goes on late.
PAUSES: frozenset[Choice] = frozenset({"expire", "evict", "time_passes"})


@dataclass(frozen=True)
class Fault:
    """One option, by its key, at one moment. From there it goes `away` to the other actors, where that is wished,
    and comes back when they are through. It is `late` when the actor is just about to write what it has read."""

    moment: int
    key: tuple[str, Choice, str]
    away: bool = False
    late: bool = False


@dataclass
class Straight:
    """Lets one actor after the other go on to its end, but for some faults, in the order of their moments.
    `offered` is what else could have been done after the last of them."""

    faults: tuple[Fault, ...] = ()
    offered: list[Fault] = field(default_factory=list)
    _moments: int = 0
    _last: str = ""
    _left: str = ""
    _read: set[tuple[str, str]] = field(default_factory=set)  # by whom, and which key

    def begin(self) -> None:
        """Start from the beginning; what was learned of a lock does so in the middle of an execution."""
        self._moments, self._last, self._left = 0, "", ""
        self.offered.clear()
        self._read.clear()

    def choose(self, options: Sequence[Option], execution: Execution) -> Option:
        """Go on with whoever went last."""
        moment, self._moments = self._moments, self._moments + 1
        for fault in self.faults:
            chosen = next((option for option in options if option.key == fault.key), None)
            if fault.moment == moment and chosen is not None:
                self._left = self._last if fault.away else ""
                return chosen
        plain = [option for option in options if option.choice == "go"]
        others = [option for option in plain if option.actor != self._left]
        plain = others or plain
        chosen = next((option for option in plain if option.actor == self._last), plain[0])
        if not self.faults or moment > self.faults[-1].moment:
            late = any((chosen.actor, key) in self._read for key in chosen.operation.writes)
            self.offered += [
                Fault(moment, option.key, away, late and away)
                for option in options
                if option.choice != "go"
                for away in ((True, False) if option.choice in PAUSES else (False,))
            ]
        self._last = chosen.actor
        self._read.update((chosen.actor, key) for key in chosen.operation.reads)
        return chosen

    def more(self) -> Iterator[Straight]:
        """Yield the same with one more fault, wherever one was offered."""
        for fault in self.offered:
            yield Straight((*self.faults, fault))

    @property
    def rank(self) -> tuple[int, ...]:
        """What is tried first has the lowest."""
        # What gives a hold back is only seen after that.
        reached = any(each.key[1] == "step_fails" for each in self.faults[:-1])
        kinds = [ORDER.index(each.key[1]) for each in self.faults]
        late = any(each.late for each in self.faults)
        return not reached, not late, sum(kinds), *(each.moment for each in self.faults)


def scan(play: Callable[[Straight], object], faults: int = 1) -> Iterator[None]:
    """Play the straight schedule, then the same with each of the faults that were offered there, then with two of
    them, and so on; yield after each."""
    wave = [Straight()]
    for _ in range(faults + 1):
        for way in sorted(wave, key=lambda each: each.rank):
            play(way)
            yield
        wave = [more for way in wave for more in way.more()]
