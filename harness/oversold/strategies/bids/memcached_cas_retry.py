"""memcached compare-and-swap with bounded retries."""

from oversold.model import Bid, Hold
from oversold.strategies.bids.memcached_cas import MemcachedCas
from oversold.strategies.bids.retrying import tried
from oversold.strategies.interface import Context

TRIES = 8
FIRST_WAIT_S = 0.001


class MemcachedCasRetry(MemcachedCas):
    """The same compare-and-swap, tried up to 8 times with exponential backoff and full jitter.

    Guarantee: never more than the capacity is held, as long as the key stays in the cache.

    Known hole: a retry storm. Each conflict costs two more round trips, so the more bidders come, the fewer
    are served a second; those whose tries run out are told busy while stock remains.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._context = context

    def reserve(self, bid: Bid) -> Hold:
        """Try again after 0..1, 0..2, 0..4 ms and so on."""
        once = super().reserve
        return tried(lambda: once(bid), self._context, TRIES, FIRST_WAIT_S)
