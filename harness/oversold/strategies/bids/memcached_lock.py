"""A lock made of memcached's `add`, as in many a shop, with the holes that it has there."""

from oversold.model import Bid, Hold, HoldVerdict
from oversold.strategies.bids.memcached_stock import EXPIRE_S, MemcachedStock
from oversold.strategies.interface import Context, key

LOCK_TTL_S = 2  # memcached counts in whole seconds, so the lock lasts one to two of them
WAIT_S = 2.0  # a bidder who has waited this long for the lock is told busy
RELEASE_WAIT_S = 10.0  # nobody taps a release again, so it waits longer before it gives the hold up
POLL_S = 0.02  # longest pause between two tries


class MemcachedLock(MemcachedStock):
    """`add` a lock with a ttl of 2 s, `get` the stock, compare, `set` what is left, `delete` the lock.

    Guarantee: never more than the capacity is held, as long as no holder takes longer than the ttl and the
    keys stay in the cache.

    Known hole: a holder who is paused for longer than the ttl wakes up as one of two: one sale is overwritten
    and sold again. Then it deletes a lock that is another's, and a third one comes in. A holder that dies
    stalls everybody for the ttl, and bidders are told busy.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._clock = context.clock
        self._random = context.random

    def reserve(self, bid: Bid) -> Hold:
        """Take the amount under the lock."""
        owner = self._lock(bid.tranche_id, WAIT_S)
        if owner is None:
            return Hold("busy")
        try:
            return Hold(self._change(bid.tranche_id, -bid.amount_fen))
        finally:
            self._unlock(bid.tranche_id, owner)

    def confirm(self, bid: Bid, hold: Hold) -> bool:
        """Mark the hold: a late release finds nothing to give back. False when it was released before."""
        marker = key(bid.tranche_id, "settled", bid.bid_id)
        added = self._cache.add(marker, "confirmed", expire=EXPIRE_S)
        return bool(added or self._cache.get(marker) == b"confirmed")

    def release(self, bid: Bid, hold: Hold) -> bool:
        """Give the amount back once, under the lock too; false when the lock or the stock cannot be had."""
        owner = self._lock(bid.tranche_id, RELEASE_WAIT_S)
        if owner is None:
            return False
        try:
            marker = key(bid.tranche_id, "settled", bid.bid_id)
            if not self._cache.add(marker, "released", expire=EXPIRE_S):
                return True
            if self._change(bid.tranche_id, bid.amount_fen) == "ok":
                return True
            self._cache.delete(marker)
            return False
        finally:
            self._unlock(bid.tranche_id, owner)

    def _lock(self, tranche_id: str, wait_s: float) -> str | None:
        """Return the owner's token once the lock is had, None when the wait was too long."""
        owner = f"{self._random.getrandbits(64):016x}"
        give_up_s = self._clock.now_s() + wait_s
        while not self._cache.add(key(tranche_id, "lock"), owner, expire=LOCK_TTL_S):
            if self._clock.now_s() >= give_up_s:
                return None
            self._clock.sleep(self._random.uniform(0, POLL_S))
        return owner

    def _change(self, tranche_id: str, fen: int) -> HoldVerdict:
        """Add so many fen to the stock, fewer than none to take them."""
        value = self._cache.get(key(tranche_id, "left"))
        if value is None:
            return "error"
        left = int(value) + fen
        if left < 0:
            return "sold_out"
        self._cache.set(key(tranche_id, "left"), str(left), expire=EXPIRE_S)
        return "ok"

    def _unlock(self, tranche_id: str, owner: str) -> None:
        """Open the lock, whose-ever it is."""
        self._cache.delete(key(tranche_id, "lock"))
