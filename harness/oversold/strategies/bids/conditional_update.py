"""One UPDATE with the condition in its WHERE clause."""

import sqlalchemy as sa

from oversold.model import Bid, Hold
from oversold.strategies.bids.stock_table import OF_TRANCHE, StockRow, stock
from oversold.strategies.interface import Context

TAKE = (
    sa.update(stock)
    .where(OF_TRANCHE, stock.c.remaining_fen >= sa.bindparam("amount"))
    .values(remaining_fen=stock.c.remaining_fen - sa.bindparam("amount"))
)


class ConditionalUpdate(StockRow):
    """`UPDATE stock SET remaining = remaining - x WHERE remaining >= x`; no row changed means sold out.

    Guarantee: never more than the capacity is held, at any isolation level: the condition is checked on the
    row as it is when the lock is granted.

    Known hole: the hot row still serialises all bidders, though for one statement only.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        # Autocommit: one statement is one transaction, so the row is locked for no round trip at all.
        self._sql = context.sql.execution_options(isolation_level="AUTOCOMMIT")

    def reserve(self, bid: Bid) -> Hold:
        """One round trip."""
        taken = self._sql.execute(TAKE, {"tranche": bid.tranche_id, "amount": bid.amount_fen})
        return Hold("ok" if taken.rowcount == 1 else "sold_out")
