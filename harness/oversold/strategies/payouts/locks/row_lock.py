"""SELECT ... FOR UPDATE SKIP LOCKED: the pessimistic claim."""

from typing import ClassVar

from oversold.model import Job, Payday
from oversold.strategies.payouts.desk import Desk, Row
from oversold.strategies.payouts.interface import PayoutContext


class RowLock:
    """Lock the next row that is due and that nobody else has locked, mark it CLAIMED, commit; then pay.

    Guarantee: an obligation that is due is claimed by one worker only, and no worker waits for another.

    Known hole: the lock is gone before the payment begins, as it must be, so from then on the mark alone protects
    the row. A worker that dies leaves a claim behind, and who sweeps it up cannot see how far the worker came, nor
    that it only pauses and will still pay.
    """

    stores: ClassVar[frozenset[str]] = frozenset({"sql"})

    def __init__(self, context: PayoutContext) -> None:
        self._desk = Desk(context)

    def open(self, payday: Payday) -> None:
        """Nothing to do: rows can be locked as they are."""

    def begin(self, job: Job) -> None:
        """Nothing to prepare."""

    def claim(self, job: Job) -> Row | None:
        """Two round trips and a commit; None when nothing is due, or only what is locked this moment."""
        return self._desk.take_locked(job)

    def done(self, row: Row) -> None:
        """Nothing to give back: the policy has changed the status."""
