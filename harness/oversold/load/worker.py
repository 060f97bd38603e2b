"""One load-generating process: its lanes, its recorder, its part of the starting gate, its manifest."""

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
from oversold.evidence import Outcome
from oversold.history import HistoryWriter, checksum, path_of
from oversold.load.lanes import LanePool, Target
from oversold.model import Bid
from oversold.plan import bid_id, draw_bids
from oversold.platform.pipeline import Tap

PARKED_REPORT_S = 0.05
MONITOR_S = 0.02
MAX_TAPS_PER_BIDDER = 400


class LoadWorker:
    """What one worker process does in one burst.

    `target` makes what the lanes drive; `say(kind, data)` sends a message to the conductor. The order of events:
    bidders park; `open_gate` lets them out; they tap and leave; when the last one left, the manifest is written
    and `oversold_done` is said.
    """

    def __init__(
        self,
        assignment: Assignment,
        number: int,
        say: Callable[[str, dict[str, Any]], None],
        target: Callable[[Assignment, int], Target],
    ) -> None:
        self.plan = assignment.plan
        self.number = number
        self._assignment = assignment
        self._say = say
        bids = draw_bids(self.plan)
        # Python's own numbers: taking one out of an array costs more than all else that a tap needs of it.
        self._offset_ns = bids.offset_ns.tolist()
        self._bid_columns = list(
            zip(
                bids.amount_fen.tolist(),
                bids.failing_step.tolist(),
                bids.steps_s.tolist(),
                bids.fail_s.tolist(),
                strict=True,
            )
        )
        manners = self.plan.bids
        taps = 2 + 2 * manners.patience_s * 1000 / max(manners.think_ms, 1.0)
        self._path = path_of(assignment.raw, number)
        self.recorder = HistoryWriter(self._path, int(self.plan.users * min(taps, MAX_TAPS_PER_BIDDER)) + 1024)
        self.target = target(assignment, number)
        # What the platform itself sleeps in a tap is no fault of the strategy's.
        own_s = 1.5 * (manners.steps_ms + manners.fail_ms) / 1e3
        self.lanes = LanePool(self.target, self.recorder, self.plan.lanes, manners.hang_s + own_s)
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
        # Served taps by outcome, in ns, not yet shown in Locust's statistics.
        self.fresh: dict[int, list[int]] = defaultdict(list)
        self.finished = False
        self._reporter = gevent.spawn(self._report_parked)
        self._monitor: Any = None

    def park(self) -> int | None:
        """Wait at the gate; return the index of this bidder's bid, None when there is none for it."""
        number = self._parked
        self._parked += 1
        self._gate.wait()
        return self._first + number if number < self._share else None

    def open_gate(self, t0: int, first: int, share: int) -> None:
        """Let the bidders out at `t0` (monotonic ns): bids `first` to `first + share`."""
        self._reporter.kill(block=False)
        self._first, self._share, self.t0 = first, share, t0
        # Thousands of parked bidders are a heap that the collector would walk again and again in mid-burst.
        gc.freeze()
        gevent.spawn(self._open_at, t0)

    def _open_at(self, t0: int) -> None:
        gevent.sleep(max(0.0, (t0 - now_ns()) / 1e9))
        self._cpu_at_go = time.process_time()
        self._monitor = gevent.spawn(self._watch_loop)
        self._gate.set()
        if self._share == 0:
            self._finish()

    def wait_for_arrival(self, index: int) -> int:
        """Sleep until bid `index` is meant to arrive; return that moment (monotonic ns)."""
        t_intended = self.t0 + self._offset_ns[index]
        ahead = t_intended - now_ns()
        if ahead > 0:
            gevent.sleep(ahead / 1e9)
        self._arrival_lag_ns.append(now_ns() - t_intended)
        return t_intended

    def tap(self, index: int, attempt: int, t_intended: int) -> tuple[Outcome, int]:
        """Send attempt `attempt` of bid `index` through a lane; return what the bidder is told, and the row."""
        tranche_id = self._assignment.tranche_id
        amount_fen, failing_step, steps_s, fail_s = self._bid_columns[index]
        bid = Bid(bid_id(tranche_id, index), tranche_id, f"user-{index}", amount_fen)
        tap = Tap(index, bid, attempt, t_intended, failing_step, steps_s, fail_s)
        row = self.lanes.serve(tap)
        self.fresh[tap.outcome].append(tap.t_done - tap.t_admitted)
        return tap.outcome, row

    def leave(self, row: int) -> None:
        """The bidder of the tap in `row` has finished. It goes home with all others: ending a Locust user costs
        as much as a bid, which must not count as the platform's time.
        """
        self.recorder.leave(row)
        if self.recorder.finished == self._share:
            self._finish()
        self._over.wait()

    def _finish(self) -> None:
        if not self.finished:
            self.finished = True
            self._over.set()
            # In a greenlet of its own: the bidder that left last must not be the one to close the lanes.
            gevent.spawn(self.close, complete=True)

    def close(self, *, complete: bool) -> None:
        """Stop the lanes, write the manifest, tell the conductor. Whoever comes second waits for the first."""
        if self._closing:
            self._closed.wait()
            return
        self._closing = True
        cpu_s = time.process_time() - self._cpu_at_go
        wall_s = (now_ns() - self.t0) / 1e9 if self.t0 else 0.0
        for greenlet in (self._reporter, self._monitor):
            if greenlet is not None:
                greenlet.kill(block=False)
        self.lanes.close()
        self.target.close()
        gc.unfreeze()
        used, finished, dropped = self.recorder.used, self.recorder.finished, self.recorder.dropped
        self.recorder.close()
        manifest = {
            "worker": self.number,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "complete": complete,
            "taps": used,
            "bids": finished,
            "dropped": dropped,
            "crc32": checksum(self._path),
            "cpu_s": cpu_s,
            "wall_s": wall_s,
            "wall_offset_ns": wall_offset_ns(),
            "max_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "arrival_lag_ms": _percentiles_ms(self._arrival_lag_ns),
            "loop_lag_ms": _percentiles_ms(self._loop_lag_ns),
            "rtt_ms": _percentiles_ms(self._rtt_ns),
            "faults": self.target.faults.rows(),
        }
        path = self._assignment.raw / f"manifest-{self.number}.json"
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(manifest))
        draft.replace(path)  # a worker killed in mid-write has no manifest, rather than half of one
        self._say("oversold_done", {"worker": self.number})
        self._closed.set()

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
        clock, rtt_s = SystemClock(), self.plan.rtt_s
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
