"""Plain read and write at isolation level SERIALIZABLE: the database finds the conflicts."""

import sqlalchemy as sa

from oversold.model import Bid, Claim, Hold
from oversold.strategies.bids.stock_table import REMAINING, WRITE, StockRow, give_back, is_conflict
from oversold.strategies.interface import Context

TRIES = 3
RELEASE_TRIES = 64
FIRST_WAIT_S = 0.001
LONGEST_WAIT_S = 0.25


class Serializable(StockRow):
    """Read, compare, update, commit at SERIALIZABLE; if the database undoes it (40001, deadlock), up to 3 tries.

    Guarantee: never more than the capacity is held, without a lock in the code: a transaction that did not run
    as if alone is undone.

    Known hole: lost sales. Under a burst most transactions are undone, after 3 of them the bidder is told busy
    while stock remains, and once people stop tapping it is undersold. A release has 64 tries; then its share
    leaks.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._sql = context.sql.execution_options(isolation_level="SERIALIZABLE")
        self._clock = context.clock
        self._random = context.random

    def reserve(self, bid: Bid) -> Hold:
        """Up to three transactions of three round trips and more."""
        hold = Hold("busy")
        for _ in range(TRIES):
            hold = self._once(bid)
            if hold.verdict != "busy":
                break
        return hold

    def release(self, bid: Bid, hold: Hold) -> bool:
        """Give the amount back once. Unlike a bidder it cannot be sent away, so it has more tries, with pauses."""
        wait_s = FIRST_WAIT_S
        for _ in range(RELEASE_TRIES):
            try:
                give_back(self._sql, bid)
            except sa.exc.DBAPIError as error:
                self._undo(error)
                self._clock.sleep(self._random.uniform(0, wait_s))
                wait_s = min(LONGEST_WAIT_S, wait_s * 2)
            else:
                return True
        return False

    def status(self, tranche_id: str) -> Claim:
        """Report the stock row; no number when the database undid even this (MariaDB from 11.6 on)."""
        try:
            return super().status(tranche_id)
        except sa.exc.DBAPIError as error:
            self._undo(error)
            return Claim("open", None)

    def _once(self, bid: Bid) -> Hold:
        """One transaction; busy when the database undid it."""
        try:
            remaining = self._sql.execute(REMAINING, {"tranche": bid.tranche_id}).scalar_one()
            fits = remaining >= bid.amount_fen
            if fits:
                self._sql.execute(WRITE, {"tranche": bid.tranche_id, "rest": remaining - bid.amount_fen})
            self._sql.commit()
        except sa.exc.DBAPIError as error:
            self._undo(error)
            return Hold("busy")
        return Hold("ok" if fits else "sold_out")

    def _undo(self, error: sa.exc.DBAPIError) -> None:
        """End the transaction that another one was in the way of; raise what is no such conflict."""
        if not is_conflict(error):
            raise error
        self._sql.rollback()
