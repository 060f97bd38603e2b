"""The stand-in for memcached answers as the real memcached does, byte for byte.

Both get the same commands over a socket. CAS ids differ between servers, so they are renamed by order of
first appearance before the replies are compared.
"""

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from pymemcache.client.base import Client

import oversold
from oversold.stores.memcached_emulator import ITEM_HEADER, ITEM_MAX, VERSION, Cache, Connection

pytestmark = pytest.mark.servers

Exchange = Callable[[bytes], bytes]  # sends whole commands, returns all that is answered
VALUE_LINE = re.compile(rb"VALUE ([^ ]+) (\d+) (\d+) (\d+)\r\n")
UNSEEN = b"18446744073709551614"  # a CAS id that no server has given out


def transcript(exchange: Exchange, script: list[bytes]) -> list[bytes]:
    """Run a script on an emptied server and return the replies, CAS ids renamed to #0, #1, ...

    `<first>` and `<last>` in a command become the first and the last CAS id seen for the command's key.
    """
    exchange(b"flush_all\r\n")
    names: dict[bytes, bytes] = {}
    seen: dict[bytes, list[bytes]] = {}

    def rename(line: re.Match[bytes]) -> bytes:
        key, flags, size, cas = line.groups()
        seen.setdefault(key, []).append(cas)
        name = names.setdefault(cas, b"#%d" % len(names))
        return b"VALUE %b %b %b %b\r\n" % (key, flags, size, name)

    replies = []
    for command in script:
        ids = seen.get(command.split()[1], [UNSEEN]) if b"<" in command else [UNSEEN]
        asked = command.replace(b"<first>", ids[0]).replace(b"<last>", ids[-1])
        replies.append(VALUE_LINE.sub(rename, exchange(asked)))
    return replies


def in_memory(cache: Cache) -> Exchange:
    """Talk to a kernel without a socket."""
    return Connection(cache).feed


