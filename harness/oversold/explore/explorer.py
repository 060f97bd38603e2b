"""The search from its start to a verdict: walk all schedules within the budget, or hunt among too many of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from oversold.explore.escapes import Escape
from oversold.explore.execution import Chooser, Execution, Learned, Option, Pruned
from oversold.explore.hunt import portfolio
from oversold.explore.replay import LESSONS, findings, recorded, replayed
from oversold.explore.scan import Straight, scan
from oversold.explore.search import DepthFirst, Diverged
from oversold.explore.shrink import shrunk, size
from oversold.explore.subject import Scenario, Subject
from oversold.model import Finding
from oversold.plan import Kind
from oversold.schedule import Outcome, Schedule

Mode = Literal["exhaustive", "hunt"]

GLANCE_S = 0.3  # without faults, before a first look at those with one
SCAN_SHARE = 0.4  # of the budget, at most, for that first look
GRACE_S = 1.0  # an execution that has begun may end
SETTLE_S = 0.5  # after the first counterexample, for a shorter one
SHRINK_S = 5.0
ASIDE_S = 0.5  # for all that was seen besides
REPEATS = 10  # of a counterexample on the stores, before it is believed
ENDINGS: Mapping[str, Outcome] = {"deadlock": "DEADLOCK", "livelock": "LIVELOCK"}
OVER = "the budget of time was over"
NOTHING: Mapping[Kind, str] = {
    "bids": "nobody bought anything in any of them (more --capacity-bids may help)",
    "payouts": "nobody was paid in any of them",
}


@dataclass(frozen=True)
class Limits:
    """What to search, and for how long. `checks` are the promises that a schedule may not break; those of the
    subject's own safety when empty."""

    faults: int = 0
    budget_s: float = 30.0
    mode: Mode = "exhaustive"
    checks: tuple[str, ...] = ()
    seed: int = 1


@dataclass
class Aside:
    """A promise that nobody asked for and some schedules break: how many, and the shortest of them."""

    count: int
    schedule: Schedule


@dataclass
class Result:
    """What a search found.

    `schedule` is the counterexample, where there is one. `runs` counts executions, `steps` their steps, `bound` is
    the number of faults up to which every schedule was walked (None: not even those without). `also` has the other
    promises that some schedules break. `why` says in words what the outcome does not.
    """

    outcome: Outcome = "SAMPLED"
    schedule: Schedule | None = None
    runs: int = 0
    steps: int = 0
    bound: int | None = None
    seconds: float = 0.0
    searched_s: float = 0.0
    first_s: float | None = None  # when the first counterexample was found
    also: dict[str, Aside] = field(default_factory=dict)
    why: str = ""
    repeated: int = 0
    interrupted: bool = False
    waited: bool = False  # somebody waited who might have given up
    moved: bool = False  # something was sold, or paid, in some schedule
    besides: str = ""  # what was tried after a proof, in a sentence


class LateError(Exception):
    """The budget of time was over in the middle of an execution."""


@dataclass(frozen=True)
class Punctual:
    """Chooses as another chooser does, until the budget of time is over."""

    chooser: Chooser
    until: float

    def choose(self, options: Sequence[Option], execution: Execution) -> Option:
        """Return the other's choice."""
        if time.monotonic() > self.until + GRACE_S:
            raise LateError
        return self.chooser.choose(options, execution)


