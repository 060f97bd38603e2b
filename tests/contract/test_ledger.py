"""The ledger over a real PostgreSQL: an order is written once, and the audit reads what was written."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from oversold.bid_plan import bid_id
from oversold.model import Bid, Tranche
from oversold.platform import ledger
from oversold.platform.ledger import Connection, LedgerPool

pytestmark = pytest.mark.servers

USERS = 10
MAX_FEN = 10**16


def bid(tranche: Tranche, index: int, amount_fen: int = 7) -> Bid:
    """Return bid `index` of the plan."""
    return Bid(bid_id(tranche.tranche_id, index), tranche.tranche_id, f"user-{index}", amount_fen)


def backend(connection: Connection) -> int:
    """Return the process id of the server's end."""
    return connection.info.backend_pid


class Interrupted(BaseException):
    """Comes out of nowhere in mid-statement, like the one that ends a hung call."""


def test_written_once(sql: Connection, tranche: Tranche, new_pool: Callable[[int], LedgerPool]) -> None:
    """The first order of a bid is written; another one is refused, noted, and changes nothing."""
    pool = new_pool(1)
    assert pool.write(bid(tranche, 3)) is True
    assert pool.write(bid(tranche, 3, amount_fen=900)) is False
    assert pool.write(bid(tranche, 4, MAX_FEN)) is True
    book, _ = ledger.read(sql, tranche.tranche_id, USERS, 0)
    assert book.bid.tolist() == [3, 4]
    assert book.amount_fen.tolist() == [7, MAX_FEN]
    assert book.refused.tolist() == [3]
    assert pool.sold_fen(tranche.tranche_id) == book.confirmed_fen == 7 + MAX_FEN


def test_written_once_by_many(sql: Connection, tranche: Tranche, new_pool: Callable[[int], LedgerPool]) -> None:
    """Of eight lanes that write the same order at once, one succeeds."""
    pool = new_pool(8)
    with ThreadPoolExecutor(8) as lanes:
        written = list(lanes.map(pool.write, [bid(tranche, 0)] * 8))
    assert sorted(written) == [False] * 7 + [True]
    book, _ = ledger.read(sql, tranche.tranche_id, USERS, 0)
    assert (book.bid.tolist(), book.refused.tolist()) == ([0], [0] * 7)


def test_second_order_is_seen_where_the_table_lets_it_in(
    sql: Connection, tranche: Tranche, new_pool: Callable[[int], LedgerPool]
) -> None:
    """Planted: a table without its UNIQUE takes a bid's second order, and the audit gets to read both."""
    sql.execute("CREATE TEMPORARY TABLE orders (LIKE orders INCLUDING DEFAULTS)")  # hides the real one from us
    row = (bid_id(tranche.tranche_id, 3), tranche.tranche_id, "user-3", 7)
    assert [sql.execute(ledger.WRITE, row).rowcount for _ in range(2)] == [1, 1]
    assert ledger.read(sql, tranche.tranche_id, USERS, 0)[0].bid.tolist() == [3, 3]
    assert new_pool(1).sold_fen(tranche.tranche_id) == 0


def test_read_counts_time_from_the_gate(sql: Connection, tranche: Tranche) -> None:
    """Times are nanoseconds since the gate opened, in order, to the microsecond; negative before it."""
    gate_ns = 1_900_000_000 * 10**9 + 123_456_000
    gate = datetime.fromtimestamp(1_900_000_000, UTC) + timedelta(microseconds=123_456)
    offsets_us = {5: 2_000_001, 6: 0, 7: -3}
    for index, us in offsets_us.items():
        sql.execute(
            "INSERT INTO orders VALUES (%s, %s, '', 1, %s)",
            (bid_id(tranche.tranche_id, index), tranche.tranche_id, gate + timedelta(microseconds=us)),
        )
    for status, us in (("full", 10), ("open", 20)):
        row = (tranche.tranche_id, status, gate + timedelta(microseconds=us))
        sql.execute("INSERT INTO status_log VALUES (%s, %s, %s)", row)
    book, log = ledger.read(sql, tranche.tranche_id, USERS, gate_ns)
    assert book.bid.tolist() == [7, 6, 5]
    assert book.t.tolist() == [-3_000, 0, 2_000_001_000]
    assert (log.t.tolist(), log.full.tolist()) == ([10_000, 20_000], [True, False])


