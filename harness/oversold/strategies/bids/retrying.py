"""Trying again after a conflict: bounded, with exponential backoff and full jitter."""

from collections.abc import Callable

from oversold.model import Hold
from oversold.strategies.interface import Context


def tried(
    once: Callable[[], Hold],
    context: Context,
    tries: int,
    first_wait_s: float,
    longest_wait_s: float = float("inf"),
) -> Hold:
    """Return the first answer of `once` that is not busy, or the answer to the last of `tries`.

    Between two tries it waits from 0 to `first_wait_s`, twice that, four times that and so on, up to
    `longest_wait_s`: those who met once are not to meet again.
    """
    wait_s = first_wait_s
    for _ in range(tries - 1):
        hold = once()
        if hold.verdict != "busy":
            return hold
        context.clock.sleep(context.random.uniform(0, wait_s))
        wait_s = min(longest_wait_s, wait_s * 2)
    return once()
