"""Pre-split stock that knows the difference between locked and sold."""

from oversold.model import Bid, Hold
from oversold.strategies.bids.skip_locked import SkipLocked


class SkipLockedBusy(SkipLocked):
    """The same units, but a bidder who found too few counts those that are only locked, and is told busy for them.

    Guarantee: never more than the capacity is held, and sold out is said only when the units are sold.

    Known hole: a row for each unit. Opening, and saying what is left, take time in proportion to the stock, and
    all bidders walk over the same first rows, past those that the others have locked.
    """

    def _too_few(self, bid: Bid) -> Hold:
        return Hold("busy" if self._left_fen(bid.tranche_id) >= bid.amount_fen else "sold_out")
