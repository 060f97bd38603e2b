"""The platform of one server process, whichever tranches it is asked for: opens them, decides bids, reports."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Any

import psycopg

from oversold.assignment import Assignment
from oversold.bid_plan import LEDGER_CONNECTIONS, BidPlan
from oversold.clock import SystemClock, now_ns
from oversold.errors import LimitError
from oversold.evidence import Outcome, RefusedBy
from oversold.model import Bid, Claim, Tranche
from oversold.platform.faults import Faults, connection_lost, told
from oversold.platform.ledger import LedgerPool
from oversold.platform.pipeline import BidPipeline, StrategyError, Tap
from oversold.serving.books import AnotherBidError, Books, Word
from oversold.serving.lanes import Lane, LaneQueue, NoLaneError
from oversold.serving.offers import BadWishError, Offer, Offers, plan_of
from oversold.stores.endpoint import Endpoint

LANE_S = 1.0  # there is a lane for each thread, so who waits for one waits for a store to come back
DESK_S = 5.0
FOREIGN = 0  # the index of a bid that the plan does not know: nothing but the recorder reads it
WORDS: dict[Outcome, Word] = {
    Outcome.OK: "confirmed",
    Outcome.SOLD_OUT: "sold_out",
    Outcome.BUSY: "busy",
    Outcome.ERROR: "error",
    Outcome.UNKNOWN: "unknown",
}


class FailedError(Exception):
    """The strategy raised or its store is gone: the text says how, in one line."""


class Shop:
    """One server process's platform. All methods may be called from any thread.

    Args:
        assignment: the plan with its lanes, and where the stores are; its `run_id` is not used.
        process: which of the processes this is.

    Raises:
        Exception: a store does not answer; the driver's own error says which.
    """

    def __init__(self, assignment: Assignment[BidPlan], process: int) -> None:
        self._plan = assignment.plan
        self._clock = SystemClock()
        self.faults = Faults()
        books_at = Endpoint(**assignment.endpoints["ledger"])
        self._pool = LedgerPool(books_at, self._clock, self._plan.rtt_s, LEDGER_CONNECTIONS)
        self._books = Books(self._pool)
        count = self._plan.lanes
        self._lanes = LaneQueue(assignment, process, range(count), self._clock, LANE_S)
        # Opening and status do not wait behind the bids.
        self._desk = LaneQueue(assignment, process, range(count, count + 1), self._clock, DESK_S)
        self._offers = Offers(self._plan, books_at, self._pool, self._books, self._clock)

    @property
    def plan(self) -> BidPlan:
        """The settings that every tranche is sold under, but for its own capacity and unit."""
        return self._plan

    def open(self, tranche: Tranche) -> None:
        """Put a tranche up for sale.

        Raises:
            BadWishError: its numbers do not fit the plan or the strategy.
            books.TakenError: there is one of this name.
            FailedError.
        """
        plan_of(self._plan, tranche)
        with self._desk.lane() as lane:
            try:
                with self._books.opening(tranche):
                    self._asked(lane, "open", lambda: lane.strategy.open(tranche))
            except LimitError as error:
                raise BadWishError(str(error)) from error

    def bid(self, bid: Bid) -> Word:
        """Decide a bid, and wait for that. Repeated, it has the same answer: `take` says when it may try again.

        Raises:
            NoTrancheError, BadWishError.
        """
        return self.take(bid) or self.decide(bid)

    def take(self, bid: Bid) -> Word | None:
        """Take a bid for deciding: None, and `decide` must follow; or what has become of it already.

        A bid that was told sold_out or busy may try again. One that is being decided is `pending` for all others.

        Raises:
            NoTrancheError, BadWishError.
        """
        offer = self._offer_for(bid)
        try:
            if offer.status.full:
                return (
                    self._books.known(bid) or "sold_out"
                )  # the crowd that comes too late costs no more than this
            return self._books.claim(bid)
        except AnotherBidError as error:
            text = f"bid_id {bid.bid_id} belongs to another bid: give each wish a bid_id of its own"
            raise BadWishError(text) from error

    def decide(self, bid: Bid) -> Word:
        """Decide a bid that was taken, and write the answer down for all processes."""
        word: Word = "unknown"
        try:
            word = self._decide(self._offer_for(bid), bid)
        finally:
            try:
                self._books.settle(bid.bid_id, word)
            except (psycopg.Error, OSError):
                self.faults.add("store", "platform", "the ledger's server did not answer")
        return word

    def word(self, tranche_id: str, bid_id: str) -> Word | None:
        """Return what has become of a bid; None where nothing is known of it.

        Raises:
            NoTrancheError.
        """
        self._offers.get(tranche_id)
        return self._books.word(tranche_id, bid_id)

    def state(self, tranche_id: str) -> dict[str, Any]:
        """Return what the tranche's page says: tranche_id, status, remaining_fen (None: unknown), capacity_fen.

        Raises:
            NoTrancheError, FailedError.
        """
        offer = self._offers.get(tranche_id)
        with self._desk.lane() as lane:
            claim = self._asked(lane, "status", lambda: lane.strategy.status(tranche_id))
        if not isinstance(claim, Claim):
            raise FailedError(f"status answered {claim!r:.80} instead of a Claim")
        # Bidders are turned away by the mark, whatever the strategy says.
        full = offer.status.full or claim.status == "full"
        return {
            "tranche_id": tranche_id,
            "status": "full" if full else "open",
            "remaining_fen": claim.remaining_fen,
            "capacity_fen": offer.tranche.capacity_fen,
        }

    def orders(self, tranche_id: str) -> list[dict[str, str | int]]:
        """Return the ledger's orders, oldest first.

        Raises:
            NoTrancheError.
        """
        self._offers.get(tranche_id)
        return self._books.orders(tranche_id)

    def close(self) -> None:
        """Close all connections."""
        self._offers.close()
        self._lanes.close()
        self._desk.close()
        self._pool.close()

    def _decide(self, offer: Offer, bid: Bid) -> Word:
        index, drawn = offer.draws.of(bid.bid_id)
        tap = Tap(max(index, FOREIGN), bid, 0, now_ns(), *drawn)
        try:
            self._run(offer, tap)
        except NoLaneError:
            return "busy"
        if tap.outcome == Outcome.ERROR and tap.refused_by == RefusedBy.STEP:
            return "declined"
        return WORDS[tap.outcome]

    def _run(self, offer: Offer, tap: Tap) -> None:
        with self._lanes.lane() as lane:
            pipeline = BidPipeline(
                offer.plan, lane.strategy, self._pool, offer.status, offer.progress, self._clock, self.faults
            )
            try:
                pipeline.run(tap)
            except StrategyError as error:
                self._mend(lane, lost=error.lost)
            except (psycopg.Error, OSError):
                self.faults.add("store", "platform", "the ledger's server did not answer")
            except Exception:  # noqa: BLE001 - a fault of the harness must not end the server
                traceback.print_exc(file=sys.stderr)
                self.faults.add("raised", "harness", traceback.format_exc(limit=-1).replace("\n", " | "))

    def _asked(self, lane: Lane, phase: str, call: Callable[[], Any]) -> Any:
        """Call the strategy outside the pipeline; whatever it raises becomes a fault and a FailedError."""
        try:
            return call()
        except LimitError:
            raise
        except Exception as error:
            lost = connection_lost(error)
            self.faults.add("store" if lost else "raised", phase, told(error))
            self._mend(lane, lost=lost)
            raise FailedError(f"{phase}: {told(error)}") from error

    @staticmethod
    def _mend(lane: Lane, *, lost: bool) -> None:
        if lost:
            lane.broken = True
        else:
            lane.reset()

    def _offer_for(self, bid: Bid) -> Offer:
        offer = self._offers.get(bid.tranche_id)
        unit_fen = offer.tranche.unit_fen
        if bid.amount_fen % unit_fen:
            raise BadWishError(
                f"amount_fen {bid.amount_fen} is no multiple of the tranche's unit of {unit_fen} fen"
            )
        return offer
