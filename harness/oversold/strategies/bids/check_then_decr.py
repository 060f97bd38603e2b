"""Check first, decrement later: two commands where one is needed."""

from typing import ClassVar

from oversold.model import Bid, Hold
from oversold.strategies.bids.redis_stock import RedisStock
from oversold.strategies.interface import Context, key

WORK_S = 0.05  # the application validates the bid between the check and the decrement, as in the incident


class CheckThenDecr(RedisStock):
    """GET the stock and compare; if the bid fits, validate it for 50 ms, then DECRBY.

    Guarantee: no update is lost, since DECRBY is atomic.

    Known hole: everybody who checked before the last share went decrements after it. The stock overshoots
    once, at the end, by about (offered fen per second) x (time between GET and DECRBY).
    Holds that fail and come back hide a part of it.
    """

    broken: ClassVar[bool] = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._clock = context.clock

    def reserve(self, bid: Bid) -> Hold:
        """Check, then decrement: others may pass the check in between."""
        left = int(self._redis.get(key(bid.tranche_id, "left")) or 0)
        if left < bid.amount_fen:
            return Hold("sold_out")
        self._clock.sleep(WORK_S)
        self._redis.decrby(key(bid.tranche_id, "left"), bid.amount_fen)
        return Hold("ok")
