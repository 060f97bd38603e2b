"""Receipts and the strategy's own books against the ledger."""

from oversold.checkers.claim_gap import claim_gap, claim_gap_over_http
from oversold.evidence import Outcome
from oversold.model import Claim


def test_books_that_agree_have_no_gap(story):
    """Everybody told ok is in the ledger, once, and the claim is what is left."""
    run = story(1000).sold(0, 400).tap(0, 400, attempt=2)
    finding = claim_gap(run.evidence(claim=Claim("open", 600)))
    assert finding.verdict == "pass"
    assert finding.values == {"ok_gap_fen": 0, "in_doubt_fen": 0, "remaining_gap_fen": 0}


def test_more_told_ok_than_ordered_is_a_gap(story):
    """A receipt without an order."""
    run = story(1000).sold(0, 400).tap(1, 100)
    finding = claim_gap(run.evidence())
    assert (finding.verdict, finding.values["ok_gap_fen"]) == ("fail", 100)
    assert claim_gap(run.evidence(complete=False)).verdict == "inconclusive"


def test_orders_of_bidders_who_never_heard_are_named(story):
    """The gap stands, but the sentence says how much of it is orders with an unknown outcome."""
    run = story(1000).sold(0, 400).tap(1, 100, Outcome.UNKNOWN).order(1, 100, 5)
    finding = claim_gap(run.evidence())
    assert (finding.values["ok_gap_fen"], finding.values["in_doubt_fen"]) == (100, 100)
    assert "(1 yuan of it for bidders who never heard)" in finding.detail


def test_a_bidder_who_heard_in_the_end_is_not_in_doubt(story):
    """An unknown tap that was followed by an ok left nobody in the dark."""
    run = story(1000).tap(0, 400, Outcome.UNKNOWN, final=0).sold(0, 400, attempt=2).tap(1, 100)
    assert claim_gap(run.evidence()).values == {"ok_gap_fen": 100, "in_doubt_fen": 0}


def test_a_wrong_claim_of_remaining_stock_is_a_gap(story):
    """Phantom stock and vanished stock are both gaps, in absolute fen."""
    run = story(1000).sold(0, 400)
    for claimed in (500, 700):
        finding = claim_gap(run.evidence(claim=Claim("open", claimed)))
        assert (finding.verdict, finding.values["remaining_gap_fen"]) == ("fail", 100)


def test_an_oversold_tranche_that_claims_nothing_left_has_a_gap(story):
    """By the ledger less than nothing is left."""
    finding = claim_gap(story(1000).sold(0, 1200).evidence(claim=Claim("full", 0)))
    assert finding.values["remaining_gap_fen"] == 200


def test_without_a_claimed_number_only_the_receipts_are_compared(story):
    """A strategy that claims no number is not blamed for it, and the sentence says so."""
    run = story(1000).sold(0, 400)
    for claim in (None, Claim("open", None)):
        finding = claim_gap(run.evidence(claim=claim))
        assert finding.verdict == "pass"
        assert "remaining_gap_fen" not in finding.values
        assert finding.detail.endswith("the strategy claims no remaining stock to compare.")


def test_over_http_an_order_that_nobody_was_told_of_is_no_gap(story):
    """An answer can be lost on its way: the ledger resolves it, and the sentence says what became of it."""
    run = story(1000).sold(0, 400).tap(1, 100, Outcome.UNKNOWN).order(1, 100, 5).tap(2, 300, Outcome.UNKNOWN)
    finding = claim_gap_over_http(run.evidence(claim=Claim("open", 500)))
    assert finding.verdict == "pass"
    assert finding.values == {"ok_gap_fen": 0, "in_doubt_fen": 100, "remaining_gap_fen": 0}
    assert "; 2 bids got no answer, of which 1 has an order, of 1 yuan; the service claims" in finding.detail
    assert claim_gap(run.evidence(claim=Claim("open", 500))).verdict == "fail"


def test_over_http_a_lost_answer_hides_no_other_gap(story):
    """Planted beside an unanswered order: a receipt without an order, and one that the service does not count."""
    run = story(1000).sold(0, 400).tap(1, 100, Outcome.UNKNOWN).order(1, 100, 5)
    forgotten = claim_gap_over_http(run.evidence(claim=Claim("open", 600)))
    assert (forgotten.verdict, forgotten.values["remaining_gap_fen"]) == ("fail", 100)
    receipt = claim_gap_over_http(run.tap(2, 100).evidence())
    assert (receipt.verdict, receipt.values["ok_gap_fen"]) == ("fail", 100)


def test_over_http_a_bid_that_was_answered_in_the_end_is_not_unanswered(story):
    """An unknown tap before an ok is none; without unanswered bids nothing is said of them."""
    run = story(1000).tap(0, 400, Outcome.UNKNOWN, final=0).sold(0, 400, attempt=2)
    finding = claim_gap_over_http(run.evidence())
    assert (finding.verdict, finding.values["in_doubt_fen"]) == ("pass", 0)
    assert "no answer" not in finding.detail
    run.tap(1, 100, Outcome.UNKNOWN)
    assert "1 bid got no answer, and no order" in claim_gap_over_http(run.evidence()).detail
