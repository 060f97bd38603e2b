"""memcached compare-and-swap that gives up at the first conflict: the fix of the original incident."""

from oversold.model import Bid, Hold
from oversold.strategies.bids.memcached_stock import EXPIRE_S, MemcachedStock
from oversold.strategies.interface import key


class MemcachedCas(MemcachedStock):
    """`gets` the stock with its version, compare, `cas`; when somebody else was faster, answer busy.

    Guarantee: never more than the capacity is held, as long as the key stays in the cache.

    Known hole: under contention most bidders are told busy while stock remains, and leave. A restart or an
    eviction loses the key: every bid is then an error (adding the key anew would oversell).
    """

    def reserve(self, bid: Bid) -> Hold:
        """One try."""
        stock = key(bid.tranche_id, "left")
        value, version = self._cache.gets(stock)
        if value is None:
            return Hold("error")  # evicted or restarted: nobody knows what is left
        left = int(value)
        if left < bid.amount_fen:
            return Hold("sold_out")
        stored = self._cache.cas(stock, str(left - bid.amount_fen), version, expire=EXPIRE_S)
        if stored is None:
            return Hold("error")
        return Hold("ok" if stored else "busy")

    def confirm(self, bid: Bid, hold: Hold) -> bool:
        """Nothing to do: the stock was taken when it was reserved."""
        return True

    def release(self, bid: Bid, hold: Hold) -> bool:
        """`incr` once: `add` succeeds for the first caller only."""
        marker = key(bid.tranche_id, "released", bid.bid_id)
        if not self._cache.add(marker, "1", expire=EXPIRE_S):
            return True
        if self._cache.incr(key(bid.tranche_id, "left"), bid.amount_fen) is None:
            self._cache.delete(marker)
            return False
        return True
