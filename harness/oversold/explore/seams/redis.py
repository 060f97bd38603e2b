"""The seam of redis-py: one write to the network is one step, so transactions and scripts are atomic."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from hashlib import sha1
from typing import Any, cast

import redis
from redis.connection import Connection
from redis.exceptions import ResponseError

from oversold.explore.actor import Port
from oversold.explore.escapes import Escape, ours
from oversold.explore.naming import Naming, told
from oversold.explore.operation import EVERYTHING, Operation
from oversold.explore.seams.redis_protocol import (
    BRACKETS,
    IDLE,
    LEASING,
    LONGEST_LEASE_MS,
    SCRIPTS,
    UNSEEN,
    Command,
    as_bytes,
    by_pattern,
    comment,
    constant,
    keys_declared,
    parsed,
    reads_clock,
)
from oversold.explore.seams.redis_protocol import ready as ready_of
from oversold.schedule import Choice
from oversold.stores import redis as server
from oversold.stores.endpoint import Endpoint

SHORT = 4  # digits of a SHA1 that tell a design's scripts apart


class RedisServer:
    """What the seam knows of one server: which command touches which keys, and which keys have a lease."""

    def __init__(self, endpoint: Endpoint, naming: Naming, store: str = "redis") -> None:
        self.endpoint, self.naming, self.store = endpoint, naming, store
        self.admin = server.connect_by(endpoint, self.connection(None))
        if endpoint.provider != "url":  # what a subject of other numbers has left
            self.admin.flushdb()
        self._table: dict[str, dict[str, Any]] = {name.upper(): row for name, row in self.admin.command().items()}
        self.others: list[RedisServer] = []  # where a script may be used that was registered here
        self._loaded: dict[str, str] = {}  # scripts, by their SHA1
        self._called: dict[str, str] = {}  # what a script is called, by its SHA1
        self._known: dict[tuple[bytes, ...], tuple[list[bytes], bool]] = {}
        self._snapshot: list[tuple[bytes, bytes, int]] = []
        self._entries = self._entries_before = 0  # of all streams
        self.leases: dict[str, bytes] = {}

    def connect(self, port: Port) -> redis.Redis:
        """Return an actor's client, like that of a lane, whose every command waits for its turn at `port`."""
        client = server.connect_by(self.endpoint, self.connection(port))
        register: Callable[..., Any] = client.register_script

        def register_script(script: Any) -> Any:
            text = script if isinstance(script, str) else script.decode()
            if text not in self._loaded.values():  # each instance of a strategy registers its scripts anew
                self._preload(text, constant(script, sys._getframe(1).f_globals))
            return register(script)

        client.register_script = register_script  # type: ignore[method-assign]
        return client

    def connection(self, port: Port | None) -> type[Connection]:
        """Return the class of an actor's connections, or of the explorer's own."""
        return watched(self, port) if port is not None else Connection

    def clean(self, client: Any) -> None:
        """End what an actor has left open: what it watches, and nothing else."""
        pool = client.connection_pool
        for connection in {client.connection, *pool._available_connections, *pool._in_use_connections} - {None}:
            connection.clean()

    # Keys

    def operation(self, commands: list[Command], watched: Iterable[bytes]) -> Operation:
        """Return what one write to the network does: all of its commands together."""
        reads = {self._key(key) for key in watched}
        writes: set[str] = set()
        texts = []
        for name, arguments in commands:
            if name not in BRACKETS:
                keys, writing = self._touched(name, arguments)
                named = {self._key(key) for key in keys} if keys is not None else {EVERYTHING}
                (writes if writing else reads).update(named)
                texts.append(self._text(name, arguments, keys or []))
        whole = " · ".join(texts)
        if any(name == "EXEC" for name, _ in commands):
            whole = f"MULTI {whole} EXEC"
        return Operation(whole, " ".join(name for name, _ in commands), frozenset(reads), frozenset(writes))

    def _key(self, key: bytes) -> str:
        return f"{self.store}/{self.naming.of(key)}"

    def _text(self, name: str, arguments: list[bytes], keys: list[bytes]) -> str:
        words = [self.naming.of(each) for each in arguments]
        if name in SCRIPTS:
            count = int(arguments[1])
            called = self._script(name, arguments[0].decode())
            return f"script {called}({', '.join(words[2 : 2 + count])}) {' '.join(words[2 + count :])}".strip()
        return " ".join([name, *words])

    def _script(self, name: str, said: str) -> str:
        """Return what a script is called, which must be the same in every execution: as it says in its first line,
        as the code that registers it names it, or by its SHA1."""
        if name.startswith("FCALL"):
            return said
        if name.startswith("EVALSHA"):
            return self._called.get(said) or said[:SHORT]
        return comment(said) or sha1(said.encode()).hexdigest()[:SHORT]

    def _touched(self, name: str, arguments: list[bytes]) -> tuple[list[bytes] | None, bool]:
        """Return the keys of a command (None: nobody knows) and whether it may write them."""
        whole = (name.encode(), *arguments)
        if whole not in self._known:
            self._known[whole] = self._asked(name, arguments)
        return self._known[whole]

    def _asked(self, name: str, arguments: list[bytes]) -> Any:
        row = self._table.get(name)
        if row is None:
            return None, True
        flags = {str(flag) for flag in row["flags"]}
        first, last, step = int(row["first_key_pos"]), int(row["last_key_pos"]), int(row["step_count"])
        if (name in SCRIPTS and not self._declares(name, arguments)) or by_pattern(name, arguments):
            return None, True
        if "movablekeys" in flags or first == 0:
            keys = self.keys_of(name, arguments)
            if keys is None:
                return None, True
        else:
            stop = last if last >= 0 else len(arguments) + 1 + last
            keys = [arguments[place - 1] for place in range(first, stop + 1, step)]
        return keys, not ("readonly" in flags or name == "WATCH")

    def keys_of(self, name: str, arguments: list[bytes]) -> list[bytes] | None:
        """Return the keys of a command that has them in places of its own; None when nobody knows them."""
        try:
            return [as_bytes(key) for key in self.admin.command_getkeys(name, *arguments)]
        except ResponseError:
            return None

    def _declares(self, name: str, arguments: list[bytes]) -> bool:
        """Tell whether a script touches the keys that it was given and no others.

        Raises:
            Escape: it looks at the server's clock.
        """
        text = arguments[0].decode() if name.startswith("EVAL") else ""
        if name.startswith("EVALSHA"):
            text = self._loaded.get(text, "")
        if reads_clock(text):
            raise Escape(
                "a script asks Redis for the TIME, which no schedule can decide: give it context.clock.now_s() as "
                "an argument"
            )
        return keys_declared(text)

    # What came of a command

    def _preload(self, text: str, name: str) -> None:
        """Have a script loaded, so that its first use looks like every other one; `name` is what it is called."""
        digest, called = sha1(text.encode()).hexdigest(), comment(text) or name
        for each in (self, *self.others):
            each.admin.script_load(text)
            each._loaded[digest] = text
            if called:
                each._called[digest] = called

    def numbered(self, commands: list[Command]) -> bool:
        """Give the entries of streams ids that are the same in every execution; false when there is none to
        give."""
        found = False
        for name, arguments in commands:
            if name == "XADD" and b"*" in arguments:
                self._entries += 1
                arguments[arguments.index(b"*")] = b"%d-0" % self._entries
                found = True
        return found

    def dirty(self) -> int:
        """Return how many changes the server has counted so far."""
        return int(self.admin.info("persistence")["rdb_changes_since_last_save"])

    def looked(self, commands: list[Command]) -> None:
        """Look which of the keys that were written have a lease now."""
        for name, arguments in commands:
            if name in LEASING or self.leases:
                keys, writing = self._touched(name, arguments)
                for key in self._may_lease(name, arguments, keys or []) if writing else ():
                    lives_ms = self.lives_ms(key)
                    if 0 < lives_ms <= LONGEST_LEASE_MS:
                        self.leases[self._key(key)] = key
                    else:
                        self.leases.pop(self._key(key), None)

    def _may_lease(self, name: str, arguments: list[bytes], keys: list[bytes]) -> list[bytes]:
        """Return of which of the keys that a command wrote the lease may be another one now."""
        leased = any(self._key(key) in self.leases for key in keys)
        for_ever = name == "SET" and len(arguments) == 2
        return keys if leased or (name in LEASING and not for_ever) else []

    def lives_ms(self, key: bytes) -> int:
        """Return how long a key is still to live; not positive when for ever, or when there is none."""
        return int(self.admin.pttl(key))

    def expiring(self) -> Iterable[tuple[Choice, str]]:
        """Return the keys that have a lease."""
        return [("expire", key) for key in self.leases]

    def disappear(self, key: str) -> None:
        """End a key's lease, as its time would."""
        self.admin.execute_command("PEXPIREAT", self.leases.pop(key), 1)

    def pass_time(self, now_s: float) -> None:
        """Let what was delivered and not acknowledged grow old. Leases end one by one; Redis tells nobody the
        time."""
        for key in self._keys() if now_s else ():
            if self.admin.type(key) in (b"stream", "stream"):
                self._age(key, round(now_s * 1000))

    def _age(self, stream: bytes, idle_ms: int) -> None:
        for group in self.admin.xinfo_groups(stream):
            for row in self.admin.xpending_range(stream, group["name"], "-", "+", 1000):
                who, entry = row["consumer"], cast("bytes", row["message_id"])
                cast(Any, self.admin).xclaim(
                    stream, group["name"], who, 0, [as_bytes(entry)], idle=idle_ms, justid=True
                )

    # Between two executions

    def remember(self) -> None:
        """Keep what is stored now as that from which every execution begins."""
        self._entries_before = self._entries
        self.keep()

    def keep(self) -> None:
        """Keep the data themselves."""
        self._snapshot = [
            (key, bytes(self.admin.dump(key) or b""), max(0, int(self.admin.pttl(key)))) for key in self._keys()
        ]

    def reset(self) -> None:
        """Store again what was remembered, and nothing else."""
        self.restore()
        self.leases.clear()
        self._entries = self._entries_before

    def restore(self) -> None:
        """Store the data themselves again."""
        pipeline = self.admin.pipeline(transaction=False)
        if self.endpoint.provider == "url":  # somebody else's server: only what is ours
            for key in self._keys():
                pipeline.delete(key)
        else:
            pipeline.flushdb()
        for key, value, lives_ms in self._snapshot:
            pipeline.restore(key, lives_ms, value)
        pipeline.execute()

    def _keys(self) -> list[bytes]:
        if self.endpoint.provider == "url":
            return [as_bytes(key) for key in self.admin.scan_iter(match=f"{self.naming.prefix}*", count=1000)]
        return [as_bytes(key) for key in self.admin.keys("*")]

    def close(self) -> None:
        """Close the explorer's own connection."""
        server.close(self.admin)


