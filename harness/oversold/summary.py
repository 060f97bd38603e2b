"""summary.json: what one run says, in the schema `oversold/run/1`. Keys are added, never renamed."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from oversold import __version__
from oversold.audit import Circumstances, Raw, verdict
from oversold.checkers import measures
from oversold.evidence import NEVER, Evidence
from oversold.model import Finding
from oversold.plan import Plan
from oversold.stores.endpoint import Endpoint

SCHEMA = "oversold/run/1"
LANES_BUSY = 0.8
WORKER_BUSY = 0.85


def summarise(
    evidence: Evidence,
    findings: Sequence[Finding],
    circumstances: Circumstances,
    raw: Raw,
    endpoints: Mapping[str, Endpoint],
    wall_s: float,
) -> dict[str, Any]:
    """Return the summary of one run as plain JSON types."""
    plan, taps = circumstances.plan, evidence.history
    worst, reasons = verdict(findings)
    values = {finding.check: finding.values for finding in findings}
    over, under = values.get("oversubscription", {}), values.get("undersubscription", {})
    full = values.get("false_full", {})
    busy = measures.lane_busy(taps, plan.processes * plan.lanes)
    return {
        "schema": SCHEMA,
        "scenario": plan.scenario,
        "strategy": plan.strategy,
        "seed": plan.seed,
        "verdict": worst,
        "reasons": reasons,
        "canary": circumstances.is_canary,
        "tranche": {
            "capacity_fen": plan.capacity_fen,
            "confirmed_fen": evidence.ledger.confirmed_fen,
            "offered_fen": int(evidence.bid_amount_fen.sum()),
            "min_bid_fen": evidence.min_bid_fen,
            "dust_fen": int(under.get("dust_fen", 0)),
        },
        "rates": {
            "oversubscription": float(over.get("rate", 0.0)),
            "undersubscription": float(under.get("rate", 0.0)),
            "raw_undersubscription": float(under.get("raw", 0.0)),
            "rollback": measures.rollback(taps),
            "false_full_s": float(full.get("seconds", 0.0)),
            "false_full_lost_s": float(full.get("lost_s", 0.0)),
        },
        "load": {
            "users": plan.users,
            "processes": plan.processes,
            "lanes": plan.lanes,
            "rtt_ms": plan.rtt_s * 1e3,
            "bids": len(np.unique(taps["bid"])),
            "taps": len(taps),
            "goodput_per_s": measures.goodput_per_s(taps),
            "arrival_span_s": measures.arrival_span_s(taps),
            "peak_in_flight": measures.peak_in_flight(taps),
            "overlap": measures.overlap(taps),
            "attempts_per_bid": measures.attempts_per_bid(taps),
            "wall_s": wall_s,
            "time_to_fill_s": measures.time_to_fill_s(evidence.ledger, plan.capacity_fen),
        },
        "latency_ms": measures.latency_ms(taps),
        "outcomes": measures.outcomes(taps),
        "findings": [
            {"check": f.check, "verdict": f.verdict, "detail": f.detail, "values": dict(f.values)}
            for f in findings
        ],
        "limits": _limits(raw, busy, _waits_ms(evidence.history)),
        "settings": plan.bids.model_dump(mode="json"),
        "stores": {name: endpoint.public() for name, endpoint in sorted(endpoints.items())},
        "environment": environment(),
        "command": command(plan),
        "t_end_s": evidence.t_end / 1e9,
    }


def environment() -> dict[str, Any]:
    """Return the machine and the versions that a reader needs to compare runs."""
    packages = ("locust", "gevent", "redis", "pymemcache", "sqlalchemy", "psycopg")
    return {
        "cpu": os.cpu_count(),
        "machine": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "oversold": __version__,
        **{package: version(package) for package in packages},
    }


def command(plan: Plan) -> str:
    """Return the command that repeats a run."""
    words = ["oversold", "run", plan.scenario, "--strategy", plan.strategy, "--users", str(plan.users)]
    words += [
        "--capacity",
        str(plan.capacity_fen),
        "--seed",
        str(plan.seed),
        "--processes",
        str(plan.processes),
    ]
    words += ["--lanes", str(plan.lanes), "--rtt", f"{plan.rtt_s * 1e3:.9f}".rstrip("0").rstrip(".") + "ms"]
    for name, value in plan.bids.model_dump(mode="json", exclude_defaults=True).items():
        words += ["--set", f"{name}={str(value).lower() if isinstance(value, bool) else value}"]
    return shlex.join(words)


def _waits_ms(history: npt.NDArray[np.void]) -> tuple[float, float]:
    """Return the medians of what a first tap waited for a lane and of what it then took there, in ms."""
    first = history[(history["attempt"] == 1) & (history["t_done"] != NEVER)]
    if not len(first):
        return 0.0, 0.0
    wait = np.median(first["t_admitted"] - first["t_intended"])
    return float(wait) / 1e6, float(np.median(first["t_done"] - first["t_admitted"])) / 1e6


def _limits(raw: Raw, lane_busy: float, waits: tuple[float, float]) -> dict[str, Any]:
    """Return what set the pace of the run, in numbers and in one sentence."""
    manifests = list(raw.manifests.values())
    cpu = max((m["cpu_s"] / m["wall_s"] for m in manifests if m["wall_s"] > 0), default=0.0)
    lag = max((m["arrival_lag_ms"]["p99"] for m in manifests), default=0.0)
    rtt = [m["rtt_ms"]["p50"] for m in manifests if m["rtt_ms"]["max"] > 0]
    causes = []
    if cpu >= WORKER_BUSY:
        causes.append(f"the load generator's CPU ({cpu:.0%} of a core in the busiest process)")
    wait_ms, service_ms = waits
    if lane_busy >= LANES_BUSY:
        causes.append(f"the lanes ({lane_busy:.0%} busy)")
    elif wait_ms > service_ms:
        causes.append(f"the lanes (half of the bids waited {wait_ms:,.0f} ms or more for one)")
    return {
        "limited_by": " and ".join(causes) or "the bidders' own arrival and think times",
        "worker_cpu": round(cpu, 3),
        "lane_busy": round(lane_busy, 3),
        "arrival_lag_p99_ms": lag,
        "rtt_measured_ms": max(rtt, default=0.0),
        "loop_lag_p99_ms": max((m["loop_lag_ms"]["p99"] for m in manifests), default=0.0),
        "workers_max_rss_mb": round(sum(m["max_rss_mb"] for m in manifests), 1),
    }
