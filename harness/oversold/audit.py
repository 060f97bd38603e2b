"""From what a run left in its folder and in the ledger to evidence, findings and a verdict."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from oversold import history
from oversold.bid_plan import BidPlan
from oversold.checkers.judging import percent
from oversold.errors import HarnessError
from oversold.evidence import HISTORY, NEVER, TAP
from oversold.model import Finding, Verdict
from oversold.plan import Kind, Plan

TIMES = ("t_intended", "t_admitted", "t_sent", "t_reserved", "t_done")
CLOCKS_APART_MS = 20.0
ARRIVAL_LAG_SHARE = 0.2


class CanaryWords(NamedTuple):
    """How the canary's finding speaks of one kind of incident."""

    rate: str
    fault: str
    verb: str
    mend: str
    proven: str


CANARY_WORDS: Mapping[Kind, CanaryWords] = {
    "bids": CanaryWords(
        "oversubscription",
        "races",
        "oversell",
        "raise users or lanes",
        "Without a lock this load oversells by {}.",
    ),
    "payouts": CanaryWords(
        "duplicate",
        "double payments",
        "pay twice",
        "raise obligations or lanes",
        "With no claim lock and blind failover these jobs pay {} of the obligations twice, over the channels of "
        "the incident.",
    ),
}
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
    manifests = _manifests(folder)
    damaged = []
    paths = sorted(folder.glob("worker-*.taps"))
    # All workers' rows go into one array, made once: a million bids' taps should not be in memory twice.
    room = [_room(path) for path in paths]
    taps = np.zeros(sum(room), HISTORY)
    used = 0
    for path, most in zip(paths, room, strict=True):
        worker = int(path.stem.removeprefix("worker-"))
        try:
            own = history.read(path)[:most]  # a lost worker may still be writing
        except HarnessError as error:
            damaged.append(str(error))
            continue
        _fill(taps[used : used + len(own)], own, worker, gate["t0_ns"])
        used += len(own)
        if worker in manifests and manifests[worker]["crc32"] != history.checksum(path):
            damaged.append(f"the history of worker {worker} differs from what it reported")
    for worker, manifest in manifests.items():
        if "crc32" in manifest and not history.path_of(folder, worker).exists():
            damaged.append(f"the history of worker {worker} is gone")
    return Raw(
        taps[:used],
        manifests,
        gate["t0_ns"],
        gate["t0_ns"] + gate["wall_offset_ns"],
        gate_file.exists(),
        tuple(damaged),
    )


def _manifests(folder: Path) -> dict[int, dict[str, Any]]:
    found = {}
    for path in sorted(folder.glob("manifest-*.json")):
        with suppress(ValueError):  # killed in mid-write: as good as none
            found[int(path.stem.removeprefix("manifest-"))] = json.loads(path.read_text())
    return found


