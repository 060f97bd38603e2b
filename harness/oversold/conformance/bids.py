"""The contract of bid strategies: the rules of docs/strategies.md, each one a test on real private servers."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, ClassVar

import pytest

from oversold.conformance.rules import lacking, on_trial, rule
from oversold.conformance.sale import Lane, Offer, Sale
from oversold.errors import LimitError
from oversold.model import Bid
from oversold.plan import Sql
from oversold.stores.endpoint import Endpoint
from oversold.strategies.past_context import past_its_context

CAPACITY_FEN = 1_000
UNIT_FEN = 100
RACE_BIDS = 40  # of one unit each, for ten units
RACES = 3
RACE_RTT_S = 0.005  # so that the lanes' commands interleave


class BidStrategyContract:
    """Subclass it in a test file, and pytest runs one test for each rule:

        class TestMyStock(BidStrategyContract):
            strategy = MyStock

    `strategy` is a class, a name of `oversold list`, or "path.py:Class". A rule that your design breaks knowingly
    is taken out by `test_... = None`. `huge_fen` is the capacity of the test with huge amounts: lower it where a
    design cannot hold so many units. `lanes` is how many race.
    """

    __test__ = False  # what pytest collects are its subclasses
    strategy: ClassVar[Any] = None
    sql: ClassVar[Sql] = "postgres"
    lanes: ClassVar[int] = 8
    huge_fen: ClassVar[int] = 10**16

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        if "__test__" not in vars(cls):
            cls.__test__ = True

    @pytest.fixture
    def offer(self, oversold_stores: Mapping[str, Endpoint]) -> Iterator[Offer]:
        """Open a tranche of so many fen under the strategy: offer(capacity_fen, unit_fen=1)."""
        with offering(type(self), oversold_stores) as offer:
            yield offer

    def test_has_the_interface(self) -> None:
        """It has open, reserve, confirm, release and status, and says which stores it uses."""
        lacks = lacking(on_trial(type(self), "bids"), "bids")
        rule(not lacks, "A bid strategy has five methods and `stores`; see docs/strategies.md.", "; ".join(lacks))

    def test_takes_time_and_chance_from_its_context(self) -> None:
        """It uses context.clock and context.random, not `time`, `random` or `threading`."""
        used = past_its_context(on_trial(type(self), "bids"))
        text = "A strategy takes time and random numbers from its context, and starts no threads."
        rule(not used, text, "; ".join(f"it uses {name}: {mend}" for name, mend in used))

    def test_takes_what_fits(self, offer: Offer) -> None:
        """A bid that fits takes its amount, and no more."""
        sale = offer(CAPACITY_FEN)
        sale.left(1000, "open")
        sale.taken(300)
        sale.left(700, "a bid of 300 fen was held")

    def test_refuses_what_does_not_fit(self, offer: Offer) -> None:
        """A bid that is too big is sold out and takes nothing; a smaller one still fits."""
        sale = offer(CAPACITY_FEN)
        sale.refused(1001)
        sale.left(1000, "a bid of 1001 fen was refused")
        sale.taken(1)
        sale.refused(1000)
        sale.left(999, "a bid of 1 fen was held and one of 1000 fen refused")

    def test_is_full_when_all_is_held(self, offer: Offer) -> None:
        """The last share can be had; then the tranche is full, and stays at zero."""
        sale = offer(CAPACITY_FEN)
        sale.taken(999)
        sale.taken(1)
        sale.left(0, "all 1000 fen were held")
        sale.refused(1)
        sale.left(0, "all 1000 fen were held and one more bid refused")

    def test_gives_back_once(self, offer: Offer) -> None:
        """A release gives the amount back; another release of the same hold, by any lane, changes nothing."""
        sale = offer(CAPACITY_FEN)
        (bid, hold), _ = sale.taken(600), sale.taken(400)
        other = sale.lane()
        self._released(sale.own, bid, hold)
        sale.left(600, "600 of 1000 fen were given back")
        for lane in (sale.own, other):
            self._released(lane, bid, hold)
            sale.left(600, "the same hold of 600 fen was released once more")
        sale.taken(600)

    def test_confirms_again_and_again(self, offer: Offer) -> None:
        """A hold can be confirmed, and confirmed again by any lane; the stock stays as it is."""
        sale = offer(CAPACITY_FEN)
        bid, hold = sale.taken(250)
        for lane, often in ((sale.own, "once"), (sale.own, "twice"), (sale.lane(), "again, by another lane")):
            text = "`confirm` of a valid hold answers True, however often it is repeated."
            rule(lane.confirm(bid, hold), text, f"confirmed {often}, it answered False")
            sale.left(750, f"a hold of 250 fen was confirmed {often}")

    def test_keeps_tranches_apart(self, offer: Offer) -> None:
        """What happens to one tranche does not touch another one, even by an instance that serves both."""
        one, other = offer(CAPACITY_FEN), offer(500)
        bid, hold = one.taken(1000)
        other.left(500, "another tranche was sold")
        other.taken(400)
        self._released(one.own, bid, hold)
        one.left(1000, "its hold was released, while 400 fen of another tranche were held")
        other.left(100, "another tranche's hold was released", one.own)

    def test_lanes_share_one_stock(self, offer: Offer) -> None:
        """What one lane takes, another lane that was there before knows at once, and finds nothing locked."""
        sale = offer(CAPACITY_FEN)
        other = sale.lane()
        sale.left(1000, "open", other)
        sale.taken(600)
        sale.left(400, "another lane took 600 fen", other)
        text = "All lanes see the same stock; a strategy keeps no state but in a store, and leaves nothing locked."
        told = other.reserve(sale.bid(500)).verdict
        rule(told == "sold_out", text, f"after one lane took 600 of 1000 fen, another was told {told} for 500")
        told = other.reserve(sale.bid(400)).verdict
        rule(told == "ok", text, f"after one lane took 600 of 1000 fen, another was told {told} for 400")

    def test_leaves_no_transaction_open(self, offer: Offer) -> None:
        """After each call its SQL connection is idle."""
        sale = offer(CAPACITY_FEN)
        bid, late = sale.bid(600), sale.bid(400)
        hold = sale.own.reserve(bid)
        self._is_idle(sale.own, "reserve, held")
        sale.own.reserve(sale.bid(1001))
        self._is_idle(sale.own, "reserve, sold out")
        sale.own.confirm(bid, hold)
        self._is_idle(sale.own, "confirm")
        sale.own.release(late, sale.own.reserve(late))
        self._is_idle(sale.own, "release")
        sale.own.status(sale.tranche.tranche_id)
        self._is_idle(sale.own, "status")

    def test_counts_huge_amounts_to_the_fen(self, offer: Offer) -> None:
        """Amounts beyond 2^53, which a floating-point number cannot hold, are exact."""
        sale = offer(self.huge_fen)
        bid, hold = sale.taken(self.huge_fen - 1)
        sale.left(1, f"{self.huge_fen - 1} of {self.huge_fen} fen were held")
        sale.refused(2)
        self._released(sale.own, bid, hold)
        sale.left(self.huge_fen, "all of it was given back")
        sale.refused(self.huge_fen + 1)

    def test_a_race_sells_no_more_than_there_is(self, offer: Offer) -> None:
        """Several lanes that bid at once never hold more than the capacity, and something is sold."""
        for _ in range(RACES):
            sale = offer(CAPACITY_FEN, UNIT_FEN)
            told = self._race(sale)
            happened = (
                f"{self.lanes} lanes made {RACE_BIDS} bids of {UNIT_FEN} fen for {CAPACITY_FEN}: {dict(told)}"
            )
            text = "However many bid at once, no more is held than there is."
            rule(told["ok"] * UNIT_FEN <= CAPACITY_FEN, text, happened)
            rule(told["ok"] > 0, "In a race somebody wins.", happened)
            rule(set(told) <= {"ok", "sold_out", "busy"}, "A race is no error.", happened)
            sale.left(CAPACITY_FEN - told["ok"] * UNIT_FEN, f"a race ({happened})")

    def test_a_race_of_releases_gives_back_once(self, offer: Offer) -> None:
        """Several lanes that release the same hold at once give it back once."""
        for _ in range(RACES):
            sale = offer(CAPACITY_FEN, UNIT_FEN)
            (bid, hold), _ = sale.taken(UNIT_FEN), sale.taken(UNIT_FEN)
            lanes = [sale.lane(RACE_RTT_S) for _ in range(self.lanes)]
            with ThreadPoolExecutor(self.lanes) as threads:
                list(threads.map(partial(_release, bid=bid, hold=hold), lanes))
            sale.left(CAPACITY_FEN - UNIT_FEN, f"{self.lanes} lanes released the same hold at once")

    def _race(self, sale: Sale) -> Counter[str]:
        lanes = [sale.lane(RACE_RTT_S) for _ in range(self.lanes)]
        bids = [sale.bid(UNIT_FEN) for _ in range(RACE_BIDS)]
        gate = threading.Barrier(self.lanes)

        def drive(number: int) -> list[str]:
            gate.wait(10)
            return [lanes[number].reserve(bid).verdict for bid in bids[number :: self.lanes]]

        with ThreadPoolExecutor(self.lanes) as threads:
            return Counter(verdict for told in threads.map(drive, range(self.lanes)) for verdict in told)

    @staticmethod
    def _released(lane: Lane, bid: Bid, hold: Any) -> None:
        __tracebackhide__ = True
        text = "`release` answers True when the stock has the amount again, however often it is repeated."
        rule(lane.release(bid, hold), text, f"for a hold of {bid.amount_fen} fen it answered False")

    @staticmethod
    def _is_idle(lane: Lane, after: str) -> None:
        __tracebackhide__ = True
        text = "A strategy commits or rolls back before it returns."
        rule(not lane.holds_transaction, text, f"after {after} its SQL connection has an open transaction")


@contextmanager
def offering(contract: type[BidStrategyContract], servers: Mapping[str, Endpoint]) -> Iterator[Offer]:
    """Yield a function that opens a tranche under the strategy of a contract; all is closed afterwards."""
    kind = on_trial(contract, "bids")
    if lacking(kind, "bids"):
        pytest.skip(f"{kind.__name__} is no strategy yet: see test_has_the_interface")
    with ExitStack() as stack:

        def one(capacity_fen: int, unit_fen: int = 1) -> Sale:
            try:
                return Sale(kind, servers, contract.sql, stack, capacity_fen, unit_fen)
            except LimitError as error:  # a design may say that it is not made for this
                pytest.skip(f"the strategy says: {error}")

        yield one


def _release(lane: Lane, bid: Bid, hold: Any) -> bool:
    return lane.release(bid, hold)
