"""The Redis lock with a fencing token, which the store of the stock checks."""

from typing import cast

from oversold.model import Bid, Hold, HoldVerdict
from oversold.strategies.bids import redis_lock
from oversold.strategies.bids.redis_lock import RedisLock
from oversold.strategies.interface import Context, key

# KEYS: lock, counter. ARGV: ttl in ms. The counter moves together with the lock: were it a second command, an
# older holder could get the newer token.
LOCK = """
if redis.call('EXISTS', KEYS[1]) == 1 then return false end
local token = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], token, 'PX', ARGV[1])
return token
"""
# KEYS: stock, newest token seen. ARGV: token. A read counts as seen: else a late write could slip in between
# the read and the write of the one who holds the lock now.
READ = """
if tonumber(ARGV[1]) < tonumber(redis.call('GET', KEYS[2]) or 0) then return false end
redis.call('SET', KEYS[2], ARGV[1])
return redis.call('GET', KEYS[1]) or '0'
"""
# KEYS: stock, newest token seen. ARGV: token, stock to write.
WRITE = """
if tonumber(ARGV[1]) < tonumber(redis.call('GET', KEYS[2]) or 0) then return 0 end
redis.call('SET', KEYS[2], ARGV[1])
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""


class RedisLockFenced(RedisLock):
    """The same lock, but its token is a number that grows, and the stock refuses a token older than one seen.

    Guarantee: never more than the capacity is held, whatever the holders' pauses: what an overtaken holder
    writes is refused, and its bidder told busy.

    Known hole: a holder that dies still stalls everybody for the ttl. The store of the stock must take part:
    a store that cannot compare tokens cannot be fenced.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._close_lock = context.redis.register_script(LOCK)
        self._read = context.redis.register_script(READ)
        self._write = context.redis.register_script(WRITE)

    def release(self, bid: Bid, hold: Hold) -> bool:
        """A refused write has changed nothing, so it is tried once more with a new lock."""
        return super().release(bid, hold) or super().release(bid, hold)

    def _try_lock(self, tranche_id: str) -> str | None:
        """Return the next fencing token, None when somebody else has the lock."""
        keys = [key(tranche_id, "lock"), key(tranche_id, "fence")]
        token = cast("int | None", self._close_lock(keys=keys, args=[redis_lock.LOCK_MS]))
        return None if token is None else str(token)

    def _change(self, tranche_id: str, fen: int, token: str) -> HoldVerdict:
        """Read and write with the token; busy when a newer one has been seen."""
        keys = [key(tranche_id, "left"), key(tranche_id, "seen")]
        value = cast("bytes | None", self._read(keys=keys, args=[token]))
        if value is None:
            return "busy"
        left = int(value) + fen
        if left < 0:
            return "sold_out"
        return "ok" if self._write(keys=keys, args=[token, left]) else "busy"
