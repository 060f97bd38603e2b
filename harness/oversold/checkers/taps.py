"""What the rows of a history mean: which times happened, who was told ok, who was turned away."""

from typing import Any

import numpy as np
import numpy.typing as npt

from oversold.evidence import NEVER, Evidence, Flags, Ints, Outcome, RefusedBy


def happened(t: npt.NDArray[Any]) -> Flags:
    """Tell which times happened. Half-way to `NEVER` is years before any gate, so no real time is near."""
    return np.asarray(t > NEVER // 2)


def distinct(bids: npt.NDArray[Any]) -> int:
    """Return how many different bids there are among those given."""
    in_order = np.sort(bids)  # `np.unique` hashes, which takes ten times as long
    return int(np.count_nonzero(in_order[1:] != in_order[:-1])) + bool(len(bids))


def first_taps(history: npt.NDArray[np.void]) -> Ints:
    """Return the row of each bid's first tap, bids ascending."""
    # One number orders by bid and then by attempt: sorting it is several times faster than by two columns.
    by_bid = np.argsort((history["bid"].astype(np.uint64) << 16) | history["attempt"], kind="stable")
    bids = history["bid"][by_bid]
    return np.asarray(by_bid[np.append(True, bids[1:] != bids[:-1])[: len(bids)]])


def told_ok(history: npt.NDArray[np.void]) -> tuple[Ints, Ints]:
    """Return the bids that were told ok, ascending and each once, and their amounts in fen."""
    ok = history["outcome"] == Outcome.OK
    bids, first = np.unique(history["bid"][ok].astype(np.int64), return_index=True)
    return bids, history["amount_fen"][ok][first].astype(np.int64)


def refused_for_good(history: npt.NDArray[np.void], served: npt.NDArray[np.int64]) -> Flags:
    """Tell which taps sent a bidder away without stock: final, refused, and not of a bid that was `served`.

    Refused is who was told sold out or busy, and who got an error or no answer from the strategy itself: a
    design that refuses everybody sells nothing, whatever it calls that. A bidder who leaves because a step
    failed is not turned away: the stock was offered.
    """
    outcome = history["outcome"]
    refused = (outcome == Outcome.SOLD_OUT) | (outcome == Outcome.BUSY)
    refused |= ((outcome == Outcome.ERROR) | (outcome == Outcome.UNKNOWN)) & (
        history["refused_by"] == RefusedBy.STRATEGY
    )
    refused &= history["final"] == 1
    refused[refused] = ~np.isin(history["bid"][refused], served)
    return np.asarray(refused)


def turned_away(evidence: Evidence) -> Flags:
    """Tell which taps sent a bidder away without stock, by the ledger: see `refused_for_good`."""
    return refused_for_good(evidence.history, evidence.ledger.bid)
