"""Every payout strategy on its real servers: paid once when all is well, and what is left of it when it is not."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import pytest
import redis
import sqlalchemy as sa
from tests.between import Meanwhile
from tests.payday import JOIN_S, Killed, PaydayRun, ScriptedChannel, new_payday

from oversold.clock import Clock, SystemClock
from oversold.model import Job, Terms
from oversold.plan import SQLS, Sql
from oversold.stores.endpoint import Endpoint
from oversold.strategies.interface import key
from oversold.strategies.payouts import composed
from oversold.strategies.payouts.desk import NEXT_DUE, NOW, Desk, Row
from oversold.strategies.payouts.interface import PayoutStrategy
from oversold.strategies.payouts.locks import lease, queue
from oversold.strategies.payouts.locks.none import NoLock
from oversold.strategies.payouts.locks.queue import Queue
from oversold.strategies.payouts.obligation_table import obligations
from oversold.strategies.payouts.policies import unique_outbox
from oversold.strategies.payouts.policies.unique_outbox import UniqueOutbox

pytestmark = pytest.mark.servers

OBLIGATIONS = 20
LATENCY_S = 0.002  # so that the workers' calls interleave
BLIND = ["blind-failover", "retry-new-key", "query-then-retry"]  # they keep no record and repeat no key
WRITES_CLAIMS = ["cas", "row-lock", "queue", "lease-fenced"]
# On MariaDB every lock and every policy once, for what the database decides; the rest is the same code.
ON_MARIADB = [
    "none+unique-outbox",
    "cas+state-machine",
    "row-lock+blind-failover",
    "row-lock+retry-new-key",
    "queue+query-then-retry",
    "lease+retry-same-key",
    "lease-fenced+failover-after-proof",
]

Open = Callable[..., PaydayRun]


def variants(*locks: str) -> pytest.MarkDecorator:
    """Run a test for every strategy with one of these locks, and for those of `ON_MARIADB` there as well."""
    names = [(name, "postgres") for name in composed.names()] + [(name, "mariadb") for name in ON_MARIADB]
    chosen = [(name, sql) for name, sql in names if name.partition("+")[0] in locks]
    return pytest.mark.parametrize(("name", "sql"), chosen)


on_both = pytest.mark.parametrize("sql", SQLS)


@pytest.fixture
def open_payday(endpoints: Mapping[str, Endpoint]) -> Iterator[Open]:
    """Open a payday under a strategy, with two channels of these scripts; all is closed after the test."""
    with ExitStack() as stack:

        def make(
            strategy: str | type[PayoutStrategy],
            *scripts: tuple[str, ...],
            clock: Clock | None = None,
            count: int = OBLIGATIONS,
            sql: Sql = "postgres",
        ) -> PaydayRun:
            kind = composed.load(strategy) if isinstance(strategy, str) else strategy
            time = clock or SystemClock()
            channels = [
                ScriptedChannel(name, time, script)
                for name, script in zip("AB", scripts or (("now/ok",), ("now/ok",)), strict=True)
            ]
            return PaydayRun(kind, new_payday(count), channels, endpoints, stack, time, sql)

        yield make


def channel(run: PaydayRun, name: str = "A") -> ScriptedChannel:
    """Return one of the payday's channels."""
    found = run.channels[name]
    assert isinstance(found, ScriptedChannel)
    return found


def paid(run: PaydayRun) -> Counter[str]:
    """Return how often each obligation was paid, by all channels together: the truth."""
    return channel(run, "A").paid + channel(run, "B").paid


def judge(run: PaydayRun, kinds: tuple[str, ...] = ("interest", "principal")) -> None:
    """Every obligation of these kinds was paid once, no other was, and the strategy knows."""
    owed = [each.obligation_id for each in run.payday.obligations if each.kind in kinds]
    assert paid(run) == Counter(owed)
    states = run.own.state(run.payday.payday_id)
    assert {id_: states[id_].status for id_ in owed} == dict.fromkeys(owed, "PAID")


