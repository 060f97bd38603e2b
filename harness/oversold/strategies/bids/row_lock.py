"""SELECT ... FOR UPDATE: the pessimistic lock of the textbooks."""

from oversold.model import Bid, Hold
from oversold.strategies.bids.stock_table import REMAINING, WRITE, StockRow

LOCK = REMAINING.with_for_update()


class RowLock(StockRow):
    """Lock the stock row, compare, update, commit: three round trips with the row locked.

    Guarantee: never more than the capacity is held; stock survives a crash of the application.

    Known hole: the convoy. All bidders queue for one row, and each holds it for three round trips, so
    throughput is one bid per three network delays however many servers there are.
    """

    def reserve(self, bid: Bid) -> Hold:
        """Wait for the row, then decide."""
        remaining = self._sql.execute(LOCK, {"tranche": bid.tranche_id}).scalar_one()
        if remaining < bid.amount_fen:
            self._sql.rollback()
            return Hold("sold_out")
        self._sql.execute(WRITE, {"tranche": bid.tranche_id, "rest": remaining - bid.amount_fen})
        self._sql.commit()
        return Hold("ok")
