"""The known holes of the Redis locks and of redlock, provoked on real servers, and what the fence mends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
import redis
from tests.sale import Sale, Sell

from oversold.clock import SystemClock, seeded
from oversold.model import Claim, Hold, HoldVerdict
from oversold.stores.endpoint import Endpoint
from oversold.stores.providers import close, connect, cut
from oversold.strategies.bids import redis_lock, redlock
from oversold.strategies.bids.redis_lock import RedisLock
from oversold.strategies.bids.redlock import Redlock
from oversold.strategies.interface import BidStrategy, Context, key

pytestmark = pytest.mark.servers

Eventually = Callable[[Callable[[], bool], float], bool]

UNFENCED = ["redis-lock", "redlock"]
LOCKS = [*UNFENCED, "redis-lock-fenced"]
SHORT_MS = 150  # of a lock that is to expire; long enough for five servers to be asked


def lose(clients: Mapping[str, Any], servers: range) -> None:
    """Let a lane reach some of its five servers no more."""
    for number in servers:
        cut("redis", clients["redlock"][number], redis.ConnectionError("down"))


def paused(sale: Sale, happen: Callable[[dict[str, Any]], Any], lost: range = range(0)) -> BidStrategy:
    """Return a lane that, once it has read the stock, is paused while something happens to its clients."""
    lane, clients = sale.lane_and_clients()
    lose(clients, lost)
    client, stock = clients["redis"], key(sale.tranche.tranche_id, "left")
    execute = client.execute_command

    def wrapped(*arguments: Any, **options: Any) -> Any:
        answer = execute(*arguments, **options)
        if stock in arguments:
            client.execute_command = execute
            happen(clients)
        return answer

    client.execute_command = wrapped
    return lane


class Doors:
    """The servers on which a strategy's lock lives, seen from outside."""

    def __init__(self, name: str, sale: Sale) -> None:
        _, clients = sale.lane_and_clients()
        self.servers = clients["redlock"] if name == "redlock" else (clients["redis"],)
        self.lock = key(sale.tranche.tranche_id, "lock")

    @property
    def tokens(self) -> list[bytes | None]:
        """The tokens in the lock, server by server."""
        return [server.get(self.lock) for server in self.servers]

    def put(self, token: str, servers: range | None = None) -> None:
        """Let somebody have the lock on all servers, or on some."""
        for number in servers or range(len(self.servers)):
            self.servers[number].set(self.lock, token)

    def hasten(self) -> None:
        """Let the locks run out now that have a ttl."""
        assert all(0 < server.pttl(self.lock) <= redis_lock.LOCK_MS for server in self.servers)
        for server in self.servers:
            server.pexpire(self.lock, 1)


@pytest.fixture
def short_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let locks expire soon."""
    monkeypatch.setattr(redis_lock, "LOCK_MS", SHORT_MS)
    monkeypatch.setattr(redlock, "LOCK_MS", SHORT_MS)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let bidders and releases try for the lock once."""
    monkeypatch.setattr(RedisLock, "wait_s", 0.0)
    monkeypatch.setattr(Redlock, "wait_s", 0.0)
    monkeypatch.setattr(redis_lock, "RELEASE_WAIT_S", 0.0)


def outlast_the_lock(name: str, sale: Sale, eventually: Eventually, happen: Callable[[], Any]) -> BidStrategy:
    """Return a lane that is paused under its lock until that has expired; then something happens."""
    doors = Doors(name, sale)

    def expire(_: dict[str, Any]) -> None:
        assert eventually(lambda: not any(doors.tokens), 10)
        happen()

    return paused(sale, expire)


# --- Two holders


@pytest.mark.usefixtures("short_locks")
@pytest.mark.parametrize(
    ("name", "verdict", "left"), [*((name, "ok", 400) for name in UNFENCED), ("redis-lock-fenced", "busy", 300)]
)
def test_two_holders(sell: Sell, eventually: Eventually, name: str, verdict: HoldVerdict, left: int) -> None:
    """The known hole: paused for longer than the ttl, a holder overwrites a sale: 1300 of 1000. Fenced: busy."""
    sale = sell(name, 1000)
    second: list[Hold] = []
    lane = outlast_the_lock(name, sale, eventually, lambda: second.append(sale.reserve(700)[1]))
    assert lane.reserve(sale.bid(600)) == Hold(verdict)
    assert second == [Hold("ok")]
    assert sale.claim == Claim("open", left)


