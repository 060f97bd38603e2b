"""The separate process of a strategy that decides in one place: `python -m oversold.platform.consumer FILE`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

from oversold.assignment import Assignment
from oversold.clock import SystemClock
from oversold.stores.endpoint import Endpoint
from oversold.strategies import registry
from oversold.strategies.interface import ConsumerStrategy, open_context

WAIT_S = 1.0


def main() -> None:
    """Consume until killed; the run stops this process when the burst is over."""
    assignment = Assignment.from_json(Path(sys.argv[1]).read_text())
    plan = assignment.plan
    endpoints = {name: Endpoint(**fields) for name, fields in assignment.endpoints.items()}
    kind = registry.load_bids(plan.strategy)
    context, _ = open_context(endpoints, kind.stores, SystemClock(), plan.rtt_s, plan.seed, "consumer")
    strategy = cast(ConsumerStrategy, kind(context))
    while True:
        strategy.consume(assignment.run_id, WAIT_S)


if __name__ == "__main__":
    main()
