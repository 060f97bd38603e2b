"""The audit: pure functions from the evidence of a run to findings, in the order they are told."""

from collections.abc import Callable
from dataclasses import replace

from oversold.checkers.claim_gap import claim_gap, claim_gap_over_http
from oversold.checkers.false_full import false_full
from oversold.checkers.leak import leak
from oversold.checkers.orders import duplicate_order, lost_order, phantom_order
from oversold.checkers.subscription import oversubscription, undersubscription
from oversold.evidence import Evidence
from oversold.model import Finding

CHECKERS: tuple[Callable[[Evidence], Finding], ...] = (
    oversubscription,
    undersubscription,
    false_full,
    leak,
    lost_order,
    duplicate_order,
    phantom_order,
    claim_gap,
)

# Of a service nobody sees its holds, nor when it marked the tranche full: what hangs on these is left out. And an
# answer can be lost on its way, which is no fault of its books.
SEEN_FROM_OUTSIDE: tuple[Callable[[Evidence], Finding], ...] = (
    oversubscription,
    undersubscription,
    lost_order,
    duplicate_order,
    phantom_order,
    claim_gap_over_http,
)


def audit(evidence: Evidence) -> list[Finding]:
    """Return one finding a checker, in the order of `CHECKERS`; the evidence is not changed."""
    return [check(evidence) for check in CHECKERS]


def claimed_only(evidence: Evidence, *, told_left: bool) -> list[Finding]:
    """Return what can be said when the ledger in the evidence is nothing but what bidders were told.

    `told_left`: it is known that all of the capacity was for sale, so that what is missing was not sold.
    """
    found = [oversubscription(evidence), *([undersubscription(evidence)] if told_left else [])]
    return [replace(finding, detail=f"By its own claims: {finding.detail}") for finding in found]