def _room(path: Path) -> int:
    """Return how many rows a worker's file may have: what it says, or what fits in it if it says more."""
    return min(history.progress(path).rows, path.stat().st_size // TAP.itemsize)


def _fill(rows: npt.NDArray[np.void], taps: npt.NDArray[np.void], worker: int, t0_ns: int) -> None:
    for name in TAP.names or ():
        if name in TIMES:
            rows[name] = np.where(taps[name] == NEVER, NEVER, taps[name] - t0_ns)
        elif name != "pad":
            rows[name] = taps[name]
    rows["worker"] = worker


@dataclass(frozen=True)
class Circumstances:
    """What must be known besides the evidence to judge whether a run proves anything.

    `canary` is how badly the plan's canary broke its promise (bids: oversubscription rate; payouts: duplicate
    rate), None when none was run; `is_canary` when this run is the canary itself. `faults` are the workers'
    fault rows. `answers` is how many taps of a burst were answered at all, None where nobody counted.
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
    answers: int | None = None

    def with_canary(self, rate: float) -> Circumstances:
        """Return the same with what the canary, which this run is, turned out to do."""
        return replace(self, canary=rate)

    @property
    def complete(self) -> bool:
        """Whether nothing was lost, nothing interrupted, and every store answered every call."""
        silent = any(fault["kind"] in {"store", "limit"} for fault in self.faults)
        lost = self.ended or self.lost_workers or self.lost_stores or self.damaged
        return not (lost or silent or self.misread)

    @property
    def misread(self) -> bool:
        """Whether no answer of a service at all was one that its file names: then the file is to blame."""
        strange = [fault for fault in self.faults if fault["kind"] == "unmapped"]
        # A tap that could not be sent has ended with an error, but nobody answered it. One whose polls were
        # strange to the last has no answer at all.
        void = sum(fault["count"] for fault in strange if fault["phase"] == "bid") + self.count("store")
        return bool(strange) and self.answers is not None and void >= self.answers

    def count(self, kind: str) -> int:
        """Return how many faults of a kind there were."""
        return sum(fault["count"] for fault in self.faults if fault["kind"] == kind)


def proof(circumstances: Circumstances) -> list[Finding]:
    """Return the findings that say whether the run proves anything, and whether the strategy behaved."""
    return [_complete(circumstances), _behaved(circumstances), _canary(circumstances)]


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
    bounds = [fault for fault in seen.faults if fault["kind"] == "limit"]
    problems += [f"{fault['text']} ({fault['count']:,} taps were not sent)" for fault in bounds]
    problems += seen.damaged
    if problems:
        return Finding("complete", "inconclusive", f"The run is incomplete: {'; '.join(problems)}.")
    return Finding("complete", "pass", "All workers and stores were there from beginning to end.")


def _behaved(seen: Circumstances) -> Finding:
    own = [fault for fault in seen.faults if fault["kind"] in {"raised", "nonsense", "hung"}]
    who = "service" if seen.plan.is_service else "strategy"
    count = sum(fault["count"] for fault in own)
    if seen.lost_stores:
        # Without its store even a sound strategy raises, or waits for ever.
        detail = f"Without {', '.join(seen.lost_stores)} nothing can be said of the {who}."
        return Finding("strategy", "inconclusive", detail, {"faults": count})
    if seen.hung and not count:
        return Finding("strategy", "fail", f"The {who} hangs: {seen.ended}.")
    if own:
        first = own[0]
        if seen.plan.is_service and (first["kind"], first["phase"]) == ("raised", "open"):
            detail = f"The service did not open what was to be tried: {first['text']}."
            return Finding("strategy", "fail", detail, {"faults": count})
        what = {"raised": "raised", "nonsense": "gave nonsense", "hung": "hung"}[first["kind"]]
        others = f" ({count} faults in all)" if count > 1 else ""
        detail = f"The {who} {what} in {first['phase']}: {first['text']}{others}."
        return Finding("strategy", "fail", detail, {"faults": count})
    return _answered(seen, who)


def _answered(seen: Circumstances, who: str) -> Finding:
    """Judge by whether it was there, and a service by whether it was understood, what did nothing wrong."""
    unmapped = [fault for fault in seen.faults if fault["kind"] == "unmapped"]
    if seen.misread:
        told = ", ".join(f"{fault['text'].partition(',')[0]} ({fault['count']:,} times)" for fault in unmapped)
        sections = " or ".join(dict.fromkeys(f"[{fault['phase']}]" for fault in unmapped))
        detail = f"The service answered nothing that {sections} names: {told}: mend path, auth or the reply rules."
        return Finding("strategy", "inconclusive", detail, {"faults": seen.count("unmapped")})
    if lost := seen.count("store"):
        first = next(fault for fault in seen.faults if fault["kind"] == "store")
        silent = "The service" if seen.plan.is_service else "A store"
        detail = f"{silent} did not answer {lost} times, first in {first['phase']}: {first['text']}."
        return Finding("strategy", "inconclusive", detail, {"faults": lost})
    others = [(fault["count"], "reply" if fault["count"] == 1 else "replies", fault["text"]) for fault in unmapped]
    also = "".join(f"; {count:,} {noun} had {text}" for count, noun, text in others)
    return Finding("strategy", "pass", f"The {who} answered every call{also}.")


def _canary(seen: Circumstances) -> Finding:
    canary, words = seen.plan.canary.strategy, CANARY_WORDS[seen.plan.kind]
    if seen.canary is None:
        detail = f"No canary was run, so nothing shows that this load finds {words.fault}."
        return Finding("canary", "inconclusive", detail)
    if seen.canary <= 0:
        if seen.is_canary and not seen.complete:
            detail = "This canary did not come far enough to prove anything."
            return Finding("canary", "inconclusive", detail, {words.rate: 0.0})
        who = "This canary" if seen.is_canary else f"The canary (strategy {canary})"
        detail = f"{who} did not {words.verb} under this load, so the load proves nothing: {words.mend}."
        return Finding("canary", "inconclusive", detail, {words.rate: 0.0})
    where = "Behind oversold serve: " if isinstance(seen.plan, BidPlan) and seen.plan.http else ""
    detail = where + words.proven.format(percent(seen.canary))
    return Finding("canary", "pass", detail, {words.rate: seen.canary})


def generator(raw: Raw) -> Finding:
    """Users that come much later than planned mean that the generator, not the design, set the pace."""
    lag_ms = max((m["arrival_lag_ms"]["p99"] for m in raw.manifests.values()), default=0.0)
    wall_ms = max((m["wall_s"] * 1e3 for m in raw.manifests.values()), default=0.0)
    dropped = sum(m.get("dropped", 0) for m in raw.manifests.values())
    values = {"arrival_lag_p99_ms": lag_ms, "taps_not_recorded": dropped}
    if dropped:
        detail = f"The recorder ran out of rows and lost {dropped} taps: shorten patience_s or raise think_ms."
        return Finding("generator", "inconclusive", detail, values)
    if lag_ms > max(ARRIVAL_LAG_MIN_MS, ARRIVAL_LAG_SHARE * wall_ms):
        detail = (
            f"The load generator was the bottleneck: users came up to {lag_ms:,.0f} ms late. "
            "Use fewer users, or more processes on more cores."
        )
        return Finding("generator", "inconclusive", detail, values)
    return Finding("generator", "pass", f"Users came within {lag_ms:,.0f} ms of their plan.", values)
