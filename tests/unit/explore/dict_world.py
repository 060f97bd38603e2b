"""A world in memory for tests of the explorer: a dict store, a sale over it, and what its executions come to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from oversold.explore.actor import Actor, Port
from oversold.explore.execution import Execution
from oversold.explore.naming import Naming
from oversold.explore.operation import Operation, dependent
from oversold.explore.search import DepthFirst, Pruned
from oversold.explore.world import World
from oversold.model import Finding


class DictStore:
    """A store whose every command is one step; it has leases, and locks that somebody holds."""

    def __init__(self, data=None):
        self.begin = dict(data or {})
        self.data, self.leases, self.held = {}, set(), {}
        self.reset()

    def connect(self, port):
        """Return a client."""
        return DictClient(self, port)

    def clean(self, client):
        """Free what a client has locked."""
        for key in [key for key, holder in self.held.items() if holder is client]:
            del self.held[key]

    def remember(self):
        """Keep what is stored now."""
        self.begin = dict(self.data)

    def reset(self):
        """Begin with what was remembered."""
        self.data = dict(self.begin)
        self.leases.clear()
        self.held.clear()

    def expiring(self):
        """Return the leases."""
        return [("expire", f"dict/{key}") for key in sorted(self.leases)]

    def disappear(self, key):
        """End a lease."""
        name = key.removeprefix("dict/")
        self.leases.discard(name)
        self.data.pop(name, None)

    def pass_time(self, now_s):
        """Nothing here looks at a clock."""

    def close(self):
        """Nothing is open."""


class DictClient:
    """What an actor does with the store; every method is one step."""

    def __init__(self, store: DictStore, port: Port):
        self._store, self._port = store, port

    def get(self, key):
        """Read a key."""
        return self._does(f"get {key}", lambda data: (data.get(key), False), reads=[key])

    def set(self, key, value):
        """Write a key."""
        return self._does(f"set {key} {value}", lambda data: (data.update({key: value}), True), writes=[key])

    def add(self, key, by):
        """Add to a number, and return it."""
        return self._does(
            f"add {key} {by}", lambda data: (_put(data, key, data.get(key, 0) + by), True), writes=[key]
        )

    def take(self, key):
        """Count down, not below 0; tell whether there was something."""
        return self._does(
            f"take {key}", lambda data: _given(data, key, data[key], data[key] - 1, data[key] > 0), writes=[key]
        )

    def new(self, key, value, *, lease=False):
        """Write a key that is not there; tell whether it was not."""

        def apply(data):
            absent = key not in data
            if absent and lease:
                self._store.leases.add(key)
            return _given(data, key, data.get(key), value, absent)

        return self._does(f"new {key}", apply, writes=[key])

    def cas(self, key, old, new):
        """Write a key if it is as before; tell whether it was."""
        return self._does(
            f"cas {key} {old} {new}", lambda data: _given(data, key, old, new, data.get(key) == old), writes=[key]
        )

    def delete(self, key):
        """Remove a key."""

        def apply(data):
            self._store.leases.discard(key)
            return data.pop(key, None), True

        return self._does(f"delete {key}", apply, writes=[key])

    def lock(self, key, *, times_out=False):
        """Take a lock, after whoever has it; tell whether it is taken, which it always is unless it times out."""
        held = self._store.held

        def apply(_):
            free = held.get(key, self) is self
            if free:
                held[key] = self
            return free, free

        return self._does(
            f"lock {key}",
            apply,
            writes=[f"lock:{key}"],
            ready=lambda: held.get(key, self) is self,
            times_out=times_out,
        )

    def unlock(self, key):
        """Give a lock back."""
        return self._does(
            f"unlock {key}", lambda _: (self._store.held.pop(key) and None, True), writes=[f"lock:{key}"]
        )

    def _does(self, text, apply, reads=(), writes=(), ready=None, times_out=False):
        operation = Operation(
            text,
            text.partition(" ")[0],
            frozenset(f"dict/{key}" for key in reads),
            frozenset(f"dict/{key}" for key in writes),
        )
        choice = self._port.ask(operation, ready, times_out=times_out)
        if choice == "lost_request":
            raise TimeoutError
        answer, changed = apply(self._store.data)
        self._port.reply(str(answer), changed=changed)
        if choice == "crash_after":
            self._port.crash()
        if choice == "lost_reply":
            raise TimeoutError
        return answer


def _put(data, key, value):
    data[key] = value
    return value


def _given(data, key, old, new, condition):
    data[key] = new if condition else data.get(key, old)
    return condition, condition


class Desk:
    """What a strategy is given: the store, a way to sleep, its bidder's number from 1."""

    def __init__(self, seat, number: int, capacity: int):
        self.store: DictClient = seat.clients["dict"]
        self.sleep: Callable[[float], None] = seat.clock.sleep
        self.number, self.capacity = number, capacity


