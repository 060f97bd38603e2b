"""Fairness: were bidders served in the order in which they came, and had all of them the same chance?

No verdict depends on it: a design may sell exactly and still be a lottery.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oversold.checkers.taps import first_taps, happened, refused_for_good
from oversold.evidence import Flags, Ints

COHORTS = 10


@dataclass(frozen=True)
class Contenders:
    """The bidders between whom the lock chose, one entry each, in the order of their bids.

    `arrival` is when the bidder first meant to tap, in ns: who waits for a lane, or taps again, has come all the
    same. `won` tells who got an order; all others were turned away. A bidder whose own step failed is none of
    them: the lock had offered the stock. Nor is one who was told nothing, or told ok without an order: other
    checks count those.
    """

    arrival: Ints
    amount_fen: Ints
    won: Flags


def contenders(history: npt.NDArray[np.void], confirmed: npt.NDArray[np.int64]) -> Contenders:
    """Return who contended: the bidders of `confirmed` (bids with an order) and those turned away for good.

    Bids of `confirmed` that never tapped are left out: nobody knows when they came.
    """
    first = first_taps(history)
    bid, arrival = history["bid"][first], history["t_intended"][first]
    won = np.isin(bid, confirmed)
    lost = np.isin(bid, history["bid"][refused_for_good(history, confirmed)])
    chosen = (won | lost) & happened(arrival)
    return Contenders(arrival[chosen], history["amount_fen"][first][chosen], won[chosen])


def _sums(values: npt.NDArray[np.int64], starts: npt.NDArray[np.int64]) -> Ints:
    """Return the sums of the runs of `values` that begin at `starts`, the last one up to the end."""
    before = np.append(0, np.cumsum(values))
    return np.asarray(np.diff(before[np.append(starts, len(values))]))


def inversions(among: Contenders) -> float | None:
    """Return the share (0..1) of comparable pairs in which the later bidder won; None without such a pair.

    A pair is comparable when both asked for the same amount, came at different times, and one of them won while
    the other was turned away. 0.0 is first come, first served; a lottery comes to about 0.5; 1.0 is last come,
    first served. Who came at the same moment, as a crowd at the gate does, has no order among them.
    """
    if not len(among.won):
        return None
    order = np.lexsort((among.arrival, among.amount_fen))
    arrival, amount, won = among.arrival[order], among.amount_fen[order], among.won[order].astype(np.int64)
    other_amount = np.append(True, amount[1:] != amount[:-1])
    starts = np.flatnonzero(other_amount | np.append(True, arrival[1:] != arrival[:-1]))
    # From here on one entry a group of bidders who came at one moment for one amount.
    winners, losers = _sums(won, starts), _sums(1 - won, starts)
    lost_until = np.cumsum(losers)
    lost_before = lost_until - losers
    first_group = np.flatnonzero(other_amount[starts])  # of each amount
    groups = np.diff(np.append(first_group, len(starts)))
    lost_by_smaller = np.repeat(lost_before[first_group], groups)
    lost_in_all = np.repeat(_sums(losers, first_group), groups)
    earlier = lost_before - lost_by_smaller
    later = lost_in_all - (lost_until - lost_by_smaller)
    inverted = int((winners * earlier).sum())
    comparable = inverted + int((winners * later).sum())
    return inverted / comparable if comparable else None


def cohorts(among: Contenders) -> npt.NDArray[np.float64]:
    """Return the share (0..1) of winners in each tenth of the contenders, by arrival; shape (10,), (0,) of none.

    Bidders who came at the same moment share what they won: a tenth that begins or ends among them gets their
    common chance, so that the order of rows decides nothing.
    """
    total = len(among.won)
    if not total:
        return np.zeros(0)
    order = np.argsort(among.arrival, kind="stable")
    arrival = among.arrival[order]
    last = np.append(np.flatnonzero(arrival[1:] != arrival[:-1]), total - 1)  # of each moment
    won_until = np.append(0, np.cumsum(among.won[order])[last])
    bounds = np.arange(COHORTS + 1) * total / COHORTS
    share = np.diff(np.interp(bounds, np.append(0, last + 1), won_until)) * COHORTS / total
    return np.asarray(np.round(share, 12))  # tenths are no binary fractions: 1.0000000000000002 is 1


def gini(chances: npt.NDArray[np.float64]) -> float | None:
    """Return the Gini coefficient of win chances: 0.0 when all are equal or nobody won, None of no chances.

    Of ten cohorts it is at most 0.9: one of them won all.

    >>> gini(np.array([0.4, 0.4])), gini(np.array([1.0, 0.0]))
    (0.0, 0.5)
    """
    if not len(chances):
        return None
    total = float(chances.sum())
    if total <= 0:
        return 0.0
    apart = float(np.abs(np.subtract.outer(chances, chances)).sum())
    return apart / (2 * len(chances) * total)
