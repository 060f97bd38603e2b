"""An outbox of payment intents, one an obligation at most."""

from typing import ClassVar

import sqlalchemy as sa

from oversold.model import Payday
from oversold.strategies.dialects import ID, insert_once
from oversold.strategies.payouts.desk import Desk, Row
from oversold.strategies.payouts.interface import PayoutContext

ROUNDS = 3

metadata = sa.MetaData()
intents = sa.Table(
    "payout_intents",
    metadata,
    sa.Column("payday_id", ID, primary_key=True),
    sa.Column("obligation_id", ID, primary_key=True),
    sa.Column("intent_id", sa.Text, nullable=False),
)
ENTER = insert_once(
    intents, payday_id=sa.bindparam("payday"), obligation_id=sa.bindparam("id"), intent_id=sa.bindparam("intent")
)
INTENT = sa.select(intents.c.intent_id).where(
    intents.c.payday_id == sa.bindparam("payday"), intents.c.obligation_id == sa.bindparam("id")
)


class UniqueOutbox:
    """Take the obligation and insert its only intent in one transaction; send the intent, under its id, until ok.
    Anything but ok fails over to the next channel under the same key; reconciliation sends what was left unsent.

    Guarantee: one intent an obligation, however many workers meet at it, and wherever they die.

    Known hole: one intent on two channels. The key means nothing to the second channel, so what the first one
    paid and denied is paid again.
    """

    stores: ClassVar[frozenset[str]] = frozenset({"sql"})

    def __init__(self, context: PayoutContext) -> None:
        self._sql = context.sql
        self._desk = Desk(context)
        self._channels = context.channels

    def open(self, payday: Payday) -> None:
        """Make the table of intents where it is missing."""
        metadata.create_all(self._sql)
        self._sql.commit()

    def settle(self, row: Row) -> None:
        """Enter the intent and send it; when there is one already, somebody else does."""
        intent = self._desk.fresh_key()
        values = {"payday": row.payday_id, "id": row.obligation_id, "intent": intent}
        # The row first, whose lock goes from one worker to the next. Where two wait for the insert of a third one
        # that dies, MariaDB gives both a share in its place, and ends one of them as deadlocked.
        taken = self._desk.write(row, "CLAIMED", key=intent)
        if taken is None or self._sql.execute(ENTER[self._sql.dialect.name], values).rowcount == 0:
            self._sql.rollback()
            return
        self._sql.commit()
        self._send(taken, intent)

    def recover(self, row: Row) -> None:
        """Send the intent that a dead worker left, or enter the one that it did not come to."""
        values = {"payday": row.payday_id, "id": row.obligation_id}
        intent = self._sql.execute(INTENT, values).scalar_one_or_none()
        self._sql.commit()
        if intent is None:
            self.settle(row)
        else:
            self._send(row, str(intent))

    def reconcile(self, payday_id: str) -> int:
        """Send again what no channel said ok to."""
        for row in self._desk.in_status(payday_id, "UNKNOWN"):
            self._send(row, row.key)
        return 0

    def _send(self, row: Row, intent: str) -> None:
        reply = ""
        for channel in self._channels.values():
            reply = channel.pay(row.obligation_id, row.user_id, row.amount_fen, intent)
            if reply == "ok":
                self._desk.paid(row, channel.name)
                return
            self._desk.touch(row)
        rounds = row.tries + 1
        if rounds < ROUNDS:
            self._desk.change(row, "UNKNOWN", reason=reply, tries=rounds)
        else:
            self._desk.change(row, "REVIEW", reason=f"{reply} after {rounds} rounds", tries=rounds)
