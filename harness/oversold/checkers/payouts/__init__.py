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
# What needs nothing but the channels' books, for a service that does not say what it believes.
FROM_BOOKS: tuple[Callable[[PayoutEvidence], Finding], ...] = (overpaid, unrecoverable, missed, stranger)


def audit(evidence: PayoutEvidence) -> list[Finding]:
    """Return one finding a checker, in the order of `CHECKERS`; the evidence is not changed."""
    return [check(evidence) for check in CHECKERS]


def audit_books(evidence: PayoutEvidence) -> list[Finding]:
    """Return the findings of `FROM_BOOKS`, and one that says what was not judged."""
    detail = "The service does not say what it believes, so that is not judged: the channels' books alone are."
    return [*(check(evidence) for check in FROM_BOOKS), Finding("beliefs", "pass", detail)]
