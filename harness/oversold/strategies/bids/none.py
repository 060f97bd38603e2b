"""No lock at all: the canary."""

from typing import ClassVar

from oversold.model import Bid, Claim, Hold, Tranche
from oversold.strategies.interface import Context, key


class NoLock:
    """GET the stock, compare, SET what would be left.

    Guarantee: none. It exists to oversell: a burst that it survives proves nothing about other designs.

    Known hole: lost updates throughout. Two bidders read the same stock and write the same remainder, so one
    share is sold twice.
    """

    stores: ClassVar[frozenset[str]] = frozenset({"redis"})

    def __init__(self, context: Context) -> None:
        self._redis = context.redis

    def open(self, tranche: Tranche) -> None:
        """Set the stock to the capacity."""
        self._redis.set(key(tranche.tranche_id, "left"), tranche.capacity_fen)

    def reserve(self, bid: Bid) -> Hold:
        """Read, compare, write: three steps that others may step between."""
        left = int(self._redis.get(key(bid.tranche_id, "left")) or 0)
        if left < bid.amount_fen:
            return Hold("sold_out")
        self._redis.set(key(bid.tranche_id, "left"), left - bid.amount_fen)
        return Hold("ok")

    def confirm(self, bid: Bid, hold: Hold) -> bool:
        """Nothing to do: the stock was taken when it was reserved."""
        return True

    def release(self, bid: Bid, hold: Hold) -> bool:
        """Read and write back, as carelessly; a marker makes a second call harmless."""
        if self._redis.set(key(bid.tranche_id, "released", bid.bid_id), 1, nx=True):
            left = int(self._redis.get(key(bid.tranche_id, "left")) or 0)
            self._redis.set(key(bid.tranche_id, "left"), left + bid.amount_fen)
        return True

    def status(self, tranche_id: str) -> Claim:
        """Report the stock as it stands."""
        left = int(self._redis.get(key(tranche_id, "left")) or 0)
        return Claim("open" if left > 0 else "full", left)
