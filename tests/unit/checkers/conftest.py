"""A small builder of literal histories, so that a test reads as the story of a run."""

from typing import Self

import numpy as np
import pytest

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
from oversold.model import Claim, Tranche


class Story:
    """Taps, orders and flag changes in ns; a bid's amount in the plan is that of its first tap."""

    def __init__(self, capacity_fen: int = 1000, min_bid_fen: int = 1, t_end: int = 1000) -> None:
        self.tranche = Tranche("t", capacity_fen)
        self.min_bid_fen, self.t_end = min_bid_fen, t_end
        self.plan: dict[int, int] = {}
        self.taps: list[dict[str, int]] = []
        self.orders: list[tuple[int, int, int]] = []
        self.refused: list[int] = []
        self.flags: list[tuple[int, bool]] = []

    def tap(self, bid: int, amount_fen: int = 100, outcome: Outcome = Outcome.OK, **columns: int) -> Self:
        """Write one row; times that are not given did not happen, but that it was admitted when meant."""
        self.plan.setdefault(bid, amount_fen)
        row = dict.fromkeys(HISTORY.names or (), 0)
        row |= dict.fromkeys(("t_intended", "t_admitted", "t_sent", "t_reserved", "t_done"), NEVER)
        row |= {"bid": bid, "attempt": 1, "final": 1, "amount_fen": amount_fen, "outcome": outcome}
        row |= columns
        if "t_admitted" not in columns:
            row["t_admitted"] = row["t_intended"]
        self.taps.append(row)
        return self

    def holding(
        self,
        bid: int,
        amount_fen: int,
        start: int,
        end: int,
        *,
        hold: HoldEnd,
        outcome: Outcome,
        **columns: int,
    ) -> Self:
        """Write a tap that had a hold from `start` to `end`; it asked for it at `start` as well."""
        times = {"t_intended": start, "t_sent": start, "t_reserved": start, "t_done": end}
        return self.tap(bid, amount_fen, outcome, **{**times, "hold": hold, **columns})

    def sold(self, bid: int, amount_fen: int = 100, start: int = 1, end: int = 5, **columns: int) -> Self:
        """Hold, confirm, and write the order just before the bidder is told."""
        self.holding(bid, amount_fen, start, end, hold=HoldEnd.CONFIRMED, outcome=Outcome.OK, **columns)
        return self.order(bid, amount_fen, end)

    def given_back(self, bid: int, amount_fen: int = 100, start: int = 1, end: int = 5, **columns: int) -> Self:
        """Hold, then a step fails and the hold is released."""
        columns = {"refused_by": RefusedBy.STEP, "failed_step": 3, **columns}
        return self.holding(bid, amount_fen, start, end, hold=HoldEnd.RELEASED, outcome=Outcome.ERROR, **columns)

    def turned_away(
        self,
        bid: int,
        amount_fen: int = 100,
        at: int = 1,
        outcome: Outcome = Outcome.SOLD_OUT,
        **columns: int,
    ) -> Self:
        """Be told no by the strategy for good."""
        times = {"t_intended": at, "t_sent": at, "t_reserved": at, "t_done": at}
        columns = {**times, "refused_by": RefusedBy.STRATEGY, **columns}
        return self.tap(bid, amount_fen, outcome, **columns)

    def shut_out(self, bid: int, amount_fen: int = 100, at: int = 1, **columns: int) -> Self:
        """Be told sold out by the FULL flag: the strategy is never asked."""
        flag = {"t_sent": NEVER, "t_reserved": NEVER, "refused_by": RefusedBy.STATUS}
        return self.turned_away(bid, amount_fen, at, **{**flag, **columns})

    def order(self, bid: int, amount_fen: int, t: int) -> Self:
        """Write an order into the ledger."""
        self.orders.append((bid, amount_fen, t))
        return self

    def flag(self, t: int, full: bool) -> Self:
        """Set or clear the FULL flag."""
        self.flags.append((t, full))
        return self

    @property
    def history(self) -> np.ndarray:
        """All taps as a history."""
        return np.array([tuple(row[n] for n in HISTORY.names or ()) for row in self.taps], HISTORY)

    @property
    def ledger(self) -> Ledger:
        """All orders as a ledger."""
        columns = np.array(self.orders, np.int64).reshape(-1, 3).T
        return Ledger(columns[0], columns[1], columns[2], np.array(self.refused, np.int64))

    def evidence(self, complete: bool = True, claim: Claim | None = None) -> Evidence:
        """Everything that the checkers may look at."""
        plan = np.zeros(max(self.plan, default=-1) + 1, np.int64)
        plan[list(self.plan)] = list(self.plan.values())
        none = np.zeros(0, np.int64)
        return Evidence(
            tranche=self.tranche,
            min_bid_fen=self.min_bid_fen,
            bid_amount_fen=plan,
            history=self.history,
            ledger=self.ledger,
            status_log=StatusLog(
                np.array([t for t, _ in self.flags], np.int64), np.array([f for _, f in self.flags], np.bool_)
            ),
            claims=Claims(none, none, np.zeros(0, np.bool_)),
            final_claim=claim,
            t_end=self.t_end,
            complete=complete,
        )


@pytest.fixture(scope="session")
def story() -> type[Story]:
    """The builder's class; calling it starts a new story."""
    return Story
