"""Payout bugs from public issue trackers, each as a small broken strategy that the audit of the books catches."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any, ClassVar

import numpy as np
import pytest
import sqlalchemy as sa
from tests.payday import JOIN_S, ManualClock, PaydayRun, new_payday

from oversold.checkers.payouts import audit
from oversold.evidence import NEVER
from oversold.model import PAY_REPLIES, Job, Obligation, Payday, PayoutState, PayReply
from oversold.payout_evidence import BELIEF, PAYMENT, WITHDRAWAL, PayoutEvidence
from oversold.platform.channels.books import Books
from oversold.platform.channels.client import KernelChannel
from oversold.platform.channels.kernel import Kernel
from oversold.platform.channels.profile import ChannelProfile, Outcomes
from oversold.stores.endpoint import Endpoint
from oversold.strategies.payouts import composed
from oversold.strategies.payouts.interface import PayoutContext, PayoutStrategy
from oversold.strategies.payouts.obligation_table import obligations

pytestmark = pytest.mark.servers

OBLIGATIONS = 6
RETENTION_S = 24 * 3600
LATE_S = 60
PAID_IN_SILENCE = {"applied_timeout": 1.0}
MONEY = ("overpaid", "missed", "stranger")
SOUND = dict.fromkeys(MONEY, "pass")
PAID_LATER = {"later_processing": 1.0}


class Payer:
    """Claims with a conditional UPDATE, calls the first channel once, the obligation's id being the key."""

    stores: ClassVar[frozenset[str]] = frozenset({"sql"})

    def __init__(self, context: PayoutContext) -> None:
        self.sql, self.clock, self.random = context.sql, context.clock, context.random
        self.channel = next(iter(context.channels.values()))

    def open(self, payday: Payday) -> None:
        """The table is all it needs."""

    def run_job(self, job: Job) -> None:
        """Pay what is due, one after the other."""
        while (row := self.claim(job)) is not None:
            self.pay(row)

    def claim(self, job: Job) -> Any:
        """Claim one row that is due."""
        due = sa.select(obligations.c.obligation_id).where(
            obligations.c.payday_id == job.payday_id,
            obligations.c.kind == job.kind,
            obligations.c.status == "DUE",
        )
        change = sa.update(obligations).values(status="CLAIMED").returning(*obligations.c)
        first = due.order_by(obligations.c.obligation_id).limit(1).scalar_subquery()
        row = self.sql.execute(
            change.where(obligations.c.obligation_id == first, obligations.c.status == "DUE")
        ).first()
        self.sql.commit()
        return row

    def pay(self, row: Any) -> None:
        """Call once; anything but ok is unknown."""
        self.write(row, status="PAID" if self.call(row, row.obligation_id) == "ok" else "UNKNOWN")

    def call(self, row: Any, key: str) -> PayReply:
        """Call the channel."""
        return self.channel.pay(row.obligation_id, row.user_id, row.amount_fen, key)

    def write(self, row: Any, **values: Any) -> None:
        """Change the row, whoever else has."""
        change = sa.update(obligations).where(obligations.c.obligation_id == row.obligation_id)
        self.sql.execute(change.values(**values))
        self.sql.commit()

    def rows(self, payday_id: str) -> list[Any]:
        """Read the whole table."""
        found = list(self.sql.execute(sa.select(obligations).where(obligations.c.payday_id == payday_id)))
        self.sql.commit()
        return found

    def reconcile(self, payday_id: str) -> int:
        """Leave it as it is."""
        return 0

    def state(self, payday_id: str) -> Mapping[str, PayoutState]:
        """Report the table."""
        return {row.obligation_id: PayoutState(row.status) for row in self.rows(payday_id)}


class TimeoutMeansUnpaid(Payer):
    """Bug: a timeout resets the obligation to unpaid."""

    def pay(self, row: Any) -> None:
        if self.call(row, f"{row.obligation_id}-{row.tries}") == "ok":
            self.write(row, status="PAID")
        else:
            self.write(row, status="DUE" if row.tries < 2 else "FAILED", tries=row.tries + 1)


class KeyPerCall(Payer):
    """Bug: the key is minted where the call is made, so each try has its own."""

    def pay(self, row: Any) -> None:
        for _ in range(3):
            if self.call(row, self.key(row)) == "ok":
                self.write(row, status="PAID")
                return
        self.write(row, status="UNKNOWN")

    def key(self, row: Any) -> str:
        return f"{self.random.getrandbits(64):x}"


class KeyPerObligation(KeyPerCall):
    """Mended: the key is the obligation's. It is as good as the server's memory."""

    def key(self, row: Any) -> str:
        return str(row.obligation_id)


