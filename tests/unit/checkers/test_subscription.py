"""Oversubscription and undersubscription on literal histories."""

from dataclasses import replace

import pytest

from oversold.checkers.subscription import oversubscription, undersubscription
from oversold.evidence import HoldEnd, Outcome


def test_orders_up_to_the_capacity_are_no_oversubscription(story):
    """Selling exactly the capacity passes with a rate of 0."""
    finding = oversubscription(story(1000).sold(0, 400).sold(1, 600).evidence())
    assert finding.verdict == "pass"
    assert finding.values == {"rate": 0.0, "excess_fen": 0, "confirmed_fen": 1000}


def test_orders_above_the_capacity_are_oversubscription(story):
    """A planted oversell fails with its rate and says how much in yuan."""
    finding = oversubscription(story(100_000).sold(0, 60_000).sold(1, 57_600).evidence())
    assert finding.verdict == "fail"
    assert finding.values == {"rate": 0.176, "excess_fen": 17_600, "confirmed_fen": 117_600}
    assert finding.detail == "Orders of 1,176 yuan exceed the capacity of 1,000 yuan by 176 yuan (17.6 %)."


def test_oversubscription_counts_every_order_whoever_placed_it(story):
    """The ledger alone is the truth: orders of unknown bids count as well."""
    assert oversubscription(story(100).order(-1, 150, 3).evidence()).values["excess_fen"] == 50


def test_oversubscription_stands_when_the_run_is_incomplete(story):
    """An order is a fact, whatever else got lost."""
    assert oversubscription(story(100).sold(0, 101).evidence(complete=False)).verdict == "fail"


@pytest.mark.parametrize("outcome", [Outcome.SOLD_OUT, Outcome.BUSY])
def test_a_fitting_bid_turned_away_for_good_proves_undersubscription(story, outcome):
    """A bid told sold out or busy while its amount was free, and stayed so, is a witness."""
    run = story(1000).sold(0, 800, 1, 5).turned_away(1, 200, at=6, outcome=outcome)
    finding = undersubscription(run.evidence())
    assert finding.verdict == "fail"
    assert finding.values == {
        "rate": 0.2,
        "raw": 0.2,
        "dust_fen": 0,
        "witnesses": 1,
        "turned_away_fen": 200,
    }
    assert finding.detail == (
        "2 yuan of 10 yuan (20 %) stayed unsold although 1 bid that would have fitted was turned away for good."
    )


def test_a_remainder_that_no_bid_fits_is_dust(story):
    """What is smaller than every bid turned away is dust: the rate is 0, the raw share is told."""
    finding = undersubscription(story(1000).sold(0, 900).turned_away(1, 101, at=9).evidence())
    assert finding.verdict == "pass"
    assert finding.values == {"rate": 0.0, "raw": 0.1, "dust_fen": 100, "witnesses": 0, "turned_away_fen": 0}


def test_weak_demand_is_no_undersubscription(story):
    """Where everybody was served, unsold stock is nobody's fault."""
    finding = undersubscription(story(1000).sold(0, 100).evidence())
    assert (finding.verdict, finding.values["rate"], finding.values["dust_fen"]) == ("pass", 0.0, 900)


@pytest.mark.parametrize(("capacity", "sold"), [(1000, 1000), (1000, 1200)])
def test_a_sold_out_tranche_is_never_undersubscribed(story, capacity, sold):
    """With nothing unsold the check passes, however many were turned away."""
    finding = undersubscription(story(capacity).sold(0, sold).turned_away(1, 100, at=0).evidence())
    assert finding.verdict == "pass"
    assert set(finding.values.values()) == {0}


def test_stock_that_was_held_when_the_bid_asked_is_no_proof(story):
    """A bid turned away while a hold was live, that came back only later, was told the truth."""
    run = story(1000).sold(0, 800, 1, 2).given_back(1, 200, 3, 20).turned_away(2, 200, at=10)
    assert undersubscription(run.evidence()).values["witnesses"] == 0


