"""Who occupied the stock and when: holds matched with their orders, and step functions of time."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from oversold.checkers.taps import happened
from oversold.evidence import Evidence, HoldEnd, Ints

BEFORE_ALL = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Steps:
    """A number that changes at moments: `value[i]` holds from `t[i]` on, up to but without `t[i + 1]`.

    The first moment is `BEFORE_ALL` with the value 0. Changes at one moment count as one: what lies
    between them lasted no time.
    """

    t: Ints
    value: Ints

    @classmethod
    def summed(cls, t: npt.NDArray[Any], change: npt.NDArray[Any]) -> "Steps":
        """Return the running sum of changes at the moments t, given in any order."""
        order = np.argsort(t, kind="stable")
        moments = t[order].astype(np.int64)
        total = np.cumsum(change[order], dtype=np.int64)
        last = np.ones(len(moments), bool)
        last[:-1] = moments[1:] != moments[:-1]
        return cls(np.append(BEFORE_ALL, moments[last]), np.append(0, total[last]))

    def at(self, t: npt.NDArray[Any]) -> Ints:
        """Return the value at each t, after the changes at t itself."""
        return np.asarray(self.value[np.searchsorted(self.t, t, side="right") - 1])

    def greatest_from(self, t: npt.NDArray[Any]) -> Ints:
        """Return for each t the greatest value from t on, for ever."""
        ahead = np.maximum.accumulate(self.value[::-1])[::-1]
        return np.asarray(ahead[np.searchsorted(self.t, t, side="right") - 1])


def matched_orders(evidence: Evidence) -> Ints:
    """Return for each tap the index of the order that its hold became, -1 for none.

    The k-th hold of a bid that may have become an order takes the k-th order of that bid. Confirmed holds
    come first: only the orders they leave can be explained by a hold whose end is in doubt.
    """
    history, ledger = evidence.history, evidence.ledger
    rows = np.flatnonzero(np.isin(history["hold"], (HoldEnd.CONFIRMED, HoldEnd.LEAKED, HoldEnd.LIVE)))
    bids = history["bid"][rows].astype(np.int64)
    in_doubt = history["hold"][rows] != HoldEnd.CONFIRMED
    by_bid = np.lexsort((history["attempt"][rows], in_doubt, bids))
    rows, bids = rows[by_bid], bids[by_bid]
    rank = np.arange(len(rows)) - np.searchsorted(bids, bids)
    orders = np.lexsort((ledger.t, ledger.bid))
    order_bids = ledger.bid[orders]
    place = np.searchsorted(order_bids, bids) + rank
    found = place < np.searchsorted(order_bids, bids, side="right")
    matched = np.full(len(history), -1, np.int64)
    matched[rows[found]] = orders[place[found]]
    return matched


def _hold_ends(evidence: Evidence) -> Ints:
    """Return for each tap when its hold was resolved: the end of the run if it never was."""
    history = evidence.history
    resolved = happened(history["t_done"]) & (history["hold"] != HoldEnd.LIVE)
    ends = np.where(resolved, history["t_done"], evidence.t_end)
    return np.asarray(np.maximum(ends, history["t_reserved"]))


def live_holds(evidence: Evidence) -> Steps:
    """Return the number of holds whose end is open: stock that may yet be sold or come back.

    A hold counts from when the strategy was asked, for the store gives it before the answer arrives. One
    whose tap never completed stops being a hold at its order, if it became one.
    """
    history = evidence.history
    order = matched_orders(evidence)
    begins = np.where(happened(history["t_sent"]), history["t_sent"], history["t_reserved"])
    ends = _hold_ends(evidence)
    ordered = (history["hold"] == HoldEnd.LIVE) & (order >= 0)
    ends[ordered] = np.maximum(evidence.ledger.t[order[ordered]], history["t_reserved"][ordered])
    got = history["hold"] != HoldEnd.NONE
    one = np.ones(int(got.sum()), np.int64)
    until = ends[got] + evidence.notice_ns  # until the platform may be asked to know of it
    return Steps.summed(np.concatenate([begins[got], until]), np.concatenate([one, -one]))


def occupied(evidence: Evidence) -> Steps:
    """Return the fen that orders and live holds took up.

    The ledger and the bidders note their times at slightly different moments, so a hold that became an
    order counts once and without a gap: from the hold on, for ever, with the amount of the order. Orders
    that no hold explains count from their own time on. A confirmed hold without an order keeps its stock.
    """
    history, ledger = evidence.history, evidence.ledger
    order = matched_orders(evidence)
    amount = history["amount_fen"].astype(np.int64)
    amount[order >= 0] = ledger.amount_fen[order[order >= 0]]
    got = history["hold"] != HoldEnd.NONE
    freed = got & (order < 0) & (history["hold"] != HoldEnd.CONFIRMED)
    unexplained = np.ones(len(ledger.bid), bool)
    unexplained[order[order >= 0]] = False
    return Steps.summed(
        np.concatenate([history["t_reserved"][got], ledger.t[unexplained], _hold_ends(evidence)[freed]]),
        np.concatenate([amount[got], ledger.amount_fen[unexplained], -amount[freed]]),
    )