class StaleRowWrite(Payer):
    """Bug: the second job notes something in every row, and writes back the whole row as it had read it."""

    def run_job(self, job: Job) -> None:
        if job.name == "interest":
            super().run_job(job)
            return
        rows = self.rows(job.payday_id)
        self.clock.sleep(1)  # whatever else it does meanwhile
        for row in rows:
            self.note(row)

    def note(self, row: Any) -> None:
        self.write(row, **{**row._mapping, "claimed_by": "noted"})


class OneColumnWrite(StaleRowWrite):
    """Mended: it writes what it wants to change."""

    def note(self, row: Any) -> None:
        self.write(row, claimed_by="noted")


class RecordOutlivesVoid(Payer):
    """Bug: a payment is voided to be made anew, but the record that keeps it from being made twice stays."""

    def pay(self, row: Any) -> None:
        if row.key:  # the record says that this was sent before
            self.write(row, status="PAID")
            return
        key = f"{self.random.getrandbits(64):x}"
        self.write(row, key=key)
        self.call(row, key)
        self.write(row, status="PAID")

    def reconcile(self, payday_id: str) -> int:
        for row in self.rows(payday_id):
            if row.status == "PAID" and self.channel.void(row.obligation_id) == "voided":
                self.write(row, status="DUE", **self.forgotten)
        return 0

    forgotten: ClassVar[Mapping[str, str]] = {}


class VoidForgets(RecordOutlivesVoid):
    """Mended: the void voids the record too."""

    forgotten: ClassVar[Mapping[str, str]] = {"key": ""}


class ReleasedLater(Payer):
    """Bug, if it comes too late: what is unknown is released again under its key, whose life may be over."""

    def reconcile(self, payday_id: str) -> int:
        for row in self.rows(payday_id):
            if row.status == "UNKNOWN":
                self.pay(row)
        return 0


class Course:
    """A run over one channel of the real model, and what its books say."""

    def __init__(self, run: PaydayRun, books: Books, clock: ManualClock) -> None:
        self.run, self._books, self.clock = run, books, clock

    @property
    def effects(self) -> Counter[str]:
        """How often each obligation was paid so far."""
        now_ns = round(self.clock.now_s() * 1e9)
        return Counter(call.ref for call in self._books.calls() if call.applied(now_ns))

    @property
    def owed(self) -> list[Obligation]:
        """What the interest job has to pay."""
        return [each for each in self.run.payday.obligations if each.kind == "interest"]

    def judge(self) -> dict[str, str]:
        """Audit what is owed against the channel's books as of now; return the verdicts of the money's checks."""
        now_ns = round(self.clock.now_s() * 1e9)
        index = {each.obligation_id: number for number, each in enumerate(self.owed)}
        calls = [
            (
                *(0, index.get(call.ref, -1), -1, -1, call.amount_fen, PAY_REPLIES.index(call.reply)),
                *(call.replay_of is not None, call.t_arrived, call.t_replied),
                call.t_effect if call.applied(now_ns) else NEVER,
            )
            for call in self._books.calls()
        ]
        states = self.run.own.state(self.run.payday.payday_id)
        evidence = PayoutEvidence(
            due_fen=np.array([each.amount_fen for each in self.owed]),
            user=np.arange(len(self.owed)),
            t_due=np.zeros(len(self.owed), np.int64),
            channels=("A",),
            runs=(),
            payments=np.array(calls, PAYMENT),
            withdrawals=np.zeros(0, WITHDRAWAL),
            states=[states.get(each.obligation_id) for each in self.owed],
            beliefs=np.zeros(0, BELIEF),
            unknown_since=np.zeros(0, np.int64),
            unknown_until=np.zeros(0, np.int64),
            t_end=now_ns,
        )
        return {found.check: found.verdict for found in audit(evidence) if found.check in MONEY}

    def pass_time(self, seconds: float) -> None:
        """Let time pass, for the channel and for the table."""
        self.clock.sleep(seconds)
        self.run.age(seconds)


Open = Callable[..., Course]


@pytest.fixture
def open_payday(endpoints: Mapping[str, Endpoint]) -> Iterator[Open]:
    """Open a payday under a strategy over one channel with these outcomes; all is closed after the test."""
    with ExitStack() as stack:

        def make(
            kind: type[PayoutStrategy],
            outcomes: Mapping[str, float],
            clock: ManualClock | None = None,
            **profile: Any,
        ) -> Course:
            time = clock or ManualClock()
            books = Books(":memory:")
            stack.callback(books.close)
            chosen = ChannelProfile(
                outcomes=Outcomes(**outcomes), later_s=LATE_S, key_retention_s=RETENTION_S, **profile
            )
            channel = KernelChannel(Kernel("A", chosen, 1, books), time, "test")
            run = PaydayRun(kind, new_payday(OBLIGATIONS), [channel], endpoints, stack, time)
            return Course(run, books, time)

        yield make


