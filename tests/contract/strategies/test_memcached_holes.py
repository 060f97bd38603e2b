"""The known holes of the memcached strategies, provoked on the real server, and the variants that mend them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from tests.sale import Sale, Sell

from oversold.clock import SystemClock
from oversold.model import Bid, Claim, Hold, HoldVerdict
from oversold.stores.endpoint import Endpoint
from oversold.stores.providers import connect, cut
from oversold.strategies.bids import memcached_lock
from oversold.strategies.interface import BidStrategy, key

pytestmark = pytest.mark.servers

Eventually = Callable[[Callable[[], bool], float], bool]

LOCKS = ["memcached-lock", "memcached-lock-fenced"]


@pytest.fixture
def cache(endpoints: Mapping[str, Endpoint]) -> Iterator[Any]:
    """A memcached client of nobody's lane."""
    client = connect(endpoints["memcached"], SystemClock(), 0)
    yield client
    client.close()


def after(client: Any, methods: tuple[str, ...], name: str, happen: Callable[[], Any]) -> None:
    """Let something happen once, right after the client's first call of one of the methods on a key."""
    calls = {method: getattr(client, method) for method in methods}

    def interposed(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(called: str, *arguments: Any, **options: Any) -> Any:
            answer = call(called, *arguments, **options)
            if called == name:
                for method, original in calls.items():
                    setattr(client, method, original)
                happen()
            return answer

        return wrapped

    for method, original in calls.items():
        setattr(client, method, interposed(original))


def paused(sale: Sale, happen: Callable[[], Any], methods: tuple[str, ...] = ("get", "gets")) -> BidStrategy:
    """Return a lane that, once it has read the stock for the first time, is paused while something happens."""
    lane, clients = sale.lane_and_clients()
    after(clients["memcached"], methods, key(sale.tranche.tranche_id, "left"), happen)
    return lane


# --- Lost stock


def sell_lost_stock(sell: Sell, cache: Any, name: str) -> tuple[Sale, Hold]:
    """Sell 600 of 1000, lose the stock as an eviction does, and let somebody else bid 600."""
    sale = sell(name, 1000)
    assert sale.reserve(600)[1] == Hold("ok")
    cache.delete(key(sale.tranche.tranche_id, "left"))
    return sale, sale.lane().reserve(sale.bid(600))


def test_lost_stock_put_back_is_sold_again(sell: Sell, cache: Any) -> None:
    """The known hole: after an eviction the whole capacity is on sale once more; 1200 of 1000 are held."""
    sale, second = sell_lost_stock(sell, cache, "memcached-cas-readd")
    assert second == Hold("ok")
    assert sale.claim == Claim("open", 400)


def test_lost_stock_is_an_error(sell: Sell, cache: Any) -> None:
    """Mended: the stock that is lost is not made up, so nothing is sold twice."""
    sale, second = sell_lost_stock(sell, cache, "memcached-cas")
    assert second == Hold("error")
    assert sale.claim == Claim("open", None)


def test_lost_stock_and_capacity(sell: Sell, cache: Any) -> None:
    """When the capacity is lost as well, there is nothing left to make the stock up from: an error."""
    sale = sell("memcached-cas-readd", 1000)
    cache.delete_many([key(sale.tranche.tranche_id, part) for part in ("left", "capacity")])
    assert sale.reserve(1)[1] == Hold("error")
    assert sale.claim == Claim("open", None)


# --- Decrement


def race_for_the_last(sell: Sell, name: str) -> tuple[Sale, Bid, Hold, BidStrategy]:
    """Of 20000, somebody takes 10000 while one who has seen all of it is about to take it."""
    sale = sell(name, 20_000)
    lane = paused(sale, lambda: taken.append(sale.lane().reserve(sale.bid(10_000))))
    taken: list[Hold] = []
    bid = sale.bid(20_000)
    hold = lane.reserve(bid)
    assert taken == [Hold("ok")]
    return sale, bid, hold, lane


def test_decrement_stops_at_zero_and_is_taken_for_success(sell: Sell) -> None:
    """The known hole: 10000 left, decr 20000 gives 0, so 30000 of 20000 are held, and a release makes stock."""
    sale, bid, hold, lane = race_for_the_last(sell, "memcached-decr")
    assert hold == Hold("ok")
    assert sale.claim == Claim("full", 0)
    assert lane.release(bid, hold)
    assert sale.claim == Claim("open", 20_000)  # 10000 of it are a phantom: somebody has bought them
    assert sale.reserve(20_000)[1] == Hold("ok")


def test_decrement_above_an_offset_does_not_stop(sell: Sell) -> None:
    """Mended: the same race tells the second one sold out, and what is left is left."""
    sale, _, hold, _ = race_for_the_last(sell, "memcached-decr-offset")
    assert hold == Hold("sold_out")
    assert sale.claim == Claim("open", 10_000)
    assert sale.reserve(10_001)[1] == Hold("sold_out")
    assert sale.reserve(10_000)[1] == Hold("ok")


def go_too_far(sale: Sale, happen: Callable[[Any], Any]) -> BidStrategy:
    """Return a lane that will take more than is left, and is paused right after it did."""
    lane, clients = sale.lane_and_clients()
    client, stock = clients["memcached"], key(sale.tranche.tranche_id, "left")

    def overtaken() -> None:
        assert sale.lane().reserve(sale.bid(500)) == Hold("ok")
        after(client, ("decr",), stock, lambda: happen(client))

    after(client, ("get",), stock, overtaken)
    return lane


def test_decrement_that_is_taken_back_hides_stock(sell: Sell) -> None:
    """The mend's known hole: while somebody's decr is taken back, a bid that fits is told sold out."""
    sale = sell("memcached-decr-offset", 1000)
    seen: list[tuple[Claim, Hold]] = []
    lane = go_too_far(sale, lambda _: seen.append((sale.claim, sale.reserve(100)[1])))
    assert lane.reserve(sale.bid(800)) == Hold("sold_out")
    assert seen == [(Claim("full", -300), Hold("sold_out"))]
    assert sale.claim == Claim("open", 500)
    assert sale.reserve(100)[1] == Hold("ok")


def test_decrement_that_nobody_takes_back_leaks(sell: Sell) -> None:
    """The mend's known hole: a crash before the incr leaves the stock below zero, and 500 are never sold."""
    sale = sell("memcached-decr-offset", 1000)
    lane = go_too_far(sale, lambda client: cut("memcached", client, ConnectionResetError("died")))
    with pytest.raises(ConnectionResetError):
        lane.reserve(sale.bid(800))
    assert sale.claim == Claim("full", -300)
    assert sale.reserve(1)[1] == Hold("sold_out")


@pytest.mark.parametrize("name", ["memcached-decr", "memcached-decr-offset"])
def test_decrement_of_lost_stock(sell: Sell, cache: Any, name: str) -> None:
    """Lost stock is an error and not made up, be it lost before the check or after it."""
    sale = sell(name, 1000)
    bid, held = sale.reserve(400)
    stock = key(sale.tranche.tranche_id, "left")
    lane = paused(sale, lambda: cache.delete(stock))
    assert [lane.reserve(sale.bid(1)) for _ in range(2)] == [Hold("error")] * 2
    assert [sale.own.release(bid, held) for _ in range(2)] == [False, False]
    assert sale.claim == Claim("open", None)


# --- Locks


def outlast_the_lock(sale: Sale, cache: Any, eventually: Eventually, happen: Callable[[], Any]) -> BidStrategy:
    """Return a lane that is paused under its lock until that has expired; then something happens."""

    def expire() -> None:
        assert eventually(lambda: cache.get(key(sale.tranche.tranche_id, "lock")) is None, 10)
        happen()

    return paused(sale, expire)


@pytest.mark.parametrize(("name", "verdict", "left"), [(LOCKS[0], "ok", 400), (LOCKS[1], "busy", 300)])
def test_two_holders(
    sell: Sell,
    cache: Any,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    verdict: HoldVerdict,
    left: int,
) -> None:
    """The known hole: paused for longer than the ttl, a holder overwrites a sale: 1300 of 1000. Fenced: busy."""
    monkeypatch.setattr(memcached_lock, "LOCK_TTL_S", 1)
    sale = sell(name, 1000)
    second: list[Hold] = []
    lane = outlast_the_lock(sale, cache, eventually, lambda: second.append(sale.lane().reserve(sale.bid(700))))
    assert lane.reserve(sale.bid(600)) == Hold(verdict)
    assert second == [Hold("ok")]
    assert sale.claim == Claim("open", left)


@pytest.mark.parametrize(("name", "left"), [(LOCKS[0], 1000), (LOCKS[1], 700)])
def test_two_holders_one_of_which_releases(
    sell: Sell, cache: Any, eventually: Eventually, monkeypatch: pytest.MonkeyPatch, name: str, left: int
) -> None:
    """The known hole: a release that outlasts its lock forgets a sale of 300. Fenced: it is tried again."""
    monkeypatch.setattr(memcached_lock, "LOCK_TTL_S", 1)
    sale = sell(name, 1000)
    bid, held = sale.reserve(400)
    lane = outlast_the_lock(sale, cache, eventually, lambda: sale.reserve(300))
    assert lane.release(bid, held) is True
    assert sale.claim == Claim("open", left)
    assert [lane.release(bid, held), sale.lane().release(bid, held)] == [True, True]
    assert sale.claim == Claim("open", left)


@pytest.mark.parametrize(("name", "kept"), [(LOCKS[0], None), (LOCKS[1], b"another's")])
def test_late_holder_opens_the_lock_of_another(
    sell: Sell, cache: Any, monkeypatch: pytest.MonkeyPatch, name: str, kept: bytes | None
) -> None:
    """The known hole: who comes late deletes the lock of the one inside, and a third enters. Fenced: nobody."""
    monkeypatch.setattr(memcached_lock, "WAIT_S", 0)
    sale = sell(name, 1000)
    lock = key(sale.tranche.tranche_id, "lock")
    lane = paused(sale, lambda: cache.set(lock, "another's"))  # the lock has expired and been taken
    assert lane.reserve(sale.bid(100)) == Hold("ok")
    assert cache.get(lock) == kept
    assert sale.lane().reserve(sale.bid(100)) == Hold("busy" if kept else "ok")


def test_dead_holder_stalls_everybody(
    sell: Sell, cache: Any, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The known hole, fenced or not: until a dead holder's lock expires all are told busy before a full stock."""
    monkeypatch.setattr(memcached_lock, "WAIT_S", 0)
    monkeypatch.setattr(memcached_lock, "RELEASE_WAIT_S", 0)
    sales = [sell(name, 1000) for name in LOCKS]
    held = [sale.reserve(100) for sale in sales]
    for sale in sales:
        lane, clients = sale.lane_and_clients()
        client = clients["memcached"]
        error = ConnectionResetError("died")
        stock = key(sale.tranche.tranche_id, "left")
        after(client, ("get", "gets"), stock, lambda client=client, error=error: cut("memcached", client, error))
        with pytest.raises(ConnectionResetError):
            lane.reserve(sale.bid(1))
    assert [sale.reserve(1)[1] for sale in sales] == [Hold("busy")] * 2
    assert [sale.own.release(*each) for sale, each in zip(sales, held, strict=True)] == [False] * 2
    assert [sale.claim for sale in sales] == [Claim("open", 900)] * 2
    locks = [key(sale.tranche.tranche_id, "lock") for sale in sales]
    assert eventually(lambda: not cache.get_many(locks), 10)
    assert [sale.reserve(1)[1] for sale in sales] == [Hold("ok")] * 2
    assert [sale.own.release(*each) for sale, each in zip(sales, held, strict=True)] == [True] * 2
    assert [sale.claim for sale in sales] == [Claim("open", 999)] * 2


@pytest.mark.parametrize("name", LOCKS)
def test_lock_over_lost_stock(sell: Sell, cache: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Lost stock is an error, a release into it is not said to be one, and the lock is opened each time."""
    monkeypatch.setattr(memcached_lock, "WAIT_S", 0)
    sale = sell(name, 1000)
    bid, held = sale.reserve(400)
    cache.delete(key(sale.tranche.tranche_id, "left"))
    assert [sale.reserve(1)[1] for _ in range(2)] == [Hold("error")] * 2
    assert [sale.own.release(bid, held) for _ in range(2)] == [False, False]
    assert sale.claim == Claim("open", None)


def test_stock_lost_under_the_fenced_lock(sell: Sell, cache: Any) -> None:
    """Stock that is lost between read and write is an error too, and is not written anew."""
    sale = sell("memcached-lock-fenced", 1000)
    lane = paused(sale, lambda: cache.delete(key(sale.tranche.tranche_id, "left")))
    assert lane.reserve(sale.bid(1)) == Hold("error")
    assert sale.claim == Claim("open", None)


# --- Settled once


def settle_twice(sale: Sale) -> tuple[Claim, bool]:
    """Release a confirmed hold of 400, confirm a released one of 300; return the claim and the last answer."""
    (sold, held), (returned, also_held) = sale.reserve(400), sale.reserve(300)
    assert sale.own.confirm(sold, held) is True
    sale.lane().release(sold, held)
    assert sale.own.release(returned, also_held) is True
    confirmed = sale.lane().confirm(returned, also_held)
    return sale.claim, confirmed


@pytest.mark.parametrize("name", ["memcached-decr-offset", "memcached-lock-fenced"])
def test_hold_is_settled_once(sell: Sell, name: str) -> None:
    """A confirmed hold gives nothing back, and a released one cannot be confirmed."""
    assert settle_twice(sell(name, 1000)) == (Claim("open", 600), False)


def test_hold_is_settled_twice(sell: Sell) -> None:
    """Planted: a strategy that does not mark its holds gives a sold one back, and confirms a released one."""
    assert settle_twice(sell("memcached-cas", 1000)) == (Claim("open", 1000), True)
