"""The numbers of summary.json that a pipeline can set limits to, by name: where they are, what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from oversold.plan import Kind
from oversold.report.page.entries import number
from oversold.report.tables import is_lost

Worse = Literal["high", "low"]


@dataclass(frozen=True)
class Tolerance:
    """By how much a number may get worse before that is news.

    `single` and `steady` are shares of what it was before: of single runs, and of three runs or more on either
    side. `floor` is in the number's own unit: less than that never counts.
    """

    single: float
    steady: float
    floor: float


PROMISE = Tolerance(0.0, 0.0, 0.0)  # of a promise the least breach is news
_TIME_MS = Tolerance(1.0, 0.25, 100.0)
_MIDDLE_MS = Tolerance(2.0, 0.25, 100.0)  # of a short burst, half of it depends on what else the machine does
_TIME_S = Tolerance(1.0, 0.25, 0.5)
_PACE = Tolerance(0.5, 0.2, 1.0)
_COUNT = Tolerance(1.0, 0.5, 5.0)
_SHARE = Tolerance(1.0, 0.5, 0.02)


@dataclass(frozen=True)
class Metric:
    """One number of a run.

    `place` are the keys that lead to it in summary.json; `per`, if given, leads to what it is divided by. `worse`
    is its bad end. `truth`: it comes from the ledger or the channels' books, and means nothing where they are
    lost. `counted`: a zero means that nothing was measured. `share`: it cannot be above 1. `tolerance`: how a
    baseline compares it, None where it does not.
    """

    name: str
    place: str
    meaning: str
    kind: Kind | None = None
    worse: Worse = "high"
    per: str | None = None
    truth: bool = False
    counted: bool = False
    share: bool = False
    tolerance: Tolerance | None = None

    @property
    def machine(self) -> bool:
        """Whether another machine gives another number: times and paces do, promises and shares do not."""
        return self.tolerance is not None and self.tolerance not in {PROMISE, _SHARE, _COUNT}

    @property
    def promise(self) -> bool:
        """Whether the number says how badly a promise was broken."""
        return self.tolerance == PROMISE

    def of(self, run: Mapping[str, Any]) -> float | None:
        """Return the number of a run summary; None where the run has none, or none that means anything."""
        if self.truth and any(is_lost(run, check) for check in ("ledger", "books")):
            return None
        value = _at(run, self.place)
        if self.per is not None:
            whole = _at(run, self.per)
            value = value / whole if value is not None and whole else None
        return None if self.counted and not value else value


def _at(run: Mapping[str, Any], place: str) -> float | None:
    found: Any = run
    for key in place.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return number(found)


_POINTS = {"p50": "median", "p90": "90th percentile", "p99": "99th percentile", "max": "greatest"}


def _latency(of: str, prefix: str, meaning: str) -> list[Metric]:
    kept = {"p50": _MIDDLE_MS, "p99": _TIME_MS} if of == "response" else {}
    return [
        Metric(
            f"{prefix}{key}_ms", f"latency_ms.{of}.{key}", f"{word} {meaning}",
            "bids", counted=True, tolerance=kept.get(key),
        )
        for key, word in _POINTS.items()
    ]  # fmt: skip


def _told(outcome: str, meaning: str, tolerance: Tolerance | None = None) -> Metric:
    return Metric(
        f"{outcome}_rate", f"outcomes.{outcome}", meaning,
        "bids", per="load.bids", share=True, tolerance=tolerance,
    )  # fmt: skip


METRICS: tuple[Metric, ...] = (
    Metric("oversubscription", "rates.oversubscription", "share of the capacity that was sold too much",
           "bids", truth=True, tolerance=PROMISE),
    Metric("undersubscription", "rates.undersubscription", "share of the capacity left although somebody who "
           "wanted it was sent away", "bids", truth=True, share=True, tolerance=PROMISE),
    Metric("raw_undersubscription", "rates.raw_undersubscription", "share of the capacity left, dust and all",
           "bids", truth=True, share=True),
    Metric("rollback", "rates.rollback", "released holds / holds", "bids", share=True),
    Metric("false_full_s", "rates.false_full_s", "seconds marked full while stock was left", "bids"),
    Metric("false_full_lost_s", "rates.false_full_lost_s", "those of them in which no live hold explains it",
           "bids"),
    *_latency("response", "", "of the response times, since a bidder first meant to tap"),
    *_latency("service", "service_", "of a bidder's last tap in its lane"),
    Metric("goodput_per_s", "load.goodput_per_s", "bids told ok per second", "bids", "low", tolerance=_PACE),
    Metric("attempts_per_bid", "load.attempts_per_bid", "taps / bids", "bids", counted=True,
           tolerance=Tolerance(0.5, 0.25, 0.5)),
    Metric("t50_s", "load.time_to_fill_s.t50", "seconds until half of the capacity was ordered", "bids",
           truth=True),
    Metric("t99_s", "load.time_to_fill_s.t99", "seconds until 99 % of it was", "bids", truth=True),
    Metric("time_to_fill_s", "load.time_to_fill_s.t100", "seconds until all of it was; a sale that leaves dust "
           "has none", "bids", truth=True),
    _told("error", "share of the bids that ended in an error", _SHARE),
    _told("unknown", "share of the bids that nobody knows the end of", _SHARE),
    _told("busy", "share of the bids that gave up after busy"),
    Metric("inversions", "fairness.inversions", "share of pairs of bidders in which the later one was served",
           "bids", share=True),
    Metric("gini", "fairness.gini", "how unequal the chances of early and late bidders were", "bids", share=True),
    Metric("duplicate", "rates.duplicate", "share of the obligations paid twice or more", "payouts", truth=True,
           share=True, tolerance=PROMISE),
    Metric("overpaid", "rates.overpaid", "yuan paid too much, as a share of the yuan due", "payouts", truth=True,
           tolerance=PROMISE),
    Metric("missed", "rates.missed", "yuan missed, as a share of the yuan due", "payouts", truth=True, share=True,
           tolerance=PROMISE),
    Metric("overpaid_fen", "obligations.overpaid_fen", "fen paid too much", "payouts", truth=True),
    Metric("unrecoverable_fen", "obligations.unrecoverable_fen", "fen of it that are withdrawn", "payouts",
           truth=True),
    Metric("missed_fen", "obligations.missed_fen", "fen missed", "payouts", truth=True),
    Metric("users_affected", "obligations.users_affected", "people who were paid too much", "payouts", truth=True),
    Metric("reviews", "obligations.reviews", "obligations left to people", "payouts", tolerance=_COUNT),
    Metric("false_terminal", "obligations.false_terminal", "obligations believed FAILED although money moved",
           "payouts", truth=True, tolerance=PROMISE),
    Metric("unknown_peak", "unknown.peak", "most obligations believed UNKNOWN at once", "payouts"),
    Metric("unknown_age_p95_s", "unknown.age_p95_s", "95th percentile of how long they were", "payouts",
           tolerance=_TIME_S),
    Metric("unknown_age_max_s", "unknown.age_max_s", "the longest of these times", "payouts"),
    Metric("time_to_paid_p50_s", "time_to_paid_s.p50", "median of the times from a job's planned start to paid",
           "payouts", truth=True, counted=True),
    Metric("time_to_paid_p95_s", "time_to_paid_s.p95", "95th percentile of these times", "payouts", truth=True,
           counted=True, tolerance=_TIME_S),
    Metric("time_to_paid_max_s", "time_to_paid_s.max", "the longest of these times", "payouts", truth=True,
           counted=True),
    Metric("calls_per_s", "load.calls_per_s", "pay calls per second", "payouts", "low"),
    Metric("wall_s", "load.wall_s", "seconds of the whole run with opening and audit", counted=True),
)  # fmt: skip
BY_NAME: Mapping[str, Metric] = {metric.name: metric for metric in METRICS}


def of_kind(kind: Kind) -> list[Metric]:
    """Return the metrics that runs of one kind have."""
    return [metric for metric in METRICS if metric.kind in {None, kind}]


def kind_of(run: Mapping[str, Any]) -> Kind:
    """Return which kind of incident a run summary is of."""
    return "payouts" if "obligations" in run else "bids"


def worded(value: float | None) -> str:
    """Return a number in a few digits.

    >>> worded(312.4567), worded(0.00012345), worded(200.0), worded(1234567.0), worded(None)
    ('312.5', '0.0001234', '200', '1,234,567', 'none')
    """
    if value is None:
        return "none"
    if abs(value) >= 1000 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.4g}"
