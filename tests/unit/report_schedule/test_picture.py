"""The picture and the page of a schedule: all is there, nothing overlaps, nothing of the data becomes code."""

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from xml.etree import ElementTree

import pytest
from tests.unit.report.page_eyes import fetched, foreign_code, parsed
from tests.unit.report_schedule import schedules

from oversold.report.schedule import mermaid, svg
from oversold.report.schedule.cards import columns, wrapped
from oversold.report.schedule.colours import COLOURS, dark_rules
from oversold.report.schedule.page import page
from oversold.schedule import Schedule

SVG = "{http://www.w3.org/2000/svg}"
EACH = pytest.mark.parametrize(
    "made", [make() for make in schedules.ALL], ids=[make.__name__ for make in schedules.ALL]
)


@dataclass(frozen=True)
class Box:
    """A rectangle of the picture."""

    x: float
    y: float
    right: float
    bottom: float

    def over(self, other: "Box") -> bool:
        """Tell whether two boxes share more than an edge."""
        return (
            min(self.right, other.right) - max(self.x, other.x) > 0.5
            and min(self.bottom, other.bottom) - max(self.y, other.y) > 0.5
        )


def cards(text: str) -> list[Box]:
    """Return the boxes of the steps and names: all that have an outline."""
    found = []
    for rect in ElementTree.fromstring(text).iter(f"{SVG}rect"):
        if rect.get("stroke"):
            x, y, wide, high = (float(rect.get(name, "0")) for name in ("x", "y", "width", "height"))
            found.append(Box(x, y, x + wide, y + high))
    return found


def overlaps(text: str) -> list[str]:
    """Return the cards that lie over one another, and the texts that leave the sheet or their card."""
    root, boxes = ElementTree.fromstring(text), cards(text)
    found = [f"{one} over {other}" for one, other in itertools.combinations(boxes, 2) if one.over(other)]
    width, height = (float(root.get(name, "0")) for name in ("width", "height"))
    for each in root.iter(f"{SVG}text"):
        x, y, size = (float(each.get(name, "0")) for name in ("x", "y", "font-size"))
        wide = columns(each.text or "") * size * (0.602 if "mono" in each.get("class", "") else 0.56)
        left = {"end": x - wide, "middle": x - wide / 2}.get(each.get("text-anchor", ""), x)
        around = [box for box in boxes if box.x <= x <= box.right and box.y <= y <= box.bottom]
        edge = around[0].right if around else width
        if left < 0 or left + wide > edge or y > height:
            found.append(f"{each.text!r} leaves its place")
    return found


def arrows_through_cards(text: str) -> list[str]:
    """Return the arrows of stale reads that run through a card."""
    found = []
    boxes = cards(text)
    for path in ElementTree.fromstring(text).iter(f"{SVG}path"):
        if path.get("stroke-width") != "2" or "s-stale-line" not in path.get("class", "") or path.get("transform"):
            continue
        x, y = 0.0, 0.0
        for command, numbers in re.findall(r"([MHV])([\d. ]+)", path.get("d", "")):
            values = [float(number) for number in numbers.split()]
            before = (x, y)
            x, y = (
                (values[0], values[1]) if command == "M" else (values[0], y) if command == "H" else (x, values[0])
            )
            run = Box(min(before[0], x), min(before[1], y) - 1, max(before[0], x) + 1, max(before[1], y) + 1)
            if command != "M" and any(
                min(run.right, box.right) - max(run.x, box.x) > 2
                and min(run.bottom, box.bottom) - max(run.y, box.y) > 1.9
                for box in boxes
            ):
                found.append(path.get("d", ""))
    return found


@EACH
def test_nothing_overlaps_and_nothing_is_cut(made: Schedule) -> None:
    """Cards keep apart, texts stay on them, and arrows run round them."""
    text = svg.drawn(made)
    assert overlaps(text) == []
    assert arrows_through_cards(text) == []


def moved_up(text: str) -> str:
    """Put all cards at one height."""
    return re.sub(r'(<rect x="[\d.]+") y="[\d.]+"', r'\1 y="90.0"', text)


@pytest.mark.parametrize(
    "planted",
    [moved_up, lambda text: text.replace("SET left 0", "SET left 0" * 9)],
    ids=["cards over one another", "text too long"],
)
def test_a_clash_is_noticed(planted: Callable[[str], str]) -> None:
    """The check above does not let pass what it is there for."""
    assert overlaps(planted(svg.drawn(schedules.lost_update())))


def test_an_arrow_through_a_card_is_noticed() -> None:
    """The check of arrows sees one that is drawn straight across."""
    text = svg.drawn(schedules.crowd())
    straight = '<path d="M100 250H1100" class="s-stale-line" stroke="#e69f00" stroke-width="2"/></svg>'
    assert arrows_through_cards(text.replace("</svg>", straight))