def test_read_knows_no_foreign_bids(
    sql: Connection, tranche: Tranche, new_tranche: Callable[[int], Tranche], new_pool: Callable[[int], LedgerPool]
) -> None:
    """An order whose bid the plan does not know is read as -1, one of another tranche not at all."""
    pool, other = new_pool(1), new_tranche(1)
    strange = [f"{other.tranche_id}-000001", bid_id(tranche.tranche_id, USERS), f"{tranche.tranche_id}-1", "x"]
    for number, text in enumerate(strange):
        assert pool.write(Bid(text, tranche.tranche_id, "user", 1 + number))
    assert pool.write(Bid(f"{tranche.tranche_id}-000002", other.tranche_id, "user", 1))
    assert pool.write(bid(tranche, 9))
    assert not pool.write(Bid("x", tranche.tranche_id, "user", 1))
    book, _ = ledger.read(sql, tranche.tranche_id, USERS, 0)
    assert sorted(book.bid.tolist()) == [-1, -1, -1, -1, 9]
    assert book.refused.tolist() == [-1]


def test_order_time_is_now(sql: Connection, tranche: Tranche, new_pool: Callable[[int], LedgerPool]) -> None:
    """An order carries the moment it was written, by this machine's clock."""
    pool = new_pool(1)
    before = time.time_ns()
    pool.write(bid(tranche, 1))
    after = time.time_ns()
    (t,) = ledger.read(sql, tranche.tranche_id, USERS, before)[0].t.tolist()
    assert -1_000_000 <= t <= after - before + 1_000_000


def test_interrupted_connection_is_thrown_away(new_pool: Callable[[int], LedgerPool]) -> None:
    """A connection whose statement was interrupted is not lent again; a healthy one is."""
    pool = new_pool(1)
    with pool.connection() as healthy:
        first = backend(healthy)
    with suppress(Interrupted), pool.connection() as busy:
        assert backend(busy) == first
        busy.pgconn.send_query(b"SELECT pg_sleep(5)")
        raise Interrupted
    assert busy.closed
    with pool.connection() as fresh:
        assert backend(fresh) != first
        assert fresh.execute("SELECT 1").fetchone() == (1,)


def test_interrupted_connection_is_of_no_use(sql: Connection) -> None:
    """Planted: the connection that the pool throws away would not have served the next one."""
    sql.pgconn.send_query(b"SELECT pg_sleep(5)")
    with pytest.raises(psycopg.OperationalError):
        sql.execute("SELECT 1")


def test_broken_connection_is_replaced(
    sql: Connection, tranche: Tranche, new_pool: Callable[[int], LedgerPool]
) -> None:
    """When the server ends a connection the write on it fails, and the next one succeeds."""
    pool = new_pool(1)
    with pool.connection() as connection:
        lost = backend(connection)
    sql.execute("SELECT pg_terminate_backend(%s, 5000)", (lost,))
    with pytest.raises(psycopg.OperationalError):
        pool.write(bid(tranche, 1))
    assert pool.write(bid(tranche, 1)) is True


def test_pool_lends_no_more_than_its_size(new_pool: Callable[[int], LedgerPool]) -> None:
    """Two lanes on a pool of two have a connection each; a third one waits until one comes back."""
    pool = new_pool(2)
    with ThreadPoolExecutor(1) as lane, pool.connection() as one:
        with pool.connection() as two:
            assert backend(one) != backend(two)
            third = lane.submit(pool.sold_fen, "nobody's")
            with pytest.raises(TimeoutError):
                third.result(timeout=0.2)
        assert third.result(timeout=10) == 0
