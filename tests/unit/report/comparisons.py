"""Comparisons made up for the tests of cells and charts: what many strategies might do under several loads."""

from collections.abc import Sequence
from typing import Any

import numpy as np

CAPACITY = 1_000_000_000
CANARY = "none"
# Oversold, undersold (shares), ok a second, p99 in ms, taps a bid, inversions; at 1,000 users.
KINDS: dict[str, tuple[float, float, float, float, float, float]] = {
    CANARY: (0.176, 0, 1500, 900, 1, 0.02),
    "check-then-decr": (0.00002, 0, 1450, 950, 1, 0.02),
    "memcached-cas": (0, 0.946, 900, 700, 1.2, 0.48),
    "memcached-cas-retry": (0, 0.151, 620, 6000, 4.6, 0.41),
    "redis-lua": (0, 0, 1940, 610, 1, 0.004),
    "conditional-update": (0, 0, 1900, 700, 1, 0.01),
    "row-lock": (0, 0, 240, 9000, 1, 0.03),
    "redis-queue": (0, 0, 1100, 1800, 1, 0.001),
    "redis-watch": (0, 0.02, 500, 7000, 12, 0.35),
    "serializable": (0, 0.31, 160, 11_000, 9, 0.44),
    "two-phase": (0, 0, 1300, 800, 1, 0.012),
    "skip-locked-with-a-long-name-of-40-letters": (0, 0.004, 1250, 850, 1.4, 0.08),
}
MORE = [
    "memcached-cas-readd",
    "memcached-decr",
    "memcached-decr-offset",
    "memcached-lock",
    "memcached-lock-fenced",
    "redis-decr",
    "redis-lock",
    "redis-lock-fenced",
    "redlock",
    "redis-stream",
    "redis-stream-no-dedupe",
    "rabbitmq-queue",
    "rabbitmq-queue-ack-first",
    "rabbitmq-queue-no-dedupe",
    "row-lock-held",
    "skip-locked",
    "skip-locked-busy",
    "version",
    "version-retry",
    "serializable-retry",
    "advisory-lock",
    "advisory-lock-try",
    "advisory-lock-early",
    "buckets",
    "buckets-steal",
    "tokens",
    "tokens-returned",
]
LOADS = (1000, 2000, 5000, 10_000)


def run(
    strategy: str = "redis-lua",
    *,
    users: int = 1000,
    seed: int = 1,
    over: float = 0.0,
    under: float = 0.0,
    verdict: str = "",
    goodput: float | None = 1000.0,
    p99: float | None = 500.0,
    attempts: float | None = 1.0,
    failed: Sequence[str] = (),
    **more: Any,
) -> dict[str, Any]:
    """Return the part of a summary that cells and charts read; `more` are keys besides."""
    broken = bool(over or under or failed)
    sold = round(CAPACITY * (1 + over - under))
    ok = min(1.0, sold / CAPACITY / 1.3)
    told = {"ok": ok, "sold_out": 1 - ok - (ok < 0.7) * 0.2, "busy": (ok < 0.7) * 0.2}
    return {
        "strategy": strategy,
        "seed": seed,
        "verdict": verdict or ("fail" if broken else "pass"),
        "canary": strategy == CANARY,
        "tranche": {"capacity_fen": CAPACITY, "confirmed_fen": sold},
        "rates": {"oversubscription": over, "undersubscription": under},
        "load": {
            "users": users,
            "processes": 2,
            "lanes": 64,
            "rtt_ms": 0.5,
            "goodput_per_s": goodput,
            "attempts_per_bid": attempts,
        },
        "latency_ms": {"response": {"p99": p99}},
        "outcomes": {name: round(users * share) for name, share in told.items()},
        "findings": [{"check": check, "verdict": "fail", "detail": ""} for check in failed],
        **more,
    }


def comparison(strategies: int, loads: int = 1, seeds: int = 1) -> list[dict[str, Any]]:
    """Return the summaries of the first so many of 39 strategies, each under so many loads and seeds."""
    random = np.random.default_rng(1)
    kinds = dict(KINDS)
    for i, name in enumerate(MORE):
        model = list(kinds.values())[1 + i * 5 % 11]
        over, under, *rest = (float(x) for x in np.array(model) * random.uniform(0.6, 1.5, 6))
        kinds[name] = (over, min(0.97, under), rest[0], rest[1], max(1.0, rest[2]), min(0.5, rest[3]))
    return [
        _drawn(random, name, kinds[name], users, seed)
        for users in (LOADS[-loads:] if loads > 1 else LOADS[-1:])
        for name in list(kinds)[:strategies]
        for seed in range(1, seeds + 1)
    ]


def _drawn(random: np.random.Generator, name: str, kind: Sequence[float], users: int, seed: int) -> dict[str, Any]:
    over, under, goodput, p99, attempts, inversions = kind
    grown, luck = (users / 1000) ** 0.5, random.uniform(0.85, 1.18)
    doubt = name == "two-phase" or (name == "tokens" and users == LOADS[0])
    chance = np.clip(0.7 + (0.5 - inversions) * np.linspace(0.5, -1.2, 10) + random.normal(0, 0.02, 10), 0, 1)
    settled = over > 0 and users < 2000 and name != CANARY
    return run(
        name,
        users=users,
        seed=seed,
        over=0 if settled else over * luck * grown / 3,
        under=min(0.97, under * luck),
        verdict="inconclusive" if doubt else "",
        goodput=goodput * luck,
        p99=p99 * luck * grown,
        attempts=1 + (attempts - 1) * luck * grown,
        failed=["hold_leak"] if name in {"redis-decr", "rabbitmq-queue-ack-first"} else (),
        fairness={"inversions": inversions * luck, "gini": inversions * luck / 2, "cohorts": chance.tolist()},
    )
