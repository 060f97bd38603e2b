"""The bidders' side of one load-generating process: its bids, its lanes, its recorder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from oversold.assignment import Assignment
from oversold.bid_plan import BidPlan, bid_id, draw_bids
from oversold.evidence import Outcome
from oversold.history import HistoryWriter, checksum, path_of
from oversold.load.lanes import LanePool, Patient, Target
from oversold.load.worker import LoadWorker, Say
from oversold.model import Bid
from oversold.platform.pipeline import Tap

MAX_TAPS_PER_BIDDER = 400
FAILURES = {Outcome.UNKNOWN, Outcome.ERROR}


class BidWorker(LoadWorker):
    """A worker whose users are bidders. `target` makes what its lanes drive."""

    def __init__(
        self,
        assignment: Assignment[BidPlan],
        number: int,
        say: Say,
        target: Callable[[Assignment[BidPlan], int], Target],
    ) -> None:
        self.plan = assignment.plan
        bids = draw_bids(self.plan)
        # Python's own numbers: taking one out of an array costs more than all else that a tap needs of it.
        self._offset_ns = bids.offset_ns.tolist()
        self._bid_columns = list(
            zip(
                bids.amount_fen.tolist(),
                bids.failing_step.tolist(),
                bids.steps_s.tolist(),
                bids.fail_s.tolist(),
                strict=True,
            )
        )
        manners = self.plan.bids
        taps = 2 + 2 * manners.patience_s * 1000 / max(manners.think_ms, 1.0)
        self._path = path_of(assignment.raw, number)
        self.recorder = HistoryWriter(self._path, int(self.plan.users * min(taps, MAX_TAPS_PER_BIDDER)) + 1024)
        self.target = target(assignment, number)
        self.faults = self.target.faults
        # What the platform itself sleeps in a tap, or waits for a service, is no fault of the strategy's.
        own_s = (
            self.target.longest_s
            if isinstance(self.target, Patient)
            else 1.5 * (manners.steps_ms + manners.fail_ms) / 1e3
        )
        self.lanes = LanePool(self.target, self.recorder, self.plan.lanes, manners.hang_s + own_s)
        self._labels = {outcome: (outcome.name.lower(), outcome in FAILURES) for outcome in Outcome}
        super().__init__(assignment, number, say)

    def wait_for_arrival(self, index: int) -> int:
        """Sleep until bid `index` is meant to arrive; return that moment (monotonic ns)."""
        return self.sleep_until(self.t0 + self._offset_ns[index])

    def tap(self, index: int, attempt: int, t_intended: int) -> tuple[Outcome, int]:
        """Send attempt `attempt` of bid `index` through a lane; return what the bidder is told, and the row."""
        tranche_id = self._assignment.run_id
        amount_fen, failing_step, steps_s, fail_s = self._bid_columns[index]
        bid = Bid(bid_id(tranche_id, index), tranche_id, f"user-{index}", amount_fen)
        tap = Tap(index, bid, attempt, t_intended, failing_step, steps_s, fail_s)
        row = self.lanes.serve(tap)
        self.fresh[self._labels[tap.outcome]].append(tap.t_done - tap.t_admitted)
        return tap.outcome, row

    def leave(self, row: int) -> None:
        """The bidder of the tap in `row` has finished, and goes home with all others."""
        self.recorder.leave(row)
        if self.recorder.finished == self._share:
            self._finish()
        self.wait_for_end()

    def _close_own(self) -> dict[str, Any]:
        self.lanes.close()
        self.target.close()
        recorder = self.recorder
        own = {"taps": recorder.used, "bids": recorder.finished, "dropped": recorder.dropped}
        recorder.close()
        return {**own, "crc32": checksum(self._path)}
