"""A small payday in a contract test: job workers that are threads, and may die."""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import sqlalchemy as sa

from oversold.clock import SystemClock, seeded
from oversold.conformance.books import Books, WorkerChannel
from oversold.conformance.rules import LOCK_TIMEOUT, asked, in_transaction, placed, rule
from oversold.model import (
    PAYOUT_STATUSES,
    Job,
    JobName,
    Obligation,
    Payday,
    PayoutState,
)
from oversold.plan import Sql
from oversold.stores.endpoint import Endpoint
from oversold.stores.providers import close, connect, cut
from oversold.strategies.payouts import obligation_table
from oversold.strategies.payouts.interface import PayoutContext, PayoutStrategy

END_STATUSES = ("PAID", "FAILED", "REVIEW")
WORKER_NUMBERS = itertools.count()  # no two workers draw the same random numbers
JOIN_S = 20.0
SETTLE_S = 12.0


class Killed(BaseException):
    """The worker is dead: nothing in it may catch this."""


class Worker:
    """One instance of the strategy with connections of its own. `happens` is called beside each pay call."""

    def __init__(
        self, run: PaydayOnTrial, clients: Mapping[str, Any], happens: Callable[[Worker, str], None]
    ) -> None:
        self.clients = clients
        self._run, self._happens = run, happens
        channels = {name: WorkerChannel(name, run.books, self.meets) for name in "AB"}
        generator = seeded(run.payday.payday_id, next(WORKER_NUMBERS))
        self.strategy = run.kind(PayoutContext(clients, SystemClock(), generator, channels))

    def meets(self, moment: str) -> None:
        """Let happen what the test has for this moment of a call."""
        if moment == "before" and "sql" in self.clients and in_transaction(self.clients["sql"]):
            self._run.open_calls += 1
        self._happens(self, moment)

    def die(self) -> None:
        """End as by SIGKILL: what it still wants to tell a store does not arrive, and the servers roll back."""
        for store, client in self.clients.items():
            server = self._run.endpoints[store].store
            if store == "sql":  # the server notices when the socket closes
                client.connection.driver_connection.close()
            cut(server, client, Killed())
        raise Killed


def _nothing(worker: Worker, moment: str) -> None:
    """Leave the worker alone."""


