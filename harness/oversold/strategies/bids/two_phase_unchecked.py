"""Holds with an expiry that a confirm does not look at."""

from typing import ClassVar

import sqlalchemy as sa

from oversold.model import Bid, Hold
from oversold.strategies.bids.two_phase import OF_BID, TwoPhase, holds

POST_ANYWAY = sa.update(holds).where(OF_BID).values(state="posted")


class TwoPhaseUnchecked(TwoPhase):
    """The same holds with an expiry, but a confirm posts the hold whatever has become of it.

    Guarantee: never more than the capacity is held at a time; that is not yet a promise about what is sold.

    Known hole: the late confirm. A bidder who takes longer than 10 s has lost the hold, somebody swept it up and
    sold the share again, and then the first one is confirmed as well.
    """

    broken: ClassVar[bool] = True

    def confirm(self, bid: Bid, hold: Hold) -> bool:
        """Post, and answer true without looking."""
        self._sql.execute(POST_ANYWAY, {"tranche": bid.tranche_id, "bid": bid.bid_id})
        self._sql.commit()
        return True
