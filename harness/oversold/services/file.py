"""A service file as it is on disk: read, with its paths made whole."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oversold.errors import UsageError

MAX_BYTES = 1_000_000
_SQLITE = re.compile(r"(sqlite(?:\+\w+)?:///)(?!/|:memory:|file:|$|\?|\$)(.*)", re.DOTALL)


def table_of(path: Path) -> dict[str, Any]:
    """Read a TOML file that is not empty.

    Raises:
        UsageError: one line that names the file and why it cannot be read.
    """
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{path}: it is no file: name the TOML file of a service")
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such file") from None
    except OSError as error:
        raise UsageError(f"{path}: it cannot be read: {error.strerror or 'it is no file'}") from error
    except ValueError as error:  # a zero byte in its name
        raise UsageError(f"{str(path)!r}: it is no name of a file") from error
    if len(raw) > MAX_BYTES:
        raise UsageError(f"{path}: it is larger than {MAX_BYTES:,} bytes: a service file is a page of TOML")
    try:
        table = tomllib.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}: it is not UTF-8 at line {line}: save it as UTF-8") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{path}: it is no TOML: {' '.join(str(error).split())}") from error
    if not table:
        raise UsageError(f'{path}: it is empty: it needs at least url = "http://127.0.0.1:8080"')
    return table


def beside(table: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the file's table with paths taken from its folder, and its stem for a name it does not have."""
    folder = path.resolve().parent
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._")[:40] or "service"
    whole = {"name": stem, **table}
    if isinstance(whole.get("ca_file"), str):
        whole["ca_file"] = str(folder / whole["ca_file"])
    ledger = whole.get("ledger")
    if isinstance(ledger, Mapping):
        whole["ledger"] = _whole_ledger(ledger, str(folder))
    return whole


def _whole_ledger(ledger: Mapping[str, Any], folder: str) -> dict[str, Any]:
    whole = dict(ledger)
    csv, sql = whole.get("csv"), whole.get("sql")
    if isinstance(csv, str) and csv and not csv.startswith("/"):
        whole["csv"] = f"{folder.replace('{', '{{').replace('}', '}}')}/{csv}"
    if isinstance(sql, str) and (match := _SQLITE.fullmatch(sql)):
        whole["sql"] = f"{match[1]}{folder}/{match[2]}"
    return whole


def absent_is_default(table: Any) -> Any:
    """Return a request's table without the default JSON body where it has a form."""
    if (
        isinstance(table, Mapping)
        and table.get("form") is not None
        and "json" not in table
        and "json_" not in table
    ):
        return {**table, "json": None}
    return table
