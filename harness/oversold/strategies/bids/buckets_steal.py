"""Split stock, where a bid may go on to the next bucket."""

from collections.abc import Iterable

from oversold.strategies.bids import buckets
from oversold.strategies.bids.buckets import Buckets


class BucketsSteal(Buckets):
    """The same 16 buckets, but a bid tries all of them, from its own one on, before it is told sold out.

    Guarantee: never more than the capacity is held; a repeated bid is not charged twice; a bid is served if
    any bucket has enough for it.

    Known hole: fragments. What remains in each bucket may be smaller than a bid that would fit into their sum,
    and a release into a bucket that was just tried is missed. When most is sold a bid costs up to 16 round
    trips, and so does each sold out.
    """

    def _tried(self, own: int) -> Iterable[int]:
        """All of them, from the user's own one on, so that not everybody begins at the same one."""
        return ((own + step) % buckets.BUCKETS for step in range(buckets.BUCKETS))
