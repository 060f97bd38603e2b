"""The charts of whole comparisons: right numbers, titles that say them, and nothing over anything at any size."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from tests.unit.report.comparisons import comparison, run
from tests.unit.report.eyes import bar_widths, clashes, marks, title_of, words
from tests.unit.report.test_charts import course, responses

from oversold.errors import UsageError
from oversold.report import charts
from oversold.report.cells import Cell, Load, Spread, gather, shown_name
from oversold.report.charts_fairness import chances_of
from oversold.report.charts_frontier import frontier_of
from oversold.report.charts_heatmap import tint
from oversold.report.charts_outcomes import shares_of
from oversold.report.charts_paper import BLUE, INK, VERMILLION
from oversold.report.charts_words import fastest_of

pytestmark = pytest.mark.slow  # each draws: together they would be a quarter of `make check`

FAIR = {"inversions": 0.1, "gini": 0.1, "cohorts": [0.5] * 10}
OF_CELLS = ("heatmap", "frontier", "outcome_stacks", "fairness", "attempts")


def drawn(name: str, *runs: dict[str, Any]) -> Figure:
    """Return a chart of the cells of some runs."""
    figure: Figure = getattr(charts, name)(gather(runs))
    return figure


@pytest.mark.parametrize(
    "size", [(1, 1, 1), (3, 4, 1), (12, 1, 3), pytest.param((39, 4, 3), marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", OF_CELLS)
def test_charts_of_cells_overlap_nowhere(name: str, size: tuple[int, int, int]) -> None:
    """From one strategy in one run to 39 under four loads with three seeds, texts keep apart."""
    assert clashes(drawn(name, *comparison(*size))) == []


@pytest.mark.parametrize("name", OF_CELLS)
def test_settings_and_sources_find_room(name: str) -> None:
    """A sweep over settings with long names, and strategies of two comparisons side by side, overlap nowhere."""
    swept = [
        {**one, "settings": {"p": p, "reopen_on_release": p > 0.1}, "source": source}
        for p in (0.05, 0.3)
        for source in ("laptop", "server 2026-01-02")
        for one in comparison(3, 2)
    ]
    assert clashes(drawn(name, *swept)) == []


@pytest.mark.parametrize("name", OF_CELLS)
def test_the_catalogue_at_one_load_overlaps_nowhere(name: str) -> None:
    """39 strategies in one run each keep their texts apart, and each of them is named somewhere."""
    runs = comparison(39)
    figure = drawn(name, *runs)
    assert clashes(figure) == []
    said = " ".join(words(figure))
    # Long names may be cut in the middle.
    assert [run["strategy"] for run in runs if run["strategy"][:14] not in said] == []


@pytest.mark.parametrize("name", OF_CELLS)
def test_nothing_to_draw_is_a_usage_error(name: str) -> None:
    """A chart of cells without any cell says so in one line."""
    with pytest.raises(UsageError, match="to draw"):
        drawn(name)


@pytest.mark.parametrize("name", ["frontier", "outcome_stacks", "fairness", "attempts"])
def test_old_summaries_are_left_out_by_name(name: str) -> None:
    """A run without a chart's numbers is not drawn; alone it is an error, beside others it is said or absent."""
    bare = run("bare", goodput=None, p99=None, attempts=None)
    bare["outcomes"] = {}
    with pytest.raises(UsageError):
        drawn(name, bare)
    figure = drawn(name, bare, run("full", fairness={"inversions": 0.1, "gini": 0.1, "cohorts": [0.5] * 10}))
    said = [line for line in words(figure) if "bare" in line]
    assert all(": bare" in line for line in said)
    assert said or name == "attempts"


