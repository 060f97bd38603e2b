"""The harness against arithmetic: under controlled load the measured rates agree with the closed forms.

A = fen offered per second, T = capacity, w = time between a strategy's read and its write, lambda = bids per
second. The forms hold for arrivals spread evenly and lanes that never queue; agreement is asked for within a
factor of three, since w and the rate are those of a shared machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from oversold.strategies.bids.check_then_decr import WORK_S

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.alone]
Call = Callable[..., Any]
FACTOR = 3.0


def measure(oversold: Call, strategy: str, users: int, arrival_s: float, rtt: str, **settings: object) -> Any:
    """Run a burst whose bidders arrive evenly over `arrival_s`, with nothing in the pipeline unless said."""
    fixed = {"late": 0, "arrival_s": arrival_s, "steps_ms": 0, "fail_ms": 0, "p": 0, **settings}
    words = [word for name, value in fixed.items() for word in ("--set", f"{name}={value}")]
    said = oversold(
        "run", "bid-burst", "-s", strategy, "-u", str(users), "--rtt", rtt, "--no-canary", "--json", *words
    )
    summary = said.json
    assert summary["limits"]["lane_busy"] < 0.8, "the lanes queue: the form does not apply"
    return summary


def agree(measured: float, predicted: float) -> bool:
    """Whether two rates have the same order of magnitude."""
    return predicted / FACTOR <= measured <= predicted * FACTOR


def test_check_then_decrement_overshoots_by_a_w_over_t(oversold: Call) -> None:
    """O = A w / T: all who checked within w before the end decrement after it."""
    summary = measure(oversold, "check-then-decr", 1500, 3.0, "10ms", demand=1.5)
    window_s = WORK_S + summary["limits"]["rtt_measured_ms"] / 1e3
    predicted = 1.5 / 3.0 * window_s
    assert agree(summary["rates"]["oversubscription"], predicted), (summary["rates"], predicted)
    assert not agree(10 * summary["rates"]["oversubscription"], predicted), "the test can tell"


def test_lost_updates_oversell_by_lambda_w(oversold: Call) -> None:
    """O = lambda w: every bid overwrites what the others took between its read and its write."""
    summary = measure(oversold, "none", 1200, 3.0, "2ms", demand=6)
    window_s = summary["limits"]["rtt_measured_ms"] / 1e3
    predicted = 1200 / 3.0 * window_s
    assert agree(summary["rates"]["oversubscription"], predicted), (summary["rates"], predicted)


def test_a_latched_mark_undersells_by_p_a_l_over_t(oversold: Call) -> None:
    """U = p A L / T: what is held by bids that will fail, when the mark is set, is never sold."""
    summary = measure(
        oversold, "redis-lua", 1500, 3.0, "1ms",
        demand=1.5, p=0.2, fail_ms=200, full_when="reserved", reopen_on_release="false",
    )  # fmt: skip
    predicted = 0.2 * 1.5 / 3.0 * 0.2
    assert agree(summary["rates"]["undersubscription"], predicted), (summary["rates"], predicted)
