"""What the seed decides for a bid that comes over HTTP: which step fails, and how long its steps take."""

from __future__ import annotations

from typing import NamedTuple

from oversold.bid_plan import BidPlan, bid_index, draw_bids
from oversold.clock import seeded


class Drawn(NamedTuple):
    """One bid's way through the steps: `failing_step` is 1-based, 0 where none fails; times in seconds."""

    failing_step: int
    steps_s: float
    fail_s: float


class Draws:
    """The draws of one tranche: the same in every process, and at every repetition of a bid.

    A bid of the plan, known by its id, goes the way that it goes in-process. Any other is drawn from its id.
    """

    def __init__(self, plan: BidPlan, tranche_id: str) -> None:
        self._plan, self._tranche_id = plan, tranche_id
        self._bids = draw_bids(plan)

    def of(self, bid_id: str) -> tuple[int, Drawn]:
        """Return the bid's index in the plan, -1 where it has none, and what was drawn for it."""
        index = bid_index(self._tranche_id, bid_id, self._plan.users)
        if index < 0:
            return index, self._foreign(bid_id)
        bids = self._bids
        return index, Drawn(int(bids.failing_step[index]), float(bids.steps_s[index]), float(bids.fail_s[index]))

    def _foreign(self, bid_id: str) -> Drawn:
        settings, draw = self._plan.bids, seeded(self._plan.seed, "served", self._tranche_id, bid_id)
        fails = draw.random() < settings.p
        step = draw.randint(1, settings.steps) if fails else 0
        walked = (step or settings.steps) / settings.steps
        steps_s = draw.uniform(0.5, 1.5) * settings.steps_ms / 1e3 * walked
        return Drawn(step, steps_s, draw.uniform(0.5, 1.5) * settings.fail_ms / 1e3 if fails else 0.0)
