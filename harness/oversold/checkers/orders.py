"""Does the ledger hold exactly the orders that it should: none lost, none twice, none from nowhere?"""

import numpy as np

from oversold.checkers.judging import counted, judge
from oversold.checkers.taps import told_ok
from oversold.evidence import Evidence, Outcome
from oversold.model import Finding, yuan


def lost_order(evidence: Evidence) -> Finding:
    """Fail when a bid that was told ok has no order, or only orders of a smaller amount.

    Values: `bids`, `lost_fen` (what the bidders were promised and no order covers).
    """
    ledger = evidence.ledger
    bids, promised = told_ok(evidence.history)
    place = np.searchsorted(bids, ledger.bid)
    ours = np.append(bids, -2)[place] == ledger.bid  # -2: no bid, for places past the end
    ordered = np.zeros(len(bids), np.int64)
    np.maximum.at(ordered, place[ours], ledger.amount_fen[ours])
    short = promised - ordered
    number, fen = int((short > 0).sum()), int(short[short > 0].sum())
    if number:
        verb = "was" if number == 1 else "were"
        detail = f"{counted(number, 'bid')} {verb} told ok, but {yuan(fen)} of that is in no order."
    else:
        detail = f"Each of {counted(len(bids), 'bid')} told ok has its order."
    values = {"bids": number, "lost_fen": fen}
    return judge("lost_order", evidence, broken=number > 0, detail=detail, values=values)


def duplicate_order(evidence: Evidence) -> Finding:
    """Fail when a bid was ordered twice, whether or not the ledger's uniqueness rule caught it.

    It stands for incomplete runs: an order is a fact. Values: `bids`, of these `written` (more than one
    order in the ledger) and `refused` (a second one was refused), `extra_fen` (all orders but the first).
    """
    ledger = evidence.ledger
    in_time = np.lexsort((ledger.t, ledger.bid))
    bid = ledger.bid[in_time]
    # Orders of bids that the plan does not know cannot be told apart; `phantom_order` counts them.
    again = np.append(False, bid[1:] == bid[:-1])[: len(bid)] & (bid >= 0)
    written, refused = np.unique(bid[again]), np.unique(ledger.refused)
    number, extra = len(np.union1d(written, refused)), int(ledger.amount_fen[in_time][again].sum())
    if number:
        verb = "was" if number == 1 else "were"
        detail = (
            f"{counted(number, 'bid')} {verb} ordered more than once: {len(written):,} in the ledger "
            f"({yuan(extra)} too much), {len(refused):,} refused by its uniqueness rule."
        )
    else:
        detail = "No bid was ordered more than once."
    values = {"bids": number, "written": len(written), "refused": len(refused), "extra_fen": extra}
    return judge("duplicate_order", evidence, broken=number > 0, detail=detail, values=values, stands=True)


def phantom_order(evidence: Evidence) -> Finding:
    """Fail when an order has no bidder behind it or is not what the bidder asked for.

    Values: `orders` and `phantom_fen` in all; by cause `unplanned` (the plan does not know the bid),
    `untapped` (it never tapped), `refused` (each of its taps was told a definite no), `wrong_amount`
    (not what the plan says). An order may have several causes. Untapped or refused orders of a bid with a
    tap of unknown outcome are no phantoms.
    """
    ledger, history, plan = evidence.ledger, evidence.history, evidence.bid_amount_fen
    tapper = history["bid"].astype(np.int64)
    planned = (ledger.bid >= 0) & (ledger.bid < len(plan))
    asked = np.full(len(ledger.bid), -1, np.int64)
    asked[planned] = plan[ledger.bid[planned]]
    tapped = np.isin(ledger.bid, tapper)
    hopeful = np.isin(ledger.bid, tapper[np.isin(history["outcome"], (Outcome.OK, Outcome.UNKNOWN))])
    causes = {
        "unplanned": ~planned,
        "untapped": planned & ~tapped,
        "refused": planned & tapped & ~hopeful,
        "wrong_amount": planned & (ledger.amount_fen != asked),
    }
    phantom = np.logical_or.reduce(list(causes.values()))
    number, fen = int(phantom.sum()), int(ledger.amount_fen[phantom].sum())
    by_cause = {cause: int(rows.sum()) for cause, rows in causes.items()}
    if number:
        verb = "has" if number == 1 else "have"
        detail = (
            f"{counted(number, 'order')} of {yuan(fen)} {verb} no bidder who could have placed it: "
            f"{by_cause['unplanned']:,} of unknown bids, {by_cause['untapped']:,} of bids that never tapped, "
            f"{by_cause['refused']:,} of bids told no, {by_cause['wrong_amount']:,} of a wrong amount."
        )
    else:
        detail = "Every order belongs to a bid and has its amount."
    values = {"orders": number, "phantom_fen": fen, **by_cause}
    return judge("phantom_order", evidence, broken=number > 0, detail=detail, values=values)
