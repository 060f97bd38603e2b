"""Compare-and-swap on the row's version: the optimistic claim."""

from typing import ClassVar

from oversold.model import Job, Payday
from oversold.strategies.payouts.desk import Desk, Row, claimant
from oversold.strategies.payouts.interface import PayoutContext

BATCH = 16


class Cas:
    """Read some candidates, then UPDATE one WHERE it is still DUE and has the version that was seen.

    Guarantee: an obligation that is due is claimed by one worker only, however many jobs run.

    Known hole: it guards the claim, not the payment. What a worker that died or a channel that lied leaves behind
    is the policy's affair; one that only pauses for longer than the sweep waits is swept up too, and pays when it
    wakes. Two workers that pick the same candidate waste a round trip.
    """

    stores: ClassVar[frozenset[str]] = frozenset({"sql"})

    def __init__(self, context: PayoutContext) -> None:
        self._desk = Desk(context)
        self._random = context.random
        self._candidates: list[Row] = []

    def open(self, payday: Payday) -> None:
        """Nothing to do: the table has a version in every row."""

    def begin(self, job: Job) -> None:
        """Forget the candidates of an earlier job."""
        self._candidates = []

    def claim(self, job: Job) -> Row | None:
        """Try candidates until one is won; None when nothing is due any more."""
        while self._candidates or self._look(job):
            if taken := self._desk.take(self._candidates.pop(), claimant(job)):
                return taken
        return None

    def done(self, row: Row) -> None:
        """Nothing to give back: the policy has changed the status."""

    def _look(self, job: Job) -> bool:
        """Read candidates from this worker's own region of what is due, lest all workers fight for the first."""
        while due := self._desk.count_due(job):
            self._candidates = self._desk.due(job, BATCH, due * job.worker // job.workers)
            if self._candidates:  # else the others have emptied the region since it was counted
                self._random.shuffle(self._candidates)  # two starts of a job have the same regions
                return True
        return False
