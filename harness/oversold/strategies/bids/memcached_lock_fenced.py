"""The memcached lock whose late holder can do no harm."""

from oversold.model import Bid, Hold, HoldVerdict
from oversold.strategies.bids.memcached_lock import MemcachedLock
from oversold.strategies.bids.memcached_stock import EXPIRE_S
from oversold.strategies.interface import key

AT_ONCE = -1  # an expiry in the past


class MemcachedLockFenced(MemcachedLock):
    """The same lock, but the stock is read by `gets` and written by `cas`, and only one's own lock is opened.

    Guarantee: never more than the capacity is held, whatever the holders' pauses, as long as the key stays in
    the cache: the write of a holder who was overtaken is refused, and its bidder told busy.

    Known hole: a holder that dies still stalls everybody for the ttl. And the lock no longer decides anything:
    it only makes the conflicts of the compare-and-swap rare, for four more round trips a bid.
    """

    def release(self, bid: Bid, hold: Hold) -> bool:
        """A refused write has changed nothing, so it is tried once more with a new lock."""
        return super().release(bid, hold) or super().release(bid, hold)

    def _change(self, tranche_id: str, fen: int) -> HoldVerdict:
        """Change the stock only if nobody else has changed it since it was read."""
        value, version = self._cache.gets(key(tranche_id, "left"))
        if value is None:
            return "error"
        left = int(value) + fen
        if left < 0:
            return "sold_out"
        stored = self._cache.cas(key(tranche_id, "left"), str(left), version, expire=EXPIRE_S)
        if stored is None:
            return "error"
        return "ok" if stored else "busy"

    def _unlock(self, tranche_id: str, owner: str) -> None:
        """Let the lock expire at once if it is still this owner's."""
        value, version = self._cache.gets(key(tranche_id, "lock"))
        if value == owner.encode():
            self._cache.cas(key(tranche_id, "lock"), owner, version, expire=AT_ONCE)
