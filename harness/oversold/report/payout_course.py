"""What the payout charts take from a payday's evidence: calls in flight, lies, second effects, doubts."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from oversold.evidence import NEVER, Ints
from oversold.model import PAY_REPLIES, PAYOUT_STATUSES
from oversold.payout_evidence import JobRun, PayoutEvidence
from oversold.report.charts_course import overlaps

S = 1_000_000_000  # a second in ns
SINCE = "seconds since the first job started"
_POINTS = 3000  # a line of so many points looks like one of all of them, on paper and on a screen
_FAILED, _OK = PAY_REPLIES.index("failed"), PAY_REPLIES.index("ok")


def spans(evidence: PayoutEvidence) -> list[tuple[int, int] | None]:
    """Return when each job start ran, in ns: to the horizon if it still ran then; None if it never began."""
    return [
        None if run.t_start == NEVER else (run.t_start, evidence.t_end if run.t_end == NEVER else run.t_end)
        for run in evidence.runs
    ]


def job_of(run: JobRun) -> str:
    """Return the job that a start is of: `interest` of `interest#2`."""
    return run.run.partition("#")[0]


def both_running(evidence: PayoutEvidence) -> list[tuple[int, int]]:
    """Return the periods (ns) in which two job starts ran at once."""
    ran = [span for span in spans(evidence) if span is not None]
    shared = sorted(
        period for i, one in enumerate(ran) for other in ran[:i] for period in overlaps([one], [other])
    )
    merged: list[tuple[int, int]] = []
    for start, end in shared:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        elif end > start:
            merged.append((start, end))
    return merged


def in_periods(times: Ints, periods: Sequence[tuple[int, int]]) -> int:
    """Return how many of the times lie in one of the periods, which do not overlap."""
    return sum(int(np.count_nonzero((times >= start) & (times <= end))) for start, end in periods)


def in_flight(evidence: PayoutEvidence, channel: int, groups: Sequence[Sequence[int]]) -> tuple[Ints, Ints]:
    """Return times (ns) and, one row a group of job starts, its pay calls in flight at a channel from then on.

    `groups` are indexes into `evidence.runs` (-1: a caller that is none). A call that was never answered is in
    flight to the end.
    """
    rows = evidence.payments[evidence.payments["channel"] == channel]
    replied = np.where(rows["t_replied"] == NEVER, evidence.t_end, rows["t_replied"])
    times = np.unique(np.concatenate([[0], rows["t_arrived"], replied, [evidence.t_end]]).astype(np.int64))
    counts = np.zeros((len(groups), len(times)), np.int64)
    for row, runs in enumerate(groups):
        of = np.isin(rows["run"], np.asarray(runs, np.int64))
        arrived, left = np.sort(rows["t_arrived"][of]), np.sort(replied[of])
        counts[row] = np.searchsorted(arrived, times, side="right") - np.searchsorted(left, times, side="right")
    return times, counts


def lies(evidence: PayoutEvidence) -> tuple[npt.NDArray[np.void], npt.NDArray[np.void]]:
    """Return the pay calls that were told failed although they paid, and those told ok although they did not.

    An answer from a remembered key is about the call that it repeats, so it is neither.
    """
    rows = evidence.payments[evidence.payments["replay"] == 0]
    moved = rows["t_effect"] != NEVER
    return rows[(rows["reply"] == _FAILED) & moved], rows[(rows["reply"] == _OK) & ~moved]


def second_effects(evidence: PayoutEvidence) -> Ints:
    """Return when (ns) money moved for an obligation that had been paid before, in order."""
    rows = evidence.payments
    rows = rows[(rows["t_effect"] != NEVER) & (rows["replay"] == 0) & (rows["obligation"] >= 0)]
    order = np.lexsort((rows["t_effect"], rows["obligation"]))
    owed = rows["obligation"][order]
    again = np.flatnonzero(owed[1:] == owed[:-1]) + 1
    return np.sort(rows["t_effect"][order][again]).astype(np.int64)


def paid_twice(evidence: PayoutEvidence) -> int:
    """Return how many obligations money moved for more than once."""
    rows = evidence.payments
    rows = rows[(rows["t_effect"] != NEVER) & (rows["replay"] == 0) & (rows["obligation"] >= 0)]
    return int(np.count_nonzero(np.bincount(rows["obligation"]) > 1)) if len(rows) else 0


def unknown(evidence: PayoutEvidence) -> tuple[Ints, Ints]:
    """Return times (ns) and how many obligations the strategy believed UNKNOWN from then on."""
    counts = evidence.beliefs["counts"].reshape(-1, len(PAYOUT_STATUSES))[:, PAYOUT_STATUSES.index("UNKNOWN")]
    return evidence.beliefs["t"].astype(np.int64), counts.astype(np.int64)


def thinned(times: Ints, heights: Ints) -> npt.NDArray[np.int64]:
    """Return which points to draw: of each of `_POINTS` stretches of time the highest and the last."""
    if len(times) <= _POINTS:
        return np.arange(len(times))
    edges = np.searchsorted(times, np.linspace(times[0], times[-1], _POINTS // 2 + 1))
    starts = np.unique(edges[:-1])
    ends = np.append(starts[1:], len(times))
    highest = [a + int(np.argmax(heights[a:b])) for a, b in zip(starts, ends, strict=True)]
    return np.unique([*highest, *(ends - 1), 0])