def test_a_hold_is_over_the_moment_it_was_given_back(story):
    """From the released tap's end on its stock is free, to the nanosecond."""
    run = story(1000).sold(0, 800, 1, 2).given_back(1, 200, 3, 20)
    assert undersubscription(run.turned_away(2, 200, at=20).evidence()).values["witnesses"] == 1
    assert undersubscription(run.turned_away(3, 200, at=19).evidence()).values["witnesses"] == 1


def test_stock_that_was_held_again_later_is_no_proof(story):
    """Serving the bid would have taken the stock from a later hold, so nobody was wronged."""
    run = story(1000).sold(0, 800, 1, 2).turned_away(1, 200, at=5).given_back(2, 200, 7, 8)
    assert undersubscription(run.evidence()).values["witnesses"] == 0


def test_two_changes_at_one_moment_count_as_one(story):
    """A hold handed over from one bid to another at one moment neither frees nor doubles its stock."""
    run = story(200).given_back(0, 200, 1, 5).given_back(1, 200, 5, 9)
    assert undersubscription(run.turned_away(2, 200, at=4).evidence()).values["witnesses"] == 0
    assert undersubscription(run.turned_away(3, 200, at=9).evidence()).values["witnesses"] == 1
    free = story(400).given_back(0, 200, 1, 5).given_back(1, 200, 5, 9).turned_away(2, 200, at=1)
    assert undersubscription(free.evidence()).values["witnesses"] == 1


def test_a_bidder_refused_by_the_flag_asked_when_a_lane_took_the_tap(story):
    """Where the strategy was never asked, the moment of admission counts."""
    run = story(1000).sold(0, 800, 1, 2).given_back(1, 200, 3, 20)
    assert undersubscription(run.shut_out(2, 200, at=19).evidence()).values["witnesses"] == 0
    assert undersubscription(run.shut_out(3, 200, at=19, t_done=25).evidence()).values["witnesses"] == 0
    assert undersubscription(run.shut_out(4, 200, at=20).evidence()).values["witnesses"] == 1


def test_a_bidder_who_reached_the_strategy_asked_there(story):
    """What was held while the tap was still on its way does not matter."""
    run = story(200).given_back(0, 200, 1, 5).turned_away(1, 200, at=6, t_intended=2, t_admitted=3)
    assert undersubscription(run.evidence()).values["witnesses"] == 1


def test_the_moment_of_asking_is_not_the_moment_of_the_answer(story):
    """A slow answer is judged by the stock at the time of the question."""
    run = story(200).given_back(0, 200, 1, 5).turned_away(1, 200, at=2, t_reserved=9, t_done=9)
    assert undersubscription(run.evidence()).values["witnesses"] == 0


def test_only_the_last_tap_of_a_bid_counts(story):
    """A bidder who was told busy first and served later was not turned away."""
    run = story(1000).turned_away(0, 100, at=1, outcome=Outcome.BUSY, final=0)
    assert undersubscription(run.sold(0, 100, 5, 9, attempt=2).evidence()).values["witnesses"] == 0


def test_a_failed_step_turns_nobody_away(story):
    """A bidder who leaves because a step failed was offered the stock."""
    assert undersubscription(story(1000).given_back(0, 100).evidence()).values["witnesses"] == 0


def test_a_bid_with_an_order_was_not_turned_away(story):
    """A bidder told sold out whose earlier, unknown tap became an order has been served."""
    run = story(1000).tap(0, 100, Outcome.UNKNOWN, t_intended=1, final=0).order(0, 100, 2)
    assert undersubscription(run.turned_away(0, 100, at=5, attempt=2).evidence()).values["witnesses"] == 0


def test_a_confirmed_hold_takes_stock_without_a_gap(story):
    """Ledger and bidders' clocks differ: between a hold's end and its order's time nothing is free."""
    run = story(1000).holding(0, 800, 1, 5, hold=HoldEnd.CONFIRMED, outcome=Outcome.OK).order(0, 800, 9)
    assert undersubscription(run.turned_away(1, 300, at=7).evidence()).values["witnesses"] == 0


def test_a_confirmed_hold_and_its_order_count_once(story):
    """An order written before its bidder was told does not take the stock twice."""
    run = story(1000).holding(0, 500, 1, 9, hold=HoldEnd.CONFIRMED, outcome=Outcome.OK).order(0, 500, 5)
    assert undersubscription(run.turned_away(1, 500, at=7).evidence()).values["witnesses"] == 1


