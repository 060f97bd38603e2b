"""What the harness itself costs a bid: oversold's lanes beside plain Locust and redis-benchmark, in one run.

The same Redis script call for each of 10,000 bidders, on one private Redis: (a) a plain Locust script with a
redis-py pool, (b) oversold's lanes with recording on, (c) redis-benchmark. Then the peak memory of all harness
processes of a real run with 10,000 bidders. Rounds alternate, medians are printed, ratios are what counts: the
machine's own speed cancels out.

    python benchmarks/lanes.py [--bidders 10000] [--rounds 3] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from script import CAPACITY, HOLDS, SCRIPT, STOCK

from oversold import history
from oversold.assignment import Assignment
from oversold.bid_plan import BidPlan, BidSettings
from oversold.bid_runs import BidBurst, Following
from oversold.clock import SystemClock
from oversold.load.launch import drive
from oversold.session import Session
from oversold.stores import redis
from oversold.stores.endpoint import Endpoint
from oversold.stores.guard import Guard
from oversold.stores.providers import StoreChoice, stores
from oversold.telling import Telling

HERE = Path(__file__).parent
PROCESSES = 2


def plain_locust(endpoint: Endpoint, bidders: int, folder: Path) -> float:
    """Return bids per second of the plain script, in one process as a user would run it."""
    result = folder / "plain.json"
    result.unlink(missing_ok=True)
    words = [sys.executable, "-m", "locust", "-f", str(HERE / "plain_locust.py"), "--headless", "--only-summary"]
    words += ["-u", str(bidders), "-r", str(bidders)]
    env = {**os.environ, "BENCH_REDIS": endpoint.url, "BENCH_RESULT": str(result)}
    subprocess.run(words, env=env, cwd=folder, capture_output=True, check=False, timeout=300)
    answer = json.loads(result.read_text())
    if answer["failures"]:
        raise SystemExit(f"plain Locust: {answer['failures']} calls failed")
    return bidders / float(answer["seconds"])


def lanes(endpoint: Endpoint, bidders: int, folder: Path, guard: Guard, processes: int) -> float:
    """Return bids per second of the lanes, from the gate's opening to the last recorded answer."""
    raw = Path(tempfile.mkdtemp(dir=folder))
    settings = BidSettings(late=0.0, think_ms=60_000, patience_s=0)
    plan = BidPlan(
        scenario="bench",
        strategy="redis-lua",
        users=bidders,
        processes=processes,
        lanes=64,
        rtt_s=0,
        bids=settings,
    )
    assignment = Assignment(plan, f"bench{raw.name}", {"redis": endpoint.to_json()}, raw)
    # No server of this run may end before it does, and nobody is told how far it is.
    follower = Following(Session([], StoreChoice(), plan, Telling()), assignment, BidBurst())
    ending = drive(assignment, HERE / "call_only.py", folder, folder / "locust.log", guard, follower, {})
    if ending.reason:
        raise SystemExit(f"lanes: {ending.reason}; see {folder / 'locust.log'}")
    gate = json.loads((raw / "gate.json").read_text())["t0_ns"]
    taps = [history.read(history.path_of(raw, worker)) for worker in range(processes)]
    if sum(int((rows["outcome"] == 1).sum()) for rows in taps) != bidders:
        raise SystemExit("lanes: not every bid was answered")
    return bidders / ((max(int(rows["t_done"].max()) for rows in taps) - gate) / 1e9)


def redis_benchmark(endpoint: Endpoint, calls: int) -> float | None:
    """Return calls per second of redis-benchmark on the same script; None where it is not installed."""
    program = shutil.which("redis-benchmark")
    if program is None:
        return None
    client = redis.connect(endpoint, SystemClock(), 0)
    digest = client.script_load(SCRIPT)
    client.close()
    password, port = re.search(r":(\w+)@[\d.]+:(\d+)", endpoint.url).groups()  # type: ignore[union-attr]
    words = [
        program,
        "-h",
        "127.0.0.1",
        "-p",
        port,
        "-a",
        password,
        "-c",
        "128",
        "-n",
        str(calls),
        "-r",
        "1000000",
        "--csv",
    ]
    words += ["evalsha", digest, "2", STOCK, HOLDS, "c-__rand_int__", "1"]
    out = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300).stdout
    return float(out.strip().splitlines()[-1].split('","')[1])


