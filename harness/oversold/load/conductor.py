"""Opens the gate when all users are parked, notices lost workers, and says when the burst is over."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable
from typing import Any

import gevent
import psutil

from oversold.assignment import Assignment
from oversold.clock import now_ns, wall_offset_ns
from oversold.plan import Plan

LEAD_NS = 150_000_000  # from the decision to the opening, so that all workers have heard of it
WATCH_S = 0.2
STOP_WAIT_NS = 6_000_000_000

log = logging.getLogger("oversold")


class Conductor:
    """The one process that knows all workers. In a plain single-process run it sits beside the only worker.

    Args:
        assignment: the run.
        send: `send(kind, data, worker_index)` tells one worker something.
        missing: returns the worker indices that Locust has given up on.
        over: called once when the burst is over.
    """

    def __init__(
        self,
        assignment: Assignment[Plan],
        send: Callable[[str, dict[str, Any], int], None],
        missing: Callable[[], set[int]],
        over: Callable[[], None],
    ) -> None:
        self._assignment = assignment
        self._send, self._missing, self._over = send, missing, over
        self._parked: dict[int, int] = {}
        self._pids: dict[int, int] = {}
        self._done: set[int] = set()
        self.lost: set[int] = set()
        self._reason: str | None = None
        self._gone = False
        self._ended = False
        self._watcher = gevent.spawn(self._watch)

    def parked(self, worker: int, count: int, pid: int, host: str) -> None:
        """A worker tells how many users wait at its gate."""
        if self._gone:
            return
        self._parked[worker] = count
        if host == socket.gethostname():
            self._pids[worker] = pid
        if sum(self._parked.values()) >= self._assignment.plan.users:
            self._open()

    def done(self, worker: int) -> None:
        """A worker tells that its last bidder has left and its manifest is written."""
        self._done.add(worker)
        self._check_over()

    def failed(self, worker: int, text: str) -> None:
        """A worker tells that it cannot begin: there will be no burst."""
        self._reason = f"worker {worker} could not begin: {text}"
        self._end()

    def stop(self) -> None:
        """End the burst. When it is not over yet, tell the workers and wait until all is written down."""
        if not self._ended:
            self._reason = self._reason or "the test was stopped before all users had left"
            self._ended = True  # whatever the workers say now, the burst is not over by itself
            for worker in self._parked:
                self._send("oversold_stop", {}, worker)
            deadline = now_ns() + STOP_WAIT_NS
            while not set(self._parked) <= self._done | self.lost and now_ns() < deadline:
                gevent.sleep(WATCH_S / 4)
            self._write_state()
        self._watcher.kill(block=False)

    def _open(self) -> None:
        self._gone = True
        t0 = now_ns() + LEAD_NS
        gate = {"t0_ns": t0, "wall_offset_ns": wall_offset_ns(), "workers": self._parked, "pids": self._pids}
        self._write("gate.json", gate)
        first, left = 0, self._assignment.plan.users
        for worker, count in sorted(self._parked.items()):
            share = min(count, left)
            self._send("oversold_go", {"t0": t0, "first": first, "share": share}, worker)
            first += share
            left -= share

    def _write(self, name: str, document: dict[str, Any]) -> None:
        """Write a file that others wait for: it is there whole or not at all."""
        path = self._assignment.raw / name
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(document))
        draft.replace(path)

    def _watch(self) -> None:
        while True:
            gevent.sleep(WATCH_S)
            lost = {worker for worker, pid in self._pids.items() if not _alive(pid)}
            # A busy worker may miss heartbeats; those on this machine are asked for directly.
            lost |= self._missing() - set(self._pids)
            for worker in lost - self.lost - self._done:
                log.error("worker %d was lost: this run cannot be conclusive", worker)
                self.lost.add(worker)
                self._check_over()

    def _check_over(self) -> None:
        expected = set(self._parked)
        if (self._gone and expected and expected <= self._done | self.lost) or (self.lost and not self._gone):
            self._end()
            self._watcher.kill(block=False)

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._write_state()
            gevent.spawn(self._over)

    def _write_state(self) -> None:
        self._write("conductor.json", {"lost": sorted(self.lost), "reason": self._reason})


def _alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
