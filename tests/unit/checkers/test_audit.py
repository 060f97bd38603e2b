"""The registry: all checks, in their order, and what each says of an honest and of a broken run."""

import numpy as np
import pytest

from oversold.checkers import CHECKERS, audit, measures
from oversold.evidence import HISTORY, HoldEnd, Ledger, Outcome, RefusedBy
from oversold.model import Claim

NAMES = [
    "oversubscription",
    "undersubscription",
    "false_full",
    "leak",
    "lost_order",
    "duplicate_order",
    "phantom_order",
    "claim_gap",
]


def honest(story):
    """Sell the tranche out, with a rollback, a second tap and latecomers."""
    run = story(1000).sold(0, 600, 1, 5).given_back(1, 400, 2, 6)
    run.turned_away(2, 400, at=3, outcome=Outcome.BUSY, final=0).sold(2, 400, 7, 9, attempt=2)
    return run.flag(9, True).shut_out(3, 100, at=10)


def broken(story):
    """Break every promise that one run can break: it cannot sell too much and too little at once."""
    run = story(1000).sold(0, 100, 1, 2).order(0, 100, 3).order(-1, 100, 3).tap(1, 100)
    run.holding(2, 100, 1, 4, hold=HoldEnd.LEAKED, outcome=Outcome.ERROR).flag(1, True).shut_out(3, 100, at=9)
    return run


def test_findings_come_in_the_order_of_the_registry(story):
    """One finding a checker, named as its function is."""
    assert [checker.__name__ for checker in CHECKERS] == NAMES
    assert [finding.check for finding in audit(honest(story).evidence())] == NAMES


def test_an_honest_run_passes_every_check(story):
    """Nothing is found, complete or not, and each sentence is one sentence."""
    for complete in (True, False):
        findings = audit(honest(story).evidence(complete, Claim("full", 0)))
        assert {finding.verdict for finding in findings} == {"pass"}
        assert all(finding.detail.endswith(".") for finding in findings)


def test_a_broken_run_fails_every_check_but_the_impossible_one(story):
    """Each planted violation is found by the check it was planted for."""
    verdicts = {finding.check: finding.verdict for finding in audit(broken(story).evidence())}
    assert verdicts == dict.fromkeys(NAMES, "fail") | {"oversubscription": "pass"}


def test_an_incomplete_run_is_blamed_only_for_facts_of_the_ledger(story):
    """What may be missing proves nothing; a double order stays a double order."""
    findings = audit(broken(story).evidence(complete=False))
    verdicts = {finding.check: finding.verdict for finding in findings}
    expected = dict.fromkeys(NAMES, "inconclusive")
    assert verdicts == expected | {"oversubscription": "pass", "duplicate_order": "fail"}
    assert all("incomplete" in finding.detail for finding in findings if finding.verdict == "inconclusive")


def test_the_evidence_is_left_as_it_was(story):
    """Checkers are pure: auditing twice gives the same, and no column changes."""
    evidence = broken(story).evidence()
    before = evidence.history.copy(), evidence.ledger.amount_fen.copy()
    assert audit(evidence) == audit(evidence)
    assert np.array_equal(evidence.history, before[0])
    assert np.array_equal(evidence.ledger.amount_fen, before[1])


def test_values_are_plain_numbers(story):
    """Findings go into JSON, so no numpy scalar may be among the values."""
    for finding in audit(broken(story).evidence(claim=Claim("open", 5))):
        assert {type(value) for value in finding.values.values()} <= {int, float}


@pytest.mark.slow
def test_a_million_taps_are_audited(story):
    """All checks and measures go through 1,000,000 taps by 400,000 bidders; benchmarks/audit.py times them."""
    taps, bidders = 1_000_000, 400_000
    random = np.random.default_rng(1)
    history = np.zeros(taps, HISTORY)
    history["bid"] = random.integers(0, bidders, taps)
    history["attempt"] = 1 + np.arange(taps) % 5
    history["final"] = history["attempt"] == 5
    history["worker"] = random.integers(0, 4, taps)
    history["amount_fen"] = 100
    history["outcome"] = random.integers(0, 5, taps)
    history["hold"] = random.integers(0, 5, taps)
    history["refused_by"] = random.integers(0, len(RefusedBy), taps)
    moment = random.integers(0, 10**10, taps)
    for column in ("t_intended", "t_admitted", "t_sent", "t_reserved", "t_done"):
        history[column] = moment
        moment = moment + random.integers(1, 10**7, taps)
    run = story(taps * 100, t_end=2 * 10**10).flag(10**9, True).flag(5 * 10**9, False)
    run.plan = dict.fromkeys(range(bidders), 100)
    orders = random.integers(-1, bidders, bidders)
    ledger = Ledger(orders, np.full(bidders, 100), random.integers(0, 10**10, bidders))
    evidence = run.evidence()
    object.__setattr__(evidence, "history", history)
    object.__setattr__(evidence, "ledger", ledger)
    assert {finding.check for finding in audit(evidence)} == {check.__name__ for check in CHECKERS}
    assert 0 < measures.overlap(history) <= 1
    assert 1 < measures.peak_in_flight(history) < taps
    assert measures.latency_ms(history)
