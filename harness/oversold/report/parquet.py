"""Write and read the columns of a run as Parquet, for DuckDB and anything else that reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from oversold.errors import UsageError
from oversold.evidence import HISTORY, NEVER, Claims, HoldEnd, Ledger, Outcome, RefusedBy, StatusLog

TIMES = ("t_intended", "t_admitted", "t_sent", "t_reserved", "t_done")
WORDS = {"outcome": Outcome, "hold": HoldEnd, "refused_by": RefusedBy}
COLUMNS = {
    "history": {f"{name}_s" if name in TIMES else name for name in HISTORY.names or ()},
    "orders": {"bid", "amount_fen", "t_s", "refused"},
    "status_log": {"t_s", "full"},
    "claims": {"t_s", "remaining_fen", "full"},
}


def write(
    folder: Path, history: npt.NDArray[np.void], ledger: Ledger, status_log: StatusLog, claims: Claims
) -> None:
    """Write history, orders, status_log and claims into `folder`. Times are seconds since the gate opened."""
    columns: dict[str, Any] = {}
    for name in HISTORY.names or ():
        if name in TIMES:
            seconds = history[name] / 1e9
            columns[f"{name}_s"] = np.where(history[name] == NEVER, np.nan, seconds)
        elif name in WORDS:
            names = np.array([member.name.lower() for member in WORDS[name]], dtype=object)
            columns[name] = names[history[name]]
        else:
            columns[name] = history[name].astype(np.int64)
    columns["final"] = history["final"] == 1
    # Empty object columns have no type that DuckDB could see.
    _copy(columns, folder / "history.parquet", dict.fromkeys(WORDS, "VARCHAR"))
    refused = len(ledger.refused)
    orders = {
        "bid": np.concatenate([ledger.bid, ledger.refused]),
        "amount_fen": np.concatenate([ledger.amount_fen, np.zeros(refused, np.int64)]),
        "t_s": np.concatenate([ledger.t / 1e9, np.full(refused, np.nan)]),
        "refused": np.concatenate([np.zeros(len(ledger.bid), bool), np.ones(refused, bool)]),
    }
    _copy(orders, folder / "orders.parquet")
    _copy({"t_s": status_log.t / 1e9, "full": status_log.full}, folder / "status_log.parquet")
    claimed = {"t_s": claims.t / 1e9, "remaining_fen": claims.remaining_fen, "full": claims.full}
    _copy(claimed, folder / "claims.parquet")


def _copy(columns: Mapping[str, Any], path: Path, types: Mapping[str, str] | None = None) -> None:
    # Quoted, since FULL is a word of SQL.
    selected = ", ".join(
        f'"{name}"::{types[name]} AS "{name}"' if types and name in types else f'"{name}"' for name in columns
    )
    with duckdb.connect() as connection:
        connection.register("rows", dict(columns))
        target = str(path).replace("'", "''")
        connection.execute(f"COPY (SELECT {selected} FROM rows) TO '{target}' (FORMAT parquet, COMPRESSION zstd)")


def read(folder: Path) -> tuple[npt.NDArray[np.void], Ledger, StatusLog, Claims]:
    """Read what `write` wrote.

    Raises:
        UsageError: a file is missing, damaged, or not one of ours.
    """
    tables = {name: _load(folder / f"{name}.parquet") for name in COLUMNS}
    rows = tables["history"]
    history = np.zeros(len(rows["bid"]), HISTORY)
    for name in HISTORY.names or ():
        if name in TIMES:
            history[name] = _nanoseconds(rows[f"{name}_s"])
        elif name in WORDS:
            codes = {member.name.lower(): int(member) for member in WORDS[name]}
            history[name] = [codes[word] for word in rows[name]]
        else:
            history[name] = rows[name]
    orders, log, claimed = tables["orders"], tables["status_log"], tables["claims"]
    kept = ~np.asarray(orders["refused"], bool)
    ledger = Ledger(
        bid=np.asarray(orders["bid"], np.int64)[kept],
        amount_fen=np.asarray(orders["amount_fen"], np.int64)[kept],
        t=_nanoseconds(orders["t_s"])[kept],
        refused=np.asarray(orders["bid"], np.int64)[~kept],
    )
    return (
        history,
        ledger,
        StatusLog(_nanoseconds(log["t_s"]), np.asarray(log["full"], bool)),
        Claims(
            _nanoseconds(claimed["t_s"]),
            np.asarray(claimed["remaining_fen"], np.int64),
            np.asarray(claimed["full"], bool),
        ),
    )


def _load(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise UsageError(f"{path} is missing: this folder holds no finished run")
    try:
        with duckdb.connect() as connection:
            # DuckDB takes a path for a pattern: brackets make its special characters plain ones.
            plain = re.sub(r"([*?\[])", r"[\1]", str(path))
            table: Mapping[str, Any] = connection.execute("SELECT * FROM read_parquet(?)", [plain]).fetchnumpy()
    except duckdb.Error as error:
        raise UsageError(f"{path} is damaged: {str(error).splitlines()[0]}") from error
    missing = COLUMNS[path.stem] - set(table)
    if missing:
        raise UsageError(f"{path} is a table of something else: it has no {', '.join(sorted(missing))}")
    return table


def _nanoseconds(seconds: Any) -> npt.NDArray[np.int64]:
    values = np.ma.filled(np.ma.asarray(seconds, np.float64), np.nan)
    return np.where(np.isnan(values), NEVER, np.round(np.nan_to_num(values) * 1e9)).astype(np.int64)
