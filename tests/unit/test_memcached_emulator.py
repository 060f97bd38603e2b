"""The stand-in for memcached by itself: its parser, its kernel on a clock of our own, its process."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pymemcache.client.base import Client

import oversold
from oversold.stores.endpoint import free_port
from oversold.stores.memcached_emulator import (
    ITEM_HEADER,
    ITEM_MAX,
    KEY_MAX,
    VERSION,
    Cache,
    Connection,
    RefusedError,
    block_size,
    integer,
)

EXPIRED_OR_MISSING = b"END\r\n"


class HandClock:
    """Unix seconds that pass when told to."""

    def __init__(self) -> None:
        self.now_s = 1_000_000_000.0

    def __call__(self) -> float:
        return self.now_s


def ask(connection: Connection, text: str) -> str:
    """Send commands (| is a newline) and return the replies in the same notation."""
    return connection.feed((text.replace("|", "\r\n") + "\r\n").encode()).decode().replace("\r\n", "|")


# --- The parser


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((b"0", 0), (b"007", 7), (b"+7", 7), (b" \t7", 7), (b"7 apples", 7), (b"7\r", 7), (b"7\0x", 7)),
        *((b"18446744073709551615", (1 << 64) - 1), (b"0" * 5000 + b"7", 7), (b"-0", 0)),
        *(
            (b"", None),
            (b"x7", None),
            (b"7x", None),
            (b"7.0", None),
            (b"1_0", None),
            (b"- 7", None),
            (b"0x7", None),
        ),
        *((b"-1", None), (b"18446744073709551616", None), (b"9" * 5000, None), (b"0" * 5000 + b"x", None)),
    ],
)
def test_integer(text: bytes, value: int | None) -> None:
    """Numbers are read as C reads them, not as Python does; what is no number, or too large, is refused."""
    if value is None:
        with pytest.raises(RefusedError, match="why"):
            integer(text, b"why")
    else:
        assert integer(text, b"why") == value


@pytest.mark.parametrize(
    ("line", "size"),
    [
        *(
            ("set k 0 0 5", 5),
            ("set k 0 0 5 noreply", 5),
            ("cas k 0 0 5 1", 5),
            ("set k 0 -1 2147483645", 2147483645),
        ),
        *(
            ("get k", None),
            ("set k 0 0", None),
            ("set k 0 0 5 noreply x", None),
            ("cas k 0 0 5", None),
            ("", None),
        ),
        *(("set k 0 0 -1", None), ("set k x 0 5", None), ("set k 0 x 5", None), ("cas k 0 0 5 x", None)),
        *((f"set {'k' * KEY_MAX} 0 0 5", 5), (f"set {'k' * (KEY_MAX + 1)} 0 0 5", None)),
    ],
)
def test_block_size(line: str, size: int | None) -> None:
    """A block follows exactly the lines after which the real server reads one."""
    assert block_size(line.encode().split()) == size


def check_pieces(connection: type[Connection], stream: bytes, cuts: list[int]) -> None:
    """Check that the replies do not depend on how the bytes are cut."""
    whole = Connection(Cache(HandClock())).feed(stream)
    cut, pieces = connection(Cache(HandClock())), sorted({0, len(stream), *(cut % len(stream) for cut in cuts)})
    assert b"".join(cut.feed(stream[start:end]) for start, end in pairwise(pieces)) == whole


STREAM = (
    b"set a 0 0 4\r\n1\r\n2\r\nget a\r\nset b 0 0 1\r\nlong\r\n\r\n\nappend a 3 0 1\r\n3\r\nset c 0 0 1048577\r\n"
    + b"v" * 1048577
    + b"\r\ngets a b c\ndecr a 1\r\nincr a 9 noreply\r\nget a\r\nquit\r\nversion\r\n"
)


@given(st.lists(st.integers(0, len(STREAM)) | st.integers(0, 100) | st.integers(-100, -1), max_size=12))
def test_pieces(cuts: list[int]) -> None:
    """Commands may come in any pieces: cut in a line, in a block, in a block that is being thrown away."""
    check_pieces(Connection, STREAM, cuts)


def test_forgetful_parser_is_caught() -> None:
    """Planted: a parser that forgets the beginning of an unfinished command."""

    class Forgetful(Connection):
        def feed(self, data: bytes) -> bytes:
            self._rest = b""
            return super().feed(data)

    with pytest.raises(AssertionError):
        check_pieces(Forgetful, STREAM, [20])


def test_hanging_up() -> None:
    """`quit` ends the connection, and so does a line too long to be a command; a long `get` does not."""
    for stream, over in ((b"quit\r\nversion\r\n", True), (b"x" * 2049, True), (b"x" * 2048, False)):
        connection = Connection(Cache(HandClock()))
        assert connection.feed(stream) == b""
        assert connection.over == over
    connection = Connection(Cache(HandClock()))
    assert connection.feed(b"get " + b"key " * 1000) == b""
    assert connection.feed(b"\r\n") == EXPIRED_OR_MISSING


def test_answers_that_differ_from_the_real_server() -> None:
    """The version says `emulated`; the statistics count; the meta protocol is not there."""
    connection = Connection(Cache(HandClock()))
    ask(connection, "set a 0 0 1|1|get a|get b")
    assert ask(connection, "version") == f"VERSION {VERSION}|"
    assert "emulated" in VERSION
    statistics = dict(line.split()[1:] for line in ask(connection, "stats").split("|")[:-2])
    assert statistics == {
        "pid": str(os.getpid()),
        "version": VERSION,
        "curr_items": "1",
        "cmd_get": "2",
        "get_hits": "1",
        "evictions": "0",
    }
    assert ask(connection, "mg a") == "ERROR|"


# --- The kernel


def check_counter(kernel: type[Cache], start: int, steps: list[int]) -> None:
    """Check that incr and decr do 64-bit arithmetic, decr stops at zero and the value never gets shorter."""
    connection, value, width = Connection(kernel(HandClock())), start, len(str(start))
    ask(connection, f"set n 0 0 {width}|{start}")
    for step in steps:
        value = (value + step) % (1 << 64) if step >= 0 else max(0, value + step)
        width = max(width, len(str(value)))
        assert ask(connection, f"{'incr' if step >= 0 else 'decr'} n {abs(step)}") == f"{value}|"
        assert ask(connection, "get n") == f"VALUE n 0 {width}|{value:<{width}}|END|"


u64 = st.integers(0, (1 << 64) - 1)


@example((1 << 64) - 1, [2, -5])
@given(u64 | st.integers(0, 1000), st.lists(u64 | st.integers(-1000, 1000) | u64.map(int.__neg__), max_size=8))
def test_counter(start: int, steps: list[int]) -> None:
    """Counters count as in the real server."""
    check_counter(Cache, start, steps)


def test_counter_below_zero_is_caught() -> None:
    """Planted: `decr` that takes more than there is."""

    class BelowZero(Cache):
        def _count(self, words: list[bytes], block: bytes) -> bytes:
            reply = super()._count(words, block)
            return b"-1\r\n" if (words[0], reply) == (b"decr", b"0\r\n") else reply

    with pytest.raises(AssertionError):
        check_counter(BelowZero, 10_000, [-20_000])


MUTATIONS = ["set a 0 0 1|1", "append a 0 0 0|", "prepend a 0 0 1|2", "replace a 0 0 1|3", "incr a 0", "decr a 0"]
MUTATIONS += ["flush_all|set a 0 0 1|1", "delete a|add a 0 0 1|4"]
READS = ["get a", "gets a", "gat 0 a", "gats 0 a", "touch a 100", "add a 0 0 1|1", "incr b 1", "cas a 0 0 1 0|1"]
READS += ["set b 0 0 1|1", "set a 0 0 1|too long", "set a 0 0 x", "incr a x"]


class IgnoresToken(Cache):
    """Planted: `cas` replaces whatever is there."""

    def _store(self, words: list[bytes], block: bytes) -> bytes:
        words = [b"set", *words[1:5]] if words[0] == b"cas" and self._find(words[1]) else words
        return super()._store(words, block)


def check_cas(kernel: type[Cache], between: list[str]) -> None:
    """Check that `cas` succeeds exactly when nothing wrote the key since `gets`, and only once."""
    connection = Connection(kernel(HandClock()))
    ask(connection, "set a 0 0 1|1")
    token = ask(connection, "gets a").split("|")[0].split()[4]
    for command in between:
        ask(connection, command)
    written = any(command in MUTATIONS for command in between)
    assert ask(connection, f"cas a 0 0 1 {token}|9") == ("EXISTS|" if written else "STORED|")
    assert ask(connection, f"cas a 0 0 1 {token}|9") == "EXISTS|"


@given(st.lists(st.sampled_from(READS), max_size=5), st.lists(st.sampled_from(READS + MUTATIONS), max_size=3))
def test_cas(reads: list[str], others: list[str]) -> None:
    """A CAS id is good until the value is written, whatever else happens."""
    check_cas(Cache, reads + others)


def test_cas_that_ignores_the_token_is_caught() -> None:
    """Planted: `cas` that replaces whatever is there."""
    with pytest.raises(AssertionError):
        check_cas(IgnoresToken, ["incr a 1"])


@pytest.mark.parametrize(
    ("expiry", "last_s"),  # the last second in which the value is there; None is for ever
    [
        ("0", None),
        ("1", 0),
        ("100", 99),
        ("2592000", 2591999),
        ("1000000100", 99),
        ("1000000000", -1),
        ("2147483648", -1),
        ("-1", -1),
    ],
)
@pytest.mark.parametrize("command", ["set a 0 {} 1|1", "set a 0 0 1|1|touch a {}", "set a 0 0 1|1|gat {} a"])
def test_expiry(command: str, expiry: str, last_s: int | None) -> None:
    """Up to 30 days an expiry counts from now, beyond it is a Unix time, negative is at once, 0 is never."""
    clock = HandClock()
    connection = Connection(Cache(clock))
    ask(connection, command.format(expiry))
    clock.now_s += 10**9 if last_s is None else max(0, last_s)
    assert ask(connection, "get a") == ("END|" if last_s == -1 else "VALUE a 0 1|1|END|")
    if last_s is not None:
        clock.now_s += 1
        assert ask(connection, "get a") == "END|"
        assert ask(connection, "add a 0 0 1|2") == "STORED|"


def test_delayed_flush() -> None:
    """A delayed flush kills what was stored until its time has come, and only that; a new one replaces it."""
    clock = HandClock()
    connection = Connection(Cache(clock))
    ask(connection, "set a 0 0 1|1|flush_all 10")
    clock.now_s += 5
    assert ask(connection, "set b 0 0 1|2|get a b") == "STORED|VALUE a 0 1|1|VALUE b 0 1|2|END|"
    clock.now_s += 5
    assert ask(connection, "set c 0 0 1|3|get a b c") == "STORED|VALUE c 0 1|3|END|"
    ask(connection, "flush_all 10|flush_all 100")
    clock.now_s += 50
    assert ask(connection, "get c") == "VALUE c 0 1|3|END|"
    assert ask(connection, "flush_all|get c") == "OK|END|"


def check_memory(cache: Cache, memory_bytes: int, sizes: list[int], read: int) -> None:
    """Check that the newest items that fit are kept, and those read since; and that the cache keeps count."""
    connection = Connection(cache)
    for number, size in enumerate(sizes):
        ask(connection, f"set {number:04} 0 0 {size}|{'v' * size}|get {min(read, number):04}")
    kept, order = [], [*(n for n in range(len(sizes)) if n != read), read]
    for number in reversed(order):
        kept.append(number)
        if sum(sizes[n] + ITEM_HEADER + 4 for n in kept) > memory_bytes:
            kept.pop()
            break
    keys = " ".join(f"{number:04}" for number in sorted(kept))
    found = [line.split()[1] for line in ask(connection, f"get {keys} ").split("|") if line.startswith("VALUE")]
    assert " ".join(found) == keys
    assert f"curr_items {len(kept)}|" in ask(connection, "stats")


@given(st.lists(st.integers(0, 900), min_size=1, max_size=30), st.integers(0, 29))
def test_memory(sizes: list[int], read: int) -> None:
    """Beyond its memory the cache evicts what was not used for longest."""
    assume(read < len(sizes))
    check_memory(Cache(HandClock(), 3000), 3000, sizes, read)


def test_boundless_cache_is_caught() -> None:
    """Planted: a cache with more memory than it was given."""
    with pytest.raises(AssertionError):
        check_memory(Cache(HandClock(), 4000), 3000, [900] * 6, 0)


def test_eviction_shows_as_not_found() -> None:
    """A strategy whose stock was evicted meets NOT_FOUND, as with the real server."""
    connection = Connection(Cache(HandClock(), 1 << 20))
    ask(connection, "set stock 0 0 3|100")
    ask(connection, f"set other 0 0 {ITEM_MAX - ITEM_HEADER - 5}|{'v' * (ITEM_MAX - ITEM_HEADER - 5)}")
    assert ask(connection, "decr stock 1|cas stock 0 0 2 1|99|touch stock 0") == "NOT_FOUND|" * 3


# --- Concurrency


@contextmanager
def served(cache: Cache) -> Iterator[tuple[str, int]]:
    """Serve a kernel from a thread of this process."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(lambda: Connection(cache), "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(asyncio.sleep(0.01))  # Lets the clients' hanging up arrive.
        loop.close()


