"""Holds with an expiry, which a bid has to be confirmed before: two phases, one table."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

from oversold.model import Bid, Hold
from oversold.strategies.bids.conditional_update import TAKE
from oversold.strategies.bids.stock_table import ADD, StockRow, metadata
from oversold.strategies.dialects import ID, insert_once
from oversold.strategies.interface import Context

HOLD_S = 10.0
SWEEP_S = 1.0
SWEEP_ROWS = 1_000


class NowMs(sa.sql.functions.FunctionElement[int]):
    """The database's clock, in milliseconds since 1970: lanes on several machines need not agree on one."""

    inherit_cache = True
    type = sa.BigInteger()


@compiles(NowMs, "postgresql")
def _now_in_postgresql(element: NowMs, compiler: Any, **_: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)"


@compiles(NowMs, "mariadb")
def _now_in_mariadb(element: NowMs, compiler: Any, **_: Any) -> str:
    return "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000"


holds = sa.Table(
    "holds",
    metadata,
    sa.Column("tranche_id", ID, primary_key=True),
    sa.Column("bid_id", ID, primary_key=True),
    sa.Column("amount_fen", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(8), nullable=False),  # held, posted, void
    sa.Column("expires_ms", sa.BigInteger, nullable=False),
)
sa.Index("holds_by_expiry", holds.c.tranche_id, holds.c.state, holds.c.expires_ms)

EXPIRY = NowMs() + sa.bindparam("hold_ms", type_=sa.BigInteger)
OF_TRANCHE = holds.c.tranche_id == sa.bindparam("tranche")
OF_BID = sa.and_(OF_TRANCHE, holds.c.bid_id == sa.bindparam("bid"))
HELD = holds.c.state == "held"
ENTER = insert_once(
    holds,
    tranche_id=sa.bindparam("tranche"),
    bid_id=sa.bindparam("bid"),
    amount_fen=sa.bindparam("amount"),
    state=sa.literal("held"),
    expires_ms=EXPIRY,
)
STATE = sa.select(holds.c.state).where(OF_BID)
RENEW = sa.update(holds).where(OF_BID).values(state="held", expires_ms=EXPIRY)
POST = sa.update(holds).where(OF_BID, HELD, holds.c.expires_ms > NowMs()).values(state="posted")
VOID = sa.update(holds).where(OF_BID, HELD).values(state="void")
EXPIRED = (
    sa.select(holds.c.bid_id, holds.c.amount_fen)
    .where(OF_TRANCHE, HELD, holds.c.expires_ms <= NowMs())
    .limit(SWEEP_ROWS)
    .with_for_update(skip_locked=True)  # what another lane is sweeping, confirming or releasing is its affair
)
VOID_ALL = (
    sa.update(holds)
    .where(OF_TRANCHE, holds.c.bid_id.in_(sa.bindparam("bids", expanding=True)))
    .values(state="void")
)


class TwoPhase(StockRow):
    """Take the stock and enter a hold that expires after 10 s; confirming posts it only while it is held.

    Guarantee: never more than the capacity is held; a repeated bid is charged once; what a dead bidder had comes
    back by itself; a confirm that comes after the expiry is refused, and what was posted is never given back.

    Known hole: stock that is blocked by dead bidders. It is missing until their holds expire and somebody who
    finds too little sweeps them up, which each lane does at most once a second: people hear sold out till then.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        # MariaDB's REPEATABLE READ would lock the gaps between the holds that a sweep looks at.
        self._sql = context.sql.execution_options(isolation_level="READ COMMITTED")
        self._clock = context.clock
        self._next_sweep_s = 0.0

    def reserve(self, bid: Bid) -> Hold:
        """Enter the hold and take the stock, together; where it is too small, sweep and try once more."""
        hold = self._take(bid)
        if hold.verdict == "sold_out" and self._sweep(bid.tranche_id):
            hold = self._take(bid)
        return hold

    def confirm(self, bid: Bid, hold: Hold) -> bool:
        """Post the hold; false when it has expired or was given back."""
        posted = self._sql.execute(POST, _of(bid)).rowcount == 1 or self._state(bid) == "posted"
        self._sql.commit()
        return posted

    def release(self, bid: Bid, hold: Hold) -> bool:
        """Void the hold and give its amount back, once; false when it is posted."""
        voided = self._sql.execute(VOID, _of(bid)).rowcount == 1
        if voided:
            self._sql.execute(ADD, _of(bid))
        free = voided or self._state(bid) != "posted"
        self._sql.commit()
        return free

    def _take(self, bid: Bid) -> Hold:
        values = {**_of(bid), "hold_ms": int(HOLD_S * 1000)}
        if self._sql.execute(ENTER[self._sql.dialect.name], values).rowcount == 0:  # a repeated bid
            state = self._sql.execute(STATE.with_for_update(), values).scalar_one()
            if state != "posted":
                self._sql.execute(RENEW, values)
            if state != "void":  # charged already
                self._sql.commit()
                return Hold("ok")
        # The hot row comes last: it is locked until the commit.
        if self._sql.execute(TAKE, values).rowcount == 0:
            self._sql.rollback()
            return Hold("sold_out")
        self._sql.commit()
        return Hold("ok")

    def _sweep(self, tranche_id: str) -> bool:
        """Void what has expired and give it back; return whether there was anything."""
        now_s = self._clock.now_s()
        if now_s < self._next_sweep_s:
            return False
        self._next_sweep_s = now_s + SWEEP_S
        found = self._sql.execute(EXPIRED, {"tranche": tranche_id}).all()
        if found:
            self._sql.execute(VOID_ALL, {"tranche": tranche_id, "bids": [bid_id for bid_id, _ in found]})
            self._sql.execute(ADD, {"tranche": tranche_id, "amount": sum(amount for _, amount in found)})
        self._sql.commit()
        return bool(found)

    def _state(self, bid: Bid) -> str | None:
        state: str | None = self._sql.execute(STATE, _of(bid)).scalar_one_or_none()
        return state


def _of(bid: Bid) -> dict[str, str | int]:
    return {"tranche": bid.tranche_id, "bid": bid.bid_id, "amount": bid.amount_fen}
