"""The obligations in SQL: what is due, and what the strategies that keep their state there believe of it."""

from __future__ import annotations

from datetime import datetime
from itertools import count
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.ext.compiler import compiles

from oversold.model import Payday
from oversold.strategies.dialects import ID

# MariaDB's times know no zone, and no parts of a second unless they are told to: there it is UTC.
MOMENT = sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mariadb")


class Now(sa.sql.functions.FunctionElement[datetime]):
    """The database's clock, that of the moment: a statement may have waited for the row that it changes."""

    inherit_cache = True
    type = MOMENT


@compiles(Now)
def _now(element: Now, compiler: Any, **_: Any) -> str:
    return "clock_timestamp()"


@compiles(Now, "mariadb")
def _now_in_mariadb(element: Now, compiler: Any, **_: Any) -> str:
    # UTC_TIMESTAMP and NOW are when the statement began. SYSDATE goes on, but in the server's own time zone.
    return "(UTC_TIMESTAMP(6) + INTERVAL TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6)) MICROSECOND)"


metadata = sa.MetaData()
obligations = sa.Table(
    "obligations",
    metadata,
    sa.Column("payday_id", ID, primary_key=True),
    sa.Column("obligation_id", ID, primary_key=True),
    # What is due: nobody changes it.
    sa.Column("kind", ID, nullable=False),
    sa.Column(
        "place", sa.Integer, nullable=False
    ),  # among those of its kind, from 0 on: workers divide a job by it
    sa.Column("user_id", sa.Text, nullable=False),
    sa.Column("amount_fen", sa.BigInteger, nullable=False),
    # What a strategy believes.
    sa.Column("status", ID, nullable=False, server_default="DUE"),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("version", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("fence", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("claimed_by", sa.Text, nullable=False, server_default=""),
    sa.Column("channel", sa.Text, nullable=False, server_default=""),
    sa.Column("key", sa.Text, nullable=False, server_default=""),
    sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
    # Database time of the last change of status, so that workers need not agree on a clock.
    sa.Column("since", MOMENT, nullable=False, server_default=Now()),
)
# The order in which claim locks look for work: a job must not walk over what is due to the other one.
sa.Index(
    "obligations_by_status",
    obligations.c.payday_id,
    obligations.c.status,
    obligations.c.kind,
    obligations.c.obligation_id,
)


def create(sql: sa.Connection, payday: Payday) -> None:
    """Make the table where it is missing, enter the payday's obligations as DUE, commit."""
    metadata.create_all(sql)
    places = {"interest": count(), "principal": count()}
    rows = [
        {
            "payday_id": payday.payday_id,
            "obligation_id": each.obligation_id,
            "kind": each.kind,
            "place": next(places[each.kind]),
            "user_id": each.user_id,
            "amount_fen": each.amount_fen,
        }
        for each in payday.obligations
    ]
    if rows:
        sql.execute(sa.insert(obligations), rows)
    sql.commit()
    # A planner that takes a new table for empty chooses joins that take seconds.
    sql.exec_driver_sql("ANALYZE TABLE obligations" if sql.dialect.name == "mariadb" else "ANALYZE obligations")
    sql.commit()
