"""What a payout strategy is, and all that it may know of the world."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

from oversold.clock import Clock
from oversold.model import Job, Payday, PayoutState, PayReply, QueryReply, Terms, VoidReply
from oversold.strategies.interface import Context


class Channel(Protocol):
    """A third-party payment interface, as a payout service sees it. Its answers may be lies; it never raises."""

    name: str
    terms: Terms

    def pay(self, ref: str, user_id: str, amount_fen: int, key: str | None = None) -> PayReply:
        """Ask to pay. `ref` names the obligation, `key` (Idempotency-Key) this wish to pay it."""

    def query(self, ref: str) -> QueryReply:
        """Ask what became of all payments under `ref` together: success when any of them moved money."""

    def void(self, ref: str) -> VoidReply:
        """Cancel whatever under `ref` has not moved money yet. It tells the truth at once."""

    def statement(self) -> Mapping[str, int]:
        """Return the channel's statement of account (对账单): fen paid by ref, of all effects that are older
        than the visibility lag. An empty one when it does not answer."""


class PayoutContext(Context):
    """A job worker's private world: a connection to each store, a client of each channel, a clock, a random."""

    def __init__(
        self,
        clients: Mapping[str, Any],
        clock: Clock,
        generator: random.Random,
        channels: Mapping[str, Channel],
    ) -> None:
        super().__init__(clients, clock, generator)
        self.channels = channels  # in the order in which a job tries them


@runtime_checkable
class PayoutStrategy(Protocol):
    """Pays what is due, once. One instance a job worker; shared state lives in a store only.

    The platform has put the payday's obligations into the table `obligations` (see `obligation_table`) with
    status DUE before `open`. A strategy may keep its state there or in tables of its own.
    """

    stores: ClassVar[frozenset[str]]

    def __init__(self, context: PayoutContext) -> None: ...

    def open(self, payday: Payday) -> None:
        """Prepare the stores. Called once, by the coordinator, before the first job starts."""

    def run_job(self, job: Job) -> None:
        """Do one worker's share of a job; return when there is nothing left for this worker to pay.

        It may be ended at any point, as by SIGKILL, when its job is killed or the horizon is reached.
        """

    def reconcile(self, payday_id: str) -> int:
        """Settle what earlier calls left open, as far as that is possible now; return how many obligations are
        not in an end state (PAID, FAILED, REVIEW). One process calls it again and again, beside the jobs too."""

    def state(self, payday_id: str) -> Mapping[str, PayoutState]:
        """Say what the strategy believes of every obligation, by id. Nobody takes it for the truth."""
