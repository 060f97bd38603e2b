"""Where an exploration lives on MariaDB: a database with its tables, and one with what they held at first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pymysql.connections import Connection

from oversold.explore.operation import EVERYTHING
from oversold.explore.seams.sql_core import Kind, Shape
from oversold.stores.mariadb import COLLATION

INTEGERS = {"tinyint", "smallint", "mediumint", "int", "bigint"}
TEXTS = {"varchar", "text"}

COLUMNS = """
SELECT t.table_name, c.column_name, c.data_type, c.collation_name, c.column_key = 'PRI',
    c.generation_expression <> '',
    EXISTS (SELECT 1 FROM information_schema.statistics s
            WHERE s.table_schema = t.table_schema AND s.table_name = t.table_name
            AND s.non_unique = 0 AND s.index_name <> 'PRIMARY')
    OR coalesce(c.column_default LIKE '%%nextval%%', false),
    EXISTS (SELECT 1 FROM information_schema.triggers g
            WHERE g.event_object_schema = t.table_schema AND g.event_object_table = t.table_name)
    OR EXISTS (SELECT 1 FROM information_schema.referential_constraints f
               WHERE f.constraint_schema = t.table_schema
               AND t.table_name IN (f.table_name, f.referenced_table_name)),
    t.auto_increment
FROM information_schema.tables t
JOIN information_schema.columns c ON c.table_schema = t.table_schema AND c.table_name = t.table_name
WHERE t.table_schema = %s AND t.table_type = 'BASE TABLE'
ORDER BY t.table_name, c.ordinal_position
"""


class Place:
    """A database that nobody else uses, `database`, and a second one with what its tables held at first."""

    def __init__(self, admin: Connection[Any], database: str) -> None:
        self._admin, self.database, self._kept = admin, database, f"{database}_kept"
        self._again: dict[str, list[str]] = {}  # by table: how to empty and fill it
        for each in (self.database, self._kept):
            self._run(f"CREATE DATABASE `{each}` CHARACTER SET utf8mb4 COLLATE {COLLATION}")
        self._run("SET foreign_key_checks = 0")

    def _run(self, sql: str, values: Any = None) -> list[Any]:
        with self._admin.cursor() as cursor:
            cursor.execute(sql, values)
            return list(cursor.fetchall())

    def remember(self) -> dict[str, Shape]:
        """Keep what all tables hold now; return what there is."""
        columns: dict[str, list[str]] = {}
        keys: dict[str, dict[str, Kind]] = {}
        several, linked, counted = set(), set(), {}
        for table, column, kind, collation, in_key, generated, unique, links, number in self._run(
            COLUMNS, [self.database]
        ):
            columns.setdefault(table, [])
            if not generated:
                columns[table].append(f"`{column}`")
            if in_key:
                keys.setdefault(table, {})[column.lower()] = _kind(kind, collation)
            several |= {table} if unique or number is not None else set()
            linked |= {table} if links else set()
            if number is not None:
                counted[table] = number
        for table, names in columns.items():
            self._run(
                f"CREATE OR REPLACE TABLE `{self._kept}`.`{table}` AS SELECT * FROM `{self.database}`.`{table}`"
            )
            listed, own = ", ".join(names), f"`{self.database}`.`{table}`"
            words = [
                f"DELETE FROM {own}",
                f"INSERT INTO {own} ({listed}) SELECT {listed} FROM `{self._kept}`.`{table}`",
            ]
            words += [f"ALTER TABLE {own} AUTO_INCREMENT = {counted[table]}"] if table in counted else []
            self._again[table] = words
        return {
            table: Shape(keys.get(table, {}), single=table not in several, linked=table in linked)
            for table in columns
        }

    def reset(self, stained: Iterable[str]) -> None:
        """Fill all tables again that one of these keys names."""
        stained = set(stained)
        names = {key.split("/")[1] for key in stained if key.count("/")}
        words = [
            word
            for table, again in self._again.items()
            if EVERYTHING in stained or table.lower() in names
            for word in again
        ]
        if not words:
            return
        with self._admin.cursor() as cursor:
            cursor.execute("; ".join(["BEGIN", *words, "COMMIT"]))
            while cursor.nextset():
                continue

    def drop(self) -> None:
        """Remove all of it."""
        for each in (self._kept, self.database):
            self._run(f"DROP DATABASE IF EXISTS `{each}`")


def _kind(data_type: str, collation: str | None) -> Kind:
    """Return how values of a column compare; where several texts count as one, nobody can tell by the value."""
    if data_type in TEXTS and (collation or "").endswith("_nopad_bin"):
        return "text"
    return "integer" if data_type in INTEGERS else "other"
