"""DECRBY first, and put it back when that was too much."""

from typing import ClassVar

from oversold.model import Bid, Claim, Hold, Tranche
from oversold.strategies.interface import Context, key


class RedisDecr:
    """DECRBY; below zero INCRBY the same back and answer sold out.

    Guarantee: never more than the capacity is held: whoever sees zero or more has taken what was there.

    Known hole: while a bid that is too big stands in the stock, the number is negative, and smaller bids that
    would fit are told sold out. A crash between DECRBY and INCRBY leaks the bid's amount, though nobody has
    bought it; so does one before the release of a hold.
    """

    stores: ClassVar[frozenset[str]] = frozenset({"redis"})

    def __init__(self, context: Context) -> None:
        self._redis = context.redis

    def open(self, tranche: Tranche) -> None:
        """Set the stock to the capacity."""
        self._redis.set(key(tranche.tranche_id, "left"), tranche.capacity_fen)

    def reserve(self, bid: Bid) -> Hold:
        """One round trip; two for who comes too late."""
        stock = key(bid.tranche_id, "left")
        if self._redis.decrby(stock, bid.amount_fen) < 0:
            self._redis.incrby(stock, bid.amount_fen)
            return Hold("sold_out")
        return Hold("ok")

    def confirm(self, bid: Bid, hold: Hold) -> bool:
        """Nothing to do: the stock was taken when it was reserved."""
        return True

    def release(self, bid: Bid, hold: Hold) -> bool:
        """INCRBY once; a marker makes a second call harmless."""
        if self._redis.set(key(bid.tranche_id, "released", bid.bid_id), 1, nx=True):
            self._redis.incrby(key(bid.tranche_id, "left"), bid.amount_fen)
        return True

    def status(self, tranche_id: str) -> Claim:
        """Report the stock as it stands; below zero while a bid that is too big is taken back."""
        left = int(self._redis.get(key(tranche_id, "left")) or 0)
        return Claim("open" if left > 0 else "full", left)
