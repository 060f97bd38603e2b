"""memcached compare-and-swap that puts lost stock back by itself."""

from typing import ClassVar

from oversold.model import Bid, Hold, Tranche
from oversold.strategies.bids.memcached_cas import MemcachedCas
from oversold.strategies.bids.memcached_stock import EXPIRE_S
from oversold.strategies.interface import key


class MemcachedCasReadd(MemcachedCas):
    """The same compare-and-swap; when the stock is gone from the cache, `add` the whole capacity anew and go on.

    Guarantee: never more than the capacity is held, as long as the key stays in the cache.

    Known hole: the cache forgets what was sold. After an eviction or a restart all of the capacity is on sale
    once more, so the tranche is oversold by exactly what had been sold before; `memcached-cas` says error.
    """

    broken: ClassVar[bool] = True

    def open(self, tranche: Tranche) -> None:
        """Set the stock to the capacity, and keep the capacity for the day the stock is lost."""
        super().open(tranche)
        self._cache.set(key(tranche.tranche_id, "capacity"), str(tranche.capacity_fen), expire=EXPIRE_S)

    def reserve(self, bid: Bid) -> Hold:
        """Try; when the stock is lost, make it up and try again."""
        hold = super().reserve(bid)
        if hold.verdict != "error":
            return hold
        capacity = self._cache.get(key(bid.tranche_id, "capacity"))
        if capacity is None:
            return hold
        self._cache.add(key(bid.tranche_id, "left"), capacity, expire=EXPIRE_S)
        return super().reserve(bid)
