"""The stores of `--store fake`: those that live in the explorer's own process, and a refusal for the others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from oversold.errors import UsageError
from oversold.explore.naming import Naming
from oversold.explore.seams import fake_memcached, fake_redis
from oversold.stores.endpoint import Endpoint
from oversold.stores.providers import LABELS

if TYPE_CHECKING:
    from oversold.explore.world import Seam

FAKES = {
    "redis": fake_redis.fake_endpoint,
    "redlock": fake_redis.fake_endpoint,
    "memcached": fake_memcached.fake_endpoint,
}


def endpoints(stores: Iterable[str]) -> dict[str, Endpoint]:
    """Return where the fakes of these stores are, which is nowhere; what they are is in their versions.

    Raises:
        UsageError: one of them has no fake, or fakeredis is not installed.
    """
    found = {}
    for store in stores:
        if store not in FAKES:
            raise UsageError(f"{LABELS[store]} has no fake: leave --store fake out, and a real one is used")
        found[store] = FAKES[store]()
    return found


def seam(store: str, naming: Naming) -> Seam:
    """Return a new and empty fake of a store that `endpoints` knows."""
    if store == "memcached":
        return fake_memcached.FakeMemcached(naming)
    return fake_redis.FakeRedis(naming) if store == "redis" else fake_redis.FakeRedlock(naming)