@contextmanager
def over_socket(port: int) -> Iterator[Exchange]:
    """Talk to a server; a `version` after each command shows when the server is done with it."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def exchange(command: bytes) -> bytes:
            connection.sendall(command + b"version\r\n")
            reply = b""
            while (end := re.search(rb"VERSION [^\r\n]+\r\n\Z", reply)) is None:
                received = connection.recv(1 << 20)
                assert received, f"the server hung up after {command!r}, having said {reply!r}"
                reply += received
            return reply[: end.start()]

        yield exchange


def free_port() -> int:
    """Return a loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(argv: list[str], port: int) -> "subprocess.Popen[bytes]":
    """Start a server and wait until it takes connections."""
    environment = {**os.environ, "PYTHONPATH": str(Path(oversold.__file__).parents[1])}
    process = subprocess.Popen(argv, env=environment, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < deadline, f"{argv} did not start"
            time.sleep(0.01)
        else:
            return process


@contextmanager
def running(argv: list[str], port: int) -> Iterator[int]:
    """Keep a server running meanwhile."""
    process = start(argv, port)
    try:
        yield port
    finally:
        process.kill()
        process.communicate()


def emulator_argv(port: int) -> list[str]:
    """Return the command that starts the stand-in."""
    return [sys.executable, "-m", "oversold.stores.memcached_emulator", "--port", str(port)]


@pytest.fixture(scope="module")
def memcached() -> Iterator[Exchange]:
    """A private real memcached."""
    program = shutil.which("memcached")
    if program is None:
        missing = "memcached is not installed (Debian: apt-get install memcached)"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    port = free_port()
    # Its background threads hold items for a moment; a `decr` at that moment pads nothing.
    quiet = ["-o", "no_lru_maintainer,no_lru_crawler"]
    argv = [program, "-l", "127.0.0.1", "-p", str(port), "-U", "0", *quiet]
    argv += ["-u", "nobody"] if os.geteuid() == 0 else []
    with running(argv, port), over_socket(port) as exchange:
        yield exchange


@pytest.fixture(scope="module")
def emulator_port() -> Iterator[int]:
    """The port of a stand-in in a process of its own."""
    port = free_port()
    with running(emulator_argv(port), port):
        yield port


@pytest.fixture(scope="module")
def emulator(emulator_port: int) -> Iterator[Exchange]:
    """The stand-in in a process of its own."""
    with over_socket(emulator_port) as exchange:
        yield exchange


# --- Commands. Blank values are left out: there the real server reads on into memory it does not own.

LONG, TOO_LONG = b"k" * 250, b"k" * 251
keys = st.sampled_from([b"a", b"a", b"a", b"b", b"b", LONG])
counters = st.sampled_from([b"0", b"1", b"7", b"10", b"99", b"100", b"2000", b"18446744073709551615"])
odd_keys = st.sampled_from([TOO_LONG, b"noreply", b"a\0b", b"tab\there"])
odd_values = st.one_of(
    st.sampled_from([b"", b"x", b" 5", b"5 apples", b"007", b"-1", b"+3", b"18446744073709551616", b"1\r\n2"]),
    st.binary(max_size=8).filter(lambda value: b"-" not in value and (not value or bool(value.strip()))),
)
odd_numbers = st.sampled_from(
    [b"7", b"-1", b"2592000", b"2592001", b"2147483647", b"4294967295", b"4294967296", b"x"]
)


@st.composite
def commands(draw: st.DrawFn) -> list[bytes]:
    """One command, now and then with one thing odd about it; a `cas` comes with the `gets` before it."""
    odd = draw(st.sampled_from(["", "", "", "", "key", "value", "number", "size", "tail", "token"]))
    key = draw(odd_keys if odd == "key" else keys)
    number = draw(odd_numbers) if odd == "number" else b"0"
    tail = draw(st.sampled_from([b" noreply", b" nonsense"])) if odd == "tail" else b""
    tail += draw(st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b" \r\n"]))
    verb = draw(st.sampled_from(VERBS))
    if verb in (b"incr", b"decr"):
        return [b"%b %b %b" % (verb, key, number if odd == "number" else draw(counters)) + tail]
    if verb in (b"gat", b"gats"):
        return [b"%b %b %b a\r\n" % (verb, number, key)]
    if verb in (b"get", b"gets"):
        return [b"%b %b%b\r\n" % (verb, key, draw(st.sampled_from([b"", b" a", b" missing b a"])))]
    if verb == b"touch":
        return [b"touch %b %b" % (key, number) + tail]
    if verb == b"delete":
        return [b"delete %b%b" % (key, draw(st.sampled_from([b"", b" 0", b" 1"]))) + tail]
    if verb in (b"flush_all", b"verbosity"):
        return [verb + draw(st.sampled_from([b"", b" 0", b" -1", b" x"])) + tail]
    value = draw(odd_values if odd == "value" else counters)
    size = max(0, len(value) - (draw(st.sampled_from([1, 2])) if odd == "size" else 0))
    flags, expiry = draw(st.permutations([number, b"0"]))
    token = draw(st.sampled_from([b"<first>", b"0", b"x"])) if odd == "token" else b"<last>"
    head = b"%b %b %b %b %d" % (verb, key, flags, expiry, size) + (b" " + token if verb == b"cas" else b"")
    reading = [b"gets %b\r\n" % key] if verb == b"cas" and odd != "token" else []
    return [*reading, head + tail + value + b"\r\n"]


VERBS = [
    b"set",
    b"set",
    b"set",
    b"add",
    b"replace",
    b"append",
    b"prepend",
    b"cas",
    b"cas",
    b"incr",
    b"decr",
    b"decr",
]
VERBS += [b"get", b"gets", b"gat", b"gats", b"touch", b"delete", b"flush_all", b"verbosity"]

# Words in any order, without a time that could come during a test. What follows the line is a block for some
# of them, and a wrong command for the others.
words = [*sorted(set(VERBS)), b"a", b"b", b"0", b"00", b"-1", b"x", b"noreply", b"", TOO_LONG]
junk = st.lists(st.sampled_from(words), max_size=7).map(lambda line: [b" ".join(line) + b"\r\n0123456789\r\n"])

