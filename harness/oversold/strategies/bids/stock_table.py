"""The SQL tables that the row strategies share: one stock row a tranche, one marker a released bid."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from oversold.model import Bid, Claim, Tranche

metadata = sa.MetaData()
stock = sa.Table(
    "stock",
    metadata,
    sa.Column("tranche_id", sa.Text, primary_key=True),
    sa.Column("remaining_fen", sa.BigInteger, nullable=False),
)
released = sa.Table(
    "released",
    metadata,
    sa.Column("tranche_id", sa.Text, primary_key=True),
    sa.Column("bid_id", sa.Text, primary_key=True),
)

REMAINING = sa.select(stock.c.remaining_fen).where(stock.c.tranche_id == sa.bindparam("tranche"))
GIVE_BACK = (
    sa.update(stock)
    .where(stock.c.tranche_id == sa.bindparam("tranche"))
    .values(remaining_fen=stock.c.remaining_fen + sa.bindparam("amount"))
)
MARK_RELEASED = (
    insert(released)
    .values(tranche_id=sa.bindparam("tranche"), bid_id=sa.bindparam("bid"))
    .on_conflict_do_nothing()
)


def put_stock(sql: sa.Connection, tranche: Tranche) -> None:
    """Make the tables where they are missing and insert the tranche's row."""
    metadata.create_all(sql)
    sql.execute(sa.insert(stock).values(tranche_id=tranche.tranche_id, remaining_fen=tranche.capacity_fen))
    sql.commit()


def give_back(sql: sa.Connection, bid: Bid) -> None:
    """Add the bid's amount to the stock unless it was given back before; marker and stock commit together."""
    marked = sql.execute(MARK_RELEASED, {"tranche": bid.tranche_id, "bid": bid.bid_id})
    if marked.rowcount == 1:
        sql.execute(GIVE_BACK, {"tranche": bid.tranche_id, "amount": bid.amount_fen})
    sql.commit()


def claim(sql: sa.Connection, tranche_id: str) -> Claim:
    """Report the stock row."""
    remaining = int(sql.execute(REMAINING, {"tranche": tranche_id}).scalar_one())
    sql.commit()
    return Claim("open" if remaining > 0 else "full", remaining)
