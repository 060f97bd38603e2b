"""The one process that decides for a strategy with a queue: `python -m oversold.serving.consumer FILE`."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import cast

from oversold.assignment import Assignment
from oversold.bid_plan import BidPlan
from oversold.clock import SystemClock
from oversold.serving import books
from oversold.stores.endpoint import Endpoint
from oversold.stores.postgres import connect_raw
from oversold.stores.providers import close
from oversold.strategies import registry
from oversold.strategies.interface import ConsumerStrategy, open_context

LOOK_S = 0.1  # bids that come before wait in the strategy's own queue
WAIT_S = 1.0
CONSUMED = 4  # tranches, those opened last: each takes connections and a thread


class _Consuming(threading.Thread):
    """Consumes for one tranche until told to stop. A strategy that raises ends the whole process."""

    def __init__(self, assignment: Assignment[BidPlan], tranche_id: str) -> None:
        super().__init__(daemon=True)
        self._assignment, self._tranche_id = assignment, tranche_id
        self.over = threading.Event()

    def run(self) -> None:
        plan = self._assignment.plan
        endpoints = {name: Endpoint(**fields) for name, fields in self._assignment.endpoints.items()}
        kind = registry.load_bids(plan.strategy)
        try:
            context, clients = open_context(
                endpoints, kind.stores, SystemClock(), plan.rtt_s, plan.seed, "consumer", self._tranche_id
            )
            strategy = cast(ConsumerStrategy, kind(context))
            while not self.over.is_set():
                strategy.consume(self._tranche_id, WAIT_S)
        except BaseException:  # noqa: BLE001 - user code may raise anything
            traceback.print_exc(file=sys.stderr)
            os._exit(1)
        for store, client in clients.items():
            close(endpoints[store].store, client)


def main() -> None:
    """Consume for the newest tranches until killed."""
    fields = json.loads(Path(sys.argv[1]).read_text())
    assignment = Assignment.from_json(fields["assignment"])
    consuming: dict[str, _Consuming] = {}
    ledger = connect_raw(Endpoint(**assignment.endpoints["ledger"]), SystemClock(), 0, autocommit=True)
    Path(fields["ready"]).touch()
    while True:
        newest = books.newest(ledger, CONSUMED)
        for tranche_id in newest:
            if tranche_id not in consuming:
                consuming[tranche_id] = _Consuming(assignment, tranche_id)
                consuming[tranche_id].start()
        for tranche_id in consuming.keys() - set(newest):
            consuming.pop(tranche_id).over.set()
        time.sleep(LOOK_S)


if __name__ == "__main__":
    main()