scripts = st.lists(st.integers(0, 9).flatmap(lambda n: commands() if n else junk), min_size=10, max_size=40).map(
    lambda parts: [*chain.from_iterable(parts), b"gets a b " + LONG + b"\r\n"]
)

steady = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@settings(steady, max_examples=200)
@given(script=scripts)
def test_random_commands(memcached: Exchange, emulator: Exchange, script: list[bytes]) -> None:
    """Any sequence of commands, right or wrong, gets the same replies from both."""
    assert transcript(emulator, script) == transcript(memcached, script)


def without_lost_replies(script: list[bytes]) -> bool:
    """The real server drops the replies before a `get` of too long a key, if they were not sent yet."""
    return not any(line.lstrip().startswith(b"g") and TOO_LONG in line for line in b"".join(script).split(b"\n"))


@settings(steady, max_examples=100)
@given(script=scripts.filter(without_lost_replies))
def test_random_pipelines(memcached: Exchange, emulator: Exchange, script: list[bytes]) -> None:
    """The same commands sent all at once get the same replies in the same order."""
    pipeline = [b"".join(script).replace(b"<last>", UNSEEN).replace(b"<first>", UNSEEN)]
    assert transcript(emulator, pipeline) == transcript(memcached, pipeline)


def store(verb: bytes, key: bytes, size: int, tail: bytes = b"", flag: int = 0) -> bytes:
    """Return a storage command with a block of `size` bytes."""
    return b"%b %b %d 0 %d%b\r\n%b\r\n" % (verb, key, flag, size, tail, b"v" * size)


LARGEST = ITEM_MAX - ITEM_HEADER - 1  # for a key of one byte and no flags
CORNERS = {
    "decr stops at zero and pads with blanks": [
        *(
            store(b"set", b"a", 0),
            b"set a 0 0 5\r\n10000\r\n",
            b"decr a 1\r\n",
            b"get a\r\n",
            b"append a 0 0 1\r\n7\r\n",
        ),
        *(
            b"get a\r\n",
            b"decr a 20000\r\n",
            b"incr a 20000\r\n",
            b"gets a\r\n",
            b"incr a 99999\r\n",
            b"get a\r\n",
        ),
    ],
    "incr wraps at 2**64": [b"set a 0 0 20\r\n18446744073709551615\r\n", b"incr a 2\r\n", b"get a\r\n"],
    "the CAS id changes with the value only": [
        *(
            b"set a 0 0 1\r\n5\r\n",
            b"gets a\r\n",
            b"touch a 100\r\n",
            b"gats 0 a\r\n",
            b"add a 0 0 1\r\n6\r\n",
            b"gets a\r\n",
        ),
        *(
            b"incr a 0\r\n",
            b"gets a\r\n",
            b"decr a 0\r\n",
            b"gets a\r\n",
            b"append a 0 0 0\r\n\r\n",
            b"gets a\r\n",
        ),
        *(b"cas a 0 0 1 <last>\r\n5\r\n", b"gets a\r\n", b"cas a 0 0 1 <first>\r\n6\r\n", b"gets a\r\n"),
    ],
    "cas without an item": [b"cas a 0 0 1 7\r\n5\r\n", b"cas a 0 0 1 7 noreply\r\n5\r\n", b"get a\r\n"],
    "append keeps flags and expiry": [b"set a 5 0 1\r\n1\r\n", b"append a 7 -1 1\r\n2\r\n", b"get a\r\n"],
    "a negative expiry is at once": [
        b"set a 0 0 1\r\n1\r\n",
        b"set a 0 -1 1\r\n2\r\n",
        b"get a\r\n",
        b"add a 0 0 1\r\n3\r\n",
    ],
    "the largest value": [store(b"set", b"a", LARGEST), b"get a\r\n", store(b"append", b"a", 1), b"get a\r\n"],
    "one byte too many": [store(b"set", b"a", 3), store(b"set", b"a", LARGEST + 1), b"get a\r\n"],
    "flags take room": [store(b"set", b"a", LARGEST, flag=1), store(b"set", b"a", LARGEST - 4, flag=1)],
    "a value far too large": [
        *(store(b"set", b"a", 3), store(b"add", b"a", ITEM_MAX + 9), store(b"cas", b"a", ITEM_MAX + 9, b" 5")),
        *(b"get a\r\n", store(b"set", b"a", ITEM_MAX + 9, b" noreply"), b"get a\r\n"),
    ],
    "two halves that do not fit": [store(b"set", b"a", 600_000), store(b"prepend", b"a", 600_000), b"get a\r\n"],
    "sizes that cannot be": [b"set a 0 0 -1\r\n", b"set a 0 0 2147483646\r\n", b"set a 0 0 1e3\r\n"],
    "a block that is cut short": [b"set a 0 0 9\r\n1234\r\nnext\r\nget a\r\n"],
    "many keys": [b"set a 0 0 1\r\n1\r\n", b"get " + b"a missing " * 40 + b"\r\n"],
    "a delayed flush": [
        b"set a 0 0 1\r\n1\r\n",
        b"flush_all 100\r\n",
        b"get a\r\n",
        b"flush_all\r\n",
        b"get a\r\n",
    ],
    "deletes of long ago": [
        b"set a 0 0 1\r\n1\r\n",
        b"delete a 5\r\n",
        b"delete a 0 x\r\n",
        b"delete a 0 noreply\r\n",
    ],
    "arguments of flush_all": [
        b"flush_all x\r\n",
        b"flush_all 0 0\r\n",
        b"flush_all noreply\r\n",
        b"flush_all 1 2 3\r\n",
    ],
}


