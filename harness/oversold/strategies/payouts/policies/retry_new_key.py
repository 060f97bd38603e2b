"""Call the same channel again, with a new idempotency key each time."""

from typing import ClassVar

from oversold.model import Payday
from oversold.strategies.payouts.desk import Desk, Row
from oversold.strategies.payouts.interface import PayoutContext

TRIES = 3


class RetryNewKey:
    """Pay on the first channel only, up to three times, each call under a key of its own; then give up.

    Guarantee: none beyond a channel that pays whenever it says ok, and only then.

    Known hole: a key minted per call makes every call a new payment. What an earlier call paid late, or paid and
    denied, is paid again; and after the third lie it is called failed although it was paid.
    """

    stores: ClassVar[frozenset[str]] = frozenset({"sql"})

    def __init__(self, context: PayoutContext) -> None:
        self._desk = Desk(context)
        self._channel = next(iter(context.channels.values()))

    def open(self, payday: Payday) -> None:
        """Nothing of its own."""

    def settle(self, row: Row) -> None:
        """Call until it says ok, three times at most."""
        for _ in range(TRIES):
            key = self._desk.fresh_key()
            if self._channel.pay(row.obligation_id, row.user_id, row.amount_fen, key) == "ok":
                self._desk.paid(row, self._channel.name)
                return
            self._desk.touch(row)
        self._desk.change(row, "FAILED", reason=f"not ok in {TRIES} calls", tries=row.tries + TRIES)

    def recover(self, row: Row) -> None:
        """Pay again: it does not know of any call."""
        self.settle(row)

    def reconcile(self, payday_id: str) -> int:
        """Nothing to do: it leaves nothing open."""
        return 0
