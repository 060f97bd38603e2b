"""The bid pipeline of one lane: reserve, a dozen steps that may fail, confirm, order row; or release.

ARRIVED -> REJECTED (sold_out | busy | error)
        -> RESERVED -> step 1..k -> CONFIRMED -> order row
                                 -> RELEASED | LEAKED
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from oversold.bid_plan import BidPlan
from oversold.clock import Clock, now_ns
from oversold.evidence import NEVER, HoldEnd, Outcome, RefusedBy
from oversold.model import HOLD_VERDICTS, Bid, Claim, Hold
from oversold.platform.faults import Faults, connection_lost, told
from oversold.platform.ledger import LedgerPool
from oversold.platform.progress import Progress
from oversold.platform.tranche_status import MarkingRules, TrancheStatus
from oversold.strategies.interface import BidStrategy

OUTCOMES = {
    "sold_out": Outcome.SOLD_OUT,
    "busy": Outcome.BUSY,
    "error": Outcome.ERROR,
    "unknown": Outcome.UNKNOWN,
}


class Tap:
    """One attempt of one bid on its way through a lane; the recorder writes it down. Times in ns."""

    __slots__ = (
        "attempt",
        "bid",
        "fail_s",
        "failed_step",
        "failing_step",
        "hold",
        "index",
        "outcome",
        "refused_by",
        "steps_s",
        "t_admitted",
        "t_done",
        "t_intended",
        "t_reserved",
        "t_sent",
    )

    def __init__(
        self, index: int, bid: Bid, attempt: int, t_intended: int, failing_step: int, steps_s: float, fail_s: float
    ) -> None:
        self.index = index
        self.bid = bid
        self.attempt = attempt
        self.t_intended = t_intended
        self.failing_step = failing_step
        self.steps_s = steps_s
        self.fail_s = fail_s
        self.t_admitted = self.t_sent = self.t_reserved = self.t_done = NEVER
        self.outcome: Outcome = Outcome.UNKNOWN
        self.hold: HoldEnd = HoldEnd.NONE
        self.refused_by: RefusedBy = RefusedBy.NOBODY
        self.failed_step = 0


class StrategyError(Exception):
    """A strategy call raised; `lost` tells that its connection is gone, so nobody knows what happened."""

    def __init__(self, *, lost: bool) -> None:
        super().__init__()
        self.lost = lost


class BidPipeline:
    """One lane's pipeline: a strategy instance of its own, platform parts shared with the process's lanes."""

    def __init__(
        self,
        plan: BidPlan,
        strategy: BidStrategy,
        ledger: LedgerPool,
        status: TrancheStatus,
        progress: Progress,
        clock: Clock,
        faults: Faults,
    ) -> None:
        self._strategy = strategy
        self._ledger = ledger
        self._status = status
        self._progress = progress
        self._clock = clock
        self._faults = faults
        self._rules = MarkingRules(plan, status, progress)
        self._rtt_s = plan.rtt_s
        self._steps = plan.bids.steps
        self._progress_step = max(1, round(plan.bids.steps * 0.4))
        self._progress_is_real = plan.bids.progress == "row"
        self._tranche_id = ""

    def run(self, tap: Tap) -> None:
        """Take one tap through; its outcome, hold and times are set as they become known.

        Raises:
            StrategyError: a strategy call raised; the tap says what is known.
            psycopg.Error: the ledger's server did not answer; the tap stays `UNKNOWN`.
        """
        self._tranche_id = tap.bid.tranche_id
        if self._status.full:
            self._clock.sleep(self._rtt_s)  # reading the page takes its round trip too
            tap.outcome, tap.refused_by = Outcome.SOLD_OUT, RefusedBy.STATUS
            return
        try:
            self._reserve(tap, tap.bid)
        except StrategyError as error:
            if not error.lost:
                tap.outcome = Outcome.ERROR
                if tap.hold == HoldEnd.NONE and tap.refused_by == RefusedBy.NOBODY:
                    tap.refused_by = RefusedBy.STRATEGY  # to have no answer turns people away as well
                if tap.hold == HoldEnd.LIVE:
                    tap.hold = HoldEnd.LEAKED
            raise

    def _reserve(self, tap: Tap, bid: Bid) -> None:
        tap.t_sent = now_ns()
        hold = self._call("reserve", self._strategy.reserve, bid)
        tap.t_reserved = now_ns()
        if not isinstance(hold, Hold) or hold.verdict not in HOLD_VERDICTS:
            self._faults.add("nonsense", "reserve", f"answered {hold!r:.80} instead of a Hold")
            tap.outcome, tap.refused_by = Outcome.ERROR, RefusedBy.STRATEGY
        elif hold.verdict == "ok":
            tap.hold = HoldEnd.LIVE
            self._held(tap, bid, hold)
        else:
            tap.outcome, tap.refused_by = OUTCOMES[hold.verdict], RefusedBy.STRATEGY
            if hold.verdict == "sold_out" and not self._rules.sold_out(self._claim):
                tap.outcome = Outcome.BUSY

    def _held(self, tap: Tap, bid: Bid, hold: Hold) -> None:
        failed, counted = self._walk(tap, bid)
        if failed:
            tap.failed_step, tap.refused_by = failed, RefusedBy.STEP
            self._give_back(tap, bid, hold, counted=counted)
            tap.outcome = Outcome.ERROR
            return
        try:
            confirmed = self._call("confirm", self._strategy.confirm, bid, hold)
        except StrategyError:
            self._uncount(bid, counted=counted)
            raise
        if confirmed is not True:
            if confirmed is not False:
                self._faults.add("nonsense", "confirm", f"answered {confirmed!r:.80} instead of true or false")
            self._give_back(tap, bid, hold, counted=counted)
            tap.outcome, tap.refused_by = Outcome.ERROR, RefusedBy.STRATEGY
            return
        # If the ledger does not answer, the order may be written or not: the tap stays unknown.
        self._ledger.write(bid)
        tap.hold, tap.outcome = HoldEnd.CONFIRMED, Outcome.OK

    def _walk(self, tap: Tap, bid: Bid) -> tuple[int, bool]:
        """Go through the steps; return the step that failed (0: none) and whether progress counted the bid.

        Steps that only take time are slept through together: nobody can tell the difference, and it costs a
        tenth.
        """
        if not self._progress_is_real or 0 < tap.failing_step <= self._progress_step:
            self._clock.sleep(tap.steps_s + tap.fail_s)
            return tap.failing_step, False
        before = tap.steps_s * self._progress_step / (tap.failing_step or self._steps)
        self._clock.sleep(before)
        if not self._progress.add(bid.amount_fen):
            return self._progress_step, False
        self._clock.sleep(tap.steps_s - before + tap.fail_s)
        return tap.failing_step, True

    def _give_back(self, tap: Tap, bid: Bid, hold: Hold, *, counted: bool) -> None:
        self._uncount(bid, counted=counted)
        released = self._call("release", self._strategy.release, bid, hold)
        if released is True:
            tap.hold = HoldEnd.RELEASED
            self._rules.released(self._claim)
            return
        tap.hold = HoldEnd.LEAKED
        if released is not False:
            self._faults.add("nonsense", "release", f"answered {released!r:.80} instead of true or false")

    def _uncount(self, bid: Bid, *, counted: bool) -> None:
        if counted:
            self._progress.take_back(bid.amount_fen)

    def _claim(self) -> Claim:
        claim = self._call("status", self._strategy.status, self._tranche_id)
        if not isinstance(claim, Claim):
            self._faults.add("nonsense", "status", f"answered {claim!r:.80} instead of a Claim")
            raise StrategyError(lost=False)
        return claim

    def _call(self, phase: str, method: Callable[..., Any], *arguments: Any) -> Any:
        """Call the strategy; whatever it raises becomes a fault of this run, not the end of it."""
        try:
            return method(*arguments)
        except Exception as error:
            lost = connection_lost(error)
            self._faults.add("store" if lost else "raised", phase, told(error))
            raise StrategyError(lost=lost) from error
