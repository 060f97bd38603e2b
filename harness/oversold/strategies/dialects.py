"""What the SQL strategies, for bids and for payouts, have to say to PostgreSQL and MariaDB in different words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

ID = sa.String(80)  # MariaDB wants to know how long a key can be


def insert_once(table: sa.Table, **values: sa.ColumnElement[Any]) -> Mapping[str, sa.Insert]:
    """Return, by dialect name, an INSERT whose `rowcount` is 0 where a row with the same key is there already."""
    on_postgresql = postgresql.insert(table).values(values).on_conflict_do_nothing()
    on_mariadb = sa.insert(table).values(values).prefix_with("IGNORE")
    # Unless it is told to, SQLAlchemy forgets how many rows an INSERT made.
    return {
        "postgresql": on_postgresql.execution_options(preserve_rowcount=True),
        "mariadb": on_mariadb.execution_options(preserve_rowcount=True),
        # It knows PostgreSQL's words; policies are also tried out there, without a server.
        "sqlite": on_postgresql.execution_options(preserve_rowcount=True),
    }