class PaydayOnTrial:
    """One payday under one strategy. `stack` closes what it opens; `happens` is told to all later workers."""

    def __init__(
        self,
        kind: type[PayoutStrategy],
        servers: Mapping[str, Endpoint],
        sql: Sql,
        stack: ExitStack,
        count: int,
    ) -> None:
        self.kind, self._stack, self._sql = kind, stack, sql
        self.endpoints = placed(servers, frozenset({"sql", *kind.stores}), sql)
        self.books = Books()
        self.open_calls = 0  # calls to a channel during which a SQL transaction was open
        self.happens: Callable[[Worker, str], None] = _nothing
        self.payday = _payday(count)
        self._raised: list[Exception] = []
        table: sa.Connection = self._client("sql")
        obligation_table.create(table, self.payday)
        self.own = self.worker()
        asked("open", lambda: self.own.strategy.open(self.payday))

    def worker(self) -> Worker:
        """Return one more worker."""
        return Worker(self, {store: self._client(store) for store in sorted(self.kind.stores)}, self.happens)

    def run(self, *starts: tuple[JobName, int], workers: int = 2) -> None:
        """Run these starts side by side to their end."""
        self.join([thread for name, start in starts for thread in self.begin(name, start, workers)])

    def begin(self, name: JobName, start: int, workers: int = 1) -> list[threading.Thread]:
        """Start the workers of one start of a job, each in a thread."""

        def work(worker: Worker, job: Job) -> None:
            try:
                worker.strategy.run_job(job)
            except Killed:
                pass
            except Exception as error:  # noqa: BLE001 - told by `join`
                self._raised.append(error)

        jobs = [Job(self.payday.payday_id, name, start, number, workers) for number in range(workers)]
        threads = [threading.Thread(target=work, args=(self.worker(), job), daemon=True) for job in jobs]
        for thread in threads:
            thread.start()
        return threads

    def join(self, threads: Sequence[threading.Thread]) -> None:
        """Wait until these workers have ended, and raise what they raised."""
        __tracebackhide__ = True
        deadline = time.monotonic() + JOIN_S
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            text = "`run_job` ends when nothing is left for its worker."
            rule(not thread.is_alive(), text, f"a worker still works after {JOIN_S:g} s")
        if self._raised:
            raise self._raised.pop()

    def settled(self) -> None:
        """Start the interest job again and reconcile until every interest is in an end state."""
        __tracebackhide__ = True
        deadline = time.monotonic() + SETTLE_S
        start = 2
        while True:
            self.run(("interest", start), workers=1)
            asked("reconcile", lambda: self.worker().strategy.reconcile(self.payday.payday_id))
            states = self.states
            still = {ref: states[ref].status for ref in self.owed("interest")}
            if all(status in END_STATUSES for status in still.values()):
                return
            text = "What a dead worker left is settled by the job's next start and by reconciliation."
            rule(time.monotonic() < deadline, text, f"after {SETTLE_S:g} s: {dict(Counter(still.values()))}")
            start += 1
            time.sleep(0.1)

    def reconciled(self) -> None:
        """Reconcile until it says that nothing is open any more."""
        __tracebackhide__ = True
        deadline = time.monotonic() + SETTLE_S
        while True:
            still = asked("reconcile", lambda: self.own.strategy.reconcile(self.payday.payday_id))
            text = "`reconcile` answers how many are still open, and comes to 0."
            rule(type(still) is int, text, f"it answered {still!r}")
            if still == 0:
                return
            rule(
                time.monotonic() < deadline,
                text,
                f"when all was paid it still answered {still} {SETTLE_S:g} s later",
            )
            time.sleep(0.1)

    def owed(self, *kinds: str) -> list[str]:
        """Return the ids of what is due of these kinds."""
        return [each.obligation_id for each in self.payday.obligations if each.kind in kinds]

    @property
    def states(self) -> Mapping[str, PayoutState]:
        """What the strategy says of every obligation, checked."""
        __tracebackhide__ = True
        told = asked("state", lambda: self.own.strategy.state(self.payday.payday_id))
        text = "`state` says a PayoutState of every obligation, with a status that there is."
        rule(isinstance(told, Mapping), text, f"it answered {told!r:.200}")
        missing = set(self.owed("interest", "principal")) - set(told)
        rule(not missing, text, f"it says nothing of {len(missing)} of {len(self.payday.obligations)}")
        for each in told.values():
            rule(isinstance(each, PayoutState) and each.status in PAYOUT_STATUSES, text, f"it says {each!r}")
        return told

    def paid_once(self, *kinds: str) -> None:
        """Check that everything of these kinds was paid once, nothing else was, and that the strategy knows."""
        __tracebackhide__ = True
        owed, paid, states = Counter(self.owed(*kinds)), self.books.paid, self.states
        self.nobody_twice()
        missed = owed - paid
        rule(not missed, "A job pays all that is due of its kind.", f"{len(missed)} of {len(owed)} were not paid")
        rule(not paid - owed, "A job pays its own kind only.", f"{len(paid - owed)} others were paid as well")
        unsure = Counter(states[ref].status for ref in owed if states[ref].status != "PAID")
        rule(not unsure, "What a channel paid and said so is PAID.", f"`state` says {dict(unsure)}")

    def nobody_twice(self) -> None:
        """Check that nothing was paid twice."""
        __tracebackhide__ = True
        twice = {ref: often for ref, often in self.books.paid.items() if often > 1}
        most = max(twice.values(), default=0)
        happened = (
            f"{len(twice)} of {len(self.payday.obligations)} were paid more than once, {most} times at the most"
        )
        rule(not twice, "Nothing is paid twice.", happened)

    def _client(self, store: str) -> Any:
        endpoint = self.endpoints[store]
        client = connect(endpoint, SystemClock(), 0)
        self._stack.callback(close, endpoint.store, client)
        if store == "sql":
            for statement in LOCK_TIMEOUT[self._sql]:
                client.exec_driver_sql(statement)
            client.commit()
        return client


def _payday(count: int) -> Payday:
    """Return a payday with an id of its own: interest and principal in turn, no two amounts alike."""
    payday_id = f"p{secrets.token_hex(4)}"
    return Payday(
        payday_id,
        tuple(
            Obligation(
                f"{payday_id}-{index:06d}",
                f"{payday_id}-u{index // 2:06d}",
                "principal" if index % 2 else "interest",
                101 + index,
            )
            for index in range(count)
        ),
    )
