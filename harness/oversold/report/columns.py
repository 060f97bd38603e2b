"""One table of numpy columns to and from one Parquet file; what every recorded table shares."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from oversold.errors import UsageError
from oversold.evidence import NEVER, Ints


def save(
    columns: Mapping[str, Any],
    path: Path,
    types: Mapping[str, str] | None = None,
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write the columns as a Parquet file, with `notes` about the whole table in its key-value metadata.

    `types` gives SQL types to columns of objects: empty ones have no type that DuckDB could see.
    """
    # Quoted, since FULL is a word of SQL.
    save_made(
        columns,
        {name: f'"{name}"::{types[name]}' if types and name in types else f'"{name}"' for name in columns},
        path,
        notes,
    )


def save_made(
    columns: Mapping[str, Any],
    made: Mapping[str, str],
    path: Path,
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write a Parquet file whose columns are `made` by SQL expressions over `columns`; see `save`.

    Words and seconds that SQL makes row by row need no memory for a million of them.
    """
    selected = ", ".join(f'{expression} AS "{name}"' for name, expression in made.items())
    options = "FORMAT parquet, COMPRESSION zstd"
    if notes:
        options += f", KV_METADATA {{{', '.join(f'{key}: {_quoted(text)}' for key, text in notes.items())}}}"
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")  # a second one is hardly faster, but holds twice the rows in memory
        connection.register("rows", dict(columns))
        connection.execute(f"COPY (SELECT {selected} FROM rows) TO {_quoted(str(path))} ({options})")


def load(path: Path, expected: Collection[str]) -> Mapping[str, Any]:
    """Return the columns of a Parquet file.

    Raises:
        UsageError: it is missing, damaged, or has not all of the `expected` columns.
    """
    with _opened(path) as (connection, plain):
        table: Mapping[str, Any] = connection.execute("SELECT * FROM read_parquet(?)", [plain]).fetchnumpy()
    _check(path, expected, table)
    return table


def load_made(path: Path, made: Mapping[str, str], expected: Collection[str]) -> Iterator[tuple[str, Any]]:
    """Yield name and values of each column that is `made` by an SQL expression over the columns of a Parquet file.

    One after the other, so that a large table is never in memory as a whole.

    Raises:
        UsageError: it is missing, damaged, has not all of the `expected` columns, or a value is missing.
    """
    with _opened(path) as (connection, plain):
        known = [
            row[0] for row in connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [plain]).fetchall()
        ]
        _check(path, expected, known)
        for name, expression in made.items():
            query = f"SELECT {expression} AS made FROM read_parquet(?)"
            values = connection.execute(query, [plain]).fetchnumpy()["made"]
            if np.ma.is_masked(values):
                raise UsageError(f"{path} is damaged: a value of {name} is missing")
            yield name, np.ma.getdata(values)


def _check(path: Path, expected: Collection[str], known: Collection[str]) -> None:
    missing = set(expected) - set(known)
    if missing:
        raise UsageError(f"{path} is a table of something else: it has no {', '.join(sorted(missing))}")


def load_notes(path: Path, expected: Collection[str]) -> dict[str, str]:
    """Return the `notes` that a Parquet file was saved with.

    Raises:
        UsageError: it is missing, damaged, or has not all of the `expected` notes.
    """
    with _opened(path) as (connection, plain):
        rows = connection.execute("SELECT key, value FROM parquet_kv_metadata(?)", [plain]).fetchall()
    told = {bytes(key): bytes(value) for key, value in rows}
    notes = {name: told[name.encode()].decode() for name in expected if name.encode() in told}
    missing = set(expected) - set(notes)
    if missing:
        raise UsageError(f"{path} is a table of something else: it has no note of {', '.join(sorted(missing))}")
    return notes


@contextmanager
def _opened(path: Path) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
    """Give a connection, and the path as DuckDB takes it; what cannot be read is the user's to hear of."""
    if not path.is_file():
        raise UsageError(f"{path} is missing: this folder holds no finished run")
    # DuckDB takes a path for a pattern: brackets make its special characters plain ones.
    plain = re.sub(r"([*?\[])", r"[\1]", str(path))
    try:
        with duckdb.connect() as connection:
            yield connection, plain
    except duckdb.Error as error:
        raise UsageError(f"{path} is damaged: {str(error).splitlines()[0]}") from error


def _quoted(text: str) -> str:
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


def seconds(nanoseconds: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return times in seconds, NaN for `NEVER`. Exact to the nanosecond for a hundred days."""
    return np.where(nanoseconds == NEVER, np.nan, nanoseconds / 1e9)


def nanoseconds(seconds: Any) -> Ints:
    """Return times in nanoseconds, `NEVER` for NaN and NULL."""
    values = np.ma.filled(np.ma.asarray(seconds, np.float64), np.nan)
    return np.where(np.isnan(values), NEVER, np.round(np.nan_to_num(values) * 1e9)).astype(np.int64)


def words(codes: npt.NDArray[Any], known: Sequence[str]) -> npt.NDArray[np.object_]:
    """Return the known word that each code is the index of."""
    return np.asarray(np.array(known, dtype=object)[codes])


def codes(words: Any, known: Sequence[str], path: Path) -> Ints:
    """Return the index of each word among those known.

    Raises:
        UsageError: the file at `path` has a word that is not known.
    """
    index = {word: code for code, word in enumerate(known)}
    try:
        return np.array([index[word] for word in words], np.int64)
    except (KeyError, TypeError) as error:  # a NULL cannot even be looked up
        raise UsageError(f"{path} is damaged: it says {error}, which is none of {', '.join(known)}") from error


def sql_seconds(name: str) -> str:
    """Return the SQL that does to column `name` what `seconds` does to an array; NULL for `NEVER`."""
    return f'CASE WHEN "{name}" <> {NEVER} THEN "{name}" / 1e9 END'


def sql_nanoseconds(name: str) -> str:
    """Return the SQL that does to column `name` what `nanoseconds` does to an array."""
    return f'CASE WHEN isnan("{name}") OR "{name}" IS NULL THEN {NEVER} ELSE round("{name}" * 1e9)::BIGINT END'


def sql_words(name: str, known: Sequence[str]) -> str:
    """Return the SQL that does to column `name` what `words` does to an array."""
    return f'{_listed(known)}["{name}" + 1]'


def sql_codes(name: str, known: Sequence[str]) -> str:
    """Return the SQL that does to column `name` what `codes` does to an array; it fails as that does."""
    known_words = _quoted(f", which is none of {', '.join(known)}")
    text = f"""'it says ' || coalesce("{name}"::VARCHAR, 'nothing') || {known_words}"""
    place = f'list_position({_listed(known)}, "{name}")'
    return f"CASE WHEN {place} > 0 THEN {place} - 1 ELSE error({text}) END"


def _listed(known: Sequence[str]) -> str:
    return f"[{', '.join(map(_quoted, known))}]"