def slow(run: PaydayRun) -> None:
    """Give both channels a latency."""
    for name in "AB":
        channel(run, name).before = lambda ref: SystemClock().sleep(LATENCY_S)


class Once:
    """Does something on its first call, in whichever thread that is, and nothing later."""

    def __init__(self, happen: Callable[[], object]) -> None:
        self._happen = happen
        self._lock = threading.Lock()
        self._left = 1

    def __call__(self, ref: str) -> None:
        with self._lock:
            first, self._left = self._left, 0
        if first:
            self._happen()


def die() -> None:
    """End the worker."""
    raise Killed


class Held:
    """Holds whoever comes until it is let go."""

    def __init__(self) -> None:
        self._come, self._go = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self._come.set()
        assert self._go.wait(JOIN_S)

    def wait(self) -> None:
        """Wait until somebody has come."""
        assert self._come.wait(JOIN_S)

    def release(self) -> None:
        """Let them go."""
        self._go.set()


# --- When all is well


@variants(*composed.LOCKS)
def test_two_jobs_pay_everybody_once(open_payday: Open, name: str, sql: Sql) -> None:
    """Over honest channels every strategy pays every obligation once, the two jobs running side by side."""
    run = open_payday(name, sql=sql)
    slow(run)
    run.run(("interest", 1), ("maturity", 1))
    assert run.reconcile() == 0
    judge(run)


