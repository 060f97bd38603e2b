"""What the tests see of a chart or a table: its words, its bars and marks, and what lies over what."""

import io
from itertools import combinations
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from rich.console import Console
from rich.table import Table


def title_of(figure: Figure) -> str:
    """Return the figure's title in one piece, however many lines it takes on the paper."""
    return str(figure.get_label())


def words(figure: Figure) -> list[str]:
    """Return every line of text that is on the figure."""
    return [line for text in shown(figure) for line in text.get_text().split("\n")]


def shown(figure: Figure) -> list[Text]:
    """Return the text objects that are drawn."""
    figure.draw_without_rendering()
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    # Ticks beyond the axes' limits exist as objects, but are not drawn.
    hidden = {
        id(label)
        for axes in [*figure.axes, *(child for axes in figure.axes for child in axes.child_axes)]
        for axis in (axes.xaxis, axes.yaxis)
        for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        for label in (tick.label1, tick.label2)
        if not axes.axison or not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    }
    return [text for text in texts if id(text) not in hidden]


def clashes(figure: Figure) -> list[str]:
    """Return the texts that lie over one another or over the paper's edge."""
    boxes = [(Text.get_window_extent(text), text.get_text()) for text in shown(figure)]
    page = figure.bbox
    found = [
        f"{said!r} leaves the paper"
        for box, said in boxes
        if box.x0 < page.x0 or box.x1 > page.x1 or box.y0 < page.y0 or box.y1 > page.y1
    ]
    for (a, one), (b, other) in combinations(boxes, 2):
        wide = min(a.x1, b.x1) - max(a.x0, b.x0)
        high = min(a.y1, b.y1) - max(a.y0, b.y0)
        # Line boxes hold room for accents and tails: two points of them may touch.
        if wide > 1 and high > 2 / 72 * figure.dpi:
            found.append(f"{one!r} over {other!r}")
    return found


def marks(figure: Figure, index: int = 0) -> list[tuple[str, float, float]]:
    """Return every mark of some axes: its marker and its place in the axes' own units."""
    return [
        (str(line.get_marker()), float(x), float(y))
        for line in figure.axes[index].lines
        if line.get_marker() not in {"None", "", None}
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    ]


def marks_under_text(figure: Figure) -> list[str]:
    """Return the texts of the first axes that lie over the middle of a mark."""
    figure.draw_without_rendering()
    axes = figure.axes[0]
    places = [axes.transData.transform((x, y)) for _, x, y in marks(figure)]
    boxes = [(Text.get_window_extent(text), text.get_text()) for text in axes.texts]
    return [said for box, said in boxes for x, y in places if box.x0 < x < box.x1 and box.y0 < y < box.y1]


def bar_widths(figure: Figure) -> list[float]:
    """Return the lengths of the bars in inches, signed, in the order of drawing."""
    bars = [bar for axes in figure.axes for container in axes.containers for bar in container]
    assert all(isinstance(bar, Rectangle) for bar in bars)
    return [float(bar.get_width()) for bar in bars]


def printed(table: Table, width: int = 80, **options: Any) -> str:
    """Return the table as a file of that width gets it."""
    out = io.StringIO()
    Console(file=out, width=width, **options).print(table)
    return out.getvalue()


def too_wide(table: Table, width: int = 80) -> list[str]:
    """Return the lines that are longer than the width or hold a cell that was cut."""
    return [line for line in printed(table, width).splitlines() if len(line) > width or "…" in line]


def not_plain(table: Table, **options: Any) -> list[str]:
    """Return the lines that hold anything but ASCII, such as a colour code or a drawn box."""
    lines = printed(table, **options).splitlines()
    return [line for line in lines if not line.isascii() or "\x1b[" in line]
