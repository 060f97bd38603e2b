"""A small payday for tests: channels that follow a script, and jobs whose workers are threads."""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from oversold.clock import Clock, SystemClock, seeded
from oversold.model import Job, JobName, Obligation, Payday, PayReply, QueryReply, Terms, VoidReply
from oversold.plan import Sql
from oversold.stores.endpoint import Endpoint
from oversold.stores.providers import connect
from oversold.strategies.payouts import obligation_table
from oversold.strategies.payouts.desk import END_STATUSES
from oversold.strategies.payouts.interface import Channel, PayoutContext, PayoutStrategy
from oversold.strategies.payouts.obligation_table import obligations
from tests.sale import placed

PROMPT = Terms(timeout_s=0.01, visibility_s=0.0, settle_s=0.0, honours_keys=True, key_retention_s=1e6)
JOIN_S = 60


class Killed(BaseException):
    """The worker is dead: nothing in it may catch this."""


class ManualClock:
    """A clock on which time passes only when somebody sleeps."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._lock = threading.Lock()

    def now_s(self) -> float:
        """Return what was slept so far."""
        return self._now_s

    def sleep(self, seconds: float) -> None:
        """Let so much time pass at once."""
        with self._lock:
            self._now_s += seconds


@dataclass
class Call:
    """A pay call that reached a channel; its money moves at `effect_s`, unless that is None or it was voided."""

    ref: str
    amount_fen: int
    key: str | None
    reply: PayReply
    t_s: float
    effect_s: float | None
    voided: bool = False


@dataclass
class ScriptedChannel:
    """A channel whose calls do and say what the script has for them, `effect/reply`, counted for each ref apart.

    Effects are `now`, `none`, `later` (after `settle_s`); the last entry repeats. `keeps` is what it does where
    that is not what `terms` promise. `answers` are lies told to the first queries of each ref. `deaf` channels
    answer no query, no void, no statement. `before` is called with each ref just before its call arrives, `after`
    when it has: there a worker can be held, or die.
    """

    name: str
    clock: Clock
    script: Sequence[str] = ("now/ok",)
    terms: Terms = PROMPT
    keeps: Terms | None = None
    answers: Sequence[QueryReply] = ()
    deaf: bool = False
    before: Callable[[str], None] = lambda ref: None
    after: Callable[[str], None] = lambda ref: None
    calls: list[Call] = field(default_factory=list)
    queries: Counter[str] = field(default_factory=Counter)
    _lock: Any = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.kept = self.keeps or self.terms

    def pay(self, ref: str, user_id: str, amount_fen: int, key: str | None = None) -> PayReply:
        """Follow the script, unless the key is remembered."""
        self.before(ref)
        with self._lock:
            reply = self._remembered(ref, key) or self._enter(ref, amount_fen, key)
        self.after(ref)
        if reply == "timeout":
            self.clock.sleep(self.kept.timeout_s)
        return reply

    def query(self, ref: str) -> QueryReply:
        """Lie as often as there are answers, then tell the truth of what is visible."""
        with self._lock:
            self.queries[ref] += 1
            if self.deaf:
                return "timeout"
            if self.queries[ref] <= len(self.answers):
                return self.answers[self.queries[ref] - 1]
            seen = self._visible(ref)
            if any(self._moved(call) for call in seen):
                return "success"
            if any(call.effect_s is not None and not call.voided for call in seen):
                return "processing"
            return "failed" if seen else "not_found"

    def void(self, ref: str) -> VoidReply:
        """Cancel what has not moved."""
        with self._lock:
            if self.deaf:
                return "timeout"
            for call in self.calls:
                if call.ref == ref and not self._moved(call):
                    call.voided = True
            return "paid" if self.paid[ref] else "voided"

    def statement(self) -> Mapping[str, int]:
        """Return what is visible and paid."""
        with self._lock:
            told: Counter[str] = Counter()
            for call in self.calls:
                if not self.deaf and self._moved(call) and call in self._visible(call.ref):
                    told[call.ref] += call.amount_fen
            return told

    @property
    def paid(self) -> Counter[str]:
        """The truth: how often each ref was paid so far."""
        return Counter(call.ref for call in self.calls if self._moved(call))

    def _enter(self, ref: str, amount_fen: int, key: str | None) -> PayReply:
        turn = sum(call.ref == ref for call in self.calls)
        effect, _, reply = self.script[min(turn, len(self.script) - 1)].partition("/")
        now_s = self.clock.now_s()
        effect_s = {"now": now_s, "none": None, "later": now_s + self.kept.settle_s}[effect]
        if reply != "unreachable":
            self.calls.append(Call(ref, amount_fen, key, reply, now_s, effect_s))  # type: ignore[arg-type]
        return reply  # type: ignore[return-value]

    def _remembered(self, ref: str, key: str | None) -> PayReply | None:
        """Repeat the reply to a known key; say ok once its money has moved."""
        horizon_s = self.clock.now_s() - self.kept.key_retention_s
        for call in self.calls if self.kept.honours_keys else ():
            if call.key == key is not None and call.ref == ref and call.t_s > horizon_s:
                return "ok" if self._moved(call) else call.reply
        return None

    def _moved(self, call: Call) -> bool:
        return call.effect_s is not None and not call.voided and call.effect_s <= self.clock.now_s()

    def _visible(self, ref: str) -> list[Call]:
        seen_s = self.clock.now_s() - self.kept.visibility_s
        return [call for call in self.calls if call.ref == ref and call.t_s <= seen_s]


def new_payday(count: int) -> Payday:
    """Return a payday with an id of its own: interest and principal in turn, two obligations an investor."""
    payday_id = f"p{secrets.token_hex(4)}"
    return Payday(
        payday_id,
        tuple(
            Obligation(
                f"{payday_id}-{index:06d}",
                f"{payday_id}-u{index // 2:06d}",
                "principal" if index % 2 else "interest",
                100 + index,
            )
            for index in range(count)
        ),
    )


class PaydayRun:
    """One payday under one strategy on real servers. What it opens is closed with `stack`."""

    def __init__(
        self,
        kind: type[PayoutStrategy],
        payday: Payday,
        channels: Iterable[Channel],
        endpoints: Mapping[str, Endpoint],
        stack: ExitStack,
        clock: Clock | None = None,
        sql: Sql = "postgres",
    ) -> None:
        self.payday = payday
        self.channels = {channel.name: channel for channel in channels}
        self.clock = clock or SystemClock()
        self._kind, self._stack = kind, stack
        self._endpoints = placed(endpoints, kind.stores | {"sql"}, sql)
        self._workers = 0
        self.sql: sa.Connection = self._client("sql")
        obligation_table.create(self.sql, payday)
        self.own = self.worker()
        self.own.open(payday)

    def context(self, clock: Clock | None = None) -> PayoutContext:
        """Return a worker's private world, with connections of its own."""
        self._workers += 1
        clients = {store: self._client(store) for store in sorted(self._kind.stores)}
        generator = seeded(self.payday.payday_id, self._workers)
        return PayoutContext(clients, clock or self.clock, generator, self.channels)

    def worker(self, clock: Clock | None = None) -> PayoutStrategy:
        """Return one more instance."""
        return self._kind(self.context(clock))

    def job(self, name: JobName = "interest", start: int = 1, worker: int = 0, workers: int = 1) -> Job:
        """Return one worker's view of a start."""
        return Job(self.payday.payday_id, name, start, worker, workers)

    def begin(self, *jobs: Job) -> list[threading.Thread]:
        """Start a thread for each job; a worker may be killed, but must not raise anything else: see `join`."""
        self.raised: list[Exception] = []

        def work(worker: PayoutStrategy, job: Job) -> None:
            try:
                worker.run_job(job)
            except Killed:
                pass
            except Exception as error:  # noqa: BLE001 - told by `join`
                self.raised.append(error)

        pairs = [(self.worker(), job) for job in jobs]
        threads = [threading.Thread(target=work, args=pair, daemon=True) for pair in pairs]
        for thread in threads:
            thread.start()
        return threads

    def join(self, threads: Sequence[threading.Thread]) -> None:
        """Wait until the threads have ended, and tell what they raised."""
        for thread in threads:
            thread.join(JOIN_S)
            assert not thread.is_alive(), "a worker does not end"
        if self.raised:
            raise self.raised[0]

    def run(self, *starts: tuple[JobName, int], workers: int = 2) -> None:
        """Run these starts side by side to their end."""
        self.join(
            self.begin(*(self.job(*start, worker, workers) for start in starts for worker in range(workers)))
        )

    def age(self, seconds: float) -> None:
        """Make all that the table says so many seconds older."""
        self.sql.execute(
            sa.update(obligations)
            .where(obligations.c.payday_id == self.payday.payday_id)
            .values(since=sa.text(f"since - INTERVAL '{seconds}' SECOND"))
        )
        self.sql.commit()

    def reconcile(self) -> int:
        """Reconcile once, as a process of its own; return how many obligations are in no end state after that."""
        self.worker().reconcile(self.payday.payday_id)
        return sum(count for status, count in self.believed.items() if status not in END_STATUSES)

    @property
    def believed(self) -> Counter[str]:
        """How many obligations the strategy believes to be in each status."""
        return Counter(state.status for state in self.own.state(self.payday.payday_id).values())

    def _client(self, store: str) -> Any:
        client = connect(self._endpoints[store], SystemClock(), 0)
        if store == "sql":  # its pool would keep the connection to the server
            self._stack.callback(client.engine.dispose)
        self._stack.callback(client.close)
        return client
