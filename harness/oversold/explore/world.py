"""The stores of one exploration, the clients of its actors, and the time that they all live in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from oversold.clock import seeded
from oversold.explore.actor import Actor, Port
from oversold.explore.execution import LONG_S, Execution, Option
from oversold.explore.naming import Naming
from oversold.explore.operation import EVERYTHING, Operation, meet
from oversold.schedule import Choice


class Seam(Protocol):
    """One store as the explorer sees it. Each file of `seams` has one."""

    def connect(self, port: Port) -> Any:
        """Return an actor's client, whose every command waits for its turn at `port`."""

    def clean(self, client: Any) -> None:
        """End what an actor has left open on its client, as the end of its connection would."""

    def remember(self) -> None:
        """Keep what is stored now as that from which every execution begins."""

    def reset(self) -> None:
        """Store again what was remembered, and nothing else."""

    def expiring(self) -> Iterable[tuple[Choice, str]]:
        """Return what could disappear by itself: `expire` or `evict`, and the key."""

    def disappear(self, key: str) -> None:
        """Let a key of `expiring` disappear."""

    def pass_time(self, now_s: float) -> None:
        """Let the store's own clock show this many seconds since the execution began."""

    def close(self) -> None:
        """Close the explorer's own connections."""


class VirtualClock:
    """A strategy's clock: it goes on while its actor sleeps, and when time passes for everybody.

    How long others take is not told by it: in an interleaving anybody may be slow at any moment.
    """

    def __init__(self, world: World, port: Port) -> None:
        self._world, self._port = world, port

    def now_s(self) -> float:
        """Return seconds since the execution began, as this actor sees them."""
        self._world.look_at_clock()
        actor = self._port.actor
        return self._world.now_s + (actor.slept_s if actor else 0.0)

    def sleep(self, seconds: float) -> None:
        """Mark where others may go on; nobody waits."""
        if self._port.actor is not None:
            self._port.actor.sleep(seconds)


class Seat:
    """The place of one actor: clients that outlive it, with the port at which they ask."""

    def __init__(self, world: World, number: int) -> None:
        self.port = Port()
        self.number = number
        self.lives = 0  # within this execution
        self.clock = VirtualClock(world, self.port)
        self.clients: dict[str, Any] = {name: seam.connect(self.port) for name, seam in world.seams.items()}

    def random(self, seed: int) -> Any:
        """Return a generator for one instance of a strategy: the same numbers in every execution, others than
        those of the instance before."""
        self.lives += 1
        return seeded(seed, "explore", self.number, self.lives)


class World:
    """The stores and seats of one exploration. Executions share them; each begins with the same data.

    First its stores are added, then its actors sit down: `add`, `sit`.
    """

    def __init__(self, naming: Naming, size: int) -> None:
        self.naming, self._size = naming, size
        self.seams: dict[str, Seam] = {}
        self.seats: list[Seat] = []
        self.now_s = 0.0
        self.time_matters = False  # somebody has looked at a clock in this execution
        self.always_timed = False  # what is stored has times in it

    def add(self, store: str, seam: Seam) -> None:
        """Let a store take part."""
        self.seams[store] = seam

    def sit(self) -> None:
        """Open every actor's clients."""
        self.seats = [Seat(self, number) for number in range(self._size)]

    def look_at_clock(self) -> None:
        """Note that what happens may depend on the time."""
        self.time_matters = True

    def remember(self) -> None:
        """Keep what is stored now as that from which every execution begins."""
        for seam in self.seams.values():
            seam.remember()

    def reset(self) -> None:
        """Begin anew: the same data, and no time has passed."""
        self.time_matters = self.always_timed
        self.rest()
        for seat in self.seats:
            seat.lives = 0
        self._pass(0.0)
        for seam in self.seams.values():
            seam.reset()

    def rest(self) -> None:
        """End what anybody has left open."""
        for seat in self.seats:
            self.clean(seat)

    def clean(self, seat: Seat) -> None:
        """End what an actor has left open."""
        for name, seam in self.seams.items():
            seam.clean(seat.clients[name])

    def buried(self, actor: Actor) -> None:
        """Close a dead actor's connections, as the end of its process does."""
        seat = next(seat for seat in self.seats if seat.port is actor.port)
        actor.port.actor = None
        self.clean(seat)

    def events(self, execution: Execution) -> Iterable[tuple[Option, Callable[[], None]]]:
        """Offer what can happen by itself now: a key disappears that somebody is about to use, or time passes."""
        pending = [actor.pending for actor in execution.actors if actor.pending is not None]
        for seam in self.seams.values():
            for choice, key in sorted(seam.expiring()):
                touched = frozenset({key})
                if any(meet(touched, operation.keys) for operation in pending):
                    word = "is forgotten by the cache" if choice == "evict" else "expires"
                    operation = Operation(f"{key.partition('/')[2]} {word}", choice, writes=touched)
                    who = "cache" if choice == "evict" else "time"
                    yield Option(who, choice, operation), lambda seam=seam, key=key: seam.disappear(key)  # type: ignore[misc]
        if self.time_matters:
            operation = Operation("everybody pauses for an hour", "time_passes", writes=frozenset({EVERYTHING}))
            yield Option("time", "time_passes", operation), self.an_hour

    def stuck(self, execution: Execution) -> bool:
        """Let time pass, since all who are left wait; false when that helps nobody.

        Leases end first, then patience: whoever waits for somebody else's lease outlasts it.
        """
        leases = [(seam, key) for seam in self.seams.values() for what, key in seam.expiring() if what == "expire"]
        for seam, key in leases:
            seam.disappear(key)
        if leases:
            names = [key.partition("/")[2] for _, key in leases]
            execution.expired(names, [key for _, key in leases])
            return True
        return self._patience(execution)

    def _patience(self, execution: Execution) -> bool:
        waiting = [actor for actor in execution.actors if not actor.done]
        # One after the other: who repeats a loop in vain changes nothing for the others.
        looping = next((actor for actor in waiting if actor.loops and actor.patience), None)
        blocked = [actor for actor in waiting if actor.ready is not None and actor.times_out and not actor.daemon]
        if looping is not None:
            looping.insists = True
            execution.passed(f"nobody can go on, time passes: {looping.name} waits no longer", ())
            return True
        if not blocked:
            return False
        for actor in blocked:
            actor.timed_out = True
        execution.tired()
        return True

    def an_hour(self) -> None:
        """Let an hour pass for everybody: leases end, and all clocks go on."""
        self._pass(self.now_s + LONG_S)
        for seam in self.seams.values():
            for what, key in list(seam.expiring()):
                if what == "expire":
                    seam.disappear(key)

    def _pass(self, now_s: float) -> None:
        self.now_s = now_s
        for seam in self.seams.values():
            seam.pass_time(now_s)

    @property
    def doubts(self) -> frozenset[str]:
        """What the stores may have done that no schedule shows."""
        return frozenset(doubt for seam in self.seams.values() for doubt in getattr(seam, "doubts", ()))

    def close(self) -> None:
        """Close all connections."""
        for seam in self.seams.values():
            seam.close()
