"""memcached's compare-and-swap: overtaken, evicted, tried again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from tests.sale import Sell

from oversold.clock import SystemClock, seeded
from oversold.model import Claim, Hold
from oversold.stores.endpoint import Endpoint
from oversold.stores.providers import connect
from oversold.strategies.bids import memcached_cas_retry
from oversold.strategies.bids.memcached_cas import MemcachedCas
from oversold.strategies.bids.memcached_cas_retry import MemcachedCasRetry
from oversold.strategies.interface import Context, key

pytestmark = pytest.mark.servers

GIVES_UP = ["memcached-cas", "memcached-cas-retry"]


class Meddled:
    """A memcached client on which something happens right after each of its first `times` reads."""

    def __init__(self, client: Any, happen: Callable[[str], Any], times: int) -> None:
        self._client, self._happen, self._times = client, happen, times
        self.reads = 0

    def gets(self, stock: str) -> Any:
        """Read, then let it happen."""
        found = self._client.gets(stock)
        self.reads += 1
        if self.reads <= self._times:
            self._happen(stock)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


@pytest.fixture
def cache(endpoints: Mapping[str, Endpoint]) -> Iterator[Any]:
    """A memcached client of nobody's lane."""
    client = connect(endpoints["memcached"], SystemClock(), 0)
    yield client
    client.close()


def meddled(cache: Any, kind: type[MemcachedCas], happen: Callable[[str], Any], times: int) -> Any:
    """Return a lane of a strategy and the client that it reads with."""
    client = Meddled(cache, happen, times)
    return kind(Context({"memcached": client}, SystemClock(), seeded("lane"))), client


def write_again(cache: Any) -> Callable[[str], Any]:
    """Somebody else's sale of nothing: the value stays, its version does not."""
    return lambda stock: cache.set(stock, cache.get(stock))


def test_cas_is_busy_while_stock_remains(sell: Sell, cache: Any) -> None:
    """The known hole: overtaken once, a bidder is told busy, though all of the stock is there."""
    sale = sell("memcached-cas", 1000)
    lane, client = meddled(cache, MemcachedCas, write_again(cache), times=1)
    assert lane.reserve(sale.bid(1)) == Hold("busy")
    assert client.reads == 1
    assert sale.claim == Claim("open", 1000)
    assert lane.reserve(sale.bid(1)) == Hold("ok")  # planted: not overtaken, it is not busy


def test_cas_retry_tries_again(sell: Sell, cache: Any) -> None:
    """The same with retries gets its share at the fourth try, and gives up after the eighth."""
    sale = sell("memcached-cas-retry", 1000)
    lane, client = meddled(cache, MemcachedCasRetry, write_again(cache), times=3)
    assert lane.reserve(sale.bid(1)) == Hold("ok")
    assert client.reads == 4
    lane, client = meddled(cache, MemcachedCasRetry, write_again(cache), times=100)
    assert lane.reserve(sale.bid(1)) == Hold("busy")
    assert client.reads == memcached_cas_retry.TRIES == 8
    assert sale.claim == Claim("open", 999)


@pytest.mark.parametrize("name", GIVES_UP)
def test_evicted_stock(sell: Sell, cache: Any, name: str) -> None:
    """When the cache has lost the stock every bid is an error, no number is claimed, and nothing is made up."""
    sale = sell(name, 1000)
    bid, held = sale.reserve(400)
    cache.delete(key(sale.tranche.tranche_id, "left"))
    assert [sale.reserve(1)[1] for _ in range(3)] == [Hold("error")] * 3
    assert sale.own.release(bid, held) is False
    assert sale.claim == Claim("open", None)
    assert cache.get(key(sale.tranche.tranche_id, "left")) is None


@pytest.mark.parametrize("kind", [MemcachedCas, MemcachedCasRetry])
def test_stock_evicted_in_between(sell: Sell, cache: Any, kind: type[MemcachedCas]) -> None:
    """Stock that is lost between read and write is an error too, and is not written anew."""
    sale = sell(kind, 1000)
    lane, client = meddled(cache, kind, cache.delete, times=1)
    assert lane.reserve(sale.bid(1)) == Hold("error")
    assert client.reads == 1
    assert sale.claim == Claim("open", None)


@pytest.mark.parametrize("name", GIVES_UP)
def test_release_into_evicted_stock(sell: Sell, cache: Any, name: str) -> None:
    """A hold that could not be given back is not said to be given back when asked again."""
    sale = sell(name, 1000)
    bid, held = sale.reserve(400)
    cache.delete(key(sale.tranche.tranche_id, "left"))
    assert [sale.own.release(bid, held) for _ in range(2)] == [False, False]
