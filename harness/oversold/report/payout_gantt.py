"""One payday on one time axis: its jobs, the calls in flight, the channels' lies, and what was paid twice."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from oversold.evidence import NEVER, Ints
from oversold.payout_evidence import JobRun, PayoutEvidence
from oversold.report.charts_paper import (
    BLUE,
    FAINT_INK,
    INK,
    MARGIN,
    ORANGE,
    PURPLE,
    RULE,
    SMALL_PT,
    TEXT_PT,
    VERMILLION,
    draw_grid,
    fitted,
    place_axes,
    with_heading,
    write_legend,
)
from oversold.report.payout_course import (
    SINCE,
    S,
    both_running,
    in_flight,
    in_periods,
    job_of,
    lies,
    paid_twice,
    second_effects,
    spans,
    thinned,
)
from oversold.report.payout_tables import Reckoning
from oversold.report.payout_words import conditions
from oversold.report.tables import duration

_WIDTH = 11.0
_NAMES, _COUNTS = 2.25, 1.35  # inches left of the axes for what each row is, and right of them for its number
_SCALE = 0.4  # inches of the names' column that the scales of the channels need
_JOB_ROW, _MARK_ROW, _CHANNEL_HIGH = 0.34, 0.32, 0.95
_GAP = 0.2
_ABOVE, _BELOW = 0.95, 0.55  # inches for the key with the minutes, and for the seconds
_OVERLAP = "#F3E3CB"
_MARKS_APART = 0.02  # inches: marks that are nearer look like one
# A job is told by its colour and its hatching, and so are its calls.
_JOBS: dict[str, dict[str, Any]] = {
    "interest": {"facecolor": BLUE, "edgecolor": "white", "lw": 0},
    "maturity": {"facecolor": ORANGE, "edgecolor": "white", "hatch": "////", "lw": 0},
    "nobody's": {"facecolor": FAINT_INK, "edgecolor": "white", "hatch": "....", "lw": 0},
}


def draw(summary: Mapping[str, Any], evidence: PayoutEvidence) -> Figure:
    """Draw one run on a page of its own."""
    rows = _marks(evidence)
    jobs_high = _JOB_ROW * max(1, len(evidence.runs))
    marks_high = _MARK_ROW * len(rows)
    body = _ABOVE + jobs_high + len(evidence.channels) * (_GAP + _CHANNEL_HIGH) + _GAP + marks_high + _BELOW
    figure, top = with_heading(_WIDTH, body, _title(summary, evidence), conditions([summary]))
    ink = _Ink(figure, evidence)
    _write_key(ink, top - 0.2)
    y = top - _ABOVE - jobs_high
    axes = ink.panel(y, jobs_high)
    _draw_jobs(ink, axes)
    _write_minutes(axes, float(summary.get("settings", {}).get("minute_s") or 0))
    calls = [in_flight(evidence, i, list(_groups(evidence).values())) for i in range(len(evidence.channels))]
    most = max((int(counts.sum(axis=0).max()) for _, counts in calls), default=0)
    for i in range(len(evidence.channels)):
        y -= _GAP + _CHANNEL_HIGH
        _draw_channel(ink, ink.panel(y, _CHANNEL_HIGH), i, calls[i], most)
    y -= _GAP + marks_high
    axes = ink.panel(y, marks_high)
    _draw_marks(ink, axes, rows)
    axes.tick_params(labelbottom=True)
    axes.set_xlabel(SINCE, fontsize=SMALL_PT)
    return figure


def _groups(evidence: PayoutEvidence) -> dict[str, list[int]]:
    """Return the indexes of the starts of each job, and -1 for calls that are no job's."""
    groups: dict[str, list[int]] = {"interest": [], "maturity": [], "nobody's": [-1]}
    for i, run in enumerate(evidence.runs):
        groups[_job(run)].append(i)
    return groups


def _job(run: JobRun) -> str:
    name = job_of(run)
    return name if name in _JOBS else "nobody's"


@dataclass(frozen=True)
class _Marks:
    """One row of moments (ns): what they are, how they are drawn."""

    what: str
    t: Ints
    marker: str
    color: str


def _marks(evidence: PayoutEvidence) -> list[_Marks]:
    """Return the rows below the channels: the lies, and what was paid again."""
    said_failed, said_ok = lies(evidence)
    rows = [_Marks("said failed, but paid", said_failed["t_replied"], "v", VERMILLION)]
    if len(said_ok):
        rows.append(_Marks("said ok, but did not pay", said_ok["t_replied"], "^", PURPLE))
    rows.append(_Marks("paid again", second_effects(evidence), "X", INK))
    return rows


