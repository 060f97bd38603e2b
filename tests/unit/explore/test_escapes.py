"""A strategy that gets past its context is told by which way, and is never called sound."""

from __future__ import annotations

import datetime as calendar
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import time as stopwatch
import urllib.request
import uuid
from collections import Counter
from contextlib import suppress
from datetime import datetime
from functools import partial
from random import Random

import psycopg
import pytest
import redis

from oversold.explore import actor, bidding, escapes, execution
from oversold.explore.bidding import Sale
from oversold.explore.crowd import Crowd
from oversold.explore.escapes import Escape, Memory, by_its_text, ours, watching
from oversold.explore.naming import Naming
from oversold.explore.seams.fake_memcached import FakeMemcached
from oversold.explore.search import DepthFirst, Diverged
from oversold.explore.subject import Code
from oversold.explore.world import World
from oversold.strategies import registry
from oversold.strategies.bids.memcached_cas import MemcachedCas
from oversold.strategies.past_context import past_its_context

NOBODY = ("127.0.0.1", 1)  # nobody answers there, and nobody is asked
KEPT = []
TABLE = Counter()
FLAG = False
LOCK = threading.Lock()


class Sound(MemcachedCas):
    """A design without a fault; what is done before each bid is planted."""

    def reserve(self, bid):
        """Do what was planted, then what is right."""
        self.planted(bid)
        return super().reserve(bid)

    def planted(self, bid):
        """Do nothing, slowly."""
        self._context.clock.sleep(1.0)
        self._context.random.random()

    def __init__(self, context):
        super().__init__(context)
        self._context = context


def run(strategy):
    """Play one execution of two bidders."""
    naming = Naming("t-1", "tranche")
    world = World(naming, 3)
    world.add("memcached", FakeMemcached(naming))
    world.sit()
    subject = Sale(strategy, world, "t-1", Crowd(2, 1), 1, Code("planted"))
    search = DepthFirst()
    for _ in range(2):
        search.begin()
        subject.play(search, 0)
    return subject


def planted(deed):
    """Return a strategy that does something before each bid."""
    return type("Planted", (Sound,), {"planted": lambda self, bid: deed()})


def _own_redis():
    redis.Redis(*NOBODY).get("left")


def _own_socket():
    socket.create_connection(NOBODY)


def _own_postgres():
    psycopg.connect("host=127.0.0.1 port=1 password=hunter2")


def _own_web():
    urllib.request.urlopen("http://127.0.0.1:1/")


def _own_database():
    sqlite3.connect(":memory:")


def _thread():
    threading.Thread(target=_own_database).start()


def _process():
    subprocess.run([sys.executable, "-V"], check=True)


def _fork():
    os.fork() or os._exit(0)


def _sleep():
    time.sleep(0.0)


def _file():
    open("never-written.txt", "a")  # noqa: PTH123, SIM115


CONTEXT = "take its client from the context"
IN_TURN = "do one thing after the other"
DEEDS = {
    _own_redis: f"opened a connection of its own, to 127.0.0.1:1: {CONTEXT}",
    _own_socket: f"opened a connection of its own, to 127.0.0.1:1: {CONTEXT}",
    _own_postgres: f"opened a connection of its own, by psycopg: {CONTEXT}",
    _own_web: f"opened a connection of its own, to 127.0.0.1:1: {CONTEXT}",
    _own_database: "opened a database of its own, by sqlite3: keep what it knows in the stores of its context",
    _thread: f"started a thread: {IN_TURN}",
    _process: f"started a process: {IN_TURN}",
    _fork: f"started a process: {IN_TURN}",
    _sleep: r"slept by time.sleep: use context.clock.sleep\(seconds\)",
    _file: "wrote the file never-written.txt: keep what it knows in the stores",
}


@pytest.mark.parametrize(("deed", "told"), DEEDS.items(), ids=lambda each: getattr(each, "__name__", ""))
def test_a_way_past_the_context_is_told(deed, told):
    """It ends the execution with the seam that was escaped and how to mend it, before anything happens."""
    with pytest.raises(Escape, match=f"^the strategy {told}"):
        run(planted(deed))


