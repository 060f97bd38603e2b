"""Every built-in bid strategy on its real server: what it promises alone, and what is left of it in a race."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from oversold.clock import SystemClock, seeded
from oversold.model import Bid, Claim, Hold, HoldVerdict, Tranche
from oversold.platform.ledger import Connection
from oversold.stores.endpoint import Endpoint
from oversold.stores.providers import connect
from oversold.strategies import registry
from oversold.strategies.bids import memcached_cas_retry, redis_queue
from oversold.strategies.bids.memcached_cas import MemcachedCas
from oversold.strategies.bids.memcached_cas_retry import MemcachedCasRetry
from oversold.strategies.bids.none import NoLock
from oversold.strategies.interface import BidStrategy, ConsumerStrategy, Context, key, open_context

pytestmark = pytest.mark.servers

UNSOUND = ["none", "check-then-decr"]  # they oversell: here it is their job
SOUND = [name for name in registry.BID_STRATEGIES if name not in UNSOUND]
GIVES_UP = ["memcached-cas", "memcached-cas-retry"]  # they may answer busy while stock remains
SQL = ["row-lock", "conditional-update"]
HUGE_FEN = 10**16

LANES = 8
BIDS = 40
UNIT_FEN = 100
CAPACITY_FEN = 10 * UNIT_FEN
RTT_S = 0.005  # so that the lanes' commands interleave


class Sale:
    """One tranche under one strategy: the coordinator's instance, the lanes' instances, and its bids."""

    def __init__(
        self, kind: type[BidStrategy], tranche: Tranche, endpoints: Mapping[str, Endpoint], stack: ExitStack
    ) -> None:
        self.tranche = tranche
        self._kind, self._endpoints, self._stack = kind, endpoints, stack
        self._bids = 0
        self.own = self.lane()
        self.own.open(tranche)

    def lane(self, rtt_s: float = 0.0) -> BidStrategy:
        """Return one more instance with connections of its own."""
        context, clients = open_context(self._endpoints, self._kind.stores, SystemClock(), rtt_s, "lane")
        for client in clients.values():
            self._stack.callback(client.close)
        if "sql" in clients:  # a strategy that keeps its lock is to fail its test, not to hang it
            clients["sql"].exec_driver_sql("SET lock_timeout TO '15s'")
            clients["sql"].commit()
        return self._kind(context)

    def bid(self, amount_fen: int) -> Bid:
        """Return a bid that nobody has made yet."""
        self._bids += 1
        return Bid(f"{self.tranche.tranche_id}-{self._bids:06d}", self.tranche.tranche_id, "user", amount_fen)

    def reserve(self, amount_fen: int) -> tuple[Bid, Hold]:
        """Make a bid and try to hold it."""
        bid = self.bid(amount_fen)
        return bid, self.own.reserve(bid)

    @property
    def claim(self) -> Claim:
        """What the strategy says of its stock."""
        return self.own.status(self.tranche.tranche_id)

    def consume(self) -> None:
        """Keep the strategy's consumer running until the test is over, in a thread with its own connections."""
        consumer = self.lane()
        assert isinstance(consumer, ConsumerStrategy)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                consumer.consume(self.tranche.tranche_id, 0.05)

        thread = threading.Thread(target=serve)
        self._stack.callback(thread.join)
        self._stack.callback(over.set)
        thread.start()


Sell = Callable[[str | type[BidStrategy], int], Sale]


@pytest.fixture
def open_sale(endpoints: Mapping[str, Endpoint], new_tranche: Callable[[int], Tranche]) -> Iterator[Sell]:
    """Open a tranche of so many fen under a strategy; what it opened is closed after the test."""
    with ExitStack() as stack:

        def make(strategy: str | type[BidStrategy], capacity_fen: int) -> Sale:
            kind = registry.load(strategy) if isinstance(strategy, str) else strategy
            return Sale(kind, new_tranche(capacity_fen), endpoints, stack)

        yield make