def test_each_stale_read_has_its_arrow_and_each_kind_its_sign() -> None:
    """Five bidders read what is changed under them: five arrows; the legend names only what is there."""
    crowd, quiet = svg.drawn(schedules.crowd()), svg.drawn(schedules.polling())
    assert crowd.count("rotate(") == 5
    assert "rotate(" not in quiet
    for said in ("stale read; the arrow ends at the change", "acts on a stale read", "breaks the promise"):
        assert said in crowd
        assert said not in quiet
    assert ">fault<" in svg.drawn(schedules.lease_ends())


def test_every_command_and_reply_is_in_the_picture() -> None:
    """The lines of a card say the whole command, then the reply."""
    root = ElementTree.fromstring(svg.drawn(schedules.lease_ends()))
    said = " ".join(each.text or "" for each in root.iter(f"{SVG}text"))
    for step in schedules.lease_ends().steps:
        assert step.operation in said
    assert "→ 2 of 1 sold" in said


def test_the_picture_stands_alone_and_can_be_repainted() -> None:
    """Each colour is written out for light paper, and has a rule for dark paper; nothing is fetched."""
    text = svg.drawn(schedules.long())
    assert "var(" not in text
    assert "url(" not in text
    rules = dark_rules(".dark")
    for name in set(re.findall(r'[ "][fs]-([a-z-]+)', text)):
        assert COLOURS[name][0] in text
        assert f".f-{name} {{ fill: {COLOURS[name][1]}; }}" in rules


def test_inks_can_be_read_on_their_papers() -> None:
    """Text has a contrast of at least 4.5 to 1 on its card, in both themes; a pale ink is noticed."""

    def light(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    def contrast(one: str, other: str) -> float:
        high, low = sorted((light(one), light(other)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    pairs = [(f"{kind}-ink", f"{kind}-card") for kind in ("stale", "fault", "broken")]
    pairs += [
        (ink, paper) for ink in ("ink", "faint") for paper in ("paper", "card", "event", "broken-card", "band")
    ]
    pairs += [("broken-ink", "band"), ("broken-ink", "paper")]
    for ink, paper in pairs:
        for theme in (0, 1):
            assert contrast(COLOURS[ink][theme], COLOURS[paper][theme]) >= 4.5, (ink, paper, theme)
    assert contrast(COLOURS["stale-line"][0], "#ffffff") < 4.5


def test_lines_break_between_words_and_chinese_counts_double() -> None:
    """A line is never wider than its card, in whatever script."""
    for text in ("SET 标的:满标 " + "x" * 50, "满" * 40, "a b c", ""):
        lines = wrapped(text, 12)
        assert all(columns(line) <= 12 for line in lines)
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")


# ---- The page


@EACH
def test_the_page_fetches_nothing_and_runs_nobodys_code(made: Schedule) -> None:
    """It is one well-formed document with one script, its own, whatever stands in the schedule."""
    html = page(made, mermaid.drawn(made), [f"oversold replay {schedules.HOSTILE}"])
    assert foreign_code(html) == []
    assert fetched(html) == []
    assert parsed(html).find("script")


@pytest.mark.parametrize(
    ("planted", "see"),
    [
        ("<script>alert(1)</script>", foreign_code),
        ('<p onclick="x()">a</p>', foreign_code),
        ('<img src="https://e.example/a.png">', fetched),
    ],
)
def test_foreign_code_is_noticed(planted: str, see: Callable[[str], list[str]]) -> None:
    """The checks above do not let pass what they are there for."""
    html = page(schedules.lost_update(), "", [])
    assert see(html.replace("<main>", f"<main>{planted}"))


def test_the_page_answers_in_its_title_and_says_why() -> None:
    """Heading, sentence, picture, a row a step, the commands to replay, and the diagram to copy are there."""
    made = schedules.lease_ends()
    root = parsed(page(made, "sequenceDiagram\n", ["oversold replay found.jsonl"]))
    assert root.find("h1")[0].text == "redis-lock oversells in 13 steps, 1 fault among them"
    assert root.find("p", class_="sentence")[0].text.startswith("The lock expired at step 3")
    assert len(root.find("svg", class_="schedule")) == 1
    rows = root.find("table")[0].find("tbody")[0].find("tr")
    assert [row.find("th")[0].text for row in rows] == [str(number) for number in range(1, 14)]
    assert rows[4].text == "5 bidder 2 GET left 100 stale: changed at 6"
    assert rows[12].attributes["class"] == "broken"
    assert [each.text for each in root.find("code")][-3:-1] == ["oversold replay found.jsonl", "```mermaid"]
    assert root.find("pre")[0].text == "sequenceDiagram"


def test_folded_rows_and_what_comes_after_the_last_step_are_in_the_table() -> None:
    """The table says what the picture says."""
    polling = parsed(page(schedules.polling(), "", [])).find("table")[0].text
    assert "SET lock 2 NX 14 times nil" in polling
    circles = parsed(page(schedules.circles(), "", [])).find("table")[0].text
    assert "steps 2 to 5 again, 13 times, up to step 57" in circles
    leak = parsed(page(schedules.tapped_again(), "", [])).find("table")[0].text
    assert leak.endswith("end after the last step: 1.00 yuan of 1.00 yuan (100 %) stayed unsold.")
