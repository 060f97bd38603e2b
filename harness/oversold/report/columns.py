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
    selected = ", ".join(
        f'"{name}"::{types[name]} AS "{name}"' if types and name in types else f'"{name}"' for name in columns
    )
    options = "FORMAT parquet, COMPRESSION zstd"
    if notes:
        options += f", KV_METADATA {{{', '.join(f'{key}: {_quoted(text)}' for key, text in notes.items())}}}"
    with duckdb.connect() as connection:
        connection.register("rows", dict(columns))
        connection.execute(f"COPY (SELECT {selected} FROM rows) TO {_quoted(str(path))} ({options})")


def load(path: Path, expected: Collection[str]) -> Mapping[str, Any]:
    """Return the columns of a Parquet file.

    Raises:
        UsageError: it is missing, damaged, or has not all of the `expected` columns.
    """
    with _opened(path) as (connection, plain):
        table: Mapping[str, Any] = connection.execute("SELECT * FROM read_parquet(?)", [plain]).fetchnumpy()
    missing = set(expected) - set(table)
    if missing:
        raise UsageError(f"{path} is a table of something else: it has no {', '.join(sorted(missing))}")
    return table


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
