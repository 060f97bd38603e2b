"""A tranche on sale in a contract test: a strategy on real servers, with as many lanes as the test wants."""

from __future__ import annotations

import itertools
import secrets
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

from oversold.clock import SystemClock
from oversold.conformance.rules import LOCK_TIMEOUT, asked, in_transaction, placed, rule
from oversold.model import HOLD_VERDICTS, Bid, Claim, Hold, Tranche
from oversold.plan import Sql
from oversold.stores.endpoint import Endpoint
from oversold.stores.providers import close
from oversold.strategies.interface import BidStrategy, ConsumerStrategy, open_context

LANE_NUMBERS = itertools.count()  # no two lanes draw the same random numbers
Offer = Callable[..., "Sale"]  # (capacity_fen, unit_fen=1)


class Lane:
    """One app-server worker: an instance of the strategy with connections of its own. Its answers are checked."""

    def __init__(self, strategy: BidStrategy, clients: Mapping[str, Any]) -> None:
        self.strategy = strategy
        self._clients = clients

    def open(self, tranche: Tranche) -> None:
        """Put the stock into the store."""
        asked("open", partial(self.strategy.open, tranche))

    def reserve(self, bid: Bid) -> Hold:
        """Try to hold the bid's amount."""
        __tracebackhide__ = True
        answer = asked("reserve", partial(self.strategy.reserve, bid))
        fine = isinstance(answer, Hold) and answer.verdict in HOLD_VERDICTS
        wanted = f"`reserve` answers a Hold with one of {', '.join(HOLD_VERDICTS)}."
        rule(fine, wanted, f"it answered {answer!r}")
        return answer

    def confirm(self, bid: Bid, hold: Hold) -> bool:
        """Make the hold final."""
        __tracebackhide__ = True
        return self._true_or_false("confirm", asked("confirm", partial(self.strategy.confirm, bid, hold)))

    def release(self, bid: Bid, hold: Hold) -> bool:
        """Give the hold back."""
        __tracebackhide__ = True
        return self._true_or_false("release", asked("release", partial(self.strategy.release, bid, hold)))

    def status(self, tranche_id: str) -> Claim:
        """Say what the strategy believes."""
        __tracebackhide__ = True
        answer = asked("status", partial(self.strategy.status, tranche_id))
        fine = isinstance(answer, Claim) and answer.status in {"open", "full"}
        fine = fine and (answer.remaining_fen is None or type(answer.remaining_fen) is int)
        rule(fine, "`status` answers a Claim: open or full, and whole fen or None.", f"it answered {answer!r}")
        return answer

    @property
    def holds_transaction(self) -> bool:
        """Whether its SQL connection has left a transaction open."""
        return "sql" in self._clients and in_transaction(self._clients["sql"])

    @staticmethod
    def _true_or_false(name: str, answer: Any) -> bool:
        __tracebackhide__ = True
        rule(isinstance(answer, bool), f"`{name}` answers True or False.", f"it answered {answer!r}")
        return bool(answer)


class Sale:
    """One tranche under one strategy: the coordinator's lane, further lanes, and its bids. `stack` ends it."""

    def __init__(
        self,
        kind: type[BidStrategy],
        servers: Mapping[str, Endpoint],
        sql: Sql,
        stack: ExitStack,
        capacity_fen: int,
        unit_fen: int = 1,
    ) -> None:
        self.tranche = Tranche(f"t{secrets.token_hex(4)}-1", capacity_fen, unit_fen)
        self._kind, self._sql, self._stack = kind, sql, stack
        self._endpoints = placed(servers, frozenset(kind.stores), sql)
        self._bids = itertools.count(1)
        self.own = self.lane()
        self.own.open(self.tranche)
        if isinstance(self.own.strategy, ConsumerStrategy):
            self._consume()

    def lane(self, rtt_s: float = 0.0) -> Lane:
        """Return one more lane, with a network delay before each of its commands."""
        stores = frozenset(self._kind.stores)
        context, clients = open_context(
            self._endpoints, stores, SystemClock(), rtt_s, "contract", next(LANE_NUMBERS)
        )
        for store, client in clients.items():
            self._stack.callback(close, self._endpoints[store].store, client)
        if "sql" in clients:
            for statement in LOCK_TIMEOUT[self._sql]:
                clients["sql"].exec_driver_sql(statement)
            clients["sql"].commit()
        return Lane(self._kind(context), clients)

    def bid(self, amount_fen: int) -> Bid:
        """Return a bid that nobody has made yet."""
        number = next(self._bids)
        return Bid(
            f"{self.tranche.tranche_id}-{number:06d}", self.tranche.tranche_id, f"user-{number}", amount_fen
        )

    def taken(self, amount_fen: int) -> tuple[Bid, Hold]:
        """Make a bid that fits, with nobody else about: it must be held."""
        __tracebackhide__ = True
        bid = self.bid(amount_fen)
        hold = self.own.reserve(bid)
        rule(
            hold.verdict == "ok",
            "With nobody else about, a bid that fits into what is left is held.",
            f"a bid of {amount_fen} fen was told {hold.verdict}; {self.said}",
        )
        return bid, hold

    def refused(self, amount_fen: int) -> None:
        """Make a bid that does not fit: it must be told so."""
        __tracebackhide__ = True
        hold = self.own.reserve(self.bid(amount_fen))
        rule(
            hold.verdict == "sold_out",
            "A bid that does not fit into what is left is told sold_out.",
            f"a bid of {amount_fen} fen was told {hold.verdict}; {self.said}",
        )

    def left(self, wanted_fen: int, after: str, lane: Lane | None = None) -> None:
        """Look at the strategy's own claim: so much must be left, and the tranche full at zero only."""
        __tracebackhide__ = True
        claim = (lane or self.own).status(self.tranche.tranche_id)
        told = "" if claim.remaining_fen is None else f" with {claim.remaining_fen} fen left"
        happened = f"after {after}, `status` says {claim.status}{told}, where {wanted_fen} fen are left"
        rule(claim.remaining_fen in {None, wanted_fen}, "`status` says what is left, to the fen.", happened)
        status = "open" if wanted_fen else "full"
        rule(claim.status == status, "`status` says full when all is held, and open otherwise.", happened)

    @property
    def said(self) -> str:
        """What the strategy says of its stock, in words."""
        return f"`status` says {self.own.status(self.tranche.tranche_id)!r} of {self.tranche.capacity_fen} fen"

    def _consume(self) -> None:
        """Keep the strategy's consumer running until the test is over, in a thread with its own connections."""
        consumer = self.lane().strategy
        assert isinstance(consumer, ConsumerStrategy)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                consumer.consume(self.tranche.tranche_id, 0.05)

        thread = threading.Thread(target=serve, daemon=True)
        self._stack.callback(thread.join, 5)
        self._stack.callback(over.set)
        thread.start()
