"""The shapes that the picture of a schedule is put together from, as SVG elements."""

from __future__ import annotations

from html import escape

from oversold.report.schedule.colours import paint
from oversold.report.tables import printable

_MONO_FONT = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"
_SANS_FONT = "system-ui, 'DejaVu Sans', Verdana, Arial, sans-serif"
_ANCHORS = {"start": "", "middle": ' text-anchor="middle"', "end": ' text-anchor="end"'}


def box(
    x: float, y: float, width: float, height: float, painted: str, more: str = "", *, round_: float = 5
) -> str:
    """Return a rectangle with round corners; `painted` is what `colours.paint` gives, `more` other attributes."""
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect {place} rx="{round_:g}" {painted}{more}/>'


def line(way: str, ink: str, width: float, dashes: str = "") -> str:
    """Return a line along an SVG path."""
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<path d="{way}" {paint(stroke=ink)} stroke-width="{width:g}" stroke-linejoin="round"{dashed}/>'


def text(
    x: float,
    y: float,
    said: str,
    ink: str,
    size: float,
    *,
    bold: bool = False,
    sans: bool = False,
    anchor: str = "start",
) -> str:
    """Return a line of text whose baseline begins, has its middle, or ends at (x, y)."""
    weight = ' font-weight="600"' if bold else ""
    how = f'font-family="{_SANS_FONT if sans else _MONO_FONT}" font-size="{size:g}"{weight}{_ANCHORS[anchor]}'
    painted = paint(ink, also="" if sans else "mono")
    return f'<text x="{x:.1f}" y="{y:.1f}" {how} {painted} xml:space="preserve">{escape(printable(said))}</text>'


def sign(kind: str, x: float, y: float) -> str:
    """Return a sign of ten pixels: each kind has a shape of its own as well as a colour."""
    if kind == "broken":
        way, how = "M1 1L9 9M9 1L1 9", f'{paint(stroke="broken-line")} stroke-width="2.8"'
    elif kind == "fault":
        way, how = "M6 0L1 6H4.6L3.6 10L9 4H5.4Z", paint("fault-line")
    elif kind == "acts":
        way, how = "M5 0L10 5L5 10L0 5Z", paint("stale-line")
    elif kind == "stale":
        way, how = "M5 1L9 5L5 9L1 5Z", f'{paint("paper", "stale-line")} stroke-width="2"'
    else:
        way, how = "M3 0H7V10H3Z", paint("write")
    return f'<path transform="translate({x:.1f} {y:.1f})" d="{way}" {how}/>'


def arrow_head(x: float, y: float, turn: int, ink: str) -> str:
    """Return the head of an arrow whose point is at (x, y); `turn` is in degrees, 0 points to the right."""
    return f'<path transform="translate({x:.1f} {y:.1f}) rotate({turn})" d="M0 0L-8 -4.5V4.5Z" {paint(ink)}/>'
