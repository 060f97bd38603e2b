"""The strategy's final beliefs against the channels' books."""

import pytest

from oversold.checkers.payouts.beliefs import false_terminal, review_reason, unresolved

AGREED = {"false_failed": 0, "false_failed_fen": 0, "false_paid": 0, "false_paid_fen": 0, "unstated": 0}


def test_beliefs_that_agree_with_the_books_pass(story):
    """Paid what was paid, failed what was not, and no opinion needed on the rest."""
    run = story(100, 100, 100, 100).paid(0).paid(3)
    run.believed(1, "FAILED").believed(2, "FAILED_DEFINITE").believed(3, "UNKNOWN")
    finding = false_terminal(run.evidence())
    assert (finding.verdict, finding.values) == ("pass", AGREED)
    assert finding.detail == "Nothing was believed failed that was paid, or paid that was not."


@pytest.mark.parametrize("status", ["FAILED", "FAILED_DEFINITE"])
@pytest.mark.parametrize(("amount", "at"), [(100, 15), (1, 15), (100, 5000)])
def test_money_behind_a_failed_is_the_early_sign(status, amount, at, story):
    """Also a part of it, and also after the horizon."""
    finding = false_terminal(story(100).paid(0, amount, at=at).believed(0, status).evidence())
    assert finding.verdict == "fail"
    assert finding.values == AGREED | {"false_failed": 1, "false_failed_fen": amount}


def test_a_paid_without_the_money_is_false(story):
    """Nothing moved, or too little, or it was only a replay."""
    finding = false_terminal(story(100, 100, 100).paid(1, 90).paid(2, replay=1).evidence())
    assert (finding.verdict, finding.values) == ("fail", AGREED | {"false_paid": 3, "false_paid_fen": 210})
    assert finding.detail == "3 obligations were believed paid although 2.10 yuan is missing."


def test_what_the_strategy_does_not_account_for_is_counted(story):
    """Silence is no state, whatever the books say."""
    finding = false_terminal(story(100, 100).paid(0).paid(1).believed(1, None).evidence())
    assert (finding.verdict, finding.values) == ("fail", AGREED | {"unstated": 1})
    assert finding.detail == "1 obligation was not accounted for by the strategy."


def test_a_wrong_belief_in_an_incomplete_run_is_inconclusive(story):
    """The books that would bear it out may be the ones that are lost."""
    assert false_terminal(story(100).evidence(complete=False)).verdict == "inconclusive"


def test_a_review_needs_a_reason(story):
    """Blanks are none; other statuses need none."""
    run = story(100, 100, 100).believed(0, "REVIEW", "two answers").believed(1, "UNKNOWN")
    finding = review_reason(run.evidence())
    assert (finding.verdict, finding.values) == ("pass", {"unexplained": 0})
    finding = review_reason(run.believed(2, "REVIEW", " \n").evidence())
    assert (finding.verdict, finding.values) == ("fail", {"unexplained": 1})
    assert finding.detail == "1 of 2 reviews was left to people unexplained."
    assert review_reason(run.evidence(complete=False)).verdict == "inconclusive"


@pytest.mark.parametrize("status", ["DUE", "CLAIMED", "SENT", "UNKNOWN"])
def test_a_paid_obligation_in_no_end_state_is_unresolved(status, story):
    """The books of the strategy are behind the truth."""
    run = story(100, 100).paid(0).paid(1).believed(1, status)
    finding = unresolved(run.evidence())
    assert (finding.verdict, finding.values) == ("fail", {"unresolved": 1, "unresolved_fen": 100})
    assert unresolved(run.evidence(complete=False)).verdict == "inconclusive"


@pytest.mark.parametrize("status", ["PAID", "FAILED", "FAILED_DEFINITE", "REVIEW", None])
def test_an_end_state_is_resolved_even_if_it_is_false(status, story):
    """False ones have a check of their own, and so has silence."""
    assert unresolved(story(100).paid(0).believed(0, status).evidence()).values["unresolved"] == 0


@pytest.mark.parametrize(("amount", "at"), [(0, 15), (99, 15), (100, 1001)])
def test_what_was_not_paid_in_time_is_missed_and_not_unresolved(amount, at, story):
    """One fault is told once."""
    assert unresolved(story(100).paid(0, amount, at=at).believed(0, "SENT").evidence()).verdict == "pass"
