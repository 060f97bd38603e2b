"""What is explored: something that can be played again and again from the same beginning, and says what broke."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from oversold.explore.execution import Chooser, Execution
from oversold.model import Finding
from oversold.plan import Kind

Scenario = Mapping[str, int | str]


@dataclass(frozen=True)
class Code:
    """What was explored: the strategy's name, a fingerprint of its text, the versions of its stores."""

    name: str
    fingerprint: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)


class Subject(Protocol):
    """A design in a scenario: `bidding.Sale`, or a payday."""

    kind: Kind
    strategy_name: str
    fingerprint: str  # stands for the text of the strategy's code
    versions: Mapping[str, str]  # of its stores
    safety: tuple[str, ...]  # the checks that no schedule may break

    def scenario(self) -> Scenario:
        """Return the numbers that it runs with."""

    def play(self, chooser: Chooser, budget: int) -> Execution:
        """Run one execution from the beginning; at most `budget` faults may happen in it.

        Raises:
            Pruned, Diverged, Learned, Escape.
        """

    @property
    def steps(self) -> int:
        """How many steps the last execution took, whole or not."""

    @property
    def raised(self) -> Sequence[tuple[str, str]]:
        """What the strategy's own code raised in the last execution: who, what."""

    @property
    def doubts(self) -> frozenset[str]:
        """What its stores may have done that no schedule shows: sentences, none where all is well."""

    @property
    def moved(self) -> bool:
        """Whether anything was sold, or paid, in the last execution."""

    def broken(self) -> list[Finding]:
        """Return the promises that the last execution has broken."""

    def step_of(self, check: str) -> int:
        """Return the step of the last execution at which a promise was broken."""
