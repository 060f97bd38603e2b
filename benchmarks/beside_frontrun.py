"""The same design on the same Redis under frontrun and under the explorer, each in a child of `explorer.py`.

Both get the strategy's own class. frontrun (https://pypi.org/project/frontrun) is no dependency of oversold: it
is measured where it is installed, under its own command as its README says, and without a bound on preemptions.
There a bidder is a thread. It opens its own connection, as in the README's example, or finds one that was opened
before, which leaves fewer events to order.

    python benchmarks/beside_frontrun.py CONTESTANT CASE REDIS_URL PATIENCE_S
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from oversold.clock import SystemClock, seeded
from oversold.model import Bid, Tranche
from oversold.stores import redis
from oversold.stores.endpoint import Endpoint
from oversold.strategies import registry
from oversold.strategies.interface import Context

SHARE_FEN = 100
# Strategy, bidders, shares; the first is to be broken, the others are to be exhausted.
CASES = {
    "none, 2 bidders": ("none", 2, 1),
    "WATCH, 2 bidders": ("redis-watch", 2, 1),
    "WATCH, 3 bidders": ("redis-watch", 3, 2),
}
Answer = dict[str, bool | int | float]


@dataclass
class Told:
    """Whether one bidder was told ok. Each has one of its own, so that nobody races for them."""

    ok: bool = False


def frontrun_on(case: str, endpoint: Endpoint, patience_s: float, *, connected: bool) -> Answer:
    """Let frontrun search for an oversell; return what it said and what it took."""
    import frontrun

    name, bidders, shares = CASES[case]
    strategy = registry.load_bids(name)
    told = [Told() for _ in range(bidders)]
    runs = 0

    def made() -> Any:
        client = redis.connect(endpoint, SystemClock(), 0)
        client.ping()
        return strategy(Context({"redis": client}, SystemClock(), seeded(1)))

    teller, early = made(), [made() for _ in range(bidders)]

    def setup() -> list[Told]:
        nonlocal runs
        runs += 1
        teller.open(Tranche("beside", shares * SHARE_FEN, SHARE_FEN))
        for each in told:
            each.ok = False
        return told

    def bidder(number: int) -> Callable[[list[Told]], None]:
        bid = Bid(f"bid-{number}", "beside", f"user-{number}", SHARE_FEN)

        def tap(_: list[Told]) -> None:
            mine = early[number] if connected else made()
            told[number].ok = mine.reserve(bid).verdict == "ok"
            if not connected:
                redis.close(mine._redis)

        return tap

    began = time.perf_counter()
    result = frontrun.explore(
        setup=setup,
        workers=[bidder(number) for number in range(bidders)],
        invariant=lambda _: sum(each.ok for each in told) <= shares,
        preemption_bound=None,
        total_timeout=patience_s,
    )
    seconds = time.perf_counter() - began
    holds = bool(result.property_holds)
    return {
        "found": not holds,
        "holds": holds,
        "schedules": runs,
        "seconds": seconds,
        "over": seconds >= patience_s,
    }


def oversold_on(case: str, endpoint: Endpoint, patience_s: float) -> Answer:
    """Let the explorer do the same."""
    from oversold.explore.explorer import Explorer, Limits
    from oversold.explore.stage import Stage

    name, bidders, shares = CASES[case]
    strategy = registry.load_bids(name)
    with Stage(name, strategy, "bids", {"redis": endpoint}, "beside", 1) as stage:
        subject = stage.subject({"bidders": bidders, "capacity_bids": shares, "shares": "1"})
        began = time.perf_counter()
        result = Explorer(subject, Limits(budget_s=patience_s), stage.subject).search()
        seconds = time.perf_counter() - began
    return {
        "found": result.outcome == "VIOLATION",
        "holds": result.outcome == "EXHAUSTED",
        "schedules": result.runs,
        "seconds": seconds,
        "over": result.outcome in {"BOUNDED", "SAMPLED"},
    }


CONTESTANTS: dict[str, Callable[[str, Endpoint, float], Answer]] = {
    "frontrun": partial(frontrun_on, connected=False),
    "frontrun, connected before": partial(frontrun_on, connected=True),
    "oversold": oversold_on,
}


def run(who: str, case: str, endpoint: Endpoint, patience_s: float) -> Answer:
    """Run a contestant in a process of its own; frontrun's is started by its own command.

    Raises:
        SystemExit: it failed.
    """
    words = [sys.executable, str(Path(__file__)), who, case, endpoint.url, str(patience_s)]
    if who != "oversold":
        words = [sys.executable, "-m", "frontrun.cli", *words]
    done = subprocess.run(words, capture_output=True, text=True, timeout=patience_s + 120, check=False)
    if done.returncode:
        raise SystemExit(f"{who} on {case}: {(done.stderr.strip().splitlines() or ['no word'])[-1]}")
    answer: Answer = json.loads(done.stdout.splitlines()[-1])
    return answer


def main() -> None:
    """Run one contestant on one case, and print what came of it as JSON."""
    who, case, url, patience_s = sys.argv[1:]
    endpoint = redis.probe(url)
    print(json.dumps(CONTESTANTS[who](case, endpoint, float(patience_s))))


if __name__ == "__main__":
    main()
