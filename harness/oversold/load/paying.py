"""The payday's side of one load-generating process: job workers, the reconciler, investors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import numpy as np

from oversold.assignment import Assignment
from oversold.clock import now_ns, seeded
from oversold.load.worker import LoadWorker, Say
from oversold.payout_plan import Part, PayoutPlan, investor_count, user_id
from oversold.platform.faults import FaultKind, connection_lost, told
from oversold.strategies.payouts.interface import PayoutStrategy
from oversold.targets.payouts import Hand, PayoutTarget

LATE_VISIT_NS = 2_000_000_000


class JobKilledError(BaseException):
    """Ends a job worker as SIGKILL would: no strategy's `except Exception` stops it."""


class PayoutWorker(LoadWorker):
    """A worker whose users play the parts of a payday."""

    def __init__(self, assignment: Assignment[PayoutPlan], number: int, say: Say) -> None:
        self.plan = assignment.plan
        self._payday_id = assignment.run_id
        self._parts = self.plan.parts()
        self._investors = np.random.default_rng([self.plan.seed, 0x1A57]).permutation(
            investor_count(self.plan.payouts)
        )
        self.target = PayoutTarget(assignment, number, self._told)
        self.faults = self.target.faults
        # Hands connect side by side, and before the gate opens: a job's first payment must not wait for that.
        hands = len(self.plan.starts) * self.plan.lanes + 1
        openings = [gevent.spawn(self.target.hand, number) for number in range(hands)]
        gevent.joinall(openings, raise_error=True)
        self._hands: list[Hand] = [opening.value for opening in openings]
        self._free = list(self._hands)
        self._left = self._working = 0
        self._running: dict[Any, Hand] = {}
        self._jobs: list[dict[str, Any]] = []
        super().__init__(assignment, number, say)

    def _told(self, answer: str, failure: bool, service_ns: int) -> None:
        self.fresh[answer, failure].append(service_ns)

    def _ready(self) -> None:
        mine = self._parts[self._first : self._first + self._share]
        self._working = sum(part.role == "worker" for part in mine)

    def part(self, index: int) -> Part:
        """Return what user `index` plays."""
        return self._parts[index]

    @property
    def horizon(self) -> int:
        """When the payday is over (monotonic ns)."""
        return self.t0 + int(self.plan.horizon_s * 1e9)

    def work(self, part: Part) -> None:
        """Do one worker's share of a job, from its planned start until it has nothing left, is killed, or the
        payday is over."""
        start, job = part.start, self.plan.job(self._payday_id, part)
        assert start is not None
        hand = self._free.pop()
        self.sleep_until(self.t0 + int(start.at_s * 1e9))
        row: dict[str, Any] = {"run": job.run, "worker": job.worker, "t_start": now_ns(), "t_end": None}
        self._jobs.append(row)
        until = self.horizon if start.kill_s is None else self.t0 + int(start.kill_s * 1e9)
        if self._during(hand, "run_job", lambda: hand.take(f"{job.run}/{job.worker}").run_job(job), until):
            row["t_end"] = now_ns()
        elif start.kill_s is not None:
            row |= {"t_end": now_ns(), "killed": True}
        self._working -= 1

    def reconcile(self) -> None:
        """Call the strategy's `reconcile` again and again, until nothing is open any more."""
        hand = self._free.pop()
        strategies: list[PayoutStrategy] = []
        if not self._during(hand, "reconcile", lambda: strategies.append(hand.take("reconcile/0")), self.horizon):
            return
        every_ns = int(self.plan.payouts.reconcile_s * 1e9)
        last_start = self.t0 + int(self.plan.starts[-1].at_s * 1e9)
        following = self.t0
        still_open: list[int] = []
        while strategies:
            following = max(following + every_ns, now_ns())
            if following >= self.horizon:
                return
            self.sleep_until(following)
            over = self._working == 0 and now_ns() > last_start
            call = lambda: still_open.append(int(strategies[0].reconcile(self._payday_id)))  # noqa: E731
            if not self._during(hand, "reconcile", call, self.horizon):
                return
            # What was open before the last job ended is looked at once more.
            if over and still_open and still_open[-1] == 0:
                return

    def _during(self, hand: Hand, phase: str, call: Callable[[], Any], until: int) -> bool:
        """Run a strategy's own code in a greenlet of its own until it ends or `until` comes; false when it was
        ended by force. What it raises is a fault of the run."""
        greenlet = gevent.spawn(self._guarded, hand, phase, call)
        self._running[greenlet] = hand
        greenlet.join(max(0.0, (until - now_ns()) / 1e9))
        ended = bool(greenlet.ready())
        if not ended:
            self._kill(greenlet)
            hand.close()  # the servers roll back what was under way
        self._running.pop(greenlet, None)
        return ended and not hand.dead

    def _kill(self, greenlet: Any) -> None:
        error = JobKilledError()
        self._running[greenlet].cut(error)
        greenlet.kill(error, block=True, timeout=2)

    def _guarded(self, hand: Hand, phase: str, call: Callable[[], Any]) -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - user code may raise anything, SystemExit too
            if not hand.dead:
                kind: FaultKind = "store" if connection_lost(error) else "raised"
                self.faults.add(kind, phase, told(error))

    def visits(self, part: Part) -> list[tuple[int, bool]]:
        """Return when an investor looks at the account (monotonic ns), and whether it is then emptied."""
        every = self.plan.payouts
        draw = seeded(self.plan.seed, "investor", part.investor)
        span_s = min(self.plan.horizon_s, 2 * max(every.maturity_min, 30) * self.plan.minute_s)
        times = sorted(draw.uniform(0, span_s) for _ in range(every.visits))
        return [(self.t0 + int(at * 1e9), draw.random() < every.withdraw) for at in times]

    def missed(self, moment: int) -> bool:
        """Tell whether a visit comes so late that the investor has given it up: the crowd must not outlast the
        payday."""
        return now_ns() > min(moment + LATE_VISIT_NS, self.horizon)

    def look(self, part: Part, *, withdraw: bool) -> None:
        """Read an investor's balance at every channel; withdraw it where there is one, when that is wished."""
        investor = user_id(self._payday_id, int(self._investors[part.investor % len(self._investors)]))
        with self.target.teller() as channels:
            for name, channel in channels.items():
                before = now_ns()
                account = channel.account(investor)
                self._told(f"balance {name}", account is None, now_ns() - before)
                if withdraw and account is not None and account.balance_fen > 0:
                    before = now_ns()
                    granted = channel.withdraw(investor)
                    self._told(f"withdraw {name}", granted == 0, now_ns() - before)

    def leave(self) -> None:
        """One user has played its part, and goes home with all others."""
        self._left += 1
        if self._left == self._share:
            self._finish()
        self.wait_for_end()

    def _close_own(self) -> dict[str, Any]:
        for greenlet in list(self._running):  # the run was stopped: whoever still works dies first
            self._kill(greenlet)
        for hand in self._hands:
            hand.close()
        self.target.close()
        return {"jobs": self._jobs}
