"""The lanes of one server process: each a strategy instance and its connections, lent to a bid."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from oversold.assignment import Assignment
from oversold.bid_plan import BidPlan
from oversold.clock import Clock
from oversold.stores.endpoint import Endpoint
from oversold.stores.providers import close
from oversold.strategies import registry
from oversold.strategies.interface import BidStrategy, open_context

RETRY_S = 0.5


class Lane:
    """One strategy instance and its connections. Who finds them `broken` says so, and they are replaced."""

    def __init__(
        self, assignment: Assignment[BidPlan], endpoints: Mapping[str, Endpoint], clock: Clock, *place: int
    ) -> None:
        self._assignment, self._endpoints, self._clock, self._place = assignment, endpoints, clock, place
        self._openings = 0
        self.broken = False
        self._open()

    def _open(self) -> None:
        plan = self._assignment.plan
        kind = registry.load_bids(plan.strategy)
        context, self._clients = open_context(
            self._endpoints, kind.stores, self._clock, plan.rtt_s, plan.seed, *self._place, self._openings
        )
        self.strategy: BidStrategy = kind(context)

    def reset(self) -> None:
        """After a strategy's own exception: end whatever transaction it left open."""
        if "sql" in self._clients:
            with contextlib.suppress(Exception):
                self._clients["sql"].rollback()

    def renew(self) -> None:
        """Throw the connections away and open new ones."""
        self.close()
        self._openings += 1
        self._open()
        self.broken = False

    def close(self) -> None:
        """Close the lane's connections."""
        for store, client in self._clients.items():
            close(self._endpoints[store].store, client)


class NoLaneError(Exception):
    """All lanes are being renewed, since their stores do not answer, or are in use for too long."""


class LaneQueue:
    """The idle lanes of one process.

    Args:
        patience_s: how long to wait for a lane.

    Raises:
        Exception: a store does not answer; the driver's own error says which.
    """

    def __init__(
        self, assignment: Assignment[BidPlan], process: int, numbers: range, clock: Clock, patience_s: float
    ) -> None:
        endpoints = {name: Endpoint(**fields) for name, fields in assignment.endpoints.items()}
        self._idle: queue.LifoQueue[Lane] = queue.LifoQueue()
        self._patience_s = patience_s
        self._closing = threading.Event()

        def opened(number: int) -> Lane:
            return Lane(assignment, endpoints, clock, process, number)

        with ThreadPoolExecutor(min(16, len(numbers))) as pool:  # one after the other would take its time
            for lane in pool.map(opened, numbers):
                self._idle.put(lane)

    @contextmanager
    def lane(self) -> Iterator[Lane]:
        """Borrow a lane. A broken one is renewed before others get it.

        Raises:
            NoLaneError.
        """
        try:
            lane = self._idle.get(timeout=self._patience_s)
        except queue.Empty:
            raise NoLaneError from None
        try:
            yield lane
        finally:
            if lane.broken:
                # Its store may be away for long, and whoever has borrowed it wants the answer now.
                threading.Thread(target=self._renew, args=(lane,), daemon=True).start()
            else:
                self._idle.put(lane)

    def _renew(self, lane: Lane) -> None:
        while not self._closing.is_set():
            try:
                lane.renew()
            except Exception:  # noqa: BLE001 - any driver error means: not yet
                self._closing.wait(RETRY_S)
            else:
                self._idle.put(lane)
                return

    def close(self) -> None:
        """Close the idle lanes."""
        self._closing.set()
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()
