"""SELECT ... FOR UPDATE: the pessimistic lock of the textbooks."""

from typing import ClassVar

import sqlalchemy as sa

from oversold.model import Bid, Claim, Hold, Tranche
from oversold.strategies.bids import stock_table
from oversold.strategies.bids.stock_table import stock
from oversold.strategies.interface import Context

LOCK = stock_table.REMAINING.with_for_update()
TAKE = (
    sa.update(stock)
    .where(stock.c.tranche_id == sa.bindparam("tranche"))
    .values(remaining_fen=sa.bindparam("rest"))
)


class RowLock:
    """Lock the stock row, compare, update, commit: three round trips with the row locked.

    Guarantee: never more than the capacity is held; stock survives a crash of the application.

    Known hole: the convoy. All bidders queue for one row, and each holds it for three round trips, so
    throughput is one bid per three network delays however many servers there are.
    """

    stores: ClassVar[frozenset[str]] = frozenset({"sql"})

    def __init__(self, context: Context) -> None:
        self._sql = context.sql

    def open(self, tranche: Tranche) -> None:
        """Insert the stock row."""
        stock_table.put_stock(self._sql, tranche)

    def reserve(self, bid: Bid) -> Hold:
        """Wait for the row, then decide."""
        remaining = self._sql.execute(LOCK, {"tranche": bid.tranche_id}).scalar_one()
        if remaining < bid.amount_fen:
            self._sql.rollback()
            return Hold("sold_out")
        self._sql.execute(TAKE, {"tranche": bid.tranche_id, "rest": remaining - bid.amount_fen})
        self._sql.commit()
        return Hold("ok")

    def confirm(self, bid: Bid, hold: Hold) -> bool:
        """Nothing to do: the stock was taken when it was reserved."""
        return True

    def release(self, bid: Bid, hold: Hold) -> bool:
        """Give the amount back once."""
        stock_table.give_back(self._sql, bid)
        return True

    def status(self, tranche_id: str) -> Claim:
        """Report the stock row."""
        return stock_table.claim(self._sql, tranche_id)
