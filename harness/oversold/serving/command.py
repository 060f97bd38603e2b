"""What `oversold serve` does once its stores run: serve until Ctrl-C, and say where and what to try."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from oversold.bid_plan import BidPlan
from oversold.errors import HarnessError
from oversold.serving.start import Answers, Served, start
from oversold.stores.guard import Guard

WATCH_S = 0.2
NOBODY: Mapping[int, str] = {}


def serve(
    plan: BidPlan,
    endpoints: Mapping[str, Mapping[str, Any]],
    guard: Guard,
    folder: Path,
    *,
    port: int,
    answers: Answers,
    say: Callable[[str], None],
    needed: Mapping[int, str] = NOBODY,
) -> None:
    """Serve a plan's strategy, with the plan's processes and lanes, until Ctrl-C or SIGTERM.

    Args:
        endpoints, guard, folder, port, answers: see `serving.start.start`.
        say: tells people one line.
        needed: processes that must live as long, such as the stores', with their names.

    Raises:
        UsageError: the port is taken.
        StoreUnavailableError: a store does not answer, or a process did not start.
        HarnessError: a process ended by itself.
    """
    served = start(
        plan,
        endpoints,
        guard,
        folder,
        processes=plan.processes,
        lanes=plan.lanes,
        port=port,
        answers=answers,
    )
    _introduce(plan, served, answers, say)
    # A shell lets what it starts in the background ignore Ctrl-C, and so `kill -INT`.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    ended = _watch(served, guard, needed)
    served.stop(guard)
    if ended:
        raise HarnessError(ended)


def _watch(served: Served, guard: Guard, needed: Mapping[int, str]) -> str:
    """Wait until Ctrl-C, or until a process ends by itself: return what is to be said of that, else nothing."""
    try:
        while True:
            time.sleep(WATCH_S)
            if ended := served.ended(guard):
                return ended
            for pid, name in needed.items():
                if (code := guard.returncode(pid)) is not None:
                    return f"{name} has ended by itself (status {code})"
    except KeyboardInterrupt:
        return ""


def _introduce(plan: BidPlan, served: Served, answers: Answers, say: Callable[[str], None]) -> None:
    processes = "1 process" if plan.processes == 1 else f"{plan.processes} processes"
    lanes = "1 lane" if plan.lanes == 1 else f"{plan.lanes} lanes each"
    say(f"{plan.strategy} at {served.url}  ({processes}, {lanes}; bids are answered {answers})")
    say(f"API: {served.url}/openapi.json")
    say(f"a tranche: {_curl(served, '/tranches', capacity_fen=100_000, tranche_id='t1')}")
    say(f"a bid:     {_curl(served, '/tranches/t1/bids', amount_fen=100, bid_id='b1', user_id='me')}")
    say(f"orders:    curl {served.url}/tranches/t1/orders")
    say("Ctrl-C ends it; what was sold goes with its stores.")


def _curl(served: Served, path: str, **content: str | int) -> str:
    return f"curl {served.url}{path} -H 'Content-Type: application/json' -d '{json.dumps(content)}'"
