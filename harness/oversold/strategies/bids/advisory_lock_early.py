"""The advisory lock that is given up before the commit."""

from typing import ClassVar

import sqlalchemy as sa

from oversold.strategies.bids.advisory_lock import LOCK, UNLOCK, AdvisoryLock
from oversold.strategies.interface import Context

# Locks of the connection, which a caller can give up whenever it likes.
SESSION_LOCK = {**LOCK, "postgresql": sa.text("SELECT pg_advisory_lock(CAST(:lock AS bigint)) IS NOT NULL")}
SESSION_UNLOCK = {**UNLOCK, "postgresql": sa.text("SELECT pg_advisory_unlock(CAST(:lock AS bigint))")}


class AdvisoryLockEarly(AdvisoryLock):
    """The same advisory lock, given up when the work is done and before it is committed.

    Guarantee: none. It looks like `advisory-lock`, and with one bidder at a time it is.

    Known hole: until the commit the next holder reads the old stock and writes its own remainder over the new one,
    so both buy the same share. It takes two bidders within one round trip.
    """

    broken: ClassVar[bool] = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._lock = self._lock_waiting = SESSION_LOCK[self._sql.dialect.name]
        self._unlock = SESSION_UNLOCK[self._sql.dialect.name]

    def _end(self, name: str, got: bool) -> None:
        self._give_up(name, got)
        self._sql.commit()