def peak_memory_mb(bidders: int, folder: Path) -> tuple[float, dict[str, float]]:
    """Return the peak of the summed proportional memory of a run's own processes, servers not counted."""
    words = [sys.executable, "-m", "oversold", "run", "bid-burst", "-s", "redis-lua", "-u", str(bidders)]
    run = subprocess.Popen(
        [*words, "--no-canary"], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    peak, parts = 0.0, {}
    while run.poll() is None:
        now: dict[str, float] = {}
        for process in [psutil.Process(run.pid), *psutil.Process(run.pid).children(recursive=True)]:
            try:
                command = " ".join(process.cmdline())
                if "python" in process.name() or "oversold" in command or "locust" in command:
                    now[f"{process.pid}"] = process.memory_full_info().pss / 1e6
            except (psutil.Error, AttributeError):
                continue
        if sum(now.values()) > peak:
            peak, parts = sum(now.values()), now
        time.sleep(0.1)
    return peak, parts


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--bidders", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rates: dict[str, list[float]] = {"a": [], "b": [], "b1": [], "c": []}
    with tempfile.TemporaryDirectory(prefix="oversold-bench-") as name, Guard() as guard:
        folder = Path(name)
        with stores(frozenset({"redis"}), StoreChoice(), guard, 1000, "bench") as endpoints:
            endpoint = endpoints["redis"]
            client = redis.connect(endpoint, SystemClock(), 0)
            for turn in range(options.rounds):
                print(f"round {turn + 1} of {options.rounds}", file=sys.stderr)
                for key, contest in (
                    ("a", lambda: plain_locust(endpoint, options.bidders, folder)),
                    ("b", lambda: lanes(endpoint, options.bidders, folder, guard, PROCESSES)),
                    ("b1", lambda: lanes(endpoint, options.bidders, folder, guard, 1)),
                    ("c", lambda: redis_benchmark(endpoint, 10 * options.bidders)),
                ):
                    client.flushall()
                    client.set(STOCK, CAPACITY)
                    rate = contest()
                    if rate is not None:
                        rates[key].append(rate)
            client.close()
        print("memory of a real run", file=sys.stderr)
        memory, _ = peak_memory_mb(options.bidders, folder)
    report(options, rates, memory)


def report(options: Any, rates: dict[str, list[float]], memory: float) -> None:
    """Print medians, ranges and ratios."""
    names = {
        "a": "plain Locust, one process",
        "b": f"oversold lanes, {PROCESSES} processes",
        "b1": "oversold lanes, one process",
        "c": "redis-benchmark",
    }
    medians = {key: statistics.median(values) for key, values in rates.items() if values}
    ratios = {f"b/{key}": medians["b"] / medians[key] for key in ("a", "c") if key in medians}
    ratios["b1/a"] = medians["b1"] / medians["a"]
    if options.json:
        print(json.dumps({"bids_per_s": rates, "ratios": ratios, "peak_memory_mb": memory}, indent=1))
        return
    print(f"{options.bidders:,} bidders, one script call each, {os.cpu_count()} cores, median of {options.rounds}")
    for key, values in rates.items():
        row = (
            f"{medians[key]:>9,.0f} bids/s  ({min(values):,.0f} to {max(values):,.0f})"
            if values
            else "not installed"
        )
        print(f"  ({key:<2}) {names[key]:<32}{row}")
    print("  ".join(f"{name} = {value:.2f}" for name, value in ratios.items()))
    print(f"peak memory of all harness processes in a run with {options.bidders:,} bidders: {memory:,.0f} MB")


if __name__ == "__main__":
    main()
