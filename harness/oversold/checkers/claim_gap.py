"""Do the bidders' receipts and the strategy's own books agree with the ledger?"""

import numpy as np

from oversold.checkers.judging import judge
from oversold.checkers.taps import told_ok
from oversold.evidence import Evidence, Outcome
from oversold.model import Finding, yuan


def _in_doubt_fen(evidence: Evidence) -> int:
    """Return the orders, in fen, of bids that were never told ok but have a tap of unknown outcome."""
    history, ledger = evidence.history, evidence.ledger
    unknown = history["bid"][history["outcome"] == Outcome.UNKNOWN].astype(np.int64)
    told, _ = told_ok(history)
    in_doubt = np.isin(ledger.bid, unknown) & ~np.isin(ledger.bid, told)
    return int(ledger.amount_fen[in_doubt].sum())


def claim_gap(evidence: Evidence) -> Finding:
    """Fail when what bidders were told, or what the strategy says is left, is not what the ledger says.

    Values: `ok_gap_fen` (bids told ok, each once, against the orders), `in_doubt_fen` (orders whose bidders
    were told nothing, a usual cause of that gap), `remaining_gap_fen` (claimed against unsold stock; missing
    where the strategy claims no number).
    """
    ledger, claim = evidence.ledger, evidence.final_claim
    told_fen = int(told_ok(evidence.history)[1].sum())
    ok_gap = abs(told_fen - ledger.confirmed_fen)
    in_doubt = _in_doubt_fen(evidence)
    values: dict[str, float] = {"ok_gap_fen": ok_gap, "in_doubt_fen": in_doubt}
    receipts = f"Bidders were told ok for {yuan(told_fen)} and the ledger has {yuan(ledger.confirmed_fen)}"
    if ok_gap and in_doubt:
        receipts += f" ({yuan(in_doubt)} of it for bidders who never heard)"
    unsold = evidence.tranche.capacity_fen - ledger.confirmed_fen
    remaining_gap = 0
    if claim is None or claim.remaining_fen is None:
        books = "the strategy claims no remaining stock to compare"
    else:
        remaining_gap = abs(claim.remaining_fen - unsold)
        values["remaining_gap_fen"] = remaining_gap
        books = f"the strategy claims {yuan(claim.remaining_fen)} left, by the ledger it is {yuan(unsold)}"
    broken = ok_gap > 0 or remaining_gap > 0
    return judge("claim_gap", evidence, broken=broken, detail=f"{receipts}; {books}.", values=values)