def test_a_clean_strategy_is_not_told():
    """Its stores, its clock and its random numbers are its own."""
    assert run(Sound).books.orders

    assert by_its_text(Sound) == ""


def test_what_was_swallowed_is_told_nevertheless():
    """A strategy that goes on after whatever it has caught does not get away with it."""

    def swallow():
        with suppress(BaseException):
            time.sleep(0.0)

    with pytest.raises(Escape, match="slept"):
        run(planted(swallow))


def test_a_strategy_is_watched_from_its_birth():
    """A connection that it opens when it is made is as much its own."""

    class Early(Sound):
        def __init__(self, context):
            super().__init__(context)
            if made:
                _own_socket()
            made.append(self)

    made = []
    with pytest.raises(Escape, match="opened a connection of its own"):
        run(Early)


def test_others_may_sleep_and_connect():
    """Nobody else is held back: not the explorer, not its seams, not the other threads of its process."""
    with watching():
        with ours():
            time.sleep(0.0)
        assert escapes._WATCH.on
    time.sleep(0.0)
    _own_database()
    rest = threading.Event()
    failed = []

    def elsewhere():
        rest.wait()
        try:
            time.sleep(0.0)
        except Escape as error:
            failed.append(error)

    other = threading.Thread(target=elsewhere)
    other.start()
    with watching():
        rest.set()
        other.join()
    assert failed == []


def test_reading_files_is_no_escape(tmp_path):
    """What a strategy reads, it reads in every execution; a module that is imported late is compiled to a file."""
    path = tmp_path / "rules.txt"
    path.write_text("x")
    compiled = tmp_path / "__pycache__" / "late.pyc"
    compiled.parent.mkdir()
    with watching():
        assert path.read_text() == "x"
        compiled.write_bytes(b"")
    with pytest.raises(Escape, match=r"wrote the file rules\.txt"), watching():
        path.write_text("y")


def test_memory_that_outlives_an_execution_is_seen_by_the_search():
    """A counter in a closure differs in the same schedule's second execution: nondeterministic, not sound."""
    drawn = []

    class Counts(Sound):
        def planted(self, bid):
            drawn.append(bid)
            self._context.memcached.get(f"oversold:t-1:number-{len(drawn)}")

    with pytest.raises(Diverged, match="get number-"):
        run(Counts)


# Who does not end


@pytest.fixture
def impatient(monkeypatch):
    """Let a second last a hundredth of it, and be too long."""
    monkeypatch.setattr(escapes, "TICK_S", 0.01)
    monkeypatch.setattr(escapes, "HANG_S", 1)


def _spin():
    while True:
        pass


def _spin_for_ever():
    while True:
        with suppress(BaseException):
            _spin()


def _locked_twice():
    lock = threading.Lock()
    while lock.acquire():
        pass


@pytest.mark.parametrize("deed", [_spin, _spin_for_ever, _locked_twice])
def test_who_runs_for_long_without_a_command_is_ended(impatient, deed):
    """It is told who, for how long and where, also when the code swallows that; the alarm is put back."""
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(Escape, match=r"^bidder 1 has run for 1 s without a store command \(test_escapes.py:\d+\)"):
        run(planted(deed))
    assert signal.getsignal(signal.SIGALRM) is before


def test_somebody_elses_timer_goes_on():
    """A test runner's own alarm is still set, and still its own, after a strategy's code has run."""
    rang = []
    before = signal.signal(signal.SIGALRM, lambda *_: rang.append(1))
    timer = signal.setitimer(signal.ITIMER_REAL, 5000.0)
    try:
        with watching():
            assert signal.getitimer(signal.ITIMER_REAL)[0] <= escapes.TICK_S
        assert 4000.0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 5000.0
        signal.raise_signal(signal.SIGALRM)
        assert rang == [1]
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *timer)


def test_no_timer_in_another_thread():
    """Signals are the main thread's: elsewhere nothing is set, and nothing fails."""
    done = []

    def elsewhere():
        with watching():
            done.append(signal.getsignal(signal.SIGALRM))

    other = threading.Thread(target=elsewhere)
    other.start()
    other.join()
    assert done == [signal.getsignal(signal.SIGALRM)]


