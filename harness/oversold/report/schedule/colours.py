"""The colours of a drawn schedule, on light paper and on dark: Okabe and Ito's, with inks to be read on them."""

from __future__ import annotations

# What it paints: on light paper, on dark paper.
COLOURS = {
    "paper": ("#ffffff", "#15191e"),
    "card": ("#ffffff", "#1f252c"),
    "event": ("#eef6fc", "#1b2a36"),
    "rule": ("#c9ced3", "#46505a"),
    "ink": ("#1a1a1a", "#e8ebee"),
    "faint": ("#565d64", "#a9b2bb"),
    "write": ("#0072b2", "#4aa8e8"),
    "stale-line": ("#e69f00", "#f0b23a"),
    "stale-ink": ("#7d5200", "#f0b23a"),
    "stale-card": ("#fdf6e6", "#2c2515"),
    "fault-line": ("#cc79a7", "#dd98bc"),
    "fault-ink": ("#8a3666", "#eeb3d2"),
    "fault-card": ("#fbf0f6", "#2c1f28"),
    "broken-line": ("#d55e00", "#f0803c"),
    "broken-ink": ("#a83600", "#ff9c62"),
    "broken-card": ("#fdeee3", "#3a2617"),
    "band": ("#fdf5ef", "#241d17"),
}


def paint(fill: str = "", stroke: str = "", also: str = "") -> str:
    """Return the attributes that fill and stroke an element: its colour on light paper, and a class for a theme.

    `also` is one more class that it has.

    >>> paint(stroke="rule")
    'class="s-rule" fill="none" stroke="#c9ced3"'
    """
    classes = [*([f"f-{fill}"] if fill else []), *([f"s-{stroke}"] if stroke else []), *([also] if also else [])]
    filled = f'fill="{COLOURS[fill][0]}"' if fill else 'fill="none"'
    stroked = f' stroke="{COLOURS[stroke][0]}"' if stroke else ""
    return f'class="{" ".join(classes)}" {filled}{stroked}'


def dark_rules(root: str) -> str:
    """Return the CSS that repaints the schedules below a selector on dark paper."""
    return "\n".join(
        f"{root} .schedule .f-{name} {{ fill: {dark}; }} {root} .schedule .s-{name} {{ stroke: {dark}; }}"
        for name, (_, dark) in COLOURS.items()
    )