@pytest.mark.usefixtures("short_locks")
@pytest.mark.parametrize(
    ("name", "verdict"), [*((name, "ok") for name in UNFENCED), ("redis-lock-fenced", "busy")]
)
def test_two_holders_that_have_both_read(
    sell: Sell, eventually: Eventually, name: str, verdict: HoldVerdict
) -> None:
    """The known hole, the late write before the new holder's. Fenced: a read is enough to shut the old one out."""
    sale = sell(name, 1000)
    inside, go_on = Event(), Event()

    def wait() -> None:
        inside.set()
        assert go_on.wait(10)

    late = outlast_the_lock(name, sale, eventually, wait)
    with ThreadPoolExecutor(1) as threads:
        told = threads.submit(late.reserve, sale.bid(600))
        assert inside.wait(20)

        def let_it_write(_: dict[str, Any]) -> None:
            go_on.set()
            told.result(10)

        assert paused(sale, let_it_write).reserve(sale.bid(700)) == Hold("ok")
    assert told.result() == Hold(verdict)
    assert sale.claim == Claim("open", 300)  # unfenced, 1300 of 1000 are held


@pytest.mark.usefixtures("short_locks")
@pytest.mark.parametrize(("name", "left"), [*((name, 1000) for name in UNFENCED), ("redis-lock-fenced", 700)])
def test_two_holders_one_of_which_releases(sell: Sell, eventually: Eventually, name: str, left: int) -> None:
    """The known hole: a release that outlasts its lock forgets a sale of 300. Fenced: it is tried again."""
    sale = sell(name, 1000)
    bid, held = sale.reserve(400)
    lane = outlast_the_lock(name, sale, eventually, lambda: sale.reserve(300))
    assert lane.release(bid, held) is True
    assert sale.claim == Claim("open", left)
    assert [lane.release(bid, held), sale.lane().release(bid, held)] == [True, True]
    assert sale.claim == Claim("open", left)


class OpensAnyLock(RedisLock):
    """Planted: deletes the lock without looking whose it is."""

    def _unlock(self, tranche_id: str, token: str) -> None:
        self._redis.delete(key(tranche_id, "lock"))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("name", "kept"), [*((name, b"another's") for name in LOCKS), (OpensAnyLock, None)])
def test_late_holder_leaves_the_lock_of_another(
    sell: Sell, name: str | type[BidStrategy], kept: bytes | None
) -> None:
    """Who comes late opens no lock but its own, so no third one enters."""
    sale = sell(name, 1000)
    doors = Doors(str(name), sale)
    lane = paused(sale, lambda _: doors.put("another's"))  # the lock has expired and been taken
    assert lane.reserve(sale.bid(100)) == Hold("ok")
    assert set(doors.tokens) == {kept}
    assert sale.reserve(100)[1] == Hold("busy" if kept else "ok")


# --- A dead holder


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", LOCKS)
def test_dead_holder_stalls_everybody(sell: Sell, eventually: Eventually, name: str) -> None:
    """The known hole, fenced or not: until a dead holder's lock expires all are told busy before a full stock."""
    sale = sell(name, 1000)
    bid, held = sale.reserve(100)

    def die(clients: dict[str, Any]) -> None:
        for store, client in clients.items():
            cut(store, client, redis.ConnectionError("died"))

    with pytest.raises(redis.ConnectionError):
        paused(sale, die).reserve(sale.bid(1))
    assert [sale.reserve(1)[1] for _ in range(2)] == [Hold("busy")] * 2
    assert sale.own.release(bid, held) is False
    assert sale.claim == Claim("open", 900)
    doors = Doors(name, sale)
    doors.hasten()
    assert eventually(lambda: not any(doors.tokens), 10)
    assert sale.reserve(1)[1] == Hold("ok")
    assert sale.own.release(bid, held) is True
    assert sale.claim == Claim("open", 999)


# --- Redlock: votes


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("lost", "verdict"), [(1, "ok"), (2, "ok"), (3, "busy"), (5, "busy")])
def test_redlock_survives_a_minority(sell: Sell, lost: int, verdict: HoldVerdict) -> None:
    """With two of five servers dead bidders are served; with three nobody is, and no vote stays behind."""
    sale = sell("redlock", 1000)
    lane, clients = sale.lane_and_clients()
    lose(clients, range(lost))
    assert lane.reserve(sale.bid(100)) == Hold(verdict)
    assert Doors("redlock", sale).tokens == [None] * 5
    assert sale.claim.remaining_fen == (900 if verdict == "ok" else 1000)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("full", "verdict"), [(2, "ok"), (3, "busy")])
def test_redlock_survives_full_servers(sell: Sell, full: int, verdict: HoldVerdict) -> None:
    """A server without memory has no vote, which two of five may do."""
    sale = sell("redlock", 1000)
    doors = Doors("redlock", sale)
    for server in doors.servers[:full]:
        server.config_set("maxmemory", 1)
    try:
        assert sale.reserve(100)[1] == Hold(verdict)
    finally:
        for server in doors.servers[:full]:
            server.config_set("maxmemory", 0)
    assert doors.tokens == [None] * 5


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("taken", "verdict"), [(2, "ok"), (3, "busy")])
def test_redlock_needs_a_majority(sell: Sell, taken: int, verdict: HoldVerdict) -> None:
    """Three votes of five are the lock and two are none; the votes of others stay theirs."""
    sale = sell("redlock", 1000)
    doors = Doors("redlock", sale)
    doors.put("another's", range(taken))
    assert sale.reserve(100)[1] == Hold(verdict)
    assert doors.tokens == [b"another's"] * taken + [None] * (5 - taken)


