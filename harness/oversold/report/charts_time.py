"""How a tranche filled up: the ledger, the strategy's own claim and the FULL flag over time."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from oversold.errors import UsageError
from oversold.evidence import Ints
from oversold.report.cells import gather, loads, shown_sale, worst_verdict, worth_showing
from oversold.report.charts_course import Course, headline_over_time, overlaps, total_s, without
from oversold.report.charts_lines import Note
from oversold.report.charts_paper import (
    BLUE,
    INK,
    MARGIN,
    ORANGE,
    SMALL_PT,
    TEXT_PT,
    VERMILLION,
    draw_grid,
    fitted,
    place_axes,
    spread,
    text_height,
    with_heading,
    wrapped,
    write_legend,
)
from oversold.report.charts_words import MILLION, amount, broken_note, conditions
from oversold.report.panels import HEAD_LINES, MAX_PANELS, WIDTH, Panels, write_head
from oversold.report.phrases import is_service
from oversold.report.tables import duration

_LOST = "xxxx"  # the hatching of falsely full time that no live hold explains
_POINTS = 3000  # a line of so many points looks like one of all of them, on paper and on a screen
_LOG_SPAN = 8  # shared time turns logarithmic when the longest run takes so many times the shortest
_TALLEST = 2  # shared axes reach so many times the capacity at most
_END_LABELS = 1.5  # inches right of the axes for the labels of the lines


def draw_one(course: Course) -> Figure:
    """Draw the course of one run on a page of its own."""
    width, axes_high = 10.0, 3.7
    title = f"{shown_sale(course.summary).name}: {course.message()}"
    figure, top = with_heading(width, axes_high + 1.05, title, _subtitle([course.summary]))
    ink = _Ink([course])
    _write_key(figure, top - 0.2, [course])
    axes = place_axes(
        figure, MARGIN + 0.5, top - 0.45 - axes_high, width - 2 * MARGIN - 0.5 - _END_LABELS, axes_high
    )
    ink.prepare(axes)
    ink.draw(axes, course)
    axes.set_xlabel(ink.time_label, fontsize=SMALL_PT)
    axes.set_ylabel(ink.money_label, fontsize=SMALL_PT)
    ink.label_ends(figure, axes, course)
    return figure


def draw_all(courses: Sequence[Course], every: Sequence[Mapping[str, Any]] = ()) -> Figure:
    """Draw up to `MAX_PANELS` courses as small multiples on shared axes: of more the worst of each strategy."""
    if not courses:
        raise UsageError("no course of a sale to draw: give at least one run of a bid scenario")
    shown = [courses[i] for i in worth_showing([course.summary for course in courses], MAX_PANELS)]
    drawn = [course.summary for course in shown]
    summaries = every or [course.summary for course in courses]
    said = _loads(summaries, drawn)
    panels = Panels.of(len(shown), most_columns=4)
    panel_high = 1.75
    head_lines = HEAD_LINES + any(said)
    row_high = panel_high + 0.25 + text_height(SMALL_PT, head_lines) + 0.2
    left_out, names = _left_out(summaries, drawn)
    note = Note(names, WIDTH)
    subtitle = _subtitle(drawn) + left_out
    body = 0.45 + panels.rows * row_high + 0.45 + note.high
    figure, top = with_heading(WIDTH, body, headline_over_time(summaries, shown), subtitle)
    ink = _Ink(shown)
    _write_key(figure, top - 0.2, shown)
    for i, course in enumerate(shown):
        row, x = panels.place(i)
        y = top - 0.4 - (row + 1) * row_high
        axes = place_axes(figure, x, y, panels.wide, panel_high)
        ink.prepare(axes)
        ink.draw(axes, course)
        fate = wrapped(figure, _fate(course), SMALL_PT, panels.wide)[:HEAD_LINES]
        lines = [fitted(figure, load, SMALL_PT, panels.wide) for load in said[i : i + 1] if load] + fate
        head_y = y + panel_high + 0.14 + text_height(SMALL_PT, head_lines)
        write_head(figure, x, head_y, panels.wide, shown_sale(course.summary).name, lines)
        panels.label(axes, i, ink.time_label, ink.money_label)
    note.write(figure)
    return figure


def _subtitle(runs: Sequence[Mapping[str, Any]]) -> str:
    said = [conditions(runs), broken_note(gather(runs))]
    return "  ·  ".join(part for part in said if part)


def _loads(every: Sequence[Mapping[str, Any]], shown: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the load of each run that is shown, where those of all runs differ; else nothing to say of each."""
    cells = gather(every)
    if len(loads(cells)) == 1:
        return [""] * len(shown)
    labels = {id(run): cell.load.label for cell in cells for run in cell.runs}
    return [labels.get(id(run), "") for run in shown]


