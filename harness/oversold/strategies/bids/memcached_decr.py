"""memcached's own decrement, which stops at zero without a word."""

from typing import ClassVar

from oversold.model import Bid, Hold
from oversold.strategies.bids.memcached_stock import EXPIRE_S, MemcachedStock
from oversold.strategies.interface import key


class MemcachedDecr(MemcachedStock):
    """`get` the stock and compare; if the bid fits, `decr`; a release is an `incr`.

    Guarantee: no update is lost while there is plenty of stock, since `decr` is atomic.

    Known hole: memcached's numbers have no sign. Of two who race for the last stock, the second one's `decr`
    stops at 0 and looks like a success: 10000 left, decr 20000 gives 0, so 10000 are sold that were not there.
    When that hold is released, incr 20000 makes 10000 of phantom stock, which is sold as well.
    """

    broken: ClassVar[bool] = True

    def reserve(self, bid: Bid) -> Hold:
        """Check, then decrement: others may pass the check in between."""
        stock = key(bid.tranche_id, "left")
        value = self._cache.get(stock)
        if value is None:
            return Hold("error")  # evicted or restarted: nobody knows what is left
        if int(value) < bid.amount_fen:
            return Hold("sold_out")
        left = self._cache.decr(stock, bid.amount_fen)
        return Hold("error" if left is None else "ok")

    def confirm(self, bid: Bid, hold: Hold) -> bool:
        """Mark the hold: a late release finds nothing to give back. False when it was released before."""
        marker = key(bid.tranche_id, "settled", bid.bid_id)
        added = self._cache.add(marker, "confirmed", expire=EXPIRE_S)
        return bool(added or self._cache.get(marker) == b"confirmed")

    def release(self, bid: Bid, hold: Hold) -> bool:
        """`incr` once: `add` succeeds for the first caller only."""
        marker = key(bid.tranche_id, "settled", bid.bid_id)
        if not self._cache.add(marker, "released", expire=EXPIRE_S):
            return True
        if self._cache.incr(key(bid.tranche_id, "left"), bid.amount_fen) is None:
            self._cache.delete(marker)
            return False
        return True
