"""Follows a schedule that was recorded: to the letter, or as far as it goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from oversold.explore.execution import Chooser, Execution, Learned, Option, Pruned
from oversold.explore.search import Diverged
from oversold.explore.subject import Subject
from oversold.model import Finding
from oversold.schedule import NOBODY, Broken, Choice, Outcome, Schedule, Step

LESSONS = 400  # times that a lock may turn out to be one; more is no learning
ENDED = {
    "deadlock": "All who are left wait for one another.",
    "livelock": "It goes round in circles and never ends.",
}


class Move(NamedTuple):
    """What is kept of a step where the rest may change: who, and what becomes of it; the words of what nobody
    does."""

    actor: str
    choice: Choice
    operation: str = ""


class Strict:
    """Chooses what a schedule says, step by step, and compares every reply. For one execution."""

    def __init__(self, schedule: Schedule) -> None:
        self._steps, self._stands = schedule.steps, schedule.stands
        self.execution: Execution | None = None

    def choose(self, options: Sequence[Option], execution: Execution) -> Option:
        """Return the schedule's next step.

        Raises:
            Diverged: names the first step that differs, and what is different.
            Pruned: the schedule is at its end, and what it broke stays broken.
        """
        self.execution = execution
        self._compare(execution)
        place = len(execution.steps)
        if place == len(self._steps) and self._stands:
            raise Pruned  # what comes after it changes nothing
        if place == len(self._steps):
            raise Diverged(
                f"it goes on after step {place}, the last one recorded: {options[0].actor} is about to "
                f"{options[0].operation.text}"
            )
        wanted = self._steps[place]
        for option in options:
            if option.key == (wanted.actor, wanted.choice, wanted.operation):
                return option
        raise Diverged(_impossible(wanted, options))

    def finish(self, execution: Execution) -> None:
        """Compare what the last step brought, and whether it was the last.

        Raises:
            Diverged: it was not, or something else came of it.
        """
        self._compare(execution)
        place = len(execution.steps)
        if place < len(self._steps):
            wanted = self._steps[place]
            raise Diverged(f"it ended after step {place}, where {wanted.actor} went on with {wanted.operation}")

    def _compare(self, execution: Execution) -> None:
        """Compare the step that was taken last; those before it have been compared."""
        if execution.steps:
            now = execution.steps[-1]
            then = self._steps[now.number - 1]
            if now != then:
                raise Diverged(_different(now, then))


def _impossible(wanted: Step, options: Sequence[Option]) -> str:
    where = f"step {wanted.number}"
    same = [option for option in options if option.actor == wanted.actor]
    if not same and wanted.actor in NOBODY:
        return f"{where}: {wanted.operation} was recorded, and cannot happen now"
    if not same:
        return f"{where}: {wanted.actor} was to {wanted.operation}, and cannot go on: it waits, or has ended"
    if all(option.operation.text != wanted.operation for option in same):
        return f"{where}: {wanted.actor} is about to {same[0].operation.text}, and was to {wanted.operation}"
    return f"{where}: {wanted.choice} cannot befall {wanted.actor}'s {wanted.operation} now, and was recorded"


def _different(now: Step, then: Step) -> str:
    where = f"step {now.number}, {then.actor}: {then.operation}"
    if now.reply != then.reply:
        return f"{where}: it was answered {now.reply or 'nothing'!r}, and {then.reply or 'nothing'!r} was recorded"
    if now.changed != then.changed:
        words = ("changed something", "changed nothing")
        return f"{where}: it {words[not now.changed]} now, and {words[not then.changed]} when it was recorded"
    if (now.reads, now.writes) != (then.reads, then.writes):
        keys, others = (", ".join([*step.reads, *step.writes]) or "no key" for step in (now, then))
        return f"{where}: it touches {keys} now, and {others} when it was recorded"
    return f"{where}: {now.actor} did {now.operation} ({now.choice}) instead"


class Loose:
    """Makes the moves that are possible when their turn comes, and skips the others; then one actor after another
    goes on to its end. Nothing fails but what the moves say. For one execution."""

    def __init__(self, moves: Sequence[Move]) -> None:
        self._moves = iter(moves)
        self._last = ""

    def choose(self, options: Sequence[Option], execution: Execution) -> Option:
        """Return the option of the next move that is possible."""
        if options[0].actor in NOBODY and options[0].choice == "go":  # all others wait: it happens by itself
            return options[0]
        for move in self._moves:
            option = _fitting(move, options)
            if option is not None:
                self._last = option.actor
                return option
        able = [option for option in options if option.choice == "go"]
        chosen = next((option for option in able if option.actor == self._last), able[0])
        self._last = chosen.actor
        return chosen


def _fitting(move: Move, options: Sequence[Option]) -> Option | None:
    fitting = [option for option in options if (option.actor, option.choice) == (move.actor, move.choice)]
    exact = [option for option in fitting if option.operation.text == move.operation]
    return next(iter(exact or fitting), None)


def moves(schedule: Schedule) -> tuple[Move, ...]:
    """Return a schedule's moves: all but what happens by itself when everybody waits."""
    return tuple(
        Move(step.actor, step.choice, step.operation if step.actor in NOBODY else "")
        for step in schedule.steps
        if step.actor not in NOBODY or step.choice != "go"
    )


