"""The known holes of the SQL strategies that lock, or let the database find the conflicts, on both servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from typing import Any

import pymysql
import pytest
import sqlalchemy as sa
from tests.between import Meanwhile, before, impatient
from tests.sale import Sale, Sell

from oversold.clock import SystemClock, seeded
from oversold.model import Claim, Hold
from oversold.plan import SQLS, Sql
from oversold.strategies.bids import serializable, serializable_retry, stock_table
from oversold.strategies.bids.conditional_update import ConditionalUpdate
from oversold.strategies.interface import Context

pytestmark = pytest.mark.servers

on_both = pytest.mark.parametrize("sql", SQLS)
OK, SOLD_OUT, BUSY = Hold("ok"), Hold("sold_out"), Hold("busy")


@pytest.fixture
def meanwhile() -> Iterator[Callable[[Sale], Meanwhile]]:
    """Make calls in other threads while a tranche is on sale; they are over when the test is."""
    with ExitStack() as stack:

        def make(sale: Sale) -> Meanwhile:
            calls = Meanwhile(sale.lane_and_clients()[1]["sql"])
            stack.callback(calls.close)
            return calls

        yield make


Calling = Callable[[Sale], Meanwhile]


def without_lock(sale: Sale) -> tuple[ConditionalUpdate, sa.Connection]:
    """Return a lane that changes the same row by one statement, and does not wait for it."""
    client = sale.lane_and_clients()[1]["sql"]
    impatient(client)
    return ConditionalUpdate(Context({"sql": client}, SystemClock(), seeded("other"))), client


# --- The convoy


@on_both
@pytest.mark.parametrize(
    ("name", "stopped"), [("row-lock", ["COMMIT", "UPDATE stock"]), ("conditional-update", [])]
)
def test_row_is_locked_between_statements(sell: Sell, sql: Sql, name: str, stopped: list[str]) -> None:
    """Whoever comes between two statements of a row lock's bidder has to wait; one statement has no between."""
    sale = sell(name, 1000, sql)
    lane, clients = sale.lane_and_clients()
    other, client = without_lock(sale)
    found = []

    def come(word: str) -> None:
        with suppress(sa.exc.OperationalError):
            assert other.reserve(sale.bid(1)) == OK
            return
        client.rollback()
        found.append(word)

    for word in ("SELECT", "UPDATE stock", "COMMIT"):
        before(clients["sql"], word, lambda word=word: come(word), times=1)
    assert lane.reserve(sale.bid(100)) == OK
    assert sorted(found) == stopped
    assert other.reserve(sale.bid(1)) == OK  # planted: after the bid nobody has to wait


# --- Advisory locks


@on_both
@pytest.mark.parametrize(("name", "told"), [("advisory-lock-early", OK), ("advisory-lock", SOLD_OUT)])
def test_lock_given_up_before_the_commit(sell: Sell, meanwhile: Calling, sql: Sql, name: str, told: Hold) -> None:
    """Somebody comes just before a bidder's commit: free to read the old stock both buy it, else one does."""
    sale = sell(name, 1000, sql)
    (lane, clients), (rival, others) = sale.lane_and_clients(), sale.lane_and_clients()
    calls = meanwhile(sale)
    running: list[Future[Any]] = []
    bid = sale.bid(600)
    before(
        clients["sql"],
        "COMMIT",
        lambda: running.append(calls.until_blocked(others["sql"], lambda: rival.reserve(bid))),
    )
    assert lane.reserve(sale.bid(600)) == OK
    assert running[0].result() == told
    assert sale.claim == Claim("open", 400)  # even where 1,200 of 1,000 are sold


