"""A stand-in for memcached where none is installed: its ASCII protocol over one dictionary, in plain Python.

`python -m oversold.stores.memcached_emulator --port P` answers as memcached 1.6 answers, byte for byte; a
contract test holds it to the real server. Commands run one after the other, so each is atomic. Left out:
the meta and binary protocols, UDP, slab classes, most statistics, and how numbers too large for C wrap.
"""

import argparse
import asyncio
import os
import re
import signal
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import cast

VERSION = "1.6.0-oversold-emulated"
KEY_MAX = 250  # bytes
LINE_MAX = 2048  # bytes without a newline, beyond which only a long `get` is believed
ITEM_MAX = 1 << 20  # bytes of value, flags, key and the header that the real server keeps with them
ITEM_HEADER = 48 + 8 + 1 + 2  # struct, CAS id, NUL after the key, CRLF after the value
RELATIVE_MAX_S = 60 * 60 * 24 * 30  # a longer expiry is a Unix time
BAD_FORMAT = b"CLIENT_ERROR bad command line format\r\n"
NOT_FOUND = b"NOT_FOUND\r\n"
NOT_STORED = b"NOT_STORED\r\n"
STORE_WORDS = {**dict.fromkeys((b"set", b"add", b"replace", b"append", b"prepend"), 5), b"cas": 6}


class RefusedError(Exception):
    """A command that cannot be run; the argument is the reply."""


def integer(text: bytes, refusal: bytes, low: int = 0, high: int = 1 << 64) -> int:
    """Read a number as C's strtol does: blanks and a sign before it, a blank and anything after it."""
    if len(text) < 20 and text.isdigit() and int(text) < high:
        return int(text)
    found = re.match(rb"[\t-\r ]*+([+-]?)(?=\d)0*+(\d{0,20})(?:[\t-\r \0]|\Z)", text)
    value = int(found[1] + b"0" + found[2]) if found else high
    if not low <= value < high:
        raise RefusedError(refusal)
    return value


def block_size(words: list[bytes]) -> int | None:
    """Return how many bytes of data (and then CRLF) follow a command's line; None where no data follow."""
    required = STORE_WORDS.get(words[0]) if words else None
    if required is None or not required <= len(words) <= required + 1 or len(words[1]) > KEY_MAX:
        return None
    try:
        for unsigned in (words[2], *words[5:required]):
            integer(unsigned, BAD_FORMAT)
        integer(words[3], BAD_FORMAT, -(1 << 63), 1 << 63)
        return integer(words[4], BAD_FORMAT, 0, (1 << 31) - 2)
    except RefusedError:
        return None


def item_size(key: bytes, value_size: int, flags: int) -> int:
    """Return how many bytes the real server takes for an item; it refuses more than ITEM_MAX."""
    return ITEM_HEADER + len(key) + value_size + (4 if flags else 0)


@dataclass(slots=True)
class Item:
    """One value. Times are whole Unix seconds: 0 is never for `expires_s`, long ago for `born_s`."""

    value: bytes
    flags: int
    expires_s: int
    born_s: int
    cas: int


