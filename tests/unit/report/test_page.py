"""The report page: it answers in its title, shows every number, runs nobody else's code and fetches nothing."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure
from tests.unit.report.comparisons import comparison, run
from tests.unit.report.page_eyes import Element, fetched, foreign_code, parsed
from tests.unit.report.summaries import OBLIGATIONS

from oversold.errors import UsageError
from oversold.report import charts
from oversold.report.cells import gather
from oversold.report.charts_paper import MARGIN
from oversold.report.page import conditions, page, paint
from oversold.report.page.words import proof

HOSTILE = '../<script>alert("x")</script>/\'"><img src=http://e.example/x onerror=alert(1)>满标.py:Über'


@dataclass(frozen=True)
class Card:
    """What a strategy's card says."""

    algorithm: str = "Reads & writes."
    guarantee: str = "None."
    hole: str = "Lost updates."


def canary(*over: float) -> dict[str, Any]:
    """Return what compare.json says of the canary."""
    return {"strategy": "none", "oversold": min(over) > 0, "runs": [{"oversubscription": rate} for rate in over]}


def payday(strategy: str, verdict: str = "pass", seed: int = 1, p95: float = 2.0, **told: int) -> dict[str, Any]:
    """Return the part of a payout summary that the page reads."""
    return {
        "strategy": strategy,
        "scenario": "payout-overlap",
        "seed": seed,
        "verdict": verdict,
        "canary": strategy == "none+blind-failover",
        "profile": "seed",
        "obligations": {**OBLIGATIONS, **told},
        "time_to_paid_s": {"p95": p95},
        "unknown": {"peak": 24},
        "load": {"users": 60, "processes": 2, "lanes": 8, "rtt_ms": 0.5},
        "settings": {"jobs": "overlap"},
        "findings": [],
    }


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Return a function that writes the page of some runs and returns its HTML and its Markdown."""

    def written(
        runs: list[dict[str, Any]],
        figures: Mapping[str, Figure] | None = None,
        cards: Mapping[str, Card] | None = None,
        **document: Any,
    ) -> tuple[str, str]:
        whole = {"runs": runs, "canary": canary(0.17), **document}
        html, text = page.write(tmp_path, whole, figures or {}, cards or {})
        return html.read_text("utf-8"), text.read_text("utf-8")

    return written


def rows(html: str) -> list[Element]:
    """Return the rows of the table of designs."""
    return parsed(html).find("tr", class_="entry")


def title(html: str) -> str:
    """Return the page's heading."""
    return parsed(html).find("h1")[0].text


# ---- the answer


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        (
            [run("none", over=0.2), run("a", goodput=1940, p99=1100), run("b", goodput=900)],
            "a sold exactly and was the faster of the 2 that did: 1,940 ok/s, p99 1.1 s",
        ),
        (
            [run("a", users=users, goodput=1940) for users in (100, 1000)]
            + [run("b", over=0.1), run("c", under=0.1)],
            "Only a kept its promise: it sold exactly at every load, 1,940 ok/s, p99 500 ms at 1,000 users",
        ),
        (
            [run("a", under=0.0, tranche={"capacity_fen": 100, "confirmed_fen": 98})],
            "a sold all but dust: 1,000 ok/s",
        ),
        (
            [run("a", over=0.1), run("b", under=0.2), run("c", failed=["leak"]), run("d", verdict="inconclusive")],
            "No design kept its promise: 1 oversold, 1 undersold, 1 broke another promise, 1 proved nothing",
        ),
        ([run("none", over=0.176)], "none (canary) oversold by 17.6 %"),
        ([run("a", failed=["leak", "lost_order"])], "a broke its promise: leak, lost order"),
        (
            [run("a", verdict="inconclusive"), run("b", verdict="inconclusive")],
            "Nothing is proven: all 2 runs are",
        ),
        ([], "Nothing was run"),
        (
            [
                payday("none+blind-failover", "fail", duplicates=40, overpaid_fen=100),
                payday("a"),
                payday("b", p95=3.0),
            ],
            "a paid everybody once and was the faster of the 2 that did: p95 2.0 s",
        ),
        (
            [payday("a", reviews=41), payday("b", "fail", missed=2, missed_fen=5)],
            "Only a kept its promise: it paid everybody once or left it to people (41), p95 2.0 s",
        ),
        (
            [payday("a", "fail", duplicates=1, overpaid_fen=5), payday("b", "fail", missed=2, missed_fen=5)],
            "Neither design kept its promise: 1 paid too much, 1 missed payouts",
        ),
    ],
)
def test_the_title_is_the_answer(runs: list[dict[str, Any]], said: str, write: Any) -> None:
    """The heading names the design to take and how it did, or says how all of them broke their promise."""
    html, text = write(runs)
    assert title(html).startswith(said)
    assert text.startswith("## ")


