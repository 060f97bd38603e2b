"""Numbers for the summary of a payday that are no verdicts: times, backlog, calls, lies, overlap."""

from typing import Any

import numpy as np
import numpy.typing as npt

from oversold.checkers.payouts.books import UNSTATED, effects_in_order, moved, statuses
from oversold.checkers.taps import happened
from oversold.evidence import NEVER
from oversold.model import PAY_REPLIES, PAYOUT_STATUSES
from oversold.payout_evidence import PayoutEvidence

OTHER = "other"  # the name of whoever called a channel without being a job


def time_to_paid_s(evidence: PayoutEvidence) -> dict[str, float]:
    """Return p50, p95 and max of the seconds from `t_due` to the effect that completed the amount due.

    Over the obligations that were paid in full, after the horizon too; zeros where there are none.
    """
    rows = effects_in_order(evidence)
    owner = rows["obligation"]
    starts = np.flatnonzero(_firsts(owner))
    total = np.cumsum(rows["amount_fen"])
    before = (total - rows["amount_fen"])[starts]
    received = total - np.repeat(before, np.diff(np.append(starts, len(rows))))
    full = received >= evidence.due_fen[owner]
    completing = rows[full][_firsts(owner[full])]
    waited = (completing["t_effect"] - evidence.t_due[completing["obligation"]]) / 1e9
    if not len(waited):
        return {"p50": 0.0, "p95": 0.0, "max": 0.0}
    p50, p95, most = np.percentile(waited, [50, 95, 100])
    return {"p50": float(p50), "p95": float(p95), "max": float(most)}


def _firsts(owner: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Tell which entries of a sorted column are the first of their value."""
    first = np.ones(len(owner), bool)
    first[1:] = owner[1:] != owner[:-1]
    return first


def unknown_backlog(evidence: PayoutEvidence) -> dict[str, float]:
    """Return `peak` (most obligations believed UNKNOWN at once), `age_p95_s` and `age_max_s` of the spells.

    A spell that is still open ends at `t_end`. The peak is the greater of what samples and spells saw: a
    short spell may lie between two samples. Zeros where nothing was ever unknown.
    """
    since, until = evidence.unknown_since, evidence.unknown_until
    sampled = evidence.beliefs["counts"][:, PAYOUT_STATUSES.index("UNKNOWN")]
    peak = max(int(sampled.max(initial=0)), _most_at_once(since, until))
    if not len(since):
        return {"peak": peak, "age_p95_s": 0.0, "age_max_s": 0.0}
    ages = (np.where(happened(until), until, evidence.t_end) - since) / 1e9
    p95, most = np.percentile(ages, [95, 100])
    return {"peak": peak, "age_p95_s": float(p95), "age_max_s": float(most)}


def _most_at_once(starts: npt.NDArray[Any], ends: npt.NDArray[Any]) -> int:
    """Return how many of the spells [start, end) have a moment in common at most; one without an end goes on."""
    begun_at, over_at = np.sort(starts), np.sort(ends[happened(ends)])
    begun = np.searchsorted(begun_at, begun_at, side="right")
    return int((begun - np.searchsorted(over_at, begun_at, side="right")).max(initial=0))


def calls(evidence: PayoutEvidence) -> dict[str, dict[str, int]]:
    """Return how many pay calls each channel answered with each reply, replays included: channel -> reply -> n."""
    told = evidence.payments["channel"].astype(np.int64) * len(PAY_REPLIES) + evidence.payments["reply"]
    counts = np.bincount(told, minlength=len(evidence.channels) * len(PAY_REPLIES)).tolist()
    return {
        channel: dict(zip(PAY_REPLIES, counts[index * len(PAY_REPLIES) :], strict=False))
        for index, channel in enumerate(evidence.channels)
    }


def lies(evidence: PayoutEvidence) -> dict[str, int]:
    """Return `failed_but_paid` (payments that moved money and were answered failed) and `ok_but_unpaid`
    (answered ok, though no money moved; a replay need not move any)."""
    paid, reply = moved(evidence), evidence.payments["reply"]
    ok = (reply == PAY_REPLIES.index("ok")) & (evidence.payments["replay"] == 0)
    return {
        "failed_but_paid": int((paid & (reply == PAY_REPLIES.index("failed"))).sum()),
        "ok_but_unpaid": int((ok & ~paid).sum()),
    }


def peak_in_flight(evidence: PayoutEvidence) -> int:
    """Return the most pay calls that were with all channels together at one time."""
    return _most_at_once(evidence.payments["t_arrived"], evidence.payments["t_replied"])


def overlap_s(evidence: PayoutEvidence) -> float:
    """Return the seconds in which at least two job starts had begun and not ended.

    One that never ended goes on to `t_end`; one that never began is left out.
    """
    begun = [run for run in evidence.runs if run.t_start != NEVER]
    starts = np.array([run.t_start for run in begun], np.int64)
    ends = np.array([evidence.t_end if run.t_end == NEVER else run.t_end for run in begun], np.int64)
    moments = np.unique(np.concatenate([starts, ends]))
    running = np.searchsorted(np.sort(starts), moments, side="right")
    running -= np.searchsorted(np.sort(ends), moments, side="right")
    return float(np.diff(moments)[running[:-1] >= 2].sum()) / 1e9


def outcomes(evidence: PayoutEvidence) -> dict[str, int]:
    """Return how many obligations the strategy believed to be in each status in the end, and `unstated`."""
    counts = np.bincount(statuses(evidence) - UNSTATED, minlength=len(PAYOUT_STATUSES) + 1).tolist()
    return {**dict(zip(PAYOUT_STATUSES, counts[1:], strict=True)), "unstated": counts[0]}


def duplicates_by_run(evidence: PayoutEvidence) -> dict[str, int]:
    """Return how many effects beyond an obligation's first came of the calls of each job start.

    The first is the first to move money, whoever called first. `OTHER` stands for callers that are no job, and
    is there only where they doubled something.
    """
    rows = effects_in_order(evidence)
    again = rows["run"][~_firsts(rows["obligation"])].astype(np.int64)
    counts = np.bincount(again + 1, minlength=len(evidence.runs) + 1).tolist()
    by_run = {run.run: counts[index + 1] for index, run in enumerate(evidence.runs)}
    return {**by_run, OTHER: counts[0]} if counts[0] else by_run