class _Ink:
    """Draws panels that share a time axis from the first start to the horizon, or to the last effect if later."""

    def __init__(self, figure: Figure, evidence: PayoutEvidence) -> None:
        self.figure, self.evidence = figure, evidence
        self._left = MARGIN + _NAMES
        self._wide = _WIDTH - self._left - MARGIN - _COUNTS
        effects = evidence.payments["t_effect"]
        last = max(evidence.t_end, int(effects.max()) if len(effects) else 0)
        self.end_s = max(last, 1) / S
        self.horizon_s = evidence.t_end / S
        self.overlap = both_running(evidence)

    def panel(self, y: float, high: float) -> Axes:
        """Return axes at `y` inches with the overlap of the jobs shaded and a horizon before the end drawn."""
        axes = place_axes(self.figure, self._left, y, self._wide, high)
        axes.set_xlim(0, self.end_s)
        axes.xaxis.set_major_locator(MaxNLocator(8))
        axes.tick_params(labelbottom=False, length=0)
        draw_grid(axes, "x")
        for start, end in self.overlap:
            axes.axvspan(start / S, end / S, color=_OVERLAP, lw=0, zorder=0)
        if self.horizon_s < self.end_s:
            axes.axvline(self.horizon_s, color=FAINT_INK, lw=1, ls=(0, (4, 2)), zorder=1)
        return axes

    def row(self, axes: Axes, y: float, name: str, number: str, *, faint: bool = False) -> None:
        """Write what a row is to the left of the axes, and its number to the right."""
        said = fitted(self.figure, name, TEXT_PT, _NAMES - _SCALE)
        style: dict[str, Any] = {"fontsize": TEXT_PT, "va": "center", "transform": axes.get_yaxis_transform()}
        axes.text(-_NAMES / self._wide, y, said, **style)
        axes.text(1 + 0.12 / self._wide, y, number, color=FAINT_INK if faint else INK, **style)

    def apart(self, times: Ints) -> list[float]:
        """Return the seconds at which to draw marks, one for all those that would look like one."""
        gap = max(1, round(_MARKS_APART / self._wide * self.end_s * S))
        _, first = np.unique(times // gap, return_index=True)
        return [float(t) / S for t in times[first]]


def _draw_jobs(ink: _Ink, axes: Axes) -> None:
    """Draw a bar a start, from its first worker's begin to its last one's end, and a line to it from its plan."""
    runs, ran = ink.evidence.runs, spans(ink.evidence)
    axes.set_ylim(max(1, len(runs)) - 0.5, -0.5)
    axes.set_yticks([])
    for row, (run, span) in enumerate(zip(runs, ran, strict=True)):
        begin = ink.evidence.t_end if span is None else span[0]
        axes.plot([run.t_planned / S, begin / S], [row, row], color=INK, lw=1, ls=(0, (1, 1.5)), zorder=2)
        axes.plot([run.t_planned / S], [row], "|", color=INK, markersize=13, mew=1.6, zorder=4, clip_on=False)
        if span is None:
            ink.row(axes, row, run.run, "never began")
            continue
        start, end = span
        axes.barh(row, (end - start) / S, 0.56, start / S, zorder=3, **_JOBS[_job(run)])
        took = duration((end - start) / 1e6)
        if run.t_end == NEVER:
            axes.plot([end / S], [row], ">", color=INK, markersize=7, zorder=5, clip_on=False)
            took = "not finished"
        elif run.killed:
            axes.plot([end / S], [row], "X", color=VERMILLION, markersize=9, mec="white", zorder=5, clip_on=False)
            took = f"killed, {took}"
        ink.row(axes, row, run.run, took)


def _draw_channel(ink: _Ink, axes: Axes, channel: int, calls: tuple[Ints, Ints], most: int) -> None:
    """Draw a channel's calls in flight, stacked by job, with its lies where they were told."""
    times, counts = calls
    total = counts.sum(axis=0)
    drawn = thinned(times, total)
    t = times[drawn] / S
    floor = np.zeros(len(drawn), np.int64)
    for job, height in zip(_groups(ink.evidence), counts[:, drawn], strict=True):
        if height.any():
            axes.fill_between(t, floor, floor + height, step="post", zorder=2, **_JOBS[job])
        floor = floor + height
    axes.set_ylim(0, 1.25 * max(1, most))
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    for told, marker, color in zip(lies(ink.evidence), "v^", (VERMILLION, PURPLE), strict=True):
        here = np.asarray(told["t_replied"][told["channel"] == channel], np.int64)
        at = np.round(np.array(ink.apart(here)) * S).astype(np.int64)
        # A lie is told as its call ends, so it stands at the height before that.
        level = total[np.maximum(np.searchsorted(times, at) - 1, 0)]
        style: dict[str, Any] = {"markersize": 5.5, "mec": "white", "mew": 0.5, "zorder": 4, "clip_on": False}
        axes.plot(at / S, level, marker, color=color, **style)
    peak = int(total.max())
    ink.row(
        axes, 0.62 * max(1, most), f"channel {ink.evidence.channels[channel]}", f"peak {peak:,}", faint=not peak
    )
    where: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "fontsize": SMALL_PT, "color": FAINT_INK}
    axes.text(-_NAMES / (_WIDTH - 2 * MARGIN - _NAMES - _COUNTS), 0.3 * max(1, most), "calls in flight", **where)