@pytest.mark.parametrize(
    ("runs", "title"),
    [
        (
            [run("none", over=0.1), run("a", under=0.2), run("b", failed=["hold_leak"]), run("c")],
            "1 of 4 designs oversold, 1 undersold, 1 failed another check at 1,000 users",
        ),
        (
            [run("a"), run("b"), run("b", users=5000, under=0.1), run("c", over=0.1)],
            "1 of 3 designs oversold, 1 undersold under some load; 1 of them only with more than 1,000 users",
        ),
        (
            [run("a"), run("b", users=5000, under=0.1), run("c", over=0.1)],  # b was not run with fewer users
            "1 of 3 designs oversold, 1 undersold under some load",
        ),
        (
            [run("a"), run("b", verdict="inconclusive")],
            "1 of 2 designs sold exactly or all but dust at 1,000 users; 1 inconclusive",
        ),
        ([run("a"), run("a", users=2000), run("b")], "Both designs sold exactly or all but dust under every load"),
        (
            [run("a", verdict="inconclusive"), run("b", verdict="inconclusive")],
            "Nothing is proven: all 2 runs are inconclusive",
        ),
        (
            [run("a"), run("a", users=2000, over=0.1)],
            "a oversold by up to 10.0 %; only with more than 1,000 users",
        ),
        ([run("none", over=0.1)], "none (canary) oversold by 10.0 %"),
        ([run("a", verdict="inconclusive")], "a is not proven"),
        ([run("a", failed=["hold_leak"])], "a sold exactly or all but dust, but failed another check"),
    ],
)
def test_the_title_of_the_heatmap_counts_designs(runs: list[dict[str, Any]], title: str) -> None:
    """It counts who broke the promise under any load, and who only did so under the larger ones."""
    assert title_of(drawn("heatmap", *runs)) == title


def test_a_square_says_the_worst_of_its_runs() -> None:
    """Of two seeds the larger share stands there, on its own side; squares without a share say why they failed."""
    figure = drawn(
        "heatmap",
        run("a", over=0.1),
        run("a", seed=2, over=0.2),
        run("b", under=0.3, over=0.0),
        run("c", failed=["hold_leak"]),
        run("d", verdict="inconclusive"),
        run("e", users=2000),
    )
    said = words(figure)
    assert "20.0 %" in said
    assert "10.0 %" not in said
    assert {"30.0 %", "hold leak", "unproven", "not run"} <= set(said)
    texts = {text.get_text(): text.get_position()[0] for text in figure.axes[0].texts}
    assert texts["30.0 %"] < texts["hold leak"] < texts["20.0 %"]


def test_squares_without_a_share_are_marked_by_verdict() -> None:
    """A pass, a failure of another check and a doubt each have a marker of their own in the square."""
    figure = drawn("heatmap", run("a"), run("b", failed=["hold_leak"]), run("c", verdict="inconclusive"))
    # Each row has the mark of its square and that of its verdict.
    assert sorted(marker for marker, _, _ in marks(figure)) == sorted("oXs" * 2)
    broken = drawn("heatmap", run("a", over=0.1))
    assert [marker for marker, _, _ in marks(broken)] == ["X"]


def test_tints_deepen_with_the_share_and_keep_dark_text_readable() -> None:
    """A larger share is darker; on the deepest tint the ink still has a contrast of 4.5."""

    def luminance(color: str) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    for color in (BLUE, VERMILLION):
        lights = [luminance(tint(color, depth)) for depth in (0.0, 0.5, 1.0)]
        assert lights == sorted(lights, reverse=True)
        assert len(set(lights)) == 3
        assert (lights[-1] + 0.05) / (luminance(INK) + 0.05) >= 4.5
        # The full colours would not do, which is why no tint goes so far.
    assert (luminance(BLUE) + 0.05) / (luminance(INK) + 0.05) < 4.5


def cell(name: str, goodput: float, p99: float, verdict: str = "pass") -> Cell:
    """Return a cell of one run."""
    return gather([run(name, goodput=goodput, p99=p99, verdict=verdict)])[0]


def test_the_frontier_is_what_nothing_that_passed_beats() -> None:
    """What is worse in both, or in one and equal in the other, is off the frontier; so is a failure."""
    cells = [
        cell("most", 100, 50),
        cell("first", 50, 10),
        cell("between", 80, 30),
        cell("beaten", 70, 40),
        cell("equal-but-slower", 100, 60),
        cell("cheat", 500, 1, "fail"),
        cell("doubtful", 500, 1, "inconclusive"),
    ]
    assert [one.strategy for one in frontier_of(cells)] == ["most", "between", "first"]
    assert [one.strategy for one in frontier_of([*cells, cell("better", 100, 5)])] == ["better"]
    assert frontier_of(cells[-2:]) == []


