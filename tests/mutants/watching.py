"""Notes by which faults the executions of a subject broke which promises, so that two designs can be compared."""

from __future__ import annotations

from typing import Any

from oversold.explore.execution import Chooser, Execution
from oversold.model import Finding

# A promise, and what had to happen for it to break: what became of which commands on which keys. Nothing more
# when it broke without a fault.
Mark = tuple[str, ...]


class Watched:
    """A subject, of whose executions with so many faults at most is noted what they broke besides safety."""

    def __init__(self, subject: Any, faults: int, *, pauses: bool = True) -> None:
        self._subject, self._faults = subject, faults
        self._execution: Execution | None = None
        self.marks: set[Mark] = set()
        if not pauses:  # no key expires and no time passes
            subject.world.events = lambda execution: ()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._subject, name)

    def play(self, chooser: Chooser, budget: int) -> Execution:
        """Run one execution."""
        self._execution = None
        self._execution = self._subject.play(chooser, budget)
        return self._execution

    def broken(self) -> list[Finding]:
        """Return what the last execution has broken."""
        found: list[Finding] = self._subject.broken()
        if self._execution is not None:
            faults = [step for step in self._execution.steps if step.choice != "go"]
            if len(faults) <= self._faults:
                if self._execution.stalled:
                    self.marks.add(("stall",))
                happened = [word for step in faults for word in _happened(step)]
                if self._subject.kind == "payouts" and self._left_to_people():
                    self.marks.add(("review", *happened))
                self.marks |= {(each.check, *happened) for each in found if each.check not in self.safety}
        return found

    def _left_to_people(self) -> bool:
        """Tell whether the last execution ended with something that only people can decide."""
        states = self._subject._states().values()
        return any(state is not None and state.status == "REVIEW" for state in states)


def _happened(step: Any) -> tuple[str, ...]:
    command = step.operation.partition(" ")[0]
    return step.choice, command, *step.reads, *step.writes