def test_an_unfinished_hold_that_became_an_order_counts_once(story):
    """A tap that never completed but whose order is there takes its amount once, from the hold on."""
    run = story(1000).tap(0, 500, Outcome.UNKNOWN, hold=HoldEnd.LIVE, t_intended=1, t_sent=1, t_reserved=1)
    run.order(0, 500, 5)
    assert undersubscription(run.turned_away(1, 500, at=2).evidence()).values["witnesses"] == 1
    assert undersubscription(run.turned_away(2, 501, at=0).evidence()).values["witnesses"] == 1


def test_an_order_without_a_hold_takes_stock_from_its_own_time_on(story):
    """A bid turned away before such an order is judged with it, for it came later."""
    run = story(1000).tap(0, 600, Outcome.UNKNOWN, t_intended=1).order(0, 600, 5).given_back(1, 400, 1, 4)
    assert undersubscription(run.turned_away(2, 400, at=4).evidence()).values["witnesses"] == 1
    assert undersubscription(run.turned_away(3, 600, at=3).evidence()).values["witnesses"] == 1


def test_a_second_order_of_a_bid_takes_stock_of_its_own(story):
    """One hold explains one order; the duplicate counts in addition."""
    run = story(1000).sold(0, 400, 1, 5).order(0, 400, 6)
    assert undersubscription(run.turned_away(1, 200, at=9).evidence()).values["witnesses"] == 1
    assert undersubscription(run.turned_away(2, 201, at=9).evidence()).values["witnesses"] == 1


def test_a_leaked_hold_wrongs_those_who_come_after_it(story):
    """A hold that was forgotten blocks stock that is in no order: bids turned away for it are witnesses."""
    run = story(200).holding(0, 200, 1, 5, hold=HoldEnd.LEAKED, outcome=Outcome.ERROR)
    assert undersubscription(run.turned_away(1, 200, at=9).evidence()).values["rate"] == 1.0


def test_a_hold_that_is_live_to_the_end_excuses_the_strategy(story):
    """As long as a tap may still complete its stock cannot be given to somebody else."""
    run = story(200).tap(0, 200, Outcome.UNKNOWN, hold=HoldEnd.LIVE, t_intended=1, t_sent=1, t_reserved=1)
    assert undersubscription(run.turned_away(1, 200, at=9).evidence()).values["witnesses"] == 0


def test_what_the_witnesses_asked_for_is_capped_at_what_was_left(story):
    """Each of the witnesses would have fitted, but not all of them."""
    run = story(1000).sold(0, 700, 1, 2)
    for bid in (1, 2, 3):
        run.turned_away(bid, 200, at=9)
    values = undersubscription(run.evidence()).values
    assert (values["witnesses"], values["turned_away_fen"]) == (3, 300)


def test_undersubscription_of_an_incomplete_run_is_inconclusive(story):
    """The numbers stay, the verdict does not, and the sentence says why."""
    finding = undersubscription(story(1000).turned_away(0, 200).evidence(complete=False))
    assert (finding.verdict, finding.values["rate"]) == ("inconclusive", 1.0)
    assert finding.detail.endswith("turned away for good; the run is incomplete, so this proves nothing.")


def test_an_empty_run_is_judged(story):
    """A run without a single tap has sold nothing and wronged nobody."""
    assert undersubscription(story(1000).evidence()).values["raw"] == 1.0
    assert oversubscription(story(1000).evidence()).verdict == "pass"


def test_stock_that_came_back_a_moment_ago_proves_nothing_yet(story):
    """Nobody hears of a release at once: only who was turned away later than the notice time is a witness."""
    run = story(1000).sold(0, 800, 1, 5).given_back(1, 200, 6, 50)
    early = replace(run.turned_away(2, 200, at=59).evidence(), notice_ns=10)
    assert undersubscription(early).values["witnesses"] == 0
    late = replace(run.turned_away(3, 200, at=60).evidence(), notice_ns=10)
    assert undersubscription(late).values["witnesses"] == 1