@on_both
@pytest.mark.parametrize(("name", "told"), [("advisory-lock-try", BUSY), ("advisory-lock", OK)])
def test_lock_that_is_not_waited_for(sell: Sell, meanwhile: Calling, sql: Sql, name: str, told: Hold) -> None:
    """Who comes while another bidder has the lock is told busy though stock remains; one who waits gets it."""
    sale = sell(name, 1000, sql)
    (lane, clients), (rival, others) = sale.lane_and_clients(), sale.lane_and_clients()
    calls = meanwhile(sale)
    running: list[Future[Any]] = []
    bid = sale.bid(100)
    before(
        clients["sql"],
        "UPDATE stock",
        lambda: running.append(calls.until_blocked(others["sql"], lambda: rival.reserve(bid))),
    )
    assert lane.reserve(sale.bid(100)) == OK
    assert running[0].result() == told
    assert rival.reserve(sale.bid(100)) == OK  # planted: nobody has the lock now
    assert sale.claim.remaining_fen == 1000 - 100 * (3 if told == OK else 2)


@on_both
@pytest.mark.parametrize("name", ["advisory-lock-try", "advisory-lock"])
def test_release_waits_for_the_lock(sell: Sell, meanwhile: Calling, sql: Sql, name: str) -> None:
    """A release that comes between a bidder's read and write waits, so neither undoes the other."""
    sale = sell(name, 1000, sql)
    (lane, clients), (rival, others) = sale.lane_and_clients(), sale.lane_and_clients()
    calls = meanwhile(sale)
    running: list[Future[Any]] = []
    bid, held = sale.reserve(600)
    before(
        clients["sql"],
        "UPDATE stock",
        lambda: running.append(calls.until_blocked(others["sql"], lambda: rival.release(bid, held))),
    )
    assert lane.reserve(sale.bid(100)) == OK
    assert running[0].result() is True
    assert sale.claim == Claim("open", 900)


@on_both
@pytest.mark.parametrize(("name", "sold_fen"), [("advisory-lock", 1200), ("row-lock", 600)])
def test_one_caller_who_forgets_the_lock(sell: Sell, sql: Sql, name: str, sold_fen: int) -> None:
    """One who changes the row without asking oversells beside an advisory lock; a row lock stops everybody."""
    sale = sell(name, 1000, sql)
    lane, clients = sale.lane_and_clients()
    other, client = without_lock(sale)
    told = []

    def forget() -> None:
        try:
            told.append(other.reserve(sale.bid(600)))
        except sa.exc.OperationalError:
            client.rollback()

    before(clients["sql"], "UPDATE stock", forget)
    told.append(lane.reserve(sale.bid(600)))
    assert told.count(OK) * 600 == sold_fen
    assert sale.claim == Claim("open", 400)


@on_both
@pytest.mark.parametrize("name", ["advisory-lock", "advisory-lock-try", "advisory-lock-early"])
def test_lock_goes_when_the_work_fails(sell: Sell, sql: Sql, name: str) -> None:
    """A bidder whose statement fails has nothing, and the next one does not find the lock taken."""
    sale = sell(name, 1000, sql)
    lane, clients = sale.lane_and_clients()

    def fail() -> None:
        raise ConnectionAbortedError

    before(clients["sql"], "UPDATE stock", fail)
    with pytest.raises(ConnectionAbortedError):
        lane.reserve(sale.bid(100))
    assert sale.reserve(1000)[1] == OK


# --- SERIALIZABLE


class Rival:
    """Somebody whose transaction is in the way of a bidder's, who has read and is about to write.

    On PostgreSQL it has written and committed meanwhile. On MariaDB it has read as well and waits for the bidder;
    then the bidder's write makes a deadlock, in which the one is undone who has changed less.
    """

    def __init__(self, sale: Sale, calls: Meanwhile) -> None:
        self._sql = sale.lane_and_clients()[1]["sql"].execution_options(isolation_level="SERIALIZABLE")
        self._calls, self._tranche = calls, sale.tranche.tranche_id
        self._writing: Future[Any] | None = None
        self._rows = 0

    def finish(self) -> None:
        """Wait until what was begun is committed."""
        if self._writing is not None:
            self._writing.result()

    def overtake(self) -> None:
        """Be in the way of the write that comes now: one fen is sold."""
        remaining = self._sql.execute(stock_table.REMAINING, {"tranche": self._tranche}).scalar_one()
        for _ in range(20):
            self._rows += 1
            row = {"tranche_id": self._tranche, "bid_id": f"row {self._rows}"}
            self._sql.execute(sa.insert(stock_table.released).values(row))
        self._writing = self._calls.until_blocked(self._sql, lambda: self._write(remaining - 1))

    def _write(self, rest: int) -> None:
        self._sql.execute(stock_table.WRITE, {"tranche": self._tranche, "rest": rest})
        self._sql.commit()


