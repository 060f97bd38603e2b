"""summary.json: what one run says, in the schema `oversold/run/1`. Keys are added, never renamed."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from oversold import __version__
from oversold.audit import Circumstances, Raw, verdict
from oversold.bid_plan import BidPlan
from oversold.explorations import causes
from oversold.model import Finding
from oversold.payout_plan import PayoutPlan
from oversold.plan import Plan
from oversold.stores.endpoint import Endpoint

SCHEMA = "oversold/run/1"
WORKER_BUSY = 0.85


def framed(
    own: Mapping[str, Any],
    findings: Sequence[Finding],
    circumstances: Circumstances,
    raw: Raw,
    endpoints: Mapping[str, Endpoint],
    wall_s: float,
) -> dict[str, Any]:
    """Return the summary of one run as plain JSON types: what all incidents have, around the incident's own part.

    `own` may have `load` and `limits` of its own: they are merged with the common ones.
    """
    plan = circumstances.plan
    worst, reasons = verdict(findings)
    load = {
        "users": plan.users,
        "processes": plan.processes,
        "lanes": plan.lanes,
        "rtt_ms": plan.rtt_s * 1e3,
        "wall_s": wall_s,
    }
    summary = {
        "schema": SCHEMA,
        "scenario": plan.scenario,
        "strategy": plan.strategy,
        "sql": plan.sql,
        "seed": plan.seed,
        "recorded": datetime.now(UTC).isoformat(timespec="seconds"),
        "verdict": worst,
        "reasons": reasons,
        "canary": circumstances.is_canary,
        **own,
        "load": {**load, **own["load"]},
        "findings": [
            {"check": f.check, "verdict": f.verdict, "detail": f.detail, "values": dict(f.values)}
            for f in findings
        ],
        "limits": _limits(raw, own["limits"]),
        "settings": plan.settings.model_dump(mode="json"),
        "stores": {name: endpoint.public() for name, endpoint in sorted(endpoints.items())},
        "environment": environment(),
        "command": command(plan),
    }
    return {**summary, "explain": causes.command(summary)}


def environment() -> dict[str, Any]:
    """Return the machine and the versions that a reader needs to compare runs."""
    clients = ("redis", "pymemcache", "sqlalchemy", "psycopg", "pymysql", "pika")
    packages = ("locust", "gevent", *clients, "fastapi", "uvicorn")
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
    if isinstance(plan, BidPlan):
        words += ["--capacity", str(plan.capacity_fen)]
    if isinstance(plan, PayoutPlan):
        words += ["--profile", plan.profile]
    words += ["--seed", str(plan.seed), "--processes", str(plan.processes)]
    words += ["--lanes", str(plan.lanes), "--rtt", f"{plan.rtt_s * 1e3:.9f}".rstrip("0").rstrip(".") + "ms"]
    words += ["--sql", plan.sql] if plan.sql != "postgres" else []
    words += ["--http"] if isinstance(plan, BidPlan) and plan.http and not plan.is_service else []
    words += [word for host in plan.allow_hosts for word in ("--allow-host", host)]
    for name, value in plan.settings.model_dump(mode="json", exclude_defaults=True).items():
        words += ["--set", f"{name}={str(value).lower() if isinstance(value, bool) else value}"]
    return shlex.join(words)


def _limits(raw: Raw, own: Mapping[str, Any]) -> dict[str, Any]:
    """Return what set the pace of the run, in numbers and in one sentence. `own["causes"]` are the incident's
    own causes, `own["otherwise"]` what to say when there is none."""
    manifests = list(raw.manifests.values())
    cpu = max((m["cpu_s"] / m["wall_s"] for m in manifests if m["wall_s"] > 0), default=0.0)
    lag = max((m["arrival_lag_ms"]["p99"] for m in manifests), default=0.0)
    rtt = [m["rtt_ms"]["p50"] for m in manifests if m["rtt_ms"]["max"] > 0]
    causes = [f"the load generator's CPU ({cpu:.0%} of a core in the busiest process)"] * (cpu >= WORKER_BUSY)
    causes += own["causes"]
    return {
        "limited_by": " and ".join(causes) or own["otherwise"],
        "worker_cpu": round(cpu, 3),
        **{name: value for name, value in own.items() if name not in {"causes", "otherwise"}},
        "arrival_lag_p99_ms": lag,
        "rtt_measured_ms": max(rtt, default=0.0),
        "loop_lag_p99_ms": max((m["loop_lag_ms"]["p99"] for m in manifests), default=0.0),
        "workers_max_rss_mb": round(sum(m["max_rss_mb"] for m in manifests), 1),
    }
