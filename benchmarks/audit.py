"""What the audit itself costs: large histories are read, judged, summarised, written, and read back.

They are made up, but have what real ones have: two workers' files, bidders who are told busy and tap again, late
comers, failing steps whose holds come back, a mark that is set and taken back. Making them is not measured. Each
size runs in a child process of its own, so its peak memory is its own. The column `n log n` stays at 1 or below
as long as the cost grows no faster than that.

    python benchmarks/audit.py [--large] [--taps 3000000 ...] [--json]
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

SIZES = (100_000, 1_000_000)
LARGE = 10_000_000
WORKERS = 2
TAPS_A_BID = 3
UNIT_FEN = 10_000
T0_NS = 10**15
STAGES = ("read_raw", "audit", "summarise", "write", "read")
KIB_A_RSS_UNIT = 1 if sys.platform == "linux" else 1 / 1024  # macOS counts bytes


@dataclass(frozen=True)
class Crowd:
    """The bidders of a made-up burst, one entry each, times in ns since the gate."""

    amount_fen: npt.NDArray[np.int64]
    arrival: npt.NDArray[np.int64]
    taps: npt.NDArray[np.int64]
    asked: npt.NDArray[np.int64]  # when the last tap was answered
    outcome: npt.NDArray[np.int64]
    step: npt.NDArray[np.int64]  # the failing one, 0 for none
    capacity_fen: int


def crowd(bids: int, draw: np.random.Generator) -> Crowd:
    """Decide who is served: in the order of their last taps, until the stock is sold; one bid in ten fails."""
    from oversold.evidence import Outcome

    late = draw.uniform(size=bids) < 0.15
    arrival = np.where(late, draw.integers(0, bids * 100_000, bids), 0)
    taps = draw.geometric(1 / TAPS_A_BID, bids)
    asked = arrival + draw.integers(0, 10**9 + bids * 50_000, bids) + (taps - 1) * 200_000_000
    amount = (1 + draw.poisson(2.0, bids)) * UNIT_FEN
    capacity = int(amount.sum() / 1.3)
    fails = draw.uniform(size=bids) < 0.1
    order = np.argsort(asked)
    sold = np.cumsum(np.where(fails, 0, amount)[order]) <= capacity
    outcome = np.empty(bids, np.int64)
    outcome[order] = np.where(sold, np.where(fails[order], Outcome.ERROR, Outcome.OK), Outcome.SOLD_OUT)
    # Some lose patience before they are told anything but busy.
    outcome[(outcome == Outcome.SOLD_OUT) & (draw.uniform(size=bids) < 0.2)] = Outcome.BUSY
    step = np.where(outcome == Outcome.ERROR, draw.integers(1, 13, bids), 0)
    return Crowd(amount, arrival, taps, asked, outcome, step, capacity)


def history_of(people: Crowd, draw: np.random.Generator) -> npt.NDArray[np.void]:
    """Return all taps as `evidence.TAP` rows with absolute times, in the order in which lanes took them."""
    from oversold.evidence import NEVER, TAP, HoldEnd, Outcome, RefusedBy

    bid = np.repeat(np.arange(len(people.taps)), people.taps)
    attempt = 1 + np.arange(len(bid)) - np.repeat(np.cumsum(people.taps) - people.taps, people.taps)
    last = attempt == people.taps[bid]
    rows = np.zeros(len(bid), TAP)
    rows["bid"], rows["attempt"], rows["final"] = bid, attempt, last
    rows["lane"] = draw.integers(0, 64, len(bid))
    outcome = np.where(last, people.outcome[bid], Outcome.BUSY)
    held = (outcome == Outcome.OK) | (outcome == Outcome.ERROR)
    by_mark = (outcome == Outcome.SOLD_OUT) & (draw.uniform(size=len(bid)) < 0.8)
    rows["outcome"], rows["failed_step"] = outcome, np.where(last, people.step[bid], 0)
    rows["hold"] = np.select([outcome == Outcome.OK, held], [HoldEnd.CONFIRMED, HoldEnd.RELEASED], HoldEnd.NONE)
    refusals = [outcome == Outcome.OK, held, by_mark]
    rows["refused_by"] = np.select(
        refusals, [RefusedBy.NOBODY, RefusedBy.STEP, RefusedBy.STATUS], RefusedBy.STRATEGY
    )
    rows["amount_fen"] = people.amount_fen[bid]
    rows["t_intended"] = T0_NS + people.arrival[bid]
    answered = T0_NS + people.asked[bid] - (people.taps[bid] - attempt) * 200_000_000
    rows["t_admitted"] = answered - 1_000_000
    rows["t_sent"] = np.where(by_mark, NEVER, answered - 500_000)
    rows["t_reserved"] = np.where(by_mark, NEVER, answered)
    rows["t_done"] = answered + np.where(held, 24_000_000, 10_000)
    return rows[np.argsort(rows["t_admitted"], kind="stable")]


def make(folder: Path, taps: int) -> None:
    """Write what the workers, the ledger and the samplers of such a run would have left."""
    from oversold import history
    from oversold.evidence import Outcome

    draw = np.random.default_rng(taps)
    people = crowd(taps // TAPS_A_BID, draw)
    rows = history_of(people, draw)
    for worker in range(WORKERS):
        share = rows[rows["bid"] % WORKERS == worker]
        path = history.path_of(folder, worker)
        header = history.HEADER.pack(history.MAGIC, len(share), len(people.taps) // WORKERS, 0, 0)
        path.write_bytes(header.ljust(history.HEADER_SIZE, b"\0") + share.tobytes())
        manifest = folder / f"manifest-{worker}.json"
        manifest.write_text(json.dumps({"crc32": history.checksum(path)}))
    (folder / "gate.json").write_text(json.dumps({"t0_ns": T0_NS, "wall_offset_ns": 0}))
    ok = np.flatnonzero(people.outcome == Outcome.OK)
    ok = ok[np.argsort(people.asked[ok])]
    end = int(people.asked.max()) + 10**9
    changes = np.sort(draw.integers(end // 2, end, min(len(ok) // 100, 100_000)))
    samples = np.arange(0, end, 50_000_000)
    np.savez(
        folder / "books.npz",
        capacity_fen=people.capacity_fen,
        plan=people.amount_fen,
        bid=ok,
        amount_fen=people.amount_fen[ok],
        t=people.asked[ok] + 23_900_000,
        changes=changes,
        samples=samples,
        t_end=end,
    )


def measure(folder: Path) -> dict[str, Any]:
    """Take the files in `folder` through all that follows a run; return seconds by stage and peak memory."""
    from oversold import audit
    from oversold.bid_plan import BidPlan
    from oversold.bid_summary import summarise
    from oversold.checkers import audit as judge
    from oversold.evidence import Claims, Evidence, Ledger, StatusLog
    from oversold.model import Claim, Tranche
    from oversold.report import parquet

    times = [time.perf_counter()]
    raw = audit.read_raw(folder)
    times.append(time.perf_counter())
    books = np.load(folder / "books.npz")
    capacity, changes, samples = int(books["capacity_fen"]), books["changes"], books["samples"]
    ledger = Ledger(books["bid"], books["amount_fen"], books["t"])
    evidence = Evidence(
        tranche=Tranche("t", capacity),
        min_bid_fen=UNIT_FEN,
        bid_amount_fen=books["plan"],
        history=raw.taps,
        ledger=ledger,
        status_log=StatusLog(changes, np.arange(len(changes)) % 2 == 0),
        claims=Claims(samples, np.zeros(len(samples), np.int64), np.zeros(len(samples), bool)),
        final_claim=Claim("full", 0),
        t_end=int(books["t_end"]),
        notice_ns=50_000_000,
    )
    # The plan's users only bound what a user may ask for; nothing of the audit depends on them.
    plan = BidPlan(scenario="bid-burst", strategy="none", users=1_000, capacity_fen=capacity)
    gap = time.perf_counter() - times[-1]
    findings = judge(evidence)
    times.append(time.perf_counter() - gap)
    summary = summarise(evidence, findings, plan)
    times.append(time.perf_counter() - gap)
    parquet.write(folder, evidence.history, ledger, evidence.status_log, evidence.claims)
    times.append(time.perf_counter() - gap)
    taps, bids = len(raw.taps), len(evidence.bid_amount_fen)
    del raw, evidence, ledger, books  # as in `oversold report`, which has only the files
    again, *_ = parquet.read(folder)
    times.append(time.perf_counter() - gap)
    if len(again) != taps or summary["load"]["taps"] != taps:
        raise SystemExit("the audit lost taps")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB_A_RSS_UNIT / 1024
    stages = dict(zip(STAGES, np.diff(times).tolist(), strict=True))
    return {"taps": taps, "bids": bids, "seconds": times[-1] - times[0], "stages": stages, "peak_rss_mb": peak}


def child(task: str, folder: Path, taps: int) -> str:
    """Do one task in a process of its own and return what it prints."""
    words = [sys.executable, __file__, "--task", task, "--folder", str(folder), "--taps", str(taps)]
    return subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout


def report(rows: list[dict[str, Any]]) -> None:
    """Print the table."""
    print(f"{'taps':>12}{'bids':>12}{'seconds':>10}{'peak MB':>10}{'n log n':>9}   " + "  ".join(STAGES))
    for row in rows:
        stages = "  ".join(f"{row['stages'][name]:>{len(name)}.2f}" for name in STAGES)
        print(
            f"{row['taps']:>12,}{row['bids']:>12,}{row['seconds']:>10.2f}{row['peak_rss_mb']:>10,.0f}"
            f"{row['per_n_log_n']:>9.2f}   {stages}"
        )
    print("n log n: seconds / (taps x log2 taps), relative to the first row")


def main() -> None:
    """Measure each size and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--large", action="store_true", help=f"also {LARGE:,} taps: some minutes, some GB of disk")
    parser.add_argument("--taps", type=int, nargs="+", help="these sizes instead")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--task", choices=["make", "measure"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task == "make":
        make(options.folder, options.taps[0])
        return
    if options.task == "measure":
        print(json.dumps(measure(options.folder)))
        return
    rows: list[dict[str, Any]] = []
    for taps in options.taps or (*SIZES, *([LARGE] if options.large else [])):
        print(f"{taps:,} taps", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix="oversold-bench-") as name:
            child("make", Path(name), taps)
            row = json.loads(child("measure", Path(name), taps))
        each = row["seconds"] / (row["taps"] * math.log2(row["taps"]))
        rows.append({**row, "seconds_per_n_log_n": each})
        rows[-1]["per_n_log_n"] = each / rows[0]["seconds_per_n_log_n"]
    if options.json:
        print(json.dumps({"sizes": rows}, indent=1))
    else:
        report(rows)


if __name__ == "__main__":
    main()
