"""Check first, decrement later: two commands where one is needed."""

from typing import ClassVar

from oversold.model import Bid, Claim, Hold, Tranche
from oversold.strategies.interface import Context, key

WORK_S = 0.05  # the application validates the bid between the check and the decrement, as in the incident


class CheckThenDecr:
    """GET the stock and compare; if the bid fits, validate it for 50 ms, then DECRBY.

    Guarantee: no update is lost, since DECRBY is atomic.

    Known hole: everybody who checked before the last share went decrements after it. The stock overshoots
    once, at the end, by about (offered fen per second) x (time between GET and DECRBY).
    Holds that fail and come back hide a part of it.
    """

    stores: ClassVar[frozenset[str]] = frozenset({"redis"})

    def __init__(self, context: Context) -> None:
        self._redis = context.redis
        self._clock = context.clock

    def open(self, tranche: Tranche) -> None:
        """Set the stock to the capacity."""
        self._redis.set(key(tranche.tranche_id, "left"), tranche.capacity_fen)

    def reserve(self, bid: Bid) -> Hold:
        """Check, then decrement: others may pass the check in between."""
        left = int(self._redis.get(key(bid.tranche_id, "left")) or 0)
        if left < bid.amount_fen:
            return Hold("sold_out")
        self._clock.sleep(WORK_S)
        self._redis.decrby(key(bid.tranche_id, "left"), bid.amount_fen)
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
        """Report the stock as it stands; below zero it shows the overshoot."""
        left = int(self._redis.get(key(tranche_id, "left")) or 0)
        return Claim("open" if left > 0 else "full", left)
