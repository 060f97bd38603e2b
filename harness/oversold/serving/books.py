"""What the server's processes know in common, in the ledger's PostgreSQL: tranches on offer, bids under way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, cast, get_args

import psycopg

from oversold.model import Bid, Tranche
from oversold.platform import ledger as ledgers
from oversold.platform.ledger import Connection, LedgerPool

# What becomes of a bid. pending: it is being decided. declined: a step of ours failed, such as the payment.
# error: not sold. unknown: a store did not answer in time, so nobody knows.
Word = Literal["confirmed", "pending", "sold_out", "busy", "declined", "error", "unknown"]
WORDS: tuple[Word, ...] = get_args(Word)

SCHEMA = """
CREATE TABLE IF NOT EXISTS served_tranches (
    tranche_id text PRIMARY KEY, capacity_fen bigint NOT NULL, unit_fen bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE IF NOT EXISTS served_bids (
    bid_id text PRIMARY KEY, tranche_id text NOT NULL, user_id text NOT NULL, amount_fen bigint NOT NULL,
    status text NOT NULL);
"""
# Strategies lock with one number of 64 bits; PostgreSQL keeps pairs of numbers apart from those.
LOCK_OPENING = "SELECT pg_advisory_xact_lock(20775, 1)"
TAKEN = "SELECT 1 FROM tranches WHERE tranche_id = %s"
ENTER = "INSERT INTO served_tranches (tranche_id, capacity_fen, unit_fen) VALUES (%s, %s, %s)"
TRANCHE = "SELECT tranche_id, capacity_fen, unit_fen FROM served_tranches WHERE tranche_id = %s"
NEWEST = "SELECT tranche_id FROM served_tranches ORDER BY at DESC LIMIT %s"
ORDERS = """
SELECT bid_id, user_id, amount_fen, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
FROM orders WHERE tranche_id = %s ORDER BY at
"""
# Whoever held nothing may try again. All other answers stay: strategies release the hold of a bid only once.
CLAIM = """
INSERT INTO served_bids AS held (bid_id, tranche_id, user_id, amount_fen, status)
VALUES (%s, %s, %s, %s, 'pending')
ON CONFLICT (bid_id) DO UPDATE SET status = 'pending'
WHERE held.status IN ('sold_out', 'busy') AND held.tranche_id = excluded.tranche_id
AND held.user_id = excluded.user_id AND held.amount_fen = excluded.amount_fen
RETURNING 1
"""
HELD = "SELECT bid_id, tranche_id, user_id, amount_fen, status FROM served_bids WHERE bid_id = %s"
SETTLE = "UPDATE served_bids SET status = %s WHERE bid_id = %s"
WORD = """
SELECT 'confirmed' FROM orders WHERE bid_id = %(bid)s AND tranche_id = %(tranche)s
UNION ALL SELECT status FROM served_bids WHERE bid_id = %(bid)s AND tranche_id = %(tranche)s LIMIT 1
"""


class TakenError(Exception):
    """There is a tranche of this name already."""


class AnotherBidError(Exception):
    """The bid_id belongs to a bid of another tranche, user or amount."""


def create(connection: Connection) -> None:
    """Make the ledger's tables and the server's own where they are missing. Not for two at once."""
    connection.execute(ledgers.SCHEMA, prepare=False)
    connection.execute(SCHEMA, prepare=False)


def newest(connection: Connection, count: int) -> list[str]:
    """Return the ids of the tranches that were opened last."""
    return [row[0] for row in connection.execute(NEWEST, (count,))]


class Books:
    """One process's view, over its few connections to the ledger."""

    def __init__(self, pool: LedgerPool) -> None:
        self._pool = pool

    @contextmanager
    def opening(self, tranche: Tranche) -> Iterator[None]:
        """Enter a tranche when the block has opened it; one process at a time, since strategies make tables.

        Raises:
            TakenError: there is one of this name, of this server or of another run in the same ledger.
        """
        with self._pool.connection() as connection, connection.transaction():
            connection.execute(LOCK_OPENING)
            if connection.execute(TAKEN, (tranche.tranche_id,)).fetchone():
                raise TakenError
            yield
            # Last, since making the ledger's tables keeps others from writing orders until the commit.
            try:
                ledgers.create(connection, tranche)
            except psycopg.errors.UniqueViolation as error:
                raise TakenError from error
            connection.execute(ENTER, (tranche.tranche_id, tranche.capacity_fen, tranche.unit_fen))

    def tranche(self, tranche_id: str) -> Tranche | None:
        """Return a tranche that this server has opened, in whichever process."""
        with self._pool.connection() as connection:
            row = connection.execute(TRANCHE, (tranche_id,)).fetchone()
        return Tranche(*row) if row else None

    def orders(self, tranche_id: str) -> list[dict[str, str | int]]:
        """Return the tranche's orders, oldest first: bid_id, user_id, amount_fen, at (ISO 8601, UTC)."""
        with self._pool.connection() as connection:
            rows = connection.execute(ORDERS, (tranche_id,)).fetchall()
        return [dict(zip(("bid_id", "user_id", "amount_fen", "at"), row, strict=True)) for row in rows]

    def known(self, bid: Bid) -> Word | None:
        """Return what has become of a bid, or is about to; None where it is new.

        Raises:
            AnotherBidError.
        """
        with self._pool.connection() as connection:
            held = connection.execute(HELD, (bid.bid_id,)).fetchone()
        if held is None:
            return None
        if Bid(*held[:4]) != bid:
            raise AnotherBidError
        return cast(Word, held[4])

    def claim(self, bid: Bid) -> Word | None:
        """Take a bid for deciding: None, and it is the caller's; else see `known`.

        Raises:
            AnotherBidError.
        """
        row = (bid.bid_id, bid.tranche_id, bid.user_id, bid.amount_fen)
        with self._pool.connection() as connection:
            if connection.execute(CLAIM, row).fetchone():
                return None
        return self.known(bid)

    def settle(self, bid_id: str, word: Word) -> None:
        """Write down what has become of a claimed bid."""
        with self._pool.connection() as connection:
            connection.execute(SETTLE, (word, bid_id))

    def word(self, tranche_id: str, bid_id: str) -> Word | None:
        """Return what has become of a bid, None where nothing is known of it. An order decides."""
        with self._pool.connection() as connection:
            row = connection.execute(WORD, {"bid": bid_id, "tranche": tranche_id}).fetchone()
        return cast(Word, row[0]) if row else None