def _draw_marks(ink: _Ink, axes: Axes, rows: Sequence[_Marks]) -> None:
    """Draw a row of marks for each kind of wrong moment, with their number."""
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks([])
    for y, row in enumerate(rows):
        at = ink.apart(np.asarray(row.t, np.int64))
        axes.plot(
            at, [y] * len(at), row.marker, color=row.color, markersize=6, mec="white", mew=0.5, clip_on=False
        )
        late = int(np.count_nonzero(row.t > ink.evidence.t_end))
        number = f"{len(row.t):,}" + (f" ({late:,} late)" if late else "")
        ink.row(axes, y, row.what, number, faint=not len(row.t))


def _scaled(factor: float) -> Callable[[Any], Any]:
    return lambda values: np.asarray(values) * factor


def _write_minutes(axes: Axes, minute_s: float) -> None:
    """Write the incident's minutes above the first panel."""
    if minute_s > 0:
        scale = axes.secondary_xaxis("top", functions=(_scaled(1 / minute_s), _scaled(minute_s)))
        scale.set_xlabel("minutes of the incident", fontsize=SMALL_PT, color=FAINT_INK)
        scale.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 3, 6, 10]))
        scale.tick_params(labelsize=SMALL_PT, length=3, color=RULE)
        scale.spines["top"].set_visible(False)


def _write_key(ink: _Ink, y: float) -> None:
    """Write what bars, shades and marks mean."""
    keys: list[Patch | Line2D] = [
        Patch(label=f"{job} job and its calls" if job != "nobody's" else "reconciliation", **_JOBS[job])
        for job, runs in _groups(ink.evidence).items()
        if np.isin(ink.evidence.payments["run"], runs).any() or any(i >= 0 for i in runs)
    ]
    if ink.overlap:
        seconds = sum(end - start for start, end in ink.overlap) / S
        keys.append(Patch(facecolor=_OVERLAP, lw=0, label=f"two jobs at once: {duration(1000 * seconds)}"))
    if ink.evidence.runs:
        keys.append(
            Line2D([], [], marker="|", color=INK, ls="none", markersize=10, mew=1.6, label="planned start")
        )
    if any(run.killed for run in ink.evidence.runs):
        keys.append(Line2D([], [], marker="X", color=VERMILLION, ls="none", markersize=7, label="killed"))
    if ink.horizon_s < ink.end_s:
        keys.append(Line2D([], [], color=FAINT_INK, lw=1, ls=(0, (4, 2)), label="horizon"))
    write_legend(ink.figure, y, keys)


def _title(summary: Mapping[str, Any], evidence: PayoutEvidence) -> str:
    """Say how often a channel lied, when, and what came of it."""
    name = Reckoning.read(summary).name
    said_failed, _ = lies(evidence)
    twice = paid_twice(evidence)
    doubtful = " (inconclusive)" if summary["verdict"] == "inconclusive" else ""
    if not len(evidence.payments):
        return f"{name}: no call reached a channel{doubtful}"
    if len(said_failed):
        liars = sorted({str(evidence.channels[i]) for i in said_failed["channel"]})
        count = "once" if len(said_failed) == 1 else f"{len(said_failed):,} times"
        lied = f"channel {liars[0]}" if len(liars) == 1 else f"channels {' and '.join(liars)}"
        lied += f" said failed {count} after paying"
        shared = in_periods(said_failed["t_replied"], both_running(evidence))
        lied += f", {shared:,} of them while two jobs ran" if shared and len(said_failed) > 1 else ""
    else:
        lied = "no channel said failed after paying"
    paid = (
        "nothing was paid twice"
        if not twice
        else f"{twice:,} {'payout was' if twice == 1 else 'payouts were'} paid twice"
    )
    return f"{name}: {lied}; {paid}{doubtful}"
