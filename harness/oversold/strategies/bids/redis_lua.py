"""One Redis script that checks and decrements: nobody can step between."""

from oversold.model import Bid, Hold
from oversold.strategies.bids.redis_stock import RedisStock
from oversold.strategies.interface import Context, key

# KEYS: stock, holds. ARGV: bid_id, amount. A bid that already has a hold gets the same answer again.
# Redis itself does the arithmetic, in 64-bit integers: Lua's numbers lose the last fen above 2^53.
RESERVE = """
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then return 1 end
if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
if redis.call('DECRBY', KEYS[1], ARGV[2]) < 0 then
    redis.call('INCRBY', KEYS[1], ARGV[2])
    return 0
end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
return 1
"""
RELEASE = """
local amount = redis.call('HGET', KEYS[2], ARGV[1])
if not amount or amount == 'confirmed' then return 0 end
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('INCRBY', KEYS[1], amount)
return 1
"""
ANSWERS = {1: Hold("ok"), 0: Hold("sold_out"), -1: Hold("error")}


class RedisLua(RedisStock):
    """A script checks the stock and decrements it; Redis runs scripts one at a time.

    Guarantee: never more than the capacity is held; a repeated bid is not charged twice.

    Known hole: a crash between the script and the order row leaks the hold, and a failover to a replica that
    lags forgets the last decrements.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._reserve = context.redis.register_script(RESERVE)
        self._release = context.redis.register_script(RELEASE)

    def reserve(self, bid: Bid) -> Hold:
        """One round trip."""
        keys = [key(bid.tranche_id, "left"), key(bid.tranche_id, "holds")]
        return ANSWERS[self._reserve(keys=keys, args=[bid.bid_id, bid.amount_fen])]

    def confirm(self, bid: Bid, hold: Hold) -> bool:
        """Mark the hold: a late release finds nothing to give back, a repeated bid is not charged again."""
        self._redis.hset(key(bid.tranche_id, "holds"), bid.bid_id, "confirmed")
        return True

    def release(self, bid: Bid, hold: Hold) -> bool:
        """Give back what the hold says, once."""
        keys = [key(bid.tranche_id, "left"), key(bid.tranche_id, "holds")]
        self._release(keys=keys, args=[bid.bid_id])
        return True
