"""Redis in the explorer's own process, by fakeredis: for where no server is installed, and for speed."""

from __future__ import annotations

import pickle
import time
from typing import Any

from redis.connection import Connection

from oversold.errors import UsageError
from oversold.explore.actor import Port
from oversold.explore.naming import Naming
from oversold.explore.seams.redis import RedisServer, watched
from oversold.explore.seams.redlock import RedlockServers
from oversold.stores.endpoint import Endpoint
from oversold.stores.redlock import INSTANCES

URL = "redis://127.0.0.1:0/0"  # nobody connects to it
# fakeredis knows only the first key of these: the last one is so many words before the end, the next so many on.
SEVERAL = {
    **dict.fromkeys(("DEL", "UNLINK", "EXISTS", "MGET", "WATCH", "PFCOUNT", "PFMERGE", "BITOP"), (-1, 1)),
    **dict.fromkeys(("SDIFF", "SINTER", "SUNION", "SDIFFSTORE", "SINTERSTORE", "SUNIONSTORE"), (-1, 1)),
    **dict.fromkeys(("SSUBSCRIBE", "SUNSUBSCRIBE"), (-1, 1)),
    **dict.fromkeys(("BLPOP", "BRPOP", "BZPOPMAX", "BZPOPMIN"), (-2, 1)),
    **dict.fromkeys(("MSET", "MSETNX"), (-1, 2)),
    "LCS": (2, 1),
}
# Where the number of keys stands that follow it, and which keys stand before it.
NUMBERED: dict[str, tuple[int, tuple[int, ...]]] = {
    **dict.fromkeys(("ZUNION", "ZINTER", "ZDIFF", "SINTERCARD", "ZINTERCARD", "LMPOP", "ZMPOP"), (0, ())),
    **dict.fromkeys(("EVAL", "EVALSHA", "FCALL", "FCALL_RO", "BLMPOP", "BZMPOP"), (1, ())),
    **dict.fromkeys(("ZUNIONSTORE", "ZINTERSTORE", "ZDIFFSTORE"), (1, (0,))),
}


class FakeRedis(RedisServer):
    """The seam of a Redis that lives in this process. Nothing of it is outside, and nothing outlives it."""

    def __init__(self, naming: Naming, store: str = "redis") -> None:
        """Make an empty server.

        Raises:
            UsageError: fakeredis is not installed.
        """
        self._fakeredis = _fakeredis()
        self._server = self._fakeredis.FakeServer(version=(7, 0))
        self._stored = self._server.dbs[0]
        self._kept = b""
        self._changes = 0
        self._count_changes()
        super().__init__(fake_endpoint(), naming, store)
        for name, (last, step) in SEVERAL.items():
            self._table[name].update(last_key_pos=last, step_count=step)

    def _count_changes(self) -> None:
        tell = self._stored.notify_watch

        def notify_watch(key: bytes) -> None:
            self._changes += 1
            tell(key)

        self._stored.notify_watch = notify_watch

    def connection(self, port: Port | None) -> type[Connection]:
        """Return the class of connections that end in this process."""
        inside, server = self._fakeredis.FakeRedisConnection, self._server

        def made(connection: Any, **options: Any) -> None:
            inside.__init__(connection, server=server, **options)

        fake = type("FakeConnection", (inside,), {"__init__": made})
        return fake if port is None else type("WatchedFakeConnection", (watched(self, port), fake), {})

    def keys_of(self, name: str, arguments: list[bytes]) -> list[bytes] | None:
        """Return the keys of a command that has them in places of its own; None when nobody knows them.

        fakeredis has no COMMAND GETKEYS.
        """
        if name in NUMBERED:
            place, before = NUMBERED[name]
            behind = arguments[place + 1 :]
            return [*(arguments[each] for each in before), *behind[: int(arguments[place])]]
        if name in ("XREAD", "XREADGROUP"):
            rest = arguments[[each.upper() for each in arguments].index(b"STREAMS") + 1 :]
            return rest[: len(rest) // 2]
        return None

    def lives_ms(self, key: bytes) -> int:
        """Return how long a key is still to live; not positive when for ever, or when there is none."""
        item = self._stored._dict.get(key)
        return 0 if item is None or item.expireat is None else int((item.expireat - time.time()) * 1000)

    def dirty(self) -> int:
        """Return how many changes there were so far."""
        return self._changes

    def keep(self) -> None:
        """Keep the data themselves."""
        self._kept = pickle.dumps(self._stored._dict)

    def restore(self) -> None:
        """Store the data themselves again."""
        stored = self._stored
        stored._dict.clear()  # not `clear`, which tells those who watch: nobody does between two executions
        stored._expiry_heap.clear()
        stored.update(pickle.loads(self._kept))


class FakeRedlock(RedlockServers):
    """Five of them that know nothing of one another."""

    def __init__(self, naming: Naming) -> None:
        super().__init__(fake_endpoint(), naming)

    def apart(self, endpoint: Endpoint, naming: Naming) -> list[RedisServer]:
        """Make the five."""
        return [FakeRedis(naming, f"redis{number}") for number in range(1, INSTANCES + 1)]


def fake_endpoint() -> Endpoint:
    """Return where it is: nowhere."""
    return Endpoint("redis", URL, "emulated", f"fakeredis {_fakeredis().__version__}")


def _fakeredis() -> Any:
    try:
        import fakeredis
        import lupa  # noqa: F401 - scripts need it, and fakeredis says so only when the first one comes
    except ImportError:
        raise UsageError(
            "--store fake needs fakeredis: pip install 'oversold[fake]', or leave it out, and a real one is used"
        ) from None
    return fakeredis
