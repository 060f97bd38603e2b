"""What the tests of the bid strategies share: tranches on sale."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

import pytest
from tests.sale import Sale, Sell

from oversold.model import Tranche
from oversold.plan import Sql
from oversold.stores.endpoint import Endpoint
from oversold.strategies import registry
from oversold.strategies.interface import BidStrategy, ConsumerStrategy


@pytest.fixture
def open_sale(endpoints: Mapping[str, Endpoint], new_tranche: Callable[[int], Tranche]) -> Iterator[Sell]:
    """Open a tranche of so many fen under a strategy; what it opened is closed after the test."""
    with ExitStack() as stack:

        def make(
            strategy: str | type[BidStrategy], capacity_fen: int, sql: Sql = "postgres", unit_fen: int = 1
        ) -> Sale:
            kind = registry.load(strategy) if isinstance(strategy, str) else strategy
            tranche = Tranche(new_tranche(capacity_fen).tranche_id, capacity_fen, unit_fen)
            return Sale(kind, tranche, endpoints, stack, sql)

        yield make


@pytest.fixture
def sell(open_sale: Sell) -> Sell:
    """The same, with the strategy's consumer running if it has one."""

    def make(
        strategy: str | type[BidStrategy], capacity_fen: int, sql: Sql = "postgres", unit_fen: int = 1
    ) -> Sale:
        sale = open_sale(strategy, capacity_fen, sql, unit_fen)
        if isinstance(sale.own, ConsumerStrategy):
            sale.consume()
        return sale

    return make
