"""One job lock for the whole payday, in Redis, with an expiry."""

from __future__ import annotations

from collections import deque
from typing import ClassVar

from oversold.model import Job, Payday
from oversold.strategies.interface import key
from oversold.strategies.payouts.desk import Desk, Row
from oversold.strategies.payouts.interface import PayoutContext
from oversold.strategies.payouts.locks.none import PASSES
from oversold.strategies.payouts.patience import MARGIN_S

LEASE_S = 2.0  # or as long as one row may take; see `_lease_s`
CALLS = 4  # that one row may take, without an answer each: the lock does not know how many its policy makes
WAIT_S = 0.05

# KEYS: lease, token. ARGV: the start's name, ttl in ms. SET NX PX when nobody has it; the holder gets it renewed.
# The token counts the acquisitions; 0 says that another start holds the lease.
HOLD = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if holder then return tonumber(redis.call('GET', KEYS[2])) end
return redis.call('INCR', KEYS[2])
"""
# KEYS: lease, those who are through. ARGV: the start's name, worker, workers. The last worker of a start turns
# off the light, if the lease is still theirs.
LEAVE = """
redis.call('SADD', KEYS[2], ARGV[2])
if redis.call('SCARD', KEYS[2]) >= tonumber(ARGV[3]) and redis.call('GET', KEYS[1]) == ARGV[1] then
    redis.call('DEL', KEYS[1])
end
return 1
"""


class Lease:
    """One start of one job holds the payday's lock; its workers walk the list, and renew the lock before each row.

    Guarantee: jobs that keep their lease do not overlap, so the list that a start walks is its own.

    Known hole: a pause longer than the lease. Another start takes over, and the worker that paused still pays the
    row it had in hand: two holders, and nobody who checks.
    """

    stores: ClassVar[frozenset[str]] = frozenset({"redis", "sql"})

    def __init__(self, context: PayoutContext) -> None:
        self._desk = Desk(context)
        self._clock = context.clock
        self._random = context.random
        longest_s = max(channel.terms.timeout_s for channel in context.channels.values())
        self._lease_s = max(LEASE_S, CALLS * longest_s + MARGIN_S)
        self._hold = context.redis.register_script(HOLD)
        self._leave = context.redis.register_script(LEAVE)
        self._rows: deque[Row] = deque()
        self._passes = 0
        self._token = 0

    def open(self, payday: Payday) -> None:
        """Nothing to do: no lease is held."""

    def begin(self, job: Job) -> None:
        """Hold nothing yet: the first claim waits for the lease."""
        self._rows.clear()
        self._passes = 0
        self._token = 0

    def claim(self, job: Job) -> Row | None:
        """Renew or wait, then take the next row of the list; None, and the lease given up, when it is walked."""
        while (row := self._next(job)) is not None:
            if (taken := self._take(row, job)) is not None:
                return taken
        names = [key(job.payday_id, "lease"), key(job.payday_id, "lease", "through", job.run)]
        self._leave(keys=names, args=[job.run, job.worker, job.workers])
        return None

    def done(self, row: Row) -> None:
        """Nothing to give back: the lease is the start's until its list is walked."""

    def _take(self, row: Row, job: Job) -> Row | None:
        """Believe the list."""
        return row

    def _next(self, job: Job) -> Row | None:
        token = self._wait(job)
        if token != self._token:  # the lease is new to this worker: others may have paid what it had listed
            self._token, self._passes = token, 0
            self._rows.clear()
        if not self._rows and self._passes < PASSES:
            self._rows.extend(self._desk.share(job))
            self._passes += 1
        return self._rows.popleft() if self._rows else None

    def _wait(self, job: Job) -> int:
        """Hold the lease for another `_lease_s`, whoever else has to end first; return its token."""
        names = [key(job.payday_id, "lease"), key(job.payday_id, "lease", "token")]
        while not (token := int(self._hold(keys=names, args=[job.run, int(self._lease_s * 1000)]))):
            self._clock.sleep(self._random.uniform(WAIT_S / 2, WAIT_S))
        return token
