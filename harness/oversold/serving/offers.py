"""The tranches that one server process sells, those it heard of last, with what the pipeline needs for them."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from pydantic import ValidationError

from oversold.bid_plan import BidPlan
from oversold.clock import Clock
from oversold.model import Tranche
from oversold.platform.ledger import LedgerPool
from oversold.platform.progress import DerivedProgress, Progress, ProgressRow
from oversold.platform.tranche_status import TrancheStatus
from oversold.serving.books import Books
from oversold.serving.draws import Draws
from oversold.stores.endpoint import Endpoint
from oversold.stores.postgres import connect_raw

KEPT_TRANCHES = 4  # followed at the same time: each takes a connection and a thread
STATUS = "SELECT status FROM tranches WHERE tranche_id = %s"


class NoTrancheError(Exception):
    """This server has not opened such a tranche."""


class BadWishError(Exception):
    """What is asked for cannot be: the text says why, in one line."""


class FollowedStatus(TrancheStatus):
    """The FULL mark of a tranche that this process may hear of late: it begins with what the row says."""

    def __init__(self, pool: LedgerPool, listener: psycopg.Connection[Any], tranche_id: str) -> None:
        self._row = (pool, tranche_id)
        super().__init__(pool, listener, tranche_id)

    def _listen(self) -> None:
        # After LISTEN and before the first notification is taken, so that no change falls in between.
        pool, tranche_id = self._row
        with suppress(psycopg.Error, OSError):  # the server is gone: the bids themselves will tell
            with pool.connection() as connection:
                row = connection.execute(STATUS, (tranche_id,)).fetchone()
            self.full = row == ("full",)
        super()._listen()


@dataclass(frozen=True)
class Offer:
    """One tranche as this process sells it."""

    tranche: Tranche
    plan: BidPlan
    draws: Draws
    status: TrancheStatus
    progress: Progress


class Offers:
    """One process's tranches by their ids; any of its threads may ask."""

    def __init__(self, plan: BidPlan, ledger: Endpoint, pool: LedgerPool, books: Books, clock: Clock) -> None:
        self._plan, self._ledger, self._pool, self._books, self._clock = plan, ledger, pool, books, clock
        self._kept: dict[str, Offer] = {}
        self._loading = threading.Lock()

    def get(self, tranche_id: str) -> Offer:
        """Return a tranche that this process, or another one, has opened.

        Raises:
            NoTrancheError.
        """
        return self._kept.get(tranche_id) or self._loaded(tranche_id)

    def close(self) -> None:
        """Follow none of them any more."""
        while self._kept:
            self._forget_first()

    def _loaded(self, tranche_id: str) -> Offer:
        with self._loading:
            if tranche_id in self._kept:
                return self._kept[tranche_id]
            tranche = self._books.tranche(tranche_id)
            if tranche is None:
                raise NoTrancheError
            while len(self._kept) >= KEPT_TRANCHES:
                self._forget_first()
            offer = self._kept[tranche_id] = self._made(tranche)
            return offer

    def _forget_first(self) -> None:
        """Forget the tranche heard of first. A bid that still holds it goes on: only its mark's changes are no
        longer followed."""
        self._kept.pop(next(iter(self._kept))).status.close()

    def _made(self, tranche: Tranche) -> Offer:
        plan, tranche_id = plan_of(self._plan, tranche), tranche.tranche_id
        listener = connect_raw(self._ledger, self._clock, 0, autocommit=True)
        progress: Progress = (
            ProgressRow(self._pool, tranche_id, plan.bids.progress_tries)
            if plan.bids.progress == "row"
            else DerivedProgress(self._pool, tranche_id, self._clock)
        )
        status = FollowedStatus(self._pool, listener, tranche_id)
        return Offer(tranche, plan, Draws(plan, tranche_id), status, progress)


def plan_of(plan: BidPlan, tranche: Tranche) -> BidPlan:
    """Return the settings under which a tranche is sold: the server's, but for its own capacity and unit.

    Raises:
        BadWishError: its numbers do not fit.
    """
    fields = plan.model_dump()
    fields["capacity_fen"] = tranche.capacity_fen
    fields["bids"]["min_bid_fen"] = tranche.unit_fen
    if tranche.unit_fen > tranche.capacity_fen:
        raise BadWishError(f"unit_fen {tranche.unit_fen} is more than capacity_fen {tranche.capacity_fen}")
    try:
        return BidPlan.model_validate(fields)
    except ValidationError as error:
        raise BadWishError(error.errors()[0]["msg"].removeprefix("Value error, ")) from error
