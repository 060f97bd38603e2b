"""Leaks and lost, duplicate and phantom orders on literal histories."""

import pytest

from oversold.checkers.leak import leak
from oversold.checkers.orders import duplicate_order, lost_order, phantom_order
from oversold.evidence import HoldEnd, Outcome


@pytest.mark.parametrize("hold", [HoldEnd.LIVE, HoldEnd.LEAKED])
def test_a_hold_that_nobody_resolved_is_a_leak(story, hold):
    """Neither confirmed nor given back: its amount is leaked."""
    run = story().sold(0, 100).given_back(1, 100).holding(2, 300, 1, 5, hold=hold, outcome=Outcome.ERROR)
    finding = leak(run.evidence())
    assert (finding.verdict, finding.values) == ("fail", {"leaked_fen": 300, "holds": 1})
    assert finding.detail == "1 hold of 3 yuan was neither confirmed nor given back."
    assert leak(run.evidence(complete=False)).verdict == "inconclusive"


def test_resolved_holds_leak_nothing(story):
    """Confirmed and released holds are accounted for, and no hold is none."""
    assert leak(story().sold(0).given_back(1).turned_away(2).evidence()).verdict == "pass"


def test_a_hold_whose_order_is_in_the_ledger_is_no_leak(story):
    """The ledger is the truth: what is ordered has not leaked, whatever the platform knows."""
    run = story().holding(0, 300, 1, 5, hold=HoldEnd.LEAKED, outcome=Outcome.UNKNOWN).order(0, 300, 4)
    assert leak(run.evidence()).verdict == "pass"


def test_one_order_explains_one_hold(story):
    """A leak of the first tap is not excused by the order of the second."""
    run = (
        story()
        .holding(0, 300, 1, 5, hold=HoldEnd.LEAKED, outcome=Outcome.ERROR, final=0)
        .sold(0, 300, 6, 9, attempt=2)
    )
    assert leak(run.evidence()).values == {"leaked_fen": 300, "holds": 1}


def test_an_order_for_every_ok_is_no_loss(story):
    """Everybody who was told ok has the order; who was not told ok needs none."""
    finding = lost_order(story().sold(0).sold(3).turned_away(1).order(-1, 5, 5).evidence())
    assert (finding.verdict, finding.values) == ("pass", {"bids": 0, "lost_fen": 0})


def test_an_ok_without_an_order_is_a_loss(story):
    """Told ok, nothing in the ledger; two oks of one bid are one loss."""
    run = story().sold(0).tap(7, 250).tap(7, 250, attempt=2)
    finding = lost_order(run.evidence())
    assert (finding.verdict, finding.values) == ("fail", {"bids": 1, "lost_fen": 250})
    assert lost_order(run.evidence(complete=False)).verdict == "inconclusive"


def test_orders_without_any_ok_are_no_loss(story):
    """Nobody was promised anything, so the orders of whoever it was fulfil nothing."""
    assert lost_order(story().order(-1, 100, 3).order(4, 100, 3).evidence()).verdict == "pass"


def test_an_order_of_a_smaller_amount_is_a_loss_of_the_rest(story):
    """Two small orders do not make up for one of the right amount."""
    run = story().tap(0, 250).order(0, 100, 3).order(0, 150, 4)
    assert lost_order(run.evidence()).values == {"bids": 1, "lost_fen": 100}


def test_orders_of_different_bids_are_no_duplicates(story):
    """One order a bid; orders of unknown bids cannot be told apart and are left to another check."""
    run = story().sold(0).sold(1).order(-1, 5, 5).order(-1, 5, 6)
    finding = duplicate_order(run.evidence())
    assert finding.verdict == "pass"
    assert set(finding.values.values()) == {0}


def test_a_second_order_of_a_bid_is_a_duplicate(story):
    """What is in the ledger twice was paid twice: all orders but the first are too much."""
    run = story().sold(0, 100).order(0, 100, 9).order(0, 100, 8).sold(1)
    finding = duplicate_order(run.evidence())
    assert finding.verdict == "fail"
    assert finding.values == {"bids": 1, "written": 1, "refused": 0, "extra_fen": 200}


def test_a_refused_second_order_is_a_duplicate(story):
    """The uniqueness rule saved the day, but the design tried to order twice; each bid counts once."""
    run = story().sold(0).sold(1).order(1, 100, 9)
    run.refused = [0, 0, 1]
    finding = duplicate_order(run.evidence())
    assert finding.values == {"bids": 2, "written": 1, "refused": 2, "extra_fen": 100}
    assert duplicate_order(run.evidence(complete=False)).verdict == "fail"


def test_orders_that_were_asked_for_are_no_phantoms(story):
    """Told ok or told nothing: the order may be there. Told no once and ok later: as well."""
    run = story().sold(0).tap(1, 100, Outcome.UNKNOWN).order(1, 100, 5)
    run.turned_away(2, 100, at=1, outcome=Outcome.BUSY, final=0).sold(2, 100, attempt=2)
    run.tap(3, 100, Outcome.UNKNOWN, final=0).turned_away(3, 100, at=9, attempt=2).order(3, 100, 9)
    finding = phantom_order(run.evidence())
    assert finding.verdict == "pass"
    assert set(finding.values.values()) == {0}


@pytest.mark.parametrize("bid", [-1, 99])
def test_an_order_of_an_unknown_bid_is_a_phantom(story, bid):
    """The plan has no such bid."""
    run = story().sold(0).order(bid, 50, 5)
    values = phantom_order(run.evidence()).values
    assert (values["orders"], values["phantom_fen"], values["unplanned"]) == (1, 50, 1)
    assert phantom_order(run.evidence()).verdict == "fail"
    assert phantom_order(run.evidence(complete=False)).verdict == "inconclusive"


def test_an_order_of_a_bid_that_never_tapped_is_a_phantom(story):
    """It is in the plan, but its bidder never came."""
    run = story().sold(0)
    run.plan[1] = 100
    values = phantom_order(run.order(1, 100, 5).evidence()).values
    assert (values["orders"], values["untapped"]) == (1, 1)


@pytest.mark.parametrize("outcome", [Outcome.SOLD_OUT, Outcome.BUSY, Outcome.ERROR])
def test_an_order_of_a_bidder_who_was_told_no_is_a_phantom(story, outcome):
    """Every tap was told a definite no, and yet there is an order."""
    run = story().turned_away(0, 100, at=1, outcome=Outcome.BUSY, final=0).order(0, 100, 5)
    values = phantom_order(run.turned_away(0, 100, at=3, outcome=outcome, attempt=2).evidence()).values
    assert (values["orders"], values["refused"]) == (1, 1)


@pytest.mark.parametrize("amount_fen", [99, 101])
def test_an_order_of_another_amount_is_a_phantom(story, amount_fen):
    """The plan says what the bidder asked for; an order with two causes counts once."""
    run = story().tap(0, 100).order(0, amount_fen, 5).turned_away(1, 100).order(1, amount_fen, 5)
    values = phantom_order(run.evidence()).values
    assert (values["orders"], values["wrong_amount"], values["refused"]) == (2, 2, 1)
