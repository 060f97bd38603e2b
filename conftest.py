"""Real servers for the tests: one private instance of each store a session, started when first asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import NoReturn

import pytest

from oversold.stores.endpoint import Endpoint
from oversold.stores.guard import Guard
from oversold.stores.providers import LABELS, SERVERS, StoreChoice, stores

CONNECTIONS = 100


def missing(what: str) -> NoReturn:
    """Skip the test that needs `what`; in CI, where everything must be there, fail it."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slow tests first: a long one that begins last would leave the other core idle."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


class Endpoints(Mapping[str, Endpoint]):
    """Store name -> where it answers. Asking for one starts it; all go when the session ends."""

    def __init__(self, guard: Guard, stack: ExitStack) -> None:
        self._guard = guard
        self._stack = stack
        self._started: dict[str, Endpoint] = {}

    def __getitem__(self, name: str) -> Endpoint:
        if name not in self._started:
            if SERVERS[name].find() is None:
                missing(f"no {LABELS[name]} here: install {SERVERS[name].hint}")
            started = stores(frozenset({name}), StoreChoice(mode="local"), self._guard, CONNECTIONS, "tests")
            self._started |= self._stack.enter_context(started)
        return self._started[name]

    def __iter__(self) -> Iterator[str]:
        return iter(SERVERS)

    def __len__(self) -> int:
        return len(SERVERS)


@pytest.fixture(scope="session")
def server_missing() -> Callable[[str], NoReturn]:
    """Call it with what is not installed: it skips the test, and fails it where the variable CI is set."""
    return missing


@pytest.fixture(scope="session")
def guard() -> Iterator[Guard]:
    """Parent of all processes that the session starts."""
    with Guard() as keeper:
        yield keeper


@pytest.fixture(scope="session")
def endpoints(guard: Guard) -> Iterator[Mapping[str, Endpoint]]:
    """Redis, memcached and sql of this session, each started when it is first asked for."""
    with ExitStack() as stack:
        yield Endpoints(guard, stack)
