"""Write and read the columns of a run as Parquet, for DuckDB and anything else that reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from oversold.evidence import HISTORY, Claims, HoldEnd, Ledger, Outcome, RefusedBy, StatusLog
from oversold.report import columns

TIMES = ("t_intended", "t_admitted", "t_sent", "t_reserved", "t_done")
WORDS = {
    name: tuple(member.name.lower() for member in members)
    for name, members in (("outcome", Outcome), ("hold", HoldEnd), ("refused_by", RefusedBy))
}
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
    taps: dict[str, Any] = {}
    for name in HISTORY.names or ():
        if name in TIMES:
            taps[f"{name}_s"] = columns.seconds(history[name])
        elif name in WORDS:
            taps[name] = columns.words(history[name], WORDS[name])
        else:
            taps[name] = history[name].astype(np.int64)
    taps["final"] = history["final"] == 1
    columns.save(taps, folder / "history.parquet", dict.fromkeys(WORDS, "VARCHAR"))
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


def read(folder: Path) -> tuple[npt.NDArray[np.void], Ledger, StatusLog, Claims]:
    """Read what `write` wrote.

    Raises:
        UsageError: a file is missing, damaged, or not one of ours.
    """
    tables = {name: columns.load(folder / f"{name}.parquet", COLUMNS[name]) for name in COLUMNS}
    rows = tables["history"]
    history = np.zeros(len(rows["bid"]), HISTORY)
    for name in HISTORY.names or ():
        if name in TIMES:
            history[name] = columns.nanoseconds(rows[f"{name}_s"])
        elif name in WORDS:
            history[name] = columns.codes(rows[name], WORDS[name], folder / "history.parquet")
        else:
            history[name] = rows[name]
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
