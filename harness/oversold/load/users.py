"""The bidder as a Locust user: what a scenario's tasks are made of."""

from __future__ import annotations

import random
import time
from typing import Any, NoReturn

import gevent
from locust import User
from locust.exception import StopUser

from oversold.clock import seeded
from oversold.evidence import Outcome
from oversold.load.bidding import BidWorker


class BidderUser(User):
    """A person with a bid and some patience.

    A task calls, in this order: `wait_at_gate()`, then `tap()` until it is satisfied, with `think()` between
    taps while `patient` is true, and `leave()` at the end.
    """

    abstract = True
    environment: Any

    def wait_at_gate(self) -> None:
        """Park until all bidders of all processes are there, then until this bidder's own arrival."""
        worker: BidWorker = self.environment.oversold_worker
        index = worker.park()
        if index is None:
            raise StopUser  # more users than the plan has bids: somebody raised the number in mid-run
        self._worker = worker
        self._index = index
        self._attempt = 0
        self._row = -1
        self._intended = worker.wait_for_arrival(index)
        self._patience_ends = time.monotonic() + worker.plan.bids.patience_s
        self._random: random.Random | None = None

    def tap(self) -> Outcome:
        """Send the bid through a lane and return what the bidder is told."""
        self._attempt += 1
        outcome, self._row = self._worker.tap(self._index, self._attempt, self._intended)
        return outcome

    @property
    def patient(self) -> bool:
        """Whether this bidder would tap again."""
        return time.monotonic() < self._patience_ends

    def think(self) -> None:
        """Pause as people do: exponentially distributed around the plan's mean, seeded by the bid."""
        if self._random is None:
            self._random = seeded(self._worker.plan.seed, "think", self._index)
        gevent.sleep(self._random.expovariate(1.0) * self._worker.plan.bids.think_ms / 1e3)

    def leave(self) -> NoReturn:
        """Go home; the burst is over when everybody has."""
        self._worker.leave(self._row)
        raise StopUser