@pytest.fixture
def sell(open_sale: Sell) -> Sell:
    """The same, with the strategy's consumer running if it has one."""

    def make(strategy: str | type[BidStrategy], capacity_fen: int) -> Sale:
        sale = open_sale(strategy, capacity_fen)
        if isinstance(sale.own, ConsumerStrategy):
            sale.consume()
        return sale

    return make


# --- Alone: each check takes something that opens tranches, and has a broken strategy that it must refuse

Offer = Callable[[int], Sale]


def takes_what_fits(offer: Offer) -> None:
    """A bid that fits takes its amount."""
    sale = offer(1000)
    assert sale.claim == Claim("open", 1000)
    assert sale.reserve(300)[1].verdict == "ok"
    assert sale.claim == Claim("open", 700)


def refuses_what_does_not_fit(offer: Offer) -> None:
    """A bid that is too big is sold out and takes nothing, and a smaller one still fits."""
    sale = offer(1000)
    assert sale.reserve(1001)[1].verdict == "sold_out"
    assert sale.claim == Claim("open", 1000)
    assert sale.reserve(1)[1].verdict == "ok"
    assert sale.reserve(1000)[1].verdict == "sold_out"
    assert sale.claim == Claim("open", 999)


def is_full_at_zero(offer: Offer) -> None:
    """The last share can be had; then the tranche is full."""
    sale = offer(1000)
    assert sale.reserve(999)[1].verdict == "ok"
    assert sale.reserve(1)[1].verdict == "ok"
    assert sale.claim == Claim("full", 0)
    assert sale.reserve(1)[1].verdict == "sold_out"
    assert sale.claim == Claim("full", 0)


def gives_back_once(offer: Offer) -> None:
    """A release gives the amount back and reopens; another one, by any lane, changes nothing."""
    sale = offer(1000)
    (first, held), (second, also_held) = sale.reserve(600), sale.reserve(400)
    assert sale.claim == Claim("full", 0)
    assert sale.own.release(first, held) is True
    assert sale.claim == Claim("open", 600)
    assert sale.own.release(first, held) is True
    assert sale.lane().release(first, held) is True
    assert sale.claim == Claim("open", 600)
    assert sale.own.release(second, also_held) is True
    assert sale.claim == Claim("open", 1000)
    assert sale.reserve(1000)[1].verdict == "ok"


def confirms_again_and_again(offer: Offer) -> None:
    """A confirmed hold can be confirmed again, by any lane, and the stock stays as it is."""
    sale = offer(1000)
    bid, held = sale.reserve(250)
    assert sale.own.confirm(bid, held) is True
    assert sale.own.confirm(bid, held) is True
    assert sale.lane().confirm(bid, held) is True
    assert sale.claim == Claim("open", 750)


def keeps_tranches_apart(offer: Offer) -> None:
    """What happens to one tranche does not touch another one, even by an instance that serves both."""
    one, other = offer(1000), offer(500)
    bid, held = one.reserve(1000)
    assert other.claim == Claim("open", 500)
    assert other.reserve(400)[1].verdict == "ok"
    assert one.claim == Claim("full", 0)
    assert one.own.release(bid, held) is True
    assert (one.claim, other.claim) == (Claim("open", 1000), Claim("open", 100))
    assert one.own.status(other.tranche.tranche_id) == Claim("open", 100)


def is_exact_with_huge_amounts(offer: Offer) -> None:
    """Amounts beyond 2^53, which a floating-point number cannot hold, are counted to the fen."""
    sale = offer(HUGE_FEN)
    bid, held = sale.reserve(HUGE_FEN - 1)
    assert held.verdict == "ok"
    assert sale.claim == Claim("open", 1)
    assert sale.reserve(2)[1].verdict == "sold_out"
    assert sale.own.release(bid, held) is True
    assert sale.claim == Claim("open", HUGE_FEN)
    assert sale.reserve(HUGE_FEN)[1].verdict == "ok"
    assert sale.claim == Claim("full", 0)