def test_the_frontier_by_definition() -> None:
    """On random designs the frontier is what no other beats in one number without losing in the other."""
    random = np.random.default_rng(7)
    rates = random.integers(1, 300, 60)
    # Who serves more takes longer, more or less: else a few designs would beat all others.
    times = rates + random.integers(1, 80, 60)
    cells = [cell(f"s{i}", float(x), float(y)) for i, (x, y) in enumerate(zip(rates, times, strict=True))]
    numbers = {one.strategy: (one.goodput.mean, one.p99_ms.mean) for one in cells}
    best = {
        (x, y)
        for x, y in numbers.values()
        if not any(a >= x and b <= y and (a, b) != (x, y) for a, b in numbers.values())
    }
    assert {numbers[one.strategy] for one in frontier_of(cells)} == best
    assert len(best) > 2


def test_marks_of_the_frontier_stand_where_the_numbers_are() -> None:
    """Each strategy has one mark at its mean goodput and p99, with the marker of its verdict."""
    figure = drawn(
        "frontier", run("a", goodput=100, p99=50), run("a", seed=2, goodput=300, p99=150), run("b", over=0.1)
    )
    assert marks(figure) == [("o", 200.0, 100.0), ("X", 1000.0, 500.0)]


def test_the_title_of_the_frontier_names_both_ends() -> None:
    """It says who serves most and who answers first, or the one that does both, or that none passed."""
    two = drawn(
        "frontier", run("most", goodput=2000, p99=900), run("first", goodput=100, p99=90), run("x", over=0.1)
    )
    assert title_of(two) == (
        "2 of 3 designs passed with 1,000 users; most serves most (2,000 ok/s), first answers first (p99 90 ms)"
    )
    one = drawn("frontier", run("best", goodput=2000, p99=9), run("worse", goodput=100, p99=90))
    assert (
        title_of(one)
        == "Both designs passed with 1,000 users; best serves most and answers first: 2,000 ok/s, p99 9.0 ms"
    )
    none = drawn("frontier", run("x", over=0.1), run("y", under=0.1))
    assert title_of(none) == "No design passed with 1,000 users"


def test_designs_that_are_level_share_the_title_of_the_frontier() -> None:
    """Less than 5 % apart, or within the range of the seeds, nobody is first; with more between them one is."""
    near = drawn(
        "frontier", run("a", goodput=2269, p99=2930), run("b", goodput=2267, p99=2910), run("c", over=0.1)
    )
    assert title_of(near) == (
        "2 of 3 designs passed with 1,000 users; a and b serve most and answer first: about 2,270 ok/s, p99 2.9 s"
    )
    far = drawn("frontier", run("a", goodput=2269, p99=2000), run("b", goodput=2100, p99=2910))
    assert "; a serves most and answers first: 2,269 ok/s" in title_of(far)
    wide = [run("a", goodput=2269, p99=1), run("a", seed=2, goodput=2000, p99=1), run("b", goodput=2010, p99=9)]
    assert "; a serves most and answers first: about 2,130 ok/s" not in title_of(drawn("frontier", *wide))
    assert [cell.strategy for cell in fastest_of(gather(wide))] == ["a", "b"]


def test_a_frontier_of_one_is_no_line() -> None:
    """The dashes join designs: one alone has none, two have a line from one to the other and no farther."""
    one = drawn("frontier", run("best", goodput=2000, p99=9), run("worse", goodput=100, p99=90))
    two = drawn("frontier", run("most", goodput=2000, p99=90), run("first", goodput=100, p99=9))
    dashed = [[line for line in each.axes[0].lines if line.get_linestyle() == "--"] for each in (one, two)]
    assert [len(lines) for lines in dashed] == [0, 1]
    assert list(zip(*dashed[1][0].get_data(), strict=True)) == [(2000.0, 90.0), (100.0, 90.0), (100.0, 9.0)]


