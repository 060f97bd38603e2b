"""The charts of a run and of a comparison, and how they are saved; matplotlib stays behind this module."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from oversold.errors import UsageError
from oversold.evidence import Claims, Ledger, StatusLog
from oversold.report import (
    charts_attempts,
    charts_bars,
    charts_fairness,
    charts_frontier,
    charts_heatmap,
    charts_outcomes,
    charts_percentiles,
    charts_time,
)
from oversold.report.cells import Cell, Load
from oversold.report.charts_course import Course, Periods
from oversold.report.charts_paper import DPI, house_style

Run = tuple[Mapping[str, Any], Ledger, StatusLog, Claims, int]


@house_style()
def subscription_bars(summaries: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw one row a run: what was not raised to the left, what was sold too much to the right.

    `summaries` are run summaries (schema `oversold/run/1`) in the order to draw; payout runs are left
    out. Raises UsageError if no bid run is among them.
    """
    return charts_bars.draw(summaries)


@house_style()
def subscription_over_time(
    summary: Mapping[str, Any],
    ledger: Ledger,
    status_log: StatusLog,
    claims: Claims,
    t_end_ns: int,
    live_hold_periods: Periods | None = None,
) -> Figure:
    """Draw how one tranche filled up, what the strategy claimed, and where it was falsely marked full.

    Times are ns since the gate opened. `live_hold_periods` are the (start, end) in which some hold was live:
    with them falsely full time is told apart into recoverable and lost.
    """
    return charts_time.draw_one(Course(summary, ledger, status_log, claims, t_end_ns, live_hold_periods))


@house_style()
def subscription_over_time_all(runs: Sequence[Run], every: Sequence[Mapping[str, Any]] = ()) -> Figure:
    """Draw up to twelve runs as `subscription_over_time` does one, side by side on shared axes.

    A run is a tuple (summary, ledger, status_log, claims, t_end_ns). Of more runs the worst one of each strategy
    is drawn, the canary first. `every` are the summaries of all the runs that `runs` were chosen from with
    `cells.worth_showing`, so that title and subtitle speak of them too. Raises UsageError if there is no run.
    """
    return charts_time.draw_all([Course(*run) for run in runs], every)


@house_style()
def response_percentiles(
    series: Sequence[tuple[str, npt.NDArray[np.float64]]], runs: Sequence[Mapping[str, Any]] = ()
) -> Figure:
    """Draw response times (ms, from the intended start) by percentile, one line a name.

    The responses of series with the same name count together. Of more than 24 lines only the fastest, the slowest
    and the canary are named; the note below says which are grey. A line ends at the last percentile that its
    number of responses supports. `runs` are the summaries of the runs that the responses are of: the subtitle says
    under which conditions they were made. Raises UsageError if there is no response at all.
    """
    return charts_percentiles.draw(series, runs)


@house_style()
def heatmap(cells: Sequence[Cell]) -> Figure:
    """Draw strategy by load: the worst share undersold to the left of each square, the worst oversold right.

    Raises UsageError if there is no cell.
    """
    return charts_heatmap.draw(cells)


@house_style()
def frontier(cells: Sequence[Cell], load: Load | None = None) -> Figure:
    """Draw goodput (bids told ok a second) against the p99 response (ms) at one load, by default the largest.

    The line joins the designs that passed, are not broken on purpose, and that none of these beats at both. Raises
    UsageError if no cell of that load has both numbers.
    """
    return charts_frontier.draw(cells, load)


@house_style()
def outcome_stacks(cells: Sequence[Cell], load: Load | None = None) -> Figure:
    """Draw what the bidders of each strategy were told last, as bars of 100 %, at one load (default: the largest).

    Raises UsageError if no bidder of that load was told anything.
    """
    return charts_outcomes.draw(cells, load)


@house_style()
def fairness(cells: Sequence[Cell], load: Load | None = None) -> Figure:
    """Draw the chance to be served by tenth of arrival, a strip a strategy, at one load (default: the largest).

    Raises UsageError if no run of that load has `fairness` in its summary.
    """
    return charts_fairness.draw(cells, load)


@house_style()
def attempts(cells: Sequence[Cell]) -> Figure:
    """Draw taps per bid against users, one line a strategy; bars if there is one number of users only.

    Raises UsageError if no run says how often its bidders tapped.
    """
    return charts_attempts.draw(cells)


def save(figure: Figure, stem: Path) -> tuple[Path, Path]:
    """Write `<stem>.png` and `<stem>.svg` and return their paths; the same figure gives the same bytes.

    Raises UsageError if they cannot be written.
    """
    paths = (stem.with_name(stem.name + ".png"), stem.with_name(stem.name + ".svg"))
    for path in paths:
        drawn = io.BytesIO()
        kind = path.suffix.removeprefix(".")
        # Dates and versions stay out of the files; screen readers get the title.
        about = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None, "Title": figure.get_label()}}
        with house_style():
            figure.savefig(drawn, format=kind, dpi=DPI, metadata=about[kind])
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(drawn.getvalue())
        except OSError as error:
            raise UsageError(f"cannot write the chart {path}: {error.strerror}; choose another folder") from error
    return paths
