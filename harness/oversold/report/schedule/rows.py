"""The rows of a drawn schedule: steps with what is to be said beside them, and repetitions folded."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from oversold.report.schedule.keys import effective
from oversold.schedule import Step

_LONGEST = 12  # steps of a circle
_ROUNDS = 3  # so many rounds of several steps are a repetition; of one step two are enough

Kind = Literal["stale", "acts", "fault", "broken"]


@dataclass(frozen=True, slots=True)
class Mark:
    """What is said beside a step."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """A step, how often it comes in a row without effect, and what is said beside it."""

    step: Step
    times: int = 1
    marks: tuple[Mark, ...] = ()

    def has(self, kind: Kind) -> bool:
        """Tell whether a mark of that kind stands beside it."""
        return any(mark.kind == kind for mark in self.marks)


@dataclass(frozen=True, slots=True)
class Again:
    """Rows above, from step `first` to `last`, that come `times` times more, up to step `until`."""

    first: int
    last: int
    times: int
    until: int

    @property
    def text(self) -> str:
        """The repetition in words."""
        return f"{self.first} to {self.last} again, {self.times} times, up to step {self.until}"


def circle(steps: Sequence[Step]) -> tuple[Sequence[Step], int] | None:
    """Return what the last steps repeat, and how often; None where they do not."""
    for period in range(1, min(_LONGEST, len(steps) // 2) + 1):
        times = 1
        while len(steps) >= period * (times + 1) and all(
            _same(steps[-1 - back], steps[-1 - back - period * times]) for back in range(period)
        ):
            times += 1
        if times >= (_ROUNDS if period > 1 else 2):
            return steps[len(steps) - period :], times
    return None


def folded(steps: Sequence[Step], keep: Collection[int] = ()) -> list[Row | Again]:
    """Return the rows of some steps without marks; those whose numbers are in `keep` stay on their own."""
    rows: list[Row | Again] = []
    at = 0
    while at < len(steps):
        period, times = _repeated(steps, at, keep)
        if period == 1:
            rows.append(Row(steps[at], times))
        else:
            rows += [Row(step) for step in steps[at : at + period]]
            last = steps[at + period - 1].number
            rows.append(Again(steps[at].number, last, times - 1, steps[at + period * times - 1].number))
        at += period * times
    return rows


def _repeated(steps: Sequence[Step], at: int, keep: Collection[int]) -> tuple[int, int]:
    """Return how many steps from `at` on are repeated, and how often; (1, 1) where none are."""
    for period in range(1, _LONGEST + 1):
        block = steps[at : at + period]
        if len(block) < period or any(step.number in keep or step.choice != "go" for step in block):
            break
        times = 1
        while _round_follows(steps, at + period * times, block, keep):
            times += 1
        if (period == 1 and times > 1 and not effective(block[0])) or (period > 1 and times >= _ROUNDS):
            return period, times
    return 1, 1


def _round_follows(steps: Sequence[Step], at: int, block: Sequence[Step], keep: Collection[int]) -> bool:
    following = steps[at : at + len(block)]
    return len(following) == len(block) and all(
        _same(one, other) and other.number not in keep for one, other in zip(block, following, strict=True)
    )


def _same(one: Step, other: Step) -> bool:
    return (one.actor, one.choice, one.operation, one.reply, one.changed) == (
        other.actor,
        other.choice,
        other.operation,
        other.reply,
        other.changed,
    )