@pytest.mark.parametrize("name", CORNERS)
def test_corners(memcached: Exchange, emulator: Exchange, name: str) -> None:
    """Corners that chance finds seldom get the same replies from both."""
    assert transcript(emulator, CORNERS[name]) == transcript(memcached, CORNERS[name])


def test_expiry(memcached: Exchange, emulator: Exchange) -> None:
    """A value stored for a second is gone from both after two, one stored for 100 seconds is not.

    Planted: a server whose clock stands still.
    """
    before = [b"set a 0 1 1\r\n1\r\n", b"set b 0 100 1\r\n2\r\n", b"set c 0 0 1\r\n3\r\n", b"touch c 1\r\n"]
    after = b"get a b c\r\n"
    servers = [memcached, emulator, in_memory(Cache(lambda: 1.0))]
    stored = [transcript(server, before) for server in servers]
    assert stored[0] == stored[1] == stored[2]
    time.sleep(2.1)
    real, emulated, frozen = (server(after) for server in servers)
    assert emulated == real == b"VALUE b 0 1\r\n2\r\nEND\r\n"
    assert frozen != real


def test_statistics(memcached: Exchange, emulator: Exchange) -> None:
    """Every statistic of the stand-in is one that the real server has, and the usual ones are there."""
    real, emulated = (
        {line.split()[1] for line in ask(b"stats\r\n").splitlines()[:-1]} for ask in (memcached, emulator)
    )
    assert {b"pid", b"version", b"curr_items", b"cmd_get"} <= emulated <= real


class BelowZero(Cache):
    """Planted: `decr` goes below zero."""

    def _count(self, words: list[bytes], block: bytes) -> bytes:
        item = self._find(words[1])
        if item and words[0] == b"decr" and item.value.isdigit() and words[2].isdigit():
            left = b"%d" % (int(item.value) - int(words[2]))
            self._link(words[1], left.ljust(len(item.value)), item.flags, item.expires_s)
            return left + b"\r\n"
        return super()._count(words, block)


class NoPadding(Cache):
    """Planted: `decr` shortens the value."""

    def _count(self, words: list[bytes], block: bytes) -> bytes:
        reply = super()._count(words, block)
        if item := self._find(words[1]):
            item.value = item.value.rstrip(b" ")
        return reply


class KeepsToken(Cache):
    """Planted: `incr` and `decr` leave the CAS id as it was."""

    def _count(self, words: list[bytes], block: bytes) -> bytes:
        before = self._find(words[1])
        reply = super()._count(words, block)
        if before and (after := self._find(words[1])):
            after.cas = before.cas
        return reply