def test_marks_that_cover_one_another_are_rings() -> None:
    """The second mark at a place is a larger ring, so that both are seen; apart none is."""
    near = drawn(
        "frontier", run("a", goodput=1000, p99=500), run("b", goodput=1001, p99=500), run("c", goodput=10)
    )
    sizes = [line.get_markersize() for line in near.axes[0].lines if len(line.get_xdata()) == 1]
    assert sorted(sizes) == [7.5, 7.5, 12.5]
    rings = [line for line in near.axes[0].lines if line.get_markersize() > 7.5]
    assert [line.get_markerfacecolor() for line in rings] == ["none"]


BROKEN = [
    {**run("cheat", goodput=5000, p99=5, fairness=FAIR), "broken": True},
    run("sound", goodput=100, fairness=FAIR),
    {**run("none", over=0.2, fairness=FAIR), "broken": True},
]


@pytest.mark.parametrize("name", [*OF_CELLS, "subscription_bars"])
def test_what_is_broken_on_purpose_is_marked_and_never_praised(name: str) -> None:
    """Each chart marks the name, explains the mark below its title, and names another design as the best."""
    figure = charts.subscription_bars(BROKEN) if name == "subscription_bars" else drawn(name, *BROKEN)
    said = " ".join(words(figure))
    if name != "attempts":  # which names only those that tap more than once, in its bars all of them
        assert "cheat †" in said
    assert "† broken on purpose" in said
    assert "none †" not in said
    assert "cheat" not in title_of(figure)
    assert "†" not in " ".join(words(drawn("heatmap", run("sound"), run("none", over=0.2))))


def test_the_frontier_leaves_out_what_is_broken_on_purpose() -> None:
    """A design that beats all others, and has a hole on purpose, is not on the line; without the mark it is."""
    assert [cell.strategy for cell in frontier_of(gather(BROKEN))] == ["sound"]
    assert [cell.strategy for cell in frontier_of(gather([{**BROKEN[0], "broken": False}]))] == ["cheat"]
    title = title_of(drawn("frontier", *BROKEN))
    assert title.startswith(
        "2 of 3 designs passed with 1,000 users, 1 of them broken on purpose; sound serves most"
    )
    assert title_of(drawn("frontier", BROKEN[0], run("x", over=0.1))) == (
        "Only designs that are broken on purpose passed with 1,000 users"
    )


def test_goodput_turns_logarithmic_only_where_it_must() -> None:
    """Rates of like size start at zero; a design a hundred times slower than another needs powers of ten."""
    assert drawn("frontier", run("a", goodput=100), run("b", goodput=900)).axes[0].get_xscale() == "linear"
    assert drawn("frontier", run("a", goodput=10), run("b", goodput=1000)).axes[0].get_xscale() == "log"


def test_a_design_that_served_nobody_is_drawn() -> None:
    """Zero ok a second and a p99 of zero stand at the edges instead of vanishing."""
    figure = drawn("frontier", run("a", goodput=0.0, p99=0.0, under=1.0), run("b"), run("c", goodput=10))
    assert len(marks(figure)) == 3
    assert clashes(figure) == []


def test_names_without_room_are_listed_below() -> None:
    """Where marks coincide some names find no room; the note has each of them, so that none is lost."""
    crowd = [run(f"design-number-{i}", goodput=1000 + i / 100, p99=500) for i in range(30)]
    figure = drawn("frontier", *crowd)
    said = " ".join(words(figure))
    assert "Without a name: " in said
    assert [one["strategy"] for one in crowd if one["strategy"] not in said] == []
    assert clashes(figure) == []
    assert not any("Without a name" in line for line in words(drawn("frontier", *comparison(3))))


def test_the_load_can_be_chosen() -> None:
    """By default the largest load is shown, another one when it is asked for."""
    cells = gather([run("a", goodput=100), run("a", users=2000, goodput=200)])
    assert marks(charts.frontier(cells)) == [("o", 200.0, 500.0)]
    assert marks(charts.frontier(cells, Load(1000))) == [("o", 100.0, 500.0)]