class Slow(SystemClock):
    """A clock by which each look at it is so many seconds after the one before."""

    def __init__(self, step_s: float) -> None:
        self._step_s, self._now_s = step_s, 0.0

    def now_s(self) -> float:
        self._now_s += self._step_s
        return self._now_s


@pytest.mark.parametrize(("step_s", "verdict"), [(1.97, "ok"), (1.98, "busy"), (3.0, "busy")])
def test_redlock_counts_the_time_it_took(
    sell: Sell,
    endpoints: Mapping[str, Endpoint],
    step_s: float,
    verdict: HoldVerdict,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Votes that took as long as the ttl less 1 % and 2 ms to gather are worth nothing, and are given back."""
    monkeypatch.setattr(Redlock, "wait_s", step_s)
    monkeypatch.setattr(Redlock, "poll_s", 0.0)
    sale = sell("redlock", 1000)
    clients = {store: connect(endpoints[store], SystemClock(), 0) for store in Redlock.stores}
    lane = Redlock(Context(clients, Slow(step_s), seeded("lane")))
    assert lane.reserve(sale.bid(100)) == Hold(verdict)
    assert Doors("redlock", sale).tokens == [None] * 5
    for store, client in clients.items():
        close(store, client)


def just_before(client: Any, command: str, happen: Callable[[], Any]) -> None:
    """Let something happen once, just before a client's next command of a name."""
    execute = client.execute_command

    def wrapped(*arguments: Any, **options: Any) -> Any:
        if arguments[0] == command:
            client.execute_command = execute
            happen()
        return execute(*arguments, **options)

    client.execute_command = wrapped


@pytest.mark.usefixtures("impatient")
def test_redlock_split_votes(sell: Sell) -> None:
    """The known hole: two, two and one of five votes are nobody's majority; all are busy before a full stock."""
    sale = sell("redlock", 1000)
    doors = Doors("redlock", sale)
    (one, ones), (two, twos) = sale.lane_and_clients(), sale.lane_and_clients()
    has_two, go_on, lost = Event(), Event(), Event()

    def wait() -> None:
        has_two.set()
        assert go_on.wait(10)

    def let_it_lose() -> None:
        go_on.set()
        assert lost.wait(10)

    just_before(ones["redlock"][2], "SET", wait)
    just_before(ones["redlock"][0], "EVALSHA", lost.set)  # it gives up
    just_before(twos["redlock"][4], "SET", lambda: doors.put("third's", range(4, 5)))
    just_before(twos["redlock"][0], "EVALSHA", let_it_lose)
    with ThreadPoolExecutor(1) as threads:
        told = threads.submit(one.reserve, sale.bid(100))
        assert has_two.wait(10)
        assert two.reserve(sale.bid(100)) == Hold("busy")
        assert told.result() == Hold("busy")
    assert doors.tokens == [None] * 4 + [b"third's"]
    assert sale.claim == Claim("open", 1000)
    assert two.reserve(sale.bid(100)) == Hold("ok")  # planted: one alone has four votes


def test_redlock_server_that_hangs(sell: Sell, eventually: Eventually, monkeypatch: pytest.MonkeyPatch) -> None:
    """The known hole: one server of five that neither answers nor dies holds a bidder up; a dead one does not."""
    monkeypatch.setattr(redlock, "LOCK_MS", 60_000)
    sale = sell("redlock", 1000)
    doors = Doors("redlock", sale)
    dead, clients = sale.lane_and_clients()
    lose(clients, range(1, 2))
    assert dead.reserve(sale.bid(100)) == Hold("ok")
    doors.servers[1].client_pause(60_000, all=False)
    try:
        with ThreadPoolExecutor(1) as threads:
            told = threads.submit(sale.own.reserve, sale.bid(100))
            assert eventually(lambda: doors.tokens[0] is not None, 10)
            assert not eventually(told.done, 0.2)
            assert doors.tokens[1:] == [None] * 4
            doors.servers[1].client_unpause()
            assert told.result(10) == Hold("ok")
    finally:
        doors.servers[1].client_unpause()
    assert sale.claim == Claim("open", 800)


def test_redlock_server_that_forgets(sell: Sell) -> None:
    """The known hole: one restart without persistence gives two bidders a majority each: 1300 of 1000."""
    sale = sell("redlock", 1000)
    doors, second = Doors("redlock", sale), []
    other, others = sale.lane_and_clients()
    lose(others, range(2))

    def restart_one(_: dict[str, Any]) -> None:
        assert [token is not None for token in doors.tokens] == [True, True, True, False, False]
        doors.servers[2].flushall()
        second.append(other.reserve(sale.bid(700)))

    lane = paused(sale, restart_one, lost=range(3, 5))
    assert lane.reserve(sale.bid(600)) == Hold("ok")
    assert second == [Hold("ok")]
    assert sale.claim == Claim("open", 400)
