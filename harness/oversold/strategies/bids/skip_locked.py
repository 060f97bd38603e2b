"""Pre-split stock: a row for each unit, and nobody waits for a row that another bidder has."""

from __future__ import annotations

from typing import Any, ClassVar

import sqlalchemy as sa

from oversold.errors import LimitError
from oversold.model import Bid, Claim, Hold, Tranche
from oversold.strategies.bids.stock_table import metadata
from oversold.strategies.dialects import ID
from oversold.strategies.interface import Context

MAX_UNITS = 1_000_000
FREE = ""  # the bid that has a unit which nobody has

units = sa.Table(
    "units",
    metadata,
    sa.Column("tranche_id", ID, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("fen", sa.BigInteger, nullable=False),
    sa.Column("bid_id", ID, nullable=False, server_default=FREE),
)
# In this order the free units of a tranche are read, and those of a bid found again.
sa.Index("units_by_bid", units.c.tranche_id, units.c.bid_id, units.c.number)

# Left to itself MariaDB takes the primary key: it walks over all that is sold to the first free unit, and releases
# wait for units that others have locked.
BY_BID = "FORCE INDEX (units_by_bid)"
OF_TRANCHE = units.c.tranche_id == sa.bindparam("tranche")
UNIT = sa.select(units.c.fen).where(OF_TRANCHE, units.c.number == 0)
SOME_FREE = (
    sa.select(units.c.number, units.c.fen)
    .where(OF_TRANCHE, units.c.bid_id == FREE)
    .order_by(units.c.number)
    .limit(sa.bindparam("wanted"))
    .with_for_update(skip_locked=True)
    .with_hint(units, BY_BID, "mariadb")
)
TAKE = (
    sa.update(units)
    .where(OF_TRANCHE, units.c.number.in_(sa.bindparam("numbers", expanding=True)))
    .values(bid_id=sa.bindparam("bid"))
)
GIVE_BACK = (
    sa.update(units)
    .where(OF_TRANCHE, units.c.bid_id == sa.bindparam("bid"))
    .values(bid_id=FREE)
    .with_hint(BY_BID, dialect_name="mariadb")
)
LEFT = sa.select(sa.func.coalesce(sa.func.sum(units.c.fen), 0)).where(OF_TRANCHE, units.c.bid_id == FREE)


def numbers(dialect: str, count: int) -> tuple[sa.FromClause, sa.ColumnElement[Any]]:
    """Return what counts from 0 to `count` - 1 inside the server, and its only column."""
    if dialect == "postgresql":
        series = sa.func.generate_series(0, count - 1).table_valued("number").render_derived()
        return series, series.c.number
    sequence = sa.table(f"seq_0_to_{count - 1}", sa.column("seq", sa.Integer))
    return sequence, sequence.c.seq


class SkipLocked:
    """Split the stock into a row for each unit; SELECT free ones FOR UPDATE SKIP LOCKED and write the bid on them.

    Guarantee: never more than the capacity is held, nobody waits for a row, and every unit knows whose it is.

    Known hole: says sold out while rows are merely locked. Towards the end other bidders have the last units
    locked for a moment; whoever comes then sees none, and is sent away for good though some of them come back.
    """

    stores: ClassVar[frozenset[str]] = frozenset({"sql"})

    def __init__(self, context: Context) -> None:
        # MariaDB's REPEATABLE READ would lock the gaps between the units as well.
        self._sql = context.sql.execution_options(isolation_level="READ COMMITTED")
        self._units_fen: dict[str, int] = {}  # never changes, so each lane asks once a tranche

    def open(self, tranche: Tranche) -> None:
        """Insert the units; the last one has the rest.

        Raises:
            LimitError: more than a million units.
        """
        unit, capacity = tranche.unit_fen, tranche.capacity_fen
        count = -(-capacity // unit)
        if count > MAX_UNITS:
            raise LimitError(
                f"this strategy keeps a row for each unit, {MAX_UNITS} at most: {capacity} fen in units "
                f"of {unit} fen are {count} rows: set a larger smallest bid (--set min_bid_fen=...)"
            )
        metadata.create_all(self._sql)
        counting, number = numbers(self._sql.dialect.name, count)
        whole, rest = (sa.literal(fen, sa.BigInteger) for fen in (unit, capacity - unit * (count - 1)))
        fen = sa.case((number == count - 1, rest), else_=whole)
        rows = sa.select(sa.literal(tranche.tranche_id), number, fen).select_from(counting)
        self._sql.execute(sa.insert(units).from_select(["tranche_id", "number", "fen"], rows))
        self._sql.commit()

    def reserve(self, bid: Bid) -> Hold:
        """Lock as many free units as the bid needs, pass over locked ones, and mark them."""
        unit_fen = self._unit_fen(bid.tranche_id)
        wanted = -(-bid.amount_fen // unit_fen)
        found = self._sql.execute(SOME_FREE, {"tranche": bid.tranche_id, "wanted": wanted}).all()
        if sum(fen for _, fen in found) < bid.amount_fen:
            self._sql.rollback()
            return self._too_few(bid)
        taken = [number for number, _ in found]
        self._sql.execute(TAKE, {"tranche": bid.tranche_id, "bid": bid.bid_id, "numbers": taken})
        self._sql.commit()
        return Hold("ok")

    def _too_few(self, bid: Bid) -> Hold:
        return Hold("sold_out")

    def confirm(self, bid: Bid, hold: Hold) -> bool:
        """Nothing to do: the units have the bid's name on them."""
        return True

    def release(self, bid: Bid, hold: Hold) -> bool:
        """Take the bid's name off its units; another time there are none."""
        self._sql.execute(GIVE_BACK, {"tranche": bid.tranche_id, "bid": bid.bid_id})
        self._sql.commit()
        return True

    def status(self, tranche_id: str) -> Claim:
        """Add the free units up, locked or not."""
        left = self._left_fen(tranche_id)
        return Claim("open" if left > 0 else "full", left)

    def _left_fen(self, tranche_id: str) -> int:
        left = int(self._sql.execute(LEFT, {"tranche": tranche_id}).scalar_one())
        self._sql.commit()
        return left

    def _unit_fen(self, tranche_id: str) -> int:
        if tranche_id not in self._units_fen:
            self._units_fen[tranche_id] = self._sql.execute(UNIT, {"tranche": tranche_id}).scalar_one()
        return self._units_fen[tranche_id]
