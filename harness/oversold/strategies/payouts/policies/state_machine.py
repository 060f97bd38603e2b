"""A state machine that never calls before it is certain that no earlier call has paid or will."""

from typing import ClassVar

from oversold.model import Payday
from oversold.strategies.payouts.desk import Desk, Row, next_channel
from oversold.strategies.payouts.interface import Channel, PayoutContext
from oversold.strategies.payouts.patience import MARGIN_S, overdue

CALLS = 4
SEEN = "on the statement"
DEAD = "its worker did not come back"
# Why a row is UNKNOWN whose call the channel may still have to take up, as when it is stalled: nobody knows when
# the call arrived or will arrive. All other reasons are answers, so it had arrived by then.
UNHEARD = {"timeout", DEAD}


class StateMachine:
    """Write SENT with channel and key before each call; believe ok for now, and nothing else: that is UNKNOWN.
    Reconciliation queries what is UNKNOWN once the channel's answers mean something, calls again, on the next
    channel, only what is certain to stay unpaid, and compares what is PAID with the channels' statements.

    Guarantee: while channels keep their terms nobody is paid twice, whatever they reply and wherever a worker
    dies; a false ok is found.

    Known hole: a backlog for people, and time: every doubt waits for visibility and settlement, counted from the
    first answered query where the call itself was not answered. A worker that stops for longer than these in the
    very moment before its call may pay what was paid meanwhile; so may a call that is stuck on its way while
    queries are answered.
    """

    stores: ClassVar[frozenset[str]] = frozenset({"sql"})

    def __init__(self, context: PayoutContext) -> None:
        self._desk = Desk(context)
        self._clock = context.clock
        self._channels = tuple(context.channels.values())

    def open(self, payday: Payday) -> None:
        """Nothing of its own."""

    def settle(self, row: Row) -> None:
        """Call, on the next channel as well when the first could not be reached; REVIEW after four calls."""
        unsent: Row | None = row
        for _ in self._channels:
            if unsent is None:
                return
            if unsent.tries >= CALLS:
                self._desk.change(unsent, "REVIEW", reason=f"not paid after {unsent.tries} calls")
                return
            unsent = self._call(unsent)

    def recover(self, row: Row) -> None:
        """Go on: SENT is written before a call, so a row that is CLAIMED was never sent."""
        self.settle(row)

    def reconcile(self, payday_id: str) -> int:
        """One round: dead workers' calls, doubts, the statements, calls that are due again."""
        unchecked = 0
        for channel in self._channels:
            dead_s = channel.terms.timeout_s + MARGIN_S
            visible_s = channel.terms.visibility_s + MARGIN_S
            for row in self._desk.in_status(payday_id, "SENT", dead_s):
                if row.channel == channel.name:
                    self._desk.change(row, "UNKNOWN", reason=DEAD)
            for row in self._desk.in_status(payday_id, "UNKNOWN", visible_s):
                if row.channel == channel.name:
                    self._resolve(row, channel)
            unchecked += self._compare(payday_id, channel)
        for row in self._desk.in_status(payday_id, "FAILED_DEFINITE"):
            self.settle(row)
        return unchecked

    def _call(self, row: Row) -> Row | None:
        """Call once; return the row when certainly nothing was paid, so that it may be called again at once."""
        channel = next_channel(self._channels, row.channel)
        key = self._desk.fresh_key()
        begun_s = self._clock.now_s()
        sent = self._desk.change(row, "SENT", channel=channel.name, key=key, tries=row.tries + 1)
        if sent is None:  # somebody else has it
            return None
        if self._clock.now_s() - begun_s > MARGIN_S:
            # Reconciliation counts from when SENT was written: so late a call would not be covered.
            self._desk.change(sent, "FAILED_DEFINITE", reason="not sent: too late", tries=row.tries)
            return None
        reply = channel.pay(row.obligation_id, row.user_id, row.amount_fen, key)
        if reply == "ok":
            self._desk.change(sent, "PAID")
            return None
        if reply == "unreachable":  # no call was made, so none is counted
            return self._desk.change(sent, "FAILED_DEFINITE", reason=reply, tries=row.tries)
        if reply == "mismatch":
            return self._desk.change(sent, "FAILED_DEFINITE", reason=reply)
        self._desk.change(sent, "UNKNOWN", reason=reply)
        return None

    def _resolve(self, row: Row, channel: Channel) -> None:
        """Query; what is not paid by the time when it must be visible never will be.

        That time runs from the call's answer. Without one it runs from the first query that was answered: a
        channel that was stalled has taken up by then what had been waiting for it.
        """
        answer = channel.query(row.obligation_id)
        certain_s = channel.terms.settle_s + channel.terms.visibility_s + MARGIN_S
        if answer == "success":
            self._desk.change(row, "PAID")
        elif answer in {"failed", "not_found"}:
            if row.reason in UNHEARD:
                self._desk.change(row, "UNKNOWN", reason=f"{answer} at first")
            elif row.age_s >= certain_s:
                self._desk.change(row, "FAILED_DEFINITE", reason=answer)
        elif overdue(row, channel.terms):
            self._desk.change(row, "REVIEW", reason=f"{answer}, whenever it was queried")

    def _compare(self, payday_id: str, channel: Channel) -> int:
        """Doubt what is PAID and old enough to be on the channel's statement, but is not: the ok was false.

        Returns how many rows are still to be compared with this channel's statement."""
        unchecked = [row for row in self._desk.paid_unremarked(payday_id) if row.channel == channel.name]
        old = [row for row in unchecked if row.age_s >= channel.terms.visibility_s + MARGIN_S]
        if not old:
            return len(unchecked)
        statement = channel.statement()
        # An empty statement may be no answer at all: believed only if a query agrees that nothing was paid.
        # Queries cost a call each, so one has to do for all.
        if not statement and channel.query(old[0].obligation_id) not in {"failed", "not_found"}:
            return len(unchecked)
        self._desk.remark(payday_id, [row.obligation_id for row in old if row.obligation_id in statement], SEEN)
        for row in old:
            if row.obligation_id not in statement:
                self._desk.change(row, "UNKNOWN", reason="not on the statement")
        return len(unchecked) - len(old)
