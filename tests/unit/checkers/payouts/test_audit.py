"""The registry: all payout checks, in their order, and what each says of an honest and of a broken payday."""

import numpy as np
import pytest

from oversold.checkers.payouts import CHECKERS, audit, audit_books, measures
from oversold.model import PAY_REPLIES, PayoutState
from oversold.payout_evidence import PAYMENT, WITHDRAWAL, PayoutEvidence

NAMES = [
    "overpaid",
    "unrecoverable",
    "missed",
    "stranger",
    "false_terminal",
    "review_reason",
    "unresolved",
]


def honest(story):
    """Pay everybody once over channels that lie, and leave one obligation to a person."""
    run = story(100, 200, 300, 400).paid(0).call(1).paid(1, channel=1, at=40).paid(2, reply="failed")
    return run.paid(2, channel=0, replay=1, at=60).withdrew(0, 100).believed(3, "REVIEW", "timeout twice")


def broken(story):
    """Break every promise at once."""
    run = story(100, 200, 300, 400).paid(0, reply="failed").paid(0, channel=1).withdrew(0, 200)
    run.believed(0, "FAILED").paid(1).believed(1, "SENT").believed(2, "REVIEW").paid(-1, 5)
    return run


def test_findings_come_in_the_order_of_the_registry(story):
    """One finding a checker, named as its function is."""
    assert [checker.__name__ for checker in CHECKERS] == NAMES
    assert [finding.check for finding in audit(honest(story).evidence())] == NAMES


def test_an_honest_payday_passes_every_check(story):
    """Nothing is found, complete or not, and each sentence is one sentence."""
    for complete in (True, False):
        findings = audit(honest(story).evidence(complete))
        assert {finding.verdict for finding in findings} == {"pass"}
        assert all(finding.detail.endswith(".") and ".." not in finding.detail for finding in findings)


def test_a_broken_payday_fails_every_check(story):
    """Each planted violation is found by the check it was planted for."""
    verdicts = {finding.check: finding.verdict for finding in audit(broken(story).evidence())}
    assert verdicts == dict.fromkeys(NAMES, "fail")


def test_a_design_that_says_nothing_is_judged_by_the_books(story):
    """What it believes is left out, and a finding says so; what the books show is found as ever."""
    found = {finding.check: finding.verdict for finding in audit_books(broken(story).evidence())}
    assert found == dict.fromkeys(NAMES[:4], "fail") | {"beliefs": "pass"}
    assert {finding.verdict for finding in audit_books(honest(story).evidence())} == {"pass"}


def test_an_incomplete_payday_is_blamed_only_for_effects(story):
    """What may be missing proves nothing; money that moved has moved."""
    findings = audit(broken(story).evidence(complete=False))
    verdicts = {finding.check: finding.verdict for finding in findings}
    assert verdicts == dict.fromkeys(NAMES, "inconclusive") | {"overpaid": "fail", "stranger": "fail"}
    assert all("incomplete" in finding.detail for finding in findings if finding.verdict == "inconclusive")


def test_a_payday_on_which_nothing_is_due_passes(story):
    """Without obligations there is nothing to break, and no division by zero."""
    findings = audit(story().evidence())
    assert {finding.verdict for finding in findings} == {"pass"}
    assert {value for finding in findings for value in finding.values.values()} == {0}


def test_a_payday_without_payments_is_missed_and_nothing_else(story):
    """A strategy that does nothing and says so is safe, and useless."""
    run = story(100, 200).believed(0, "DUE").believed(1, "DUE")
    verdicts = {finding.check: finding.verdict for finding in audit(run.evidence())}
    assert verdicts == dict.fromkeys(NAMES, "pass") | {"missed": "fail"}


def test_the_evidence_is_left_as_it_was(story):
    """Checkers are pure: auditing twice gives the same, and no column changes."""
    evidence = broken(story).evidence()
    before = evidence.payments.copy(), evidence.due_fen.copy()
    assert audit(evidence) == audit(evidence)
    assert np.array_equal(evidence.payments, before[0])
    assert np.array_equal(evidence.due_fen, before[1])


def test_values_are_plain_numbers(story):
    """Findings go into JSON, so no numpy scalar may be among the values."""
    for finding in audit(broken(story).evidence()):
        assert {type(value) for value in finding.values.values()} <= {int, float}


def big(payments: int, obligations: int) -> PayoutEvidence:
    """Return a payday of random payments, half of which moved money, 1 fen each."""
    random = np.random.default_rng(1)
    rows = np.zeros(payments, PAYMENT)
    rows["channel"], rows["run"] = random.integers(0, 2, payments), -1
    rows["obligation"] = random.integers(-1, obligations, payments)
    rows["amount_fen"] = 1
    rows["reply"] = random.integers(0, len(PAY_REPLIES), payments)
    rows["t_arrived"] = random.integers(0, 10**10, payments)
    rows["t_replied"] = rows["t_arrived"] + random.integers(1, 10**8, payments)
    rows["t_effect"] = np.where(random.random(payments) < 0.5, rows["t_replied"], -(1 << 62))
    withdrawals = np.zeros(obligations, WITHDRAWAL)
    withdrawals["user"] = random.integers(0, obligations, obligations)
    withdrawals["amount_fen"] = 1
    since = random.integers(0, 10**10, obligations)
    return PayoutEvidence(
        due_fen=np.ones(obligations, np.int64),
        user=np.arange(obligations),
        t_due=np.zeros(obligations, np.int64),
        channels=("first", "second"),
        runs=(),
        payments=rows,
        withdrawals=withdrawals,
        states=[PayoutState("PAID"), PayoutState("REVIEW", "why")] * (obligations // 2),
        beliefs=np.zeros(0, [("t", "<i8"), ("counts", "<i4", (8,))]),
        unknown_since=since,
        unknown_until=since + 10**8,
        t_end=2 * 10**10,
    )


@pytest.mark.slow
def test_a_million_payments_are_audited():
    """All checks and measures get through 1,000,000 payments, and agree with plain counting."""
    evidence = big(1_000_000, 400_000)
    findings = {finding.check: finding.values for finding in audit(evidence)}
    effect = (evidence.payments["t_effect"] >= 0) & (evidence.payments["obligation"] >= 0)
    received = np.bincount(evidence.payments["obligation"][effect], minlength=400_000)
    assert findings["overpaid"]["duplicates"] == (received > 1).sum()
    assert findings["overpaid"]["overpaid_fen"] == np.maximum(received - 1, 0).sum()
    assert findings["false_terminal"]["false_paid"] == (received[::2] == 0).sum()
    assert measures.duplicates_by_run(evidence) == {"other": findings["overpaid"]["overpaid_fen"]}
    assert sum(sum(replies.values()) for replies in measures.calls(evidence).values()) == 1_000_000
    assert measures.time_to_paid_s(evidence)["max"] <= 10.1
    assert measures.unknown_backlog(evidence)["age_max_s"] == 0.1
    assert measures.peak_in_flight(evidence) > 1000
    assert measures.lies(evidence)["failed_but_paid"] > 0
