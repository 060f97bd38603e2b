"""Redlock: a lock is had when most of five independent Redis servers say so."""

from typing import ClassVar

from redis import RedisError

from oversold.strategies.bids.redis_lock import RedisLock
from oversold.strategies.interface import Context, key

LOCK_MS = 2000
DRIFT = 0.01  # how much faster one server's clock may run than another's, and 2 ms for their granularity
DRIFT_MS = 2


class Redlock(RedisLock):
    """SET NX PX one token on five Redis servers; the lock is had with three of them in less than the ttl.

    Guarantee: never more than the capacity is held, as long as no holder takes longer than the ttl and no
    server forgets its lock; two of the five servers may be dead.

    Known hole: it trusts in time. A holder who is paused for longer than the ttl after it got the lock is one
    of two, and nothing refuses its write: one sale is overwritten and its amount sold again. A server that
    restarts without persistence, or whose clock jumps, gives its vote to a second holder. A bid costs twelve
    round trips and many more when several who try split the votes; a server that hangs instead of dying holds
    everybody up.
    """

    stores: ClassVar[frozenset[str]] = frozenset({"redlock", "redis"})
    wait_s: ClassVar[float] = 10.0
    # The usual clients pause this long as well. Bidders who come again within the time that a try takes split
    # the votes between them, for ever: with 20 ms, 128 lanes sold a tenth of the tranche.
    poll_s: ClassVar[float] = 0.4

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._servers = context.redlock

    def _try_lock(self, tranche_id: str) -> str | None:
        """Return the holder's token if most servers agree in time; else leave no lock behind."""
        token = f"{self._random.getrandbits(64):016x}"
        started_s = self._clock.now_s()
        votes = 0
        for server in self._servers:
            try:
                votes += bool(server.set(key(tranche_id, "lock"), token, nx=True, px=LOCK_MS))
            except RedisError:
                continue  # dead, or full: it has no vote
        passed_ms = (self._clock.now_s() - started_s) * 1000
        if votes > len(self._servers) // 2 and passed_ms < LOCK_MS - LOCK_MS * DRIFT - DRIFT_MS:
            return token
        self._unlock(tranche_id, token)
        return None

    def _unlock(self, tranche_id: str, token: str) -> None:
        """Open the lock on all servers, also on those that did not seem to agree: an answer may have been lost."""
        for server in self._servers:
            try:
                self._open_own(keys=[key(tranche_id, "lock")], args=[token], client=server)
            except RedisError:
                continue  # what it may still hold expires