class IgnoresToken(Cache):
    """Planted: `cas` replaces whatever is there."""

    def _store(self, words: list[bytes], block: bytes) -> bytes:
        if words[0] == b"cas" and self._find(words[1]):
            words = [b"set", *words[1:5]]
        return super()._store(words, block)


@pytest.mark.parametrize("broken", [BelowZero, NoPadding, KeepsToken, IgnoresToken])
def test_broken_stand_in_is_found(memcached: Exchange, emulator: Exchange, broken: type[Cache]) -> None:
    """The random comparison tells a broken stand-in from the real server, and not the sound one."""

    def differs(script: list[bytes]) -> bool:
        return transcript(in_memory(broken(time.time)), script) != transcript(memcached, script)

    script = find(scripts, differs, settings=settings(steady, max_examples=2000, phases=[Phase.generate]))
    assert transcript(emulator, script) == transcript(memcached, script)


# --- Concurrency


def count_by_cas(port: int, threads: int, rounds: int) -> int:
    """Let each thread add one `rounds` times by gets and cas; return the number in the end.

    The barrier makes all threads read the same value before the first of them writes.
    """
    barrier = threading.Barrier(threads)
    failures: list[BaseException] = []

    def add() -> None:
        client = Client(("127.0.0.1", port), default_noreply=False, no_delay=True, timeout=10)
        try:
            done = 0
            value, token = client.gets("counter")
            barrier.wait(timeout=10)
            while done < rounds:
                done += bool(client.cas("counter", b"%d" % (int(value) + 1), token))
                value, token = client.gets("counter")
        except BaseException as error:  # noqa: BLE001 - a thread's failure is the test's failure
            failures.append(error)
        finally:
            client.close()

    client = Client(("127.0.0.1", port), default_noreply=False)
    client.set("counter", b"0")
    workers = [threading.Thread(target=add) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures
    total = int(client.get("counter"))
    client.close()
    return total


@contextmanager
def served(cache: Cache) -> Iterator[int]:
    """Serve a kernel from a thread of this process."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(lambda: Connection(cache), "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.close()


def test_no_update_is_lost(emulator_port: int) -> None:
    """Threads that add with gets and cas lose no update. Planted: a server that ignores the CAS id loses some."""
    assert count_by_cas(emulator_port, threads=8, rounds=25) == 8 * 25
    with served(IgnoresToken(time.time)) as port:
        assert count_by_cas(port, threads=8, rounds=25) < 8 * 25


# --- The process


def test_version_names_the_stand_in(emulator_port: int) -> None:
    """Nobody takes the stand-in for the real server: its version says what it is."""
    client = Client(("127.0.0.1", emulator_port))
    assert client.version() == VERSION.encode()
    assert "emulated" in VERSION
    client.close()


def test_quit_and_endless_lines_hang_up(emulator_port: int) -> None:
    """The connection ends after `quit`, and when what comes can be no command; replies before it still come."""
    for farewell in (b"quit\r\nversion\r\n", b"x" * 3000):
        with socket.create_connection(("127.0.0.1", emulator_port), timeout=10) as connection:
            connection.sendall(b"verbosity 0\r\n" + farewell)
            received = b""
            while data := connection.recv(4096):
                received += data
            assert received == b"OK\r\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_when_told(number: signal.Signals) -> None:
    """SIGTERM and Ctrl-C end the process at once, with exit code 0 and no complaint, clients or not."""
    port = free_port()
    process = start(emulator_argv(port), port)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"version\r\n")
        assert connection.recv(100)
        process.send_signal(number)
        _, complaint = process.communicate(timeout=5)
    assert (process.returncode, complaint) == (0, b"")


def test_port_taken() -> None:
    """A port that is taken is a usage error that names the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environment = {**os.environ, "PYTHONPATH": str(Path(oversold.__file__).parents[1])}
        done = subprocess.run(emulator_argv(port), env=environment, capture_output=True, timeout=10, check=False)
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}".encode() in done.stderr
