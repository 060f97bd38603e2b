"""The ledger: an append-only orders table in PostgreSQL. It alone is the truth."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import psycopg

from oversold import bid_plan, evidence
from oversold.clock import Clock, now_ns
from oversold.model import Bid, Tranche
from oversold.stores.endpoint import Endpoint
from oversold.stores.postgres import connect_raw

Connection = psycopg.Connection[tuple[Any, ...]]

SCHEMA = """
CREATE TABLE IF NOT EXISTS tranches (
    tranche_id text PRIMARY KEY, capacity_fen bigint NOT NULL, status text NOT NULL DEFAULT 'open');
CREATE TABLE IF NOT EXISTS status_log (
    tranche_id text NOT NULL, status text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE IF NOT EXISTS progress (
    tranche_id text PRIMARY KEY, confirmed_fen bigint NOT NULL DEFAULT 0, version bigint NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS orders (
    bid_id text NOT NULL UNIQUE, tranche_id text NOT NULL, user_id text NOT NULL, amount_fen bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE INDEX IF NOT EXISTS orders_of_tranche ON orders (tranche_id) INCLUDE (amount_fen);
CREATE TABLE IF NOT EXISTS refused_orders (
    bid_id text NOT NULL, tranche_id text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp());
"""
WRITE = (
    "INSERT INTO orders (bid_id, tranche_id, user_id, amount_fen) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING"
)
REFUSE = "INSERT INTO refused_orders (bid_id, tranche_id) VALUES (%s, %s)"
SOLD = "SELECT coalesce(sum(amount_fen), 0)::bigint FROM orders WHERE tranche_id = %s"


class LedgerPool:
    """The few PostgreSQL connections over which one app-server process writes orders and platform rows."""

    def __init__(self, endpoint: Endpoint, clock: Clock, rtt_s: float, size: int) -> None:
        self._open = lambda: connect_raw(endpoint, clock, rtt_s, autocommit=True)
        self._idle: queue.LifoQueue[Connection | None] = queue.LifoQueue()
        self._idle.put(self._open())  # one at once, so that a server that is gone is noticed before the burst
        for _ in range(size - 1):
            self._idle.put(None)  # the others when they are first needed

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Borrow a connection; one that broke, or was interrupted in mid-statement, is thrown away."""
        connection = self._idle.get()
        healthy = False
        try:
            if connection is None:
                connection = self._open()
            yield connection
            healthy = True
        finally:
            if not healthy and connection is not None:
                connection.close()
            self._idle.put(connection if healthy else None)

    def write(self, bid: Bid) -> bool:
        """Append the order of a confirmed bid; false when the ledger has one already (which it notes)."""
        with self.connection() as connection:
            row = (bid.bid_id, bid.tranche_id, bid.user_id, bid.amount_fen)
            if connection.execute(WRITE, row).rowcount == 1:
                return True
            connection.execute(REFUSE, (bid.bid_id, bid.tranche_id))
            return False

    def sold_fen(self, tranche_id: str) -> int:
        """Return the sum of the tranche's orders, in fen."""
        with self.connection() as connection:
            row = connection.execute(SOLD, (tranche_id,)).fetchone()
        return int(row[0]) if row else 0

    def close(self) -> None:
        """Close the idle connections."""
        while not self._idle.empty():
            connection = self._idle.get()
            if connection is not None:
                connection.close()


def create(connection: Connection, tranche: Tranche) -> None:
    """Make the tables where they are missing and enter the tranche."""
    connection.execute(SCHEMA, prepare=False)
    connection.execute("INSERT INTO tranches VALUES (%s, %s)", (tranche.tranche_id, tranche.capacity_fen))
    connection.execute("INSERT INTO progress VALUES (%s)", (tranche.tranche_id,))


def wall_offset_ns(connection: Connection) -> int:
    """Return what to add to `now_ns` to get this server's wall clock, in ns since the Unix epoch."""
    best = (1 << 62, 0)
    for _ in range(5):
        before = now_ns()
        row = connection.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint").fetchone()
        after = now_ns()
        assert row is not None
        best = min(best, (after - before, int(row[0]) * 1000 - (before + after) // 2))
    return best[1]


def read(
    connection: Connection, tranche_id: str, users: int, gate_wall_ns: int
) -> tuple[evidence.Ledger, evidence.StatusLog]:
    """Return the tranche's orders and status changes; times count from `gate_wall_ns` (Unix epoch, ns)."""

    def since_gate(rows: list[tuple[Any, ...]], column: int) -> evidence.Ints:
        return np.array([int(row[column] * 1000) - gate_wall_ns for row in rows], np.int64)

    micros = "(extract(epoch FROM at) * 1000000)::bigint"
    orders = connection.execute(
        f"SELECT bid_id, amount_fen, {micros} FROM orders WHERE tranche_id = %s ORDER BY at", (tranche_id,)
    ).fetchall()
    refused = connection.execute(
        "SELECT bid_id FROM refused_orders WHERE tranche_id = %s", (tranche_id,)
    ).fetchall()
    changes = connection.execute(
        f"SELECT status, {micros} FROM status_log WHERE tranche_id = %s ORDER BY at", (tranche_id,)
    ).fetchall()
    ledger = evidence.Ledger(
        bid=np.array([bid_plan.bid_index(tranche_id, row[0], users) for row in orders], np.int64),
        amount_fen=np.array([row[1] for row in orders], np.int64),
        t=since_gate(orders, 2),
        refused=np.array([bid_plan.bid_index(tranche_id, row[0], users) for row in refused], np.int64),
    )
    log = evidence.StatusLog(since_gate(changes, 1), np.array([row[0] == "full" for row in changes], np.bool_))
    return ledger, log
