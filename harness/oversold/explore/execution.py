"""One execution: actors in greenlets, of which one at a time may take its next step, and somebody who chooses."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import greenlet

from oversold.explore.actor import LOST, PATIENCE, Actor, Crash
from oversold.explore.escapes import ABANDONED, Escape, Memory, watching
from oversold.explore.operation import EVERYTHING, Operation, meet
from oversold.schedule import Choice, Step

TRIES = 25  # in vain, after which who is to give up is taken to wait on
STEPS = 1000  # an execution that takes more goes round in circles
LONG_S = 3600.0  # how long everybody pauses when time passes: longer than any lease


class Pruned(Exception):  # noqa: N818 - a result of the search, not an error
    """Whatever comes from here on was seen before."""


class Futile(Pruned):
    """Whoever was to give up does not: it would wait like this for long, so this is no other schedule."""


class Learned(BaseException):
    """A statement turned out to wait for a lock: the execution begins anew, with that known."""


@dataclass(frozen=True, slots=True)
class Option:
    """One way in which an execution can go on."""

    actor: str
    choice: Choice
    operation: Operation

    @property
    def key(self) -> tuple[str, Choice, str]:
        """What tells it from the other options of the same moment."""
        return self.actor, self.choice, self.operation.text


class Chooser(Protocol):
    """Decides how an execution goes on."""

    def choose(self, options: Sequence[Option], execution: Execution) -> Option:
        """Return one of the options; may raise `Pruned`."""


@dataclass
class Execution:
    """Runs actors to their end, or to that of the schedule. `budget` is how many faults may still happen.

    `nobody` offers what happens by itself (a key expires), with what to do when it is chosen. `stuck` lets time
    pass when nobody can go on: true when that changed something.
    """

    actors: Sequence[Actor]
    chooser: Chooser
    budget: int = 0
    nobody: Callable[[Execution], Iterable[tuple[Option, Callable[[], None]]]] | None = None
    stuck: Callable[[Execution], bool] | None = None
    died: Callable[[Actor], None] | None = None
    memory: Memory | None = None  # what the strategy keeps elsewhere than in its stores
    steps: list[Step] = field(default_factory=list)
    taken: list[Option] = field(default_factory=list)
    changes: Counter[str] = field(default_factory=Counter)
    ending: str = ""  # deadlock or livelock
    stalled: str = ""  # for what everybody waited until time was over, though nothing had failed
    waited: bool = False  # somebody waited who might have given up
    waiting: Sequence[tuple[str, Operation]] = ()  # at its end: who was still about to do what
    hub: greenlet.greenlet = field(default_factory=greenlet.getcurrent)

    def run(self) -> None:
        """Let the actors go on as the chooser says.

        Raises:
            Pruned: the chooser has seen the rest before.
            Escape: a strategy got past its context.
        """
        self.hub = greenlet.getcurrent()
        try:
            for actor in self.actors:
                self._begin(actor)
            while self._step():
                if len(self.steps) >= STEPS:
                    self.ending = "livelock"
                    return
        finally:
            self._end()

    def _begin(self, actor: Actor) -> None:
        actor.execution = self
        actor.port.actor = None
        with watching(actor.name):
            life = actor.born()
        actor.port.actor = actor
        actor.dead = actor.done = actor.hit = actor.slept = actor.insists = False
        actor.patience = PATIENCE
        actor.refusals = actor.sleeps = 0
        actor._turn, actor._last_turn = [], []
        actor.greenlet = greenlet.greenlet(self._living(actor, life), self.hub)
        self._resume(actor, None)

    @staticmethod
    def _living(actor: Actor, life: Callable[[], None]) -> Callable[[object], None]:
        def live(_: object) -> None:
            try:
                life()
            except Crash:
                pass
            except (KeyboardInterrupt, greenlet.GreenletExit):
                raise
            except BaseException as error:  # noqa: BLE001 - user code may raise anything; it is told later
                actor.error = error
            actor.done, actor.pending = True, None

        return live

    def _resume(self, actor: Actor, choice: Choice | None) -> None:
        assert actor.greenlet is not None
        with watching(actor.name):
            actor.greenlet.switch(choice)
        if isinstance(actor.error, Escape | Learned):
            raise actor.error
        if self.memory is not None:
            self.memory.compare()
        if actor.error is not None and actor.hit and actor.restarts:  # whoever watches over it starts it again
            actor.error, actor.dead = None, True

    def _step(self) -> bool:
        """Take one step; false when there is none to take."""
        able = [actor for actor in self.actors if actor.pending is not None and self._able(actor)]
        if not able:
            return self._waits()
        events = {option.key: (option, happen) for option, happen in self._events()}
        options = [Option(actor.name, "go", actor.due) for actor in able if actor.due]
        asked = self.budget or not self.waited
        waiting = [each for each in self.actors if asked and each not in able and self._may_give_up(each)]
        self.waited = self.waited or bool(waiting)
        if self.budget:
            options += [
                Option(actor.name, choice, actor.due)
                for actor in able
                if actor.due
                for choice in self._disturbances(actor)
            ]
            options += [Option(actor.name, "gives_up", actor.due) for actor in waiting if actor.due]
            options += [option for option, _ in events.values()]
        chosen = self.chooser.choose(options, self)
        self.taken.append(chosen)
        if chosen.choice != "go":
            self.budget -= 1
        if chosen.key in events:
            self._note(chosen, "")
            events[chosen.key][1]()
            self._changed(chosen.operation)
            if chosen.choice == "time_passes":
                self._come_later()
        else:
            self._take(next(actor for actor in self.actors if actor.name == chosen.actor), chosen)
        return True

    def _take(self, actor: Actor, chosen: Option) -> None:
        assert actor.pending is not None
        self._note(replace(chosen, operation=actor.pending), "")
        if chosen.choice == "gives_up":
            self._give_up(actor)
            return
        if actor.insists and actor.loops:
            actor.slept_s += LONG_S  # so that a loop which looks at the clock ends
            actor.patience -= 1
            actor.insists = actor.patience > 0
        self._go_on(actor, chosen.choice)
        if chosen.choice in LOST:
            self.changes[EVERYTHING] += 1  # with its connection ends its transaction: its locks are free
        if actor.dead:
            self._bury(actor)

    def _go_on(self, actor: Actor, choice: Choice) -> None:
        """Let an actor take the step that it is about to take, and keep what that changed."""
        operation = actor.pending
        assert operation is not None
        self._resume(actor, choice)
        last = self.steps[-1]
        if last.changed:
            self._changed(operation)
        actor.last.version, actor.last.changed = self._version(operation), last.changed

    def _give_up(self, actor: Actor) -> None:
        """Let an actor repeat what it does in vain, while nobody else moves, until it does something else.

        All the repeats are one step: nothing comes between them, and nothing has changed. No clock is set forward:
        it sleeps no longer than its tries take.
        """
        for _ in range(TRIES):
            blocked = None if self._served(actor) else actor.pending
            if blocked and not actor.times_out:
                return  # it waits for somebody else's lock
            actor.timed_out = blocked is not None
            self._go_on(actor, "go")
            while not actor.slept and actor.repeats and self._served(actor) and not self.steps[-1].changed:
                self._go_on(actor, "go")
            again = actor.pending is not None and (actor.pending == blocked if blocked else bool(actor.loops))
            if not again or self.steps[-1].changed:
                return
        raise Futile

    def _may_give_up(self, actor: Actor) -> bool:
        """Tell whether an actor that waits may do something else some day, although nothing changes."""
        if actor.daemon or actor.pending is None:
            return False
        return self._parked(actor) if self._served(actor) else actor.times_out

    def _bury(self, actor: Actor) -> None:
        if self.died is not None:
            self.died(actor)
        self.changes[EVERYTHING] += 1  # what it had locked is free
        if actor.restarts:
            self._begin(actor)

    def _come_later(self) -> None:
        """Let whoever has done nothing yet come after the pause: a clock that it has read would be wrong."""
        for actor in self.actors:
            if actor.pending is not None and not actor.acted and actor.greenlet is not None:
                actor.dead = True
                with watching(actor.name):
                    actor.greenlet.throw(Crash)
                if self.died is not None:
                    self.died(actor)
                self._begin(actor)

    @staticmethod
    def _disturbances(actor: Actor) -> tuple[Choice, ...]:
        # Dying before a command is dying after the one before, and who dies before the first was never there.
        return ("crash_after", *actor.faults)

    def _events(self) -> Iterable[tuple[Option, Callable[[], None]]]:
        return self.nobody(self) if self.nobody is not None and self.budget else ()

    def _able(self, actor: Actor) -> bool:
        """Tell whether an actor's next step can be taken, and would not repeat one that came to nothing."""
        return not self._parked(actor) and (actor.timed_out or self._served(actor))

    def _served(self, actor: Actor) -> bool:
        """Tell whether the store would answer now. What a client may tire of depends on the keys alone, so it is
        asked again only when they have changed."""
        if actor.ready is None or actor.pending is None:
            return True
        if not actor.times_out:
            return actor.ready()
        version = self._version(actor.pending)
        if actor.asked is None or actor.asked[0] != version:
            actor.asked = version, actor.ready()
        return actor.asked[1]

    def _parked(self, actor: Actor) -> bool:
        loops = [] if actor.insists else actor.loops
        return bool(loops) and all(self._version(taken.operation) == taken.version for taken in loops)

    def _version(self, operation: Operation) -> int:
        """Return how often the keys of an operation have been changed so far."""
        keys = operation.keys
        return sum(
            times for key, times in self.changes.items() if key == EVERYTHING or meet(frozenset({key}), keys)
        )

    def _changed(self, operation: Operation) -> None:
        self.changes.update(operation.writes)

    def _waits(self) -> bool:
        """Let time pass when nobody can go on; false at the end."""
        if all(actor.done or actor.daemon for actor in self.actors):
            return False
        if self.stuck is not None and self.stuck(self):
            return True
        self.ending = "deadlock"
        return False

    def expired(self, names: Sequence[str], changed: Iterable[str]) -> None:
        """Note that everybody waited until leases ended."""
        self._stall(f"{', '.join(names)} expired", "nobody gave it back")
        self.passed(f"nobody can go on, time passes: {', '.join(names)} expired", changed)

    def tired(self) -> None:
        """Note that whoever waits for an answer has waited for as long as it may."""
        self._stall("the time for it was over", "what they waited for never came")
        self.passed("nobody can go on, time passes: whoever waits for an answer gives up", ())

    def _stall(self, until: str, why: str) -> None:
        if not self.stalled and all(step.choice == "go" for step in self.steps):
            self.stalled = f"Everybody waited until {until}, though nothing had failed: {why}."

    def passed(self, what: str, changed: Iterable[str] = (EVERYTHING,)) -> None:
        """Note that time has passed by itself, since everybody waited; `changed` is what that did to the
        stores."""
        operation = Operation(what, what, writes=frozenset({EVERYTHING}))
        option = self.chooser.choose([Option("time", "go", operation)], self)
        self.taken.append(option)
        self._note(option, "")
        self.changes.update(changed)

    def reply(self, text: str, *, changed: bool) -> None:
        """Complete the step that was taken last."""
        last = self.steps[-1]
        self.steps[-1] = Step(
            last.number,
            last.actor,
            last.choice,
            last.operation,
            last.reads,
            last.writes,
            text,
            changed and bool(last.writes),
        )

    def _note(self, option: Option, reply: str) -> None:
        operation = option.operation
        self.steps.append(
            Step(
                len(self.steps) + 1,
                option.actor,
                option.choice,
                operation.text,
                tuple(sorted(operation.reads)),
                tuple(sorted(operation.writes)),
                reply,
                option.actor in ("cache", "time"),
            )
        )

    def _end(self) -> None:
        """End all actors that still live, as a crash would."""
        self.waiting = [(actor.name, actor.due) for actor in self.actors if actor.pending and actor.due]
        escapes: list[Escape] = []
        for actor in self.actors:
            actor.dead = True
            mine = actor.greenlet
            if mine is not None and not mine.dead and mine not in ABANDONED:
                try:
                    with watching(actor.name):
                        mine.throw(Crash)
                except Escape as error:
                    escapes.append(error)
            actor.port.actor = None
        if escapes and not isinstance(sys.exception(), KeyboardInterrupt):
            raise escapes[0]
