"""The platform's FULL mark: a row that every app server follows, and the rules that set and clear it."""

from __future__ import annotations

import threading
from typing import Any

import psycopg

from oversold.bid_plan import BidPlan
from oversold.model import Claim
from oversold.platform.ledger import Connection, LedgerPool
from oversold.platform.progress import Progress

LISTEN_S = 0.2  # how long closing may take
CHANGE = """
WITH changed AS (UPDATE tranches SET status = %(to)s WHERE tranche_id = %(id)s AND status <> %(to)s RETURNING 1),
logged AS (INSERT INTO status_log (tranche_id, status) SELECT %(id)s, %(to)s FROM changed RETURNING 1)
SELECT pg_notify(%(channel)s, %(to)s) FROM logged
"""


class TrancheStatus:
    """One app-server process's view of the mark, kept fresh by PostgreSQL's NOTIFY.

    `full` is what a bidder of this process sees. The row in the database decides; the view lags it by one
    notification, as an app server's local cache does.
    """

    def __init__(self, pool: LedgerPool, listener: Connection, tranche_id: str) -> None:
        self.full = False
        self._pool = pool
        self._tranche_id = tranche_id
        self._channel = f"oversold_{tranche_id.replace('-', '_')}"
        self._listener = listener
        listener.execute(f'LISTEN "{self._channel}"', prepare=False)
        self._closing = False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def set(self, *, full: bool) -> None:
        """Write the mark, log the change and tell all processes; nothing happens when it is set already.

        One statement, and this process too hears of it by the notification alone: notifications come in the
        order of the commits, while two lanes that finish may be overtaken by one another.
        """
        with self._pool.connection() as connection:
            to = "full" if full else "open"
            connection.execute(CHANGE, {"to": to, "id": self._tranche_id, "channel": self._channel})

    def close(self) -> None:
        """Stop following."""
        self._closing = True
        self._thread.join()

    def _listen(self) -> None:
        # The thread that waits on the connection also closes it: closing it under a waiter crashes gevent's loop.
        try:
            while not self._closing:
                for notice in self._listener.notifies(timeout=LISTEN_S):
                    self.full = notice.payload == "full"
        except (psycopg.Error, OSError):
            pass  # the server is gone: the bids themselves will tell
        finally:
            self._listener.close()


class MarkingRules:
    """When the tranche is marked full, and when that is taken back: two of the three toggles of the incident."""

    def __init__(self, plan: BidPlan, status: TrancheStatus, progress: Progress) -> None:
        self._min_bid_fen = plan.min_bid_fen
        self._capacity_fen = plan.capacity_fen
        self._when_confirmed = plan.bids.full_when == "confirmed"
        self._reopen = plan.bids.reopen_on_release
        self._status = status
        self._progress = progress

    def sold_out(self, claim: Any) -> bool:
        """Act on a strategy's `sold_out`; return whether the bidder is told so (else: busy, tap again).

        `claim` is a function that asks the strategy for its status.
        """
        if self._when_confirmed:
            # Holds may still come back, so only orders count.
            if self._unconfirmed():
                return False
            self._status.set(full=True)
            return True
        if not self._has_stock(claim()):
            self._status.set(full=True)
            # A release between the claim and the mark saw no mark to take back, so look again after it.
            if self._reopen and self._has_stock(claim()):
                self._status.set(full=False)
        return True

    def released(self, claim: Any) -> None:
        """After a hold was given back: re-check what is left and reopen, if this platform does that.

        Where only what is confirmed counts, that is asked instead: the hot row counts bids that may yet fail.
        """
        if self._reopen and (self._unconfirmed() if self._when_confirmed else self._has_stock(claim())):
            self._status.set(full=False)

    def _unconfirmed(self) -> bool:
        return self._capacity_fen - self._progress.confirmed_fen() >= self._min_bid_fen

    def _has_stock(self, claim: Claim) -> bool:
        if claim.remaining_fen is None:
            return claim.status == "open"
        return claim.remaining_fen >= self._min_bid_fen