@pytest.mark.parametrize("name", [f"{lock}+blind-failover" for lock in composed.LOCKS])
def test_a_job_pays_its_own_kind_only(open_payday: Open, name: str) -> None:
    """The maturity job leaves the interest alone."""
    run = open_payday(name)
    run.run(("maturity", 1))
    judge(run, ("principal",))
    assert run.reconcile() == OBLIGATIONS // 2
    assert run.believed == {"PAID": OBLIGATIONS // 2, "DUE": OBLIGATIONS // 2}


class ForgetsOne(composed.load("cas+blind-failover")):  # type: ignore[misc]
    """Believes that the first obligation of a job is paid."""

    def run_job(self, job: Job) -> None:
        row = self._lock.claim(job)
        if row is not None:  # the other job may have taken them all meanwhile
            self._desk.paid(row, "A")
        super().run_job(job)


class PaysAgain(composed.load("cas+blind-failover")):  # type: ignore[misc]
    """Settles every row twice."""

    def _pay(self, row: object) -> None:
        super()._pay(row)
        super()._pay(row)


@pytest.mark.parametrize("broken", [ForgetsOne, PaysAgain])
def test_a_broken_strategy_is_found(open_payday: Open, broken: type[PayoutStrategy]) -> None:
    """Planted: paid too little and paid too much are both refused."""
    run = open_payday(broken)
    run.run(("interest", 1), ("maturity", 1))
    with pytest.raises(AssertionError):
        judge(run)


# --- Claims


@variants(*(lock for lock in composed.LOCKS if lock != "none"))
def test_a_job_started_twice_pays_once(open_payday: Open, name: str, sql: Sql) -> None:
    """Under every claim lock the second start finds what the first has taken."""
    run = open_payday(name, sql=sql)
    slow(run)
    run.run(("interest", 1), ("interest", 2))
    judge(run, ("interest",))


@pytest.mark.parametrize(
    ("policy", "sql"),
    [*((policy, "postgres") for policy in composed.POLICIES), ("unique-outbox", "mariadb")],
)
def test_without_a_lock_a_job_started_twice_pays_twice(open_payday: Open, policy: str, sql: Sql) -> None:
    """The known hole: both starts have read the same list; only a record or a key of the policy saves it."""
    both = threading.Barrier(2)

    class Started(NoLock):
        """Has read its list, and the other has too, before it pays."""

        def begin(self, job: Job) -> None:
            super().begin(job)
            both.wait(JOIN_S)

    run = open_payday(type("Started", (composed.load(f"none+{policy}"),), {"lock": Started}), sql=sql)
    run.run(("interest", 1), ("interest", 2), workers=1)
    if policy in BLIND:
        assert set(paid(run).values()) == {2}
        with pytest.raises(AssertionError):
            judge(run, ("interest",))
    else:
        judge(run, ("interest",))


@pytest.mark.parametrize("lock", composed.LOCKS)
def test_what_a_policy_puts_back_is_claimed_again(open_payday: Open, lock: str) -> None:
    """When no channel wants to pay in the first round, the second round pays, by the same workers."""
    run = open_payday(f"{lock}+blind-failover", ("none/failed", "now/ok"), ("none/failed", "now/ok"))
    run.run(("interest", 1), ("maturity", 1))
    judge(run)


@pytest.mark.parametrize("lock", composed.LOCKS)
def test_putting_back_has_an_end(open_payday: Open, lock: str) -> None:
    """After three rounds in which no channel pays, an obligation is given up and the workers end."""
    run = open_payday(f"{lock}+blind-failover", ("none/failed",), ("none/failed",))
    run.run(("interest", 1), ("maturity", 1))
    assert run.believed == {"FAILED": OBLIGATIONS}
    assert not paid(run)
    assert run.reconcile() == 0


@variants(*WRITES_CLAIMS)
def test_a_dead_workers_claim_is_swept_up(open_payday: Open, name: str, sql: Sql) -> None:
    """A worker dies just before its call; its claim is left alone while it may live, then it is settled."""
    run = open_payday(name, sql=sql)
    channel(run).before = Once(die)
    run.join(run.begin(run.job()))
    assert run.reconcile() == OBLIGATIONS  # planted: a sweep that does not wait would have settled it by now
    assert not paid(run)
    for _ in range(2):  # a state machine doubts first, then asks once more
        run.age(10)
        run.reconcile()
    run.age(10)
    assert run.reconcile() == OBLIGATIONS - 1
    assert list(paid(run).values()) == [1]
    assert run.believed["PAID"] == 1


@variants(*composed.LOCKS)
def test_a_killed_job_can_be_started_again(
    open_payday: Open, name: str, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second start and reconciliation pay what the first, killed before its fourth call, had not."""
    monkeypatch.setattr(lease, "LEASE_S", 0.1)
    run = open_payday(name, sql=sql)
    calls = iter(range(OBLIGATIONS))
    channel(run).before = lambda ref: die() if next(calls) == 3 else None
    run.join(run.begin(run.job()))
    assert len(paid(run)) == 3
    run.run(("interest", 2))
    for _ in range(3):
        run.age(10)
        run.reconcile()
    judge(run, ("interest",))


def test_a_failing_store_ends_the_worker(open_payday: Open) -> None:
    """What the store raises comes out of `run_job`, for the platform to note."""
    run = open_payday("cas+state-machine")
    context = run.context()
    worker = run._kind(context)
    context.sql.close()
    with pytest.raises(Exception, match="closed"):
        worker.run_job(run.job())


# --- Lease


class Sleeps:
    """Real time, and a note of how often somebody slept."""

    def __init__(self) -> None:
        self.often = threading.Semaphore(0)

    def now_s(self) -> float:
        return SystemClock().now_s()

    def sleep(self, seconds: float) -> None:
        self.often.release()
        SystemClock().sleep(seconds)


@pytest.mark.parametrize("lock", ["lease", "lease-fenced"])
def test_the_second_start_waits_for_the_lease(open_payday: Open, lock: str) -> None:
    """While one start holds the lease no other start pays anything; then it goes on with what is still due."""
    clock = Sleeps()
    run = open_payday(f"{lock}+blind-failover", clock=clock)
    held = Held()
    channel(run).before = Once(held)
    first = run.begin(run.job("interest"))
    held.wait()
    second = run.begin(run.job("maturity"))
    for _ in range(3):
        assert clock.often.acquire(timeout=JOIN_S)
    assert not channel(run).calls
    held.release()
    run.join([*first, *second])
    judge(run)


@pytest.mark.parametrize(("lock", "effects"), [("lease", 2), ("lease-fenced", 1)])
def test_a_pause_beyond_the_lease(
    open_payday: Open, lock: str, effects: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A holder that pauses before its call for longer than the lease pays what the next holder paid too, unless
    its claim is in the table; it notices at the next renewal and pays nothing else twice."""
    monkeypatch.setattr(lease, "LEASE_S", 0.1)
    run = open_payday(f"{lock}+blind-failover")
    held = Held()
    channel(run).before = Once(held)
    first = run.begin(run.job(start=1))
    held.wait()
    run.join(run.begin(run.job(start=2)))
    held.release()
    run.join(first)
    assert sum(paid(run).values()) == OBLIGATIONS // 2 + effects - 1
    assert max(paid(run).values()) == effects
    assert paid(run)[run.payday.obligations[0].obligation_id] == effects


@on_both
def test_a_row_of_a_later_holder_is_fenced(open_payday: Open, sql: Sql) -> None:
    """A row that a later holder has had and put back cannot be claimed with an earlier token, but with its own."""
    run = open_payday("lease-fenced+blind-failover", sql=sql)
    desk = Desk(run.context())
    row = desk.get(run.payday.payday_id, run.payday.obligations[0].obligation_id)
    taken = desk.take_fenced(row, "interest#2/0", 2)
    assert taken is not None
    assert desk.change(taken, "DUE") is not None
    again = desk.get(row.payday_id, row.obligation_id)
    assert desk.take_fenced(again, "interest#1/0", 1) is None
    assert desk.take_fenced(again, "interest#2/0", 2) is not None


@pytest.mark.parametrize("lock", ["lease", "lease-fenced"])
def test_the_last_worker_gives_the_lease_up(
    open_payday: Open, lock: str, endpoints: Mapping[str, Endpoint]
) -> None:
    """The lease is there while a worker of the start works, and gone when the last one is through."""
    run = open_payday(f"{lock}+blind-failover")
    name = key(run.payday.payday_id, "lease")
    run.join(run.begin(run.job(worker=0, workers=2)))
    with redis.Redis.from_url(endpoints["redis"].url) as client:
        assert client.get(name) == b"interest#1"
        run.join(run.begin(run.job(worker=1, workers=2)))
        assert client.get(name) is None
    judge(run, ("interest",))


@pytest.mark.parametrize("lock", ["lease", "lease-fenced"])
@pytest.mark.parametrize(("timeout_s", "least_s", "most_s"), [(0.1, 0, 2), (8.0, 30, 40)])
def test_the_lease_outlives_a_slow_call(
    open_payday: Open,
    endpoints: Mapping[str, Endpoint],
    lock: str,
    timeout_s: float,
    least_s: float,
    most_s: float,
) -> None:
    """Over channels with a long time-out it lasts as long as one row may take; over prompt ones two seconds."""
    run = open_payday(f"{lock}+blind-failover")
    channel(run, "B").terms = Terms(timeout_s, 0.0, 0.0, honours_keys=True, key_retention_s=1e6)
    assert composed.load(f"{lock}+blind-failover")(run.context())._lock.claim(run.job()) is not None  # type: ignore[attr-defined]
    with redis.Redis.from_url(endpoints["redis"].url) as client:
        assert least_s * 1000 < client.pttl(key(run.payday.payday_id, "lease")) <= most_s * 1000


# --- Queue


def pending(run: PaydayRun, client: redis.Redis) -> int:
    """Return how many entries of the interest stream are handed out and not acknowledged."""
    told = client.xpending(key(run.payday.payday_id, "payouts", "interest"), queue.GROUP)
    return int(told["pending"])


def consumers(run: PaydayRun, client: redis.Redis) -> dict[bytes, int]:
    """Return how many of these entries each worker has."""
    told = client.xpending(key(run.payday.payday_id, "payouts", "interest"), queue.GROUP)
    return {each["name"]: int(each["pending"]) for each in told["consumers"]}


def test_an_entry_of_a_dead_worker_is_handed_out_again(
    open_payday: Open, endpoints: Mapping[str, Endpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next start pays it, without waiting for reconciliation, and all entries are acknowledged."""
    monkeypatch.setattr(queue, "stale_s", lambda channels: 0.0)
    run = open_payday("queue+blind-failover")
    channel(run).before = Once(die)
    run.join(run.begin(run.job()))
    with redis.Redis.from_url(endpoints["redis"].url) as client:
        assert pending(run, client) == 1
        run.age(10)
        run.join(run.begin(run.job(start=2)))
        assert pending(run, client) == 0
    judge(run, ("interest",))


class EndsEarly(Queue):
    """Ends when the stream has nothing for this worker at the moment."""

    def _wait(self, job: Job) -> None:
        return None


def test_an_entry_that_was_read_and_not_claimed_is_not_lost(
    open_payday: Open, endpoints: Mapping[str, Endpoint]
) -> None:
    """A worker dies between reading an entry and claiming its row. The next start, at once, waits until the entry
    is handed out again. Planted: a start that does not wait ends without it, and reconciliation cannot see it."""
    run = open_payday("queue+blind-failover")
    died = Queue(run.context())
    died.begin(run.job())
    assert died._next("interest#1/0") is not None
    run._kind = type("Early", (composed.load("queue+blind-failover"),), {"lock": EndsEarly})
    run.run(("interest", 2))
    run.age(10)
    run.reconcile()
    assert run.believed == {"PAID": OBLIGATIONS // 2 - 1, "DUE": OBLIGATIONS // 2 + 1}
    run._kind = composed.load("queue+blind-failover")
    run.run(("interest", 3))
    judge(run, ("interest",))
    with redis.Redis.from_url(endpoints["redis"].url) as client:
        assert pending(run, client) == 0


def test_a_job_does_not_wait_for_calls_of_others(open_payday: Open) -> None:
    """An entry whose row is claimed is its worker's, or reconciliation's: the next start ends without it."""
    run = open_payday("queue+blind-failover", count=1)
    held = Held()
    channel(run).before = Once(held)
    first = run.begin(run.job(start=1))
    held.wait()
    clock = Sleeps()
    other = Queue(run.context(clock))
    other.begin(run.job(start=2))
    assert other.claim(run.job(start=2)) is None
    assert not clock.often.acquire(blocking=False)
    held.release()
    run.join(first)
    judge(run, ("interest",))


def test_a_redelivered_entry_whose_row_is_settled_is_skipped(
    open_payday: Open, endpoints: Mapping[str, Endpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that dies between payment and acknowledgement leaves an entry that nobody pays again."""
    monkeypatch.setattr(queue, "stale_s", lambda channels: 0.0)
    run = open_payday("queue+blind-failover")
    monkeypatch.setattr(Queue, "done", lambda self, row: die())
    run.join(run.begin(run.job()))
    monkeypatch.undo()
    monkeypatch.setattr(queue, "stale_s", lambda channels: 0.0)
    with redis.Redis.from_url(endpoints["redis"].url) as client:
        assert (pending(run, client), len(paid(run))) == (1, 1)
        run.age(10)
        run.join(run.begin(run.job(start=2)))
        assert pending(run, client) == 0
    judge(run, ("interest",))


@on_both
def test_an_entry_of_a_slow_worker_is_left_to_it(
    open_payday: Open, endpoints: Mapping[str, Endpoint], monkeypatch: pytest.MonkeyPatch, sql: Sql
) -> None:
    """Redelivered while its claim is fresh, an entry is neither paid nor acknowledged by the other worker."""
    monkeypatch.setattr(queue, "stale_s", lambda channels: 0.2)
    run = open_payday("queue+blind-failover", count=1, sql=sql)
    held = Held()
    channel(run).before = Once(held)
    first = run.begin(run.job(start=1))
    held.wait()
    SystemClock().sleep(0.25)
    run.age(-10)  # as when its policy has just touched it
    other = Queue(run.context())
    other.begin(run.job(start=2))
    assert other.claim(run.job(start=2)) is None
    with redis.Redis.from_url(endpoints["redis"].url) as client:
        assert consumers(run, client) == {b"interest#2/0": 1}  # it was handed out again
        held.release()
        run.join(first)
        assert pending(run, client) == 0
    judge(run, ("interest",))


# --- Candidates


@on_both
def test_workers_begin_in_different_regions(open_payday: Open, sql: Sql) -> None:
    """Four workers that look at the same moment look at different candidates, as long as there are enough."""
    run = open_payday("cas+blind-failover", sql=sql)
    desk = Desk(run.context())
    jobs = [run.job(worker=worker, workers=2) for worker in range(2)]
    due = desk.count_due(jobs[0])
    assert due == OBLIGATIONS // 2
    seen = [{row.obligation_id for row in desk.due(job, 2, due * job.worker // job.workers)} for job in jobs]
    assert not seen[0] & seen[1]


@on_both
def test_shares_are_disjoint_whenever_they_are_read(open_payday: Open, sql: Sql) -> None:
    """A worker that reads its share after others have been paid still has its own rows only."""
    run = open_payday("none+blind-failover", sql=sql)
    desk = Desk(run.context())
    jobs = [run.job(worker=worker, workers=3) for worker in range(3)]
    early = desk.share(jobs[0])
    desk.paid(early[0], "A")
    late = [desk.share(job) for job in jobs]
    assert late[0] == [replace(row, age_s=again.age_s) for row, again in zip(early[1:], late[0], strict=True)]
    ids = [row.obligation_id for share in late for row in share]
    assert len(ids) == len(set(ids)) == OBLIGATIONS // 2 - 1


# --- What the database decides


class Wait(Protocol):
    """Starts a call; returns when the connection that it uses waits for a lock."""

    def __call__(self, client: sa.Connection, call: Callable[[], object]) -> Future[Any]: ...


@pytest.fixture
def until_blocked(open_payday: Open) -> Iterator[Callable[[PaydayRun], Wait]]:
    """Make, for a payday, what starts calls that are to wait for a lock."""
    with ExitStack() as stack:

        def make(run: PaydayRun) -> Wait:
            meanwhile = Meanwhile(run.context().sql)
            stack.callback(meanwhile.close)
            return meanwhile.until_blocked

        yield make


def first_row(desk: Desk, run: PaydayRun) -> Row:
    """Return the payday's first obligation, which the interest job pays."""
    return desk.get(run.payday.payday_id, run.payday.obligations[0].obligation_id)


# Who has to wait for a row fails. MariaDB refuses SKIP LOCKED to those who wait for no time at all.
IMPATIENT = {"postgres": "SET lock_timeout TO '1ms'", "mariadb": "SET innodb_lock_wait_timeout = 1"}


@on_both
def test_a_locked_row_keeps_nobody_from_the_others(open_payday: Open, sql: Sql) -> None:
    """While a worker has a row locked, others claim every other row, of both jobs, and wait for nothing."""
    run = open_payday("row-lock+blind-failover", sql=sql)
    holding, other = run.context(), run.context()
    Desk(holding)  # which sets what its connection locks
    job = run.job()
    held = holding.sql.execute(NEXT_DUE, {"payday": job.payday_id, "kind": job.kind}).one()
    desk = Desk(other)
    other.sql.exec_driver_sql(IMPATIENT[sql])
    taken = [
        row.obligation_id
        for each in (job, run.job("maturity"))
        for row in iter(partial(desk.take_locked, each), None)
    ]
    owed = {each.obligation_id for each in run.payday.obligations}
    assert held.obligation_id == min(owed)
    assert len(taken) == len(set(taken))
    assert set(taken) == owed - {held.obligation_id}


def test_a_claim_walks_over_nothing_else(open_payday: Open) -> None:
    """On MariaDB, when everything before it is paid, the last row that is due is found without a look, and so
    without a lock, at the others."""
    run = open_payday("row-lock+blind-failover", sql="mariadb")
    context = run.context()
    desk = Desk(context)
    *paid_rows, last = desk.share(run.job())
    for row in paid_rows:
        desk.paid(row, "A")
    walked = "SELECT SUM(variable_value) FROM information_schema.session_status WHERE variable_name IN {}".format(
        ("HANDLER_READ_NEXT", "HANDLER_READ_RND_NEXT")
    )
    earlier = context.sql.exec_driver_sql(walked).scalar_one()
    found = context.sql.execute(NEXT_DUE, {"payday": run.payday.payday_id, "kind": "interest"}).one()
    assert found.obligation_id == last.obligation_id
    assert context.sql.exec_driver_sql(walked).scalar_one() - earlier < OBLIGATIONS / 2


@on_both
def test_a_claim_is_as_young_as_its_row(
    open_payday: Open, until_blocked: Callable[[PaydayRun], Wait], sql: Sql
) -> None:
    """A claim that had to wait for its row counts from when it got it, lest it is swept up at once."""
    run = open_payday("cas+blind-failover", sql=sql)
    holding, claiming = run.context().sql, run.context()
    desk = Desk(claiming)
    row = first_row(desk, run)
    mine = obligations.c.obligation_id == row.obligation_id
    holding.execute(sa.update(obligations).where(mine).values(reason="looked at"))
    taken = until_blocked(run)(claiming.sql, lambda: desk.take(row, "interest#1/0"))
    let_go = holding.execute(sa.select(NOW)).scalar_one()
    holding.commit()
    assert taken.result(JOIN_S) is not None
    assert holding.execute(sa.select(obligations.c.since).where(mine)).scalar_one() >= let_go


@on_both
def test_time_zones_do_not_matter(open_payday: Open, sql: Sql) -> None:
    """A claim that a worker in one time zone has made is no older in another one."""
    run = open_payday("cas+blind-failover", sql=sql)
    east, west = run.context(), run.context()
    claimed, looked = Desk(east), Desk(west)
    word = {"postgres": "TIME ZONE", "mariadb": "time_zone ="}[sql]
    east.sql.exec_driver_sql(f"SET {word} '+05:00'")
    west.sql.exec_driver_sql(f"SET {word} '-05:00'")
    assert claimed.take(first_row(claimed, run), "interest#1/0") is not None
    assert 0 <= first_row(looked, run).age_s < JOIN_S


@on_both
def test_an_intent_is_entered_once(open_payday: Open, sql: Sql) -> None:
    """A worker that meets an obligation with an intent does nothing, however freshly it has read the row."""
    run = open_payday("none+unique-outbox", sql=sql)
    for context in (run.context(), run.context()):
        UniqueOutbox(context).settle(first_row(Desk(context), run))
    assert len(channel(run).calls) == 1


@pytest.mark.parametrize(("dies", "calls"), [(True, 1), (False, 0)])
@on_both
def test_two_that_wait_for_a_thirds_intent(
    open_payday: Open, until_blocked: Callable[[PaydayRun], Wait], sql: Sql, dies: bool, calls: int
) -> None:
    """When the third one dies one of them pays, else none; neither is thrown out as deadlocked."""
    run = open_payday("none+unique-outbox", sql=sql)
    third, *two = (run.context() for _ in range(3))
    desk = Desk(third)
    row = first_row(desk, run)
    assert desk.write(row, "CLAIMED") is not None
    values = {"payday": row.payday_id, "id": row.obligation_id, "intent": "third"}
    third.sql.execute(unique_outbox.ENTER[third.sql.dialect.name], values)
    wait = until_blocked(run)
    waiting = [wait(each.sql, partial(UniqueOutbox(each).settle, row)) for each in two]
    (third.sql.rollback if dies else third.sql.commit)()
    for each in waiting:
        each.result(JOIN_S)
    assert len(channel(run).calls) == calls
