"""What the rows of a history mean: which times happened, who was told ok, who was turned away."""

from typing import Any

import numpy as np
import numpy.typing as npt

from oversold.evidence import NEVER, Evidence, Flags, Ints, Outcome, RefusedBy


def happened(t: npt.NDArray[Any]) -> Flags:
    """Tell which times happened. Half-way to `NEVER` is years before any gate, so no real time is near."""
    return np.asarray(t > NEVER // 2)


def told_ok(history: npt.NDArray[np.void]) -> tuple[Ints, Ints]:
    """Return the bids that were told ok, ascending and each once, and their amounts in fen."""
    rows = history[history["outcome"] == Outcome.OK]
    bids, first = np.unique(rows["bid"].astype(np.int64), return_index=True)
    return bids, rows["amount_fen"][first].astype(np.int64)


def turned_away(evidence: Evidence) -> Flags:
    """Tell which taps sent a bidder away without stock: final, refused, and no order.

    Refused is who was told sold out or busy, and who got an error or no answer from the strategy itself: a
    design that refuses everybody sells nothing, whatever it calls that. A bidder who leaves because a step
    failed is not turned away: the stock was offered.
    """
    history = evidence.history
    refused = np.isin(history["outcome"], (Outcome.SOLD_OUT, Outcome.BUSY))
    refused |= np.isin(history["outcome"], (Outcome.ERROR, Outcome.UNKNOWN)) & (
        history["refused_by"] == RefusedBy.STRATEGY
    )
    served = np.isin(history["bid"].astype(np.int64), evidence.ledger.bid)
    return np.asarray((history["final"] == 1) & refused & ~served)
