"""The only source of time, sleep and randomness, so that the same code can run under a scheduler."""

import random
import time
from typing import Protocol


class Clock(Protocol):
    """What a strategy may know of time."""

    def now_s(self) -> float:
        """Return monotonic seconds; only differences mean anything."""

    def sleep(self, seconds: float) -> None:
        """Wait; other bidders run meanwhile."""


class SystemClock:
    """Real time. Under gevent's patching `sleep` yields to the other lanes."""

    def now_s(self) -> float:
        """Return monotonic seconds."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Sleep for real."""
        time.sleep(seconds)


def now_ns() -> int:
    """Return nanoseconds of the machine-wide monotonic clock: comparable between processes of one host."""
    return time.monotonic_ns()


def wall_offset_ns() -> int:
    """Return what to add to `now_ns` to get nanoseconds since the Unix epoch.

    The smallest bracket of several tries is used, so the error is a few microseconds.
    """
    best = (1 << 62, 0)
    for _ in range(8):
        before = time.monotonic_ns()
        wall = time.time_ns()
        after = time.monotonic_ns()
        best = min(best, (after - before, wall - (before + after) // 2))
    return best[1]


def seeded(*parts: object) -> random.Random:
    """Return a generator whose sequence depends on `parts` alone, in every process and Python version."""
    return random.Random("|".join(map(str, parts)))
