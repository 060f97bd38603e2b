"""Figures as SVG that stands in the page: no title, ids of their own, colours that a theme can change."""

import io
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree import ElementTree

from matplotlib.figure import Figure
from matplotlib.text import Text

from oversold.report.charts_paper import (
    BAND,
    BLACK,
    BLUE,
    DPI,
    FAINT_INK,
    GREEN,
    INK,
    MARGIN,
    ORANGE,
    PURPLE,
    RULE,
    SKY,
    TITLE_PT,
    VERMILLION,
    house_style,
)

_GAP = 0.08  # inches of paper above what is drawn
SVG, LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
# What the colours of the charts are on dark paper. All others are mirrored, see `dark`.
_DARK = {
    "#ffffff": "#15191e",
    BAND.lower(): "#1d232a",
    RULE.lower(): "#3b444d",
    FAINT_INK.lower(): "#a9b2bb",
    INK.lower(): "#e8ebee",
    BLACK.lower(): "#ffffff",
    BLUE.lower(): "#4aa8e8",
    VERMILLION.lower(): "#f0803c",
    GREEN.lower(): "#2bc096",
    ORANGE.lower(): "#f0b23a",
    SKY.lower(): "#7cc8f2",
    PURPLE.lower(): "#dd98bc",
}
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b")
_PAINTED = ("fill", "stroke")
_NUMBER = re.compile(r"-?\d+\.\d+")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_NO_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")  # matplotlib writes them all the same
_FONTS = re.compile(r"font-family: [^;]+;? ?")  # the page's style says which font its charts have


@dataclass(frozen=True)
class Painting:
    """A figure as an `<svg>` element, and the colours in it, as `#rrggbb` of the light theme."""

    svg: str
    colours: frozenset[str]


def paint(figure: Figure, prefix: str) -> Painting:
    """Return a figure as SVG whose ids begin with `prefix` and whose colours are CSS variables.

    The title, which the page says in a heading, is left out with the room that it took; the figure itself stays
    as it was. A figure with a bitmap keeps its colours: a bitmap cannot follow the theme.
    """
    root = ElementTree.fromstring(_drawn(figure))
    _strip(root)
    _rename(root, prefix)
    bitmap = root.find(f".//{{{SVG}}}image") is not None
    colours = frozenset() if bitmap else _recolour(root)
    root.set("role", "img")
    root.set("aria-label", str(figure.get_label()))
    root.set("class", "fixed" if bitmap else "themed")
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", LINK)
    return Painting(ElementTree.tostring(root, encoding="unicode"), colours)


def variable(colour: str) -> str:
    """Return the name of the CSS variable that stands for a colour of the light theme."""
    return f"--c{colour.removeprefix('#')}"


def dark_rules(colours: Iterable[str]) -> str:
    """Return the CSS declarations that give each colour its value on dark paper."""
    return " ".join(f"{variable(colour)}: {dark(colour)};" for colour in sorted(colours))


def dark(colour: str) -> str:
    """Return what a colour of the charts becomes on dark paper.

    Its lightness is mirrored between that of the paper and that of the ink, its hue stays: so text that could be
    read on a tint can be read on it still.

    >>> dark("#FFFFFF"), dark("#1a1a1a"), dark("#fdf3ec")
    ('#15191e', '#e8ebee', '#211a15')
    """
    if (known := _DARK.get(colour.lower())) is not None:
        return known
    lightness, a, b = _oklab(colour)
    mirrored = 1.127 - 0.93 * lightness
    return _hex(mirrored, a, b)


def _drawn(figure: Figure) -> str:
    """Return the figure's SVG file without its title, its view box cut to what is left, its text fit for XML."""
    titles = [
        text
        for text in figure.findobj(Text)
        if text.get_fontweight() == "bold" and text.get_fontsize() == TITLE_PT and text.get_visible()
    ]
    drawn = io.BytesIO()
    try:
        for text in titles:
            text.set_visible(False)
        with house_style():
            figure.savefig(drawn, format="svg", dpi=DPI, metadata={"Date": None, "Creator": None})
            box = _view_box(figure, cut_top=bool(titles))
    finally:
        for text in titles:
            text.set_visible(True)
    svg = _NO_XML.sub("", drawn.getvalue().decode())
    return re.sub(r'viewBox="[^"]*"', f'viewBox="{box}"', svg, count=1)