def test_a_failing_seed_takes_the_praise_away(write: Any) -> None:
    """A design that kept its promise with one seed only is not the answer; without the bad seed it is."""
    good = [run("a", seed=1, goodput=5000), run("b", seed=1), run("b", seed=2)]
    assert title(write([*good, run("a", seed=2, over=0.001)])[0]).startswith("Only b kept its promise")
    assert title(write([*good, run("a", seed=2, goodput=5000)])[0]).startswith("a sold exactly")


def test_what_set_the_pace_and_what_a_pass_is_worth_stand_on_top(write: Any) -> None:
    """Before the table page and Markdown say who set the pace of the fastest, and that a pass has its limits."""
    html, text = write([run("a", limits={"limited_by": "the lanes (97% busy)"})])
    top = parsed(html).find("header")[0].text
    for said in (top, text.split("| design")[0]):
        assert "The pace of a was set by the lanes (97 % busy), not by the design" in said
        assert "A pass says that this load found no fault. What it did not try is in each row" in said
    assert "The pace of" not in write([run("a")])[0]


@pytest.mark.parametrize(
    ("document", "proven", "said"),
    [
        (
            {"canary": canary(0.12, 0.17)},
            True,
            "(none, the canary) oversold by 12.0 % to 17.0 %: a fault would show",
        ),
        ({"canary": canary(0.0)}, False, "did not oversell: passes prove nothing"),
        ({"canary": canary(0.0, 0.2)}, False, "did not oversell in some runs"),
        ({}, False, "No canary was run: passes prove nothing"),
        (
            {"canary": {"strategy": "n", "paid_twice": True, "runs": [{"duplicate": 0.02}]}},
            True,
            "paid 2.00 % of the payouts twice",
        ),
        (
            {"runs": [{"findings": [{"check": "canary", "verdict": "pass", "detail": "Without a lock: 17 %."}]}]},
            True,
            "Without a lock: 17 %.",
        ),
    ],
)
def test_the_proof_says_whether_the_load_was_hard_enough(document: Any, proven: bool, said: str) -> None:
    """A pass is only worth something where the canary broke its promise in every run, and the page says so."""
    was, text = proof(document)
    assert was is proven
    assert said in text


# ---- the table


def test_every_number_stands_in_its_row(write: Any) -> None:
    """A row has the worst shares, the mean rate with its range, and sorts by numbers and not by words."""
    runs = [
        run("a", seed=1, goodput=900, over=0.1),
        run("a", seed=2, goodput=1100, over=0.004),
        run("b", p99=None),
    ]
    html, _ = write(runs)
    by_name = {row.find("th")[0].attributes["data-sort"]: row for row in rows(html)}
    assert by_name["a"].text == "2 a 1,000 users fail 10.0 % 0 1,000 900 to 1,100 500 ms 1.0 - - 2"
    sorts = [cell.attributes["data-sort"] for cell in by_name["a"].find("td")]
    assert [float(value) for value in sorts[:5]] == [2, 0, 2, 0.1, 0]
    assert by_name["b"].find("td")[6].attributes["data-sort"] == ""  # what is missing has no place in the order
    assert by_name["b"].find("td")[6].text == "-"


def test_dust_stands_below_what_was_undersold(write: Any) -> None:
    """What was left, though it counts for nothing, is in the table; where nothing was left nothing is said."""
    dusty = {"capacity_fen": 1_000_000_000, "confirmed_fen": 950_000_000, "dust_fen": 50_000_000}
    html, text = write([run("a", tranche=dusty), run("b")])
    by_name = {row.find("th")[0].attributes["data-sort"]: row.find("td")[4].text for row in rows(html)}
    assert by_name == {"a": "0 dust 500,000 yuan", "b": "0"}
    assert "| 0 (dust 500,000 yuan) |" in text


