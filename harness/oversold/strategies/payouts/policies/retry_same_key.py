"""Call the same channel again under the same idempotency key."""

from typing import ClassVar

from oversold.model import Payday, PayReply
from oversold.strategies.payouts.desk import Desk, Row
from oversold.strategies.payouts.interface import PayoutContext

TRIES = 4
FIRST_WAIT_S = 0.02
ALL_TRIES = 12  # with those of reconciliation


class RetrySameKey:
    """Pay on the first channel only, under the obligation's id as key, four times with backoff; then UNKNOWN, and
    reconciliation calls once a round under the same key, until people look at what is not ok after twelve calls.

    Guarantee: a channel that honours keys pays once, within the key's life.

    Known hole: the key's life, and the channel's honour. A call after the retention time pays again, and so does
    every call when the channel ignores keys. A refusal that the channel remembers is never lifted.
    """

    stores: ClassVar[frozenset[str]] = frozenset({"sql"})

    def __init__(self, context: PayoutContext) -> None:
        self._desk = Desk(context)
        self._clock = context.clock
        self._random = context.random
        self._channel = next(iter(context.channels.values()))

    def open(self, payday: Payday) -> None:
        """Nothing of its own."""

    def settle(self, row: Row) -> None:
        """Call up to four times; wait 0..20, 0..40, 0..80 ms in between."""
        wait_s = FIRST_WAIT_S
        for turn in range(TRIES):
            if turn:
                self._desk.touch(row)
                self._clock.sleep(self._random.uniform(0, wait_s))
                wait_s *= 2
            reply = self._pay(row)
            if reply == "ok" or self._refused(row, reply):
                return
        self._desk.change(row, "UNKNOWN", reason=reply, tries=row.tries + TRIES)

    def recover(self, row: Row) -> None:
        """Call again: the channel knows the key if there was a call."""
        self.settle(row)

    def reconcile(self, payday_id: str) -> int:
        """Call once more for each obligation that is UNKNOWN."""
        for row in self._desk.in_status(payday_id, "UNKNOWN"):
            reply = self._pay(row)
            if reply == "ok" or self._refused(row, reply):
                continue
            tries = row.tries + 1
            if tries < ALL_TRIES:
                self._desk.change(row, "UNKNOWN", reason=reply, tries=tries)
            else:
                self._desk.change(row, "REVIEW", reason=f"{reply} after {tries} calls", tries=tries)
        return 0

    def _pay(self, row: Row) -> PayReply:
        reply = self._channel.pay(row.obligation_id, row.user_id, row.amount_fen, row.obligation_id)
        if reply == "ok":
            self._desk.paid(row, self._channel.name)
        return reply

    def _refused(self, row: Row, reply: PayReply) -> bool:
        """Hand over to people when the key belongs to another payment: no call will ever help."""
        if reply == "mismatch":
            self._desk.change(row, "REVIEW", reason="the key was used for another payment")
        return reply == "mismatch"
