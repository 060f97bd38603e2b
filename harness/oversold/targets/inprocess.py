"""The platform in the load generator's own process: one per worker, one pipeline a lane."""

from __future__ import annotations

import contextlib

from oversold.assignment import Assignment
from oversold.bid_plan import LEDGER_CONNECTIONS, BidPlan
from oversold.clock import SystemClock
from oversold.platform.faults import Faults
from oversold.platform.ledger import LedgerPool
from oversold.platform.pipeline import BidPipeline
from oversold.platform.progress import DerivedProgress, Progress, ProgressRow
from oversold.platform.tranche_status import TrancheStatus
from oversold.stores.endpoint import Endpoint
from oversold.stores.postgres import connect_raw
from oversold.stores.providers import close
from oversold.strategies import registry
from oversold.strategies.interface import open_context


class PlatformTarget:
    """The app server of one worker process: ledger connections and status, shared by its lanes.

    Raises:
        Exception: a store does not answer; the driver's own error says which.
    """

    def __init__(self, assignment: Assignment[BidPlan], worker: int) -> None:
        self._assignment = assignment
        self._plan = assignment.plan
        self._worker = worker
        self._clock = SystemClock()
        self._endpoints = {name: Endpoint(**fields) for name, fields in assignment.endpoints.items()}
        self._strategy = registry.load_bids(self._plan.strategy)
        books = self._endpoints["ledger"]
        self.faults = Faults()
        self._ledger = LedgerPool(books, self._clock, self._plan.rtt_s, LEDGER_CONNECTIONS)
        listener = connect_raw(books, self._clock, 0, autocommit=True)
        self._status = TrancheStatus(self._ledger, listener, assignment.run_id)
        self._progress: Progress = (
            ProgressRow(self._ledger, assignment.run_id, self._plan.bids.progress_tries)
            if self._plan.bids.progress == "row"
            else DerivedProgress(self._ledger, assignment.run_id, self._clock)
        )

    def server(self, store: str) -> str:
        """Return which server serves a store."""
        return self._endpoints[store].store

    def lane(self, number: int) -> PlatformLane:
        """Open lane `number`: its own connections, its own strategy instance."""
        return PlatformLane(self, number)

    def _pipeline(self, lane: int, opening: int) -> tuple[BidPipeline, dict[str, object]]:
        plan = self._plan
        context, clients = open_context(
            self._endpoints,
            self._strategy.stores,
            self._clock,
            plan.rtt_s,
            plan.seed,
            self._worker,
            lane,
            opening,
        )
        strategy = self._strategy(context)
        return (
            BidPipeline(plan, strategy, self._ledger, self._status, self._progress, self._clock, self.faults),
            clients,
        )

    def close(self) -> None:
        """Close what the lanes share."""
        self._status.close()
        self._ledger.close()


class PlatformLane:
    """One lane: `pipeline.run(tap)` serves a tap; `renew` replaces connections that are suspect."""

    def __init__(self, target: PlatformTarget, number: int) -> None:
        self._target = target
        self._number = number
        self._openings = 0
        self.pipeline, self._clients = target._pipeline(number, 0)

    def reset(self) -> None:
        """After a strategy's own exception: end whatever transaction it left open."""
        sql = self._clients.get("sql")
        if sql is not None:
            with contextlib.suppress(Exception):
                sql.rollback()  # type: ignore[attr-defined]

    def renew(self) -> None:
        """Throw the connections away and open new ones."""
        self.close()
        self._openings += 1
        self.pipeline, self._clients = self._target._pipeline(self._number, self._openings)

    def close(self) -> None:
        """Close the lane's connections."""
        for store, client in self._clients.items():
            close(self._target.server(store), client)