def count_by_cas(cache: Cache, threads: int, rounds: int) -> int:
    """Let each thread add one `rounds` times by gets and cas; return the number in the end.

    The barrier makes all threads read the same value before the first of them writes.
    """
    barrier = threading.Barrier(threads)

    def add() -> None:
        with closing(Client(address, default_noreply=False, timeout=10)) as client:
            value, token = client.gets("counter")
            barrier.wait(timeout=10)
            done = 0
            while done < rounds:
                done += bool(client.cas("counter", b"%d" % (int(value) + 1), token))
                value, token = client.gets("counter")

    with served(cache) as address, closing(Client(address, default_noreply=False, timeout=10)) as first:
        first.set("counter", b"0")
        workers = [threading.Thread(target=add) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return int(first.get("counter"))


def test_no_update_is_lost() -> None:
    """Threads that add with gets and cas lose no update. Planted: a server that ignores the CAS id loses some."""
    assert count_by_cas(Cache(time.time), threads=8, rounds=25) == 8 * 25
    assert count_by_cas(IgnoresToken(time.time), threads=8, rounds=25) < 8 * 25


# --- The process


@contextmanager
def started(port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Start the stand-in as a process of its own; see that it ends."""
    environment = {**os.environ, "PYTHONPATH": str(Path(oversold.__file__).parents[1])}
    argv = [sys.executable, "-m", "oversold.stores.memcached_emulator", "--port", str(port)]
    process = subprocess.Popen(argv, env=environment, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_when_told(number: signal.Signals) -> None:
    """SIGTERM and Ctrl-C end the process at once, with exit code 0 and no complaint, though a client is there."""
    port = free_port()
    with started(port) as process, closing(Client(("127.0.0.1", port), timeout=5)) as client:
        for _ in range(500):
            try:
                assert client.version() == VERSION.encode()
                break
            except ConnectionRefusedError:
                time.sleep(0.01)
        process.send_signal(number)
        _, complaint = process.communicate(timeout=5)
        assert (process.returncode, complaint) == (0, b"")


def test_port_taken() -> None:
    """A port that is taken is a usage error that names the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken, started(port := taken.getsockname()[1]) as process:
        _, complaint = process.communicate(timeout=10)
        assert process.returncode == 2
        assert f"cannot listen on 127.0.0.1:{port}".encode() in complaint
