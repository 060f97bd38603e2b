"""Goodput against response time, one mark a strategy: which of the designs that passed nothing else beats."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from oversold.errors import UsageError
from oversold.report.cells import Cell, Load, Spread, ordered
from oversold.report.charts_lines import Note
from oversold.report.charts_paper import (
    DPI,
    FAINT_INK,
    GREEN,
    INK,
    MARGIN,
    SMALL_PT,
    TEXT_PT,
    draw_grid,
    fitted,
    place_axes,
    text_height,
    text_width,
    verdict_mark,
    with_heading,
    write,
    write_legend,
)
from oversold.report.charts_words import about, conditions_of, fastest_of, left_out, level, together
from oversold.report.labels import Box, Label, placed
from oversold.report.phrases import all_or, between
from oversold.report.scales import round_marks
from oversold.report.tables import duration

_WIDTH = 11.0
_LEFT, _BELOW, _ABOVE = 1.0, 0.6, 0.5  # inches around the axes for their texts and for the key
_LOG_SPAN = 15  # goodput turns logarithmic when the greatest is so many times the least
_NAME_MAX = 2.6
_LEADERS = 3  # so many that are level with the best are named as it is
# Inches across and upwards in which a name keeps to its mark; the frontier's names may go where they must.
_BESIDE, _NEAR, _FAR = (0.35, 0.25), (0.8, 0.4), (3.0, 1.5)
_LEAST_SPAN = 8  # the axis of times covers so many times its least
_DASHED = (0, (4, 2))
_MARK = 0.08  # inches from the middle of a mark to what may stand beside it
_MARK_PT, _RING_PT, _RINGS = 7.5, 5.0, 3  # a mark's size, what each ring around it adds, the most rings


@dataclass(frozen=True)
class _Point:
    """A strategy's mark; `x` and `y` are its place in inches on the paper."""

    cell: Cell
    x: float
    y: float


def draw(cells: Sequence[Cell], load: Load | None = None) -> Figure:
    """Draw one mark a strategy at one load; UsageError if no strategy has both numbers there."""
    own = ordered(cells, load) if cells else []
    drawn = [cell for cell in own if cell.goodput.count and cell.p99_ms.count]
    if not drawn:
        raise UsageError("no goodput against response time to draw: give at least one run that served bidders")
    front = frontier_of(drawn)
    high = 4.2 if len(drawn) <= 12 else 6.2
    subtitle = conditions_of(drawn, "mean and range")
    subtitle += left_out("without an answer", [cell.label for cell in own if cell not in drawn])
    # What stays unnamed is only known when the names are placed: the first try finds out how much it is.
    figure, unnamed = _drawn(drawn, front, high, subtitle, [])
    return _drawn(drawn, front, high, subtitle, unnamed)[0] if unnamed else figure


def frontier_of(cells: Sequence[Cell]) -> list[Cell]:
    """Return the sound cells that no other of these beats in goodput and in p99, most goodput first.

    Designs that are broken on purpose are as little an example as those that failed.
    """
    passed = sorted(
        (cell for cell in cells if cell.sound), key=lambda cell: (-cell.goodput.mean, cell.p99_ms.mean)
    )
    front: list[Cell] = []
    for cell in passed:
        if not front or cell.p99_ms.mean < front[-1].p99_ms.mean:
            front.append(cell)
    return front


def _drawn(
    cells: Sequence[Cell], front: Sequence[Cell], high: float, subtitle: str, unnamed: Sequence[str]
) -> tuple[Figure, list[str]]:
    """Draw all, with the names of `unnamed` below; return the figure and the names that found no room."""
    note = Note(f"Without a name: {', '.join(unnamed)}." if unnamed else "", _WIDTH)
    figure, top = with_heading(_WIDTH, _ABOVE + high + _BELOW + note.high, _title(cells, front), subtitle)
    axes = place_axes(figure, _LEFT, top - _ABOVE - high, _WIDTH - _LEFT - MARGIN, high)
    _prepare(axes, cells)
    if front[1:]:
        axes.plot(*zip(*_corners(front), strict=True), color=GREEN, lw=1.2, ls=_DASHED, alpha=0.8, zorder=1.5)
    _draw_marks(axes, cells)
    _write_key(figure, top - 0.2, cells, front)
    note.write(figure)
    return figure, _write_names(figure, axes, cells, front)


