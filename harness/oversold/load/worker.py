"""One load-generating process: its part of the starting gate, its own clock's lag, its manifest."""

from __future__ import annotations

import gc
import json
import os
import resource
import socket
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import gevent
import numpy as np
from gevent.event import Event

from oversold.assignment import Assignment
from oversold.clock import SystemClock, now_ns, wall_offset_ns
from oversold.plan import Plan
from oversold.platform.faults import Faults

PARKED_REPORT_S = 0.05
MONITOR_S = 0.02

Say = Callable[[str, dict[str, Any]], None]


class LoadWorker:
    """What one worker process does in one run, whatever its users do. `BidWorker` and `PayoutWorker` add that.

    `say(kind, data)` sends a message to the conductor. The order of events: users park; `open_gate` lets them
    out; they act and leave; when the last one left, the manifest is written and `oversold_done` is said.
    """

    faults: Faults

    def __init__(self, assignment: Assignment[Plan], number: int, say: Say) -> None:
        self.number = number
        self._assignment = assignment
        self._rtt_s = assignment.plan.rtt_s
        self._say = say
        self._gate = Event()
        self._over = Event()
        self._closing = False
        self._closed = Event()
        self._parked = 0
        self._first = self._share = 0
        self.t0 = 0
        self._cpu_at_go = 0.0
        self._arrival_lag_ns: list[int] = []
        self._loop_lag_ns: list[int] = []
        self._rtt_ns: list[int] = []
        # Service times in ns by (what was answered, whether that is a failure), not yet in Locust's statistics.
        self.fresh: dict[tuple[str, bool], list[int]] = defaultdict(list)
        self.finished = False
        self._reporter = gevent.spawn(self._report_parked)
        self._monitor: Any = None

    def park(self) -> int | None:
        """Wait at the gate; return the index of this user in the plan, None when there is nothing for it."""
        number = self._parked
        self._parked += 1
        self._gate.wait()
        return self._first + number if number < self._share else None

    def open_gate(self, t0: int, first: int, share: int) -> None:
        """Let the users out at `t0` (monotonic ns): those with index `first` to `first + share`."""
        self._reporter.kill(block=False)
        self._first, self._share, self.t0 = first, share, t0
        self._ready()
        # Thousands of parked users are a heap that the collector would walk again and again in mid-run.
        gc.freeze()
        gevent.spawn(self._open_at, t0)

    def _ready(self) -> None:
        """Do what can be done only when this process knows its users, before the gate opens."""

    def _open_at(self, t0: int) -> None:
        gevent.sleep(max(0.0, (t0 - now_ns()) / 1e9))
        self._cpu_at_go = time.process_time()
        self._monitor = gevent.spawn(self._watch_loop)
        self._gate.set()
        if self._share == 0:
            self._finish()

    def sleep_until(self, t_intended: int) -> int:
        """Sleep until a moment (monotonic ns), note how late it became, and return it."""
        ahead = t_intended - now_ns()
        if ahead > 0:
            gevent.sleep(ahead / 1e9)
        self._arrival_lag_ns.append(now_ns() - t_intended)
        return t_intended

    def wait_for_end(self) -> None:
        """Wait, as one who has left, for all others: ending a Locust user costs as much as a bid, which must not
        count as the platform's time."""
        self._over.wait()

    def _finish(self) -> None:
        if not self.finished:
            self.finished = True
            self._over.set()
            # In a greenlet of its own: the user that left last must not be the one to close what it stands on.
            gevent.spawn(self.close, complete=True)

    def close(self, *, complete: bool) -> None:
        """Stop working, write the manifest, tell the conductor. Whoever comes second waits for the first."""
        if self._closing:
            self._closed.wait()
            return
        self._closing = True
        cpu_s = time.process_time() - self._cpu_at_go
        wall_s = (now_ns() - self.t0) / 1e9 if self.t0 else 0.0
        for greenlet in (self._reporter, self._monitor):
            if greenlet is not None:
                greenlet.kill(block=False)
        own = self._close_own()
        gc.unfreeze()
        manifest = {
            "worker": self.number,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "complete": complete,
            "cpu_s": cpu_s,
            "wall_s": wall_s,
            "wall_offset_ns": wall_offset_ns(),
            "max_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "arrival_lag_ms": _percentiles_ms(self._arrival_lag_ns),
            "loop_lag_ms": _percentiles_ms(self._loop_lag_ns),
            "rtt_ms": _percentiles_ms(self._rtt_ns),
            "faults": self.faults.rows(),
            **own,
        }
        path = self._assignment.raw / f"manifest-{self.number}.json"
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(manifest))
        draft.replace(path)  # a worker killed in mid-write has no manifest, rather than half of one
        self._say("oversold_done", {"worker": self.number})
        self._closed.set()

    def _close_own(self) -> dict[str, Any]:
        """Close what this kind of worker holds; return what it adds to the manifest."""
        raise NotImplementedError

    def _report_parked(self) -> None:
        told = -1
        while True:
            if self._parked != told:
                told = self._parked
                self._say(
                    "oversold_parked",
                    {"worker": self.number, "count": told, "pid": os.getpid(), "host": socket.gethostname()},
                )
            gevent.sleep(PARKED_REPORT_S)

    def _watch_loop(self) -> None:
        """Measure how late this process's own timers are, and what the network delay comes to in truth."""
        clock, rtt_s = SystemClock(), self._rtt_s
        while True:
            before = now_ns()
            gevent.sleep(MONITOR_S)
            self._loop_lag_ns.append(max(0, now_ns() - before - int(MONITOR_S * 1e9)))
            if rtt_s:
                before = now_ns()
                clock.sleep(rtt_s)
                self._rtt_ns.append(now_ns() - before)


def _percentiles_ms(values_ns: list[int]) -> dict[str, float]:
    if not values_ns:
        return {"p50": 0.0, "p99": 0.0, "max": 0.0}
    p50, p99, top = np.percentile(np.array(values_ns) / 1e6, [50, 99, 100])
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3), "max": round(float(top), 3)}
