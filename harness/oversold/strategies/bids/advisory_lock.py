"""A lock of the database that is about no row: whoever has the tranche's may read and write its stock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

import sqlalchemy as sa

from oversold.model import Bid, Hold
from oversold.strategies.bids.stock_table import REMAINING, WRITE, StockRow, give_back
from oversold.strategies.interface import Context

WAIT_S = 60  # MariaDB wants to know how long; PostgreSQL waits as long as it takes

# Each answers whether the lock was got. PostgreSQL's belong to the transaction and end with it, MariaDB's to the
# connection.
LOCK = {
    "postgresql": sa.text("SELECT pg_advisory_xact_lock(CAST(:lock AS bigint)) IS NOT NULL"),
    "mariadb": sa.text(f"SELECT GET_LOCK(:lock, {WAIT_S})"),
}
UNLOCK = {"postgresql": None, "mariadb": sa.text("SELECT RELEASE_LOCK(:lock)")}


class AdvisoryLock(StockRow):
    """Take the tranche's advisory lock, then read, compare, update and commit; the lock goes after the commit.

    Guarantee: never more than the capacity is held, as long as everybody who touches the stock takes the lock:
    the statements under it are a plain read and a plain write.

    Known hole: the convoy of the row lock, one round trip longer. The database does not know what the lock
    protects, so one forgotten caller, or a lock given up before the commit, oversells silently.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        # Each statement sees what is committed when it begins. At MariaDB's REPEATABLE READ a transaction that had
        # read before it got the lock would see old stock, and from version 11.6 on could not write it.
        self._sql = context.sql.execution_options(isolation_level="READ COMMITTED")
        self._lock = self._lock_waiting = LOCK[self._sql.dialect.name]
        self._unlock = UNLOCK[self._sql.dialect.name]

    def reserve(self, bid: Bid) -> Hold:
        """Read and write under the lock."""
        with self._locked(bid.tranche_id, self._lock) as got:
            if not got:
                return Hold("busy")
            remaining = self._sql.execute(REMAINING, {"tranche": bid.tranche_id}).scalar_one()
            if remaining < bid.amount_fen:
                return Hold("sold_out")
            self._sql.execute(WRITE, {"tranche": bid.tranche_id, "rest": remaining - bid.amount_fen})
        return Hold("ok")

    def release(self, bid: Bid, hold: Hold) -> bool:
        """Give the amount back once, under the lock too: a bidder's plain write would undo it otherwise."""
        with self._locked(bid.tranche_id, self._lock_waiting) as got:
            if got:
                give_back(self._sql, bid)
        return got

    @contextmanager
    def _locked(self, tranche_id: str, lock: sa.TextClause) -> Iterator[bool]:
        """Ask for the lock, yield whether it was got, end the transaction and give the lock up."""
        name = str(int.from_bytes(blake2b(tranche_id.encode(), digest_size=8).digest(), signed=True))
        got = bool(self._sql.execute(lock, {"lock": name}).scalar_one())
        try:
            yield got
        except Exception:
            self._sql.rollback()
            self._give_up(name, got)
            raise
        self._end(name, got)

    def _end(self, name: str, got: bool) -> None:
        self._sql.commit()
        self._give_up(name, got)

    def _give_up(self, name: str, got: bool) -> None:
        if got and self._unlock is not None:
            self._sql.execute(self._unlock, {"lock": name})
