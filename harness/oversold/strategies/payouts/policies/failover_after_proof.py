"""Pay through another channel only with proof that the first one will not pay."""

from typing import ClassVar

from oversold.model import Payday
from oversold.strategies.payouts.desk import Desk, Row, next_channel
from oversold.strategies.payouts.interface import Channel, PayoutContext
from oversold.strategies.payouts.patience import MARGIN_S, overdue

ROUNDS = 3


class FailoverAfterProof:
    """Note the channel, pay, and after any answer but ok void the payment there; only then try the next channel. A
    void without an answer leaves the obligation UNKNOWN until reconciliation gets one.

    Guarantee: no second call without proof that no earlier one paid or will pay, so nobody is paid twice.

    Known hole: slower, and as slow as the channel that does not answer. It believes an ok: a false one is never
    paid. A worker that pauses between its note and its call may pay after somebody else's void, and so may a
    call that a stalled channel takes up only after the void.
    """

    stores: ClassVar[frozenset[str]] = frozenset({"sql"})

    def __init__(self, context: PayoutContext) -> None:
        self._desk = Desk(context)
        self._channels = tuple(context.channels.values())

    def open(self, payday: Payday) -> None:
        """Nothing of its own."""

    def settle(self, row: Row) -> None:
        """One round: every channel once, as long as each proves that it did not pay; REVIEW after three rounds."""
        unpaid: Row | None = row
        for _ in self._channels:
            if unpaid is None:
                return
            if unpaid.tries >= ROUNDS * len(self._channels):
                self._desk.change(unpaid, "REVIEW", reason=f"not paid after {unpaid.tries} calls")
                return
            unpaid = self._call(unpaid)

    def recover(self, row: Row) -> None:
        """Go on: before its first call it writes SENT, so a row that is CLAIMED was never sent."""
        self.settle(row)

    def reconcile(self, payday_id: str) -> int:
        """Void what is UNKNOWN, also what dead workers sent; begin the next round of what is proven unpaid."""
        for channel in self._channels:
            dead_s = channel.terms.timeout_s + MARGIN_S
            sent = self._desk.in_status(payday_id, "SENT", dead_s)
            for row in [*sent, *self._desk.in_status(payday_id, "UNKNOWN")]:
                if row.channel == channel.name:
                    self._prove(row, channel)
        for row in self._desk.in_status(payday_id, "FAILED_DEFINITE", MARGIN_S):
            self.settle(row)
        return 0

    def _call(self, row: Row) -> Row | None:
        """Pay through the next channel; return the row when it is proven unpaid, else None."""
        channel = next_channel(self._channels, row.channel)
        key = self._desk.fresh_key()
        sent = self._desk.change(row, "SENT", channel=channel.name, key=key, tries=row.tries + 1)
        if sent is None:  # somebody else has it
            return None
        reply = channel.pay(row.obligation_id, row.user_id, row.amount_fen, key)
        if reply == "ok":
            self._desk.paid(sent, channel.name)
            return None
        if reply == "unreachable":  # nothing was sent: that is proof, and no call
            return self._desk.change(sent, "FAILED_DEFINITE", reason=reply, tries=row.tries)
        return self._prove(sent, channel)

    def _prove(self, row: Row, channel: Channel) -> Row | None:
        """Void; return the row when that proves it unpaid."""
        answer = channel.void(row.obligation_id)
        if answer == "voided":
            return self._desk.change(row, "FAILED_DEFINITE", reason="voided")
        if answer == "paid":
            self._desk.paid(row, channel.name)
        elif row.status == "SENT":
            self._desk.change(row, "UNKNOWN", reason="the void was not answered")
        elif overdue(row, channel.terms):
            self._desk.change(row, "REVIEW", reason="no void was ever answered")
        return None