def test_what_is_broken_on_purpose_carries_a_mark_with_its_hole(write: Any) -> None:
    """Beside its name it says so, with the hole in a tooltip and in the Markdown; the count of passes too."""
    broken = {**run("cheat", goodput=9000), "broken": True}
    canary_run = {**run("none", over=0.2), "broken": True}
    html, text = write([broken, run("a"), canary_run], cards={"cheat": Card(hole="Redelivery."), "a": Card()})
    found = {row.find("th")[0].attributes["data-sort"]: row.find("span", class_="broken") for row in rows(html)}
    assert list(found) == ["a", "cheat", "none"]
    assert [(mark.text, mark.attributes["title"]) for mark in found["cheat"]] == [
        ("broken on purpose", "Redelivery.")
    ]
    assert found["a"] == found["none"] == []
    assert "2 pass 1 of them broken on purpose" in parsed(html).find("p", class_="counts")[0].text
    assert "`cheat` **broken on purpose** | pass" in text
    assert "- `cheat` (**broken on purpose**): Redelivery." in text
    assert "1 of the passes broken on purpose" in text
    assert "told below for each design" in text
    assert "broken on purpose" not in write([run("a"), run("none", over=0.2)])[1]


def test_the_best_design_comes_first_and_the_canary_last(write: Any) -> None:
    """Rows are ordered as the charts are: passing by goodput, then doubts, then failures, then the canary."""
    runs = [
        run("none", over=0.2),
        run("bad", under=0.5, goodput=9000),
        run("slow", goodput=10),
        run("doubt", verdict="inconclusive", goodput=9000),
        run("fast", goodput=2000),
    ]
    found = [row.find("th")[0].text for row in rows(write(runs)[0])]
    assert [name.split()[0] for name in found] == ["fast", "slow", "doubt", "bad", "none"]
    assert found[-1] == "none canary"


def test_a_row_opens_to_its_reasons_its_card_and_its_command(write: Any) -> None:
    """What did not pass says why, by the worst run; every row has the command that repeats it."""
    whys = [{"check": "leak", "verdict": "fail", "detail": "3 holds were lost."}]
    runs = [
        run("a", seed=1, command="oversold run bid-burst --seed 1"),
        run("a", seed=2, verdict="fail", command="oversold run bid-burst --seed 2") | {"findings": whys},
        run("b", command="oversold run bid-burst -s b"),
    ]
    html, _ = write(runs, cards={"a": Card()})
    ok, failing = parsed(html).find("tr", class_="more")
    assert "Why fail seed 2, the worst of 2 runs" in failing.text
    assert "leak : 3 holds were lost." in failing.text
    assert "seed 1: pass" in failing.text
    assert "Reads & writes." in failing.text
    assert failing.find("code")[0].text == "oversold run bid-burst --seed 2"
    assert "Why" not in ok.text
    assert ok.find("code")[0].text == "oversold run bid-burst -s b"


def test_a_row_that_passes_says_where_its_design_failed(write: Any) -> None:
    """A design is ranked by all loads, so a row that passes names the load under which the design did not."""
    runs = [run("a", users=100, over=0.1), run("a", users=1000), run("b", users=100), run("b", users=1000)]
    found = {(row.find("th")[0].text, row.find("td")[1].text): row for row in rows(write(runs)[0])}
    assert found["a", "1,000 users"].find("td")[2].text == "pass fail at 100 users"
    assert found["b", "1,000 users"].find("td")[2].text == "pass"


def test_the_largest_load_is_shown_first_only_if_it_has_all_designs(write: Any) -> None:
    """No design is hidden at first: where one was not put under the largest load, all loads are shown."""

    def chosen(runs: list[dict[str, Any]]) -> list[str]:
        return [each.text for each in parsed(write(runs)[0]).find("option", selected="")]

    both = [run(name, users=users) for name in "ab" for users in (100, 1000)]
    assert chosen(both) == ["1,000 users"]
    assert chosen(both[:-1]) == ["all loads"]


def test_payouts_have_columns_of_their_own(write: Any) -> None:
    """Of paydays it says who was paid twice, how much too much, what is missed and left to people."""
    runs = [
        payday(
            "a+b", "fail", seed=1, duplicates=40, overpaid_fen=3_611_684, unrecoverable_fen=100, users_affected=40
        ),
        payday("a+b", "fail", seed=2, duplicates=4, overpaid_fen=84),
        payday("c+d", reviews=7),
    ]
    html, _ = write(runs, canary={"strategy": "n", "paid_twice": True, "runs": [{"duplicate": 0.1}]})
    good, bad = rows(html)
    assert bad.text == "2 a+b 3,500 payouts fail 40 36,116.84 1 0 0 0 2.0 s 24 2"
    assert good.find("td")[-4].text == "7"
    assert "ok/s" not in parsed(html).find("thead")[0].text


