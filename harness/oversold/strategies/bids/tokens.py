"""Admission tokens that are made beforehand: who gets some may buy."""

from typing import ClassVar, cast

from oversold.errors import LimitError
from oversold.model import Bid, Claim, Hold, Tranche
from oversold.strategies.interface import Context, key

MAX_TOKENS = 1_000_000
PUSHED = 10_000  # tokens that one command puts into the list
TOKEN = "1"  # they are all alike: what counts is how many there are


class Tokens:
    """Put one token for each unit of the capacity into a list; a bid takes as many as it needs with LPOP.

    Guarantee: never more than the capacity is held: there are no more tokens than units. A rest of the
    capacity that is smaller than a unit is never sold.

    Known hole: no-shows. Who fails a step never hands its tokens back, so the tranche ends undersold by all
    holds that were not confirmed: 10 % of the steps failing leave 10 % unsold. While a bid that is too big has
    the last tokens in its hands, a smaller one is told sold out; if it crashes there, they are lost.
    """

    stores: ClassVar[frozenset[str]] = frozenset({"redis"})

    def __init__(self, context: Context) -> None:
        self._redis = context.redis
        self._units: dict[str, int] = {}

    def open(self, tranche: Tranche) -> None:
        """Make the tokens.

        Raises:
            LimitError: there would be more than a million.
        """
        count = tranche.capacity_fen // tranche.unit_fen
        if count > MAX_TOKENS:
            raise LimitError(
                f"{count:,} tokens of {tranche.unit_fen:,} fen are too many (at most {MAX_TOKENS:,}): "
                "set a larger unit, the smallest bid (--set min_bid_fen=...)"
            )
        self._redis.set(key(tranche.tranche_id, "unit"), tranche.unit_fen)
        for first in range(0, count, PUSHED):
            self._redis.rpush(key(tranche.tranche_id, "tokens"), *[TOKEN] * min(PUSHED, count - first))

    def reserve(self, bid: Bid) -> Hold:
        """Take what the bid needs; push too few back. Error when Redis has forgotten the tranche."""
        tokens, needed = key(bid.tranche_id, "tokens"), self._needed(bid)
        if needed is None:
            return Hold("error")
        got = cast("list[bytes]", self._redis.lpop(tokens, needed) or [])
        if len(got) == needed:
            return Hold("ok")
        if got:
            self._redis.rpush(tokens, *got)
        return Hold("sold_out")

    def confirm(self, bid: Bid, hold: Hold) -> bool:
        """Nothing to do: the tokens were taken when it was reserved."""
        return True

    def release(self, bid: Bid, hold: Hold) -> bool:
        """Nobody comes back to the counter with an unused token: it is lost."""
        return False

    def status(self, tranche_id: str) -> Claim:
        """Report what the tokens are worth that nobody has taken; no number when the unit is gone."""
        unit = self._unit(tranche_id)
        if unit is None:
            return Claim("open", None)
        left = self._redis.llen(key(tranche_id, "tokens")) * unit
        return Claim("open" if left > 0 else "full", left)

    def _needed(self, bid: Bid) -> int | None:
        """Return how many tokens cover a bid; the last one may be worth more than the rest of it."""
        unit = self._unit(bid.tranche_id)
        return None if unit is None else -(-bid.amount_fen // unit)

    def _unit(self, tranche_id: str) -> int | None:
        """Return what a token is worth in fen; None when Redis has lost it: nobody can tell what a bid costs."""
        if tranche_id not in self._units:  # it never changes, so one look is enough
            value = self._redis.get(key(tranche_id, "unit"))
            if value is None:
                return None
            self._units[tranche_id] = int(value)
        return self._units[tranche_id]
