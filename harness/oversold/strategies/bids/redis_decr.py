"""DECRBY first, and put it back when that was too much."""

from oversold.model import Bid, Hold
from oversold.strategies.bids.redis_stock import RedisStock
from oversold.strategies.interface import key


class RedisDecr(RedisStock):
    """DECRBY; below zero INCRBY the same back and answer sold out.

    Guarantee: never more than the capacity is held: whoever sees zero or more has taken what was there.

    Known hole: while a bid that is too big stands in the stock, the number is negative, and smaller bids that
    would fit are told sold out. A crash between DECRBY and INCRBY leaks the bid's amount, though nobody has
    bought it; so does one before the release of a hold.
    """

    def reserve(self, bid: Bid) -> Hold:
        """One round trip; two for who comes too late."""
        stock = key(bid.tranche_id, "left")
        if self._redis.decrby(stock, bid.amount_fen) < 0:
            self._redis.incrby(stock, bid.amount_fen)
            return Hold("sold_out")
        return Hold("ok")