def played(subject: Subject, chooser: Callable[[], Chooser], faults: int) -> Execution:
    """Run one execution to its end, as often as it takes to learn of its locks.

    Raises:
        Diverged, Escape.
    """
    for _ in range(LESSONS):
        try:
            return subject.play(chooser(), faults)
        except Learned:
            continue
    raise Diverged(f"{LESSONS} statements waited for locks, and each time for another reason")


def replayed(subject: Subject, schedule: Schedule) -> Execution:
    """Run a schedule again, every step and every reply of it.

    Raises:
        Diverged: something was different. Escape.
    """
    strict = Strict(schedule)

    def again() -> Chooser:
        nonlocal strict
        strict = Strict(schedule)
        return strict

    try:
        execution = played(subject, again, schedule.faults)
    except Pruned:
        assert strict.execution is not None
        return strict.execution
    strict.finish(execution)
    return execution


def findings(subject: Subject, execution: Execution) -> Iterator[Finding]:
    """Yield what the last execution of a subject has broken: a wait without end, an exception, a promise."""
    if execution.ending:
        yield Finding(execution.ending, "fail", _ended(execution))
        return  # it was cut off: what is missing in its books is no one's fault
    if subject.raised:
        who, what = subject.raised[0]
        yield Finding("raised", "fail", f"{who} raised {what}.")
    yield from subject.broken()
    if execution.stalled:
        yield Finding("stall", "fail", execution.stalled)


def _ended(execution: Execution) -> str:
    """Return why an execution came to no end; who has finished may have left behind what others wait for."""
    waiting = [f"{name} (at {due.text})" for name, due in execution.waiting]
    finished = [actor.name for actor in execution.actors if actor.done]
    if execution.ending != "deadlock" or not finished or not waiting:
        return ENDED[execution.ending]
    verb = "waits" if len(waiting) == 1 else "wait"
    names = " and ".join(waiting)
    return f"{names[0].upper()}{names[1:]} {verb} for ever: whoever could change that has finished."


def recorded(
    execution: Execution, subject: Subject, finding: Finding | None, outcome: Outcome, seed: int
) -> Schedule:
    """Return the last execution of a subject as a schedule; `finding` is what it breaks."""
    return Schedule(
        kind=subject.kind,
        strategy=subject.strategy_name,
        scenario=dict(subject.scenario()),
        steps=tuple(execution.steps),
        outcome=outcome,
        broken=Broken(finding.check, finding.detail, subject.step_of(finding.check)) if finding else None,
        seed=seed,
        fingerprint=subject.fingerprint,
        versions=dict(subject.versions),
    )
