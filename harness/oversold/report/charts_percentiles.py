"""Response times by percentile, on an axis that stretches the tail."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from oversold.errors import UsageError
from oversold.report.cells import gather
from oversold.report.charts_lines import GREY, End, Note, line_style, write_ends
from oversold.report.charts_paper import (
    MARGIN,
    SMALL_PT,
    TEXT_PT,
    draw_grid,
    fitted,
    place_axes,
    text_height,
    text_width,
    with_heading,
)
from oversold.report.charts_words import conditions, level, together
from oversold.report.phrases import between
from oversold.report.scales import round_marks
from oversold.report.tables import BROKEN_MARK, BROKEN_NOTE, CANARY, duration, named

_WIDTH = 11.0
_NAME_MAX = 2.6
_SLOWER = 10  # a percentile counts when so many responses are slower than it
_LABELLED = (0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999)
_FLOOR_MS = 1e-3  # what a clock cannot tell from zero, on an axis that has no zero

_ALL_NAMED = 24  # so many lines can be told apart; of more only the outermost and the canary are
_FASTEST, _SLOWEST = 4, 3


@dataclass(frozen=True)
class _Line:
    """One strategy's responses, sorted, in ms."""

    name: str
    ms: npt.NDArray[np.float64]

    def last(self) -> float:
        """Return the highest percentile (a fraction) that the number of responses supports."""
        return max(0.5, 1 - _SLOWER / len(self.ms))

    def at(self, fraction: npt.NDArray[np.float64] | float) -> npt.NDArray[np.float64]:
        """Return the response time that so many responses did not exceed: always a measured one."""
        rank = np.ceil(np.asarray(fraction) * len(self.ms) - 1e-9).astype(np.int64) - 1
        return self.ms[np.clip(rank, 0, len(self.ms) - 1)]


def draw(series: Sequence[tuple[str, npt.NDArray[np.float64]]], runs: Sequence[Mapping[str, Any]] = ()) -> Figure:
    """Draw one line a name, labelled at its end; UsageError if there is no response at all.

    `runs` are the summaries of the runs that the responses are of.
    """
    pooled: dict[str, list[npt.NDArray[np.float64]]] = {}
    for name, ms in series:
        pooled.setdefault(name, []).append(np.asarray(ms, np.float64)[np.isfinite(ms)])
    joined = {name: np.maximum(np.sort(np.concatenate(parts)), _FLOOR_MS) for name, parts in pooled.items()}
    every = [_Line(named(name, canary=name == CANARY), ms) for name, ms in joined.items() if len(ms)]
    if not every:
        raise UsageError("no response times to draw: no bidder of these runs got an answer")
    lines, grey = _told_apart(every)
    note = Note(f"In grey, the fastest first: {', '.join(line.name for line in grey)}." if grey else "", _WIDTH)
    axes_high = max(4.0, (text_height(TEXT_PT) + 0.03) * len(lines) + 0.2)
    silent = [name for name, ms in joined.items() if not len(ms)]
    figure, top = with_heading(
        _WIDTH, axes_high + 0.95 + note.high, _title(every, runs), _subtitle(every, silent, runs)
    )
    labels = [
        f"{fitted(figure, line.name, TEXT_PT, _NAME_MAX)}  {duration(float(line.at(line.last())))}"
        for line in lines
    ]
    room = max(text_width(figure, label, TEXT_PT) for label in labels) + 0.75
    left = MARGIN + 0.5
    axes = place_axes(figure, left, top - 0.1 - axes_high, _WIDTH - left - MARGIN - room, axes_high)
    _prepare(axes, every)
    for line in grey:
        x = np.linspace(0, float(_place(line.last())), 400)
        axes.plot(x, line.at(1 - 10.0**-x), color=GREY, lw=0.8, zorder=1.8)
    for i, line in enumerate(lines):
        _draw_line(axes, line, i)
    styles = [line_style(i) for i in range(len(lines))]
    ends = [
        End(float(_place(line.last())), float(line.at(line.last())), label, color, marker)
        for line, label, (color, _, marker) in zip(lines, labels, styles, strict=True)
    ]
    write_ends(figure, axes, ends)
    note.write(figure)
    return figure


