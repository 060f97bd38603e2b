"""Admission tokens that come back when their holder does not buy."""

from oversold.model import Bid, Hold
from oversold.strategies.bids.tokens import TOKEN, Tokens
from oversold.strategies.interface import key


class TokensReturned(Tokens):
    """The same tokens, but a release pushes them back into the list.

    Guarantee: never more than the capacity is held, and what is released is on sale again.

    Known hole: a crash between LPOP and confirm, or in the middle of a release, still loses tokens: the list
    does not know who has them. While a bid that is too big has the last tokens in its hands, a smaller one is
    told sold out.
    """

    def confirm(self, bid: Bid, hold: Hold) -> bool:
        """Mark the hold: a late release finds nothing to give back. False when it was released before."""
        marker = key(bid.tranche_id, "settled", bid.bid_id)
        return bool(self._redis.set(marker, "confirmed", nx=True) or self._redis.get(marker) == b"confirmed")

    def release(self, bid: Bid, hold: Hold) -> bool:
        """Push the tokens back once; the marker is the first caller's. False when nobody knows how many."""
        needed = self._needed(bid)
        if needed is None:
            return False
        if self._redis.set(key(bid.tranche_id, "settled", bid.bid_id), "released", nx=True):
            self._redis.rpush(key(bid.tranche_id, "tokens"), *[TOKEN] * needed)
        return True