def refuses_one_fen_too_much(offer: Offer) -> None:
    """A huge bid that is one fen too big is sold out."""
    sale = offer(HUGE_FEN - 1)
    assert sale.reserve(HUGE_FEN)[1].verdict == "sold_out"
    assert sale.claim == Claim("open", HUGE_FEN - 1)


class Shrinks(NoLock):
    """Says that less is left than is."""

    def status(self, tranche_id: str) -> Claim:
        claim = super().status(tranche_id)
        return Claim(claim.status, (claim.remaining_fen or 0) - 1)


class TakesAnyway(NoLock):
    """Writes the stock before it compares."""

    def reserve(self, bid: Bid) -> Hold:
        left = self._redis.decrby(key(bid.tranche_id, "left"), bid.amount_fen)
        return Hold("ok" if left >= 0 else "sold_out")


class StaysOpen(NoLock):
    """Never notices that it is full."""

    def status(self, tranche_id: str) -> Claim:
        return Claim("open", super().status(tranche_id).remaining_fen)


class GivesBackTwice(NoLock):
    """A repeated release gives back once more."""

    def release(self, bid: Bid, hold: Hold) -> bool:
        self._redis.incrby(key(bid.tranche_id, "left"), bid.amount_fen)
        return True


class ConfirmsOnce(NoLock):
    """A repeated confirm is refused."""

    def confirm(self, bid: Bid, hold: Hold) -> bool:
        return bool(self._redis.set(key(bid.tranche_id, "confirmed", bid.bid_id), 1, nx=True))


class OneStock(NoLock):
    """All tranches share one stock."""

    def open(self, tranche: Tranche) -> None:
        super().open(Tranche("shared", tranche.capacity_fen))

    def reserve(self, bid: Bid) -> Hold:
        return super().reserve(Bid(bid.bid_id, "shared", bid.user_id, bid.amount_fen))

    def status(self, tranche_id: str) -> Claim:
        return super().status("shared")


class Floats(NoLock):
    """Counts in floating point."""

    def reserve(self, bid: Bid) -> Hold:
        left = float(self._redis.get(key(bid.tranche_id, "left")) or 0)
        if left < float(bid.amount_fen):
            return Hold("sold_out")
        self._redis.set(key(bid.tranche_id, "left"), int(left - float(bid.amount_fen)))
        return Hold("ok")


PLANTED: Mapping[Callable[[Offer], None], type[BidStrategy]] = {
    takes_what_fits: Shrinks,
    refuses_what_does_not_fit: TakesAnyway,
    is_full_at_zero: StaysOpen,
    gives_back_once: GivesBackTwice,
    confirms_again_and_again: ConfirmsOnce,
    keeps_tranches_apart: OneStock,
    is_exact_with_huge_amounts: Floats,
    refuses_one_fen_too_much: Floats,
}
every_check = pytest.mark.parametrize("check", PLANTED, ids=lambda check: check.__name__)


@every_check
@pytest.mark.parametrize("name", registry.BID_STRATEGIES)
def test_alone(sell: Sell, name: str, check: Callable[[Offer], None]) -> None:
    """With one bidder at a time every strategy keeps every promise."""
    check(lambda capacity_fen: sell(name, capacity_fen))


@every_check
def test_broken_strategy_is_found(sell: Sell, check: Callable[[Offer], None]) -> None:
    """Planted: each check refuses a strategy that breaks what it is about."""
    with pytest.raises(AssertionError):
        check(lambda capacity_fen: sell(PLANTED[check], capacity_fen))


# --- In a race


