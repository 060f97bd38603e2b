"""No lock at all: the canary."""

from typing import ClassVar

from oversold.model import Bid, Hold
from oversold.strategies.bids.redis_stock import RedisStock
from oversold.strategies.interface import key


class NoLock(RedisStock):
    """GET the stock, compare, SET what would be left.

    Guarantee: none. It exists to oversell: a burst that it survives proves nothing about other designs.

    Known hole: lost updates throughout. Two bidders read the same stock and write the same remainder, so one
    share is sold twice.
    """

    broken: ClassVar[bool] = True

    def reserve(self, bid: Bid) -> Hold:
        """Read, compare, write: three steps that others may step between."""
        left = int(self._redis.get(key(bid.tranche_id, "left")) or 0)
        if left < bid.amount_fen:
            return Hold("sold_out")
        self._redis.set(key(bid.tranche_id, "left"), left - bid.amount_fen)
        return Hold("ok")

    def release(self, bid: Bid, hold: Hold) -> bool:
        """Read and write back, as carelessly; a marker makes a second call harmless."""
        if self._redis.set(key(bid.tranche_id, "released", bid.bid_id), 1, nx=True):
            left = int(self._redis.get(key(bid.tranche_id, "left")) or 0)
            self._redis.set(key(bid.tranche_id, "left"), left + bid.amount_fen)
        return True
