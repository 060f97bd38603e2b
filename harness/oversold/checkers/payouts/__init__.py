"""The audit of a payday: pure functions from its evidence to findings, in the order they are told."""

from collections.abc import Callable

from oversold.checkers.payouts.beliefs import false_terminal, review_reason, unresolved
from oversold.checkers.payouts.missed import missed
from oversold.checkers.payouts.overpaid import overpaid, stranger, unrecoverable
from oversold.model import Finding
from oversold.payout_evidence import PayoutEvidence

CHECKERS: tuple[Callable[[PayoutEvidence], Finding], ...] = (
    overpaid,
    unrecoverable,
    missed,
    stranger,
    false_terminal,
    review_reason,
    unresolved,
)


def audit(evidence: PayoutEvidence) -> list[Finding]:
    """Return one finding a checker, in the order of `CHECKERS`; the evidence is not changed."""
    return [check(evidence) for check in CHECKERS]
