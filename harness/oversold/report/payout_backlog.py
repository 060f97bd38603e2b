"""How many payouts a strategy was in doubt of over time, strategy by strategy, with the jobs behind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from oversold.errors import UsageError
from oversold.payout_evidence import PayoutEvidence
from oversold.report.charts_paper import (
    FAINT_INK,
    MARGIN,
    PURPLE,
    SMALL_PT,
    TEXT_PT,
    draw_grid,
    new_paper,
    place_axes,
    text_height,
    with_heading,
    wrapped,
    write,
    write_legend,
)
from oversold.report.panels import HEAD_LINES, MAX_PANELS, WIDTH, Panels, write_head
from oversold.report.payout_course import SINCE, S, job_of, spans, thinned, unknown
from oversold.report.payout_words import conditions, names
from oversold.report.tables import duration

_PANEL_HIGH, _ALONE_HIGH = 1.5, 2.6
_BETWEEN = 0.2
_KEY, _FOOT = 0.4, 0.4  # inches for the key above the panels, and for the last row's seconds below
_LINE = "#8E3B73"  # a darker purple
# A job is told by its shade and its hatching.
_JOBS: dict[str, dict[str, Any]] = {
    "interest": {"facecolor": "#DCEAF4", "edgecolor": "white", "lw": 0},
    "maturity": {"facecolor": "#FBEFD5", "edgecolor": "#E3B04B", "hatch": "///", "lw": 0, "alpha": 0.6},
}


@dataclass(frozen=True)
class _Panel:
    """One run: its name, and what its strategy was in doubt of."""

    name: str
    summary: Mapping[str, Any]
    evidence: PayoutEvidence

    @property
    def peak(self) -> int:
        """The most payouts that it was in doubt of at once."""
        counts = unknown(self.evidence)[1]
        return int(counts.max()) if len(counts) else 0

    @property
    def left(self) -> int:
        """How many it was in doubt of in the end."""
        return self._ended_as("UNKNOWN")

    @property
    def reviews(self) -> int:
        """How many it left to people."""
        return self._ended_as("REVIEW")

    def _ended_as(self, status: str) -> int:
        return sum(state is not None and state.status == status for state in self.evidence.states)

    @property
    def ever(self) -> bool:
        """Whether it ever said UNKNOWN."""
        return self.peak > 0 or self.left > 0 or len(self.evidence.unknown_since) > 0

    def fate(self, what: str = "") -> str:
        """Say what became of its doubts, which are called `what`."""
        oldest = self.summary.get("unknown", {}).get("age_max_s")
        said = f"{self.peak:,}{what} at once" + (f", the oldest for {duration(1000 * oldest)}" if oldest else "")
        ends = [f"{n:,} {what}" for n, what in ((self.left, "still UNKNOWN"), (self.reviews, "in REVIEW")) if n]
        return f"{said}; in the end {' and '.join(ends)}" if ends else f"{said}; all resolved"


def draw(panels: Sequence[tuple[Mapping[str, Any], PayoutEvidence]]) -> Figure:
    """Draw one panel a run that ever said UNKNOWN, and name the others; UsageError if there is no run."""
    if not panels:
        raise UsageError("no backlog to draw: give at least one run of a payout scenario")
    summaries = [summary for summary, _ in panels]
    told = [
        _Panel(name, summary, evidence) for name, (summary, evidence) in zip(names(summaries), panels, strict=True)
    ]
    doubting = [panel for panel in told if panel.ever]
    shown = doubting[:MAX_PANELS]
    subtitle = conditions(summaries)
    if len(shown) < len(doubting):
        subtitle += f"  ·  the first {len(shown)} of {len(doubting)} runs that were in doubt"
    notes = _notes(told)
    notes_high = text_height(TEXT_PT, len(notes))
    grid = _Grid.of(shown, alone=len(told) == 1)
    body = (_KEY + grid.panels.rows * grid.row_high + _FOOT if shown else 0.2) + notes_high + 0.2
    figure, top = with_heading(WIDTH, body, _title(told, doubting), subtitle)
    if shown:
        _write_key(figure, top - 0.18, shown)
        _draw_panels(figure, top - _KEY, grid, shown)
    for i, line in enumerate(notes):
        write(figure, MARGIN, 0.2 + text_height(TEXT_PT, len(notes) - i - 1), line, color=FAINT_INK)
    return figure


def _notes(told: Sequence[_Panel]) -> list[str]:
    """Name the strategies that were never in doubt, in lines that fit the page."""
    sure = list(dict.fromkeys(panel.name for panel in told if not panel.ever))
    if len(told) == 1 and sure:
        return ["No payout was ever said to be UNKNOWN."]
    if not sure:
        return []
    paper = new_paper(WIDTH, 1)
    said = ", ".join(sure)
    return wrapped(
        paper, f"Never in doubt (no payout was ever said to be UNKNOWN): {said}", TEXT_PT, WIDTH - 2 * MARGIN
    )


def _title(told: Sequence[_Panel], doubting: Sequence[_Panel]) -> str:
    """Say who was in doubt of most, and what was left of it in the end."""
    if not doubting:
        return (
            f"{told[0].name} was never in doubt"
            if len(told) == 1
            else f"None of {len(told)} runs was ever in doubt"
        )
    worst = max(doubting, key=lambda panel: panel.peak)
    if len(told) == 1:
        return f"{worst.name}: {worst.fate(' payouts in doubt')}"
    said = [f"Up to {worst.peak:,} payouts in doubt at once ({worst.name})"]
    for what, ends in (
        ("still UNKNOWN", [panel.left for panel in doubting]),
        ("in REVIEW", [panel.reviews for panel in doubting]),
    ):
        if number := sum(n > 0 for n in ends):
            said.append(
                f"{number} of {len(told)} runs end with {'up to ' if number > 1 else ''}{max(ends):,} {what}"
            )
    return "; ".join(said) if len(said) > 1 else f"{said[0]}; every doubt was resolved"


@dataclass(frozen=True)
class _Grid:
    """How the panels lie, how high their axes are, and the lines of each one's fate in its head."""

    panels: Panels
    high: float
    fates: Sequence[Sequence[str]]

    @classmethod
    def of(cls, shown: Sequence[_Panel], *, alone: bool) -> Self:
        """Lay out the panels; one that is `alone` is told by the title."""
        panels = Panels.of(len(shown))
        paper = new_paper(WIDTH, 1)
        fates = [
            [] if alone else wrapped(paper, panel.fate(), SMALL_PT, panels.wide)[:HEAD_LINES] for panel in shown
        ]
        return cls(panels, _ALONE_HIGH if len(shown) == 1 else _PANEL_HIGH, fates)

    @property
    def head_lines(self) -> int:
        """How many lines the longest fate takes; all heads are as high."""
        return max(map(len, self.fates), default=0)

    @property
    def row_high(self) -> float:
        """Inches that a row takes with its heads."""
        head = 0.15 + text_height(SMALL_PT, self.head_lines) + text_height(TEXT_PT) if self.head_lines else 0
        return self.high + _BETWEEN + head


