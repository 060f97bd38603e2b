"""Redis' optimistic lock: WATCH, and EXEC only if nobody else has written."""

from typing import cast

from redis import WatchError

from oversold.model import Bid, Hold
from oversold.strategies.bids.redis_stock import RedisStock
from oversold.strategies.interface import key

TRIES = 16


class RedisWatch(RedisStock):
    """WATCH and GET the stock, compare, MULTI DECRBY EXEC; overtaken, try again at once, up to 16 times.

    Guarantee: never more than the capacity is held: Redis drops the transaction if anybody wrote in between.

    Known hole: a retry storm. Each write by anybody costs all who are under way a whole try of three round
    trips, so the more bidders come, the fewer are served a second; those whose tries run out are told busy
    while stock remains.
    """

    def reserve(self, bid: Bid) -> Hold:
        """Try again at once whenever somebody else was faster."""
        stock = key(bid.tranche_id, "left")
        with self._redis.pipeline() as transaction:
            for _ in range(TRIES):
                transaction.watch(stock)
                # Between WATCH and MULTI a pipeline sends each command at once and returns the reply.
                left = int(cast("bytes | None", transaction.get(stock)) or 0)
                if left < bid.amount_fen:
                    return Hold("sold_out")
                transaction.multi()
                transaction.decrby(stock, bid.amount_fen)
                try:
                    transaction.execute()
                except WatchError:
                    continue
                return Hold("ok")
        return Hold("busy")
