"""What a bid strategy is, and all that it may know of the world."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast, runtime_checkable

from oversold.clock import Clock, seeded
from oversold.errors import UsageError
from oversold.model import Bid, Claim, Hold, Tranche
from oversold.stores.endpoint import Endpoint
from oversold.stores.providers import connect

if TYPE_CHECKING:
    import pika
    import redis as redis_py
    import sqlalchemy
    from pymemcache.client.base import Client as MemcachedClient


class Context:
    """A lane's private world: one connection to each store that the strategy named, a clock, a seeded random.

    A strategy takes everything that could differ between two executions from here. So the same class runs
    under Locust, under a test and under a scheduler that decides who goes next.
    """

    def __init__(self, clients: Mapping[str, Any], clock: Clock, generator: random.Random) -> None:
        self._clients = clients
        self.clock = clock
        self.random = generator

    def _client(self, store: str) -> Any:
        try:
            return self._clients[store]
        except KeyError:
            raise UsageError(
                f'the strategy uses {store} but does not name it: add "{store}" to its `stores`'
            ) from None

    @property
    def redis(self) -> redis_py.Redis:
        """The lane's own redis-py client: one connection, no retries."""
        return cast("redis_py.Redis", self._client("redis"))

    @property
    def memcached(self) -> MemcachedClient:
        """The lane's own pymemcache client; writes wait for the answer."""
        return self._client("memcached")

    @property
    def sql(self) -> sqlalchemy.Connection:
        """The lane's own SQLAlchemy connection (PostgreSQL or MariaDB). Commit or roll back before you return."""
        return cast("sqlalchemy.Connection", self._client("sql"))

    @property
    def rabbitmq(self) -> pika.BlockingConnection:
        """The lane's own connection to RabbitMQ; open your channels on it."""
        return self._client("rabbitmq")

    @property
    def redlock(self) -> tuple[redis_py.Redis, ...]:
        """The lane's own clients of five Redis servers that know nothing of one another."""
        return cast("tuple[redis_py.Redis, ...]", self._client("redlock"))


@runtime_checkable
class BidStrategy(Protocol):
    """Decides who gets a share of a tranche. One instance a lane; shared state lives in a store only."""

    stores: ClassVar[frozenset[str]]

    def __init__(self, context: Context) -> None: ...

    def open(self, tranche: Tranche) -> None:
        """Put the tranche's stock into the store. Called once, by the coordinator, before the first bid."""

    def reserve(self, bid: Bid) -> Hold:
        """Try to hold the bid's amount."""

    def confirm(self, bid: Bid, hold: Hold) -> bool:
        """Make the hold final; false when it is no longer valid. Repeating it changes nothing."""

    def release(self, bid: Bid, hold: Hold) -> bool:
        """Give the hold back; true when the stock has it again. Repeating it changes nothing."""

    def status(self, tranche_id: str) -> Claim:
        """Say what the strategy believes is left. Nobody takes it for the truth."""


@runtime_checkable
class ConsumerStrategy(BidStrategy, Protocol):
    """A strategy whose decisions are made by one separate process, which the run starts beside the lanes."""

    def consume(self, tranche_id: str, wait_s: float) -> int:
        """Handle the messages that are there, waiting at most `wait_s` for the first; return how many."""


def open_context(
    endpoints: Mapping[str, Endpoint], stores: frozenset[str], clock: Clock, rtt_s: float, *seed: object
) -> tuple[Context, dict[str, Any]]:
    """Open one private connection to each of `stores`; return the context over them, and them by store name."""
    clients = {store: connect(endpoints[store], clock, rtt_s) for store in sorted(stores)}
    return Context(clients, clock, seeded(*seed)), clients


def key(tranche_id: str, *parts: str) -> str:
    """Return a store key of one tranche. Runs find and delete their keys by this prefix."""
    return ":".join(("oversold", tranche_id, *parts))
