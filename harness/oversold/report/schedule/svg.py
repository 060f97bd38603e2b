"""A schedule as a picture: one lane an actor, stale reads with an arrow to the change that overtook them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from oversold.report.schedule.cards import (
    GAP,
    GUTTER,
    LINE,
    MONO,
    NUMBERS,
    PAD,
    SANS,
    Card,
    Lanes,
    Line,
    dies,
    is_event,
    lanes,
    placed,
    wrapped,
)
from oversold.report.schedule.colours import paint
from oversold.report.schedule.keys import effective
from oversold.report.schedule.marks import ending, marked
from oversold.report.schedule.rows import Row
from oversold.report.schedule.shapes import arrow_head, box, line, sign, text
from oversold.report.schedule.story import Stale, headline, sentence, stale_reads
from oversold.report.tables import printable
from oversold.schedule import NOBODY, Schedule

_HEAD = 44.0  # pixels that the names of the actors take
_TRACKS = 3  # arrows that run side by side in a gutter
_LONG = 1400.0  # pixels; from here on the names stand below as well
_LEGEND = {
    "write": "took effect",
    "stale": "stale read; the arrow ends at the change",
    "acts": "acts on a stale read",
    "fault": "fault",
    "broken": "breaks the promise",
}
_INKS = {"stale": "stale-ink", "acts": "stale-ink", "fault": "fault-ink", "broken": "broken-ink"}


def drawn(schedule: Schedule) -> str:
    """Return the schedule as an SVG document on light paper; `colours.dark_rules` repaints it in a page."""
    sheet, stale = lanes(schedule), stale_reads(schedule)
    cards = placed(marked(schedule), sheet, _HEAD)
    bottom = (cards[-1].y + cards[-1].height if cards else _HEAD) + GAP
    parts = [_band(card, sheet) for card in cards if _has(card, "broken")]
    parts += _lives(sheet, cards, bottom)
    parts += _stale_lives(sheet, cards, stale)
    parts += [_guide(card) for card in cards]
    parts += [_card(card) for card in cards]
    parts += _arrows(cards, stale)
    parts += _names(sheet, 6.0)
    left = NUMBERS + GUTTER / 2
    if bottom > _LONG:
        parts += _names(sheet, bottom)
        bottom += 30
    if last := ending(schedule):
        for place, part in enumerate(wrapped(printable(last), int((sheet.right - left) / 8))):
            parts.append(text(left + 16, bottom + 16, part, "broken-ink", SANS, bold=True, sans=True))
            parts.append("" if place else sign("broken", left, bottom + 7))
            bottom += LINE
        bottom += 8
    legend, bottom = _legend(cards, sheet, bottom)
    label = escape(f"{headline(schedule)}. {sentence(schedule)}", quote=True)
    width, height = round(sheet.right + 8), round(bottom + 4)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="schedule" role="img" aria-label="{label}" '
        f'viewBox="0 0 {width} {height}" width="{width}" height="{height}">\n'
        + "\n".join(filter(None, [box(0, 0, width, height, paint("paper"), round_=0), *parts, *legend]))
        + "\n</svg>\n"
    )


# ---- Lanes


def _names(sheet: Lanes, y: float) -> list[str]:
    """Return the actors' names in boxes whose upper edge is at `y`."""
    parts = []
    for place, name in enumerate(sheet.names):
        fill, dashes = ("event", ' stroke-dasharray="4 3"') if name in NOBODY else ("card", "")
        parts.append(box(sheet.left(place), y, sheet.card, 26, paint(fill, "faint"), dashes))
        short = _cut(printable(name), int(sheet.card / 8.5))
        parts.append(text(sheet.middle(place), y + 17.5, short, "ink", 13, bold=True, sans=True, anchor="middle"))
    return parts


def _cut(said: str, most: int) -> str:
    return said if len(said) <= most else f"{said[: most - 1]}…"


def _lives(sheet: Lanes, cards: Sequence[Card], bottom: float) -> list[str]:
    """Return a line down each lane, which ends where its actor dies for good."""
    parts = []
    for place in range(len(sheet.names)):
        last = next((card for card in reversed(cards) if card.lane == place), None)
        x, end = sheet.middle(place), bottom
        if last is not None and dies(last):
            end = last.y + last.height + GAP / 2 + 4
            parts.append(line(f"M{x - 9:.1f} {end:.1f}h18", "fault-line", 3))
        parts.append(line(f"M{x:.1f} {_HEAD - 12:.1f}V{end:.1f}", "rule", 1.5))
    return parts


def _stale_lives(sheet: Lanes, cards: Sequence[Card], stale: Sequence[Stale]) -> list[str]:
    """Return the stretch of each lane where its actor works with what is no longer true."""
    parts = {}
    for each in stale:
        change, act = _of(cards, each.change.number), _of(cards, each.act.number)
        if change and act and act.lane is not None:
            way = f"M{sheet.middle(act.lane):.1f} {change.middle:.1f}V{act.y:.1f}"
            parts[way] = line(way, "stale-line", 5)
    return list(parts.values())


def _band(card: Card, sheet: Lanes) -> str:
    return box(4, card.y - GAP / 2 + 1, sheet.right - 4, card.height + GAP - 2, paint("band"))