def _prepare(axes: Axes, cells: Sequence[Cell]) -> None:
    """Set scales, limits, ticks and what they are of."""
    rates = [rate for cell in cells for rate in (cell.goodput.low, cell.goodput.high)]
    times = [ms for cell in cells for ms in (cell.p99_ms.low, cell.p99_ms.high) if ms > 0] or [1.0]
    least = min((rate for rate in rates if rate > 0), default=0.0)
    if least and max(rates) > _LOG_SPAN * least:
        axes.set_xscale("log")
        axes.set_xlim(least / 1.6, max(rates) * 1.6)
        axes.xaxis.set_major_locator(FixedLocator(round_marks(least / 2, max(rates) * 2)))
    else:
        axes.set_xlim(0, 1.12 * max(rates) or 1)
        axes.xaxis.set_major_locator(MaxNLocator(8))
    axes.set_yscale("log")
    wider = max(1.6, math.sqrt(_LEAST_SPAN * min(times) / max(times)))
    axes.set_ylim(min(times) / wider, max(times) * wider)
    axes.yaxis.set_major_locator(FixedLocator(round_marks(min(times) / wider, max(times) * wider)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: duration(value)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
    draw_grid(axes)
    axes.set_xlabel("bids told ok per second (more is better ▶)", fontsize=SMALL_PT)
    axes.set_ylabel("◀ (less is better) p99 response since the intended start", fontsize=SMALL_PT)


def _corners(front: Sequence[Cell]) -> list[tuple[float, float]]:
    """Return the corners of the stairs from one end of the frontier to the other."""
    places = [(cell.goodput.mean, cell.p99_ms.mean) for cell in front]
    corners = places[:1]
    for (_, y), (left, below) in pairwise(places):
        corners += [(left, y), (left, below)]
    return corners


def _draw_marks(axes: Axes, cells: Sequence[Cell]) -> None:
    for cell, size in zip(cells, _sizes(axes, cells), strict=True):
        marker, color = verdict_mark(cell.verdict)
        for xs, ys in _whiskers(axes, cell):
            axes.plot(xs, ys, color=color, lw=1, alpha=0.55)
        x, y = _place(axes, cell)
        edge: dict[str, Any] = (
            {"mfc": "none", "mec": color, "mew": 1.3} if size > _MARK_PT else {"mec": "white", "mew": 0.6}
        )
        axes.plot([x], [y], marker, color=color, markersize=size, zorder=3, clip_on=False, **edge)


def _sizes(axes: Axes, cells: Sequence[Cell]) -> list[float]:
    """Return the size of each mark in points: what stands where another mark is becomes a ring around that one."""
    places = [_inches(axes, *_place(axes, cell)) for cell in cells]
    below = [
        sum(math.dist(place, other) < _MARK_PT / 144 for other in places[:i]) for i, place in enumerate(places)
    ]
    return [_MARK_PT + _RING_PT * min(count, _RINGS) for count in below]


def _place(axes: Axes, cell: Cell) -> tuple[float, float]:
    """Return where a cell's mark stands; what a logarithmic axis has no place for stands at its edge."""
    return max(cell.goodput.mean, axes.get_xlim()[0]), max(cell.p99_ms.mean, axes.get_ylim()[0])


def _whiskers(axes: Axes, cell: Cell) -> list[tuple[list[float], list[float]]]:
    """Return the lines across and upwards over the range of several runs."""
    if len(cell.runs) == 1:
        return []
    (x, y), left, low = _place(axes, cell), axes.get_xlim()[0], axes.get_ylim()[0]
    across = [max(left, rate) for rate in (cell.goodput.low, cell.goodput.high)]
    return [(across, [y, y]), ([x, x], [max(low, ms) for ms in (cell.p99_ms.low, cell.p99_ms.high)])]


def _write_names(figure: Figure, axes: Axes, cells: Sequence[Cell], front: Sequence[Cell]) -> list[str]:
    """Write the names beside their marks, those that matter most first; return those that found no room."""
    figure.draw_without_rendering()
    points = [_Point(cell, *_inches(axes, *_place(axes, cell))) for cell in cells]
    area = axes.get_window_extent()
    room = Box(area.x0 / DPI + 0.04, area.y0 / DPI + 0.04, area.x1 / DPI + MARGIN - 0.05, area.y1 / DPI)
    halves = [_MARK + (size - _MARK_PT) / 144 for size in _sizes(axes, cells)]
    taken = [Box.around(point.x, point.y, half) for point, half in zip(points, halves, strict=True)]
    lines = [list(zip(xs, ys, strict=True)) for cell in cells for xs, ys in _whiskers(axes, cell)]
    for line in [*lines, _corners(front)]:
        taken += [_along(_inches(axes, *one), _inches(axes, *other)) for one, other in pairwise(line)]
    unnamed = []
    sound = [cell for cell in cells if cell.sound]
    first = [*front, *fastest_of(sound)[:_LEADERS], *_first_of(sound)[:_LEADERS]]
    for point in sorted(points, key=lambda each: _importance(each.cell, first)):
        rank = _importance(point.cell, first)
        size, weight = (TEXT_PT, "bold") if rank == 0 else (SMALL_PT, "normal")
        text = fitted(figure, point.cell.label, size, _NAME_MAX)
        wide = text_width(figure, text, size, weight)
        label = Label(point.x, point.y, wide, text_height(size), (text,))
        box = _room_for(label, taken, room, (_FAR, _FAR, _NEAR, _NEAR, _BESIDE)[rank])
        if box is None:
            unnamed.append(point.cell.label)
            continue
        taken.append(box)
        end = box.nearest(point.x, point.y)
        if math.dist(end, (point.x, point.y)) > 2.5 * _MARK:
            _join(figure, (point.x, point.y), end)
        color = INK if rank < 3 else FAINT_INK
        write(figure, box.x0, box.y1, text, size, va="top", weight=weight, color=color)
    return unnamed


def _importance(cell: Cell, first: Sequence[Cell]) -> int:
    """Return whose name comes first: of `first`, then the canary's and those of failures, then the doubtful."""
    if cell in first:
        return 0
    return 1 if cell.canary else {"fail": 2, "pass": 4}.get(cell.verdict, 3)


def _room_for(label: Label, taken: Sequence[Box], room: Box, farthest: tuple[float, float]) -> Box | None:
    """Return where a name can stand near its mark, or as far off as it may; None if nowhere."""
    for wide, high in (_BESIDE, _NEAR, farthest):
        if (wide, high) > farthest:
            break
        near = Box(
            max(room.x0, label.x - wide - label.wide),
            max(room.y0, label.y - high),
            min(room.x1, label.x + wide + label.wide),
            min(room.y1, label.y + high),
        )
        ((_, box),) = placed([label], taken, near)
        if box.within(room) and not any(box.overlaps(other) for other in taken):
            return box
    return None


def _inches(axes: Axes, x: float, y: float) -> tuple[float, float]:
    """Return where on the paper a place of the axes is."""
    across, upwards = axes.transData.transform((x, y)) / DPI
    return float(across), float(upwards)


def _along(one: tuple[float, float], other: tuple[float, float]) -> Box:
    """Return a straight line along an axis as a box that no name may lie on."""
    (x0, x1), (y0, y1) = sorted((one[0], other[0])), sorted((one[1], other[1]))
    return Box(x0 - 0.01, y0 - 0.01, x1 + 0.01, y1 + 0.01)


def _join(figure: Figure, mark: tuple[float, float], end: tuple[float, float]) -> None:
    width, height = figure.get_size_inches()
    (x, y), (a, b) = mark, end
    figure.add_artist(
        Line2D([x / width, a / width], [y / height, b / height], color=FAINT_INK, lw=0.6, zorder=2.2)
    )


def _title(cells: Sequence[Cell], front: Sequence[Cell]) -> str:
    """Name the designs that serve most and those that answer first, of those that passed and are not broken."""
    load = cells[0].load.label
    passed = [cell for cell in cells if cell.verdict == "pass"]
    if not front:
        if len(cells) == 1:
            return f"{cells[0].label} {'passed' if passed else 'did not pass'} with {load}"
        return f"{'Only designs that are broken on purpose' if passed else 'No design'} passed with {load}"
    sound = [cell for cell in passed if cell.sound]
    most, first = fastest_of(sound), _first_of(sound)
    if len(cells) == 1:
        return f"{sound[0].label} with {load}: {about(most)} ok/s, p99 {duration(first[0].p99_ms.mean)}"
    said = f"{all_or(len(passed), len(cells))} designs passed with {load}"
    broken = sum(cell.broken for cell in passed)
    said += f", {broken} of them broken on purpose" if broken else ""
    best = [cell for cell in most if cell in first]
    if best:
        both = "serve most and answer first" if best[1:] else "serves most and answers first"
        p99 = between([cell.p99_ms.mean for cell in best], duration)
        return f"{said}; {together([cell.label for cell in best])} {both}: {about(best)} ok/s, p99 {p99}"
    serve = f"{together([cell.label for cell in most])} {'serve' if most[1:] else 'serves'} most"
    answer = f"{together([cell.label for cell in first])} {'answer' if first[1:] else 'answers'} first"
    p99 = between([cell.p99_ms.mean for cell in first], duration)
    return f"{said}; {serve} ({about(most)} ok/s), {answer} (p99 {p99})"


def _first_of(cells: Sequence[Cell]) -> list[Cell]:
    """Return those that answer as fast as the first, as `fastest_of` does for goodput."""
    told = sorted(cells, key=lambda cell: cell.p99_ms.mean)
    least = told[0].p99_ms if told else Spread.of([])
    return [cell for cell in told if level(cell.p99_ms.mean, least.mean) or cell.p99_ms.low <= least.high]


def _write_key(figure: Figure, y: float, cells: Sequence[Cell], front: Sequence[Cell]) -> None:
    """Write what the marks and the line mean."""
    keys = []
    for verdict in dict.fromkeys(cell.verdict for cell in cells):
        marker, color = verdict_mark(verdict)
        keys.append(Line2D([], [], marker=marker, color=color, ls="none", markersize=7, label=verdict))
    if front[1:]:
        label = "frontier: nothing that passed is better at both"
        keys.append(Line2D([], [], color=GREEN, lw=1.2, ls=_DASHED, label=label))
    write_legend(figure, y, keys, handle=2.4)