def overtaken(sell: Sell, meanwhile: Calling, sql: Sql, name: str, times: int) -> tuple[Hold, int, Claim]:
    """Let a rival be in the way of a bidder's first writes; return its answer, its writes and the claim."""
    sale = sell(name, 1000, sql)
    lane, clients = sale.lane_and_clients()
    rival = Rival(sale, meanwhile(sale))
    before(clients["sql"], "SELECT", rival.finish, times=1000)
    writes = before(clients["sql"], "UPDATE stock", rival.overtake, times)
    told = lane.reserve(sale.bid(100))
    rival.finish()
    return told, len(writes), sale.claim


@on_both
def test_serializable_is_busy_while_stock_remains(sell: Sell, meanwhile: Calling, sql: Sql) -> None:
    """Undone three times by the database, a bidder is told busy though nearly all of the stock is there."""
    assert overtaken(sell, meanwhile, sql, "serializable", times=3) == (BUSY, 3, Claim("open", 997))
    assert overtaken(sell, meanwhile, sql, "serializable", times=2) == (OK, 3, Claim("open", 898))


@on_both
def test_serializable_retry_goes_on(
    sell: Sell, meanwhile: Calling, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With patience the same bidder gets its share at the fourth try; the work in vain is what it costs."""
    assert overtaken(sell, meanwhile, sql, "serializable-retry", times=3) == (OK, 4, Claim("open", 897))
    monkeypatch.setattr(serializable_retry, "TRIES", 2)
    assert overtaken(sell, meanwhile, sql, "serializable-retry", times=100) == (BUSY, 2, Claim("open", 998))


@pytest.mark.parametrize(("tries", "left_fen"), [(2, 999), (1, 399)])
def test_release_that_is_undone(
    sell: Sell, meanwhile: Calling, monkeypatch: pytest.MonkeyPatch, tries: int, left_fen: int
) -> None:
    """On PostgreSQL a release can be undone as well: it tries again, and once it has no more tries it says so."""
    monkeypatch.setattr(serializable, "RELEASE_TRIES", tries)
    sale = sell("serializable", 1000)
    bid, held = sale.reserve(600)
    lane, clients = sale.lane_and_clients()
    rival = sale.lane_and_clients()[1]["sql"]
    rival.execute(stock_table.WRITE, {"tranche": sale.tranche.tranche_id, "rest": 399})
    releasing = meanwhile(sale).until_blocked(clients["sql"], lambda: lane.release(bid, held))
    rival.commit()
    assert releasing.result() is (tries > 1)
    assert sale.claim == Claim("open", left_fen)


@on_both
def test_status_that_is_undone(sell: Sell, sql: Sql) -> None:
    """Where even a reader can be undone the strategy claims no number, and the next time it has one."""
    sale = sell("serializable", 1000, sql)
    lane, clients = sale.lane_and_clients()

    def undo() -> None:
        raise sa.exc.OperationalError("", None, pymysql.err.OperationalError(1020, "has changed"))

    before(clients["sql"], "SELECT", undo)
    claims = [lane.status(sale.tranche.tranche_id) for _ in range(2)]
    assert claims == [Claim("open", None), Claim("open", 1000)]


@on_both
def test_other_errors_are_no_conflicts(sell: Sell, sql: Sql) -> None:
    """What is no conflict is not taken for one: the error goes out at the first try."""
    sale = sell("serializable", 1000, sql)
    lane, clients = sale.lane_and_clients()
    impatient(clients["sql"])
    rival = sale.lane_and_clients()[1]["sql"]
    rival.execute(stock_table.WRITE, {"tranche": sale.tranche.tranche_id, "rest": 999})
    tries = before(clients["sql"], "SELECT", lambda: None)
    with pytest.raises(sa.exc.OperationalError):
        lane.reserve(sale.bid(100))
    assert len(tries) == 1
