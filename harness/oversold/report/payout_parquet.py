"""Write and read the evidence of a payday as Parquet, for DuckDB and anything else that reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from oversold.errors import UsageError
from oversold.model import PAY_REPLIES, PAYOUT_STATUSES, PayoutState
from oversold.payout_evidence import BELIEF, PAYMENT, WITHDRAWAL, JobRun, PayoutEvidence
from oversold.report import columns

OTHER = "other"  # the run of a payment that no job asked for
UNSTATED = "unstated"  # the status of an obligation of which the strategy said nothing
STATUSES = (*PAYOUT_STATUSES, UNSTATED)
COUNTS = tuple(status.lower() for status in PAYOUT_STATUSES)
TIMES = ("t_arrived", "t_replied", "t_effect")
COLUMNS = {
    "payments": {f"{name}_s" if name in TIMES else name for name in PAYMENT.names or ()},
    "obligations": {"obligation", "user", "due_fen", "t_due_s", "status", "reason"},
    "beliefs": {"t_s", *COUNTS},
    "unknown": {"since_s", "until_s"},
    "withdrawals": {"channel", "user", "amount_fen", "t_s"},
    "jobs": {"run", "t_planned_s", "t_start_s", "t_end_s", "killed"},
}
# What belongs to no row is told in the metadata of jobs.parquet, as JSON.
NOTES = ("channels", "t_end_ns", "complete")


def write(folder: Path, evidence: PayoutEvidence) -> None:
    """Write payments, obligations, beliefs, unknown, withdrawals and jobs into `folder`.

    Times are seconds since the first job started, no number (NULL or NaN) for what never happened.
    """
    _write_payments(folder / "payments.parquet", evidence)
    _write_obligations(folder / "obligations.parquet", evidence)
    samples = evidence.beliefs
    beliefs = {name: samples["counts"][:, index].astype(np.int64) for index, name in enumerate(COUNTS)}
    columns.save({"t_s": columns.seconds(samples["t"]), **beliefs}, folder / "beliefs.parquet")
    spells = {
        "since_s": columns.seconds(evidence.unknown_since),
        "until_s": columns.seconds(evidence.unknown_until),
    }
    columns.save(spells, folder / "unknown.parquet")
    taken = evidence.withdrawals
    withdrawals = {
        "channel": columns.words(taken["channel"], evidence.channels),
        "user": taken["user"].astype(np.int64),
        "amount_fen": taken["amount_fen"].astype(np.int64),
        "t_s": columns.seconds(taken["t"]),
    }
    columns.save(withdrawals, folder / "withdrawals.parquet", {"channel": "VARCHAR"})
    _write_jobs(folder / "jobs.parquet", evidence)


def _write_payments(path: Path, evidence: PayoutEvidence) -> None:
    rows, runs = evidence.payments, [run.run for run in evidence.runs]
    payments: dict[str, Any] = {
        "channel": columns.words(rows["channel"], evidence.channels),
        "obligation": rows["obligation"].astype(np.int64),
        "run": columns.words(rows["run"], [*runs, OTHER]),  # -1 is the last one
        "worker": rows["worker"].astype(np.int64),
        "amount_fen": rows["amount_fen"].astype(np.int64),
        "reply": columns.words(rows["reply"], PAY_REPLIES),
        "replay": rows["replay"] == 1,
    }
    payments |= {f"{name}_s": columns.seconds(rows[name]) for name in TIMES}
    columns.save(payments, path, dict.fromkeys(("channel", "run", "reply"), "VARCHAR"))


def _write_obligations(path: Path, evidence: PayoutEvidence) -> None:
    states = evidence.states
    obligations = {
        "obligation": np.arange(len(evidence.due_fen)),
        "user": evidence.user,
        "due_fen": evidence.due_fen,
        "t_due_s": columns.seconds(evidence.t_due),
        "status": np.array([state.status if state else UNSTATED for state in states], dtype=object),
        "reason": np.array([state.reason if state else "" for state in states], dtype=object),
    }
    columns.save(obligations, path, dict.fromkeys(("status", "reason"), "VARCHAR"))


def _write_jobs(path: Path, evidence: PayoutEvidence) -> None:
    def times(name: str) -> npt.NDArray[np.float64]:
        return columns.seconds(np.array([getattr(run, name) for run in evidence.runs], np.int64))

    jobs = {
        "run": np.array([run.run for run in evidence.runs], dtype=object),
        **{f"{name}_s": times(name) for name in ("t_planned", "t_start", "t_end")},
        "killed": np.array([run.killed for run in evidence.runs], bool),
    }
    told = (list(evidence.channels), int(evidence.t_end), bool(evidence.complete))
    notes = {name: json.dumps(value) for name, value in zip(NOTES, told, strict=True)}
    columns.save(jobs, path, {"run": "VARCHAR"}, notes)


def read(folder: Path) -> PayoutEvidence:
    """Read what `write` wrote.

    Raises:
        UsageError: a file is missing, damaged, or not one of ours.
    """
    tables = {name: columns.load(folder / f"{name}.parquet", COLUMNS[name]) for name in COLUMNS}
    channels, t_end, complete = _read_notes(folder / "jobs.parquet")
    runs = _read_jobs(tables["jobs"])
    owed, spells = tables["obligations"], tables["unknown"]
    return PayoutEvidence(
        due_fen=np.asarray(owed["due_fen"], np.int64),
        user=np.asarray(owed["user"], np.int64),
        t_due=columns.nanoseconds(owed["t_due_s"]),
        channels=channels,
        runs=runs,
        payments=_read_payments(tables["payments"], channels, runs, folder / "payments.parquet"),
        withdrawals=_read_withdrawals(tables["withdrawals"], channels, folder / "withdrawals.parquet"),
        states=_read_states(owed, folder / "obligations.parquet"),
        beliefs=_read_beliefs(tables["beliefs"]),
        unknown_since=columns.nanoseconds(spells["since_s"]),
        unknown_until=columns.nanoseconds(spells["until_s"]),
        t_end=t_end,
        complete=complete,
    )


def _read_notes(path: Path) -> tuple[tuple[str, ...], int, bool]:
    notes = columns.load_notes(path, NOTES)
    try:
        channels, t_end, complete = (json.loads(notes[name]) for name in NOTES)
        return tuple(map(str, channels)), int(t_end), bool(complete)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path} is damaged: its notes on the run cannot be read ({error})") from error


def _read_jobs(table: Any) -> tuple[JobRun, ...]:
    times = (columns.nanoseconds(table[f"{name}_s"]).tolist() for name in ("t_planned", "t_start", "t_end"))
    killed = np.asarray(table["killed"], bool).tolist()
    return tuple(JobRun(*row) for row in zip(table["run"], *times, killed, strict=True))


def _read_payments(
    table: Any, channels: tuple[str, ...], runs: tuple[JobRun, ...], path: Path
) -> npt.NDArray[np.void]:
    callers = [run.run for run in runs] + [OTHER]
    rows = np.zeros(len(table["obligation"]), PAYMENT)
    rows["channel"] = columns.codes(table["channel"], channels, path)
    called_by = columns.codes(table["run"], callers, path)
    rows["run"] = np.where(called_by == len(runs), -1, called_by)
    rows["reply"] = columns.codes(table["reply"], PAY_REPLIES, path)
    for name in ("obligation", "worker", "amount_fen", "replay"):
        rows[name] = table[name]
    for name in TIMES:
        rows[name] = columns.nanoseconds(table[f"{name}_s"])
    return rows


def _read_withdrawals(table: Any, channels: tuple[str, ...], path: Path) -> npt.NDArray[np.void]:
    rows = np.zeros(len(table["user"]), WITHDRAWAL)
    rows["channel"] = columns.codes(table["channel"], channels, path)
    rows["user"], rows["amount_fen"] = table["user"], table["amount_fen"]
    rows["t"] = columns.nanoseconds(table["t_s"])
    return rows


def _read_states(table: Any, path: Path) -> tuple[PayoutState | None, ...]:
    said = columns.codes(table["status"], STATUSES, path).tolist()
    return tuple(
        PayoutState(PAYOUT_STATUSES[code], reason) if code < len(PAYOUT_STATUSES) else None
        for code, reason in zip(said, table["reason"], strict=True)
    )


def _read_beliefs(table: Any) -> npt.NDArray[np.void]:
    rows = np.zeros(len(table["t_s"]), BELIEF)
    rows["t"] = columns.nanoseconds(table["t_s"])
    for index, name in enumerate(COUNTS):
        rows["counts"][:, index] = table[name]
    return rows
