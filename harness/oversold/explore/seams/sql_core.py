"""What a statement of SQLAlchemy Core is made of: its tables, and the rows that it names by equality."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.dml import Delete, Insert, Update, UpdateBase
from sqlalchemy.sql.elements import BinaryExpression, BindParameter, BooleanClauseList, ColumnClause, Grouping
from sqlalchemy.sql.selectable import AliasedReturnsRows, Select, SelectBase

LOOKS = re.compile(r"\b(?:select|from|table|join)\b", re.IGNORECASE)

Kind = Literal["integer", "text", "other"]


@dataclass(frozen=True)
class Shape:
    """What the server knows of a table: the primary key's columns with their kinds.

    `single` tells that writing a row depends on no other row (by another constraint, or a number that the server
    counts up); `linked` that touching it touches others (triggers, foreign keys, partitions).
    """

    key: Mapping[str, Kind] = field(default_factory=dict)
    single: bool = True
    linked: bool = False


@dataclass(frozen=True)
class Compiled:
    """A statement of SQLAlchemy Core as it goes out: what it is made of, and the values of its parameters."""

    statement: Any
    names: Mapping[Any, str]  # of its parameters
    values: Mapping[str, Any]
    many: bool = False  # several rows of parameters at once

    def value(self, bind: Any, default: str = "") -> Any:
        """Return the value of a parameter; None when there is none to be found."""
        name = self.names.get(bind)
        if name is None:
            name = next((each for each in (getattr(bind, "key", ""), default) if each in self.values), "")
        return None if self.many else self.values.get(name)


@dataclass(frozen=True)
class Touch:
    """One table in one place of a statement; `pins` has the values of the columns that are named with `=`."""

    table: str
    pins: Mapping[str, Any] = field(default_factory=dict)
    writes: bool = False
    locks: bool = False


def touches(core: Compiled, tables: Mapping[str, Shape]) -> Iterator[Touch]:
    """Yield which tables a statement touches, part by part."""
    seen = set()
    for touch in _parts(core, tables):
        seen.add(touch.table)
        yield touch
    for each in visitors.iterate(core.statement):
        table = each if isinstance(each, sa.TableClause) else getattr(each, "table", None)
        sources: tuple[Any, ...] = (each, table)
        for source in sources:
            if _is_alias(source):  # the same table once more, of which any row may be meant
                yield Touch(_full_name(source.element))
        if isinstance(table, sa.TableClause) and table.name not in seen:
            seen.add(table.name)
            yield Touch(_full_name(table))


def selects(core: Compiled) -> int:
    """Return how many SELECTs are known inside of a statement; its text has more where somebody wrote some."""
    return len({id(part) for part in _statements(core.statement) if isinstance(part, Select)})


def has_text(core: Compiled) -> bool:
    """Tell whether somebody wrote a part of a statement as text that looks into tables."""
    fragments = (
        str(getattr(each, "text", ""))
        for each in visitors.iterate(core.statement)
        if isinstance(each, sa.TextClause) or getattr(each, "is_literal", False)
    )
    return any(LOOKS.search(fragment) for fragment in fragments)


def _parts(core: Compiled, tables: Mapping[str, Shape]) -> Iterator[Touch]:
    for part in _statements(core.statement):
        if isinstance(part, Select):
            yield from _select(part, core)
        elif isinstance(part, UpdateBase) and not isinstance(part.table, sa.TableClause):  # a join
            joined = [each for each in visitors.iterate(part.table) if isinstance(each, sa.TableClause)]
            yield from (Touch(_full_name(each), writes=True) for each in joined)
        elif isinstance(part, UpdateBase):
            name = _full_name(part.table)
            pins = _insert_pins(part, core) if isinstance(part, Insert) else _pins(part, part.table, core)
            shape = tables.get(name, Shape())
            if not shape.key.keys().isdisjoint(_changed_columns(part)):
                pins = {}  # it moves the row to another key
            yield Touch(name, pins, writes=True)


def _statements(statement: Any) -> Iterator[Any]:
    """Yield a statement and all that are inside of it."""
    for each in visitors.iterate(statement):
        if isinstance(each, Select | UpdateBase):
            yield each
        for inner in getattr(each, "_independent_ctes", ()):
            yield from _statements(inner.element)
        if isinstance(each, Insert) and each.select is not None:
            yield from _statements(each.select)


def _select(part: Any, core: Compiled) -> Iterator[Touch]:
    locks = part._for_update_arg is not None
    for table in _own_tables(part):
        if isinstance(table, sa.TableClause):
            yield Touch(_full_name(table), _pins(part, table, core), locks=locks)
        else:  # an alias
            yield Touch(_full_name(table.element), locks=locks)


def _own_tables(part: Any) -> list[Any]:
    """Return the tables that a SELECT looks at itself, without those of the statements inside of it."""
    found: dict[Any, None] = {}
    left = list(part.get_children())
    while left:
        each = left.pop()
        if isinstance(each, SelectBase | UpdateBase | AliasedReturnsRows) and not _is_alias(each):
            continue
        for source in (each, getattr(each, "table", None)):
            if isinstance(source, sa.TableClause) or _is_alias(source):
                found[source] = None
        if not isinstance(each, sa.TableClause | ColumnClause):
            left += each.get_children()
    return list(found)


def _is_alias(source: Any) -> bool:
    return isinstance(source, AliasedReturnsRows) and isinstance(source.element, sa.TableClause)


def _full_name(table: Any) -> str:
    return f"{table.schema}.{table.name}".lower() if getattr(table, "schema", None) else str(table.name).lower()


def _pins(part: Any, table: Any, core: Compiled) -> dict[str, Any]:
    """Return the columns of a table that must equal a parameter, with its value."""
    pins = {}
    for clause in _conjunction(getattr(part, "whereclause", None)):
        if isinstance(clause, BinaryExpression) and clause.operator is operators.eq:
            for column, bind in ((clause.left, clause.right), (clause.right, clause.left)):
                if isinstance(column, ColumnClause) and column.table is table and isinstance(bind, BindParameter):
                    pins[column.name.lower()] = core.value(bind)
    return pins


def _conjunction(clause: Any) -> Iterator[Any]:
    if isinstance(clause, Grouping):
        yield from _conjunction(clause.element)
    elif isinstance(clause, BooleanClauseList) and clause.operator is operators.and_:
        for each in clause.clauses:
            yield from _conjunction(each)
    elif clause is not None:
        yield clause


def _insert_pins(part: Any, core: Compiled) -> dict[str, Any]:
    """Return the columns that an INSERT of one row sets to a parameter, with its value."""
    if part._multi_values or part.select is not None:
        return {}
    if part._values:
        given = {_name(column): bind for column, bind in part._values.items() if isinstance(bind, BindParameter)}
        pins = {name: core.value(bind, name) for name, bind in given.items()}
    else:
        pins = {name: None if core.many else value for name, value in core.values.items()}
    return {name.lower(): value for name, value in pins.items()}


def _changed_columns(part: Any) -> set[str]:
    """Return the columns that an UPDATE sets, or an INSERT whose row is there already."""
    if isinstance(part, Update):
        return {_name(column).lower() for column in (part._values or {})}
    if isinstance(part, Delete):
        return set()
    clause = getattr(part, "_post_values_clause", None)
    changes: Any = getattr(clause, "update_values_to_set", None) or getattr(clause, "update", None) or ()
    columns = changes if isinstance(changes, Mapping) else [column for column, _ in changes]
    return {_name(column).lower() for column in columns}


def _name(column: Any) -> str:
    return str(getattr(column, "name", column))