def test_outcomes_add_up_to_the_whole_bar() -> None:
    """The parts of a bar are the shares of all bids of all seeds, in the order ok to no answer at all."""
    two = run("a"), run("a", seed=2)
    two[0]["outcomes"] = {"ok": 50, "busy": 25, "unknown": 25}
    two[1]["outcomes"] = {"ok": 70, "sold_out": 20, "error": 10}
    shares = shares_of(gather(two)[0])
    assert shares == {"ok": 0.6, "sold_out": 0.1, "busy": 0.125, "error": 0.05, "unknown": 0.125}
    figure = drawn("outcome_stacks", *two)
    widths = bar_widths(figure)
    assert np.array(widths) / sum(widths) == pytest.approx(list(shares.values()))
    said = words(figure)
    assert {"60.0 %", "12.5 %", "sold out", "no answer at all"} <= set(said)


def test_what_is_no_definite_answer_is_hatched() -> None:
    """Busy, error and no answer are told from ok and sold out without colour."""
    one = run("a")
    one["outcomes"] = dict.fromkeys(("ok", "sold_out", "busy", "error", "unknown"), 10)
    bars = [bar for container in drawn("outcome_stacks", one).axes[0].containers for bar in container]
    hatches = [bar.get_hatch() for bar in bars]
    assert hatches[:2] == ["", ""]
    assert len(set(hatches[2:])) == 3
    assert "" not in hatches[2:]


def test_the_title_of_the_outcomes_names_who_left_most_in_the_dark() -> None:
    """Busy and no answer at all count together; where everybody got an answer the title says that."""
    dark, clear = run("dark"), run("clear")
    dark["outcomes"] = {"ok": 50, "busy": 30, "unknown": 20}
    clear["outcomes"] = {"ok": 50, "error": 50}
    assert title_of(drawn("outcome_stacks", dark, clear)) == (
        "dark left 50.0 % of the bidders with busy or no answer; 1 of 2 designs left nobody so"
    )
    assert title_of(drawn("outcome_stacks", clear, {**clear, "strategy": "other"})) == (
        "Both designs gave every bidder a definite answer"
    )
    assert title_of(drawn("outcome_stacks", dark)) == (
        "dark told 50.0 % of the bidders ok, and 50.0 % only busy or nothing"
    )


def fair(name: str, inversions: float | None, cohorts: list[float | None], seed: int = 1) -> dict[str, Any]:
    """Return a run with fairness in its summary."""
    return run(name, seed=seed, fairness={"inversions": inversions, "gini": 0.25, "cohorts": cohorts})


def test_strips_show_the_mean_chance_of_each_tenth() -> None:
    """Seeds are averaged; a tenth in which nobody could win is a dash, not a zero."""
    runs = [fair("a", 0.1, [1.0, None, *[0.5] * 8]), fair("a", 0.3, [0.5, None, *[0.25] * 8], seed=2)]
    assert chances_of(gather(runs)[0])[:3] == [0.75, None, 0.375]
    said = words(drawn("fairness", *runs))
    assert {"75", "-", "20.0 %", "0.25"} <= set(said)
    assert said.count("38") == 8


def test_a_seed_without_bidders_has_no_part_in_the_mean() -> None:
    """A run whose bidders never contended adds no zeros to its cell; alone there is nothing to draw."""
    nobody = run("a", seed=2, fairness={"inversions": None, "gini": None, "cohorts": []})
    cell = gather([fair("a", 0.1, [0.5] * 10), nobody])[0]
    assert chances_of(cell) == [0.5] * 10
    assert cell.gini == Spread(0.25, 0.25, 0.25, 1)
    with pytest.raises(UsageError, match="no fairness to draw"):
        drawn("fairness", nobody)
    zeros = gather([fair("a", 0.1, [0.5] * 10), fair("a", 0.1, [0.0] * 10, seed=2)])[0]  # planted
    assert chances_of(zeros) == [0.25] * 10


