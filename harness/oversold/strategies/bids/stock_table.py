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
# One statement: marker and stock change together or not at all, and the stock row is locked for one round trip.
MARKED = (
    insert(released)
    .values(tranche_id=sa.bindparam("tranche"), bid_id=sa.bindparam("bid"))
    .on_conflict_do_nothing()
    .returning(released.c.bid_id)
    .cte("marked")
)
GIVE_BACK = (
    sa.update(stock)
    .where(stock.c.tranche_id == sa.bindparam("tranche"), sa.exists(sa.select(MARKED.c.bid_id)))
    .values(remaining_fen=stock.c.remaining_fen + sa.bindparam("amount"))
    .add_cte(MARKED)
)


def put_stock(sql: sa.Connection, tranche: Tranche) -> None:
    """Make the tables where they are missing and insert the tranche's row."""
    metadata.create_all(sql)
    sql.execute(sa.insert(stock).values(tranche_id=tranche.tranche_id, remaining_fen=tranche.capacity_fen))
    sql.commit()


def give_back(sql: sa.Connection, bid: Bid) -> None:
    """Add the bid's amount to the stock unless it was given back before."""
    sql.execute(GIVE_BACK, {"tranche": bid.tranche_id, "bid": bid.bid_id, "amount": bid.amount_fen})
    sql.commit()


def claim(sql: sa.Connection, tranche_id: str) -> Claim:
    """Report the stock row."""
    remaining = int(sql.execute(REMAINING, {"tranche": tranche_id}).scalar_one())
    sql.commit()
    return Claim("open" if remaining > 0 else "full", remaining)
