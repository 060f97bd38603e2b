"""The seam of pymemcache: each command of a write to the network is a step, since memcached promises no more.

The text protocol only. After each command `version` is sent as well: its answer ends the reply, whatever that is,
so a reply can be read ahead, and a command without one is known to be applied.
"""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from collections.abc import Iterable
from typing import Any

from pymemcache.exceptions import MemcacheError

from oversold.explore.actor import LOST, Port
from oversold.explore.escapes import ours
from oversold.explore.naming import Naming, told
from oversold.explore.operation import EVERYTHING, Operation
from oversold.explore.seams.memcached_protocol import (
    DAY_S,
    KEEPING,
    UNSEEN,
    Command,
    life,
    parsed,
    values,
)
from oversold.schedule import Choice
from oversold.stores import memcached as server
from oversold.stores.endpoint import Endpoint

BARRIER = b"version\r\n"
REFUSED = ("NOT_STORED", "EXISTS", "NOT_FOUND", "ERROR", "CLIENT_ERROR", "SERVER_ERROR")


class MemcachedServer:
    """What the seam knows of one server: keys that it has seen, how they may disappear, their versions.

    A cas token is another number in each execution. For people and for comparing, a key's versions are counted
    from 1.
    """

    def __init__(self, endpoint: Endpoint, naming: Naming, store: str = "memcached") -> None:
        self.endpoint, self.naming, self.store = endpoint, naming, store
        self.admin = server.connect_by(endpoint, server.Sockets(self.socket))
        self.admin.serde = _Verbatim()
        self.mark = b"VERSION %b\r\n" % self.admin.version()
        self._lives: dict[bytes, Choice] = {}
        self._first_lives: dict[bytes, Choice] = {}
        self._snapshot: dict[bytes, Any] = {}
        self._touched: set[bytes] = set()
        self._versions: Counter[bytes] = Counter()
        self._tokens: dict[tuple[bytes, bytes], int] = {}

    def connect(self, port: Port) -> Any:
        """Return an actor's client, like that of a lane, whose every command waits for its turn at `port`."""

        def watched(*arguments: Any) -> _WatchedSocket:
            return _WatchedSocket(self, port, self.socket(*arguments))

        return server.connect_by(self.endpoint, server.Sockets(watched))

    def socket(self, *arguments: Any) -> Any:
        """Return a new socket to the server, not connected yet."""
        return socket.socket(*arguments)

    def clean(self, client: Any) -> None:
        """End what an actor has left open: replies that it has not read, a connection that is lost."""
        if client.sock is not None and client.sock.left_open():
            client.close()

    # Keys

    def operation(self, command: Command) -> Operation:
        """Return what a command does."""
        keys = frozenset(map(self._key, command.keys))
        if command.raw:
            keys = frozenset({EVERYTHING})
        elif command.name == "flush_all":
            keys = frozenset({f"{self.store}/*"})
        none: frozenset[str] = frozenset()
        reads, writes = keys if command.reading else none, keys if command.writing else none
        return Operation(self._text(command), command.name, reads, writes)

    def _key(self, key: bytes) -> str:
        return f"{self.store}/{self.naming.of(key)}"

    def _text(self, command: Command) -> str:
        if command.raw:
            return " ".join(map(self.naming.of, command.raw.split()))
        words = [command.name, *map(self.naming.of, command.keys)]
        if command.block is not None:
            words.append(told(command.block, self.naming))
        if command.name in {"incr", "decr"}:
            words.append(command.arguments[1].decode())
        if command.name == "cas":
            version = self._tokens.get((command.keys[0], command.arguments[4]))
            words.append(f"if version {version}" if version else "if an unknown version")
        seconds = command.exptime_s
        if seconds and command.name not in KEEPING:
            lives = life(seconds)
            words += ["for no time"] if lives is None else [f"for {seconds} s"] if lives == "expire" else []
        return " ".join(words)

    # What came of a command

    def applied(self, command: Command, reply: bytes) -> tuple[str, bool]:
        """Keep what a command has changed; return its reply for people, and whether it took effect."""
        text = told(reply, self.naming)
        if command.reading:
            return (text, False) if text.startswith(REFUSED) else self._found(command, values(reply))
        changed = not text.startswith(REFUSED) or bool(command.raw)
        if command.raw:
            self._touched.update(word for word in command.raw.split() if self.naming.prefix.encode() in word)
        elif command.name == "flush_all":
            self._lives.clear()
            self._touched.update(self._snapshot)
        else:
            self._wrote(command, text, changed=changed)
        return text, changed

    def _wrote(self, command: Command, text: str, *, changed: bool) -> None:
        key = command.keys[0]
        if command.name == "set" and text.startswith("SERVER_ERROR"):
            self._touched.add(key)  # memcached rather has nothing than the old value
            self._lives.pop(key, None)
        if changed:
            self._touched.add(key)
            self._versions[key] += command.name not in {"delete", "touch"}
        if text == "NOT_FOUND" or (changed and command.name == "delete"):
            self._lives.pop(key, None)
        elif changed and command.name not in KEEPING:
            self._leased(key, command.exptime_s or 0)

    def _leased(self, key: bytes, exptime_s: int) -> None:
        lives = life(exptime_s)
        if lives is None:
            self._lives.pop(key, None)
        else:
            self._lives[key] = lives

    def _found(self, command: Command, found: dict[bytes, tuple[bytes, bytes | None]]) -> tuple[str, bool]:
        told_of = {}
        for key in command.keys:
            value, token = found.get(key, (None, None))
            text = told(value, self.naming)
            if token is not None:
                version = self._tokens.setdefault((key, token), self._versions[key])
                text = f"{text} (version {version})"
            told_of[self.naming.of(key)] = text
            if value is None:
                self._lives.pop(key, None)
            elif command.exptime_s is not None:
                self._touched.add(key)
                self._leased(key, command.exptime_s)
        texts = [text if len(told_of) == 1 else f"{name}: {text}" for name, text in told_of.items()]
        return ", ".join(texts), command.exptime_s is not None and bool(found)

    def expiring(self) -> Iterable[tuple[Choice, str]]:
        """Return all keys: a lease may expire, and a cache may forget everything else."""
        return [(choice, self._key(key)) for key, choice in self._lives.items()]

    def disappear(self, key: str) -> None:
        """End a key's life, by its time or for want of room."""
        raw = next(each for each in self._lives if self._key(each) == key)
        self.admin.delete(raw)
        del self._lives[raw]
        self._touched.add(raw)

    def pass_time(self, now_s: float) -> None:
        """Keys expire one by one; memcached tells nobody the time."""

    # Between two executions

    def remember(self) -> None:
        """Keep what was stored through the seam as that from which every execution begins."""
        self._snapshot = self.admin.get_many(list(self._lives))
        self._first_lives = {key: self._lives[key] for key in self._snapshot}
        self._begin()

    def reset(self) -> None:
        """Store again what was remembered, and nothing else: two round trips at most."""
        if gone := [key for key in self._touched if key not in self._snapshot]:
            self.admin.delete_many(gone)
        if changed := {key: value for key, value in self._snapshot.items() if key in self._touched}:
            self.admin.set_many(changed, expire=DAY_S)
        self._begin()

    def _begin(self) -> None:
        self._touched.clear()
        self._tokens.clear()
        self._lives = dict(self._first_lives)
        self._versions = Counter(dict.fromkeys(self._snapshot, 1))

    def close(self) -> None:
        """Delete what was stored through the seam, and close the explorer's own connection."""
        with contextlib.suppress(OSError, MemcacheError):
            self.admin.delete_many([*self._snapshot, *self._touched])
        server.close(self.admin)


