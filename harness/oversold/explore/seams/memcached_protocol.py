"""memcached's text protocol as the explorer reads it: commands cut apart, their keys, their times to live, values.

Meta commands and whatever else it does not know are one `raw` command, which may touch every key.
"""

from __future__ import annotations

from dataclasses import dataclass

from oversold.clock import now_ns, wall_offset_ns
from oversold.schedule import Choice
from oversold.stores.memcached_emulator import RELATIVE_MAX_S, STORE_WORDS

LONGEST_LEASE_S = 3600  # a key that lives longer is no lease: what it holds is to stay, if the cache has room
DAY_S = 86_400  # for as long everything is stored: within an execution only the explorer ends a key's life
# Which say nothing of the data: they pass unseen.
UNSEEN = {"version", "stats", "quit", "verbosity", "cache_memlimit"}
STORING = {word.decode() for word in STORE_WORDS}
READING = {"get", "gets", "gat", "gats"}
QUIET = {*STORING, "touch", "incr", "decr", "delete", "flush_all"}  # these understand `noreply`
KEEPING = {"append", "prepend", "incr", "decr"}  # these leave the time to live as it is
# Where the time to live stands among a command's arguments.
EXPTIME = {**dict.fromkeys(STORING, 2), "touch": 1, "gat": 0, "gats": 0}


@dataclass(frozen=True, slots=True)
class Command:
    """One command of the text protocol, without `noreply`, which is kept apart. One that is not known is `raw`."""

    name: str
    arguments: tuple[bytes, ...] = ()
    block: bytes | None = None
    noreply: bool = False
    raw: bytes = b""

    @property
    def reading(self) -> bool:
        """Tell whether its reply has values in it."""
        return self.name in READING and not self.raw

    @property
    def writing(self) -> bool:
        """Tell whether it may change anything; `gat` changes a time to live."""
        return not self.reading or self.exptime_s is not None

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The keys that it names, as they are sent."""
        if self.name in READING:
            return self.arguments[1:] if self.name.startswith("gat") else self.arguments
        return () if self.raw or self.name == "flush_all" else self.arguments[:1]

    @property
    def exptime_s(self) -> int | None:
        """The time to live that it gives: seconds, a Unix time, or less than 0 for none at all."""
        return int(self.arguments[EXPTIME[self.name]]) if self.name in EXPTIME and not self.raw else None

    @property
    def wire(self) -> bytes:
        """What is sent in its place: it is answered, and no time to live ends by itself."""
        if self.raw:
            return self.raw
        words = [self.name.encode(), *self.arguments]
        exptime_s = self.exptime_s
        if exptime_s:
            words[1 + EXPTIME[self.name]] = b"%d" % (DAY_S if life(exptime_s) else -1)
        line = b" ".join(words) + b"\r\n"
        return line if self.block is None else line + self.block + b"\r\n"


def parsed(data: bytes) -> list[Command]:
    """Return the commands in what is about to be written. From the first unknown one on, they are one.

    >>> [command.keys for command in parsed(b"gets left\\r\\nset lock 0 2 2\\r\\nme\\r\\n")]
    [(b'left',), (b'lock',)]
    """
    commands: list[Command] = []
    while data:
        line, _, rest = data.partition(b"\r\n")
        words = line.split()
        name = words[0].decode(errors="replace") if words else ""
        arguments = words[1:]
        noreply = name in QUIET and arguments[-1:] == [b"noreply"]
        command = Command(name, tuple(arguments[:-1] if noreply else arguments), noreply=noreply)
        try:
            if name in STORING:
                size = int(arguments[3])
                command = Command(name, command.arguments, rest[:size], noreply)
                rest = rest[size + 2 :]
            _ = command.exptime_s, command.keys[0] if name not in {*UNSEEN, "flush_all"} else None
        except (ValueError, IndexError):
            name = ""
        if name not in {*READING, *QUIET, *UNSEEN}:
            return [*commands, Command(" ".join(line.decode(errors="replace").split()[:1]), raw=data)]
        commands.append(command)
        data = rest
    return commands


def life(exptime_s: int) -> Choice | None:
    """Return how a key with this time to live may disappear; None when it is gone at once."""
    if exptime_s > RELATIVE_MAX_S:  # a date
        exptime_s = exptime_s - (now_ns() + wall_offset_ns()) // 10**9 or -1
    if exptime_s < 0:
        return None
    return "expire" if 0 < exptime_s <= LONGEST_LEASE_S else "evict"


def values(reply: bytes) -> dict[bytes, tuple[bytes, bytes | None]]:
    """Return what a reading command has found: key -> value, and its cas token where `gets` asked for it."""
    found: dict[bytes, tuple[bytes, bytes | None]] = {}
    while reply.startswith(b"VALUE "):
        line, _, rest = reply.partition(b"\r\n")
        _, key, _, size, *token = line.split()
        found[key] = rest[: int(size)], token[0] if token else None
        reply = rest[int(size) + 2 :]
    return found
