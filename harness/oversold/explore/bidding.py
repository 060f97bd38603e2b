"""Bidders under the explorer: what each of them does, and the evidence that an execution leaves for the
checkers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from oversold.checkers import CHECKERS
from oversold.evidence import (
    HISTORY,
    NEVER,
    Claims,
    Evidence,
    HoldEnd,
    Ledger,
    Outcome,
    RefusedBy,
    StatusLog,
)
from oversold.explore.actor import Actor
from oversold.explore.crowd import SHARE_FEN, Crowd
from oversold.explore.escapes import Memory, watching
from oversold.explore.execution import Chooser, Execution
from oversold.explore.operation import Operation
from oversold.explore.subject import Code, Scenario
from oversold.explore.world import Seat, World
from oversold.model import Bid, Claim, Finding, Hold, Tranche
from oversold.plan import Kind
from oversold.platform.faults import connection_lost, told
from oversold.schedule import Choice
from oversold.strategies.interface import BidStrategy, ConsumerStrategy, Context

TAPS = 2  # who gets no answer taps once more
RETRIES = 2  # the platform repeats a confirm or a release that got no answer

OUTCOMES = {"sold_out": Outcome.SOLD_OUT, "busy": Outcome.BUSY, "error": Outcome.ERROR, "unknown": Outcome.UNKNOWN}
# Safety: what no schedule may break. The rest is told as well, and asked for by name.
SAFETY = ("oversubscription", "duplicate_order", "phantom_order", "lost_order")
NOT_SEEN = ("false_full",)  # there is no FULL mark here: it is the platform's, not the strategy's


@dataclass
class Tap:
    """One tap of one bidder for one bid; times are steps."""

    bidder: int
    bid: int
    attempt: int
    t_sent: int
    outcome: Outcome = Outcome.UNKNOWN
    hold: HoldEnd = HoldEnd.NONE
    refused_by: RefusedBy = RefusedBy.NOBODY
    failed_step: int = 0
    final: bool = False
    t_reserved: int = NEVER
    t_done: int = NEVER


@dataclass
class Books:
    """What one execution leaves: taps, orders, and what its bidders' own code raised."""

    taps: list[Tap] = field(default_factory=list)
    orders: list[tuple[int, int]] = field(default_factory=list)  # bid, step
    refused: list[int] = field(default_factory=list)
    raised: list[tuple[str, str]] = field(default_factory=list)  # who, what
    steps: int = 0


