"""The advisory lock for those who do not want to wait."""

import sqlalchemy as sa

from oversold.strategies.bids.advisory_lock import AdvisoryLock
from oversold.strategies.interface import Context

TRY_LOCK = {
    "postgresql": sa.text("SELECT pg_try_advisory_xact_lock(CAST(:lock AS bigint))"),
    "mariadb": sa.text("SELECT GET_LOCK(:lock, 0)"),
}


class AdvisoryLockTry(AdvisoryLock):
    """The same advisory lock, but who does not get it at once is told busy. Only releases wait for it.

    Guarantee: never more than the capacity is held, and no bidder waits for another.

    Known hole: rejects buyers while stock remains. Whoever comes while somebody else decides is sent away, nearly
    everybody in a burst, and what they do not tap for again stays unsold.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._lock = TRY_LOCK[self._sql.dialect.name]
