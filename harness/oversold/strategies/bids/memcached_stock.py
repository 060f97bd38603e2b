"""One number in memcached, the stock: what the strategies share that differ only in how they take from it."""

from typing import ClassVar

from oversold.model import Claim, Tranche
from oversold.strategies.interface import Context, key

EXPIRE_S = 86_400  # a server that outlives the run forgets its keys by itself


class MemcachedStock:
    """The stock of a strategy that keeps what is left in one key."""

    stores: ClassVar[frozenset[str]] = frozenset({"memcached"})

    def __init__(self, context: Context) -> None:
        self._cache = context.memcached

    def open(self, tranche: Tranche) -> None:
        """Set the stock to the capacity."""
        self._cache.set(key(tranche.tranche_id, "left"), str(tranche.capacity_fen), expire=EXPIRE_S)

    def status(self, tranche_id: str) -> Claim:
        """Report the stock as it stands; no number when the key is gone."""
        value = self._cache.get(key(tranche_id, "left"))
        if value is None:
            return Claim("open", None)
        return Claim("open" if int(value) > 0 else "full", int(value))
