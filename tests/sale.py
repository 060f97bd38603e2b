"""A tranche on sale in a test: a strategy on real servers, with as many lanes as the test wants."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from typing import Any

from oversold.clock import SystemClock
from oversold.model import Bid, Claim, Hold, Tranche
from oversold.plan import SQLS, Sql
from oversold.stores.endpoint import Endpoint
from oversold.stores.providers import close
from oversold.strategies import registry
from oversold.strategies.interface import BidStrategy, ConsumerStrategy, open_context

LANE_NUMBERS = itertools.count()  # no two lanes draw the same random numbers
Sell = Callable[..., "Sale"]  # (strategy or its class, capacity in fen, sql="postgres")

# A strategy that keeps its lock is to fail its test, not to hang it.
LOCK_TIMEOUT = {
    "postgres": ("SET lock_timeout TO '15s'",),
    "mariadb": ("SET innodb_lock_wait_timeout = 15", "SET lock_wait_timeout = 15"),
}


def uses_sql(name: str) -> bool:
    """Return whether a built-in strategy runs on the SQL server, and so on both of them."""
    return "sql" in registry.load(name).stores


# Every built-in strategy on every server that it runs on.
VARIANTS: list[tuple[str, Sql]] = [
    (name, sql) for name in registry.BID_STRATEGIES for sql in (SQLS if uses_sql(name) else SQLS[:1])
]


def variant_id(variant: tuple[str, Sql]) -> str:
    """Name a variant in a test's id."""
    name, sql = variant
    return f"{name}@{sql}" if uses_sql(name) else name


def placed(endpoints: Mapping[str, Endpoint], stores: frozenset[str], sql: Sql) -> dict[str, Endpoint]:
    """Return the endpoints that a strategy with these stores uses, by the names it knows them by."""
    servers = {store: "mariadb" if store == "sql" and sql == "mariadb" else store for store in stores}
    return {store: endpoints[server] for store, server in servers.items()}


class Sale:
    """One tranche under one strategy: the coordinator's instance, the lanes' instances, and its bids."""

    def __init__(
        self,
        kind: type[BidStrategy],
        tranche: Tranche,
        endpoints: Mapping[str, Endpoint],
        stack: ExitStack,
        sql: Sql = "postgres",
    ) -> None:
        self.tranche = tranche
        self._kind, self._stack, self._sql = kind, stack, sql
        self._endpoints = placed(endpoints, kind.stores, sql)
        self._bids = 0
        self.own = self.lane()
        self.own.open(tranche)

    def lane(self, rtt_s: float = 0.0) -> BidStrategy:
        """Return one more instance with connections of its own."""
        return self.lane_and_clients(rtt_s)[0]

    def lane_and_clients(self, rtt_s: float = 0.0) -> tuple[BidStrategy, dict[str, Any]]:
        """Return one more instance, and the clients that it has."""
        context, clients = open_context(
            self._endpoints, self._kind.stores, SystemClock(), rtt_s, "lane", next(LANE_NUMBERS)
        )
        for store, client in clients.items():
            self._stack.callback(self._close, self._endpoints[store], client)
        if "sql" in clients:
            for statement in LOCK_TIMEOUT[self._sql]:
                clients["sql"].exec_driver_sql(statement)
            clients["sql"].commit()
        return self._kind(context), clients

    @staticmethod
    def _close(endpoint: Endpoint, client: Any) -> None:
        with suppress(Exception):  # a test may have cut or closed it
            close(endpoint.store, client)

    def bid(self, amount_fen: int, user: str = "user") -> Bid:
        """Return a bid that nobody has made yet."""
        self._bids += 1
        return Bid(f"{self.tranche.tranche_id}-{self._bids:06d}", self.tranche.tranche_id, user, amount_fen)

    def reserve(self, amount_fen: int) -> tuple[Bid, Hold]:
        """Make a bid and try to hold it."""
        bid = self.bid(amount_fen)
        return bid, self.own.reserve(bid)

    @property
    def claim(self) -> Claim:
        """What the strategy says of its stock."""
        return self.own.status(self.tranche.tranche_id)

    def consume(self) -> None:
        """Keep the strategy's consumer running until the test is over, in a thread with its own connections."""
        consumer = self.lane()
        assert isinstance(consumer, ConsumerStrategy)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                consumer.consume(self.tranche.tranche_id, 0.05)

        thread = threading.Thread(target=serve)
        self._stack.callback(thread.join)
        self._stack.callback(over.set)
        thread.start()
