"""memcached's decrement, far away from zero."""

from typing import ClassVar

from oversold.model import Bid, Claim, Hold, Tranche
from oversold.strategies.bids.memcached_decr import MemcachedDecr
from oversold.strategies.bids.memcached_stock import EXPIRE_S
from oversold.strategies.interface import key

OFFSET = 10**18  # no sum of bids comes near it, and memcached counts to 2^64, which is 18 times as much


class MemcachedDecrOffset(MemcachedDecr):
    """The same, but the counter stands 10^18 above the stock: a `decr` that goes below that is taken back.

    Guarantee: never more than the capacity is held, as long as the key stays in the cache: the counter never
    reaches the zero at which `decr` stops.

    Known hole: between a `decr` that went too far and its `incr`, the stock looks smaller than it is, and bids
    that would fit are told sold out. A crash in that window leaks the amount: the tranche ends undersold. An
    eviction or a restart makes every bid an error.
    """

    broken: ClassVar[bool] = False

    def open(self, tranche: Tranche) -> None:
        """Set the counter to the capacity above the offset."""
        counter = OFFSET + tranche.capacity_fen
        self._cache.set(key(tranche.tranche_id, "left"), str(counter), expire=EXPIRE_S)

    def reserve(self, bid: Bid) -> Hold:
        """Check, decrement, and look whether that was too much."""
        stock = key(bid.tranche_id, "left")
        value = self._cache.get(stock)
        if value is None:
            return Hold("error")
        if int(value) - OFFSET < bid.amount_fen:
            return Hold("sold_out")
        counter = self._cache.decr(stock, bid.amount_fen)
        if counter is None:
            return Hold("error")
        if counter < OFFSET:
            self._cache.incr(stock, bid.amount_fen)
            return Hold("sold_out")
        return Hold("ok")

    def status(self, tranche_id: str) -> Claim:
        """Report the counter without its offset; below zero while a bid that went too far is taken back."""
        value = self._cache.get(key(tranche_id, "left"))
        if value is None:
            return Claim("open", None)
        left = int(value) - OFFSET
        return Claim("open" if left > 0 else "full", left)
