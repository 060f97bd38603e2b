"""Where an exploration lives on PostgreSQL: a schema with tables and a clock, and what they held at first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import psycopg

from oversold.explore.operation import EVERYTHING
from oversold.explore.seams.sql_core import Kind, Shape

EPOCH = "2024-01-01 00:00:00+00"
CLOCKS = {
    "clock_timestamp": "VOLATILE",
    "now": "STABLE",
    "statement_timestamp": "STABLE",
    "transaction_timestamp": "STABLE",
}
INTEGERS = {"int2", "int4", "int8"}
TEXTS = {"text", "varchar"}
# After so many rows that were deleted and inserted again the tables are cleaned up: what SERIALIZABLE takes for a
# conflict depends on which rows share a page, and that is to be the same in every execution.
CLEAN_AFTER = 64

COLUMNS = """
SELECT c.relname, c.relkind, a.attname, t.typname, coalesce(a.attnum = ANY (i.indkey), false),
    a.attgenerated <> '',
    EXISTS (SELECT FROM pg_index u WHERE u.indrelid = c.oid AND u.indisunique AND NOT u.indisprimary)
        OR EXISTS (SELECT FROM pg_constraint x WHERE x.conrelid = c.oid AND x.contype = 'x')
        OR a.attidentity <> ''
        OR EXISTS (SELECT FROM pg_attrdef d WHERE d.adrelid = c.oid AND d.adnum = a.attnum
                   AND pg_get_expr(d.adbin, d.adrelid) LIKE '%%nextval(%%'),
    c.relhassubclass OR c.relispartition OR c.relhasrules
        OR EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid)
        OR EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = c.oid)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