def _guide(card: Card) -> str:
    """Return a step's number, and a line that leads from it to its card."""
    if not isinstance(card.row, Row):
        return text(NUMBERS - 12, card.middle + 4, "⋮", "faint", MONO, anchor="end")
    broken = card.row.has("broken")
    said, ink = str(card.row.step.number), "broken-ink" if broken else "faint"
    number = text(NUMBERS - 12, card.middle + 4.5, said, ink, MONO, bold=broken, anchor="end")
    mark = sign("broken", 6, card.middle - 5) if broken else ""
    return number + mark + line(f"M{NUMBERS - 8:.1f} {card.middle:.1f}H{card.x:.1f}", "rule", 1, "1 4")


# ---- Cards


def _card(card: Card) -> str:
    parts = [_frame(card)]
    if _took_effect(card):
        parts.append(box(card.x + 3, card.y + 4, 4, card.height - 8, paint("write"), round_=2))
    parts += [_line(card, place, each) for place, each in enumerate(card.lines)]
    return "".join(parts)


def _took_effect(card: Card) -> bool:
    return isinstance(card.row, Row) and effective(card.row.step) and not is_event(card)


def _frame(card: Card) -> str:
    fill, stroke, wide = "card", "rule", 1.0
    if not isinstance(card.row, Row):
        fill = "paper"
    elif card.row.has("broken"):
        fill, stroke, wide = "broken-card", "broken-line", 2.5
    elif card.row.has("fault"):
        fill, stroke, wide = "fault-card", "fault-line", 1.5
    elif card.row.has("stale") or card.row.has("acts"):
        fill, stroke, wide = "stale-card", "stale-line", 1.5
    elif is_event(card):
        fill = "event"
    dashed = is_event(card) or not isinstance(card.row, Row)
    more = f' stroke-width="{wide:g}"' + (' stroke-dasharray="4 3"' if dashed else "")
    return box(card.x, card.y, card.width, card.height, paint(fill, stroke), more)


def _line(card: Card, place: int, each: Line) -> str:
    x, y = card.x + 13, card.y + PAD + place * LINE + 12.5
    if each.kind in {"command", "reply"}:
        return text(x, y, each.text, "ink" if each.kind == "command" else "faint", MONO)
    mark = sign(each.kind, x, y - 10) if each.first else ""
    return mark + text(x + 15, y, each.text, _INKS[each.kind], SANS, bold=True, sans=True)


# ---- Arrows


def _arrows(cards: Sequence[Card], stale: Sequence[Stale]) -> list[str]:
    """Return an arrow from each stale read to the change that overtook it.

    They run in the gutters and between the rows, where no card lies.
    """
    parts: list[str] = []
    taken: dict[int, int] = {}
    for read_at, change_at in dict.fromkeys((each.read.number, each.change.number) for each in stale):
        read, change = _of(cards, read_at), _of(cards, change_at)
        if read and change and read.lane is not None and change.lane is not None:
            gutter = read.lane + (change.lane > read.lane)
            taken[gutter] = taken.get(gutter, -1) + 1
            parts.append(_arrow(read, change, change.lane - read.lane, taken[gutter] % _TRACKS))
    return parts


def _arrow(read: Card, change: Card, lanes_off: int, track: int) -> str:
    right = lanes_off > 0
    way = 1 if right else -1
    start = read.right if right else read.x
    x = start + way * (9 + 6 * track)
    begun = f"M{start:.1f} {read.middle:.1f}H{x:.1f}"
    if abs(lanes_off) == 1:
        end = change.x if right else change.right
        begun += f"V{change.middle:.1f}H{end - way * 6:.1f}"
        return line(begun, "stale-line", 2) + arrow_head(end, change.middle, 0 if right else 180, "stale-line")
    end = change.x + change.width / 2 - way * (14 + 8 * track)
    begun += f"V{change.y - GAP / 2 - 2 + 2 * track:.1f}H{end:.1f}V{change.y - 5:.1f}"
    return line(begun, "stale-line", 2) + arrow_head(end, change.y, 90, "stale-line")


# ---- Below the lanes


def _legend(cards: Sequence[Card], sheet: Lanes, y: float) -> tuple[list[str], float]:
    """Return what the signs mean, of those that are there, and where that ends."""
    there = {kind for kind in _LEGEND if any(_has(card, kind) for card in cards)}
    if any(_took_effect(card) for card in cards):
        there.add("write")
    if not there:
        return [], y
    parts: list[str] = []
    x = left = NUMBERS + GUTTER / 2
    y += 24
    for kind, said in _LEGEND.items():
        wide = 16 + len(said) * 6.6 + 22
        if kind not in there:
            continue
        if x > left and x + wide > sheet.right:
            x, y = left, y + 20
        parts += [sign(kind, x, y - 9), text(x + 16, y, said, "faint", SANS, sans=True)]
        x += wide
    return parts, y + 10


def _has(card: Card, kind: str) -> bool:
    return isinstance(card.row, Row) and any(mark.kind == kind for mark in card.row.marks)


def _of(cards: Sequence[Card], number: int) -> Card | None:
    return next((card for card in cards if isinstance(card.row, Row) and card.row.step.number == number), None)
