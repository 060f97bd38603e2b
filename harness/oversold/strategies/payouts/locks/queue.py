"""A Redis stream with a consumer group in front of the workers."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from oversold.model import Job, ObligationKind, Payday
from oversold.strategies.interface import key
from oversold.strategies.payouts.desk import Desk, Row, claimant
from oversold.strategies.payouts.interface import PayoutContext
from oversold.strategies.payouts.patience import stale_s

KINDS: tuple[ObligationKind, ...] = ("interest", "principal")
GROUP = "workers"
BATCH = 1_000
WAIT_S = 0.05


class Queue:
    """Every obligation is an entry of a stream; a worker reads one, claims its row, acknowledges it when settled.

    Guarantee: the group hands each entry to one worker, and to another one when it stays unacknowledged for longer
    than the stale time; a row that is in an end state by then is skipped. No worker ends while an entry is out
    whose row nobody has claimed.

    Known hole: redelivery. An entry whose worker died, or only pauses, is handed out again, and the next worker
    cannot tell from it whether the money has moved or is about to.
    """

    stores: ClassVar[frozenset[str]] = frozenset({"redis", "sql"})

    def __init__(self, context: PayoutContext) -> None:
        self._desk = Desk(context)
        self._redis = context.redis
        self._clock = context.clock
        self._random = context.random
        self._stale_s = stale_s(context.channels.values())
        self._stream = ""
        self._entry: bytes | None = None

    def open(self, payday: Payday) -> None:
        """Make a stream and its group for each kind, and enter the obligations."""
        for kind in KINDS:
            self._redis.xgroup_create(_stream(payday.payday_id, kind), GROUP, id="0", mkstream=True)
        for first in range(0, len(payday.obligations), BATCH):
            pipeline = self._redis.pipeline(transaction=False)
            for each in payday.obligations[first : first + BATCH]:
                pipeline.xadd(_stream(payday.payday_id, each.kind), {"id": each.obligation_id})
            pipeline.execute()

    def begin(self, job: Job) -> None:
        """Choose the stream."""
        self._stream = _stream(job.payday_id, job.kind)
        self._entry = None

    def claim(self, job: Job) -> Row | None:
        """Read entries until one's row can be claimed; None when no row is due any more."""
        while entry := self._next(claimant(job)) or self._wait(job):
            entry_id, fields = entry
            row = self._desk.get(job.payday_id, fields[b"id"].decode())
            if row.status == "CLAIMED" and row.age_s < self._stale_s:
                continue  # its worker is slow, not dead, and will acknowledge the entry itself
            if row.status in {"DUE", "CLAIMED"} and (taken := self._desk.take(row, claimant(job))):
                self._entry = entry_id
                return taken
            self._redis.xack(self._stream, GROUP, entry_id)
        return None

    def done(self, row: Row) -> None:
        """Acknowledge; an obligation that the policy put back gets a new entry first."""
        if self._entry is None:
            return
        if self._desk.get(row.payday_id, row.obligation_id).status == "DUE":
            self._redis.xadd(self._stream, {"id": row.obligation_id})
        self._redis.xack(self._stream, GROUP, self._entry)
        self._entry = None

    def _next(self, consumer: str) -> tuple[bytes, dict[bytes, bytes]] | None:
        """Return a new entry, else one that somebody has left unacknowledged for too long."""
        fresh = cast("list[Any]", self._redis.xreadgroup(GROUP, consumer, {self._stream: ">"}, count=1))
        if fresh:
            return cast("tuple[bytes, dict[bytes, bytes]]", fresh[0][1][0])
        start = b"0-0"
        stale_ms = int(self._stale_s * 1000)
        while True:  # one answer covers a few entries only
            answer = self._redis.xautoclaim(self._stream, GROUP, consumer, stale_ms, start, count=1)
            start, left = answer[:2]
            if left:
                return cast("tuple[bytes, dict[bytes, bytes]]", left[0])
            if start == b"0-0":
                return None

    def _wait(self, job: Job) -> tuple[bytes, dict[bytes, bytes]] | None:
        """Wait for an entry whose row is still due although another worker has the entry; None when none is.

        That worker is about to claim the row, or it died before it could, and reconciliation, which sees rows and
        no entries, would never notice.
        """
        while self._desk.count_due(job) and self._redis.xpending(self._stream, GROUP)["pending"]:
            self._clock.sleep(self._random.uniform(WAIT_S / 2, WAIT_S))
            if entry := self._next(claimant(job)):
                return entry
        return None


def _stream(payday_id: str, kind: ObligationKind) -> str:
    return key(payday_id, "payouts", kind)
