"""Write and read the columns of a run as Parquet, for DuckDB and anything else that reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from oversold.evidence import HISTORY, Claims, HoldEnd, Ledger, Outcome, RefusedBy, StatusLog
from oversold.report import columns

TIMES = ("t_intended", "t_admitted", "t_sent", "t_reserved", "t_done")
WORDS = {
    name: tuple(member.name.lower() for member in members)
    for name, members in (("outcome", Outcome), ("hold", HoldEnd), ("refused_by", RefusedBy))
}
UNSIGNED = {"|u1": "UTINYINT", "<u2": "USMALLINT", "<u4": "UINTEGER"}  # numbers that do not fit mean damage
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
    taps = {name: np.ascontiguousarray(history[name]) for name in HISTORY.names or ()}
    columns.save_made(taps, _shown(), folder / "history.parquet")
    refused = len(ledger.refused)
    orders = {
        "bid": np.concatenate([ledger.bid, ledger.refused]),
        "amount_fen": np.concatenate([ledger.amount_fen, np.zeros(refused, np.int64)]),
        "t_s": np.concatenate([ledger.t / 1e9, np.full(refused, np.nan)]),
        "refused": np.concatenate([np.zeros(len(ledger.bid), bool), np.ones(refused, bool)]),
    }
    columns.save(orders, folder / "orders.parquet")
    columns.save({"t_s": status_log.t / 1e9, "full": status_log.full}, folder / "status_log.parquet")
    claimed = {"t_s": claims.t / 1e9, "remaining_fen": claims.remaining_fen, "full": claims.full}
    columns.save(claimed, folder / "claims.parquet")


def _shown() -> dict[str, str]:
    """Return the SQL that makes each column of the file from a column of the history."""
    shown = {}
    for name in HISTORY.names or ():
        if name in TIMES:
            shown[f"{name}_s"] = columns.sql_seconds(name)
        elif name in WORDS:
            shown[name] = columns.sql_words(name, WORDS[name])
        else:
            shown[name] = f'"{name}"::BIGINT'  # unsigned numbers fail in SQL where a difference is negative
    return {**shown, "final": '"final" = 1'}


def _hidden() -> dict[str, str]:
    """Return the SQL that makes each column of a history from a column of the file."""
    hidden = {}
    for name in HISTORY.names or ():
        if name in TIMES:
            hidden[name] = columns.sql_nanoseconds(f"{name}_s")
        elif name in WORDS:
            hidden[name] = columns.sql_codes(name, WORDS[name])
        else:
            hidden[name] = f'"{name}"::{UNSIGNED.get(HISTORY[name].str, "BIGINT")}'
    return hidden


def _read_history(path: Path) -> npt.NDArray[np.void]:
    history: npt.NDArray[np.void] | None = None
    for name, values in columns.load_made(path, _hidden(), COLUMNS["history"]):
        if history is None:
            history = np.zeros(len(values), HISTORY)
        history[name] = values
    assert history is not None  # a history has columns
    return history


def read(folder: Path) -> tuple[npt.NDArray[np.void], Ledger, StatusLog, Claims]:
    """Read what `write` wrote.

    Raises:
        UsageError: a file is missing, damaged, or not one of ours.
    """
    history = _read_history(folder / "history.parquet")
    others = ("orders", "status_log", "claims")
    tables = {name: columns.load(folder / f"{name}.parquet", COLUMNS[name]) for name in others}
    orders, log, claimed = tables["orders"], tables["status_log"], tables["claims"]
    kept = ~np.asarray(orders["refused"], bool)
    ledger = Ledger(
        bid=np.asarray(orders["bid"], np.int64)[kept],
        amount_fen=np.asarray(orders["amount_fen"], np.int64)[kept],
        t=columns.nanoseconds(orders["t_s"])[kept],
        refused=np.asarray(orders["bid"], np.int64)[~kept],
    )
    return (
        history,
        ledger,
        StatusLog(columns.nanoseconds(log["t_s"]), np.asarray(log["full"], bool)),
        Claims(
            columns.nanoseconds(claimed["t_s"]),
            np.asarray(claimed["remaining_fen"], np.int64),
            np.asarray(claimed["full"], bool),
        ),
    )
