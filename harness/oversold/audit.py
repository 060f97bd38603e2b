"""From what a run left in its folder and in the ledger to evidence, findings and a verdict."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from oversold import history
from oversold.checkers import measures
from oversold.checkers.judging import percent
from oversold.errors import HarnessError
from oversold.evidence import HISTORY, NEVER, TAP
from oversold.model import Finding, Verdict
from oversold.plan import Plan

TIMES = ("t_intended", "t_admitted", "t_sent", "t_reserved", "t_done")
MIN_OVERLAP = 0.01
CLOCKS_APART_MS = 20.0
ARRIVAL_LAG_SHARE = 0.2
ARRIVAL_LAG_MIN_MS = 250.0


@dataclass(frozen=True)
class Raw:
    """What the workers left: all taps as `evidence.HISTORY` rows (gate = 0), manifests by worker, the gate."""

    taps: npt.NDArray[np.void]
    manifests: Mapping[int, Mapping[str, Any]]
    t0_ns: int
    gate_wall_ns: int
    gate_opened: bool
    damaged: Sequence[str] = field(default_factory=tuple)


def read_raw(folder: Path) -> Raw:
    """Read histories and manifests of one run. A worker without manifest was lost; its taps still count."""
    gate_file = folder / "gate.json"
    gate = json.loads(gate_file.read_text()) if gate_file.exists() else {"t0_ns": 0, "wall_offset_ns": 0}
    parts, manifests, damaged = [], {}, []
    for path in sorted(folder.glob("worker-*.taps")):
        worker = int(path.stem.removeprefix("worker-"))
        try:
            taps = history.read(path)
        except HarnessError as error:
            damaged.append(str(error))
            continue
        parts.append(_rows(taps, worker, gate["t0_ns"]))
        manifest = folder / f"manifest-{worker}.json"
        if manifest.exists():
            try:
                manifests[worker] = json.loads(manifest.read_text())
            except ValueError:  # killed in mid-write: as good as none
                continue
            if manifests[worker]["crc32"] != history.checksum(path):
                damaged.append(f"the history of worker {worker} differs from what it reported")
    taps = np.concatenate(parts) if parts else np.zeros(0, HISTORY)
    return Raw(
        taps,
        manifests,
        gate["t0_ns"],
        gate["t0_ns"] + gate["wall_offset_ns"],
        gate_file.exists(),
        tuple(damaged),
    )


def _rows(taps: npt.NDArray[np.void], worker: int, t0_ns: int) -> npt.NDArray[np.void]:
    rows = np.zeros(len(taps), HISTORY)
    for name in TAP.names or ():
        if name in TIMES:
            rows[name] = np.where(taps[name] == NEVER, NEVER, taps[name] - t0_ns)
        elif name != "pad":
            rows[name] = taps[name]
    rows["worker"] = worker
    return rows


@dataclass(frozen=True)
class Circumstances:
    """What must be known besides the evidence to judge whether a run proves anything.

    `canary` is the oversubscription rate of strategy `none` under the same load, None when none was run;
    `is_canary` when this run is the canary itself. `faults` are the workers' fault rows.
    """

    plan: Plan
    is_canary: bool
    canary: float | None
    ended: str | None
    hung: bool
    lost_workers: Sequence[int]
    lost_stores: Sequence[str]
    faults: Sequence[Mapping[str, Any]]
    damaged: Sequence[str] = ()

    @property
    def complete(self) -> bool:
        """Whether nothing was lost, nothing interrupted, and every store answered every call."""
        silent = any(fault["kind"] == "store" for fault in self.faults)
        return not (self.ended or self.lost_workers or self.lost_stores or self.damaged or silent)


def proof(circumstances: Circumstances, raw: Raw, offered_fen: int) -> list[Finding]:
    """Return the findings that say whether the run proves anything, and whether the strategy behaved."""
    return [
        _complete(circumstances),
        _behaved(circumstances),
        _canary(circumstances),
        _demand(circumstances.plan, offered_fen),
        _overlap(raw),
        _generator(raw),
    ]


def verdict(findings: Iterable[Finding]) -> tuple[Verdict, list[str]]:
    """Return the worst of the findings, and the details of all that are not `pass`. A fact beats a doubt."""
    findings = list(findings)
    failed = [f.detail for f in findings if f.verdict == "fail"]
    doubtful = [f.detail for f in findings if f.verdict == "inconclusive"]
    return ("fail" if failed else "inconclusive" if doubtful else "pass"), failed + doubtful


def clocks(apart_ns: int) -> Finding:
    """Orders are dated by the ledger's wall clock, taps by the machine's monotonic one: they must have agreed."""
    apart_ms = abs(apart_ns) / 1e6
    if apart_ms > CLOCKS_APART_MS:
        detail = f"The ledger's clock and this machine's went {apart_ms:,.0f} ms apart: times cannot be compared."
        return Finding("clocks", "inconclusive", detail, {"apart_ms": apart_ms})
    return Finding(
        "clocks",
        "pass",
        f"The ledger's clock and this machine's agree to {apart_ms:.1f} ms.",
        {"apart_ms": apart_ms},
    )


def _complete(seen: Circumstances) -> Finding:
    problems = []
    if seen.lost_workers:
        problems.append(f"worker {', '.join(map(str, seen.lost_workers))} was lost")
    if seen.lost_stores:
        problems.append(f"{', '.join(seen.lost_stores)} was lost")
    if seen.ended and not seen.lost_stores:
        problems.append(seen.ended)
    problems += seen.damaged
    if problems:
        return Finding("complete", "inconclusive", f"The run is incomplete: {'; '.join(problems)}.")
    return Finding("complete", "pass", "All workers and stores were there from beginning to end.")


def _behaved(seen: Circumstances) -> Finding:
    own = [fault for fault in seen.faults if fault["kind"] in {"raised", "nonsense", "hung"}]
    count = sum(fault["count"] for fault in own)
    if seen.lost_stores:
        # Without its store even a sound strategy raises, or waits for ever.
        detail = f"Without {', '.join(seen.lost_stores)} nothing can be said of the strategy."
        return Finding("strategy", "inconclusive", detail, {"faults": count})
    if seen.hung and not count:
        return Finding("strategy", "fail", f"The strategy hangs: {seen.ended}.")
    if own:
        first = own[0]
        what = {"raised": "raised", "nonsense": "gave nonsense", "hung": "hung"}[first["kind"]]
        others = f" ({count} faults in all)" if count > 1 else ""
        detail = f"The strategy {what} in {first['phase']}: {first['text']}{others}."
        return Finding("strategy", "fail", detail, {"faults": count})
    lost = sum(fault["count"] for fault in seen.faults if fault["kind"] == "store")
    if lost:
        first = next(fault for fault in seen.faults if fault["kind"] == "store")
        detail = f"A store did not answer {lost} times, first in {first['phase']}: {first['text']}."
        return Finding("strategy", "inconclusive", detail, {"faults": lost})
    return Finding("strategy", "pass", "The strategy answered every call.")


def _canary(seen: Circumstances) -> Finding:
    if seen.canary is None:
        return Finding("canary", "inconclusive", "No canary was run, so nothing shows that this load finds races.")
    if seen.canary <= 0:
        who = "This canary" if seen.is_canary else "The canary (strategy none)"
        detail = f"{who} did not oversell under this load, so the load proves nothing: raise users or lanes."
        return Finding("canary", "inconclusive", detail, {"oversubscription": 0.0})
    detail = f"Without a lock this load oversells by {percent(seen.canary)}."
    return Finding("canary", "pass", detail, {"oversubscription": seen.canary})


def _demand(plan: Plan, offered_fen: int) -> Finding:
    ratio = offered_fen / plan.capacity_fen
    if ratio <= 1:
        detail = f"Demand was {ratio:.2f} of the capacity: a tranche that nobody fights over cannot be oversold."
        return Finding("demand", "inconclusive", detail, {"demand": ratio})
    return Finding("demand", "pass", f"Demand was {ratio:.2f} times the capacity.", {"demand": ratio})


def _overlap(raw: Raw) -> Finding:
    share = measures.overlap(raw.taps)
    if share < MIN_OVERLAP:
        detail = f"Only {percent(share)} of the store calls met another process's call: there was no race to lose."
        return Finding("overlap", "inconclusive", detail, {"overlap": share})
    return Finding("overlap", "pass", f"{share:.0%} of the store calls met another one.", {"overlap": share})


def _generator(raw: Raw) -> Finding:
    """Bidders that arrive much later than planned mean that the generator, not the design, set the pace."""
    lag_ms = max((m["arrival_lag_ms"]["p99"] for m in raw.manifests.values()), default=0.0)
    wall_ms = max((m["wall_s"] * 1e3 for m in raw.manifests.values()), default=0.0)
    dropped = sum(m["dropped"] for m in raw.manifests.values())
    values = {"arrival_lag_p99_ms": lag_ms, "taps_not_recorded": dropped}
    if dropped:
        detail = f"The recorder ran out of rows and lost {dropped} taps: shorten patience_s or raise think_ms."
        return Finding("generator", "inconclusive", detail, values)
    if lag_ms > max(ARRIVAL_LAG_MIN_MS, ARRIVAL_LAG_SHARE * wall_ms):
        detail = (
            f"The load generator was the bottleneck: bidders arrived up to {lag_ms:,.0f} ms late. "
            "Use fewer users, or more processes on more cores."
        )
        return Finding("generator", "inconclusive", detail, values)
    return Finding("generator", "pass", f"Bidders arrived within {lag_ms:,.0f} ms of their plan.", values)