class Cache:
    """The cache itself, without input or output: parsed commands in, replies out.

    `now` returns Unix seconds. As in the real server time passes in whole seconds: a value stored for one
    second may be gone much sooner. Beyond `memory_bytes` the least recently used items are evicted.
    """

    def __init__(self, now: Callable[[], float], memory_bytes: int = 64 << 20) -> None:
        self._now = now
        self._memory_bytes = memory_bytes
        self._items: OrderedDict[bytes, Item] = OrderedDict()
        self._bytes = self._cas = 0
        self._flush_s = 0  # a delayed flush kills what was stored up to this second, once it has come
        self._counts = Counter(cmd_get=0, get_hits=0, evictions=0)
        # verb: what to run, fewest and most words, and whether `noreply` is understood
        self._rules: dict[bytes, tuple[Callable[[list[bytes], bytes], bytes], int, float, bool]] = {
            **{verb: (self._store, words, words + 1, True) for verb, words in STORE_WORDS.items()},
            **dict.fromkeys((b"get", b"gets", b"gat", b"gats"), (self._get, 2, inf, False)),
            **dict.fromkeys((b"incr", b"decr"), (self._count, 3, 4, True)),
            b"touch": (self._touch, 3, 4, True),
            b"delete": (self._delete, 2, 4, True),
            b"flush_all": (self._flush, 1, 3, True),
            b"verbosity": (lambda words, _: b"OK\r\n" if words[1].isdigit() else BAD_FORMAT, 2, 3, True),
            b"version": (lambda *_: f"VERSION {VERSION}\r\n".encode(), 1, inf, False),
            b"stats": (self._stats, 1, 1, False),
        }

    def execute(self, words: list[bytes], block: bytes = b"") -> bytes:
        """Run one command and return the reply.

        `block` is the data of a storage command and the two bytes after it; empty if longer than ITEM_MAX.
        """
        rule = self._rules.get(words[0]) if words else None
        if rule is None or not rule[1] <= len(words) <= rule[2]:
            return b"ERROR\r\n"
        try:
            reply = rule[0](words, block)
        except RefusedError as refused:
            reply = refused.args[0]
        quiet = rule[3] and words[-1] == b"noreply" and (len(words) > 2 or words[0] != b"delete")
        return b"" if quiet else reply

    def _store(self, words: list[bytes], block: bytes) -> bytes:
        verb, key, size = words[0], words[1], block_size(words)
        flags = integer(words[2], BAD_FORMAT) % (1 << 32)
        if size is None:
            raise RefusedError(BAD_FORMAT)
        if item_size(key, size, flags) > ITEM_MAX:
            if verb == b"set":
                self._drop(key)  # Rather nothing than the old value.
            raise RefusedError(b"SERVER_ERROR object too large for cache\r\n")
        if not block.endswith(b"\r\n"):
            raise RefusedError(b"CLIENT_ERROR bad data chunk\r\n")
        value, expires_s, old = block[:-2], self._expires_s(words[3]), self._find(key)
        if verb == b"cas" and (old is None or old.cas != integer(words[5], BAD_FORMAT)):
            return b"EXISTS\r\n" if old else NOT_FOUND
        if verb != b"set" and (old is None) != (verb == b"add"):
            return NOT_STORED
        if old is not None and verb.endswith(b"pend"):
            value = old.value + value if verb == b"append" else value + old.value
            flags, expires_s = old.flags, old.expires_s
            if item_size(key, len(value), flags) > ITEM_MAX:
                return NOT_STORED
        self._link(key, value, flags, expires_s)
        return b"STORED\r\n"

    def _count(self, words: list[bytes], _: bytes) -> bytes:
        item, delta = self._find(words[1]), integer(words[2], b"CLIENT_ERROR invalid numeric delta argument\r\n")
        if item is None:
            return NOT_FOUND
        value = integer(item.value, b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n")
        digits = b"%d" % ((value + delta) % (1 << 64) if words[0] == b"incr" else max(0, value - delta))
        # A shorter number is written over the old bytes, and the rest of them become blanks.
        self._link(words[1], digits.ljust(len(item.value)), item.flags, item.expires_s)
        return digits + b"\r\n"

    def _get(self, words: list[bytes], _: bytes) -> bytes:
        with_cas, touches = words[0].endswith(b"s"), words[0].startswith(b"gat")
        expires_s = self._expires_s(words[1]) if touches else 0
        reply = b""
        for key in words[2 if touches else 1 :]:
            self._counts["cmd_get"] += 1
            if item := self._find(key):
                self._counts["get_hits"] += 1
                item.expires_s = expires_s if touches else item.expires_s
                cas = b" %d" % item.cas if with_cas else b""
                reply += b"VALUE %b %d %d%b\r\n%b\r\n" % (key, item.flags, len(item.value), cas, item.value)
        return reply + b"END\r\n"

    def _touch(self, words: list[bytes], _: bytes) -> bytes:
        item, expires_s = self._find(words[1]), self._expires_s(words[2])
        if item is not None:
            item.expires_s = expires_s
        return b"TOUCHED\r\n" if item else NOT_FOUND

    def _delete(self, words: list[bytes], _: bytes) -> bytes:
        # A hold time of 0 is still allowed, for the clients of long ago.
        if words[2:] not in ([], [b"0"], [b"noreply"], [b"0", b"noreply"]):
            return BAD_FORMAT[:-2] + b".  Usage: delete <key> [noreply]\r\n"
        found = self._find(words[1])
        self._drop(words[1])
        return b"DELETED\r\n" if found else NOT_FOUND

    def _flush(self, words: list[bytes], _: bytes) -> bytes:
        arguments = words[1:-1] if words[-1] == b"noreply" else words[1:]
        at_s = self._expires_s(arguments[0]) if arguments else 0
        self._flush_s = max(0, at_s - 1)
        if not self._flush_s:
            self._items.clear()
            self._bytes = 0
        return b"OK\r\n"

    def _stats(self, _words: list[bytes], _: bytes) -> bytes:
        lines = {"pid": os.getpid(), "version": VERSION, "curr_items": len(self._items), **self._counts}
        return "".join([*(f"STAT {name} {value}\r\n" for name, value in lines.items()), "END\r\n"]).encode()

    def _expires_s(self, word: bytes) -> int:
        expiry = integer(word, b"CLIENT_ERROR invalid exptime argument\r\n", -(1 << 63), 1 << 63)
        expiry = (expiry + (1 << 31)) % (1 << 32) - (1 << 31)  # All that the real server keeps of it.
        if expiry <= 0:
            return min(1, -expiry)  # Negative is at once: the first second of 1970.
        return expiry if expiry > RELATIVE_MAX_S else int(self._now()) + expiry

    def _find(self, key: bytes) -> Item | None:
        item = self._items.get(key)
        if item is None and len(key) > KEY_MAX:
            raise RefusedError(BAD_FORMAT)
        if item and (item.expires_s or self._flush_s):
            now_s = int(self._now())
            if 0 < item.expires_s <= now_s or (self._flush_s and item.born_s <= self._flush_s <= now_s):
                self._drop(key)
                item = None
        if item:
            self._items.move_to_end(key)
        return item

    def _link(self, key: bytes, value: bytes, flags: int, expires_s: int) -> None:
        self._drop(key)
        self._cas += 1
        born_s = int(self._now()) if self._flush_s else 0
        self._items[key] = Item(value, flags, expires_s, born_s, self._cas)
        self._bytes += item_size(key, len(value), flags)
        while self._bytes > self._memory_bytes:
            self._drop(next(iter(self._items)))
            self._counts["evictions"] += 1

    def _drop(self, key: bytes) -> None:
        if item := self._items.pop(key, None):
            self._bytes -= item_size(key, len(item.value), item.flags)


class Connection(asyncio.Protocol):
    """One client: cuts its bytes into commands, in whatever pieces they come."""

    def __init__(self, cache: Cache) -> None:
        self.over = False  # the client said `quit`, or what it sends is no command
        self._cache = cache
        self._rest = b""
        self._swallow = 0  # bytes of a refused block still to come

    def feed(self, data: bytes) -> bytes:
        """Take more bytes and return the replies to all commands that they complete."""
        data, at, replies = self._rest + data, 0, []
        while not self.over:
            skipped = min(self._swallow, len(data) - at)
            at, self._swallow = at + skipped, self._swallow - skipped
            end = data.find(b"\n", at)
            if end < 0:
                self.over = len(data) - at > LINE_MAX and not data.startswith((b"get ", b"gets "), at)
                break
            line = data[at:end].removesuffix(b"\r").partition(b"\0")[0]
            words = [word for word in line.split(b" ") if word]
            size = block_size(words)
            kept = 0 if size is None or size > ITEM_MAX else size + 2
            if len(data) < end + 1 + kept:
                break
            at = end + 1 + kept
            self._swallow = size + 2 if size is not None and not kept else 0
            self.over = words[:1] == [b"quit"]
            if not self.over:
                replies.append(self._cache.execute(words, data[end + 1 : at]))
        self._rest = data[at:]
        return b"".join(replies)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer."""
        if reply := self.feed(data):
            self._transport.write(reply)
        if self.over:
            self._transport.close()


async def serve(cache: Cache, host: str, port: int) -> None:
    """Answer clients until SIGTERM or SIGINT; OSError if the address cannot be had."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = await loop.create_server(lambda: Connection(cache), host, port, backlog=1024)
    await stop.wait()
    server.close()  # Not waiting for clients: they may stay for ever.


def main(argv: list[str] | None = None) -> None:
    """Run the stand-in until it is told to stop."""
    parser = argparse.ArgumentParser(prog="memcached (emulated)", description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=11211)
    parser.add_argument("--memory-mb", type=int, default=64)
    options = parser.parse_args(argv)
    offset_s = time.time() - time.monotonic()
    cache = Cache(lambda: offset_s + time.monotonic(), max(1, options.memory_mb) << 20)
    try:
        asyncio.run(serve(cache, options.host, options.port))
    except OSError as error:
        parser.error(f"cannot listen on {options.host}:{options.port}: {error.strerror}")


if __name__ == "__main__":
    main()
