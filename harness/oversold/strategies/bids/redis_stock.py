"""One number in Redis, the stock: what the strategies share that differ only in how they take from it."""

from typing import ClassVar

from oversold.model import Bid, Claim, Hold, Tranche
from oversold.strategies.interface import Context, key


class RedisStock:
    """Everything but `reserve` of a strategy that keeps what is left in one key."""

    stores: ClassVar[frozenset[str]] = frozenset({"redis"})

    def __init__(self, context: Context) -> None:
        self._redis = context.redis

    def open(self, tranche: Tranche) -> None:
        """Set the stock to the capacity."""
        self._redis.set(key(tranche.tranche_id, "left"), tranche.capacity_fen)

    def confirm(self, bid: Bid, hold: Hold) -> bool:
        """Nothing to do: the stock was taken when it was reserved."""
        return True

    def release(self, bid: Bid, hold: Hold) -> bool:
        """INCRBY once; a marker makes a second call harmless."""
        if self._redis.set(key(bid.tranche_id, "released", bid.bid_id), 1, nx=True):
            self._redis.incrby(key(bid.tranche_id, "left"), bid.amount_fen)
        return True

    def status(self, tranche_id: str) -> Claim:
        """Report the stock as it stands; below zero it shows an overshoot, or one that is being taken back."""
        left = int(self._redis.get(key(tranche_id, "left")) or 0)
        return Claim("open" if left > 0 else "full", left)