def _told_apart(lines: Sequence[_Line]) -> tuple[list[_Line], list[_Line]]:
    """Return the lines to name and those to leave in grey; all are named while they can be told apart."""
    if len(lines) <= _ALL_NAMED:
        return list(lines), []
    fraction = _shared(lines)
    fastest_first = sorted(lines, key=lambda line: float(line.at(fraction)))
    canary = named(CANARY, canary=True)
    named_ones = [
        line
        for rank, line in enumerate(fastest_first)
        if rank < _FASTEST or rank >= len(lines) - _SLOWEST or line.name == canary
    ]
    return named_ones, [line for line in fastest_first if line not in named_ones]


def _shared(lines: Sequence[_Line]) -> float:
    """Return the highest percentile (a fraction), up to p99, that all lines share."""
    shared = min(line.last() for line in lines)
    return max((q for q in (0.5, 0.9, 0.99) if q <= shared + 1e-12), default=0.5)


def _place(fraction: npt.NDArray[np.float64] | float) -> npt.NDArray[np.float64]:
    """Map a fraction to the axis: each nine takes the same room."""
    return -np.log10(1 - np.asarray(fraction, np.float64))


def _draw_line(axes: Axes, line: _Line, i: int) -> None:
    color, dash, marker = line_style(i)
    last = line.last()
    x = np.linspace(0, float(_place(last)), 400)
    axes.plot(x, line.at(1 - 10.0**-x), color=color, ls=dash, lw=1.6)
    marked = np.array([q for q in _LABELLED if q < last] + [last])
    axes.plot(
        _place(marked), line.at(marked), ls="none", marker=marker, color=color, markersize=5, mec="white", mew=0.5
    )


def _prepare(axes: Axes, lines: Sequence[_Line]) -> None:
    last = max(line.last() for line in lines)
    ticks = [q for q in _LABELLED if q <= last + 1e-12]
    axes.set_xlim(0, float(_place(last)) * 1.01)
    axes.xaxis.set_major_locator(FixedLocator([0.0, *map(float, _place(np.array(ticks)))]))
    names = ["p0", *(f"p{100 * q:.6g}" for q in ticks)]
    axes.set_xticks(axes.get_xticks(), names)
    low = min(float(line.at(0.05)) for line in lines)  # the very fastest are not worth the room
    high = max(float(line.at(line.last())) for line in lines)
    if high < 4 * low:  # so that a label falls into the range, and no noise looks like a slope
        low, high = low / 2, high * 2
    axes.set_yscale("log")
    axes.set_ylim(low / 1.15, high * 1.15)
    axes.yaxis.set_major_locator(FixedLocator(round_marks(low, high)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda ms, _: f"{ms:g} ms" if ms < 1000 else f"{ms / 1000:,g} s"))
    draw_grid(axes)
    axes.set_xlabel(
        "percentile of the bids (the tail is stretched: each nine takes the same room)", fontsize=SMALL_PT
    )
    axes.set_ylabel("response since the intended start", fontsize=SMALL_PT)


def _title(lines: Sequence[_Line], runs: Sequence[Mapping[str, Any]]) -> str:
    """Name the fastest and the slowest at the highest percentile, up to p99, that all lines share.

    Where the runs tell which designs passed, the fastest is one of these that is not broken on purpose.
    """
    fraction = _shared(lines)
    word = f"p{100 * fraction:g}"
    times = sorted((float(line.at(fraction)), i) for i, line in enumerate(lines))
    if len(lines) == 1:
        return f"{lines[0].name}: {word} response {duration(times[0][0])}"
    sound = {cell.label for cell in gather(runs) if cell.sound}
    passed = [(ms, i) for ms, i in times if lines[i].name in sound] or times
    fast, (slow, last) = passed[0][0], times[-1]
    names = [lines[i].name for ms, i in passed if level(ms, fast)]
    said = f"{word} response from {duration(fast)} ({together(names)}"
    said += ", the fastest that passed" if len(passed) < len(times) else ""
    return f"{said}) to {duration(slow)} ({lines[last].name})"


def _subtitle(lines: Sequence[_Line], silent: Sequence[str], runs: Sequence[Mapping[str, Any]]) -> str:
    some = between([len(line.ms) for line in lines], "{:,}".format)
    said = [
        conditions(runs) if runs else "",
        f"{some} bids a run",
        f"each line ends, and is labelled, where {_SLOWER} bids were slower",
        f"no responses: {', '.join(silent)}" if silent else "",
        BROKEN_NOTE if any(line.name.endswith(BROKEN_MARK) for line in lines) else "",
    ]
    return "  ·  ".join(part for part in said if part)
