"""What the contract tests share: tranches that nobody else uses, ledger connections, and waiting."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import pytest

from oversold.clock import SystemClock
from oversold.model import Tranche
from oversold.platform import ledger
from oversold.platform.ledger import Connection, LedgerPool
from oversold.stores.endpoint import Endpoint
from oversold.stores.postgres import connect_raw

CAPACITY_FEN = 1_000


class Interposed:
    """A connection on which something happens just before each statement that contains a word."""

    def __init__(self, connection: Connection, word: str, happen: Callable[[], None]) -> None:
        self._connection, self._word, self._happen = connection, word, happen

    def execute(self, statement: str, *arguments: Any, **options: Any) -> Any:
        """Let it happen, then execute."""
        if self._word in statement:
            self._happen()
        return self._connection.execute(statement, *arguments, **options)


class InterposedPool(LedgerPool):
    """A ledger pool that lends `Interposed` connections."""

    def __init__(self, endpoint: Endpoint, word: str, happen: Callable[[], None]) -> None:
        super().__init__(endpoint, SystemClock(), 0, 1)
        self._word, self._happen = word, happen

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Lend one."""
        with super().connection() as connection:
            yield cast(Connection, Interposed(connection, self._word, self._happen))


@pytest.fixture
def new_tranche() -> Callable[[int], Tranche]:
    """Make a tranche of so many fen with an id of its own."""
    return lambda capacity_fen: Tranche(f"t{secrets.token_hex(4)}-1", capacity_fen)


@pytest.fixture
def open_sql(endpoints: Mapping[str, Endpoint]) -> Iterator[Callable[[], Connection]]:
    """Open one more autocommit connection to the session's PostgreSQL; all are closed after the test."""
    with ExitStack() as stack:

        def open_one() -> Connection:
            connection = connect_raw(endpoints["sql"], SystemClock(), 0, autocommit=True)
            stack.callback(connection.close)
            return connection

        yield open_one


@pytest.fixture
def sql(open_sql: Callable[[], Connection]) -> Connection:
    """An autocommit connection to the session's PostgreSQL."""
    return open_sql()


@pytest.fixture
def tranche(sql: Connection, new_tranche: Callable[[int], Tranche]) -> Tranche:
    """A tranche of 1,000 fen that the ledger knows."""
    entered = new_tranche(CAPACITY_FEN)
    ledger.create(sql, entered)
    return entered


@pytest.fixture
def new_pool(endpoints: Mapping[str, Endpoint]) -> Iterator[Callable[[int], LedgerPool]]:
    """Make a ledger pool of so many connections: what one app-server process has."""
    with ExitStack() as stack:

        def make(size: int) -> LedgerPool:
            pool = LedgerPool(endpoints["sql"], SystemClock(), 0, size)
            stack.callback(pool.close)
            return pool

        yield make


@pytest.fixture
def interposed_pool(
    endpoints: Mapping[str, Endpoint],
) -> Iterator[Callable[[str, Callable[[], None]], LedgerPool]]:
    """Make a pool of one connection on which something happens before each statement that contains a word."""
    with ExitStack() as stack:

        def make(word: str, happen: Callable[[], None]) -> LedgerPool:
            pool = InterposedPool(endpoints["sql"], word, happen)
            stack.callback(pool.close)
            return pool

        yield make


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool], float], bool]:
    """Ask again and again until something is true or so many seconds are over; return whether it became true."""

    def wait(true: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not true():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    return wait
