"""The seam of five independent Redis servers: each of them is a store of its own, with its own keys and leases."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import redis

from oversold.explore.actor import Port
from oversold.explore.naming import Naming
from oversold.explore.seams.redis import RedisServer
from oversold.schedule import Choice
from oversold.stores.endpoint import Endpoint
from oversold.stores.redlock import urls


class RedlockServers:
    """Five `RedisServer`s as one store, as a context hands them out: a tuple of clients."""

    def __init__(self, endpoint: Endpoint, naming: Naming) -> None:
        self.servers = self.apart(endpoint, naming)
        for server in self.servers:
            server.others = [other for other in self.servers if other is not server]

    def apart(self, endpoint: Endpoint, naming: Naming) -> list[RedisServer]:
        """Return the five, each with a name of its own."""
        each = [replace(endpoint, store="redis", url=url) for url in urls(endpoint.url)]
        return [RedisServer(one, naming, f"redis{number}") for number, one in enumerate(each, 1)]

    def connect(self, port: Port) -> tuple[redis.Redis, ...]:
        """Return one client of each server."""
        return tuple(server.connect(port) for server in self.servers)

    def clean(self, client: Any) -> None:
        """End what an actor has left open at any of them."""
        for server, one in zip(self.servers, client, strict=True):
            server.clean(one)

    def remember(self) -> None:
        """Keep what is stored now."""
        for server in self.servers:
            server.remember()

    def reset(self) -> None:
        """Store again what was remembered."""
        for server in self.servers:
            server.reset()

    def expiring(self) -> Iterable[tuple[Choice, str]]:
        """Return the leases of all servers."""
        return [each for server in self.servers for each in server.expiring()]

    def disappear(self, key: str) -> None:
        """End one lease at one server."""
        next(server for server in self.servers if key.startswith(f"{server.store}/")).disappear(key)

    def pass_time(self, now_s: float) -> None:
        """Tell all of them."""
        for server in self.servers:
            server.pass_time(now_s)

    def close(self) -> None:
        """Close the explorer's own connections."""
        for server in self.servers:
            server.close()