def interest(payday: Course, start: int = 1) -> None:
    """Run the interest job with two workers."""
    payday.run.run(("interest", start))


# --- What the bugs do: each takes an opened payday to its end


def once(payday: Course) -> None:
    """The job runs."""
    interest(payday)


def beside_another_job(payday: Course) -> None:
    """The other job reads, this one pays, the other one writes; then this one is started again."""
    read, write = threading.Event(), threading.Event()

    class Held(ManualClock):
        def sleep(self, seconds: float) -> None:
            read.set()
            assert write.wait(JOIN_S)

    noting = payday.run.worker(Held())
    thread = threading.Thread(target=noting.run_job, args=(payday.run.job("maturity"),), daemon=True)
    thread.start()
    assert read.wait(JOIN_S)
    interest(payday)
    write.set()
    thread.join(JOIN_S)
    assert not thread.is_alive()
    interest(payday, 2)


def voided_and_run_again(payday: Course) -> None:
    """What is on its way is voided, and the job started again; then all that is late has come."""
    interest(payday)
    payday.run.reconcile()
    interest(payday, 2)
    payday.pass_time(LATE_S)


def released_the_next_day(payday: Course) -> None:
    """Reconciliation comes when the key is forgotten."""
    interest(payday)
    payday.pass_time(RETENTION_S)
    payday.run.reconcile()


def released_in_time(payday: Course) -> None:
    """Reconciliation comes while the key is remembered."""
    interest(payday)
    payday.pass_time(RETENTION_S / 2)
    payday.run.reconcile()


Case = tuple[type[PayoutStrategy], Mapping[str, Any], Callable[[Course], None]]
SILENT = {"outcomes": PAID_IN_SILENCE}
HONEST = {"outcomes": {"applied_ok": 1.0}, "honours_keys": False}  # else the key would make up for the bug
LATE = {"outcomes": PAID_LATER}
FORGETFUL = {**SILENT, "honours_keys": False}
# The bug, how often it pays each obligation, and what mends it.
BUGS: Mapping[str, tuple[Case, int, Case]] = {
    "a timeout resets to unpaid": ((TimeoutMeansUnpaid, SILENT, once), 3, (Payer, SILENT, once)),
    "a stale full-row write reverts the paid flag": (
        (StaleRowWrite, HONEST, beside_another_job),
        2,
        (OneColumnWrite, HONEST, beside_another_job),
    ),
    "a void does not void the dedupe record": (
        (RecordOutlivesVoid, LATE, voided_and_run_again),
        0,
        (VoidForgets, LATE, voided_and_run_again),
    ),
    "a key minted per call": ((KeyPerCall, SILENT, once), 3, (KeyPerObligation, SILENT, once)),
    "the server ignores the key": ((KeyPerObligation, FORGETFUL, once), 3, (KeyPerObligation, SILENT, once)),
    "a release outlives the key": (
        (ReleasedLater, SILENT, released_the_next_day),
        2,
        (ReleasedLater, SILENT, released_in_time),
    ),
}


def played(open_payday: Open, case: Case) -> Course:
    """Play a case to its end."""
    kind, channel, course = case
    payday = open_payday(kind, **channel)
    course(payday)
    return payday


@pytest.mark.parametrize("bug", BUGS)
def test_the_audit_catches_the_bug(open_payday: Open, bug: str) -> None:
    """What the strategy believes does not matter: the channel's books have every effect, or none."""
    case, effects, _ = BUGS[bug]
    payday = played(open_payday, case)
    assert [payday.effects[each.obligation_id] for each in payday.owed] == [effects] * len(payday.owed)
    caught = "missed" if effects == 0 else "overpaid"
    assert payday.judge() == {**SOUND, caught: "fail"}


@pytest.mark.parametrize("bug", BUGS)
def test_the_mended_strategy_pays_once(open_payday: Open, bug: str) -> None:
    """The same course with the bug taken out."""
    assert played(open_payday, BUGS[bug][2]).judge() == SOUND


@pytest.mark.parametrize("bug", BUGS)
def test_the_state_machine_pays_once(open_payday: Open, bug: str) -> None:
    """Over the same channel, reconciled as often as it takes, and started again."""
    payday = open_payday(composed.load("cas+state-machine"), **BUGS[bug][0][1])
    interest(payday)
    for start in (2, 3):
        payday.pass_time(RETENTION_S)
        payday.run.reconcile()
        interest(payday, start)
    assert payday.judge() == SOUND
    assert payday.run.believed == {"PAID": OBLIGATIONS // 2, "DUE": OBLIGATIONS // 2}
