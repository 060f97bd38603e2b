"""Was more sold than there was (超募), or less although somebody wanted it (少募)?"""

import numpy as np

from oversold.checkers.judging import counted, judge, percent
from oversold.checkers.stock import occupied
from oversold.checkers.taps import happened, turned_away
from oversold.evidence import Evidence, Flags
from oversold.model import Finding, yuan


def oversubscription(evidence: Evidence) -> Finding:
    """Fail when the orders exceed the capacity. It stands for incomplete runs: an order is a fact.

    Values: `rate` (share of the capacity sold too much), `excess_fen`, `confirmed_fen`.
    """
    capacity, confirmed = evidence.tranche.capacity_fen, evidence.ledger.confirmed_fen
    excess = max(0, confirmed - capacity)
    rate = excess / capacity
    if excess:
        detail = (
            f"Orders of {yuan(confirmed)} exceed the capacity of {yuan(capacity)} "
            f"by {yuan(excess)} ({percent(rate)})."
        )
    else:
        detail = f"Orders of {yuan(confirmed)} are within the capacity of {yuan(capacity)}."
    values = {"rate": rate, "excess_fen": excess, "confirmed_fen": confirmed}
    return judge("oversubscription", evidence, broken=excess > 0, detail=detail, values=values, stands=True)


def witnesses(evidence: Evidence) -> Flags:
    """Tell which taps prove that stock was withheld.

    A witness was turned away for good although its amount was free when it asked for the last time and
    stayed free for ever: serving it would have harmed nobody. That is never more than what stayed unsold,
    for every order occupies stock in the end. The bidder asked when the strategy was asked or, where the
    FULL flag answered, when a lane took the tap. Stock that had come back only within `notice_ns` before does
    not count: no platform hears of it at once.
    """
    history = evidence.history
    asked = np.where(happened(history["t_sent"]), history["t_sent"], history["t_admitted"])
    free_since = asked - evidence.notice_ns
    free_for_ever = evidence.tranche.capacity_fen - occupied(evidence).greatest_from(free_since)
    return np.asarray(turned_away(evidence) & (history["amount_fen"] <= free_for_ever))


def undersubscription(evidence: Evidence) -> Finding:
    """Fail when stock stayed unsold and a witness would have bought of it; without one the rest is dust.

    Values: `rate` and `raw` (shares of the capacity, `raw` with the dust), `dust_fen`, `witnesses` (bids),
    `turned_away_fen` (what the witnesses asked for together, at most what stayed unsold).
    """
    capacity, confirmed = evidence.tranche.capacity_fen, evidence.ledger.confirmed_fen
    unsold = max(0, capacity - confirmed)
    proof = witnesses(evidence)
    number = int(proof.sum())
    asked_fen = int(evidence.history["amount_fen"][proof].sum())
    raw = unsold / capacity
    if not unsold:
        detail = f"Orders of {yuan(confirmed)} fill the capacity of {yuan(capacity)}."
    elif number:
        verb = "was" if number == 1 else "were"
        detail = (
            f"{yuan(unsold)} of {yuan(capacity)} ({percent(raw)}) stayed unsold although "
            f"{counted(number, 'bid')} that would have fitted {verb} turned away for good."
        )
    else:
        detail = f"{yuan(unsold)} of {yuan(capacity)} stayed unsold, but were free for none of those turned away."
    values = {
        "rate": raw if number else 0.0,
        "raw": raw,
        "dust_fen": 0 if number else unsold,
        "witnesses": number,
        "turned_away_fen": min(asked_fen, unsold),
    }
    return judge("undersubscription", evidence, broken=number > 0, detail=detail, values=values)