# ---- hostile data


def hostile() -> dict[str, Any]:
    """Return a document in which every text that the data brings is hostile."""
    bad = run(
        HOSTILE,
        verdict="fail",
        command=f"oversold run {HOSTILE}",
        folder=HOSTILE,
        scenario=HOSTILE,
        settings={HOSTILE: HOSTILE},
        stores={HOSTILE: {"provider": HOSTILE, "version": HOSTILE, "settings": {HOSTILE: HOSTILE}}},
        environment={HOSTILE: HOSTILE},
        limits={"limited_by": HOSTILE},
        recorded=HOSTILE,
        reasons=[HOSTILE],
    )
    return {
        "runs": [bad, run(HOSTILE, users=10, seed=2), run("b", source=HOSTILE)],
        "canary": {"strategy": HOSTILE, "oversold": True, "runs": [{"oversubscription": 0.1}]},
        "left_out": [{"strategy": HOSTILE, "why": HOSTILE}],
        "failed": [{"strategy": HOSTILE, "users": 5, "seed": HOSTILE, "why": HOSTILE}],
        "sources": [{"source": HOSTILE, "folder": HOSTILE, "recorded": HOSTILE}],
    }


@pytest.mark.slow
def test_no_text_of_the_data_becomes_code(tmp_path: Path) -> None:
    """Names, reasons, settings, cards and labels are text, whatever they look like; nothing is fetched."""
    document = hostile()
    figure = charts.heatmap(gather(document["runs"]))
    figure.set_label(HOSTILE)
    path, _ = page.write(tmp_path, document, {HOSTILE: figure}, {HOSTILE: Card(HOSTILE, HOSTILE, HOSTILE)})
    html = path.read_text("utf-8")
    assert foreign_code(html) == []
    assert fetched(html) == []
    assert parsed(html).find("tr", class_="entry")[-1].find("th")[0].attributes["data-sort"] == HOSTILE
    assert html.count("<script>") == 1


CONTROLS = "".join(map(chr, [*range(0x20), 0x7F, 0xFFFE, 0xFFFF]))


def test_control_characters_spoil_no_chart(tmp_path: Path) -> None:
    """A name, and a label of a load, with every control character: the page is written, its SVG is well-formed."""
    bad = f"a{CONTROLS}b"
    runs = [run(bad, users=users, settings={"p": each}) for users in (10, 20) for each in (bad, "plain")]
    drawn = {"heatmap": charts.heatmap(gather(runs)), "subscription": charts.subscription_bars(runs)}
    assert page.write(tmp_path, {"runs": runs}, drawn)[0].is_file()
    figure = Figure()
    figure.text(0, 0.5, bad)
    said = "".join(ElementTree.fromstring(paint.paint(figure, "x").svg).itertext())
    assert "".join(said.split()) == "a\x7fb"
    with pytest.raises(ElementTree.ParseError):
        ElementTree.fromstring(f"<text>{bad}</text>")  # planted: what matplotlib writes


@pytest.mark.parametrize(
    ("planted", "caught"),
    [
        (HOSTILE, foreign_code),
        ('<p onclick="x()"></p>', foreign_code),
        ('<a href=" JavaScript:x()"></a>', foreign_code),
        ("<script>alert(2)</script>", foreign_code),
        (HOSTILE, fetched),
        ('<link href="https://fonts.example/f.css">', fetched),
        ("<style>@import 'x.css';</style>", fetched),
        ('<p style="background: url(//e.example/x.png)"></p>', fetched),
    ],
)
def test_code_and_addresses_that_slip_in_are_found(planted: str, caught: Any, write: Any) -> None:
    """The two checks above see each planted violation in an otherwise clean page."""
    html, _ = write([run("a")])
    assert caught(html) == []
    assert caught(html.replace("<main>", f"<main>{planted}")) != []


# ---- charts


@pytest.fixture(scope="module")
def figures() -> dict[str, Figure]:
    """Return charts of a made-up comparison."""
    found = gather(comparison(6, loads=2, seeds=2))
    return {
        "heatmap": charts.heatmap(found),
        "frontier": charts.frontier(found),
        "outcomes": charts.outcome_stacks(found),
    }


def dangling(html: str) -> list[str]:
    """Return the ids that two elements have, and those that something refers to and nobody has."""
    ids = re.findall(r'\bid="([^"]+)"', html)
    used = re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"|aria-controls="([^"]+)"|aria-labelledby="([^"]+)"', html)
    wanted = {next(filter(None, groups)) for groups in used}
    return [*(each for each in set(ids) if ids.count(each) > 1), *(wanted - set(ids))]


