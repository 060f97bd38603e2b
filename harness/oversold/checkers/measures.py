"""Numbers for the summary of a run that are no verdicts: outcomes, rates, spans and latencies."""

from typing import Any

import numpy as np
import numpy.typing as npt

from oversold.checkers.taps import distinct, first_taps, happened, told_ok
from oversold.evidence import Flags, HoldEnd, Ledger, Outcome

History = npt.NDArray[np.void]


def outcomes(history: History) -> dict[str, int]:
    """Return how many bids ended in each outcome, by the last thing their bidders were told.

    A bidder who never left (no final tap) is counted as unknown. Bids that never tapped are in no row.
    """
    final = history["final"] == 1
    told = np.bincount(history["outcome"][final], minlength=len(Outcome))
    still_there = distinct(history["bid"]) - distinct(history["bid"][final])
    return {
        "ok": int(told[Outcome.OK]),
        "sold_out": int(told[Outcome.SOLD_OUT]),
        "busy": int(told[Outcome.BUSY]),
        "error": int(told[Outcome.ERROR]),
        "unknown": int(told[Outcome.UNKNOWN]) + still_there,
    }


def rollback(history: History) -> float:
    """Return the share (0..1) of holds that were given back; 0.0 without holds."""
    holds = int((history["hold"] != HoldEnd.NONE).sum())
    return int((history["hold"] == HoldEnd.RELEASED).sum()) / holds if holds else 0.0


def arrival_span_s(history: History) -> float:
    """Return the seconds from the first to the last bidder's intended first tap; 0.0 without taps."""
    intended = history["t_intended"][(history["attempt"] == 1) & happened(history["t_intended"])]
    return float(np.ptp(intended)) / 1e9 if len(intended) else 0.0


def peak_in_flight(history: History) -> int:
    """Return the most taps that were with a lane at one time; a tap that was never done stays to the end."""
    taken = happened(history["t_admitted"])
    starts = np.sort(history["t_admitted"][taken])
    ends = np.sort(history["t_done"][taken & happened(history["t_done"])])
    begun = np.searchsorted(starts, starts, side="right")
    return int((begun - np.searchsorted(ends, starts, side="right")).max(initial=0))


def _calls_met(starts: npt.NDArray[Any], ends: npt.NDArray[Any], calls: Flags) -> npt.NDArray[np.int64]:
    """Return for each [start, end] how many of those that `calls` picks it shares a moment with.

    All have begun by its end but those that begin later, and of these some had ended before its start.
    """
    begun = np.searchsorted(np.sort(starts[calls]), ends, side="right")
    over = np.searchsorted(np.sort(ends[calls]), starts, side="left")
    return np.asarray(begun - over)


def overlap(history: History) -> float:
    """Return the share (0..1) of strategy calls that met a call of another worker; 0.0 without calls.

    A call lasts from `t_sent` to `t_reserved`, both included. Where the history has one worker alone, a
    call of the same worker is met as well: it then shows only what the lanes of one process reach.
    """
    calls = happened(history["t_sent"]) & happened(history["t_reserved"])
    starts, ends, by = history["t_sent"][calls], history["t_reserved"][calls], history["worker"][calls]
    if not len(starts):
        return 0.0
    met = _calls_met(starts, ends, np.ones(len(starts), bool))
    if np.ptp(history["worker"]) == 0:
        met -= 1  # itself
    else:
        for worker in np.flatnonzero(np.bincount(by)):
            own = np.asarray(by == worker)
            met[own] -= _calls_met(starts[own], ends[own], np.ones(int(own.sum()), bool))
    return float((met > 0).mean())


def attempts_per_bid(history: History) -> float:
    """Return how often a bidder tapped on average; 0.0 without taps."""
    return len(history) / distinct(history["bid"]) if len(history) else 0.0


def goodput_per_s(history: History) -> float:
    """Return the bids told ok per second, from the first intended tap to the last ok; 0.0 without one."""
    ok = (history["outcome"] == Outcome.OK) & happened(history["t_done"])
    intended = history["t_intended"][happened(history["t_intended"])]
    if not ok.any() or not len(intended):
        return 0.0
    span_ns = int(history["t_done"][ok].max()) - int(intended.min())
    return len(told_ok(history)[0]) * 1e9 / span_ns if span_ns > 0 else 0.0


def _percentiles(nanoseconds: npt.NDArray[Any]) -> dict[str, float]:
    if not len(nanoseconds):
        return {"p50": 0.0, "p90": 0.0, "p99": 0.0, "max": 0.0}
    p50, p90, p99, most = np.percentile(nanoseconds / 1e6, [50, 90, 99, 100])
    return {"p50": float(p50), "p90": float(p90), "p99": float(p99), "max": float(most)}


def latency_ms(history: History) -> dict[str, dict[str, float]]:
    """Return p50, p90, p99 and max of service and response time, in ms, over completed final taps.

    Service time is what a lane needed for the tap. Response time runs from the moment when the bidder first
    meant to tap, so waiting for a lane and tapping again count: a slow system cannot hide behind bidders
    that it kept from arriving. Zeros when nothing completed.
    """
    first = first_taps(history)
    finals = (history["final"] == 1) & happened(history["t_done"])
    by_bid = np.searchsorted(history["bid"][first], history["bid"][finals])
    meant = history["t_intended"][first][by_bid]
    admitted, done = history["t_admitted"][finals], history["t_done"][finals]
    return {
        "service": _percentiles((done - admitted)[happened(admitted)]),
        "response": _percentiles((done - meant)[happened(meant)]),
    }


def time_to_fill_s(ledger: Ledger, capacity_fen: int) -> dict[str, float | None]:
    """Return when the orders reached 50, 99 and 100 % of the capacity.

    In seconds since the gate opened; None where they never did.
    """
    in_time = np.argsort(ledger.t, kind="stable")
    total = np.cumsum(ledger.amount_fen[in_time])
    filled: dict[str, float | None] = {}
    for percent in (50, 99, 100):
        reached = int(np.searchsorted(total, -(-capacity_fen * percent // 100)))
        filled[f"t{percent}"] = float(ledger.t[in_time][reached]) / 1e9 if reached < len(total) else None
    return filled


def lane_busy(history: History, lanes_total: int) -> float:
    """Return the share (0..1) of lane time spent on taps, from the first tap taken to the last one done.

    A tap that was never done keeps its lane to the end. 0.0 when nothing completed.
    """
    taken = happened(history["t_admitted"])
    admitted, done = history["t_admitted"][taken], history["t_done"][taken]
    finished = happened(done)
    if not finished.any() or lanes_total < 1:
        return 0.0
    start, end = int(admitted.min()), int(done[finished].max())
    until = np.where(finished, done, end)
    busy_ns = int(np.maximum(until - admitted, 0).sum())
    return busy_ns / (lanes_total * (end - start)) if end > start else 0.0
