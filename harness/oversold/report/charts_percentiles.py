"""Response times by percentile, on an axis that stretches the tail."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from oversold.errors import UsageError
from oversold.report.charts_paper import (
    BLACK,
    BLUE,
    GREEN,
    MARGIN,
    ORANGE,
    PURPLE,
    SKY,
    SMALL_PT,
    TEXT_PT,
    VERMILLION,
    draw_grid,
    fitted,
    place_axes,
    spread,
    text_height,
    text_width,
    with_heading,
)
from oversold.report.phrases import between
from oversold.report.tables import CANARY, duration, named

_WIDTH = 11.0
_NAME_MAX = 2.6
_SLOWER = 10  # a percentile counts when so many responses are slower than it
_LABELLED = (0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999)
_FLOOR_MS = 1e-3  # what a clock cannot tell from zero, on an axis that has no zero

# 7 colours, 4 dashes and 5 markers repeat together only after 140 lines.
_COLORS = (BLUE, VERMILLION, GREEN, PURPLE, BLACK, ORANGE, SKY)
_DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
_MARKERS = ("o", "s", "^", "D", "v")


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


def draw(series: Sequence[tuple[str, npt.NDArray[np.float64]]]) -> Figure:
    """Draw one line a strategy, labelled at its end; UsageError if there is no response at all."""
    finite = [(name, np.asarray(ms, np.float64)[np.isfinite(ms)]) for name, ms in series]
    lines = [
        _Line(named(name, canary=name == CANARY), np.maximum(np.sort(ms), _FLOOR_MS))
        for name, ms in finite
        if len(ms)
    ]
    if not lines:
        raise UsageError("no response times to draw: no bidder of these runs got an answer")
    axes_high = max(4.0, (text_height(TEXT_PT) + 0.03) * len(lines) + 0.2)
    silent = [name for name, ms in finite if not len(ms)]
    figure, top = with_heading(_WIDTH, axes_high + 0.95, _title(lines), _subtitle(lines, silent))
    labels = [
        f"{fitted(figure, line.name, TEXT_PT, _NAME_MAX)}  {duration(float(line.at(line.last())))}"
        for line in lines
    ]
    room = max(text_width(figure, label, TEXT_PT) for label in labels) + 0.75
    left = MARGIN + 0.5
    axes = place_axes(figure, left, top - 0.1 - axes_high, _WIDTH - left - MARGIN - room, axes_high)
    _prepare(axes, lines)
    for i, line in enumerate(lines):
        _draw_line(axes, line, i)
    _label_ends(figure, axes, lines, labels)
    return figure


def _place(fraction: npt.NDArray[np.float64] | float) -> npt.NDArray[np.float64]:
    """Map a fraction to the axis: each nine takes the same room."""
    return -np.log10(1 - np.asarray(fraction, np.float64))


def _style(i: int) -> tuple[str, object, str]:
    return _COLORS[i % 7], _DASHES[i % 4], _MARKERS[i % 5]


def _draw_line(axes: Axes, line: _Line, i: int) -> None:
    color, dash, marker = _style(i)
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
    axes.yaxis.set_major_locator(FixedLocator(_round_times(low, high)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda ms, _: f"{ms:g} ms" if ms < 1000 else f"{ms / 1000:,g} s"))
    draw_grid(axes)
    axes.set_xlabel(
        "percentile of the bids (the tail is stretched: each nine takes the same room)", fontsize=SMALL_PT
    )
    axes.set_ylabel("response since the intended start", fontsize=SMALL_PT)


def _round_times(low: float, high: float) -> list[float]:
    """Return ticks in ms: powers of ten, with steps between them on a short range."""
    steps = (1,) if high / low > 1e3 else (1, 3) if high / low > 30 else (1, 2, 5)
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    return [step * 10.0**power for power in powers for step in steps]


def _label_ends(figure: Figure, axes: Axes, lines: Sequence[_Line], labels: Sequence[str]) -> None:
    """Write the names in a column right of the axes, each joined to the end of its line."""
    height = axes.get_position().height * figure.get_size_inches()[1]
    low, high = (math.log10(limit) for limit in axes.get_ylim())
    inches = [(math.log10(float(line.at(line.last()))) - low) / (high - low) * height for line in lines]
    places = spread(inches, text_height(TEXT_PT), 0.05, height - 0.05)
    right = axes.get_xlim()[1]
    inch = right / (axes.get_position().width * _WIDTH)
    for i, (line, label) in enumerate(zip(lines, labels, strict=True)):
        color, _, marker = _style(i)
        y = 10 ** (low + places[i] / height * (high - low))
        end = float(line.at(line.last()))
        x = [float(_place(line.last())), right + 0.05 * inch, right + 0.45 * inch]
        axes.plot(x, [end, end, y], color=color, lw=0.5, alpha=0.7, clip_on=False)
        axes.plot([x[-1]], [y], marker=marker, color=color, markersize=5, clip_on=False)
        axes.text(right + 0.55 * inch, y, label, fontsize=TEXT_PT, va="center")


def _title(lines: Sequence[_Line]) -> str:
    """Name the fastest and the slowest at the highest percentile, up to p99, that they share."""
    shared = min(line.last() for line in lines)
    fraction = max((q for q in (0.5, 0.9, 0.99) if q <= shared + 1e-12), default=0.5)
    word = f"p{100 * fraction:g}"
    times = sorted((float(line.at(fraction)), i) for i, line in enumerate(lines))
    (fast, first), (slow, last) = times[0], times[-1]
    if len(lines) == 1:
        return f"{lines[0].name}: {word} response {duration(fast)}"
    return f"{word} response from {duration(fast)} ({lines[first].name}) to {duration(slow)} ({lines[last].name})"


def _subtitle(lines: Sequence[_Line], silent: Sequence[str]) -> str:
    some = between([len(line.ms) for line in lines], "{:,}".format)
    rule = f"each line ends, and is labelled, where {_SLOWER} bids were slower"
    said = f"{some} bids a run  ·  {rule}"
    return f"{said}  ·  no responses: {', '.join(silent)}" if silent else said
