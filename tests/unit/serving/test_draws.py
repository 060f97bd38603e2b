"""What is drawn for bids that come over HTTP."""

from __future__ import annotations

import pytest

from oversold.bid_plan import BidPlan, BidSettings, bid_id, draw_bids
from oversold.serving.draws import Drawn, Draws


def plan_of(p: float = 0.3, seed: int = 5) -> BidPlan:
    """Return a plan of 40 bids with a chance to fail."""
    return BidPlan(
        scenario="bid-burst", strategy="none", seed=seed, users=40, capacity_fen=10_000, bids=BidSettings(p=p)
    )


def test_bids_of_the_plan_go_the_way_they_go_in_process() -> None:
    """A bid that the plan knows by its id fails in the step, and takes the time, that the plan says."""
    plan = plan_of()
    bids, draws = draw_bids(plan), Draws(plan, "t1")
    for index in range(plan.users):
        expected = (bids.failing_step[index], bids.steps_s[index], bids.fail_s[index])
        assert draws.of(bid_id("t1", index)) == (index, expected)
    assert draws.of(bid_id("t1", plan.users))[0] == -1
    assert draws.of(bid_id("t2", 3))[0] == -1


def test_other_bids_are_drawn_from_their_id() -> None:
    """A foreign bid is drawn alike in every process and at every repetition, and otherwise for another seed."""
    names = [f"order-{number}" for number in range(300)]
    drawn = [Draws(plan_of(), "t1").of(name)[1] for name in names]
    assert drawn == [Draws(plan_of(), "t1").of(name)[1] for name in names]
    assert drawn != [Draws(plan_of(seed=6), "t1").of(name)[1] for name in names]
    assert 60 < sum(one.failing_step > 0 for one in drawn) < 120


@pytest.mark.parametrize(("p", "fails"), [(0.0, False), (1.0, True)])
def test_the_chance_to_fail_is_the_plans(p: float, fails: bool) -> None:
    """No foreign bid fails where p is 0 and each does where it is 1, in a step there is."""
    for number in range(100):
        drawn: Drawn = Draws(plan_of(p), "t1").of(f"x{number}")[1]
        assert (1 <= drawn.failing_step <= 12) is fails
        assert (drawn.fail_s > 0) is fails
        assert drawn.steps_s > 0