def test_the_title_of_fairness_names_both_ends() -> None:
    """Almost half of the pairs reversed is a lottery; less is not called so; one design is told alone."""
    flat: list[float | None] = [0.5] * 10
    title = title_of(drawn("fairness", fair("queue", 0.001, flat), fair("lots", 0.48, flat)))
    assert title == "queue kept to the order of arrival best: 0.10 % inversions; lots drew lots: 48.0 %"
    backwards = title_of(drawn("fairness", fair("queue", 0.001, flat), fair("stack", 0.95, flat)))
    assert backwards.endswith("stack served late comers first: 95.0 %")
    mild = title_of(drawn("fairness", fair("queue", 0.001, flat), fair("mild", 0.2, flat)))
    assert mild.endswith("mild strayed most: 20.0 %")
    assert (
        title_of(drawn("fairness", fair("a", 0.2, flat)))
        == "a served the later bidder of a pair first: 20.0 % inversions"
    )
    cheat = title_of(drawn("fairness", fair("queue", 0.01, flat), fair("cheat", 0.0, flat) | {"verdict": "fail"}))
    assert cheat.startswith("queue kept to the order of arrival best")
    broken = [fair(name, share, flat) | {"broken": True} for name, share in (("x", 0.01), ("y", 0.9))]
    assert title_of(drawn("fairness", *broken)) == "y † served late comers first: 90.0 % inversions"
    assert title_of(drawn("fairness", fair("a", None, flat))) == "Who was served, by order of arrival"


def test_attempts_are_lines_over_users_and_bars_for_one_load() -> None:
    """With several numbers of users each strategy that taps more than once has a line with its means."""
    runs = [run("a", users=n, seed=s, attempts=n / 1000 + s) for n in (1000, 2000) for s in (1, 3)]
    lines = drawn("attempts", *runs, run("b", users=1000), run("b", users=2000))
    assert [mark[1:] for mark in marks(lines)] == [(1000.0, 3.0), (2000.0, 4.0)]
    assert lines.axes[0].get_xscale() == lines.axes[0].get_yscale() == "log"
    assert {"a  4.0", "b  1.0"} <= set(words(lines))
    bars = drawn("attempts", run("a", attempts=4.0), run("b"))
    assert bar_widths(bars)[0] == pytest.approx(4 * bar_widths(bars)[1])


def test_settings_of_one_number_of_users_are_averaged() -> None:
    """A line has one point for each number of users, the mean over all settings and seeds."""
    runs = [
        run("a", users=users, settings={"p": p}, attempts=attempts)
        for users, p, attempts in ((1000, 0.1, 2.0), (1000, 0.2, 4.0), (2000, 0.1, 10.0), (2000, 0.2, 10.0))
    ]
    assert [mark[1:] for mark in marks(drawn("attempts", *runs))] == [(1000.0, 3.0), (2000.0, 10.0)]
    assert any("mean and range of 2 runs" in line for line in words(drawn("attempts", *runs)))


def test_a_retry_storm_is_drawn_in_blocks_of_ten() -> None:
    """Bars that would hide one tap beside hundreds are logarithmic, and say so."""
    storm = drawn("attempts", run("storm", attempts=300.0), run("once"))
    assert any("ten times" in line for line in words(storm))
    assert not any("ten times" in line for line in words(drawn("attempts", run("few", attempts=9.0), run("once"))))
    assert title_of(storm) == (
        "storm made its bidders tap 300.0 times with 1,000 users; 1 of 2 designs needed one tap a bid"
    )


@pytest.mark.parametrize("size", [(39, 1, 1), (39, 4, 3), (12, 4, 1), (1, 4, 3)])
def test_bars_of_a_comparison_overlap_nowhere(size: tuple[int, int, int]) -> None:
    """Many runs are drawn one row a strategy, and names, numbers and scales keep apart."""
    runs = comparison(*size)
    figure = charts.subscription_bars(runs)
    assert clashes(figure) == []
    assert words(figure).count("strategy") == 1
    rows = round(figure.axes[0].get_ylim()[0] + 0.5)
    assert rows == (len(runs) if len(runs) <= 16 else size[0])


