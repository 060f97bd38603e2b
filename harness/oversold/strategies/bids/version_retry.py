"""The optimistic lock with patience."""

from oversold.model import Bid, Hold
from oversold.strategies.bids.version import Version
from oversold.strategies.interface import Context

TRIES = 64
FIRST_WAIT_S = 0.001
LONGEST_WAIT_S = 0.05


class VersionRetry(Version):
    """The same optimistic lock, tried up to 64 times with exponential backoff and full jitter.

    Guarantee: never more than the capacity is held, and a bidder is told busy only after some 1.5 s of conflicts.

    Known hole: the work in vain. Each conflict costs two round trips and a pause, so bids take longest just when
    most people come; the server does a multiple of the statements that a conditional update needs.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._clock = context.clock
        self._random = context.random

    def reserve(self, bid: Bid) -> Hold:
        """Try again after 0..1, 0..2, 0..4 ms and so on, up to 0..50 ms."""
        wait_s = FIRST_WAIT_S
        for _ in range(TRIES - 1):
            hold = self._once(bid)
            if hold.verdict != "busy":
                return hold
            self._clock.sleep(self._random.uniform(0, wait_s))
            wait_s = min(LONGEST_WAIT_S, wait_s * 2)
        return self._once(bid)