class _Verbatim:
    """Values with their flags, as they are stored."""

    def serialize(self, _key: Any, value: tuple[bytes, int]) -> tuple[bytes, int]:
        return value

    def deserialize(self, _key: Any, value: bytes, flags: int) -> tuple[bytes, int]:
        return value, flags


class _WatchedSocket:
    """A socket that asks before each command, and reads the reply ahead."""

    def __init__(self, desk: MemcachedServer, port: Port, inner: Any) -> None:
        self._desk, self._port, self._inner = desk, port, inner
        self._ahead = b""
        self._lost = False

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._inner, attribute)

    def connect(self, address: Any) -> None:
        with ours():
            self._inner.connect(address)

    def sendall(self, data: bytes) -> None:
        for command in parsed(data):
            if command.name in UNSEEN:
                self._inner.sendall(command.wire)
            elif not self._served(command):
                return

    def recv(self, size: int) -> bytes:
        if not self._ahead:
            return bytes(self._inner.recv(size))
        part, self._ahead = self._ahead[:size], self._ahead[size:]
        return part

    def left_open(self) -> bool:
        """Forget what was not read; tell whether the connection is of no more use."""
        self._ahead = b""
        return self._lost

    def _served(self, command: Command) -> bool:
        """Wait for a command's turn and have it served; false when the rest of the write is lost with it."""
        if self._lost:  # TCP delivers nothing behind what it could not deliver
            raise ConnectionResetError("Connection reset by peer (an earlier request was lost)")
        # Nobody waits for the reply of a command that has none, so it cannot be missed.
        choice = self._port.ask(self._desk.operation(command), faults=LOST[:1] if command.noreply else LOST)
        if choice == "lost_request":
            self._lost = True
            if command.noreply:
                return False
            raise TimeoutError("timed out (the request was lost)")
        reply = self._exchanged(command.wire)
        text, changed = self._desk.applied(command, reply)
        self._port.reply(text, changed=changed)
        if choice == "crash_after":
            self._port.crash()
        if choice == "lost_reply":
            raise TimeoutError("timed out (the reply was lost)")
        self._ahead += b"" if command.noreply else reply
        return True

    def _exchanged(self, request: bytes) -> bytes:
        """Send a command; return all that the server answers, or what came before it hung up."""
        self._inner.sendall(request + BARRIER)
        received = b""
        while not received.endswith(self._desk.mark):
            part = self._inner.recv(65536)
            if not part:
                return received
            received += part
        return received.removesuffix(self._desk.mark)
