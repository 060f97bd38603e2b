"""The bids' own part of summary.json: tranche, rates, load, latencies, outcomes, and what set the pace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from oversold.bid_plan import BidPlan
from oversold.checkers import fairness, measures
from oversold.checkers.taps import distinct
from oversold.evidence import NEVER, Evidence
from oversold.model import Finding

LANES_BUSY = 0.8


def summarise(evidence: Evidence, findings: Sequence[Finding], plan: BidPlan) -> dict[str, Any]:
    """Return the keys that a burst of bids adds to its summary, as plain JSON types."""
    taps = evidence.history
    values = {finding.check: finding.values for finding in findings}
    over, under = values.get("oversubscription", {}), values.get("undersubscription", {})
    full = values.get("false_full", {})
    return {
        "tranche": {
            "capacity_fen": plan.capacity_fen,
            "confirmed_fen": evidence.ledger.confirmed_fen,
            "offered_fen": int(evidence.bid_amount_fen.sum()),
            "min_bid_fen": evidence.min_bid_fen,
            "dust_fen": int(under.get("dust_fen", 0)),
        },
        "rates": {
            # Null where no check was made: of a lost ledger, or of a tranche that was never opened, nobody knows.
            "oversubscription": over.get("rate"),
            "undersubscription": under.get("rate"),
            "raw_undersubscription": under.get("raw"),
            "rollback": measures.rollback(taps),
            "false_full_s": full.get("seconds"),
            "false_full_lost_s": full.get("lost_s"),
        },
        "load": {
            "bids": distinct(taps["bid"]),
            "taps": len(taps),
            "goodput_per_s": measures.goodput_per_s(taps),
            "arrival_span_s": measures.arrival_span_s(taps),
            "peak_in_flight": measures.peak_in_flight(taps),
            "overlap": measures.overlap(taps),
            "attempts_per_bid": measures.attempts_per_bid(taps),
            "time_to_fill_s": measures.time_to_fill_s(evidence.ledger, plan.capacity_fen),
        },
        "latency_ms": measures.latency_ms(taps),
        "outcomes": measures.outcomes(taps),
        "fairness": _fairness(evidence),
        "limits": _limits(taps, plan),
        "t_end_s": evidence.t_end / 1e9,
    }


def _fairness(evidence: Evidence) -> dict[str, Any]:
    among = fairness.contenders(evidence.history, evidence.ledger.bid)
    chances = fairness.cohorts(among)
    return {
        "inversions": fairness.inversions(among),
        "gini": fairness.gini(chances),
        "cohorts": chances.tolist(),
    }


def _limits(taps: npt.NDArray[np.void], plan: BidPlan) -> dict[str, Any]:
    lanes = plan.processes * plan.lanes
    busy = measures.lane_busy(taps, lanes)
    wait_ms, service_ms = _waits_ms(taps)
    # Over HTTP a lane is a connection, and all that it does is to wait for the service.
    who, theirs, one = ("the service", *_connections(lanes)) if plan.http else ("the lanes", "", "one")
    causes = []
    if busy >= LANES_BUSY:
        causes.append(f"{who} ({theirs}{busy:.0%} busy)")
    elif wait_ms > service_ms:
        causes.append(f"{who} (half of the bids waited {wait_ms:,.0f} ms or more for {one})")
    elif plan.http and measures.peak_in_flight(taps) >= lanes:
        causes.append(f"{who} (at the peak {theirs}all in use)")
    return {
        "causes": causes,
        "otherwise": "the bidders' own arrival and think times",
        "lane_busy": round(busy, 3),
    }


def _connections(number: int) -> tuple[str, str]:
    """Return how to say that all of them were something, and how to say that somebody waited for one."""
    if number == 1:
        return "its one connection was ", "its one connection"
    return f"its {number:,} connections were ", f"one of its {number:,} connections"


def _waits_ms(history: npt.NDArray[np.void]) -> tuple[float, float]:
    """Return the medians of what a first tap waited for a lane and of what it then took there, in ms."""
    first = (history["attempt"] == 1) & (history["t_done"] != NEVER)
    if not first.any():
        return 0.0, 0.0
    admitted = history["t_admitted"][first]
    wait = np.median(admitted - history["t_intended"][first])
    return float(wait) / 1e6, float(np.median(history["t_done"][first] - admitted)) / 1e6
