"""One UPDATE with the condition in its WHERE clause."""

from typing import ClassVar

import sqlalchemy as sa

from oversold.model import Bid, Claim, Hold, Tranche
from oversold.strategies.bids import stock_table
from oversold.strategies.bids.stock_table import stock
from oversold.strategies.interface import Context

TAKE = (
    sa.update(stock)
    .where(stock.c.tranche_id == sa.bindparam("tranche"))
    .where(stock.c.remaining_fen >= sa.bindparam("amount"))
    .values(remaining_fen=stock.c.remaining_fen - sa.bindparam("amount"))
)


class ConditionalUpdate:
    """`UPDATE stock SET remaining = remaining - x WHERE remaining >= x`; no row changed means sold out.

    Guarantee: never more than the capacity is held, at any isolation level: the condition is checked on the
    row as it is when the lock is granted.

    Known hole: the hot row still serialises all bidders, though for one statement only.
    """

    stores: ClassVar[frozenset[str]] = frozenset({"sql"})

    def __init__(self, context: Context) -> None:
        # Autocommit: one statement is one transaction, so the row is locked for no round trip at all.
        self._sql = context.sql.execution_options(isolation_level="AUTOCOMMIT")

    def open(self, tranche: Tranche) -> None:
        """Insert the stock row."""
        stock_table.put_stock(self._sql, tranche)

    def reserve(self, bid: Bid) -> Hold:
        """One round trip."""
        taken = self._sql.execute(TAKE, {"tranche": bid.tranche_id, "amount": bid.amount_fen})
        return Hold("ok" if taken.rowcount == 1 else "sold_out")

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
