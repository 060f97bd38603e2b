"""Which keys an SQL statement touches: rows where it names their primary keys, else whole tables, else everything.

Too coarse is always right: it costs time. Too fine would leave out orders that matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from oversold.explore.naming import Naming
from oversold.explore.operation import EVERYTHING
from oversold.explore.seams.sql_core import Compiled, Kind, Shape, Touch, has_text, selects, touches

# In one pass, since each may have in it what looks like the beginning of another.
QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|--[^\n]*|/\*.*?\*/""", re.DOTALL)
# What servers read in different ways, or where a pattern cannot tell the end of a literal or a comment.
UNCLEAR = re.compile(r"\\|#|\$\w*\$|/\*[!+M]|--[^\s]")
PARAMETERS = re.compile(r"%\(\w+\)s|%s")
WORDS = re.compile(r"[a-z_][\w$]*")
SELECTS = re.compile(r"\bselect\b")
SOUGHT = re.compile(r"\b(?:order by|limit|fetch)\b")
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
WRITTEN = re.compile(
    r"\b(?:insert\s+(?:ignore\s+)?into|update|delete\s+from|replace\s+into)\s+(?:only\s+)?([\w.]+)"
)
CHANGES = re.compile(r"(?<!for )(?<!key )(?<!do )\bupdate\b|\bdelete\b")
READS = re.compile(r"[\s(]*(?:select|with)\b")
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
    that outlives the transaction; `clock` that it looks at the time; `besides` that what it does may depend on
    more than the rows that it locks, as they are when it gets them.
    """

    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    locks: frozenset[str] = frozenset()
    unseen: bool = False
    held: bool = False
    clock: bool = False
    besides: bool = False


def everything() -> Touched:
    """Return what a statement touches of which nobody knows anything."""
    known = frozenset({EVERYTHING})
    return Touched(known, known, known, besides=True)


def bare(sql: str) -> str:
    """Return a statement in lower case, without literals, comments, and the quotes of names; nothing if unclear.

    >>> bare("SELECT '--', \\"rest\\" FROM stock -- all")
    "select '', rest from stock"
    """
    found = QUOTED.findall(sql)
    comments = [each for each in found if each.startswith(("--", "/*"))]
    rest = QUOTED.sub(_unquoted, sql)
    if any(UNCLEAR.search(each) or "/*" in each[1:] for each in [*comments, rest]) or "\\" in "".join(found):
        return ""
    return " ".join(rest.lower().split())


def _unquoted(found: re.Match[str]) -> str:
    word = found.group()
    if word[0] in "-/":
        return " "
    return "''" if word[0] == "'" else word[1:-1]


def touched(
    sql: str,
    parameters: Any,
    tables: Mapping[str, Shape],
    naming: Naming,
    core: Compiled | None = None,
    own_functions: frozenset[str] = frozenset(),
) -> Touched:
    """Return which keys a statement touches.

    Args:
        sql: its text, as it goes to the server.
        parameters: the values that go with it.
        tables: all tables there are.
        core: what SQLAlchemy made the text of; None when somebody wrote it.
        own_functions: those that somebody made, whatever the server's own of the same name do.
    """
    text = bare(sql)
    verb = VERB.match(text)
    word = verb.group(1) if verb else ""
    if word in UNSEEN and "(" not in text:
        return Touched(unseen=True, clock=False)
    if word in NOTHING:
        return Touched()
    known = word in {"select", "insert", "update", "delete", "with"} and own_functions.isdisjoint(
        CALLS.findall(text)
    )
    found = _rows(text, tables, naming, core) if known else None
    if found is None or ";" in text.rstrip("; \n"):
        return replace(everything(), clock=bool(CLOCK.search(text or sql.lower())))
    reads, writes, locks, besides = found
    advisory = ADVISORY.findall(text)
    if advisory:
        locks |= {_advisory(text, parameters, naming)}
    return Touched(
        frozenset(reads),
        frozenset(writes),
        frozenset(locks),
        held=any("xact" not in name for name in advisory),
        clock=bool(CLOCK.search(text)),
        besides=besides or bool(advisory and reads) or bool(SOUGHT.search(text)),
    )


def _rows(
    text: str, tables: Mapping[str, Shape], naming: Naming, core: Compiled | None
) -> tuple[set[str], set[str], set[str], bool] | None:
    """Return the data keys that are read and written, the lock keys, and whether it looks elsewhere than where it
    locks; None when nobody knows."""
    expressions = set(CTES.findall(text))
    found = {one or other for one, other in TABLES.findall(text)}
    named = {name for name in found if name not in expressions and not _no_table(name)}
    called = {name for name in CALLS.findall(text) if not ADVISORY.match(name)}
    if not called <= HARMLESS | expressions | named | tables.keys() or LISTED.search(text):
        return None
    if any(name not in tables or tables[name].linked for name in named):
        return None
    if not named and not READS.match(text):
        return None
    # A table in a place of which no pattern knows, as in FROM one JOIN other ON ..., third; or TABLE one.
    words = set(WORDS.findall(PARAMETERS.sub(" ", text)))
    if "table" in words or any(name.lower() in words for name in tables.keys() - named):
        return None
    looks = len(SELECTS.findall(text))
    if core is not None:
        parts = list(touches(core, tables))
        besides = len(parts) > 1 and not all(touch.writes or touch.locks for touch in parts)
        if has_text(core) or looks > selects(core):
            besides, parts = True, [replace(touch, pins={}) for touch in parts]
    else:
        parts = list(_text(text, named))
        places = [name for pair in TABLES.findall(text) for name in pair if name and not _no_table(name)]
        besides = len(places) > 1 or looks > text.startswith("select")
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
    return reads, writes, locks, besides


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
    """Yield what a statement touches that somebody wrote as text: whole tables.

    An UPDATE or DELETE of several tables may write each of them, as `UPDATE one JOIN other` does on MariaDB.
    """
    locking = bool(FEATURES.search(text))
    written = set(WRITTEN.findall(text))
    if (len(named) > 1 and CHANGES.search(text)) or (not written and not READS.match(text)):
        written = named
    for name in named:
        yield Touch(name, writes=name in written, locks=locking)
