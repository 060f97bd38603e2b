"""Redis' optimistic lock: WATCH, and EXEC only if nobody else has written."""

from typing import ClassVar, cast

from redis import WatchError

from oversold.model import Bid, Claim, Hold, Tranche
from oversold.strategies.interface import Context, key

TRIES = 16


class RedisWatch:
    """WATCH and GET the stock, compare, MULTI DECRBY EXEC; overtaken, try again at once, up to 16 times.

    Guarantee: never more than the capacity is held: Redis drops the transaction if anybody wrote in between.

    Known hole: a retry storm. Each write by anybody costs all who are under way a whole try of three round
    trips, so the more bidders come, the fewer are served a second; those whose tries run out are told busy
    while stock remains.
    """

    stores: ClassVar[frozenset[str]] = frozenset({"redis"})

    def __init__(self, context: Context) -> None:
        self._redis = context.redis

    def open(self, tranche: Tranche) -> None:
        """Set the stock to the capacity."""
        self._redis.set(key(tranche.tranche_id, "left"), tranche.capacity_fen)

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

    def confirm(self, bid: Bid, hold: Hold) -> bool:
        """Nothing to do: the stock was taken when it was reserved."""
        return True

    def release(self, bid: Bid, hold: Hold) -> bool:
        """INCRBY once; a marker makes a second call harmless."""
        if self._redis.set(key(bid.tranche_id, "released", bid.bid_id), 1, nx=True):
            self._redis.incrby(key(bid.tranche_id, "left"), bid.amount_fen)
        return True

    def status(self, tranche_id: str) -> Claim:
        """Report the stock as it stands."""
        left = int(self._redis.get(key(tranche_id, "left")) or 0)
        return Claim("open" if left > 0 else "full", left)
