"""SELECT ... FOR UPDATE, and the transaction stays open until the bid is confirmed or released."""

from __future__ import annotations

import sqlalchemy as sa

from oversold.model import Bid, Claim, Hold
from oversold.strategies.bids.row_lock import LOCK
from oversold.strategies.bids.stock_table import REMAINING, WRITE, StockRow, metadata
from oversold.strategies.dialects import ID, insert_once
from oversold.strategies.interface import Context

sold = sa.Table(
    "sold",
    metadata,
    sa.Column("tranche_id", ID, primary_key=True),
    sa.Column("bid_id", ID, primary_key=True),
)
MARK_SOLD = insert_once(sold, tranche_id=sa.bindparam("tranche"), bid_id=sa.bindparam("bid"))
COUNT_SOLD = (
    sa.select(sa.func.count())
    .select_from(sold)
    .where(sold.c.tranche_id == sa.bindparam("tranche"), sold.c.bid_id == sa.bindparam("bid"))
)


class RowLockHeld(StockRow):
    """Lock the stock row and update it; the transaction stays open until the bid is confirmed or released.

    Guarantee: never more than the capacity is held, and a hold cannot leak: the database itself takes it back when
    the bidder's connection ends.

    Known hole: the hot row is locked for the whole pipeline, a dozen steps instead of three round trips, so one
    bid at a time is served and everybody else waits, each with a connection. The sale takes as long as all
    pipelines one after the other.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._holder: str | None = None  # the bid whose transaction is open on this lane's connection

    def reserve(self, bid: Bid) -> Hold:
        """Wait for the row, take the amount, and keep the row."""
        if self._holder is not None:  # the platform has lost that bid on its way
            self._holder = None
            self._sql.rollback()
        remaining = self._sql.execute(LOCK, {"tranche": bid.tranche_id}).scalar_one()
        if remaining < bid.amount_fen:
            self._sql.rollback()
            return Hold("sold_out")
        self._sql.execute(WRITE, {"tranche": bid.tranche_id, "rest": remaining - bid.amount_fen})
        self._holder = bid.bid_id
        return Hold("ok")

    def confirm(self, bid: Bid, hold: Hold) -> bool:
        """Commit; of a bid whose transaction is not open here, say whether it was committed before."""
        values = {"tranche": bid.tranche_id, "bid": bid.bid_id}
        if self._holder == bid.bid_id:
            self._sql.execute(MARK_SOLD[self._sql.dialect.name], values)
            self._holder = None
            self._sql.commit()
            return True
        found = self._sql.execute(COUNT_SOLD, values).scalar_one()
        self._end_of_reading()
        return found == 1

    def release(self, bid: Bid, hold: Hold) -> bool:
        """Roll back; of a bid whose transaction is not open here, nothing is held."""
        if self._holder == bid.bid_id:
            self._holder = None
            self._sql.rollback()
        return True

    def status(self, tranche_id: str) -> Claim:
        """Report the stock row; the bid that is open here has its share already."""
        remaining = int(self._sql.execute(REMAINING, {"tranche": tranche_id}).scalar_one())
        self._end_of_reading()
        return Claim("open" if remaining > 0 else "full", remaining)

    def _end_of_reading(self) -> None:
        if self._holder is None:
            self._sql.commit()
