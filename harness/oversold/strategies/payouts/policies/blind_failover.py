"""The incident's policy: when a channel does not say ok, pay through the next one."""

from typing import ClassVar

from oversold.model import Payday
from oversold.strategies.payouts.desk import Desk, Row
from oversold.strategies.payouts.interface import PayoutContext

ROUNDS = 3


class BlindFailover:
    """Pay on the first channel; after any answer but ok, on the next, with a new key; after three rounds give up.

    Guarantee: none beyond honest channels that are never late.

    Known hole: a channel that says failed, or nothing in time, although it pays. Then the next channel pays too.
    So does a claim that is swept up: its money may have moved.
    """

    stores: ClassVar[frozenset[str]] = frozenset({"sql"})

    def __init__(self, context: PayoutContext) -> None:
        self._desk = Desk(context)
        self._channels = context.channels

    def open(self, payday: Payday) -> None:
        """Nothing of its own."""

    def settle(self, row: Row) -> None:
        """Try every channel once; then back to DUE, and the third time to FAILED."""
        for channel in self._channels.values():
            if channel.pay(row.obligation_id, row.user_id, row.amount_fen, self._desk.fresh_key()) == "ok":
                self._desk.paid(row, channel.name)
                return
            self._desk.touch(row)
        rounds = row.tries + 1
        if rounds < ROUNDS:
            self._desk.change(row, "DUE", tries=rounds)
        else:
            self._desk.change(row, "FAILED", reason=f"no channel said ok in {rounds} rounds", tries=rounds)

    def recover(self, row: Row) -> None:
        """Pay again: it does not know of any call."""
        self.settle(row)

    def reconcile(self, payday_id: str) -> int:
        """Nothing to do: it leaves nothing open."""
        return 0
