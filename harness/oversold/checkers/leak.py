"""Did every hold become an order or come back?"""

import numpy as np

from oversold.checkers.judging import counted, judge
from oversold.checkers.stock import matched_orders
from oversold.evidence import Evidence, HoldEnd
from oversold.model import Finding, yuan


def leak(evidence: Evidence) -> Finding:
    """Fail when a hold was neither confirmed nor given back and no order explains it.

    Values: `leaked_fen`, `holds`.
    """
    history = evidence.history
    unresolved = np.isin(history["hold"], (HoldEnd.LIVE, HoldEnd.LEAKED))
    leaked = unresolved & (matched_orders(evidence) < 0)
    holds, fen = int(leaked.sum()), int(history["amount_fen"][leaked].sum())
    if holds:
        verb = "was" if holds == 1 else "were"
        detail = f"{counted(holds, 'hold')} of {yuan(fen)} {verb} neither confirmed nor given back."
    else:
        detail = "Every hold became an order or was given back."
    values = {"leaked_fen": fen, "holds": holds}
    return judge("leak", evidence, broken=holds > 0, detail=detail, values=values)