def test_a_bar_of_many_runs_is_the_worst_of_them_with_its_range() -> None:
    """Both sides can be broken at once; the whisker reaches from the least to the worst; the load is named."""
    runs = [run("a", users=1000 * n, over=0.01 * n) for n in range(1, 10)]
    runs += [run("a", users=100 * n, under=0.02 * n) for n in range(1, 10)]
    figure = charts.subscription_bars(runs)
    over, under = max(bar_widths(figure)), min(bar_widths(figure))
    assert under == pytest.approx(-2 * over)
    assert {"9.00 %  ·  9,000 users", "18.0 %  ·  900 users"} <= set(words(figure))
    whiskers = [
        line.get_xdata() for line in figure.axes[0].lines if len(line.get_xdata()) == 2 and line.get_lw() == 1.4
    ]
    assert sorted(abs(float(x[1] - x[0])) for x in whiskers) == pytest.approx([over, -under])
    ranged = charts.subscription_bars([run("a", seed=n, over=0.01 * n) for n in range(3, 20)])
    (whisker,) = (line.get_xdata() for line in ranged.axes[0].lines if line.get_lw() == 1.4)
    assert float(whisker[1] - whisker[0]) == pytest.approx(bar_widths(ranged)[0] * 16 / 19)
    alike = charts.subscription_bars([run("a", seed=n, over=0.01) for n in range(20)])
    assert not [line for line in alike.axes[0].lines if line.get_lw() == 1.4]
    assert "1.00 %  ·  100,000 yuan" in words(alike)


def test_rows_of_a_comparison_are_ranked() -> None:
    """Above sixteen runs the best strategy comes first and the canary last, whatever was run first."""
    runs = [
        run(name, seed=seed, over=over)
        for seed in range(6)
        for name, over in (("none", 0.2), ("b", 0.1), ("a", 0))
    ]
    said = words(charts.subscription_bars(runs))
    assert said.index("a") < said.index("b") < said.index("none (canary)")
    few = words(charts.subscription_bars(runs[:3]))
    assert few.index("none (canary)") < few.index("b") < few.index("a")


def test_a_lost_ledger_among_many_runs_is_no_bar() -> None:
    """A strategy whose ledgers are all lost has neither bar nor dot, and says so."""
    lost = run("lost", verdict="inconclusive")
    lost["findings"] = [{"check": "ledger", "verdict": "inconclusive", "detail": ""}]
    figure = charts.subscription_bars([{**lost, "seed": seed} for seed in range(20)])
    assert "no ledger" in words(figure)
    assert bar_widths(figure) == []
    assert [marker for marker, *_ in marks(figure)] == ["s"]  # of the verdict


def courses(runs: list[dict[str, Any]]) -> list[Any]:
    """Return courses whose summaries are these runs."""
    made = []
    for one in runs:
        share = one["tranche"]["confirmed_fen"] / one["tranche"]["capacity_fen"]
        made.append((one, *course(one["strategy"], share, full_at_s=None)[1:]))
    return made


def test_of_a_catalogue_the_worst_courses_are_drawn() -> None:
    """Canary and oversold come first in twelve panels; the subtitle counts what is missing, the note names it."""
    runs = [*comparison(12, 2), *(run(f"fine-{i}") for i in range(9))]
    figure = charts.subscription_over_time_all(courses(runs))
    said = words(figure)
    assert len(figure.axes) == 12
    assert any("the worst runs of 12 of 21 designs; not drawn: 9 pass" in line for line in said)
    heads = [said.index(name) for name in ("none (canary)", "check-then-decr", "memcached-cas", "two-phase")]
    assert heads == sorted(heads)
    note = " ".join(said[next(i for i, line in enumerate(said) if line.startswith("Not drawn: ")) :])
    assert "fine-8" in note
    assert "check-then-decr" not in note
    assert clashes(figure) == []
    assert "10,000 users" in said


def test_runs_that_were_chosen_before_are_told_from_all() -> None:
    """Given the summaries of every run, title and subtitle speak of them, not only of the panels."""
    runs = [run("none", over=0.1), *(run(f"s{i}", under=0.1) for i in range(20))]
    figure = charts.subscription_over_time_all(courses(runs[:2]), every=runs)
    assert len(figure.axes) == 2
    assert any("the worst runs of 2 of 21 designs; not drawn: 19 fail" in line for line in words(figure))
    for one in runs[3:6]:
        one["rates"]["false_full_s"] = 2.0 if one["strategy"] == "s3" else 0.5
    told = charts.subscription_over_time_all(courses(runs[:2]), every=runs)
    assert title_of(told) == "3 of 21 designs were marked full while stock was left, s3 for 2.0 s"
    alone = charts.subscription_over_time_all(courses(runs[:2]))
    assert not any("not drawn" in line for line in words(alone))


