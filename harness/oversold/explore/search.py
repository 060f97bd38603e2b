"""Goes through all orders of the steps, leaving out those that differ only in the order of independent ones.

Dynamic partial-order reduction (Flanagan and Godefroid 2005) with sleep sets (Godefroid 1996): at each moment one
actor goes first, another one only where a race was seen, and of two orders of independent steps only one is walked
to its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from oversold.explore.execution import Execution, Option, Pruned
from oversold.explore.operation import dependent
from oversold.schedule import NOBODY, Choice

Key = tuple[str, Choice, str]
Clock = dict[str, int]  # by actor: its last step that is known to come before, counted from 1


class Diverged(Exception):  # noqa: N818 - a verdict, told in its words
    """The same choices led to something else than before."""


@dataclass
class Node:
    """One moment of the schedule under way.

    `options` is what could be done, `chosen` what is, `done` what was; `sleeping` what leads to an order of the
    same steps that was seen before; `wanted` what has to be tried before this moment is left. `before` has, by
    actor, which steps come before its next one in every order that counts as the same; `clock` the same for the
    step chosen here.
    """

    options: Sequence[Option]
    sleeping: dict[Key, Option]
    chosen: Option
    wanted: set[Key]
    before: dict[str, Clock]
    clock: Clock = field(default_factory=dict)
    done: list[Option] = field(default_factory=list)


def commute(one: Option, other: Option) -> bool:
    """Tell whether two options can be taken in either order with the same result.

    What is no plain step (a death, a lost reply) may end transactions and free locks: it commutes with nothing.
    """
    return (
        one.choice == other.choice == "go"
        and one.actor != other.actor
        and not dependent(one.operation, other.operation)
    )


class DepthFirst:
    """Chooses so that every execution is another one, until there is none left; `exhausted` tells.

    Without `reduction` it walks through every order there is: that is what the reduction is tested against.
    """

    def __init__(self, *, reduction: bool = True) -> None:
        self._stack: list[Node] = []
        self._depth = 0
        self._reduction = reduction
        self._lenient = False  # something was learned, so that less may be possible than it seemed
        self.lessons = 0
        self._execution: Execution | None = None
        self.exhausted = False

    def begin(self) -> None:
        """Start the next execution from the beginning."""
        self._depth = 0

    def choose(self, options: Sequence[Option], execution: Execution) -> Option:
        """Follow the schedule under way to its last node, then take what was not taken before."""
        self._execution = execution
        depth, self._depth = self._depth, self._depth + 1
        if depth < len(self._stack):
            node = self._stack[depth]
            if self._lenient:
                self._correct(node, options)
            self._compare(node, options, execution)
            return node.chosen
        if not self._reduction:
            everything = {option.key for option in options}
            self._stack.append(Node(options, {}, options[0], everything, {}))
            return options[0]
        before = self._clocks()
        due = [Option(actor.name, "go", actor.due) for actor in execution.actors if actor.pending and actor.due]
        self._races([*due, *(option for option in options if option.choice != "go")], before)
        sleeping = self._asleep(self._stack[-1]) if self._stack else {}
        awake = [option for option in options if option.key not in sleeping]
        if not awake:
            raise Pruned
        # Faults depend on everything, so each has to be tried at every moment.
        wanted = {awake[0].key, *(option.key for option in awake if option.choice != "go")}
        self._stack.append(Node(options, sleeping, awake[0], wanted, before))
        return awake[0]

    def learned(self) -> None:
        """Begin the same schedule again: what it had chosen last turned out to wait for a lock."""
        self._lenient = True
        self.lessons += 1

    def _correct(self, node: Node, options: Sequence[Option]) -> None:
        """Take out of a node what was never possible, and add what is: who closes a circle of waits, of whom one
        will be undone, and who waits may give up. Choose again where that was chosen."""
        known, before = {option.key for option in node.options}, {option.actor for option in node.options}
        new = [option for option in options if option.key not in known]
        other = any(option.actor in before and option.choice != "gives_up" for option in new)
        if other or [*options] == [*node.options]:
            return
        node.options = options
        node.wanted.update(option.key for option in new)
        keys = {option.key for option in options}
        if node.chosen.key not in keys:
            tried = {option.key for option in node.done}
            left = [each for each in options if each.key not in tried and each.key not in node.sleeping]
            if not left:
                raise Pruned
            first = next((each for each in left if each.key in node.wanted), left[0])
            node.chosen = first
            node.wanted.add(first.key)
            del self._stack[self._depth :]

    def _clocks(self) -> dict[str, Clock]:
        """Return what comes before each actor's next step, after the last step of the stack."""
        if not self._stack:
            return {}
        last = self._stack[-1]
        actor = last.chosen.actor
        clock = dict(last.before.get(actor, {}))
        for node in self._stack[:-1]:
            if not commute(node.chosen, last.chosen):
                for each, step in node.clock.items():
                    if step > clock.get(each, 0):
                        clock[each] = step
        clock[actor] = len(self._stack)
        last.clock = clock
        return {**last.before, actor: clock}

    def _races(self, options: Sequence[Option], before: dict[str, Clock]) -> None:
        for option in options:
            self._race(option, before.get(option.actor, {}))

    def _race(self, option: Option, before: Clock) -> None:
        """Find the steps that an option could have come before, and have that tried."""
        known = dict(before)
        for place in range(len(self._stack) - 1, -1, -1):
            node = self._stack[place]
            taken = node.chosen
            if taken.actor == option.actor or commute(taken, option) or place < known.get(taken.actor, 0):
                continue
            since = self._since(place)
            waited = option.actor not in NOBODY and before.get(option.actor, 0) <= place
            if (
                waited
                and option.key not in {each.key for each in node.options}
                and all(commute(each.chosen, option) for _, each in since)
            ):
                continue  # it was due already and could not be done, and nothing else made it possible
            self._reverse(node, since, option, before)
            for each, step in node.clock.items():
                known[each] = max(step, known.get(each, 0))

    def _since(self, place: int) -> list[tuple[int, Node]]:
        """Return what went after the step at a place, and not because of it."""
        actor = self._stack[place].chosen.actor
        later = range(place + 1, len(self._stack))
        return [(at, self._stack[at]) for at in later if self._stack[at].clock.get(actor, 0) <= place]

    @staticmethod
    def _reverse(node: Node, since: Sequence[tuple[int, Node]], option: Option, before: Clock) -> None:
        """Have an option tried before the step of a node, after those that have to come before it."""
        if not since and option.choice != "go":
            return  # each fault is tried at every moment anyway
        first = {  # who can go first
            each.chosen.actor
            for at, each in since
            if not any(
                each.clock.get(one.chosen.actor, 0) > before_it for before_it, one in since if before_it < at
            )
        }
        if not any(before.get(one.chosen.actor, 0) > at or not commute(one.chosen, option) for at, one in since):
            first.add(option.actor)
        able = [each.key for each in node.options if each.actor in first and each.choice == "go"]
        if not able:
            node.wanted.update(each.key for each in node.options)
        elif node.wanted.isdisjoint(able):
            node.wanted.add(able[0])

    @staticmethod
    def _asleep(parent: Node) -> dict[Key, Option]:
        candidates = [*parent.sleeping.values(), *parent.done]
        return {option.key: option for option in candidates if commute(option, parent.chosen)}

    @staticmethod
    def _compare(node: Node, options: Sequence[Option], execution: Execution) -> None:
        before, now = [option.key for option in node.options], [option.key for option in options]
        if before != now:
            raise Diverged(difference(before, now, len(execution.steps) + 1))

    def end(self) -> None:
        """Go back to the last moment at which something else has to be done."""
        if self._depth < len(self._stack):
            if not self._lenient:
                raise Diverged(f"it ended after {self._depth} steps, where it had gone on before")
            del self._stack[self._depth :]  # all who are left wait for one another, as is known by now
        self._lenient = False
        if self._reduction and self._execution is not None:
            # Who still waits at the end, in a deadlock or for work, could have come before what went last.
            self._races([Option(actor, "go", due) for actor, due in self._execution.waiting], self._clocks())
        while self._stack:
            node = self._stack[-1]
            node.done.append(node.chosen)
            taken = {option.key for option in node.done}
            left = [
                option
                for option in node.options
                if option.key in node.wanted and option.key not in taken and option.key not in node.sleeping
            ]
            if left:
                node.chosen = left[0]
                return
            self._stack.pop()
        self.exhausted = True


def difference(before: Sequence[Key], now: Sequence[Key], step: int) -> str:
    """Return in words what two executions of the same choices would do differently at a step."""
    gone = [each for each in before if each not in now][:1]
    new = [each for each in now if each not in before][:1]
    words = [f"{each[0]} was about to {each[2]}" for each in gone] + [
        f"{each[0]} is about to {each[2]}" for each in new
    ]
    return f"at step {step}, after the same steps and replies: {'; '.join(words)}"