def _left_out(every: Sequence[Mapping[str, Any]], shown: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Say at the end of the subtitle which runs are shown, and in a note which designs are not."""
    if len(shown) == len(every):
        return "", ""
    names = {shown_sale(run).name for run in shown}
    verdicts: dict[str, list[str]] = {}
    for sale in map(shown_sale, every):
        if sale.name not in names:
            verdicts.setdefault(sale.name, []).append(sale.verdict)
    if len(names) == 1 and not verdicts:
        first = all(one is other for one, other in zip(shown, every, strict=False))
        return f"  ·  the {'first' if first else 'worst'} {len(shown)} of {len(every)} runs", ""
    if not verdicts:
        return f"  ·  of each design the worst run, {len(shown)} of {len(every)} runs", ""
    worst = Counter(worst_verdict(own) for own in verdicts.values())
    told = ", ".join(
        f"{worst[verdict]} {verdict}" for verdict in ("fail", "inconclusive", "pass") if worst[verdict]
    )
    said = f"  ·  the worst runs of {len(names)} of {len(names) + len(verdicts)} designs; not drawn: {told}"
    return said, f"Not drawn: {', '.join(verdicts)}."


class _Ink:
    """Draws courses in common units on axes of common limits."""

    def __init__(self, courses: Sequence[Course]) -> None:
        ends = [max(1, course.t_end_ns) for course in courses]
        self._ms = max(ends) < 1e9
        self._ns = 1e6 if self._ms else 1e9
        self._log = max(ends) > _LOG_SPAN * min(ends)
        # A logarithmic axis starts a decade at most before the first run had sold something to speak of.
        earliest = max(1e6, min(_percent_sold_at(course) for course in courses))
        self._t = (10 ** math.floor(math.log10(earliest)) if self._log else 0, max(ends))
        capacity = max(course.sale.capacity_fen for course in courses)
        self._fen = 100 * MILLION if capacity >= 100 * MILLION else 100
        lines = [np.concatenate([course.sold()[1], course.claimed()[1]]) for course in courses]
        tops = [max(course.sale.capacity_fen, int(fen.max())) for course, fen in zip(courses, lines, strict=True)]
        # A strategy that claims phantom stock claims to have sold less than nothing.
        lowest = min(int(fen.min()) for fen in lines)
        # Side by side, a run that sold many times over would flatten all the others: it leaves the picture.
        most = max(tops) if len(courses) == 1 else min(max(tops), _TALLEST * capacity)
        self._money = (max(lowest, -0.2 * capacity), 1.06 * most)

    @property
    def time_label(self) -> str:
        return f"{'ms' if self._ms else 'seconds'} since the gate opened"

    @property
    def money_label(self) -> str:
        return "million yuan" if self._fen > 100 else "yuan"

    def prepare(self, axes: Axes) -> None:
        """Set limits, ticks and grid."""
        low, high = (t / self._ns for t in self._t)
        if self._log:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(10))
            axes.xaxis.set_minor_locator(NullLocator())
        else:
            axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlim(low, high)
        axes.set_ylim(self._money[0] / self._fen, self._money[1] / self._fen)
        draw_grid(axes, "y")

    def draw(self, axes: Axes, course: Course) -> None:
        """Draw the flag, the capacity, the claim and the ledger."""
        across = axes.get_xaxis_transform()
        for periods, hatch in _false_full(course):
            spans = [(start / self._ns, (end - start) / self._ns) for start, end in periods]
            axes.broken_barh(spans, (0, 1), transform=across, **_shade(hatch))
        flag = [(start / self._ns, (end - start) / self._ns) for start, end in course.full_periods()]
        axes.broken_barh(flag, (1.0, 0.03), transform=across, color=INK, lw=0, clip_on=False)
        axes.axhline(course.sale.capacity_fen / self._fen, color=INK, lw=1, ls=(0, (5, 3)))
        times, claimed = _thinned(*course.claimed())
        axes.plot(times / self._ns, claimed / self._fen, color=ORANGE, lw=0.9, zorder=3)
        times, sold = course.sold()
        times, sold = _thinned(np.append(times, max(course.t_end_ns, times[-1])), np.append(sold, sold[-1]))
        if sold[-1] > self._money[1]:
            off = f"▲ {amount(int(sold[-1]), course.sale.capacity_fen)} "
            axes.text(
                times[-1] / self._ns,
                0.97,
                off,
                fontsize=SMALL_PT,
                color=BLUE,
                transform=across,
                va="top",
                ha="right",
            )
        axes.step(times / self._ns, sold / self._fen, where="post", color=BLUE, lw=2.4, zorder=2.5)

    def label_ends(self, figure: Figure, axes: Axes, course: Course) -> None:
        """Write what each line ends at to the right of it."""
        capacity, claimed = course.sale.capacity_fen, course.claimed()[1]
        ends = [("capacity", capacity, INK), ("sold", int(course.sold()[1][-1]), BLUE)]
        if len(claimed):
            ends.append(("claimed", int(claimed[-1]), ORANGE))
        low, high = axes.get_ylim()
        inch = (high - low) / (axes.get_position().height * figure.get_size_inches()[1])
        wishes = [fen / self._fen for _, fen, _ in ends]
        places = spread(wishes, text_height(TEXT_PT) * inch, low, high)
        right = axes.get_xlim()[1]
        for (what, fen, color), wish, place in zip(ends, wishes, places, strict=True):
            axes.annotate(
                f"{what} {amount(fen, capacity)}",
                xy=(right, min(max(wish, low), high)),
                xytext=(22, (place - min(max(wish, low), high)) / inch * 72),
                textcoords="offset points",
                va="center",
                fontsize=TEXT_PT - 0.5,
                annotation_clip=False,
                arrowprops={
                    "arrowstyle": "-",
                    "color": color,
                    "lw": 1,
                    "shrinkA": 2,
                    "shrinkB": 0,
                    "relpos": (0, 0.5),
                },
            )


def _percent_sold_at(course: Course) -> float:
    """Return when the first percent of the capacity was sold; when the run ended if it never was."""
    times, sold = course.sold()
    enough = np.flatnonzero(sold * 100 >= course.sale.capacity_fen)
    return float(times[enough[0]] if len(enough) else max(1, course.t_end_ns))


def _false_full(course: Course) -> list[tuple[list[tuple[int, int]], str]]:
    """Return the falsely full periods with their hatching: denser where no hold was live."""
    periods, live = course.false_full_periods(), course.live_hold_periods
    if live is None:
        return [(periods, "///")]
    return [(overlaps(periods, live), "//"), (without(periods, live), _LOST)]


def _shade(hatch: str) -> dict[str, Any]:
    edge = VERMILLION if hatch == _LOST else "#E8A87C"
    return {"facecolor": "#FDF3EC", "edgecolor": edge, "hatch": hatch, "lw": 0.5, "zorder": 0.6}


def _thinned(times: Ints, values: Ints) -> tuple[Ints, Ints]:
    """Keep the last of the points of each of `_POINTS` equal stretches of time; the first point stays too."""
    if len(times) <= _POINTS:
        return times, values
    edges = np.linspace(times[0], times[-1], _POINTS)
    last = np.unique(np.append(np.searchsorted(times, edges, side="right") - 1, 0))
    return times[last], values[last]


def _write_key(figure: Figure, y: float, courses: Sequence[Course]) -> None:
    """Write what the lines and hatchings mean; of a single run also how long it was falsely full."""
    handles = [
        Line2D([], [], color=BLUE, lw=2, label="sold (ledger)"),
        Line2D([], [], color=INK, lw=1, ls=(0, (5, 3)), label="capacity"),
    ]
    if any(len(course.claimed()[0]) for course in courses):
        who = "service" if all(is_service(course.summary) for course in courses) else "strategy"
        handles.insert(1, Line2D([], [], color=ORANGE, lw=0.9, label=f"sold ({who}'s claim)"))
    keys: list[Line2D | Patch] = [*handles]
    if any(course.full_periods() for course in courses):
        keys.append(Patch(facecolor=INK, lw=0, label="marked full"))
    shades: dict[str, float] = {}
    for course in courses:
        for periods, hatch in _false_full(course):
            shades[hatch] = shades.get(hatch, 0) + total_s(periods)
    words = {"///": "falsely full", "//": "falsely full, holds live", _LOST: "falsely full, none live"}
    for hatch, seconds in shades.items():
        if seconds:
            label = f"{words[hatch]}: {duration(1000 * seconds)}" if len(courses) == 1 else words[hatch]
            keys.append(Patch(label=label, **_shade(hatch)))
    write_legend(figure, y, keys)


def _fate(course: Course) -> str:
    """Say what became of a sale, and how long it was falsely full."""
    seconds = total_s(course.false_full_periods())
    return course.message() + (f"; falsely full {duration(1000 * seconds)}" if seconds else "")