WHERE n.nspname = %s AND c.relkind IN ('r', 'p')
ORDER BY c.relname, array_position(i.indkey::smallint[], a.attnum), a.attnum
"""
REFERENCES = """
SELECT child.relname, parent.relname
FROM pg_constraint f
JOIN pg_class child ON child.oid = f.conrelid
JOIN pg_class parent ON parent.oid = f.confrelid
JOIN pg_namespace n ON n.oid = child.relnamespace
WHERE f.contype = 'f' AND n.nspname = %s AND child.oid <> parent.oid
"""
FUNCTIONS = """
SELECT lower(p.proname) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = %s
"""
SEQUENCES = "SELECT sequencename FROM pg_sequences WHERE schemaname = %s AND sequencename <> 'clock_us'"


class Place:
    """A schema that nobody else uses, `schema`, and a second one with what its tables held at first."""

    def __init__(self, admin: psycopg.Connection[Any], schema: str) -> None:
        self._admin, self.schema, self._kept = admin, schema, f"{schema}_kept"
        self._now_us = 0
        self._again: dict[str, str] = {}  # by table, parents first: how to fill it again
        self._sequences = ""
        self._rows: dict[str, int] = {}  # that are kept of each table
        self._turned = 0
        admin.execute(f'CREATE SCHEMA "{schema}"')
        admin.execute(f'CREATE SEQUENCE "{schema}".clock_us')
        for name, volatility in CLOCKS.items():
            # A sequence is what all transactions see at once, whatever their snapshots.
            admin.execute(
                f'CREATE FUNCTION "{schema}".{name}() RETURNS timestamptz LANGUAGE sql {volatility} AS '
                f"$$ SELECT timestamptz '{EPOCH}' + (last_value - 1) * interval '1 microsecond' "
                f'FROM "{schema}".clock_us $$'
            )

    def pass_time(self, now_s: float) -> None:
        """Let the clock show this many seconds since the epoch."""
        now_us = int(now_s * 1_000_000)
        if now_us != self._now_us:
            self._now_us = now_us
            self._admin.execute("SELECT setval(%s, %s)", [f'"{self.schema}".clock_us', now_us + 1])

    def remember(self) -> dict[str, Shape]:
        """Keep what all tables hold now; return what there is."""
        admin = self._admin
        admin.execute(f'DROP SCHEMA IF EXISTS "{self._kept}" CASCADE')
        admin.execute(f'CREATE SCHEMA "{self._kept}"')
        rows = admin.execute(COLUMNS, [self.schema]).fetchall()
        columns: dict[str, list[str]] = {}
        keys: dict[str, dict[str, Kind]] = {}
        several, linked = set(), set()
        for table, kind, column, type_name, in_key, generated, single, links in rows:
            columns.setdefault(table, [])
            if not generated:
                columns[table].append(f'"{column}"')
            if in_key:
                keys.setdefault(table, {})[column.lower()] = _kind(type_name)
            several |= {table} if single else set()
            linked |= {table} if links or kind == "p" else set()
        for table in columns:
            kept = admin.execute(f'CREATE TABLE "{self._kept}"."{table}" AS TABLE "{self.schema}"."{table}"')
            self._rows[table] = kept.rowcount
            # Cleaned up by `reset`, at moments that are the same in every exploration.
            if table not in linked:
                admin.execute(f'ALTER TABLE "{self.schema}"."{table}" SET (autovacuum_enabled = false)')
        self._again = {table: self._filling(table, columns[table]) for table in self._parents_first(columns)}
        self._remember_sequences()
        return {
            table: Shape(keys.get(table, {}), single=table not in several, linked=table in linked)
            for table in columns
        }

    def functions(self) -> frozenset[str]:
        """Return the names of the functions that somebody made, besides the clock's."""
        found = self._admin.execute(FUNCTIONS, [self.schema]).fetchall()
        return frozenset(name for (name,) in found) - CLOCKS.keys()

    def _filling(self, table: str, columns: list[str]) -> str:
        names = ", ".join(columns)
        return (
            f'INSERT INTO "{self.schema}"."{table}" ({names}) OVERRIDING SYSTEM VALUE '
            f'SELECT {names} FROM "{self._kept}"."{table}"'
        )

    def _parents_first(self, tables: Iterable[str]) -> list[str]:
        references = self._admin.execute(REFERENCES, [self.schema]).fetchall()
        left, ordered = list(tables), []
        while left:
            free = [
                table
                for table in left
                if not any(child == table and parent in left for child, parent in references)
            ]
            ordered += free or left  # tables that refer to one another in a circle
            left = [table for table in left if table not in ordered]
        return ordered

    def _remember_sequences(self) -> None:
        words = []
        for (name,) in self._admin.execute(SEQUENCES, [self.schema]).fetchall():
            row = self._admin.execute(f'SELECT last_value, is_called FROM "{self.schema}"."{name}"').fetchone()
            assert row is not None
            words.append(f"""SELECT setval('"{self.schema}"."{name}"', {row[0]}, {str(row[1]).lower()})""")
        self._sequences = "; ".join(words)

    def reset(self, stained: Iterable[str]) -> None:
        """Fill all tables again that one of these keys names."""
        stained = set(stained)
        names = {key.split("/")[1] for key in stained if key.count("/")}
        tables = [table for table in self._again if EVERYTHING in stained or table in names]
        if not tables:
            return
        self._turned += sum(1 + self._rows[table] for table in tables)
        cleaning = self._turned > CLEAN_AFTER
        if cleaning:
            tables, self._turned = list(self._again), 0
        emptying = [f'DELETE FROM "{self.schema}"."{table}"' for table in reversed(tables)]
        if cleaning:
            for each in emptying:
                self._admin.execute(each)
            for table in tables:
                self._admin.execute(f'VACUUM (INDEX_CLEANUP ON) "{self.schema}"."{table}"')
        words = [*emptying, *(self._again[table] for table in tables)]
        if self._sequences:
            words.append(self._sequences)
        self._admin.pgconn.exec_("; ".join(words).encode())

    def drop(self) -> None:
        """Remove all of it."""
        for schema in (self._kept, self.schema):
            self._admin.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')


def _kind(type_name: str) -> Kind:
    return "integer" if type_name in INTEGERS else "text" if type_name in TEXTS else "other"