def _view_box(figure: Figure, *, cut_top: bool) -> str:
    """Return the view box, in points, without half of the margins at the sides, where the page has its own."""
    width, height = figure.get_size_inches()
    texts = [text.get_window_extent() for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    left = max(0.0, min([MARGIN / 2, *(text.x0 / figure.dpi for text in texts)]))
    right = max(0.0, min([MARGIN / 2, *(width - text.x1 / figure.dpi for text in texts)]))
    top = max(0.0, height - figure.get_tightbbox().y1 - _GAP) if cut_top else 0.0
    return " ".join(f"{72 * inches:.2f}" for inches in (left, top, width - left - right, height - top))


def _strip(root: ElementTree.Element) -> None:
    """Take out what only a file of its own needs, and digits that nobody can see."""
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    for parent in root.iter():
        for child in list(parent):
            if child.tag in {f"{{{SVG}}}{name}" for name in ("metadata", "style", "title")}:
                parent.remove(child)
        if (path := parent.get("d")) is not None:
            parent.set("d", _NUMBER.sub(lambda found: f"{float(found[0]):.2f}", " ".join(path.split())))
        if not (parent.text or "").strip():
            parent.text = None
        if not (parent.tail or "").strip():
            parent.tail = None


def _rename(root: ElementTree.Element, prefix: str) -> None:
    """Keep only the ids that something refers to, and make them the page's own."""
    used: set[str] = set()
    for element in root.iter():
        for name, value in element.items():
            used |= set(_REFERENCE.findall(value))
            if name in {"href", f"{{{LINK}}}href"} and value.startswith("#"):
                used.add(value[1:])
                element.set(name, f"#{prefix}{value[1:]}")
            else:
                element.set(name, _REFERENCE.sub(lambda found: f"url(#{prefix}{found[1]})", value))
    for element in root.iter():
        if (own := element.get("id")) in used:
            element.set("id", f"{prefix}{own}")
        else:
            element.attrib.pop("id", None)


def _recolour(root: ElementTree.Element) -> frozenset[str]:
    """Put a CSS variable for each colour, with the colour itself as what it falls back to."""
    colours: set[str] = set()

    def themed(found: re.Match[str]) -> str:
        colour = found[0].lower()
        colours.add(colour)
        return f"var({variable(colour)}, {colour})"

    for element in root.iter():
        # Attributes know no variables in every browser: what they say of colours goes into the style.
        moved = [
            f"{name}: {element.attrib.pop(name)}" for name in _PAINTED if _COLOUR.search(element.get(name, ""))
        ]
        style = "; ".join([*moved, *filter(None, [element.get("style")])])
        if style:
            element.set("style", _COLOUR.sub(themed, _FONTS.sub("", style)))
    return frozenset(colours)


def _oklab(colour: str) -> tuple[float, float, float]:
    """Return lightness (0 black, 1 white) and the two axes of hue of `#rrggbb` (Ottosson's Oklab)."""
    red, green, blue = (_linear(int(colour[i : i + 2], 16) / 255) for i in (1, 3, 5))
    long = math.cbrt(0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue)
    middle = math.cbrt(0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue)
    short = math.cbrt(0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue)
    return (
        0.2104542553 * long + 0.7936177850 * middle - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * middle + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * middle - 0.8086757660 * short,
    )


def _hex(lightness: float, a: float, b: float) -> str:
    """Return the `#rrggbb` of an Oklab colour, cut to what a screen can show."""
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    channels = (
        4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
    )
    return "#" + "".join(f"{round(255 * _encoded(channel)):02x}" for channel in channels)


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4


def _encoded(channel: float) -> float:
    channel = min(max(channel, 0.0), 1.0)
    return 12.92 * channel if channel <= 0.0031308 else 1.055 * channel ** (1 / 2.4) - 0.055
