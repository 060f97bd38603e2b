"""Do the bidders' receipts and the design's own books agree with the ledger?"""

from typing import NamedTuple

import numpy as np

from oversold.checkers.judging import counted, judge
from oversold.checkers.taps import told_ok
from oversold.evidence import Evidence, Outcome
from oversold.model import Finding, yuan


class Unanswered(NamedTuple):
    """Bids that were never told ok but have a tap of unknown outcome: how many, how many of them have an order,
    and what those orders come to."""

    bids: int
    ordered: int
    ordered_fen: int


def _unanswered(evidence: Evidence) -> Unanswered:
    history, ledger = evidence.history, evidence.ledger
    told, _ = told_ok(history)
    unknown = np.unique(history["bid"][history["outcome"] == Outcome.UNKNOWN].astype(np.int64))
    unknown = unknown[~np.isin(unknown, told)]
    theirs = np.isin(ledger.bid, unknown)
    return Unanswered(len(unknown), int(np.isin(unknown, ledger.bid).sum()), int(ledger.amount_fen[theirs].sum()))


def claim_gap(evidence: Evidence) -> Finding:
    """Fail when what bidders were told, or what the strategy says is left, is not what the ledger says.

    Values: `ok_gap_fen` (bids told ok, each once, against the orders), `in_doubt_fen` (orders whose bidders
    were told nothing, a usual cause of that gap), `remaining_gap_fen` (claimed against unsold stock; missing
    where the strategy claims no number).
    """
    told_fen = int(told_ok(evidence.history)[1].sum())
    in_doubt_fen = _unanswered(evidence).ordered_fen
    gap_fen = abs(told_fen - evidence.ledger.confirmed_fen)
    aside = f" ({yuan(in_doubt_fen)} of it for bidders who never heard)" if gap_fen and in_doubt_fen else ""
    return _judged(evidence, "the strategy", told_fen, gap_fen, in_doubt_fen, aside)


def claim_gap_over_http(evidence: Evidence) -> Finding:
    """Judge as `claim_gap` does, but forgive orders whose bidders were told nothing: an answer can be lost on its
    way, and nobody was told anything wrong. `ok_gap_fen` then leaves those orders out."""
    told_fen = int(told_ok(evidence.history)[1].sum())
    unanswered = _unanswered(evidence)
    gap_fen = abs(told_fen + unanswered.ordered_fen - evidence.ledger.confirmed_fen)
    return _judged(evidence, "the service", told_fen, gap_fen, unanswered.ordered_fen, _resolved(unanswered))


def _resolved(unanswered: Unanswered) -> str:
    """Say what the ledger knows of the bids that were never answered."""
    if not unanswered.bids:
        return ""
    bids = counted(unanswered.bids, "bid")
    if not unanswered.ordered:
        return f"; {bids} got no answer, and no order"
    have = "has an order" if unanswered.ordered == 1 else "have orders"
    return f"; {bids} got no answer, of which {unanswered.ordered:,} {have}, of {yuan(unanswered.ordered_fen)}"


def _judged(evidence: Evidence, who: str, told_fen: int, gap_fen: int, in_doubt_fen: int, aside: str) -> Finding:
    """Return the finding; `aside` is said after the sum of the ledger."""
    ledger, claim = evidence.ledger, evidence.final_claim
    values: dict[str, float] = {"ok_gap_fen": gap_fen, "in_doubt_fen": in_doubt_fen}
    receipts = f"Bidders were told ok for {yuan(told_fen)} and the ledger has {yuan(ledger.confirmed_fen)}{aside}"
    unsold = evidence.tranche.capacity_fen - ledger.confirmed_fen
    remaining_gap = 0
    if claim is None or claim.remaining_fen is None:
        books = f"{who} claims no remaining stock to compare"
    else:
        remaining_gap = abs(claim.remaining_fen - unsold)
        values["remaining_gap_fen"] = remaining_gap
        books = f"{who} claims {yuan(claim.remaining_fen)} left, by the ledger it is {yuan(unsold)}"
    broken = gap_fen > 0 or remaining_gap > 0
    return judge("claim_gap", evidence, broken=broken, detail=f"{receipts}; {books}.", values=values)