def test_the_title_over_time_is_not_that_of_the_bars() -> None:
    """It speaks of time: who was falsely full, and who of those that passed had sold everything first."""
    runs = [run("a", rates={"false_full_s": 0.0}), run("b", rates={"false_full_s": 0.0}), run("c")]
    broken = [{**one, "broken": one["strategy"] == "b"} for one in runs]
    made = courses(runs)
    last = (made[2][0], *course("c", 1.0, span_s=3.0)[1:])
    said = title_of(charts.subscription_over_time_all([*made[:2], last]))
    assert (
        said == "No design was marked full while stock was left; a and b had sold everything first, after 2.00 s"
    )
    assert title_of(charts.subscription_over_time_all([*courses(broken)[:2], last])).endswith(
        "; a had sold everything first, after 2.00 s"
    )
    assert "sold everything" not in title_of(charts.subscription_over_time_all([*courses(broken)[:2]]))


def test_one_course_of_each_design_is_drawn_when_there_is_room() -> None:
    """Three designs with six runs each make three panels, each with its load."""
    figure = charts.subscription_over_time_all(courses(comparison(3, 3, 2)))
    assert len(figure.axes) == 3
    assert any("of each design the worst run, 3 of 18 runs" in line for line in words(figure))


def test_a_catalogue_of_response_times_names_the_outermost() -> None:
    """Of 39 lines the fastest, the slowest and the canary are labelled, the others grey and named in the note."""
    series = [(f"s{i:02d}", responses(10 + i, 200, seed=i)) for i in range(38)]
    figure = charts.response_percentiles([*series, ("none", responses(25, 200))])
    said = words(figure)
    labelled = [line for line in said if line.endswith(("ms", " s")) and line.startswith(("s", "none"))]
    assert len(labelled) == 8
    assert any(line.startswith("none (canary)") for line in labelled)
    note = " ".join(said[next(i for i, line in enumerate(said) if line.startswith("In grey")) :])
    assert sum(f"s{i:02d}" in note for i in range(38)) == 31
    assert clashes(figure) == []


def test_responses_of_one_name_count_together() -> None:
    """Two seeds of a strategy make one line of all their bids."""
    figure = charts.response_percentiles([("a", responses(20, 600)), ("a", responses(20, 400, seed=2))])
    said = words(figure)
    assert any(line.startswith("1,000 bids a run") for line in said)
    assert "p99" in said  # which neither half supports
    assert sum(line.startswith("a  ") for line in said) == 1


def test_files_of_comparisons_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    """Two renderings of the same cells do not differ."""
    for name in OF_CELLS:
        first, again = (charts.save(drawn(name, *comparison(3, 2)), tmp_path / f"{name}-{i}") for i in range(2))
        assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]


def test_mariadb_is_named_on_every_chart() -> None:
    """The same strategy on two SQL servers is two designs with two names."""
    runs = [{**one, "sql": sql} for one in comparison(2)[1:] for sql in ("postgres", "mariadb")]
    names = {shown_name(one) for one in runs}
    assert names == {"check-then-decr", "check-then-decr on MariaDB"}
    for name in ("heatmap", "outcome_stacks", "fairness"):
        assert names <= set(words(drawn(name, *runs)))
    assert names <= set(words(charts.subscription_bars(runs)))
    assert names <= set(words(charts.subscription_over_time_all(courses(runs))))


def test_a_spread_of_one_run_has_no_whiskers() -> None:
    """Whiskers are drawn for several seeds only."""

    def lines(*runs: dict[str, Any]) -> int:
        return sum(len(line.get_xdata()) == 2 for line in drawn("frontier", *runs).axes[0].lines)

    assert lines(run("a", over=0.1), run("a", seed=2, goodput=900, over=0.1)) == 2 + lines(run("a", over=0.1))
    assert Spread.of([1.0]).count == 1
