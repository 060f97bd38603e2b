"""Stores in the explorer's own process: the same schedules as on real servers, and the same end of each."""

from __future__ import annotations

import sys
from collections import Counter

import pytest

from oversold.errors import UsageError
from oversold.explore.actor import LOST, Port
from oversold.explore.bidding import Sale
from oversold.explore.crowd import Crowd
from oversold.explore.execution import Pruned
from oversold.explore.naming import Naming
from oversold.explore.seams import fakes
from oversold.explore.search import DepthFirst
from oversold.explore.stage import scripted
from oversold.explore.subject import Code
from oversold.explore.world import World
from oversold.strategies import registry
from oversold.strategies.interface import key

pytest.importorskip("fakeredis")

NAMING = Naming("t-1", "tranche")


def sale(name, bidders, capacity_bids=1):
    """Return a sale under a strategy of ours, or under one of these, on fakes."""
    strategy = IMPATIENT.get(name) or registry.load_bids(name)
    consumer = callable(getattr(strategy, "consume", None))
    world = World(NAMING, bidders + consumer + 1)
    for store in sorted(fakes.endpoints(strategy.stores)):
        world.add(store, fakes.seam(store, NAMING))
    scripted(world.seams)
    world.sit()
    return Sale(strategy, world, "t-1", Crowd(bidders, capacity_bids), 1, Code(name))


class Asks(registry.load_bids("none")):  # type: ignore[misc]
    """Asks three times for a lock, then goes on without it."""

    def __init__(self, context):
        super().__init__(context)
        self._clock = context.clock

    def reserve(self, bid):
        """Sell under the lock, or without it."""
        mine = self._locked(bid)
        try:
            return super().reserve(bid)
        finally:
            if mine:
                self._redis.delete(key(bid.tranche_id, "lock"))

    def _locked(self, bid):
        for _ in range(3):
            if self._redis.set(key(bid.tranche_id, "lock"), bid.bid_id, nx=True):
                return True
            self._clock.sleep(0.1)
        return False


class Waits(Asks):
    """Waits a second for the only token, then goes on without it."""

    def open(self, tranche):
        """Put the token in."""
        super().open(tranche)
        self._redis.rpush(key(tranche.tranche_id, "token"), "t")

    def reserve(self, bid):
        """Sell with the token, or without it."""
        token = self._redis.blpop([key(bid.tranche_id, "token")], timeout=1)
        hold = registry.load_bids("none").reserve(self, bid)
        if token:
            self._redis.rpush(key(bid.tranche_id, "token"), "t")
        return hold


class NeverTires(Asks):
    """Asks for the lock until it has it."""

    def _locked(self, bid):
        while not super()._locked(bid):
            pass
        return True


IMPATIENT = {"asks": Asks, "waits": Waits, "never-tires": NeverTires}


def walked(subject, faults=0):
    """Walk all schedules; return how many there are, and how many of them break which promise."""
    search, runs, broken = DepthFirst(), 0, Counter()
    while not search.exhausted:
        search.begin()
        runs += 1
        try:
            execution = subject.play(search, faults)
            assert not subject.books.raised
            broken.update(finding.check for finding in subject.broken())
            broken.update([execution.ending] if execution.ending else [])
        except Pruned:
            pass
        search.end()
    return runs, dict(broken)


@pytest.mark.parametrize(
    ("name", "bidders", "capacity_bids", "runs", "broken"),
    [
        ("none", 2, 1, 4, {"oversubscription": 2, "claim_gap": 2}),
        ("none", 3, 1, 21, {"oversubscription": 18, "claim_gap": 18}),
        ("redis-watch", 2, 2, 6, {}),
        ("redis-watch", 3, 1, 60, {}),
        ("redis-decr", 3, 1, 18, {}),
        ("redis-lua", 3, 2, 48, {}),
        ("redis-stream", 2, 1, 14, {}),
        ("memcached-cas", 3, 1, 21, {}),
        pytest.param("redis-watch", 3, 2, 804, {}, marks=pytest.mark.slow),
        pytest.param("redis-lua", 4, 2, 360, {}, marks=pytest.mark.slow),
    ],
)
def test_schedules_are_those_of_real_servers(name, bidders, capacity_bids, runs, broken):
    """As many schedules as on the real server, and as many of them break a promise."""
    assert walked(sale(name, bidders, capacity_bids)) == (runs, broken)