def watched(desk: RedisServer, port: Port) -> type[Connection]:
    """Return a class of connections whose every command waits for its turn at `port`."""

    class WatchedConnection(Connection):
        """Asks before it writes, and notes what was answered."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._sent: list[Command] = []
            self._unread = 0
            self._watching: list[bytes] = []
            self._dirty = 0
            self._given_up = False

        def _connect(self) -> Any:
            with ours():
                return super()._connect()

        def send_packed_command(self, command: Any, check_health: bool = True) -> None:
            commands = parsed(command)
            if port.actor is None or all(name in UNSEEN for name, _ in commands):
                if any(name in {"UNWATCH", "DISCARD"} for name, _ in commands):
                    self._watching = []
                self._unread = 0
                super().send_packed_command(self._numbered(commands, command), check_health)
                return
            ending = any(name == "EXEC" for name, _ in commands)
            operation = desk.operation(commands, self._watching if ending else ())
            ready = ready_of(desk.admin, commands)
            choice = port.ask(operation, ready, times_out=ready is not None)
            if port.actor.timed_out:
                self._given_up = True
                return
            if choice == "lost_request":
                self.disconnect()
                raise redis.TimeoutError("Timeout reading from socket (the request was lost)")
            self._watching = (
                []
                if ending
                else self._watching + [key for name, arguments in commands if name == "WATCH" for key in arguments]
            )
            if port.actor is not None and port.actor.slept_s and any(name in SCRIPTS for name, _ in commands):
                self._dirty = desk.dirty()
            super().send_packed_command(self._numbered(commands, command), check_health)
            self._sent, self._unread = commands, len(commands)
            if choice != "go":
                self._apply()
                if choice == "crash_after":
                    port.crash()
                self.disconnect()
                raise redis.TimeoutError("Timeout reading from socket (the reply was lost)")

        def read_response(self, *arguments: Any, **options: Any) -> Any:
            if self._given_up:  # a server answers nil to whoever has waited for too long
                self._given_up = False
                port.reply("nil, after the time it waits", changed=False)
                return None
            try:
                response = super().read_response(*arguments, **options)
            except ResponseError as error:
                self._read(error)
                raise
            self._read(response)
            return response

        def _numbered(self, commands: list[Command], packed: Any) -> Any:
            if not desk.numbered(commands):
                return packed
            return self.pack_commands([(name, *arguments) for name, arguments in commands])

        def clean(self) -> None:
            """End what an actor has left open."""
            self._unread, self._given_up = 0, False
            if self._watching:
                self._watching = []
                super().send_packed_command(self.pack_command("UNWATCH"))
                super().read_response()

        def _apply(self) -> None:
            """Wait until what was sent has been done; nobody hears the answers."""
            for _ in range(self._unread):
                try:
                    self.read_response()
                except ResponseError:
                    continue

        def _read(self, response: Any) -> None:
            if self._unread:
                self._unread -= 1
                if not self._unread:
                    port.reply(told(response, desk.naming), changed=self._has_changed(response))
                    desk.looked(self._sent)

        def _has_changed(self, response: Any) -> bool:
            if isinstance(response, Exception):
                return False
            name = self._sent[-1][0]
            if name in SCRIPTS and port.actor is not None and port.actor.slept_s:
                return desk.dirty() != self._dirty
            if name == "XAUTOCLAIM":  # where to go on, what was claimed, what is gone
                return any(response[1:])
            if name in IDLE or name == "EXEC":
                return response not in (None, 0, [])
            return True

    return WatchedConnection