def race(sale: Sale) -> Counter[HoldVerdict]:
    """Let 8 lanes make 40 bids of one unit each for 10 units; return how many got which answer."""
    lanes = [sale.lane(RTT_S) for _ in range(LANES)]
    bids = [[sale.bid(UNIT_FEN) for _ in range(BIDS // LANES)] for _ in lanes]
    gate = threading.Barrier(LANES)

    def drive(lane: BidStrategy, own: list[Bid]) -> list[HoldVerdict]:
        gate.wait(10)
        return [lane.reserve(bid).verdict for bid in own]

    with ThreadPoolExecutor(LANES) as threads:
        return Counter(verdict for told in threads.map(drive, lanes, bids) for verdict in told)


def judge(sale: Sale, told: Counter[HoldVerdict]) -> None:
    """No more is held than there is, and the strategy knows what is left."""
    assert sum(told.values()) == BIDS
    assert told["ok"] * UNIT_FEN <= CAPACITY_FEN
    left = CAPACITY_FEN - told["ok"] * UNIT_FEN
    assert sale.claim == Claim("open" if left else "full", left)


@pytest.mark.parametrize("name", SOUND)
def test_race(sell: Sell, name: str) -> None:
    """A sound strategy never holds more than there is; all is sold, unless it gives up under contention."""
    sale = sell(name, CAPACITY_FEN)
    told = race(sale)
    judge(sale, told)
    if name in GIVES_UP:
        assert told["ok"] > 0
        assert set(told) <= {"ok", "sold_out", "busy"}
    else:
        assert told == {"ok": CAPACITY_FEN // UNIT_FEN, "sold_out": BIDS - CAPACITY_FEN // UNIT_FEN}


@pytest.mark.parametrize("name", UNSOUND)
def test_race_is_lost(sell: Sell, name: str) -> None:
    """Planted: an unsound strategy oversells in the same race (within five, lest chance decides)."""
    for _ in range(5):
        sale = sell(name, CAPACITY_FEN)
        told = race(sale)
        if told["ok"] * UNIT_FEN > CAPACITY_FEN:
            break
    with pytest.raises(AssertionError):
        judge(sale, told)
    assert set(told) <= {"ok", "sold_out"}


@pytest.mark.parametrize("name", SOUND)
def test_race_of_releases(sell: Sell, name: str) -> None:
    """Eight lanes that release the same hold at once give it back once."""
    sale = sell(name, CAPACITY_FEN)
    (bid, hold), _ = sale.reserve(UNIT_FEN), sale.reserve(UNIT_FEN)
    lanes = [sale.lane(RTT_S) for _ in range(LANES)]
    with ThreadPoolExecutor(LANES) as threads:
        released = list(threads.map(lambda lane: lane.release(bid, hold), lanes))
    assert released == [True] * LANES
    assert sale.claim.remaining_fen == CAPACITY_FEN - UNIT_FEN


# --- memcached


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


# --- Redis

CHARGES_ONCE = ["redis-lua", "redis-queue"]


@pytest.mark.parametrize("name", CHARGES_ONCE)
def test_repeated_bid_is_charged_once(sell: Sell, name: str) -> None:
    """A bid that is sent again, by any lane, gets its answer again and takes nothing more."""
    sale = sell(name, 1000)
    bid, held = sale.reserve(700)
    assert held.verdict == "ok"
    assert sale.own.reserve(bid).verdict == "ok"
    assert sale.lane().reserve(bid).verdict == "ok"
    assert sale.claim == Claim("open", 300)
    assert sale.own.release(bid, held)
    assert sale.claim == Claim("open", 1000)


@pytest.mark.parametrize("name", UNSOUND)
def test_repeated_bid_is_charged_twice(sell: Sell, name: str) -> None:
    """Planted: a strategy that does not know its bids takes the amount again."""
    sale = sell(name, 1000)
    bid, _ = sale.reserve(400)
    sale.own.reserve(bid)
    assert sale.claim == Claim("open", 200)


@pytest.mark.parametrize(
    "name",
    ["redis-lua", "redis-queue"],
)
def test_confirmed_bid_is_charged_once(sell: Sell, name: str) -> None:
    """A bid that is sent again after it was confirmed takes nothing more."""
    sale = sell(name, 1000)
    bid, held = sale.reserve(400)
    assert sale.own.confirm(bid, held)
    sale.own.reserve(bid)
    assert sale.claim == Claim("open", 600)


def test_queue_that_nobody_serves(open_sale: Sell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a consumer a bidder cannot know; the answer that comes later finds the stock taken once."""
    sale = open_sale("redis-queue", 1000)
    with monkeypatch.context() as patch:
        patch.setattr(redis_queue, "ANSWER_WAIT_S", 0.2)
        bid, held = sale.reserve(400)
        assert held == Hold("unknown")
        assert sale.own.release(bid, held) is False
    assert sale.claim == Claim("open", 1000)
    sale.consume()
    assert sale.own.reserve(bid).verdict == "ok"
    assert sale.reserve(500)[1].verdict == "ok"
    assert sale.claim.remaining_fen == 100


def test_queue_answers_the_latest_request(open_sale: Sell, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that came too late is not taken for the answer to a later request of the same bid."""
    sale = open_sale("redis-queue", 1000)
    with monkeypatch.context() as patch:
        patch.setattr(redis_queue, "ANSWER_WAIT_S", 0.1)
        bid, held = sale.reserve(400)
        sale.own.release(bid, held)
        rival, _ = sale.reserve(1000)
    sale.consume()
    assert sale.own.reserve(rival).verdict == "ok"
    assert sale.own.reserve(bid).verdict == "sold_out"


# --- SQL


def left_open(sql: Connection, lane: Connection, tranche_id: str) -> str:
    """Return what a lane's connection has left behind: a locked row, an open transaction, or nothing."""
    try:
        sql.execute("SELECT 1 FROM stock WHERE tranche_id = %s FOR UPDATE NOWAIT", (tranche_id,))
    except psycopg.errors.LockNotAvailable:
        return "lock"
    query = "SELECT state FROM pg_stat_activity WHERE pid = %s"
    state = sql.execute(query, (lane.info.backend_pid,)).fetchone()
    return "" if state == ("idle",) else "transaction"


@pytest.mark.parametrize("name", SQL)
def test_no_transaction_is_left_open(
    endpoints: Mapping[str, Endpoint],
    new_tranche: Callable[[int], Tranche],
    sql: Connection,
    name: str,
) -> None:
    """After each call a second connection gets the stock row's lock at once, and the lane's is idle."""
    client = connect(endpoints["sql"], SystemClock(), 0)
    lane = client.connection.driver_connection
    strategy = registry.load(name)(Context({"sql": client}, SystemClock(), seeded()))
    tranche = new_tranche(1000)
    bid, big = (Bid(f"{tranche.tranche_id}-{fen}", tranche.tranche_id, "user", fen) for fen in (600, 1001))
    held = Hold("ok")
    calls: Mapping[str, Callable[[], Any]] = {
        "open": lambda: strategy.open(tranche),
        "ok": lambda: strategy.reserve(bid),
        "sold out": lambda: strategy.reserve(big),
        "confirm": lambda: strategy.confirm(bid, held),
        "release": lambda: strategy.release(bid, held),
        "released before": lambda: strategy.release(bid, held),
        "status": lambda: strategy.status(tranche.tranche_id),
    }
    left = {}
    for what, call in calls.items():
        call()
        left[what] = left_open(sql, lane, tranche.tranche_id)
    assert left == dict.fromkeys(calls, "")
    for statement, found in (("SELECT 1", "transaction"), ("SELECT 1 FROM stock FOR UPDATE", "lock")):
        client.execution_options(isolation_level="READ COMMITTED").exec_driver_sql(statement)  # planted
        assert left_open(sql, lane, tranche.tranche_id) == found
        client.rollback()
    client.close()
