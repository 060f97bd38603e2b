"""Lanes: the app server's workers. Thousands of bidders hand their taps to a few lanes and wait.

A lane is a greenlet with its own store connections and its own strategy instance. That is what a real app
server looks like to its stores, and it costs a fraction of a connection per bidder.
"""

from __future__ import annotations

import time
import traceback
from typing import Any, Protocol, runtime_checkable

import gevent
import psycopg
from gevent.hub import Waiter
from gevent.pool import Group
from gevent.queue import SimpleQueue

from oversold.clock import now_ns
from oversold.evidence import Outcome
from oversold.history import HistoryWriter
from oversold.platform.faults import Faults
from oversold.platform.pipeline import StrategyError, Tap

WATCH_S = 0.5


class Pipeline(Protocol):
    """What a lane sends a tap through."""

    def run(self, tap: Tap) -> None:
        """Serve the tap, setting its outcome, hold and times."""


class LaneEnd(Protocol):
    """One lane's connections: see `targets`."""

    @property
    def pipeline(self) -> Pipeline:
        """What taps go through now."""

    def reset(self) -> None:
        """End what a failed call may have left open."""

    def renew(self) -> None:
        """Replace the connections."""

    def close(self) -> None:
        """Close them."""


class Target(Protocol):
    """What a scenario drives, as seen from one worker process."""

    faults: Faults

    def lane(self, number: int) -> LaneEnd:
        """Open lane `number`."""

    def close(self) -> None:
        """Close what the lanes share."""


@runtime_checkable
class Patient(Protocol):
    """A target that bounds its own waits: no tap takes longer than this, whatever the design does."""

    longest_s: float


class HungError(BaseException):
    """Thrown into a lane whose strategy call has taken too long; no strategy's `except Exception` stops it."""


class LanePool:
    """All lanes of one worker process, fed from one queue.

    Args:
        target: opens the lanes.
        recorder: gets every tap, before and after.
        size: number of lanes.
        hang_s: a tap that takes longer in its lane is interrupted and left `unknown`.
    """

    def __init__(self, target: Target, recorder: HistoryWriter, size: int, hang_s: float) -> None:
        self._target = target
        self._recorder = recorder
        self._hang_s = hang_s
        self._queue: SimpleQueue = SimpleQueue()
        self._hub = gevent.get_hub()
        self._busy_since: list[float] = [0.0] * size
        self._greenlets: list[Any] = []
        # Lanes connect side by side: one after the other would take a second at 64 lanes.
        openings = [gevent.spawn(target.lane, number) for number in range(size)]
        gevent.joinall(openings, raise_error=True)
        self._ends: list[LaneEnd] = [opening.value for opening in openings]
        self._group = Group()
        for number in range(size):
            self._greenlets.append(self._group.spawn(self._serve, number))
        self._watchdog = gevent.spawn(self._watch)

    def serve(self, tap: Tap) -> int:
        """Hand a tap to a lane and wait until the bidder is told; return the tap's row in the history."""
        waiter: Any = Waiter(self._hub)
        self._queue.put((tap, waiter))
        return waiter.get()

    def close(self) -> None:
        """Stop the lanes, wherever they are, and close their connections."""
        self._watchdog.kill(block=False)
        self._group.kill(block=True, timeout=5)
        for end in self._ends:
            end.close()

    def _serve(self, number: int) -> None:
        end = self._ends[number]
        recorder, queue, busy_since = self._recorder, self._queue, self._busy_since
        run_callback = self._hub.loop.run_callback
        while True:
            tap, waiter = queue.get()
            tap.t_admitted = now_ns()
            busy_since[number] = time.monotonic()
            row = recorder.invoke(
                tap.index, tap.attempt, number, tap.bid.amount_fen, tap.t_intended, tap.t_admitted
            )
            mend = None
            try:
                end.pipeline.run(tap)
            except StrategyError as error:
                mend = end.renew if error.lost else end.reset
            except (psycopg.Error, OSError):
                self._target.faults.add("store", "platform", "the ledger's server did not answer")
            except HungError:
                recorder.hang()
                self._target.faults.add("hung", "call", f"no answer within {self._hang_s:g} s")
                tap.outcome = Outcome.UNKNOWN
                mend = end.renew
            except Exception:  # noqa: BLE001 - a fault of the harness must show up, not hang the bidder
                self._target.faults.add("raised", "harness", traceback.format_exc(limit=-2).replace("\n", " | "))
            busy_since[number] = 0.0
            tap.t_done = now_ns()
            recorder.complete(
                row,
                tap.outcome,
                tap.hold,
                tap.refused_by,
                tap.failed_step,
                tap.bid.amount_fen,
                tap.t_intended,
                tap.t_admitted,
                tap.t_sent,
                tap.t_reserved,
                tap.t_done,
            )
            run_callback(waiter.switch, row)
            if mend is not None:
                self._mend(mend)

    def _mend(self, mend: Any) -> None:
        """Replace a lane's connections; while its store is gone, keep trying: the bids go to other lanes."""
        while True:
            try:
                return mend()
            except Exception:  # noqa: BLE001 - any driver error means: not yet
                gevent.sleep(0.5)

    def _watch(self) -> None:
        while True:
            gevent.sleep(min(WATCH_S, self._hang_s / 4))
            late = time.monotonic() - self._hang_s
            for number, since in enumerate(self._busy_since):
                if since and since < late:
                    self._busy_since[number] = 0.0
                    self._greenlets[number].kill(HungError(), block=False)
