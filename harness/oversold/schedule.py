"""A schedule: who did what in which order. The explorer finds it, a replay repeats it, a picture shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from oversold.plan import Kind

# What can become of a command when its turn comes. go: it is served. crash_before, crash_after: the actor dies
# before it is sent, or after it was applied and before the reply is read. lost_request: it never arrives,
# lost_reply: it is applied and the reply never arrives; either way the client sees its connection fail and lives
# on. lie: a channel pays and says failed. step_fails: a later step of the bidder's pipeline fails, so the hold is
# released. gives_up: whoever waits goes through its tries while nobody else moves. expire: a key's time to live
# ends. evict: a cache forgets a key. time_passes: an hour goes by for all.
Choice = Literal[
    "go",
    "crash_before",
    "crash_after",
    "lost_request",
    "lost_reply",
    "lie",
    "step_fails",
    "gives_up",
    "expire",
    "evict",
    "time_passes",
]
CHOICES: tuple[Choice, ...] = get_args(Choice)

Outcome = Literal["EXHAUSTED", "BOUNDED", "SAMPLED", "VIOLATION", "NONDETERMINISTIC", "DEADLOCK", "LIVELOCK"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of one actor.

    `actor` is `bidder 1`, `worker 2`, `consumer`, `reconciler`, or `time` and `cache` for what nobody does.
    `operation` is the command in people's words, without what differs between replays. `reads` and `writes` are
    the keys that it touches, by store (`redis/left`). `reply` is what came back, in short; empty when nothing did.
    `changed` tells whether it took effect on what it writes.
    """

    number: int
    actor: str
    choice: Choice
    operation: str
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    reply: str = ""
    changed: bool = False


@dataclass(frozen=True, slots=True)
class Broken:
    """The promise that a schedule breaks: the name of the check, what it found, and the step from which on."""

    check: str
    detail: str
    step: int


@dataclass(frozen=True)
class Schedule:
    """One execution. `scenario` holds the numbers it ran with (bidders, capacity_bids, ...), `versions` the
    stores', `fingerprint` stands for the text of the strategy's code."""

    kind: Kind
    strategy: str
    scenario: Mapping[str, int | str]
    steps: tuple[Step, ...]
    outcome: Outcome
    broken: Broken | None = None
    seed: int = 1
    fingerprint: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def actors(self) -> tuple[str, ...]:
        """Who acts: by name and number, then those who serve them, last what nobody does."""
        found = dict.fromkeys(step.actor for step in self.steps)
        return tuple(sorted(found, key=_place))

    @property
    def faults(self) -> int:
        """How many faults there are among its steps."""
        return sum(step.choice != "go" for step in self.steps)

    @property
    def stands(self) -> bool:
        """Whether it ends with the step that breaks the promise, and nothing later could mend that."""
        broken = self.broken
        return broken is not None and broken.check in FACTS and broken.step == len(self.steps)

    def cut(self) -> Schedule:
        """Return the same without what comes after a promise was broken for good."""
        broken = self.broken
        if broken is None or broken.check not in FACTS:
            return self
        return replace(self, steps=self.steps[: broken.step])


NOBODY = ("cache", "time")
FACTS = ("oversubscription", "duplicate_order", "overpaid", "stranger")  # what was sold or paid stays so
SERVERS = ("consumer", "reconciler")


def _place(actor: str) -> tuple[bool, bool, str, int]:
    role, _, number = actor.partition(" ")
    return actor in NOBODY, actor in SERVERS, role, int(number) if number.isdigit() else 0
