"""The SQL tables that the row strategies share: one stock row a tranche, one marker a released bid."""

from __future__ import annotations

from typing import ClassVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from oversold.model import Bid, Claim, Hold, Tranche
from oversold.strategies.dialects import ID, insert_once
from oversold.strategies.interface import Context

# What PostgreSQL and MariaDB say when transactions are in each other's way and one of them was undone:
# serialization failure and deadlock; deadlock, and a row that has changed since it was read.
CONFLICTS = frozenset({"40001", "40P01", 1213, 1020})

metadata = sa.MetaData()
stock = sa.Table(
    "stock",
    metadata,
    sa.Column("tranche_id", ID, primary_key=True),
    sa.Column("remaining_fen", sa.BigInteger, nullable=False),
    # Counts the changes, for those who compare it.
    sa.Column("version", sa.BigInteger, nullable=False, server_default="0"),
)
released = sa.Table(
    "released",
    metadata,
    sa.Column("tranche_id", ID, primary_key=True),
    sa.Column("bid_id", ID, primary_key=True),
)

OF_TRANCHE = stock.c.tranche_id == sa.bindparam("tranche")
REMAINING = sa.select(stock.c.remaining_fen).where(OF_TRANCHE)
# Writes what the bidder computed from what it read: right only if nobody else wrote in between.
WRITE = sa.update(stock).where(OF_TRANCHE).values(remaining_fen=sa.bindparam("rest"))
ADD = (
    sa.update(stock)
    .where(OF_TRANCHE)
    .values(remaining_fen=stock.c.remaining_fen + sa.bindparam("amount"), version=stock.c.version + 1)
)

MARK = insert_once(released, tranche_id=sa.bindparam("tranche"), bid_id=sa.bindparam("bid"))
# One statement: marker and stock change together or not at all, and the stock row is locked for one round trip.
# MariaDB has no such statement.
MARKED = postgresql.insert(released).values(tranche_id=sa.bindparam("tranche"), bid_id=sa.bindparam("bid"))
MARKED_ROWS = MARKED.on_conflict_do_nothing().returning(released.c.bid_id).cte("marked")
GIVE_BACK = ADD.where(sa.exists(sa.select(MARKED_ROWS.c.bid_id))).add_cte(MARKED_ROWS)


def put_stock(sql: sa.Connection, tranche: Tranche) -> None:
    """Make the tables where they are missing and insert the tranche's row."""
    metadata.create_all(sql)
    sql.execute(sa.insert(stock).values(tranche_id=tranche.tranche_id, remaining_fen=tranche.capacity_fen))
    sql.commit()


def give_back(sql: sa.Connection, bid: Bid) -> None:
    """Add the bid's amount to the stock unless it was given back before."""
    values = {"tranche": bid.tranche_id, "bid": bid.bid_id, "amount": bid.amount_fen}
    if sql.dialect.name == "postgresql":
        sql.execute(GIVE_BACK, values)
    else:
        sql.exec_driver_sql("BEGIN")  # one transaction, also on a connection that commits by itself
        if sql.execute(MARK[sql.dialect.name], values).rowcount == 1:
            sql.execute(ADD, values)
    sql.commit()


def claim(sql: sa.Connection, tranche_id: str) -> Claim:
    """Report the stock row."""
    remaining = int(sql.execute(REMAINING, {"tranche": tranche_id}).scalar_one())
    sql.commit()
    return Claim("open" if remaining > 0 else "full", remaining)


def is_conflict(error: sa.exc.DBAPIError) -> bool:
    """Return whether the server undid the transaction because of another one, so that it may be tried again."""
    number = error.orig.args[0] if error.orig is not None and error.orig.args else None
    return bool({getattr(error.orig, "sqlstate", None), number} & CONFLICTS)


class StockRow:
    """All of a strategy over the stock row but its `reserve`: what is reserved is taken from the row at once."""

    stores: ClassVar[frozenset[str]] = frozenset({"sql"})

    def __init__(self, context: Context) -> None:
        self._sql = context.sql

    def open(self, tranche: Tranche) -> None:
        """Insert the stock row."""
        put_stock(self._sql, tranche)

    def confirm(self, bid: Bid, hold: Hold) -> bool:
        """Nothing to do: the stock was taken when it was reserved."""
        return True

    def release(self, bid: Bid, hold: Hold) -> bool:
        """Give the amount back once."""
        give_back(self._sql, bid)
        return True

    def status(self, tranche_id: str) -> Claim:
        """Report the stock row."""
        return claim(self._sql, tranche_id)
