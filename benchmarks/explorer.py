"""How fast the explorer is: schedules a second, time to a counterexample, time to a proof, and beside frontrun.

Servers are started once. (a) Schedules a second, the same walk on fakes and on real stores in turn. (b) Seconds
until the first counterexample of each design of the catalogue that loses money, and until it was made small and
repeated ten times. (c) Seconds to walk all schedules of sound designs with 2, 3 and 4 bidders. (d) The same
classes on the same Redis under frontrun, where it is installed (`pip install frontrun`), one after the other in
turn: ratios are what counts there. Medians of the rounds are printed, with their range.

    python benchmarks/explorer.py [--rounds 3] [--budget 30s] [--parts abcd] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from itertools import product
from typing import Any

import beside_frontrun
from holes import BIDS, asked, broken_payouts

from oversold.errors import UsageError
from oversold.explorations.servers import Stores, explored
from oversold.explore.execution import Learned, Pruned
from oversold.explore.search import DepthFirst
from oversold.stores.guard import Guard
from oversold.stores.providers import StoreChoice, stores

RATES = {  # what is walked for the rate: bidders, shares
    "none": (2, 1),
    "redis-watch": (3, 2),
    "memcached-cas": (3, 2),
    "row-lock": (3, 2),
    "version": (3, 2),
}
RATE_S = 2.0
SOUND = (
    *("redis-lua", "redis-watch", "redis-lock", "memcached-cas", "memcached-cas-retry"),
    *("row-lock", "conditional-update", "version", "advisory-lock"),
)
BIDDERS = (2, 3, 4)
GOAL_FOUND_S, GOAL_PROVEN_S = 1.0, 10.0
Rows = list[dict[str, Any]]


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--budget", default="30s", help="for each search, e.g. 30s")
    parser.add_argument("--parts", default="abcd", help="which of a, b, c, d to measure")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    measures = {"a": rates, "b": counterexamples, "c": proofs, "d": beside}
    found: dict[str, Rows] = {}
    with Stores(StoreChoice()) as servers:
        for part, measure in measures.items():
            if part in options.parts:
                found[part] = measure(servers, options)
    if options.json:
        print(json.dumps({"rounds": options.rounds, "budget": options.budget, "cores": os.cpu_count(), **found}))
        return
    print(f"{os.cpu_count()} cores, median of {options.rounds} rounds (range), at most {options.budget} a search")
    for part, rows in found.items():
        for line in TABLES[part](rows):
            print(line)


def say(text: str) -> None:
    """Tell on stderr how far it is."""
    print(text, file=sys.stderr, flush=True)


def middle(values: list[float], digits: int = 2) -> str:
    """Return the median with its range."""
    if not values:
        return "-"
    low, high = f"{min(values):,.{digits}f}", f"{max(values):,.{digits}f}"
    return f"{statistics.median(values):,.{digits}f}" + ("" if low == high else f" ({low} to {high})")


# (a) Schedules a second


def rates(servers: Stores, options: argparse.Namespace) -> Rows:
    """Walk the same schedules on fakes and on real stores, in turn."""
    rows = [
        {"strategy": name, "bidders": bidders, "shares": shares, "store": store, "per_s": []}
        for name, (bidders, shares) in RATES.items()
        for store in ("fake", "real")
    ]
    for turn in range(options.rounds):
        for row in rows:
            say(f"rates, round {turn + 1} of {options.rounds}: {row['strategy']}, {row['store']}")
            words = f"--bidders {row['bidders']} --capacity-bids {row['shares']}"
            with suppress(UsageError):  # SQL has no fake, and fakeredis may not be installed
                row["per_s"].append(rate(servers, row["strategy"], words, row["store"]))
    return rows


def rate(servers: Stores, strategy: str, words: str, store: str) -> float:
    """Return how many schedules a second are played and judged, beginning anew whenever all were walked."""
    exploration = asked(strategy, "bids", f"{words} --store {store}")
    with servers.stage(exploration) as stage:
        subject = stage.subject(exploration.scenario)
        search, runs = DepthFirst(), 0
        began = time.perf_counter()
        while time.perf_counter() - began < RATE_S:
            search.begin()
            runs += 1
            try:
                subject.play(search, 0)
                subject.broken()
            except Pruned:
                pass
            except Learned:
                search.learned()
                continue
            search.end()
            search = DepthFirst() if search.exhausted else search
        return runs / (time.perf_counter() - began)


def rate_table(rows: Rows) -> Iterator[str]:
    """Yield the table of rates."""
    yield ""
    yield f"{'(a) schedules a second':<28}{'fake':>26}{'real':>26}"
    for fake, real in zip(rows[::2], rows[1::2], strict=True):
        name = f"{fake['strategy']}, {fake['bidders']} bidders"
        yield f"{name:<28}" + "".join(f"{middle(row['per_s'], 0):>26}" for row in (fake, real))


# (b) Time to the first counterexample


def counterexamples(servers: Stores, options: argparse.Namespace) -> Rows:
    """Search each design that loses money."""
    cases = [(name, "bids", hole.words) for name, hole in BIDS.items() if hole.broken]
    cases += [(name, "payouts", words) for name, words in broken_payouts()]
    rows = [{"strategy": name, "words": words, "first_s": [], "told_s": []} for name, _, words in cases]
    for turn in range(options.rounds):
        for row, (name, kind, words) in zip(rows, cases, strict=True):
            say(f"counterexamples, round {turn + 1} of {options.rounds}: {name}")
            result = explored(asked(name, kind, f"{words} --budget {options.budget}"), servers, lambda _: None)
            row["outcome"] = result.outcome
            if result.schedule is not None:
                row["first_s"].append(result.first_s)
                row["told_s"].append(result.seconds)
                row["steps"] = len(result.schedule.steps)
    return rows


def counterexample_table(rows: Rows) -> Iterator[str]:
    """Yield the table of counterexamples."""
    yield ""
    yield f"{'(b) seconds to a counterexample':<34}{'found':>24}{'small, repeated':>26}{'steps':>7}  explore with"
    for row in rows:
        steps = row.get("steps", row["outcome"])
        late = " LATE" if not row["first_s"] or statistics.median(row["first_s"]) > GOAL_FOUND_S else ""
        times = f"{middle(row['first_s']):>24}{middle(row['told_s']):>26}"
        yield f"{row['strategy']:<34}{times}{steps:>7}  {row['words']}{late}"
    yield f"goal: found within {GOAL_FOUND_S:g} s; what is slower is marked LATE"


# (c) Time to a proof


def proofs(servers: Stores, options: argparse.Namespace) -> Rows:
    """Walk all schedules of sound designs."""
    rows = [{"strategy": name, "bidders": bidders, "seconds": []} for name in SOUND for bidders in BIDDERS]
    for turn in range(options.rounds):
        for row in rows:
            if row.get("over"):  # it took the whole budget before
                continue
            say(f"proofs, round {turn + 1} of {options.rounds}: {row['strategy']}, {row['bidders']} bidders")
            words = f"--bidders {row['bidders']} --budget {options.budget}"
            result = explored(asked(row["strategy"], "bids", words), servers, lambda _: None)
            row.update(outcome=result.outcome, schedules=result.runs, over=result.outcome != "EXHAUSTED")
            row["seconds"].append(result.searched_s)
    return rows


def proof_table(rows: Rows) -> Iterator[str]:
    """Yield the table of proofs."""
    yield ""
    yield f"{'(c) seconds to a proof':<24}" + "".join(f"{f'{number} bidders':>34}" for number in BIDDERS)
    for place in range(0, len(rows), len(BIDDERS)):
        line = f"{rows[place]['strategy']:<24}"
        for row in rows[place : place + len(BIDDERS)]:
            late = " LATE" if row["bidders"] == 3 and statistics.median(row["seconds"]) > GOAL_PROVEN_S else ""
            took = f"not in {row['seconds'][-1]:.0f}" if row["over"] else middle(row["seconds"])
            cell = f"{row['schedules']:,}: {took}{late}"
            line += f"{cell:>34}"
        yield line
    yield f"schedules: seconds. Goal: {GOAL_PROVEN_S:g} s with 3 bidders; what is slower is marked LATE"


# (d) Beside frontrun


def beside(_: Stores, options: argparse.Namespace) -> Rows:
    """Give both the same cases on the same Redis, in turn; without frontrun there is nothing to compare with."""
    if find_spec("frontrun") is None:
        return []
    patience_s = asked("none", "bids", f"--budget {options.budget}").limits.budget_s
    contests = product(beside_frontrun.CASES, beside_frontrun.CONTESTANTS)
    rows: Rows = [{"case": case, "who": who, "seconds": []} for case, who in contests]
    with Guard() as guard, stores(frozenset({"redis"}), StoreChoice(), guard, 100, "beside") as endpoints:
        for turn in range(options.rounds):
            for row in rows if turn % 2 == 0 else rows[::-1]:
                say(f"beside frontrun, round {turn + 1} of {options.rounds}: {row['case']}, {row['who']}")
                answer = beside_frontrun.run(row["who"], row["case"], endpoints["redis"], patience_s)
                row["seconds"].append(answer.pop("seconds"))
                row.update(answer)
    return rows


def beside_table(rows: Rows) -> Iterator[str]:
    """Yield the table of both, with ratios."""
    yield ""
    if not rows:
        yield "(d) beside frontrun: it is not installed (pip install frontrun), so nothing was compared"
        return
    yield f"{'(d) beside frontrun':<20}{'':<28}{'schedules':>10}{'seconds':>26}{'ratio':>8}  said"
    for row in rows:
        own = next(each for each in rows if each["case"] == row["case"] and each["who"] == "oversold")
        ratio = statistics.median(row["seconds"]) / statistics.median(own["seconds"])
        said = "found" if row["found"] else "holds" if row["holds"] else "no verdict"
        over = ", though its time was over" if row["over"] else ""
        more = f"{'>' if row['over'] else ''}{ratio:.1f}"
        times = f"{row['schedules']:>10,}{middle(row['seconds']):>26}{more:>8}"
        yield f"{row['case']:<20}{row['who']:<28}{times}  {said}{over}"
    yield "ratio: its seconds / oversold's. Both repeat a counterexample ten times; oversold also makes it small"


TABLES = {"a": rate_table, "b": counterexample_table, "c": proof_table, "d": beside_table}

if __name__ == "__main__":
    main()
