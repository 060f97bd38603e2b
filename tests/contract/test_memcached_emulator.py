"""The stand-in for memcached answers as the real memcached does, byte for byte.

Both get the same commands over a socket. CAS ids differ between servers, so they are renamed by order of
first appearance before the replies are compared.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

import oversold
from oversold.stores.endpoint import free_port
from oversold.stores.memcached_emulator import ITEM_HEADER, ITEM_MAX, Cache, Connection

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
        return b"VALUE %b %b %b %b\r\n" % (key, flags, size, names.setdefault(cas, b"#%d" % len(names)))

    replies = []
    for command in script:
        ids = seen.get(command.split()[1], [UNSEEN]) if b"<" in command else [UNSEEN]
        asked = command.replace(b"<first>", ids[0]).replace(b"<last>", ids[-1])
        replies.append(VALUE_LINE.sub(rename, exchange(asked)))
    return replies


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


@contextmanager
def running(argv: list[str], port: int) -> Iterator[None]:
    """Keep a server running meanwhile, from when it takes connections."""
    environment = {**os.environ, "PYTHONPATH": str(Path(oversold.__file__).parents[1])}
    process = subprocess.Popen(argv, env=environment)
    deadline = time.monotonic() + 10
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, f"{argv} ended with {process.returncode}"
                assert time.monotonic() < deadline, f"{argv} did not start"
                time.sleep(0.01)
        yield
    finally:
        process.kill()
        process.wait()


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
    # Its background threads hold an item for a moment now and then; a `decr` at that moment does not pad.
    quiet = ["-o", "no_lru_maintainer,no_lru_crawler"]
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    argv = [program, "-l", "127.0.0.1", "-p", str(port), "-U", "0", *quiet, *user]
    with running(argv, port), over_socket(port) as exchange:
        yield exchange


@pytest.fixture(scope="module")
def emulator() -> Iterator[Exchange]:
    """The stand-in in a process of its own."""
    port = free_port()
    argv = [sys.executable, "-m", "oversold.stores.memcached_emulator", "--port", str(port)]
    with running(argv, port), over_socket(port) as exchange:
        yield exchange


# --- Random commands, as text in Latin-1

LONG, TOO_LONG = "k" * 250, "k" * 251
SOUND = """
set {store}; set {store}; set {store}; set {store}; add {store}; replace {store}; append {store}; prepend {store}
incr {key} {count}{end}; incr {key} {count}{end}; decr {key} {count}{end}; decr {key} {count}{end}
get {key}{newline}; gets {key} a missing b{newline}; gat {time} {key}{newline}; gats {time} {key} a{newline}
touch {key} {time}{end}; delete {key}{end}; delete {key} {flags}{end}; flush_all{end}; flush_all -1{end}
verbosity 0{end}; gets {key}{newline}|cas {tokened}; gets {key}{newline}|cas {tokened}
cas {tokened}; cas {tokened}; cas {tokened}
"""
TEMPLATES = [template.strip() for line in SOUND.strip().splitlines() for template in line.split(";")]
COUNTERS = ["0", "1", "7", "10", "99", "100", "2000", "18446744073709551615"]
ODD: dict[str, list[str]] = {
    "key": [TOO_LONG, "noreply", "a\0b", "tab\there"],
    "flags": ["7", "-1", "4294967295", "4294967296", "x"],
    "time": ["100", "-1", "2592000", "2592001", "2147483647", "2147483648", "x"],
    "count": ["x", "-1", "+3", "18446744073709551616", ""],
    "value": ["", "x", " 5", "5 apples", "007", "-1", "+3", "18446744073709551616", "1\r\n2"],
    "tail": [" noreply", " nonsense", " noreply x"],
    "token": ["<first>", "0", "x"],
    "extra": ["x", "xy"],  # makes the block longer than was said
}
# Blank values are left out: there the real server reads on into memory that is not the item's.
binary = st.binary(min_size=1, max_size=8).filter(lambda value: b"-" not in value and bool(value.strip()))


@st.composite
def sound(draw: st.DrawFn) -> list[bytes]:
    """One command, half the time with one thing odd about it; most `cas` come after a `gets`."""
    parts = {"key": draw(st.sampled_from(["a", "a", "a", "b", "b", LONG])), "flags": "0", "time": "0", "tail": ""}
    parts |= {"count": draw(st.sampled_from(COUNTERS)), "value": draw(st.sampled_from(COUNTERS)), "extra": ""}
    parts |= {"newline": draw(st.sampled_from(["\r\n", "\r\n", "\n", " \r\n"])), "token": "<last>"}
    if odd := draw(st.sampled_from(["", *ODD] if draw(st.booleans()) else [""])):
        parts[odd] = draw(st.sampled_from(ODD[odd]))
        if odd == "value" and draw(st.booleans()):
            parts[odd] = draw(binary).decode("latin-1")
    parts["end"] = parts["tail"] + parts["newline"]
    head = "{key} {flags} {time} ".format_map(parts) + str(len(parts["value"]))
    parts["store"] = head + "{end}{value}{extra}\r\n".format_map(parts)
    parts["tokened"] = head + " {token}{end}{value}{extra}\r\n".format_map(parts)
    template = draw(st.sampled_from(TEMPLATES))
    return [command.format_map(parts).encode("latin-1") for command in template.split("|")]


# Words in any order, without a time that could come during a test. What follows the line is a block for some
# of them, and a wrong command for the others.
WORDS = [*sorted({template.split()[0] for template in TEMPLATES} - {"flush_all{end}"}), "cas", "a", "b", "0", "00"]
WORDS += ["-1", "x", "noreply", "", TOO_LONG]
junk = st.lists(st.sampled_from(WORDS), max_size=7).map(
    lambda words: [f"{' '.join(words)}\r\n0123456\r\n".encode()]
)
part = st.integers(0, 9).flatmap(lambda n: sound() if n else junk)
scripts = st.lists(part, min_size=10, max_size=40).map(
    lambda parts: [*chain.from_iterable(parts), f"gets a b {LONG}\r\n".encode()]
)
steady = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


@settings(steady, max_examples=200)
@given(script=scripts)
def test_random_commands(memcached: Exchange, emulator: Exchange, script: list[bytes]) -> None:
    """Any sequence of commands, right or wrong, gets the same replies from both."""
    assert transcript(emulator, script) == transcript(memcached, script)


def keeps_replies(script: list[bytes]) -> bool:
    """The real server drops the replies before a `get` of too long a key, if they were not sent yet."""
    lines = b"".join(script).split(b"\n")
    return not any(line.lstrip().startswith(b"g") and TOO_LONG.encode() in line for line in lines)


@settings(steady, max_examples=100)
@given(script=scripts.filter(keeps_replies))
def test_random_pipelines(memcached: Exchange, emulator: Exchange, script: list[bytes]) -> None:
    """The same commands sent all at once get the same replies in the same order."""
    pipeline = [b"".join(script).replace(b"<last>", UNSEEN).replace(b"<first>", UNSEEN)]
    assert transcript(emulator, pipeline) == transcript(memcached, pipeline)


LARGEST = ITEM_MAX - ITEM_HEADER - 1  # for a key of one byte and no flags
CORNERS = {  # commands are separated by slashes, | is a newline, {n} a block of so many bytes
    "decr clamps and pads": "set a 0 0 5|10000/decr a 1/get a/append a 0 0 1|7/decr a 20000/incr a 20000/get a",
    "incr wraps": "set a 0 0 20|18446744073709551615/incr a 2/get a/incr a 1000/get a",
    "what changes a CAS id": "set a 0 0 1|5/gets a/touch a 100/gats 0 a/add a 0 0 1|6/gets a/incr a 0/gets a/"
    "decr a 0/gets a/append a 0 0 0|/gets a/cas a 0 0 1 <last>|5/gets a/cas a 0 0 1 <first>|6/gets a",
    "cas without an item": "cas a 0 0 1 7|5/cas a 0 0 1 7 noreply|5/get a",
    "append keeps flags and expiry": "set a 5 0 1|1/append a 7 -1 1|2/prepend a 8 -1 1|3/get a",
    "negative expiry": "set a 0 0 1|1/set a 0 -1 1|2/get a/add a 0 0 1|3/gat -1 a/get a",
    "largest value": f"set a 0 0 {{{LARGEST}}}/get a/append a 0 0 1|7/get a",
    "one byte too many": f"set a 0 0 1|1/set a 0 0 {{{LARGEST + 1}}}/get a",
    "flags take room": f"set a 1 0 {{{LARGEST}}}/set a 1 0 {{{LARGEST - 4}}}",
    "far too large": f"set a 0 0 1|1/add a 0 0 {{{ITEM_MAX + 9}}}/get a/set a 0 0 {{{ITEM_MAX + 9}}}/get a",
    "two halves that do not fit": "set a 0 0 {600000}/prepend a 0 0 {600000}/get a",
    "sizes that cannot be": "set a 0 0 -1/set a 0 0 2147483646/set a 0 0 1e3/set a 0 0",
    "a block that is cut short": "set a 0 0 9|1234|next|get a",
    "many keys": "set a 0 0 1|1/get " + "a missing " * 40,
    "a delayed flush": "set a 0 0 1|1/flush_all 100/get a/flush_all/get a",
    "too many or too few words": "delete a 5/delete a 0 x/flush_all 1 2 3/get/gat/gat 0/incr a/touch a/cas a 0 0",
}


@pytest.mark.parametrize("name", CORNERS)
def test_corners(memcached: Exchange, emulator: Exchange, name: str) -> None:
    """Corners that chance finds seldom get the same replies from both."""
    text = re.sub(r"\{(\d+)\}", lambda block: f"{block[1]}|{'v' * int(block[1])}", CORNERS[name])
    script = [command.replace("|", "\r\n").encode() + b"\r\n" for command in text.split("/")]
    assert transcript(emulator, script) == transcript(memcached, script)


def test_expiry(memcached: Exchange, emulator: Exchange) -> None:
    """A value stored for a second is gone from both after two, one stored for 100 seconds is not.

    Planted: a server whose clock stands still.
    """
    before = [b"set a 0 1 1\r\n1\r\n", b"set b 0 100 1\r\n2\r\n", b"set c 0 0 1\r\n3\r\n", b"touch c 1\r\n"]
    servers = [memcached, emulator, Connection(Cache(lambda: 1.0)).feed]
    stored = [transcript(server, before) for server in servers]
    assert stored[0] == stored[1] == stored[2]
    time.sleep(2.1)
    real, emulated, frozen = (server(b"get a b c\r\n") for server in servers)
    assert emulated == real == b"VALUE b 0 1\r\n2\r\nEND\r\n"
    assert frozen != real


def test_statistics(memcached: Exchange, emulator: Exchange) -> None:
    """Every statistic of the stand-in is one that the real server has, and the usual ones are there."""
    real, emulated = (
        {line.split()[1] for line in ask(b"stats\r\n").splitlines()[:-1]} for ask in (memcached, emulator)
    )
    assert {b"pid", b"version", b"curr_items", b"cmd_get"} <= emulated <= real


# --- Planted violations


class BelowZero(Cache):
    """`decr` goes below zero."""

    def _count(self, words: list[bytes], block: bytes) -> bytes:
        item = self._find(words[1])
        if item and words[0] == b"decr" and item.value.isdigit() and words[2].isdigit():
            left = b"%d" % (int(item.value) - int(words[2]))
            self._link(words[1], left.ljust(len(item.value)), item.flags, item.expires_s)
            return left + b"\r\n"
        return super()._count(words, block)


class KeepsToken(Cache):
    """`incr` and `decr` leave the CAS id as it was."""

    def _count(self, words: list[bytes], block: bytes) -> bytes:
        before = self._find(words[1])
        reply = super()._count(words, block)
        if before and (after := self._find(words[1])):
            after.cas = before.cas
        return reply


class IgnoresToken(Cache):
    """`cas` replaces whatever is there."""

    def _store(self, words: list[bytes], block: bytes) -> bytes:
        if words[0] == b"cas" and self._find(words[1]):
            words = [b"set", *words[1:5]]
        return super()._store(words, block)


@pytest.mark.parametrize("broken", [BelowZero, KeepsToken, IgnoresToken])
def test_broken_stand_in_is_found(memcached: Exchange, emulator: Exchange, broken: type[Cache]) -> None:
    """The random comparison tells a broken stand-in from the real server, and not the sound one."""

    def differs(script: list[bytes]) -> bool:
        return transcript(Connection(broken(time.time)).feed, script) != transcript(memcached, script)

    script = find(scripts, differs, settings=settings(steady, max_examples=500, phases=[Phase.generate]))
    assert transcript(emulator, script) == transcript(memcached, script)
