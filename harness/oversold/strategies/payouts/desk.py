"""The desk over the obligations: reads their rows and changes them, each in a short transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict, Unpack

import sqlalchemy as sa

from oversold.model import Job, PayoutState, PayoutStatus
from oversold.strategies.payouts.interface import Channel, PayoutContext
from oversold.strategies.payouts.obligation_table import Now, obligations

END_STATUSES: tuple[PayoutStatus, ...] = ("PAID", "FAILED", "REVIEW")

columns = obligations.c
NOW = Now()
MINE = sa.and_(columns.payday_id == sa.bindparam("payday"), columns.obligation_id == sa.bindparam("id"))

FIELDS = (
    columns.payday_id,
    columns.obligation_id,
    columns.user_id,
    columns.amount_fen,
    columns.status,
    columns.version,
    columns.channel,
    columns.key,
    columns.tries,
    columns.reason,
    columns.since,
    NOW.label("now"),
)
ONE = sa.select(*FIELDS).where(MINE)
IN_STATUS = (
    sa.select(*FIELDS)
    .where(columns.payday_id == sa.bindparam("payday"), columns.status == sa.bindparam("status"))
    .order_by(columns.obligation_id)
)
PAID_UNREMARKED = IN_STATUS.where(columns.reason == "")
DUE = (
    columns.payday_id == sa.bindparam("payday"),
    columns.kind == sa.bindparam("kind"),
    columns.status == "DUE",
)
COUNT_DUE = sa.select(sa.func.count()).where(*DUE)
SOME_DUE = (
    sa.select(*FIELDS)
    .where(*DUE)
    .order_by(columns.obligation_id)
    .limit(sa.bindparam("limit"))
    .offset(sa.bindparam("offset"))
)
SHARE = (
    sa.select(*FIELDS)
    # By its place among all obligations of the kind, not among those still due, so that the workers of one start
    # have disjoint shares whenever each of them reads.
    .where(*DUE, columns.place % sa.bindparam("workers") == sa.bindparam("worker"))
    .order_by(columns.obligation_id)
)
NEXT_DUE = (
    sa.select(*FIELDS)
    .where(*DUE)
    .order_by(columns.obligation_id)
    .limit(1)
    .with_for_update(skip_locked=True)
    # Left to itself MariaDB walks over the primary key and locks in passing what is due to the other job: whoever
    # looks there in that moment finds nothing due and ends.
    .with_hint(obligations, "FORCE INDEX (obligations_by_status)", "mariadb")
)

TAKE = (
    sa.update(obligations)
    .where(MINE, columns.version == sa.bindparam("seen"), columns.status == sa.bindparam("seen_status"))
    .values(status="CLAIMED", version=columns.version + 1, claimed_by=sa.bindparam("by"), since=NOW)
)
TAKE_FENCED = TAKE.where(columns.fence <= sa.bindparam("token")).values(fence=sa.bindparam("token"))
CHANGE = (
    sa.update(obligations)
    .where(MINE, columns.version == sa.bindparam("seen"))
    .values(
        status=sa.bindparam("to"),
        reason=sa.bindparam("why"),
        channel=sa.bindparam("on_channel"),
        key=sa.bindparam("under_key"),
        tries=sa.bindparam("after_tries"),
        version=columns.version + 1,
        since=NOW,
    )
)
PAID = (
    sa.update(obligations)
    .where(MINE, columns.status != "PAID")
    .values(status="PAID", reason="", channel=sa.bindparam("on_channel"), version=columns.version + 1, since=NOW)
)
REMARK = (
    sa.update(obligations)
    .where(
        columns.payday_id == sa.bindparam("payday"),
        columns.obligation_id.in_(sa.bindparam("ids", expanding=True)),
        columns.status == "PAID",
        columns.reason == "",
    )
    .values(reason=sa.bindparam("why"), version=columns.version + 1)
)
TOUCH = sa.update(obligations).where(MINE, columns.status == "CLAIMED").values(since=NOW)
STATE = sa.select(columns.obligation_id, columns.status, columns.reason).where(
    columns.payday_id == sa.bindparam("payday")
)
COUNT_OPEN = sa.select(sa.func.count()).where(
    columns.payday_id == sa.bindparam("payday"), columns.status.not_in(END_STATUSES)
)


@dataclass(frozen=True, slots=True)
class Row:
    """One obligation as somebody saw it in the table; `version` tells whether it has changed since.

    A row that a lock has taken keeps the `status` in which it was found: DUE, or CLAIMED by a worker that died.
    `age_s` is how long it had been in that status, in seconds of database time.
    """

    payday_id: str
    obligation_id: str
    user_id: str
    amount_fen: int
    status: PayoutStatus
    version: int = 0
    channel: str = ""
    key: str = ""
    tries: int = 0
    reason: str = ""
    age_s: float = 0.0


class Fields(TypedDict, total=False):
    """What a change may set besides the status. A reason that is not given is cleared, the rest stays."""

    reason: str
    channel: str
    key: str
    tries: int


class Desk:
    """What locks and policies do to the obligations. Every method ends its transaction, except `write`."""

    def __init__(self, context: PayoutContext) -> None:
        self._sql = context.sql
        if self._sql.dialect.name == "mariadb":
            # PostgreSQL's default. At its own one it also locks what lies between rows, and keeps locked what it
            # has only looked at: workers would wait for obligations that nobody has.
            self._sql.execution_options(isolation_level="READ COMMITTED")
        self._random = context.random

    # Reading

    def get(self, payday_id: str, obligation_id: str) -> Row:
        """Return the row as it is now."""
        return self._read(ONE, payday=payday_id, id=obligation_id)[0]

    def in_status(self, payday_id: str, status: PayoutStatus, older_s: float = 0.0) -> list[Row]:
        """Return the rows of a status that have been in it for longer than so many seconds."""
        rows = self._read(IN_STATUS, payday=payday_id, status=status)
        return [row for row in rows if row.age_s >= older_s]

    def paid_unremarked(self, payday_id: str) -> list[Row]:
        """Return the rows that are PAID without a reason."""
        return self._read(PAID_UNREMARKED, payday=payday_id, status="PAID")

    def count_due(self, job: Job) -> int:
        """Return how many obligations of the job's kind are DUE."""
        count = int(self._sql.execute(COUNT_DUE, {"payday": job.payday_id, "kind": job.kind}).scalar_one())
        self._sql.commit()
        return count

    def due(self, job: Job, limit: int, offset: int) -> list[Row]:
        """Return some of the DUE rows of the job's kind, in order of their ids."""
        return self._read(SOME_DUE, payday=job.payday_id, kind=job.kind, limit=limit, offset=offset)

    def share(self, job: Job) -> list[Row]:
        """Return the DUE rows among every `workers`-th obligation of the job's kind, from the `worker`-th on."""
        return self._read(SHARE, payday=job.payday_id, kind=job.kind, workers=job.workers, worker=job.worker)

    def count_open(self, payday_id: str) -> int:
        """Return how many obligations are in no end state."""
        count = int(self._sql.execute(COUNT_OPEN, {"payday": payday_id}).scalar_one())
        self._sql.commit()
        return count

    def state(self, payday_id: str) -> dict[str, PayoutState]:
        """Return what the table says of every obligation, by id."""
        found = self._sql.execute(STATE, {"payday": payday_id}).all()
        self._sql.commit()
        return {obligation_id: PayoutState(status, reason) for obligation_id, status, reason in found}

    # Claiming

    def take(self, row: Row, by: str) -> Row | None:
        """Claim the row unless it has changed since it was read; None when it has."""
        return self._taken(TAKE, row, by=by)

    def take_fenced(self, row: Row, by: str, token: int) -> Row | None:
        """The same, and None as well when a holder of a later token has had the row."""
        return self._taken(TAKE_FENCED, row, by=by, token=token)

    def take_locked(self, job: Job) -> Row | None:
        """Lock the next DUE row that nobody else has locked, claim it and let it go; None when there is none."""
        found = self._sql.execute(NEXT_DUE, {"payday": job.payday_id, "kind": job.kind}).first()
        if found is None:
            self._sql.rollback()
            return None
        return self.take(_row(found), claimant(job))

    # Changing

    def write(self, row: Row, status: PayoutStatus, **fields: Unpack[Fields]) -> Row | None:
        """Change the row unless somebody else has since it was read; None when they have. Does not commit."""
        renewed = replace(row, status=status, version=row.version + 1, age_s=0.0, reason="")
        changed = replace(renewed, **fields)
        values = {
            "to": status,
            "why": changed.reason,
            "on_channel": changed.channel,
            "under_key": changed.key,
            "after_tries": changed.tries,
        }
        result = self._sql.execute(CHANGE, {**_of(row), "seen": row.version, **values})
        return changed if result.rowcount == 1 else None

    def change(self, row: Row, status: PayoutStatus, **fields: Unpack[Fields]) -> Row | None:
        """`write`, then commit."""
        changed = self.write(row, status, **fields)
        self._sql.commit()
        return changed

    def paid(self, row: Row, channel: str) -> None:
        """Enter that the channel said ok, whatever became of the row meanwhile."""
        self._sql.execute(PAID, {**_of(row), "on_channel": channel})
        self._sql.commit()

    def remark(self, payday_id: str, obligation_ids: Sequence[str], reason: str) -> None:
        """Give a reason to rows that are PAID without one, all at once."""
        if obligation_ids:
            self._sql.execute(REMARK, {"payday": payday_id, "ids": list(obligation_ids), "why": reason})
            self._sql.commit()

    def touch(self, row: Row) -> None:
        """Say that the claim's worker is alive, so that nobody sweeps it up."""
        self._sql.execute(TOUCH, _of(row))
        self._sql.commit()

    def fresh_key(self) -> str:
        """Return an idempotency key that nobody has used."""
        return f"{self._random.getrandbits(64):016x}"

    def _read(self, statement: sa.Select[Any], **values: Any) -> list[Row]:
        found: Sequence[Any] = self._sql.execute(statement, values).all()
        self._sql.commit()
        return [_row(each) for each in found]

    def _taken(self, statement: sa.Update, row: Row, **values: Any) -> Row | None:
        seen = {**_of(row), "seen": row.version, "seen_status": row.status}
        result = self._sql.execute(statement, {**seen, **values})
        self._sql.commit()
        return replace(row, version=row.version + 1, age_s=0.0) if result.rowcount == 1 else None


def claimant(job: Job) -> str:
    """Return the name under which a worker claims: `interest#1/3`."""
    return f"{job.run}/{job.worker}"


def next_channel(channels: Sequence[Channel], name: str) -> Channel:
    """Return the channel after the one of that name; the first one when there is none of it."""
    names = [channel.name for channel in channels]
    return channels[(names.index(name) + 1) % len(names) if name in names else 0]


def _of(row: Row) -> dict[str, str]:
    return {"payday": row.payday_id, "id": row.obligation_id}


def _row(found: Any) -> Row:
    age_s = (found.now - found.since).total_seconds()
    seen = (found.status, found.version, found.channel, found.key, found.tries, found.reason)
    return Row(found.payday_id, found.obligation_id, found.user_id, found.amount_fen, *seen, age_s)
