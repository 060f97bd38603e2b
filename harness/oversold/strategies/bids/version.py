"""The optimistic lock: an UPDATE that names the version that was read."""

import sqlalchemy as sa

from oversold.model import Bid, Hold
from oversold.strategies.bids.stock_table import OF_TRANCHE, StockRow, stock
from oversold.strategies.interface import Context

TRIES = 3

READ = sa.select(stock.c.remaining_fen, stock.c.version).where(OF_TRANCHE)
TAKE = (
    sa.update(stock)
    .where(OF_TRANCHE, stock.c.version == sa.bindparam("seen"))
    .values(remaining_fen=sa.bindparam("rest"), version=stock.c.version + 1)
)


class Version(StockRow):
    """Read stock and version, UPDATE ... WHERE version is still the one read; overtaken, up to 3 tries at once.

    Guarantee: never more than the capacity is held; nobody waits for a lock.

    Known hole: conflicts. Of n bidders who read the same version one wins, so under a burst nearly every try is
    in vain; after 3 of them the bidder is told busy while stock remains. Once people stop tapping it is undersold.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        # Autocommit: each read sees what is committed now, and no row is locked between read and write.
        self._sql = context.sql.execution_options(isolation_level="AUTOCOMMIT")

    def reserve(self, bid: Bid) -> Hold:
        """Up to three tries of two round trips."""
        hold = Hold("busy")
        for _ in range(TRIES):
            hold = self._once(bid)
            if hold.verdict != "busy":
                break
        return hold

    def _once(self, bid: Bid) -> Hold:
        """Read, compare, write; busy when somebody else wrote in between."""
        remaining, seen = self._sql.execute(READ, {"tranche": bid.tranche_id}).one()
        if remaining < bid.amount_fen:
            return Hold("sold_out")
        values = {"tranche": bid.tranche_id, "seen": seen, "rest": remaining - bid.amount_fen}
        return Hold("ok" if self._sql.execute(TAKE, values).rowcount == 1 else "busy")
