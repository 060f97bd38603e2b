"""The paper that every chart is drawn on: fonts, colours, headings, and where a text may go.

All places are in inches from the paper's lower left corner, so that a chart can grow a row without moving
or stretching what is already on it.
"""

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.text import Text

DPI = 144
MARGIN = 0.4

# Okabe and Ito's colours can be told apart with any colour vision; their yellow is too pale for paper.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
INK, FAINT_INK, RULE, BAND = "#1A1A1A", "#595959", "#D0D0D0", "#F4F4F4"

# Each verdict is told by its word, its marker and its colour.
_MARKS = {"pass": ("o", GREEN), "fail": ("X", VERMILLION), "inconclusive": ("s", FAINT_INK)}

TITLE_PT, SUBTITLE_PT, TEXT_PT, SMALL_PT = 14.0, 10.0, 10.0, 8.5
_BEFORE_UNIT = re.compile(r"(?<=\d) (?=%|ms\b|s\b|yuan\b|million\b)")  # where no line breaks
_LINE = 1.3 / 72  # inches that a line of text takes for each point of its size

# Tried in this order for what DejaVu Sans, which comes with matplotlib, cannot draw.
_FALLBACK_FONTS = (
    "Noto Sans CJK SC",
    "Source Han Sans SC",
    "Noto Sans SC",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
)


@cache
def _families() -> list[str]:
    installed = {font.name for font in fontManager.ttflist}
    return ["sans-serif", *(name for name in _FALLBACK_FONTS if name in installed)]


@contextmanager
def house_style() -> Iterator[None]:
    """Hold the settings that matplotlib only takes from its global table, and put them back after.

    The user's own matplotlibrc does not count meanwhile. Not for use from several threads at once.
    """
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "font.family": _families(),
                "font.size": TEXT_PT,
                "text.color": INK,
                "text.parse_math": False,  # a name with two dollar signs is a name, not a formula
                "axes.edgecolor": FAINT_INK,
                "axes.labelcolor": FAINT_INK,
                "axes.unicode_minus": False,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "xtick.color": FAINT_INK,
                "ytick.color": FAINT_INK,
                "xtick.labelsize": SMALL_PT,
                "ytick.labelsize": SMALL_PT,
                "hatch.linewidth": 0.6,
                "svg.fonttype": "none",  # text stays text: searchable, and drawn in the reader's fonts
                "svg.hashsalt": "oversold",
            }
        )
        # Where no installed font has a character the picture shows a box, but the SVG still has the text.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        yield


