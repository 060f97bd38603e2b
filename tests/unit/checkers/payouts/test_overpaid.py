"""Money that nobody owed: too much of it, gone for good, or sent to strangers."""

import pytest

from oversold.checkers.payouts.overpaid import overpaid, stranger, unrecoverable
from oversold.evidence import NEVER

NOTHING = {
    "duplicates": 0,
    "duplicate_rate": 0.0,
    "overpaid": 0,
    "overpaid_fen": 0,
    "overpaid_rate": 0.0,
    "users_affected": 0,
}


def test_what_was_paid_once_is_not_overpaid(story):
    """A failed first try and a payment that stays below what is due are no harm to the payer."""
    finding = overpaid(story(100, 200, 300).call(0).paid(0, channel=1).paid(1).paid(2, 299).evidence())
    assert (finding.verdict, finding.values) == ("pass", NOTHING)
    assert finding.detail == "None of 3 obligations was paid more than is due."


def test_the_incident_is_found(story):
    """The first channel said failed although it paid, and the job tried the second."""
    finding = overpaid(story(100, 300).paid(0, reply="failed").paid(0, channel=1, at=30).paid(1).evidence())
    assert finding.verdict == "fail"
    assert finding.values == {
        "duplicates": 1,
        "duplicate_rate": 0.5,
        "overpaid": 1,
        "overpaid_fen": 100,
        "overpaid_rate": 0.25,
        "users_affected": 1,
    }


def test_the_sentence_tells_the_harm(story):
    """How many, how much, to how many people; somebody with two obligations is one person."""
    run = story(*[86_000] * 3500, users=[max(0, index - 1) for index in range(3500)])
    for index in range(72):
        run.paid(index).paid(index, at=20)
    assert overpaid(run.evidence()).detail == (
        "72 of 3,500 obligations were paid twice or more: 61,920 yuan too much to 71 people (2.06 %)."
    )


def test_an_overpayment_stands_in_an_incomplete_run(story):
    """Whatever else is missing, this money moved."""
    assert overpaid(story(100).paid(0).paid(0).evidence(complete=False)).verdict == "fail"


def test_one_payment_that_is_too_large_is_overpaid_but_no_duplicate(story):
    """The sentence does not say twice."""
    finding = overpaid(story(100).paid(0, 150).evidence())
    assert (finding.verdict, finding.values["duplicates"], finding.values["overpaid_fen"]) == ("fail", 0, 50)
    assert finding.detail == "1 of 1 obligation was paid more than is due: 0.50 yuan too much to 1 person (100 %)."


def test_two_halves_are_a_duplicate_but_not_overpaid(story):
    """Two effects are counted, but what is due is what counts."""
    finding = overpaid(story(100).paid(0, 50).paid(0, 50, at=20).evidence())
    assert (finding.verdict, finding.values["duplicates"], finding.values["overpaid_fen"]) == ("pass", 1, 0)


def test_an_effect_after_the_horizon_counts(story):
    """Money that comes late is as gone as any."""
    run = story(100, t_end=100).paid(0).paid(0, reply="timeout", t_effect=500)
    assert overpaid(run.evidence()).values["overpaid_fen"] == 100


def test_a_replay_never_counts(story):
    """An answer from memory moves no money, even if its row repeats the time of the effect."""
    assert overpaid(story(100).paid(0).paid(0, replay=1).evidence()).values == NOTHING


def test_a_payment_to_a_stranger_is_nobodys_duplicate(story):
    """It has a check of its own and must not be laid at the last obligation's door."""
    assert overpaid(story(100, 100).paid(1).paid(-1, 100).evidence()).values == NOTHING


def test_what_is_left_in_the_account_can_be_had_back(story):
    """Nothing withdrawn, or no more than was due."""
    for taken in (0, 100):
        finding = unrecoverable(story(100).paid(0).paid(0).withdrew(0, taken).evidence())
        assert (finding.verdict, finding.values) == ("pass", {"unrecoverable_fen": 0, "users": 0})
        assert finding.detail == "All of 1 yuan paid too much is still in the accounts of its receivers."


def test_what_was_withdrawn_of_it_is_gone(story):
    """Part of it first, then all of it, and never more than was overpaid."""
    for taken, gone in ((101, 1), (160, 60), (200, 100), (900, 100)):
        finding = unrecoverable(story(100).paid(0).paid(0).withdrew(0, taken).evidence())
        assert (finding.verdict, finding.values) == ("fail", {"unrecoverable_fen": gone, "users": 1})
    assert finding.detail == "1 yuan of 1 yuan paid too much is gone: 1 person has withdrawn it."


def test_all_accounts_of_a_user_count_together(story):
    """What one channel no longer has, another may; what another user has does not help."""
    run = story(100, 500, 500, users=[0, 0, 1]).paid(0).paid(0, channel=1).withdrew(0, 100).withdrew(0, 100, 1)
    run.paid(2)
    assert unrecoverable(run.evidence()).values["unrecoverable_fen"] == 100
    assert unrecoverable(run.paid(1, channel=1).evidence()).values["unrecoverable_fen"] == 0


def test_withdrawals_without_an_overpayment_are_nobodys_loss(story):
    """People may take what is theirs, and withdrawals of unknown users belong to no one here."""
    finding = unrecoverable(story(100).paid(0).withdrew(0, 100).withdrew(-1, 900).evidence())
    assert (finding.verdict, finding.values["unrecoverable_fen"]) == ("pass", 0)


def test_a_loss_in_an_incomplete_run_is_inconclusive(story):
    """The books that are lost may hold money of the same user."""
    run = story(100).paid(0).paid(0).withdrew(0, 200)
    assert unrecoverable(run.evidence(complete=False)).verdict == "inconclusive"


def test_money_for_a_ref_that_nobody_owes_is_found(story):
    """It stands: an effect is a fact."""
    for complete in (True, False):
        finding = stranger(story(100).paid(0).paid(-1, 70).evidence(complete))
        assert (finding.verdict, finding.values) == ("fail", {"payments": 1, "stranger_fen": 70})
    assert finding.detail == "1 payment of 0.70 yuan was made that nobody is owed."


@pytest.mark.parametrize("columns", [{"t_effect": NEVER}, {"replay": 1}])
def test_a_stranger_who_got_nothing_is_none(columns, story):
    """A call under an unknown ref that moved no money does no harm."""
    finding = stranger(story(100).paid(0).paid(-1, 70, **columns).evidence())
    assert (finding.verdict, finding.values) == ("pass", {"payments": 0, "stranger_fen": 0})