@dataclass
class DictBooks:
    """What one execution leaves."""

    orders: list[int] = field(default_factory=list)
    raised: list[tuple[str, str]] = field(default_factory=list)


class DictSale:
    """A sale of so many shares to so many bidders by a function; a bidder that it answers true writes an order."""

    kind = "bids"
    fingerprint, versions, safety = "0123", {"dict": "1"}, ("oversubscription",)

    def __init__(self, strategy: Callable[[Desk], bool], bidders: int = 2, capacity_bids: int = 1):
        self.strategy, self.bidders, self.capacity = strategy, bidders, capacity_bids
        self.strategy_name = getattr(strategy, "__name__", "?")
        self.store = DictStore({"left": capacity_bids})
        self.world = World(Naming("t", "tranche"), bidders)
        self.world.add("dict", self.store)
        self.world.sit()
        self.books = DictBooks()
        self.plays = self.steps = 0

    def scenario(self):
        """Return the numbers that it was made with."""
        return {"bidders": self.bidders, "capacity_bids": self.capacity}

    def play(self, chooser, budget) -> Execution:
        """Run one execution."""
        self.plays += 1
        self.world.reset()
        self.books = DictBooks()
        actors = [
            Actor(f"bidder {number}", seat.port, lambda seat=seat, number=number: self._life(seat, number))
            for number, seat in enumerate(self.world.seats, 1)
        ]
        execution = Execution(actors, chooser, budget, self.world.events, self.world.stuck, self.world.buried)
        try:
            execution.run()
        finally:
            self.steps = len(execution.steps)
        self.books.raised = [(actor.name, repr(actor.error)) for actor in actors if actor.error is not None]
        return execution

    def _life(self, seat, number):
        desk = Desk(seat, number, self.capacity)
        port = seat.port

        def live():
            try:
                bought = self.strategy(desk)
            except TimeoutError:
                return
            if bought:
                row = frozenset({f"ledger/{number}"})
                choice = port.ask(Operation(f"order of bidder {number}", "order", writes=row), faults=())
                self.books.orders.append(number)
                port.reply("written", changed=True)
                if choice == "crash_after":
                    port.crash()

        return live

    @property
    def moved(self):
        """Whether anything was sold."""
        return bool(self.books.orders)

    @property
    def raised(self):
        """What bidders raised."""
        return self.books.raised

    def step_of(self, check):
        """Return the last step."""
        return self.steps

    def broken(self):
        """Return what the last execution has broken."""
        sold = len(self.books.orders)
        found = (
            [Finding("oversubscription", "fail", f"{sold} sold of {self.capacity}")]
            if sold > self.capacity
            else []
        )
        if self.store.data["left"] + sold < self.capacity:
            found.append(
                Finding("leak", "fail", f"{self.store.data['left']} left and {sold} sold of {self.capacity}")
            )
        return found


# Looking at executions


@dataclass
class Explored:
    """What an exhaustive search went through."""

    executions: int = 0
    pruned: int = 0
    traces: set = field(default_factory=set)
    ends: set = field(default_factory=set)


def explored(subject, budget=0, *, search=None, most=20_000) -> Explored:
    """Go through all executions of a subject, by a search that was not used yet."""
    found, search = Explored(), search or DepthFirst()
    while not search.exhausted:
        search.begin()
        try:
            execution = subject.play(search, budget)
            found.executions += 1
            found.traces.add(foata(execution))
            found.ends.add(end(subject, execution))
        except Pruned:
            found.pruned += 1
        search.end()
        assert found.executions + found.pruned <= most, "the case is too large for a unit test"
    return found


def end(subject, execution):
    """Return what an execution ended in: data, orders, what was raised, what each actor was told."""
    told = tuple(
        (
            actor.name,
            tuple(
                (step.choice, step.operation, step.reply) for step in execution.steps if step.actor == actor.name
            ),
        )
        for actor in execution.actors
    )
    return (
        execution.ending,
        tuple(sorted((key, str(value)) for key, value in subject.store.data.items())),
        tuple(sorted(subject.books.orders)),
        tuple(subject.books.raised),
        told,
    )


def commute(one, other):
    """Tell whether two steps can be taken in either order; no mutant of the search changes this one."""
    plain = one.choice == other.choice == "go"
    return plain and one.actor != other.actor and not dependent(one.operation, other.operation)


def foata(execution):
    """Return the Foata normal form of what was done: one for all orders that differ in independent steps only."""
    layers: list[list] = []
    for option in execution.taken:
        place = next(
            (
                depth + 1
                for depth in range(len(layers) - 1, -1, -1)
                if any(not commute(each, option) for each in layers[depth])
            ),
            0,
        )
        if place == len(layers):
            layers.append([])
        layers[place].append(option)
    return tuple(tuple(sorted(option.key for option in layer)) for layer in layers)
