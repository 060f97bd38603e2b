"""memcached in the explorer's own process, by the emulator: for where no server is installed, and for speed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from oversold.explore.naming import Naming
from oversold.explore.seams.memcached import MemcachedServer
from oversold.stores.endpoint import Endpoint
from oversold.stores.memcached_emulator import VERSION, Cache, Connection

URL = "memcached://127.0.0.1:0"  # nobody connects to it


class FakeMemcached(MemcachedServer):
    """The seam of a cache that lives in this process. Its clock stands still: the explorer ends a key's life."""

    def __init__(self, naming: Naming) -> None:
        self._cache = Cache(lambda: 1.0)
        super().__init__(fake_endpoint(), naming)

    def socket(self, *_: Any) -> Any:
        """Return the end of a connection that stays in this process."""
        return _Wire(Connection(self._cache))


class _Wire:
    """A socket of which the cache itself is the other end. What a real one has besides does nothing here."""

    def __init__(self, other_end: Connection) -> None:
        self._other_end = other_end
        self._answers = b""

    def __getattr__(self, attribute: str) -> Callable[..., None]:
        return _nothing

    def sendall(self, data: bytes) -> None:
        self._answers += self._other_end.feed(data)

    def recv(self, size: int) -> bytes:
        part, self._answers = self._answers[:size], self._answers[size:]
        return part


def _nothing(*_: Any) -> None:
    pass


def fake_endpoint() -> Endpoint:
    """Return where it is: nowhere."""
    return Endpoint("memcached", URL, "emulated", VERSION)
