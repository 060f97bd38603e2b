"""The usual Redis lock: SET NX PX with a token, opened by who has the token."""

from typing import ClassVar

from oversold.model import Bid, Hold, HoldVerdict
from oversold.strategies.bids.redis_stock import RedisStock
from oversold.strategies.interface import Context, key

LOCK_MS = 2000
RELEASE_WAIT_S = 10.0  # nobody taps a release again, so it waits longer before it gives the hold up

# KEYS: lock. ARGV: the owner's token.
UNLOCK = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


class RedisLock(RedisStock):
    """SET a lock NX with a token and a ttl of 2 s, GET the stock, compare, SET what is left, open one's own lock.

    Guarantee: never more than the capacity is held, as long as no holder takes longer than the ttl; nobody
    opens another's lock.

    Known hole: a holder who is paused for longer than the ttl wakes up as one of two: it writes what it had
    read before, one sale is overwritten and its amount sold again. A holder that dies stalls everybody for the
    ttl, and bidders are told busy.
    """

    wait_s: ClassVar[float] = 2.0  # a bidder who has waited this long for the lock is told busy
    poll_s: ClassVar[float] = 0.02  # longest pause between two tries

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._clock = context.clock
        self._random = context.random
        self._open_own = context.redis.register_script(UNLOCK)

    def reserve(self, bid: Bid) -> Hold:
        """Take the amount under the lock."""
        token = self._lock(bid.tranche_id, self.wait_s)
        if token is None:
            return Hold("busy")
        try:
            return Hold(self._change(bid.tranche_id, -bid.amount_fen, token))
        finally:
            self._unlock(bid.tranche_id, token)

    def confirm(self, bid: Bid, hold: Hold) -> bool:
        """Mark the hold: a late release finds nothing to give back. False when it was released before."""
        marker = key(bid.tranche_id, "settled", bid.bid_id)
        return bool(self._redis.set(marker, "confirmed", nx=True) or self._redis.get(marker) == b"confirmed")

    def release(self, bid: Bid, hold: Hold) -> bool:
        """Give the amount back once, under the lock too; false when the lock cannot be had."""
        token = self._lock(bid.tranche_id, RELEASE_WAIT_S)
        if token is None:
            return False
        try:
            marker = key(bid.tranche_id, "settled", bid.bid_id)
            if not self._redis.set(marker, "released", nx=True):
                return True
            if self._change(bid.tranche_id, bid.amount_fen, token) == "ok":
                return True
            self._redis.delete(marker)
            return False
        finally:
            self._unlock(bid.tranche_id, token)

    def _lock(self, tranche_id: str, wait_s: float) -> str | None:
        """Return the holder's token once the lock is had, None when the wait was too long."""
        give_up_s = self._clock.now_s() + wait_s
        while (token := self._try_lock(tranche_id)) is None:
            if self._clock.now_s() >= give_up_s:
                return None
            self._clock.sleep(self._random.uniform(0, self.poll_s))
        return token

    def _try_lock(self, tranche_id: str) -> str | None:
        """Return the holder's token, None when somebody else has the lock."""
        token = f"{self._random.getrandbits(64):016x}"
        return token if self._redis.set(key(tranche_id, "lock"), token, nx=True, px=LOCK_MS) else None

    def _change(self, tranche_id: str, fen: int, token: str) -> HoldVerdict:
        """Add so many fen to the stock, fewer than none to take them."""
        left = int(self._redis.get(key(tranche_id, "left")) or 0) + fen
        if left < 0:
            return "sold_out"
        self._redis.set(key(tranche_id, "left"), left)
        return "ok"

    def _unlock(self, tranche_id: str, token: str) -> None:
        """Open the lock if it is still this holder's."""
        self._open_own(keys=[key(tranche_id, "lock")], args=[token])
