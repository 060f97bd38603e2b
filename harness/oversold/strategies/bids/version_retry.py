"""The optimistic lock with patience."""

from oversold.model import Bid, Hold
from oversold.strategies.bids.retrying import tried
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
        self._context = context

    def reserve(self, bid: Bid) -> Hold:
        """Try again after 0..1, 0..2, 0..4 ms and so on, up to 0..50 ms."""
        return tried(lambda: self._once(bid), self._context, TRIES, FIRST_WAIT_S, LONGEST_WAIT_S)
