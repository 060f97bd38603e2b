"""Somebody who takes steps, and the port at which the clients of its stores ask for its turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import greenlet

from oversold.explore.escapes import Escape, abandon
from oversold.explore.operation import Operation
from oversold.schedule import Choice

if TYPE_CHECKING:
    from oversold.explore.execution import Execution

PATIENCE = 100  # turns of a loop in vain; then it waits for the others, whatever comes
LOST: tuple[Choice, ...] = ("lost_request", "lost_reply")

REFUSALS = 100  # after so many, a dead actor that goes on asking is left where it is
SLEEPS = 10_000  # who sleeps so often without a command waits for what no store will tell it


class Crash(BaseException):
    """Ends an actor as SIGKILL would: no `except Exception` stops it, and what its `finally` still wants to say is
    refused."""


class Port:
    """Where the clients of one actor ask before each command. Its clients outlive the actor: `actor` is who has
    them now, None while the explorer itself prepares or looks at the stores."""

    def __init__(self) -> None:
        self.actor: Actor | None = None

    def ask(
        self,
        operation: Operation,
        ready: Callable[[], bool] | None = None,
        faults: tuple[Choice, ...] = LOST,
        *,
        times_out: bool = False,
    ) -> Choice:
        """Wait for the command's turn; return what is to become of it.

        `ready` tells whether the store would answer now. `faults` is what may happen to the command besides being
        served and its actor's death. One that `times_out` is given up by its client when nobody else can go on.
        """
        actor = self.actor
        return "go" if actor is None else actor.ask(operation, ready, faults, times_out=times_out)

    def reply(self, text: str, *, changed: bool) -> None:
        """Note what was answered, and whether the command changed anything."""
        if self.actor is not None:
            self.actor.reply(text, changed=changed)

    def crash(self) -> None:
        """End the actor, after a command of its that was applied."""
        assert self.actor is not None
        self.actor.dead = True
        raise Crash


@dataclass(slots=True)
class Taken:
    """A step that an actor took, and how often the keys of it had been changed by then."""

    operation: Operation
    version: int = 0
    changed: bool = False  # the step itself has changed something


class Actor:
    """Somebody who takes steps: a bidder, a job worker, a consumer. `born` prepares a life, unseen, and returns
    it.

    A `daemon` serves others: an execution is over when only daemons are left, waiting. One that `restarts` lives
    again after its death.
    """

    def __init__(
        self,
        name: str,
        port: Port,
        born: Callable[[], Callable[[], None]],
        *,
        daemon: bool = False,
        restarts: bool = False,
    ) -> None:
        self.name, self.port, self.born = name, port, born
        self.daemon, self.restarts = daemon, restarts
        self.pending: Operation | None = None
        self.due: Operation | None = None  # the same, with all that it waits for
        self.ready: Callable[[], bool] | None = None
        self.faults: tuple[Choice, ...] = ()
        self.times_out = self.timed_out = False
        self.asked: tuple[int, bool] | None = None  # what `ready` said of which version of its keys
        self.dead = self.done = False
        self.error: BaseException | None = None
        self.hit = False  # the connection failed under it: whatever its code raises from then on may come of that
        self.slept_s = 0.0
        self.insists = False  # it repeats its loop although nothing has changed, until it leaves it
        self.patience = PATIENCE
        self.slept = False  # since its last step it has slept, so its next step may begin a loop anew
        self.refusals = self.sleeps = 0  # since its death, and since its last step
        self._turn: list[Taken] = []  # what it has done since it last slept
        self._last_turn: list[Taken] = []
        self.execution: Execution | None = None
        self.greenlet: greenlet.greenlet | None = None

    # On the actor's side

    def ask(
        self,
        operation: Operation,
        ready: Callable[[], bool] | None,
        faults: tuple[Choice, ...],
        *,
        times_out: bool = False,
    ) -> Choice:
        """Announce a step and wait for its turn."""
        self.sleeps = 0
        if self.dead:
            self.refusals += 1
            if self.refusals > REFUSALS:
                abandon(f"{self.name} swallows BaseException: write `except Exception`")
            raise Crash
        if greenlet.getcurrent() is not self.greenlet:
            raise Escape(
                f"{operation.text} was sent from a thread or greenlet of the strategy's own: call the stores from "
                "the method that was called"
            )
        assert self.execution is not None
        self.pending, self.ready, self.faults = operation, ready, faults
        self.times_out, self.timed_out, self.asked = times_out, False, None
        # Who repeats a loop waits for a change of any of its keys: whoever makes one does not commute with that.
        waits_for = frozenset(key for taken in self.loops for key in taken.operation.keys)
        self.due = replace(operation, reads=operation.reads | waits_for) if waits_for else operation
        if self.slept and not waits_for:
            self.insists = False
        choice: Choice = self.execution.hub.switch()
        self.pending, self.slept = None, False
        self._turn.append(Taken(operation))
        self.hit = self.hit or choice in LOST
        return choice

    def reply(self, text: str, *, changed: bool) -> None:
        """Note what became of the step that was taken."""
        assert self.execution is not None
        self.execution.reply(text, changed=changed)

    def sleep(self, seconds: float) -> None:
        """Be slow: an interleaving says nothing of time, so this only marks where a loop may begin anew."""
        self.sleeps += 1
        if self.sleeps > SLEEPS:
            text = f"{self.name} has slept {SLEEPS} times without a store command: let its loops end"
            if self.sleeps > SLEEPS + REFUSALS:
                abandon(text)
            raise Escape(text)
        self.slept_s += seconds
        self.slept = True
        if self._turn:  # two sleeps in a row are one
            self._last_turn, self._turn = self._turn, []

    # On the execution's side

    @property
    def acted(self) -> bool:
        """Whether it has taken a step in this life."""
        return bool(self._turn or self._last_turn)

    @property
    def last(self) -> Taken:
        """The step that it took last."""
        return (self._turn or self._last_turn)[-1]

    @property
    def loops(self) -> list[Taken]:
        """What it did in its last turn, if it is about to do the same again and has changed nothing by it."""
        if not self.slept or not self._last_turn or self.pending is None:
            return []
        if any(taken.changed for taken in self._last_turn):
            return []
        return self._last_turn if self.repeats else []

    @property
    def repeats(self) -> bool:
        """Whether it is about to do what it did at the same place of its last turn."""
        place = len(self._turn)
        if self.pending is None or place >= len(self._last_turn):
            return False
        before = self._last_turn[place].operation
        return before.name == self.pending.name and before.keys == self.pending.keys
