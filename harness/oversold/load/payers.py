"""Those who take part in a payday as Locust users: what a payout scenario's tasks are made of."""

from __future__ import annotations

from typing import Any, Literal, NoReturn

from locust import User
from locust.exception import StopUser

from oversold.load.paying import PayoutWorker


class PaydayUser(User):
    """A job worker, the reconciler, or an investor who is online: the plan says which.

    A task calls `wait_at_gate()` first, then `work()`, `reconcile()` or `visit()` as the answer says, then
    `leave()`.
    """

    abstract = True
    environment: Any

    def wait_at_gate(self) -> Literal["worker", "reconciler", "investor"]:
        """Park until all users of all processes are there; return the role of this one."""
        worker: PayoutWorker = self.environment.oversold_worker
        index = worker.park()
        if index is None:
            raise StopUser  # more users than the plan has parts: somebody raised the number in mid-run
        self._worker = worker
        self._part = worker.part(index)
        return self._part.role

    def work(self) -> None:
        """Wait for the planned start of the job, then pay until there is nothing left for this worker."""
        self._worker.work(self._part)

    def reconcile(self) -> None:
        """Settle what calls left open, again and again until nothing is."""
        self._worker.reconcile()

    def visit(self) -> None:
        """Look at the account now and then, and sometimes withdraw what has come in."""
        for moment, withdraw in self._worker.visits(self._part):
            self._worker.sleep_until(moment)
            if not self._worker.missed(moment):
                self._worker.look(self._part, withdraw=withdraw)

    def leave(self) -> NoReturn:
        """Go home; the payday is over when everybody has."""
        self._worker.leave()
        raise StopUser