@pytest.mark.parametrize(("name", "lease"), [("redis-lock", "redis/lock"), ("memcached-lock", "memcached/lock")])
def test_a_lease_can_expire(name, lease):
    """A holder who outlives its lease is one of two, so one fault is enough for overselling."""
    subject = sale(name, 2)
    execution = subject.play(Expiring(), 1)
    assert any(step.choice == "expire" and step.writes == (lease,) for step in execution.steps)
    assert "oversubscription" in {finding.check for finding in subject.broken()}


class Expiring:
    """Lets bidder 1 read the stock, the lease end, bidder 2 do all it wants, and then the others."""

    def choose(self, options, execution):
        """Return the option that leads on."""
        seen = [step.operation for step in execution.steps]
        ended = any(step.choice == "expire" for step in execution.steps)
        if not ended:
            first = [option for option in options if option.choice == "expire"]
            if first and any("left" in each for each in seen):
                return first[0]
        who = "bidder 2" if ended else "bidder 1"
        mine = [option for option in options if option.actor == who and option.choice == "go"]
        return (mine or [option for option in options if option.choice == "go"])[0]


def test_every_execution_begins_with_the_same_data():
    """What was remembered comes back, of every type; what was added since is gone."""
    seam = fakes.seam("redis", NAMING)
    client = seam.connect(Port())
    client.set("text", "a")
    client.hset("hash", "field", 1)
    client.rpush("list", "a", "b")
    client.zadd("sorted", {"a": 1})
    client.xgroup_create("stream", "group", id="0", mkstream=True)
    first = client.xadd("stream", {"field": "a"})
    seam.remember()
    for _ in range(2):
        client.set("text", "b")
        client.delete("hash")
        client.lpop("list")
        client.zincrby("sorted", 5, "a")
        assert len(client.xreadgroup("group", "me", {"stream": ">"})[0][1]) == 1
        client.set("new", 1, px=5000)
        second = client.xadd("stream", {"field": "b"})
        seam.reset()
        assert client.get("text") == b"a"
        assert client.hgetall("hash") == {b"field": b"1"}
        assert client.lrange("list", 0, -1) == [b"a", b"b"]
        assert client.zscore("sorted", "a") == 1.0
        assert client.xpending("stream", "group")["pending"] == 0
        assert [entry for entry, _ in client.xrange("stream")] == [first]
        assert not client.exists("new")
        assert first < second


def test_an_expired_key_ends_a_transaction_that_watches_it():
    """As on a real server: EXEC is refused when a key went away since WATCH."""
    seam = fakes.seam("redis", NAMING)
    client, other = seam.connect(Port()), seam.connect(Port())
    other.set("lease", 1, px=60_000)
    seam.looked([("SET", [b"lease"])])
    assert list(seam.expiring()) == [("expire", "redis/lease")]
    with client.pipeline() as pipeline:
        pipeline.watch("lease")
        seam.disappear("redis/lease")
        pipeline.multi()
        pipeline.set("other", 1)
        with pytest.raises(Exception, match="Watched variable changed"):
            pipeline.execute()
    assert not client.exists("lease", "other")


def test_keys_are_known_without_the_server_telling_them():
    """fakeredis cannot say which keys a script or a stream command has; what is unknown touches everything."""
    seam = fakes.seam("redis", NAMING)
    words = {
        "XREADGROUP GROUP g c COUNT 5 BLOCK 9 STREAMS one two > >": ["one", "two"],
        "ZUNIONSTORE all 2 a b WEIGHTS 1 2": ["all", "a", "b"],
        "SET left 5": ["left"],
        "MSET a 1 b 2": ["a", "b"],
        "DEL a b": ["a", "b"],
        "BLPOP a b 5": ["a", "b"],
    }
    script = b"return redis.call('INCRBY', KEYS[1], redis.call('GET', KEYS[2]))"
    assert seam.operation([("EVAL", [script, b"2", b"left", b"holds"])], ()).keys == {"redis/left", "redis/holds"}
    unknown = seam.operation([("EVALSHA", [b"digest", b"2", b"left", b"holds"])], ())
    assert unknown.keys == {"*"}, "a script that nobody has seen may touch anything"
    for text, keys in words.items():
        name, *arguments = text.split()
        operation = seam.operation([(name, [each.encode() for each in arguments])], ())
        assert operation.keys == {f"redis/{key}" for key in keys}, text
    assert seam.operation([("PUBLISH", [b"channel", b"text"])], ()).keys == {"*"}


