"""No lock: a list of what is due, read once and believed until it is walked."""

from collections import deque
from typing import ClassVar

from oversold.model import Job, Payday
from oversold.strategies.payouts.desk import Desk, Row
from oversold.strategies.payouts.interface import PayoutContext

PASSES = 3  # a worker walks its share again while a policy puts obligations back, at most twice


class NoLock:
    """Read the list of what is due, walk every n-th of it, look at nothing again.

    Guarantee: the workers of one start have disjoint shares, so one start alone takes every obligation once.

    Known hole: the list is stale as soon as it is read. A job that is started twice walks it twice, and one that
    is killed in the middle of a payment leaves the obligation due.
    """

    stores: ClassVar[frozenset[str]] = frozenset({"sql"})

    def __init__(self, context: PayoutContext) -> None:
        self._desk = Desk(context)
        self._rows: deque[Row] = deque()
        self._passes = 0

    def open(self, payday: Payday) -> None:
        """Nothing to do: the list is the table."""

    def begin(self, job: Job) -> None:
        """Read this worker's share of what is due."""
        self._rows = deque(self._desk.share(job))
        self._passes = 1

    def claim(self, job: Job) -> Row | None:
        """Return the next row of the list, without a look at what became of it."""
        if not self._rows and self._passes < PASSES:
            self._rows.extend(self._desk.share(job))
            self._passes += 1
        return self._rows.popleft() if self._rows else None

    def done(self, row: Row) -> None:
        """Nothing to give back."""