def test_charts_stand_in_the_page_without_disturbing_one_another(figures: dict[str, Figure], write: Any) -> None:
    """Every id is there once and every reference finds it; two paintings under one prefix clash."""
    html, text = write(comparison(6, loads=2, seeds=2), figures)
    assert dangling(html) == []
    svgs = parsed(html).find("svg", role="img")
    assert [svg.attributes["aria-label"] for svg in svgs] == [figure.get_label() for figure in figures.values()]
    assert [each.text for each in parsed(html).find("figure")[0].find("h3")] == [figures["heatmap"].get_label()]
    assert all(f"`{name}.png`" in text for name in figures)
    twice = paint.paint(figures["outcomes"], "x").svg + paint.paint(figures["outcomes"], "x").svg
    assert dangling(twice) != []
    assert dangling('<use href="#nobody"/>') == ["nobody"]


def fixed_colours(svg: str) -> set[str]:
    """Return the colours that a theme cannot change."""
    return set(re.findall(r"#[0-9a-fA-F]{6}\b", re.sub(r"var\(--c[0-9a-f]{6}, #[0-9a-f]{6}\)", "", svg)))


def test_a_theme_can_change_every_colour_of_a_chart(figures: dict[str, Figure]) -> None:
    """All colours are variables, each has another value in the dark; a figure with one fixed colour is caught."""
    for figure in figures.values():
        painting = paint.paint(figure, "x-")
        assert fixed_colours(painting.svg) == set()
        assert painting.colours
        assert all(paint.dark(colour) != colour for colour in painting.colours)
        rules = paint.dark_rules(painting.colours)
        assert all(f"{paint.variable(colour)}: {paint.dark(colour)};" in rules for colour in painting.colours)
    assert fixed_colours('<path style="fill: #aa0000"/>') == {"#aa0000"}


