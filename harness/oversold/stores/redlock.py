"""Five Redis servers that know nothing of one another, as redlock wants them: find, start, probe, connect."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from redis import Redis

from oversold.clock import Clock
from oversold.errors import StoreUnavailableError
from oversold.stores import redis
from oversold.stores.endpoint import Endpoint, Found
from oversold.stores.guard import Guard

name = "redlock"
hint = redis.hint

INSTANCES = 5


def find() -> Found | None:
    """Return the redis-server that would be started five times, else None."""
    return redis.find()


def start(found: Found, guard: Guard, connections: int) -> Endpoint:
    """Start five private instances side by side, each with room for `connections` clients."""
    return together(lambda: redis.start(found, guard, connections))


def together(start_one: Callable[[], Endpoint]) -> Endpoint:
    """Start five private servers side by side, each by `start_one`, and make one store of them."""
    with ThreadPoolExecutor(INSTANCES) as pool:
        starting = [pool.submit(start_one) for _ in range(INSTANCES)]
    one, *others = [future.result() for future in starting]
    return replace(
        one,
        store=name,
        url=" ".join(each.url for each in (one, *others)),
        settings={"instances": f"{INSTANCES}", **one.settings},
        others=tuple(each.pid for each in others if each.pid is not None),
    )


def urls(text: str) -> list[str]:
    """Split what was given or started: URLs with commas or spaces between them.

    >>> urls("redis://a, redis://b redis://c")
    ['redis://a', 'redis://b', 'redis://c']
    """
    return text.replace(",", " ").split()


def probe(url: str) -> Endpoint:
    """Ask all five servers for their version.

    Raises:
        StoreUnavailableError: they are not five, or one of them does not answer.
    """
    given = urls(url)
    try:
        servers = len({redis.address(one) for one in given})
    except ValueError:
        raise StoreUnavailableError(
            "a redlock URL cannot be read: each must look like redis://:password@host:port"
        ) from None  # the reason would show the password
    if servers != INSTANCES or len(given) != INSTANCES:
        # Two databases of one server fail together, so a majority of them proves nothing.
        raise StoreUnavailableError(
            f"redlock needs {INSTANCES} different Redis servers, not {servers}: "
            "give their URLs with commas between, or leave them out"
        )
    versions = {redis.probe(one).version for one in given}
    return Endpoint(name, " ".join(given), "url", ", ".join(sorted(versions)), {"instances": f"{INSTANCES}"})


def connect(endpoint: Endpoint, clock: Clock, rtt_s: float) -> tuple[Redis, ...]:
    """Return five clients with one connection each; each command to each of them waits `rtt_s`."""
    return tuple(redis.connect(one, clock, rtt_s) for one in _each(endpoint))


def _each(endpoint: Endpoint) -> list[Endpoint]:
    return [replace(endpoint, store=redis.name, url=url) for url in urls(endpoint.url)]


def admits(endpoint: Endpoint) -> int | None:
    """Return how many clients the least of five servers given by URL admits; None when none of them says."""
    limits = [limit for one in _each(endpoint) if (limit := redis.admits(one)) is not None]
    return min(limits, default=None)


def forget(endpoint: Endpoint, prefix: str) -> None:
    """Delete a run's keys from servers that were given by URL and go on living."""
    for one in _each(endpoint):
        redis.forget(one, prefix)


def close(client: Any) -> None:
    """Close the connections of all five clients without another word to their servers."""
    for one in client:
        redis.close(one)


def cut(client: Any, dead: Callable[..., Any]) -> None:
    """Let `dead`, which raises, take the place of every way by which the clients reach their servers."""
    for one in client:
        redis.cut(one, dead)