@pytest.mark.parametrize("swallows", [False, True])
def test_who_only_sleeps_is_ended(monkeypatch, swallows):
    """A loop that sleeps and asks no store waits for what no store will tell it."""
    monkeypatch.setattr(actor, "SLEEPS", 50)

    class Sleeps(Sound):
        def planted(self, bid):
            while True:
                with suppress(BaseException if swallows else KeyError):
                    self._context.clock.sleep(1.0)

    with pytest.raises(Escape, match=r"^bidder 1 has slept 50 times without a store command"):
        run(Sleeps)


def test_who_sleeps_between_commands_may_do_so_for_ever(monkeypatch):
    """Only sleeps in a row count."""
    monkeypatch.setattr(actor, "SLEEPS", 5)

    class Patient(Sound):
        def planted(self, bid):
            for number in range(4):
                for _ in range(4):
                    self._context.clock.sleep(1.0)
                self._context.memcached.get(f"oversold:t-1:number-{number}")

    assert run(Patient).books.orders


def test_who_swallows_its_death_is_told(monkeypatch):
    """A bare `except` around a retry loop goes on for ever after a crash: it is left, and named."""
    monkeypatch.setattr(execution, "STEPS", 10)

    class Immortal(Sound):
        def planted(self, bid):
            while True:
                try:
                    self._context.memcached.get("oversold:t-1:never")
                    self._context.memcached.set("oversold:t-1:polls", b"1")
                except:  # noqa: E722
                    pass

    with pytest.raises(Escape, match=r"^bidder 1 swallows BaseException: write `except Exception`$"):
        run(Immortal)


# What is kept elsewhere than in the stores


class Flagged(Sound):
    taken = False
    limit = 10**9


class Own:
    left = 3


OWN = Own()


def _class_flag():
    Flagged.taken = True


def _new_name():
    Flagged.seen = 1


def _gone_name():
    del Flagged.limit


def _global():
    globals()["FLAG"] = True


def _beside():
    Own.left = 2


def _inside():
    OWN.left = 1


HIDDEN = {
    _class_flag: "taken in its class Flagged",
    _new_name: "seen in its class Flagged",
    _gone_name: "limit in its class Flagged",
    _global: "FLAG in its module",
    (lambda: KEPT.append(1)): "KEPT in its module",
    (lambda: TABLE.update("a")): "TABLE in its module",
    LOCK.acquire: "LOCK in its module",
    _beside: "left in its class Own",
    _inside: "OWN in its module",
}


@pytest.fixture
def as_before():
    """Put back what the tests plant."""
    yield
    global FLAG
    FLAG, Flagged.taken, Own.left, Flagged.limit = False, False, 3, 10**9
    KEPT.clear()
    TABLE.clear()
    vars(OWN).clear()
    if LOCK.locked():
        LOCK.release()
    if "seen" in vars(Flagged):
        del Flagged.seen


@pytest.mark.parametrize(("deed", "told"), HIDDEN.items(), ids=lambda each: str(each)[:20])
def test_what_a_class_or_module_keeps_is_told(as_before, deed, told):
    """Bidders in other processes never see it, so no search may take it for a store."""
    memory = Memory(Flagged)
    memory.compare()
    deed()
    with pytest.raises(Escape, match=f"^the strategy keeps {told}.*, which other processes never see: keep it in"):
        memory.compare()


def test_what_stays_equal_is_no_state(as_before):
    """The same value again, Python's own notes and late imports tell bidders nothing."""
    memory = Memory(Flagged)
    Flagged.limit = int("1000000000")
    globals()["__warningregistry__"] = {}
    globals()["late"] = os
    memory.compare()
    memory.compare()
    del globals()["__warningregistry__"], globals()["late"]


def test_an_execution_compares_after_each_step(as_before, monkeypatch):
    """A flag that is taken back before the end is seen all the same."""

    class Mutex(Flagged):
        def reserve(self, bid):
            KEPT.append(bid.bid_id)
            hold = super().reserve(bid)
            KEPT.clear()
            return hold

    monkeypatch.setattr(bidding, "Execution", partial(bidding.Execution, memory=Memory(Mutex)))
    with pytest.raises(Escape, match="the strategy keeps KEPT in its module"):
        run(Mutex)


