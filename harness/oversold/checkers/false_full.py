"""Was the tranche marked full (满标) while stock was left, and whom did that send away?"""

import numpy as np

from oversold.checkers.judging import judge
from oversold.checkers.stock import Steps, live_holds
from oversold.checkers.taps import happened, turned_away
from oversold.evidence import Evidence, RefusedBy
from oversold.model import Finding, yuan


def _last_departure(evidence: Evidence) -> int:
    """Return when the last bidder was told something: after that nobody is there to be misled."""
    done = evidence.history["t_done"]
    done = done[happened(done)]
    return int(done.max()) if len(done) else 0


def _detail(seconds: float, lost_s: float, lost_rejected_fen: int) -> str:
    if lost_rejected_fen:
        return (
            f"Marked full for {lost_s:.3g} s with stock left and no hold live that could explain it, "
            f"the tranche turned away bids of {yuan(lost_rejected_fen)} that would have fitted."
        )
    if seconds:
        return (
            f"The tranche was marked full for {seconds:.3g} s while stock was left, "
            "but once no hold was live that sent no fitting bid away."
        )
    return "The tranche was never marked full while stock was left."


def false_full(evidence: Evidence) -> Finding:
    """Fail when the FULL flag sent a fitting bid away for good while stock was left and no hold was live.

    Stock is left while the capacity less the orders written so far takes the smallest bid. The time is
    recoverable while some hold is live (its stock may be sold or come back), lost when none is; both end
    with the last bidder's departure. A bid counts as rejected when it would have fitted into what was left.
    Values: `seconds`, `recoverable_s`, `lost_s`, `rejected_fen`, and of that `lost_rejected_fen`.
    """
    capacity, smallest = evidence.tranche.capacity_fen, evidence.min_bid_fen
    log, ledger = evidence.status_log, evidence.ledger
    full = Steps.summed(log.t, np.diff(log.full.astype(np.int64), prepend=0))
    sold = Steps.summed(ledger.t, ledger.amount_fen)
    live = live_holds(evidence)

    # The first moment of all is dropped: the tranche starts open.
    moments = np.sort(np.concatenate([full.t, sold.t, live.t]))
    moments = moments[1:][moments[1:] != moments[:-1]]
    end = _last_departure(evidence)
    length = np.diff(np.minimum(moments, end), append=end)
    false = (full.at(moments) == 1) & (capacity - sold.at(moments) >= smallest)
    lost = false & (live.at(moments) == 0)
    seconds, lost_s = int(length[false].sum()) / 1e9, int(length[lost].sum()) / 1e9

    by_flag = turned_away(evidence) & (evidence.history["refused_by"] == RefusedBy.STATUS)
    asked, amount = evidence.history["t_admitted"][by_flag], evidence.history["amount_fen"][by_flag]
    misled = (full.at(asked) == 1) & (capacity - sold.at(asked) >= np.maximum(smallest, amount))
    for_nothing = misled & (live.at(asked) == 0)
    lost_rejected_fen = int(amount[for_nothing].sum())
    values = {
        "seconds": seconds,
        "recoverable_s": int(length[false & ~lost].sum()) / 1e9,
        "lost_s": lost_s,
        "rejected_fen": int(amount[misled].sum()),
        "lost_rejected_fen": lost_rejected_fen,
    }
    detail = _detail(seconds, lost_s, lost_rejected_fen)
    return judge("false_full", evidence, broken=lost_rejected_fen > 0, detail=detail, values=values)
