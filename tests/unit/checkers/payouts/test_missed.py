"""What was not paid by the horizon, and what was left for people."""

import pytest

from oversold.checkers.payouts.missed import missed
from oversold.evidence import NEVER

NOTHING = {
    "missed": 0,
    "missed_fen": 0,
    "missed_rate": 0.0,
    "reviews": 0,
    "reviews_fen": 0,
    "reviews_unneeded": 0,
    "late": 0,
}


def test_a_payday_that_is_paid_misses_nothing(story):
    """In one payment, in two, or twice over."""
    finding = missed(story(100, 100, 100).paid(0).paid(1, 40).paid(1, 60).paid(2).paid(2).evidence())
    assert (finding.verdict, finding.values) == ("pass", NOTHING)
    assert finding.detail == "3 of 3 obligations were paid in full at the horizon."


def test_what_was_never_paid_is_missed(story):
    """Whatever the strategy believes, and however small the rest."""
    finding = missed(story(100, 300).call(0).paid(1, 280).evidence())
    assert finding.verdict == "fail"
    assert finding.values == NOTHING | {"missed": 2, "missed_fen": 120, "missed_rate": 0.3}
    assert finding.detail == ("2 of 2 obligations were not paid in full at the horizon: 1.20 yuan missing (30 %).")


def test_a_review_with_a_reason_is_not_missed_but_told(story):
    """A safe design that leaves work for people passes with that number shown."""
    run = story(100, 300).paid(0).believed(1, "REVIEW", "no answer from the first channel")
    finding = missed(run.evidence())
    assert (finding.verdict, finding.values) == ("pass", NOTHING | {"reviews": 1, "reviews_fen": 300})
    assert finding.detail == (
        "1 of 2 obligations was paid in full at the horizon; 1 (3 yuan) was left for people to look at."
    )


@pytest.mark.parametrize(("status", "reason"), [("REVIEW", ""), ("REVIEW", " "), ("UNKNOWN", "why"), (None, "")])
def test_nothing_but_a_reasoned_review_excuses(status, reason, story):
    """A review that nobody can act on, and a reason in another status, leave it missed."""
    finding = missed(story(100).believed(0, status, reason).evidence())
    assert (finding.verdict, finding.values["missed"]) == ("fail", 1)


def test_an_effect_after_the_horizon_is_missed_and_late(story):
    """At the horizon itself it is in time, a moment later it is not."""
    assert missed(story(100, t_end=50).paid(0, at=50).evidence()).values == NOTHING
    finding = missed(story(100, t_end=50).paid(0, at=51).evidence())
    assert finding.verdict == "fail"
    assert finding.values == NOTHING | {"missed": 1, "missed_fen": 100, "missed_rate": 1.0, "late": 1}
    assert finding.detail.endswith("1 yuan missing (100 %), 1 only after it.")


def test_reviews_of_what_was_paid_are_unneeded(story):
    """Somebody looks for nothing; where it was paid twice, somebody has to."""
    run = story(100, 100).paid(0).paid(1).paid(1)
    run.believed(0, "REVIEW", "timeout").believed(1, "REVIEW", "timeout")
    finding = missed(run.evidence())
    assert finding.verdict == "pass"
    assert finding.values == NOTHING | {"reviews": 2, "reviews_fen": 200, "reviews_unneeded": 1}
    assert finding.detail.endswith("; 2 (2 yuan) were left for people to look at, 1 of them for nothing.")


@pytest.mark.parametrize("columns", [{"replay": 1}, {"t_effect": NEVER}])
def test_an_answer_without_money_pays_nothing(columns, story):
    """A replay and a false ok leave the obligation missed."""
    assert missed(story(100).paid(0, **columns).evidence()).verdict == "fail"


def test_a_stranger_pays_for_nobody(story):
    """Money under an unknown ref is not the last obligation's."""
    assert missed(story(100).paid(-1, 100).evidence()).verdict == "fail"


def test_an_incomplete_run_proves_nothing(story):
    """The lost worker may have been about to pay."""
    finding = missed(story(100).evidence(complete=False))
    assert finding.verdict == "inconclusive"
    assert finding.detail.endswith("(100 %); the run is incomplete, so this proves nothing.")