# What a text says


class Clock(Sound):
    def planted(self, bid):
        self.started = stopwatch.time()


class Wall(Sound):
    def planted(self, bid):
        return datetime.now(calendar.UTC), calendar.date.today()


class Dice(Sound):
    def planted(self, bid):
        return random.random() < 0.5


class Token(Sound):
    def planted(self, bid):
        return uuid.uuid4().hex


class Bytes(Sound):
    def planted(self, bid):
        return os.urandom(8)


class Late(Sound):
    def planted(self, bid):
        from secrets import token_hex

        return token_hex(8)


class Loop(Sound):
    def planted(self, bid):
        import asyncio

        asyncio.run(bid)


class Green(Sound):
    def planted(self, bid):
        import gevent

        gevent.sleep(0)


class Worker(Sound):
    def planted(self, bid):
        threading.Thread(target=print).start()


def _drawn():
    return _again()


def _again():
    return random.getrandbits(8)


class Helped(Sound):
    def planted(self, bid):
        return _drawn()


class Heir(Dice):
    """Its base class draws."""


class Typed(Sound):
    """It names what it does not use, and uses what is the same in every execution."""

    generator: Random
    born: datetime | None = None

    def planted(self, bid, source: random.Random | None = None) -> time.struct_time | None:
        self.born = datetime(2026, 1, 1) + calendar.timedelta(1)
        return uuid.uuid5(uuid.NAMESPACE_DNS, bid.bid_id) and os.sep and None


USES = {
    Clock: ["time.time"],
    Wall: ["datetime.datetime.now", "datetime.date.today"],
    Dice: ["random.random"],
    Token: ["uuid.uuid4"],
    Bytes: ["os.urandom"],
    Late: ["secrets.token_hex"],
    Loop: ["asyncio.run"],
    Green: ["gevent.sleep"],
    Worker: ["threading.Thread"],
    Helped: ["random.getrandbits"],
    Heir: ["random.random"],
    Typed: [],
    Sound: [],
}


@pytest.mark.parametrize(("strategy", "names"), USES.items(), ids=lambda each: getattr(each, "__name__", ""))
def test_a_text_says_what_is_used(strategy, names):
    """Only uses count, by whatever name, also those in functions of the same file and in base classes."""
    assert [name for name, _ in past_its_context(strategy)] == names


def test_each_use_is_told_with_its_mend():
    """One line names all of them."""
    assert by_its_text(Token) == ('the strategy uses uuid.uuid4: use f"{context.random.getrandbits(128):032x}"')
    assert by_its_text(Wall) == (
        "the strategy uses datetime.datetime.now: use context.clock.now_s(); "
        "the strategy uses datetime.date.today: use context.clock.now_s()"
    )


def test_a_users_own_modules_are_looked_at(tmp_path, monkeypatch):
    """What a strategy's file takes from the file beside it counts as well; libraries do not."""
    (tmp_path / "own_dice.py").write_text("import random\n\ndef drawn():\n    return random.random()\n")
    (tmp_path / "own_rule.py").write_text(
        "import redis\nimport own_dice\nfrom oversold.strategies.bids.redis_lua import RedisLua\n\n\n"
        "class Rule(RedisLua):\n    def reserve(self, bid):\n        redis.Redis\n"
        "        return own_dice.drawn()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    rule = registry.load(f"{tmp_path / 'own_rule.py'}:Rule")
    assert past_its_context(rule) == [("random.random", "use context.random")]
    monkeypatch.delitem(sys.modules, "own_dice")


@pytest.mark.parametrize("kind", ["bids", "payouts"])
def test_our_own_strategies_stay_within_theirs(kind):
    """None of the catalogue escapes by its text."""
    names = [name for name in registry.names(kind) if not name.endswith(".toml")]
    assert len(names) > 3
    assert {name: used for name in names if (used := past_its_context(registry.load(name, kind)))} == {}