class Explorer:
    """One search over one subject. `stage` makes subjects of other numbers, for shrinking; `tell` hears how far it
    is."""

    def __init__(
        self,
        subject: Subject,
        limits: Limits,
        stage: Callable[[Scenario], Subject],
        tell: Callable[[Result], None] = lambda result: None,
    ) -> None:
        self._subject, self._limits, self._stage, self._tell = subject, limits, stage, tell
        self._wanted = limits.checks or subject.safety
        self._result = Result()
        self._started = time.monotonic()
        self._until = self._started + limits.budget_s
        self._best: Schedule | None = None
        self._scanned = False

    def search(self) -> Result:
        """Search until the end, the first counterexample and a little longer, or the end of the budget."""
        result = self._result
        try:
            if self._limits.mode == "hunt":
                self._hunt()
            else:
                self._exhaust()
            result.searched_s = time.monotonic() - self._started
            if self._best is not None:
                self._settle(self._best)
            self._trim_asides()
        except (Diverged, Escape) as error:
            result.outcome, result.schedule, result.why = "NONDETERMINISTIC", None, str(error)
        except LateError:
            self._cut_off(OVER)
        except KeyboardInterrupt:
            result.interrupted = True
            self._cut_off("interrupted")
        result.seconds = time.monotonic() - self._started
        result.searched_s = result.searched_s or result.seconds
        return result

    def _cut_off(self, why: str) -> None:
        """Keep what was found until the search was ended."""
        result = self._result
        result.why = why
        if self._best is not None:
            result.schedule, result.outcome = self._best, self._best.outcome
        elif result.bound is not None:
            result.outcome = "BOUNDED"

    # Walking

    def _exhaust(self) -> None:
        """Walk all schedules without faults, then all with one, and so on."""
        result, faults = self._result, self._limits.faults
        if faults and not self._walk(0, time.monotonic() + GLANCE_S):
            self._scan()
        for bound in range(faults + 1):
            if self._best is not None:
                return
            if not self._walk(bound, self._until):
                result.outcome = "SAMPLED" if result.bound is None else "BOUNDED"
                result.why = OVER
                return
            result.bound = bound
            if bound == 0 and faults:
                self._scan()
        if self._best is None:
            result.outcome = "EXHAUSTED"
            if not result.moved:
                result.outcome, result.why = "SAMPLED", NOTHING[self._subject.kind]
            elif doubts := self._subject.doubts:
                result.outcome, result.why = "SAMPLED", sorted(doubts)[0]

    def _walk(self, faults: int, until: float) -> bool:
        """Walk all schedules with up to so many faults; false when time was over. A counterexample ends it
        soon."""
        search, checked = DepthFirst(), False
        while not search.exhausted:
            if time.monotonic() > min(until, self._until):
                return self._best is not None
            search.begin()
            try:
                self._play(search, faults)
            except Pruned:
                pass
            except Learned:
                self._relearn(search)
                continue
            if not checked:  # the same schedule twice: what escapes the explorer shows at once
                checked = True
                search.begin()
                self._play(search, faults)
            search.end()
        return True

    def _scan(self) -> None:
        """Take a first look at where one fault does harm, or two."""
        if self._scanned:
            return
        self._scanned, faults = True, min(self._limits.faults, 2)

        def play(straight: Straight) -> None:
            while True:
                straight.begin()
                try:
                    self._play(straight, faults)
                except Learned:
                    continue
                except Pruned:
                    pass
                return

        until = min(self._until, time.monotonic() + SCAN_SHARE * self._limits.budget_s)
        for _ in scan(play, faults):
            if self._best is not None or time.monotonic() > until:
                return

    def _relearn(self, search: DepthFirst) -> None:
        """Begin the same schedule again, with what is now known of locks."""
        search.learned()
        if search.lessons > LESSONS:
            raise Diverged(
                f"{LESSONS} statements waited for locks, and each time for another reason: use fewer bidders, or "
                "shorter transactions"
            )

    def _hunt(self) -> None:
        """Draw schedules until the budget is over."""
        choosers = portfolio(self._limits.seed)
        while time.monotonic() < self._until:
            try:
                self._play(next(choosers), self._limits.faults)
            except (Learned, Pruned):
                continue
        if self._best is None:
            self._result.outcome = "SAMPLED"
            self._result.why = OVER

    def _play(self, chooser: Chooser, faults: int) -> Execution:
        """Run one execution, and look at what came of it."""
        result = self._result
        result.runs += 1
        try:
            execution = self._subject.play(Punctual(chooser, self._until), faults)
        finally:
            result.steps += self._subject.steps
        result.waited = result.waited or execution.waited
        result.moved = result.moved or self._subject.moved
        for finding in findings(self._subject, execution):
            self._note(execution, finding)
        self._tell(result)
        return execution

    def _note(self, execution: Execution, finding: Finding) -> None:
        check = finding.check
        result = self._result
        if check in self._wanted or check in ("raised", *ENDINGS):
            schedule = recorded(
                execution, self._subject, finding, ENDINGS.get(check, "VIOLATION"), self._limits.seed
            )
            if self._best is None:
                now = time.monotonic()
                result.first_s = now - self._started
                self._until = min(self._until, now + SETTLE_S)
            if self._best is None or size(schedule) < size(self._best):
                self._best = schedule
            return
        aside = result.also.get(check)
        if aside is None or len(execution.steps) < len(aside.schedule.steps):
            schedule = recorded(execution, self._subject, finding, "VIOLATION", self._limits.seed)
            aside = result.also[check] = Aside(aside.count if aside else 0, schedule)
        aside.count += 1

    # With a counterexample

    def _trim_asides(self) -> None:
        """Make what was seen besides smaller too, in a short time: as it is it may not be repeatable."""
        until = time.monotonic() + ASIDE_S
        for check, aside in sorted(self._result.also.items()):
            aside.schedule = shrunk(self._stage, aside.schedule, check, until)

    def _settle(self, schedule: Schedule) -> None:
        """Make the counterexample as small as it can be, and repeat it."""
        assert schedule.broken is not None
        smaller = shrunk(self._stage, schedule, schedule.broken.check, time.monotonic() + SHRINK_S)
        result = self._result
        smaller = smaller.cut()
        result.schedule, result.outcome = smaller, smaller.outcome
        subject = self._stage(smaller.scenario)
        result.repeated = sum(repeats(subject, smaller) for _ in range(REPEATS))
        if result.repeated < REPEATS:
            raise Diverged(f"the counterexample could be repeated {result.repeated} times out of {REPEATS}")


def repeats(subject: Subject, schedule: Schedule) -> bool:
    """Tell whether a schedule can be repeated on a subject's stores, and breaks the same promise again."""
    assert schedule.broken is not None
    try:
        execution = replayed(subject, schedule)
    except Diverged:
        return False
    return schedule.broken.check in {finding.check for finding in findings(subject, execution)}