def new_paper(width: float, height: float) -> Figure:
    """Return an empty figure of that many inches, with a canvas to measure on."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def text_width(figure: Figure, text: str, points: float, weight: str = "normal") -> float:
    """Return how many inches wide a line of text comes out."""
    probe = Text(0, 0, text, fontsize=points, fontweight=weight, figure=figure)
    return float(probe.get_window_extent(_renderer(figure)).width) / DPI


def text_height(points: float, lines: int = 1) -> float:
    """Return how many inches high so many lines of text come out."""
    return points * _LINE * lines


def fitted(figure: Figure, text: str, points: float, width: float, weight: str = "normal") -> str:
    """Return the text, with its middle replaced by an ellipsis where it is wider than `width` inches."""
    short, keep = text, len(text)
    while keep > 4 and text_width(figure, short, points, weight) > width:
        keep -= 1
        short = text[: (keep + 1) // 2] + "…" + text[len(text) - keep // 2 :]
    return short


def wrapped(figure: Figure, text: str, points: float, width: float, weight: str = "normal") -> list[str]:
    """Return the text broken between words into lines of at most `width` inches; a number keeps its unit."""
    lines: list[str] = []
    glued = _BEFORE_UNIT.sub("\xa0", text)
    for word in (word.replace("\xa0", " ") for word in glued.split(" ")):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(figure, longer, points, weight) <= width:
            lines[-1] = longer
        else:
            lines.append(fitted(figure, word, points, width, weight))
    return lines


def _title_lines(figure: Figure, title: str, width: float) -> list[str]:
    """Break a title after its semicolons where its clauses fit on a line each, else between words."""
    clauses = title.replace("; ", ";\n").split("\n")
    if any(text_width(figure, clause, TITLE_PT, "bold") > width for clause in clauses):
        return wrapped(figure, title, TITLE_PT, width, "bold")
    lines = clauses[:1]
    for clause in clauses[1:]:
        if text_width(figure, f"{lines[-1]} {clause}", TITLE_PT, "bold") <= width:
            lines[-1] += f" {clause}"
        else:
            lines.append(clause)
    return lines


def with_heading(width: float, body_height: float, title: str, subtitle: str) -> tuple[Figure, float]:
    """Return a figure with its title and subtitle written, and the inches from its foot to the heading.

    The paper is as high as `body_height` and the heading need together.
    """
    figure = new_paper(width, body_height)
    room = width - 2 * MARGIN
    heads = _title_lines(figure, title, room)
    subs = wrapped(figure, subtitle, SUBTITLE_PT, room)
    figure.set_label(title)
    heading = text_height(TITLE_PT, len(heads)) + text_height(SUBTITLE_PT, len(subs)) + 0.1
    height = body_height + heading + MARGIN * 0.8
    figure.set_size_inches(width, height)
    top = height - MARGIN * 0.8
    for lines, points, weight, color in (
        (heads, TITLE_PT, "bold", INK),
        (subs, SUBTITLE_PT, "normal", FAINT_INK),
    ):
        for line in lines:
            write(figure, MARGIN, top, line, points, weight=weight, color=color, va="top")
            top -= text_height(points)
        top -= 0.06
    return figure, body_height


def write(figure: Figure, x: float, y: float, text: str, points: float = TEXT_PT, **style: Any) -> Text:
    """Write a text at a place in inches; `style` as for `Figure.text`."""
    width, height = figure.get_size_inches()
    return figure.text(x / width, y / height, text, fontsize=points, **style)


def place_axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Return new axes at a place in inches."""
    w, h = figure.get_size_inches()
    return figure.add_axes((left / w, bottom / h, width / w, height / h))


def draw_grid(axes: Axes, axis: Literal["x", "y", "both"] = "both") -> None:
    """Draw faint lines at the ticks of an axis, behind all that is drawn on it."""
    axes.grid(axis=axis, color=RULE, lw=0.5)
    axes.set_axisbelow(True)


def write_legend(
    figure: Figure, y: float, keys: Sequence[Artist], *, handle: float = 1.8, apart: float = 1.4
) -> None:
    """Write the keys in one row from the left margin on, at `y` inches.

    `handle` is the width of a key's picture, `apart` the room between two keys, both in font sizes.
    """
    width, height = figure.get_size_inches()
    figure.legend(
        handles=keys,
        loc="center left",
        bbox_to_anchor=(MARGIN / width, y / height),
        ncols=max(1, len(keys)),
        frameon=False,
        borderpad=0,
        borderaxespad=0,
        handlelength=handle,
        columnspacing=apart,
        fontsize=SMALL_PT,
    )


def verdict_mark(verdict: str) -> tuple[str, str]:
    """Return a verdict's marker and colour; one that this version does not know looks unproven."""
    return _MARKS.get(verdict, _MARKS["inconclusive"])


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return places as near as can be to `wanted`, at least `gap` apart, between `low` and `high`.

    The order of places is the order of wishes. Where there is no room for that, the gap gives way.
    """
    if not wanted:
        return []
    gap = min(gap, (high - low) / max(1, len(wanted) - 1))
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    # Least squares on an increasing sequence: neighbours that would be too near move as one block.
    blocks: list[tuple[float, int]] = []
    for rank, i in enumerate(order):
        place, size = wanted[i] - rank * gap, 1
        while blocks and blocks[-1][0] > place:
            other, count = blocks.pop()
            place, size = (other * count + place * size) / (count + size), count + size
        blocks.append((place, size))
    flat = [place for place, size in blocks for _ in range(size)]
    top = high - gap * (len(wanted) - 1)
    places = [0.0] * len(wanted)
    for rank, i in enumerate(order):
        places[i] = min(max(flat[rank], low), top) + rank * gap
    return places


def largest_below(fits: Callable[[float], bool], low: float, high: float) -> float:
    """Return the largest number between `low` and `high` that still fits, to a millionth of the range."""
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _renderer(figure: Figure) -> Any:
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    return canvas.get_renderer()
