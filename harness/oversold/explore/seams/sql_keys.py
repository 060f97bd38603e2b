"""Which keys an SQL statement touches: rows where it names their primary keys, else whole tables, else everything.

Too coarse is always right: it costs time. Too fine would leave out orders that matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from oversold.explore.naming import Naming
from oversold.explore.operation import EVERYTHING
from oversold.explore.seams.sql_core import Compiled, Kind, Shape, Touch, touches

COMMENTS = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
LITERALS = re.compile(r"'(?:[^']|'')*'")
QUOTES = re.compile(r'["`]')
PARAMETERS = re.compile(r"%\(\w+\)s|%s")
VERB = re.compile(r"[\s(]*([a-z]+)")
TABLES = re.compile(
    r"\binto\s+([a-z_][\w.$]*)"
    r"|\b(?:from|join|(?<!key )(?<!for )update|using)\s+(?:only\s+)?([a-z_][\w.$]*)\b(?!\s*\()"
)
LISTED = re.compile(r"\bfrom\s+[a-z_][\w.]*(?:\s+(?:as\s+)?\w+)?\s*,")  # FROM one, other
FEATURES = re.compile(
    r"\b(?:no\s+key\s+)?for\s+(?:no\s+key\s+)?(?:update|share|key\s+share)\b|\block\s+in\s+share\s+mode"
)
CTES = re.compile(
    r"(?:\bwith(?:\s+recursive)?|,)\s+([a-z_]\w*)\s*(?:\([^()]*\))?\s+as\s*(?:(?:not\s+)?materialized\s*)?\("
)
CALLS = re.compile(r"\b([a-z_][\w.]*)\s*\(")
ADVISORY = re.compile(
    r"\b(pg_(?:try_)?advisory_\w+|get_lock|release_lock|release_all_locks|is_free_lock|is_used_lock)\b"
)
NAMED = re.compile(r"(?:advisory_\w+|_lock)\(\s*(?:cast\(\s*)?%(?:\(\w+\))?s")
CLOCK = re.compile(
    r"\b(?:now|clock_timestamp|statement_timestamp|transaction_timestamp|current_timestamp|localtimestamp|"
    r"utc_timestamp|sysdate|unix_timestamp|current_time|current_date|curdate|utc_date)\b"
)
# They touch no data. What they set belongs to the connection or the transaction, which is its actor's own.
UNSEEN = {"set", "show", "begin", "start", "use"}
NOTHING = {"savepoint", "release"}
# Words before a bracket that call nothing, and functions that look at nothing but their arguments and the clock.
HARMLESS = frozenset(
    re.findall(
        r"\w+",
        """
        values in and or not on from where select as set when then else case by using join union except intersect
        all distinct between like limit offset returning conflict filter partition into index key with
        materialized over exists any some recursive update delete insert table lateral within group interval
        array row cast convert varchar char character numeric decimal bigint integer timestamp timestamptz time
        bit float double text count sum min max avg coalesce nullif greatest least abs round floor ceil ceiling
        mod sign power sqrt lower upper length char_length octet_length substr substring trim ltrim rtrim replace
        concat concat_ws position left right extract date_trunc date date_part to_char to_timestamp make_interval
        now clock_timestamp statement_timestamp transaction_timestamp current_timestamp localtimestamp
        utc_timestamp sysdate unix_timestamp from_unixtime timestampdiff timestampadd date_add date_sub if ifnull
        isnull row_number rank dense_rank lag lead first_value last_value array_agg string_agg group_concat
        json_agg jsonb_agg json_build_object jsonb_build_object json_object json_arrayagg bool_and bool_or unnest
        generate_series md5 hashtext crc32
        """,
    )
)


@dataclass(frozen=True)
class Touched:
    """What a statement touches.

    `reads` and `writes` are keys of data, `locks` those of locks: what a transaction writes is seen by others when
    it commits, what it locks at once. `unseen` touches no data at all. `held` tells that it takes or frees a lock
    that outlives the transaction; `clock` that it looks at the time.
    """

    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    locks: frozenset[str] = frozenset()
    unseen: bool = False
    held: bool = False
    clock: bool = False


def everything() -> Touched:
    """Return what a statement touches of which nobody knows anything."""
    known = frozenset({EVERYTHING})
    return Touched(known, known, known)


def touched(
    sql: str, parameters: Any, tables: Mapping[str, Shape], naming: Naming, core: Compiled | None = None
) -> Touched:
    """Return which keys a statement touches.

    Args:
        sql: its text, as it goes to the server.
        parameters: the values that go with it.
        tables: all tables there are.
        core: what SQLAlchemy made the text of; None when somebody wrote it.
    """
    text = " ".join(QUOTES.sub("", LITERALS.sub("''", COMMENTS.sub(" ", sql))).lower().split())
    verb = VERB.match(text)
    word = verb.group(1) if verb else ""
    if word in UNSEEN and "(" not in text:
        return Touched(unseen=True, clock=False)
    if word in NOTHING:
        return Touched()
    found = _rows(text, tables, naming, core) if word in {"select", "insert", "update", "delete", "with"} else None
    if found is None or ";" in text.rstrip("; \n"):
        return everything()
    reads, writes, locks = found
    advisory = ADVISORY.findall(text)
    if advisory:
        locks |= {_advisory(text, parameters, naming)}
    return Touched(
        frozenset(reads),
        frozenset(writes),
        frozenset(locks),
        held=any("xact" not in name for name in advisory),
        clock=bool(CLOCK.search(text)),
    )


def _rows(
    text: str, tables: Mapping[str, Shape], naming: Naming, core: Compiled | None
) -> tuple[set[str], set[str], set[str]] | None:
    """Return the data keys that are read and written and the lock keys; None when nobody knows."""
    expressions = set(CTES.findall(text))
    found = {one or other for one, other in TABLES.findall(text)}
    named = {name for name in found if name not in expressions and not _no_table(name)}
    called = {name for name in CALLS.findall(text) if not ADVISORY.match(name)}
    if not called <= HARMLESS | expressions | named | tables.keys() or LISTED.search(text):
        return None
    if any(name not in tables or tables[name].linked for name in named):
        return None
    parts = list(touches(core, tables)) if core is not None else list(_text(text, named))
    if {touch.table for touch in parts} != named:
        return None
    reads, writes, locks = set(), set(), set()
    for touch in parts:
        key = _key(touch, tables[touch.table], naming)
        reads.add(f"sql/{key}")
        if touch.writes:
            writes.add(f"sql/{key}")
        if touch.locks or touch.writes:
            locks.add(f"sql-lock/{key}")
    return reads, writes, locks


def _no_table(word: str) -> bool:
    return word in {"select", "set", "skip", "nowait", "of", "share", "values", "lateral"}


def _advisory(text: str, parameters: Any, naming: Naming) -> str:
    """Return the key of an advisory lock: its name, where that is the statement's only parameter."""
    values = list(parameters.values()) if isinstance(parameters, Mapping) else list(parameters or ())
    if len(ADVISORY.findall(text)) != 1 or len(values) != 1 or not NAMED.search(text):
        return "sql-lock/advisory/*"
    return f"sql-lock/advisory/{naming.of(values[0])}"


def _key(touch: Touch, shape: Shape, naming: Naming) -> str:
    if touch.writes and not shape.single:
        return f"{touch.table}/*"
    values = [_exact(touch.pins.get(column), kind) for column, kind in shape.key.items()]
    if not values or None in values:
        return f"{touch.table}/*"
    return f"{touch.table}/{','.join(naming.of(value) for value in values)}"


def _exact(value: Any, kind: Kind) -> str | None:
    """Return a value of which equality in the server is equality of texts; None of others."""
    if kind == "integer" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if kind == "text" and isinstance(value, str) else None


def _text(text: str, named: set[str]) -> Iterator[Touch]:
    """Yield what a statement touches that somebody wrote as text: whole tables."""
    locking = bool(FEATURES.search(text))
    written = set(
        re.findall(
            r"\b(?:insert\s+(?:ignore\s+)?into|update|delete\s+from|replace\s+into)\s+(?:only\s+)?([\w.]+)", text
        )
    )
    for name in named:
        yield Touch(name, writes=name in written, locks=locking)