TAKE = "return redis.call('DECRBY', KEYS[1], ARGV[1])"


def test_two_scripts_on_the_same_keys_look_different():
    """A script is called what its first line says, what the code calls it, or by its SHA1; always the same."""

    def texts():
        seam = fakes.seam("redis", NAMING)
        client = seam.connect(Port())
        said = "-- give back what was taken, and some more\nreturn redis.call('INCRBY', KEYS[1], ARGV[1])"
        plain = "return redis.call('GET', KEYS[1])"
        digests = [client.register_script(each).sha for each in (TAKE, said, plain)]
        words = [b"1", b"left", b"5"]
        commands = [("EVALSHA", [digest.encode(), *words]) for digest in digests]
        commands += [("EVAL", [said.encode(), *words]), ("EVAL", [plain.encode(), *words])]
        commands += [("FCALL", [b"take", *words])]
        return [seam.operation([command], ()).text for command in commands], digests[-1][:4]

    first, digits = texts()
    assert first == [
        "script TAKE(left) 5",
        "script give back what was(left) 5",
        f"script {digits}(left) 5",
        "script give back what was(left) 5",
        f"script {digits}(left) 5",
        "script take(left) 5",
    ]
    assert texts() == (first, digits)


def test_a_script_that_changes_nothing_is_seen():
    """Changes are counted, also those of scripts: a loop that waits is told by that from one that works."""
    seam = fakes.seam("redis", NAMING)
    client = seam.connect(Port())
    before = seam.dirty()
    assert client.register_script("return redis.call('GET', KEYS[1])")(keys=["left"]) is None
    assert seam.dirty() == before
    client.register_script("return redis.call('INCR', KEYS[1])")(keys=["left"])
    assert seam.dirty() > before


@pytest.mark.parametrize("choice", LOST)
@pytest.mark.parametrize("store", ["redis", "memcached"])
def test_a_lost_reply_was_applied_and_a_lost_request_was_not(store, choice):
    """The client sees a time-out either way and lives on."""
    seam = fakes.seam(store, NAMING)
    port = Port()
    client = seam.connect(port)
    port.ask = lambda *_, **__: choice
    port.actor = type("Anybody", (), {"timed_out": False, "slept_s": 0.0, "reply": lambda *_, **__: None})()
    with pytest.raises(Exception, match=r"Timeout|timed out"):
        client.set("left", "5")
    port.actor, port.ask = None, Port().ask
    seam.clean(client)
    assert client.get("left") == (b"5" if choice == "lost_reply" else None)


@pytest.mark.parametrize("name", ["asks", "waits"])
def test_who_goes_on_without_the_lock_is_found(name):
    """With one fault somebody gives up while the other still works, and one share is sold twice."""
    assert "oversubscription" not in walked(sale(name, 2))[1]
    assert walked(sale(name, 2), 1)[1]["oversubscription"] > 0


@pytest.mark.slow
def test_who_never_gives_up_is_sound():
    """To be let go through one's tries does no harm to a design that begins them anew."""
    assert "oversubscription" not in walked(sale("never-tires", 2), 1)[1]


def test_two_fakes_share_nothing():
    """Each exploration has stores of its own."""
    one, other = (fakes.seam("redis", NAMING).connect(Port()) for _ in range(2))
    one.set("left", 5)
    assert other.get("left") is None


def test_five_servers_are_five():
    """Redlock's servers know nothing of one another, and each lease names its server."""
    seam = fakes.seam("redlock", NAMING)
    clients = seam.connect(Port())
    clients[1].set("lock", "me", px=60_000)
    seam.servers[1].looked([("SET", [b"lock"])])
    assert [client.get("lock") for client in clients] == [None, b"me", None, None, None]
    assert list(seam.expiring()) == [("expire", "redis2/lock")]


def test_a_store_without_a_fake_is_refused():
    """There is no SQL in memory that locks as PostgreSQL does."""
    with pytest.raises(UsageError, match="PostgreSQL has no fake: leave --store fake out"):
        fakes.endpoints(["redis", "sql"])


def test_fakeredis_may_be_missing(monkeypatch):
    """It is an extra: one line says how to get it. memcached's fake is our own."""
    monkeypatch.setitem(sys.modules, "fakeredis", None)
    with pytest.raises(UsageError, match=r"pip install 'oversold\[fake\]'"):
        fakes.endpoints(["redis"])
    assert fakes.endpoints(["memcached"])["memcached"].provider == "emulated"