def test_painting_leaves_the_figure_as_it_was(figures: dict[str, Figure]) -> None:
    """The title that the page says itself is cut from the picture with its room, not from the figure."""
    figure = figures["frontier"]
    before = [text.get_visible() for text in figure.texts]
    painting = ElementTree.fromstring(paint.paint(figure, "x-").svg)
    texts = " ".join("".join(each.itertext()) for each in painting.iter(f"{{{paint.SVG}}}text"))
    assert str(figure.get_label()).split(";")[0] not in texts
    assert "version" not in painting.attrib
    assert [text.get_visible() for text in figure.texts] == before
    left, top, width, height = (float(part) for part in painting.attrib["viewBox"].split())
    wide, high = (72 * side for side in figure.get_size_inches())
    assert top + height == pytest.approx(high, abs=0.1)
    assert top > 10
    assert wide - 72 * MARGIN - 0.1 <= width <= wide
    places = [float(each.attrib["x"]) for each in painting.iter(f"{{{paint.SVG}}}text")]
    assert left <= min(places)
    assert max(places) <= left + width


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour, as WCAG defines it."""
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, 1 to 21."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("tint", ["#ffffff", "#f4f4f4", "#fdf3ec", "#e8a87c", "#cfe3f1", "#f5d5bf", "#99d8c7"])
def test_text_on_a_tint_stays_readable_in_the_dark(tint: str) -> None:
    """Ink that could be read on paper or on a tint can be read on what becomes of it; unmirrored it could not."""
    ink = "#1a1a1a"
    assert contrast(ink, tint) > 4.5
    assert contrast(paint.dark(ink), paint.dark(tint)) > 4.5
    assert contrast(paint.dark(ink), tint) < 4.5  # the planted violation: only the ink changes


# ---- conditions, and what else the page says


def test_conditions_are_said_once_where_they_are_alike() -> None:
    """A condition that all runs share has one value; one that differs has the number of runs beside each."""
    runs = [run("a", settings={"p": 0.1, "steps": 12}), run("b", settings={"p": 0.2, "steps": 12})]
    found = {one.name: one.said for one in conditions.conditions(runs)}
    assert found["steps"] == ["12"]
    assert found["p"] == ["0.1 (1 run)", "0.2 (1 run)"]
    assert found["processes × lanes"] == ["2 × 64"]


def test_a_service_has_no_simulated_delay_among_its_conditions() -> None:
    """It has a network of its own; a strategy of ours has the delay that was asked for."""
    names = [one.name for one in conditions.conditions([run("shop.toml", http={"ledger": "sql"})])]
    assert "path" in names
    assert "network delay (rtt)" not in names
    assert "network delay (rtt)" in [one.name for one in conditions.conditions([run("redis-lua")])]


def test_nobody_knows_the_hole_of_a_service(write: Any) -> None:
    """Neither page nor Markdown promise one; beside a design that has one they do, and list that one alone."""
    mine = Card(algorithm="", guarantee="", hole="")
    html, text = write([run("shop.toml")], cards={"shop.toml": mine})
    for said in (parsed(html).find("header")[0].text, text):
        assert "A pass says that this load found no fault." in said
        assert "known hole" not in said.lower()
    html, text = write([run("shop.toml"), run("a")], cards={"shop.toml": mine, "a": Card(hole="Redelivery.")})
    assert (
        "What it did not try is in each row that has one: the known hole." in parsed(html).find("header")[0].text
    )
    assert "What it did not try is told below for each design that has one" in text
    assert text.partition("Known holes")[2].count("\n- `") == 1


def test_a_service_that_sets_the_pace_is_no_warning(write: Any) -> None:
    """Its connections wait for it: that is the design. The lanes of a process are the planted opposite."""
    busy = {"limited_by": "the service (its 128 connections were 97% busy)"}
    html, _ = write([run("shop.toml", limits=busy)])
    assert "not by the design" not in html
    assert "the service (its 128 connections were 97% busy)" in html
    assert "not by the design" in write([run("a", limits={"limited_by": "the lanes (97% busy)"})])[0]


def test_sources_side_by_side_say_what_differs(write: Any) -> None:
    """Of several sources exactly those conditions are listed that are not the same in all of them."""
    runs = [run("a", source=word, settings={"p": p, "steps": 12}) for word, p in (("before", 0.1), ("after", 0.2))]
    names, found = conditions.differences(runs)
    assert names == ["before", "after"]
    assert [(row.name, row.values) for row in found] == [("Settings: p", ("0.1", "0.2"))]
    html, text = write(runs)
    assert "What differs between the sources" in html
    for said in (parsed(html).find("header")[0].text, text):
        assert "The sources differ in p: verdicts compare, numbers may not." in said
    alike = [{**one, "settings": {}, "limits": {"limited_by": one["source"]}} for one in runs]
    assert "The sources differ" not in write(alike)[0]
    assert conditions.differences([run("a"), run("b", settings={"p": 1})]) == ([], [])


def test_what_was_not_run_is_said(write: Any) -> None:
    """Strategies left out, runs that failed and an interruption are on the page and in the Markdown."""
    left = [{"strategy": "redlock", "why": "needs five Redis"}]
    failed = [{"strategy": "row-lock", "users": 1000, "seed": 2, "why": "no connections"}]
    for said in write([run("a")], left_out=left, failed=failed, interrupted=True):
        assert "redlock" in said
        assert "needs five Redis" in said
        assert "row-lock, 1,000 users, seed 2" in said
        assert "no connections" in said
        assert "Interrupted" in said
    assert all("Interrupted" not in said for said in write([run("a")]))


def test_a_generator_at_its_limit_is_said_beside_the_answer(write: Any) -> None:
    """Where the load generator set the best design's pace, the first screen says so."""
    limits = {"limited_by": "the load generator's CPU (97% of a core in the busiest process)"}
    [warning] = [
        note.text for note in parsed(write([run("a", limits=limits), run("b")])[0]).find("header")[0].find("p")
        if "load generator" in note.text
    ]  # fmt: skip
    assert warning.startswith("In 1 of 2 runs the load generator itself was the limit (a)")
    assert "load generator itself" not in write([run("a", limits={"limited_by": "the lanes"})])[0]


def test_the_page_links_to_the_folders_beside_it(write: Any) -> None:
    """A run's folder is one click away, whatever its name; of runs from elsewhere only the name is said."""
    html, _ = write([run("a", folder="a b&c"), run("c", folder="/elsewhere/c", source="other")])
    assert [link.attributes["href"] for link in parsed(html).find("details", id="runs")[0].find("a")] == [
        "./a%20b%26c/"
    ]


def test_a_folder_that_cannot_be_written_is_a_users_error(tmp_path: Path) -> None:
    """The message names the file and what to do."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(UsageError, match=r"cannot write the report .*report\.html: .*; choose another folder"):
        page.write(tmp_path / "taken", {"runs": [run("a")]}, {})
