"""From the channels' books, the workers' manifests and the sampled beliefs to the evidence of a payday."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt

from oversold.audit import Raw
from oversold.errors import HarnessError
from oversold.evidence import NEVER
from oversold.model import PAY_REPLIES, PAYOUT_STATUSES, Finding, JobName, ObligationKind, PayoutState
from oversold.payout_evidence import BELIEF, PAYMENT, WITHDRAWAL, JobRun, PayoutEvidence
from oversold.payout_plan import DrawnPayday, PayoutPlan, obligation_index, user_index
from oversold.platform.channels import books as channel_books

MOST_STALL_NS = 500_000_000
PAID_BY: Mapping[ObligationKind, JobName] = {"interest": "interest", "principal": "maturity"}


@dataclass(frozen=True)
class Sample:
    """What a strategy believed at one moment (monotonic ns): counts by status, and which ones were UNKNOWN."""

    t: int
    counts: tuple[int, ...]
    unknown: frozenset[str]

    @classmethod
    def of(cls, t: int, states: Mapping[str, PayoutState]) -> Sample:
        """Condense the beliefs of one moment."""
        counts = dict.fromkeys(PAYOUT_STATUSES, 0)
        for state in states.values():
            counts[state.status] += 1
        unknown = frozenset(name for name, state in states.items() if state.status == "UNKNOWN")
        return cls(t, tuple(counts.values()), unknown)


def gathered(
    plan: PayoutPlan,
    drawn: DrawnPayday,
    books: Mapping[str, Path],
    raw: Raw,
    samples: Sequence[Sample],
    states: Mapping[str, PayoutState],
    *,
    complete: bool,
) -> PayoutEvidence:
    """Return the evidence of one payday. `books` are the channels' files, in order; `states` the final beliefs.

    Raises:
        HarnessError: the books cannot be read.
    """
    runs = _runs(plan, raw)
    payments, withdrawals = _read(books, drawn, runs, raw.t0_ns)
    horizon = int(plan.horizon_s * 1e9)
    effects = payments["t_effect"][payments["t_effect"] != NEVER]
    over = max((sample.t - raw.t0_ns for sample in samples), default=0)
    # A late effect that comes before the horizon is in time, though nobody waits for it any more.
    t_end = min(horizon, max(over, int(effects.max(initial=0))))
    unknown_since, unknown_until = _spells(samples, raw.t0_ns)
    payday = drawn.payday
    at = {run.run: run.t_planned for run in runs}
    due_at = {"interest": at["interest#1"], "principal": at["maturity#1"]}
    beliefs = np.zeros(len(samples), BELIEF)
    for row, sample in zip(beliefs, samples, strict=True):
        row["t"], row["counts"] = sample.t - raw.t0_ns, sample.counts
    return PayoutEvidence(
        due_fen=drawn.due_fen,
        user=drawn.user,
        t_due=np.array([due_at[each.kind] for each in payday.obligations], np.int64),
        channels=tuple(books),
        runs=runs,
        payments=payments,
        withdrawals=withdrawals,
        states=[states.get(each.obligation_id) for each in payday.obligations],
        beliefs=beliefs,
        unknown_since=unknown_since,
        unknown_until=unknown_until,
        t_end=t_end,
        complete=complete,
    )


def _runs(plan: PayoutPlan, raw: Raw) -> tuple[JobRun, ...]:
    """Return the starts of the jobs, with what their workers in all processes told of their times."""
    rows: list[dict[str, Any]] = [row for manifest in raw.manifests.values() for row in manifest.get("jobs", [])]
    found = []
    for start in plan.starts:
        mine = [row for row in rows if row["run"] == start.run]
        ends = [row["t_end"] for row in mine]
        found.append(
            JobRun(
                start.run,
                int(start.at_s * 1e9),
                min((row["t_start"] - raw.t0_ns for row in mine), default=NEVER),
                NEVER if not ends or None in ends else max(ends) - raw.t0_ns,
                any(row.get("killed") for row in mine),
            )
        )
    return tuple(found)


def _read(
    books: Mapping[str, Path], drawn: DrawnPayday, runs: Sequence[JobRun], t0: int
) -> tuple[npt.NDArray[np.void], npt.NDArray[np.void]]:
    payday_id, count = drawn.payday.payday_id, len(drawn.due_fen)
    numbers = {run.run: number for number, run in enumerate(runs)}
    payments: list[tuple[Any, ...]] = []
    withdrawals: list[tuple[Any, ...]] = []
    for channel, (name, path) in enumerate(books.items()):
        try:
            calls, taken = channel_books.read_calls(path), channel_books.read_withdrawals(path)
        except (OSError, sqlite3.Error) as error:
            raise HarnessError(f"the books of channel {name} cannot be read: {error}") from error
        for call in calls:
            obligation = obligation_index(payday_id, call.ref, count)
            if obligation >= 0 and drawn.payday.obligations[obligation].user_id != call.user_id:
                obligation = -1  # whatever it is called, nobody owes this to that account
            run, _, worker = unquote(call.caller).rpartition("/")
            if not call.caller and obligation >= 0:
                run = _start_of(drawn.payday.obligations[obligation].kind, call.t_arrived - t0, runs)
            number = int(worker) if worker.isdecimal() and len(worker) < 9 else -1
            payments.append(channel_books.payment(call, channel, obligation, numbers.get(run, -1), number, t0))
        withdrawals += [
            (channel, user_index(payday_id, each.user_id, drawn.users), each.amount_fen, each.t - t0)
            for each in taken
        ]
    rows = np.array(payments, PAYMENT)
    return rows[np.argsort(rows["t_arrived"], kind="stable")], np.array(withdrawals, WITHDRAWAL)


def _start_of(kind: ObligationKind, t: int, runs: Sequence[JobRun]) -> str:
    """Return which start of a job made a call that does not name its caller; "" where that is not certain.

    Somebody's own service need not say who calls. Then what was paid tells the job: its only start that had begun,
    or the only one of those that had not ended.
    """
    begun = [run for run in runs if run.run.startswith(f"{PAID_BY[kind]}#") and NEVER != run.t_start <= t]
    at_work = [run for run in begun if run.t_end == NEVER or run.t_end > t]
    certain = begun if len(begun) == 1 else at_work
    return certain[0].run if len(certain) == 1 else ""


def _spells(samples: Sequence[Sample], t0: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return since when and until when single obligations were believed UNKNOWN, as the samples show it."""
    since: dict[str, int] = {}
    spells: list[tuple[int, int]] = []
    for sample in samples:
        t = sample.t - t0
        spells += [(since.pop(name), t) for name in since.keys() - sample.unknown]
        since |= dict.fromkeys(sample.unknown - since.keys(), t)
    spells += [(begun, NEVER) for begun in since.values()]
    table = np.array(spells, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def longest_stall_ns(books: Mapping[str, Path]) -> int:
    """Return how long any of the channels stood still, as their own books tell."""
    return max((channel_books.read_stall_ns(path) for path in books.values() if path.exists()), default=0)


def channels_misled(plan: PayoutPlan, evidence: PayoutEvidence, stall_ns: int = 0) -> Finding:
    """Say whether the channels gave a design anything to go wrong by, and kept their own terms.

    Jobs that pay different obligations over channels that never mislead pay nobody twice, whatever the design. A
    channel that stood still broke its terms: what a design then does wrong is not its fault.
    """
    if stall_ns > MOST_STALL_NS:
        detail = f"A channel stood still for {stall_ns / 1e9:.1f} s, so it broke its own terms: use less load."
        return Finding("channels", "inconclusive", detail, {"stall_s": stall_ns / 1e9})
    if not evidence.complete:
        return Finding("channels", "inconclusive", "The run is incomplete, whatever its channels said.")
    payments = evidence.payments
    moved = payments["t_effect"] != NEVER
    said_ok = payments["reply"] == PAY_REPLIES.index("ok")
    misled = int(((moved != said_ok) & (payments["replay"] == 0)).sum())
    share = f"{misled:,} of {len(payments):,} calls were answered otherwise than they turned out"
    honest_no = int((~moved & (payments["reply"] == PAY_REPLIES.index("failed"))).sum())
    values = {"misled": misled, "refused": honest_no}
    if misled:
        return Finding("channels", "pass", f"{share}.", values)
    if plan.payouts.jobs == "overlap":
        detail = (
            "The channels misled nobody, so nothing tempted a design to pay twice: try jobs=twice or a profile."
        )
        return Finding("channels", "inconclusive", detail, values)
    return Finding("channels", "pass", "The channels misled nobody; the jobs met at the same obligations.", values)


def jobs_met(plan: PayoutPlan, evidence: PayoutEvidence) -> Finding:
    """Say whether the jobs met as the incident asks for; when they did not, it was not replayed."""
    by_name = {run.run: run for run in evidence.runs}
    first = by_name["interest#1"]
    mode = plan.payouts.jobs
    other = by_name["maturity#1" if mode == "overlap" else "interest#2"]
    begun = NEVER not in {first.t_start, other.t_start}
    last = evidence.t_end if first.t_end == NEVER else first.t_end
    if not evidence.complete:
        return Finding("jobs", "inconclusive", "The run is incomplete, whether the jobs met or not.")
    if mode == "killed":
        number = [run.run for run in evidence.runs].index(first.run)
        if begun and first.killed and (evidence.payments["run"] == number).any():
            return Finding("jobs", "pass", "The interest job was killed in the middle and started again.")
        detail = "The interest job was over before it was to be killed: lower kill_min or raise obligations."
        if first.killed:
            detail = "The interest job was killed, and the payday was over before it began again: lower again_min."
        return Finding("jobs", "inconclusive", detail)
    what = "maturity job" if mode == "overlap" else "second start of the interest job"
    until = evidence.t_end if other.t_end == NEVER else other.t_end
    overlap_s = max(0, min(last, until) - other.t_start) / 1e9 if begun else 0.0
    if overlap_s < plan.minute_s:
        setting = "maturity_min" if mode == "overlap" else "again_min"
        how = f"over before the {what} began" if not overlap_s else f"less than a minute beside the {what}"
        detail = f"The interest job was {how}: lower {setting} or raise obligations."
        return Finding("jobs", "inconclusive", detail, {"overlap_s": overlap_s})
    minutes = overlap_s / plan.minute_s
    detail = (
        f"The {what} ran {minutes:.0f} minutes of the incident ({overlap_s:.1f} s here) beside the interest job."
    )
    return Finding("jobs", "pass", detail, {"overlap_s": overlap_s})