def _draw_panels(figure: Figure, top: float, grid: _Grid, shown: Sequence[_Panel]) -> None:
    """Draw small multiples on shared axes, from `top` inches down."""
    end_s = max(max(1, panel.evidence.t_end) for panel in shown) / S
    most = max(panel.peak for panel in shown)
    for i, panel in enumerate(shown):
        row, x = grid.panels.place(i)
        y = top - (row + 1) * grid.row_high + _BETWEEN
        axes = place_axes(figure, x, y, grid.panels.wide, grid.high)
        axes.set_xlim(0, end_s)
        axes.set_ylim(0, 1.08 * max(1, most))
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        draw_grid(axes, "y")
        _draw_course(axes, panel)
        grid.panels.label(axes, i, SINCE, "payouts UNKNOWN")
        if grid.fates[i]:
            head_y = y + grid.high + 0.12 + text_height(SMALL_PT, grid.head_lines)
            write_head(figure, x, head_y, grid.panels.wide, panel.name, grid.fates[i])


def _draw_course(axes: Axes, panel: _Panel) -> None:
    """Draw the jobs, the doubts over time, and where what was left ends."""
    across = axes.get_xaxis_transform()
    for run, span in zip(panel.evidence.runs, spans(panel.evidence), strict=True):
        if span is not None:
            shade = _JOBS.get(job_of(run), _JOBS["interest"])
            axes.broken_barh(
                [(span[0] / S, (span[1] - span[0]) / S)], (0, 1), transform=across, zorder=0.5, **shade
            )
    times, counts = unknown(panel.evidence)
    if len(times):
        # What was believed last is believed until the end.
        times = np.append(times, max(panel.evidence.t_end, int(times[-1])))
        counts = np.append(counts, counts[-1])
        drawn = thinned(times, counts)
        axes.fill_between(times[drawn] / S, counts[drawn], step="post", color=PURPLE, alpha=0.35, lw=0, zorder=2)
        axes.step(times[drawn] / S, counts[drawn], where="post", color=_LINE, lw=1.6, zorder=3)


def _write_key(figure: Figure, y: float, shown: Sequence[_Panel]) -> None:
    """Write what the line and the shades are."""
    jobs = {job_of(run) for panel in shown for run in panel.evidence.runs}
    keys: list[Patch | Line2D] = [Line2D([], [], color=_LINE, lw=1.6, label="payouts believed UNKNOWN")]
    keys += [Patch(label=f"{job} job runs", **shade) for job, shade in _JOBS.items() if job in jobs]
    write_legend(figure, y, keys)