class Sale:
    """One tranche under one strategy, sold again in every execution."""

    kind: Kind = "bids"
    safety: tuple[str, ...] = SAFETY

    def __init__(
        self, strategy: type[BidStrategy], world: World, sale_id: str, crowd: Crowd, seed: int, code: Code
    ) -> None:
        self._strategy, self.world, self.crowd, self._seed = strategy, world, crowd, seed
        self.strategy_name, self.fingerprint, self.versions = code.name, code.fingerprint, code.versions
        self._tranche = Tranche(sale_id, crowd.capacity_fen, SHARE_FEN)
        self.books = Books()
        self._execution: Execution | None = None
        self._own = world.seats[-1]
        self._memory = Memory(strategy)
        self._open()

    def _open(self) -> None:
        with watching():
            strategy = self._made(self._own)
            strategy.open(self._tranche)
        self._memory.compare()
        self._teller = strategy
        self.world.remember()

    def _made(self, seat: Seat) -> BidStrategy:
        return self._strategy(Context(seat.clients, seat.clock, seat.random(self._seed)))

    def play(self, chooser: Chooser, budget: int) -> Execution:
        """Run one execution; `books` has what came of it."""
        self.world.reset()
        self.books = Books()
        seats = self.world.seats
        actors = [
            Actor(f"bidder {number + 1}", seats[number].port, self._bidder(number))
            for number in range(self.crowd.bidders)
        ]
        if isinstance(self._teller, ConsumerStrategy):
            seat = seats[self.crowd.bidders]
            actors.append(Actor("consumer", seat.port, self._consumer(seat), daemon=True, restarts=True))
        execution = Execution(
            actors,
            chooser,
            budget,
            nobody=self.world.events,
            stuck=self.world.stuck,
            died=self.world.buried,
            memory=self._memory,
        )
        self._execution = execution
        execution.run()
        self.books.steps = len(execution.steps) + 1
        self.books.raised += [(actor.name, told(actor.error)) for actor in actors if actor.error is not None]
        return execution

    # What the actors do

    def _consumer(self, seat: Seat) -> Callable[[], Callable[[], None]]:
        def born() -> Callable[[], None]:
            strategy = self._made(seat)
            assert isinstance(strategy, ConsumerStrategy)

            def live() -> None:
                while True:
                    strategy.consume(self._tranche.tranche_id, 1.0)

            return live

        return born

    def _bidder(self, number: int) -> Callable[[], Callable[[], None]]:
        seat = self.world.seats[number]

        def born() -> Callable[[], None]:
            strategy = self._made(seat)
            self.books.taps = [tap for tap in self.books.taps if tap.bidder != number]  # of who is to come later

            def live() -> None:
                mine, actor = strategy, seat.port.actor
                assert actor is not None
                for bid in self.crowd.bids_of(number):
                    if actor.hit:  # in the bid before
                        actor.hit = False
                        mine = self._renewed(seat)
                    mine = self._bid(mine, number, bid)

            return live

        return born

    def _bid(self, mine: BidStrategy, bidder: int, number: int) -> BidStrategy:
        """Make one bid; return the instance that made it in the end: another one after a connection failed."""
        seat, tranche_id = self.world.seats[bidder], self._tranche.tranche_id
        bid = Bid(f"bid-{number + 1}", tranche_id, f"user-{bidder + 1}", self.crowd.wanted_fen(number))
        for attempt in range(1, TAPS + 1):
            tap = Tap(bidder, number, attempt, self._now)
            self.books.taps.append(tap)
            self._tap(mine, bid, tap)
            tap.t_done = self._now
            if tap.outcome != Outcome.UNKNOWN or attempt == TAPS:
                break
            mine = self._renewed(seat)
        tap.final = True
        return mine

    def _renewed(self, seat: Seat) -> BidStrategy:
        """Throw suspect connections away, and make a new instance over new ones, unseen."""
        actor, seat.port.actor = seat.port.actor, None
        self.world.clean(seat)
        strategy = self._made(seat)
        seat.port.actor = actor
        return strategy

    def _tap(self, strategy: BidStrategy, bid: Bid, tap: Tap) -> None:
        seat = self.world.seats[tap.bidder]
        try:
            hold = strategy.reserve(bid)
        except Exception as error:
            if not self._excused(seat, error):
                raise
            tap.refused_by = RefusedBy.STRATEGY
            return
        tap.t_reserved = self._now
        if not isinstance(hold, Hold):
            raise TypeError(f"reserve answered {hold!r:.60} instead of a Hold")
        if hold.verdict != "ok":
            tap.outcome, tap.refused_by = OUTCOMES[hold.verdict], RefusedBy.STRATEGY
            return
        tap.hold = HoldEnd.LIVE
        if self._steps_pass(tap):
            self._confirm(strategy, bid, hold, tap)
        else:
            tap.failed_step, tap.refused_by, tap.outcome = 1, RefusedBy.STEP, Outcome.ERROR
            self._release(strategy, bid, hold, tap)

    def _steps_pass(self, tap: Tap) -> bool:
        """Go through the pipeline's other steps; one of them may fail where faults are explored."""
        if self._execution is None or not self._execution.budget:
            return True
        port = self.world.seats[tap.bidder].port
        return port.ask(Operation("the pipeline's other steps", "steps"), faults=("step_fails",)) != "step_fails"

    def _confirm(self, strategy: BidStrategy, bid: Bid, hold: Hold, tap: Tap) -> None:
        confirmed = self._asked(tap, strategy, lambda mine: mine.confirm(bid, hold))
        if confirmed is None:
            return
        if not confirmed:
            self._release(strategy, bid, hold, tap)
            tap.outcome, tap.refused_by = Outcome.ERROR, RefusedBy.STRATEGY
            return
        self._order(tap)
        tap.hold, tap.outcome = HoldEnd.CONFIRMED, Outcome.OK

    def _order(self, tap: Tap) -> None:
        """Write the order row; the ledger takes one a bid. It is the explorer's own, and loses nothing."""
        port = self.world.seats[tap.bidder].port
        row = frozenset({f"ledger/{tap.bid + 1}"})
        choice: Choice = port.ask(
            Operation(f"order of {self.crowd.name(tap.bid)}", "order", writes=row), faults=()
        )
        if any(bid == tap.bid for bid, _ in self.books.orders):
            self.books.refused.append(tap.bid)
        else:
            self.books.orders.append((tap.bid, self._now))
        sold = sum(self.crowd.wanted_fen(bid) for bid, _ in self.books.orders) // SHARE_FEN
        port.reply(f"{sold} of {self.crowd.capacity_bids} sold", changed=True)
        if choice == "crash_after":
            port.crash()

    def _release(self, strategy: BidStrategy, bid: Bid, hold: Hold, tap: Tap) -> None:
        released = self._asked(tap, strategy, lambda mine: mine.release(bid, hold))
        if released is not None:
            tap.hold = HoldEnd.RELEASED if released else HoldEnd.LEAKED

    def _asked(self, tap: Tap, mine: BidStrategy, call: Callable[[BidStrategy], bool]) -> bool | None:
        """Return what a call that may be repeated answers; None when no answer comes at all.

        It is repeated over new connections: on the one that failed a transaction may be open that cannot go on.
        """
        seat = self.world.seats[tap.bidder]
        for again in range(RETRIES):
            if again:
                mine = self._renewed(seat)
            try:
                return call(mine)
            except Exception as error:
                if not self._excused(seat, error):
                    raise
        return None

    @staticmethod
    def _excused(seat: Seat, error: Exception) -> bool:
        """Tell whether an exception comes of a connection that failed, rather than of the strategy's own code."""
        actor = seat.port.actor
        return connection_lost(error) or (actor is not None and actor.hit)

    @property
    def _now(self) -> int:
        return len(self._execution.steps) if self._execution else 0

    # What came of it

    def scenario(self) -> Scenario:
        """Return the numbers that it runs with."""
        return self.crowd.scenario

    @property
    def steps(self) -> int:
        """How many steps the last execution took, whole or not."""
        return self._now

    @property
    def raised(self) -> Sequence[tuple[str, str]]:
        """What the strategy's own code raised in the last execution: who, what."""
        return self.books.raised

    @property
    def doubts(self) -> frozenset[str]:
        """What its stores may have done that no schedule shows."""
        return self.world.doubts

    @property
    def moved(self) -> bool:
        """Whether anything was sold in the last execution."""
        return bool(self.books.orders)

    def step_of(self, check: str) -> int:
        """Return the step of the last execution at which a promise was broken: the order too many, or the last
        step."""
        sold_fen = 0
        for bid, step in self.books.orders:
            sold_fen += self.crowd.wanted_fen(bid)
            if check == "oversubscription" and sold_fen > self.crowd.capacity_fen:
                return step
        return self._now

    def evidence(self) -> Evidence:
        """Return what the last execution leaves for the checkers. Times are steps."""
        books, crowd = self.books, self.crowd
        history = np.zeros(len(books.taps), HISTORY)
        for row, tap in zip(history, books.taps, strict=True):
            row["bid"], row["attempt"], row["outcome"], row["hold"] = (
                tap.bid,
                tap.attempt,
                tap.outcome,
                tap.hold,
            )
            row["refused_by"], row["final"], row["failed_step"] = tap.refused_by, tap.final, tap.failed_step
            row["amount_fen"] = crowd.wanted_fen(tap.bid)
            row["t_intended"] = row["t_admitted"] = row["t_sent"] = tap.t_sent
            row["t_reserved"], row["t_done"] = tap.t_reserved, tap.t_done
        orders = [bid for bid, _ in books.orders]
        none = np.zeros(0, np.int64)
        return Evidence(
            tranche=self._tranche,
            min_bid_fen=SHARE_FEN,
            bid_amount_fen=np.array([crowd.wanted_fen(bid) for bid in range(crowd.bids)], np.int64),
            history=history,
            ledger=Ledger(
                np.array(orders, np.int64),
                np.array([crowd.wanted_fen(bid) for bid in orders], np.int64),
                np.array([step for _, step in books.orders], np.int64),
                np.array(books.refused, np.int64),
            ),
            status_log=StatusLog(none, np.zeros(0, np.bool_)),
            claims=Claims(none, none, np.zeros(0, np.bool_)),
            final_claim=self._claim(),
            t_end=books.steps,
        )

    def _claim(self) -> Claim | None:
        try:
            return self._teller.status(self._tranche.tranche_id)
        except Exception:  # noqa: BLE001 - a strategy that cannot say what is left says nothing
            return None

    def broken(self) -> list[Finding]:
        """Return the promises that the last execution has broken, by the checkers of the live runs."""
        evidence = self.evidence()
        checked = [check for check in CHECKERS if check.__name__ not in NOT_SEEN]
        return [finding for finding in (check(evidence) for check in checked) if finding.verdict == "fail"]
