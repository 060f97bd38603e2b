"""The charts: that they carry the numbers given, say them in their titles, and overlap nowhere."""

import warnings
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from tests.unit.report.eyes import bar_widths, clashes, title_of, words

from oversold.errors import UsageError
from oversold.evidence import Claims, Ledger, StatusLog
from oversold.report import charts
from oversold.report.charts_course import Course, overlaps, total_s, without
from oversold.report.charts_paper import spread

CAPACITY = 1_000_000_000
S = 1_000_000_000  # a second in ns
LONG = "a_very_long_$trategy_name$_of_30"
NAMES = (
    "none check-then-decr memcached-cas memcached-cas-retry memcached-decr memcached-lock redis-watch redis-decr "
    "redis-lua redis-lock redis-lock-fenced redlock redis-queue-list redis-queue-stream rabbitmq-queue row-lock "
    f"row-lock-held skip-locked conditional-update version serializable advisory-lock buckets {LONG}"
).split()


def run(
    strategy: str = "redis-lua",
    over: float = 0.0,
    under: float = 0.0,
    dust_fen: int = 0,
    verdict: str = "",
    users: int = 10_000,
    seed: int = 1,
) -> dict[str, Any]:
    """Return the part of a summary that charts read."""
    return {
        "strategy": strategy,
        "seed": seed,
        "verdict": verdict or ("fail" if over or under else "pass"),
        "tranche": {"capacity_fen": CAPACITY, "confirmed_fen": round(CAPACITY * (1 + over - under)) - dust_fen},
        "rates": {"oversubscription": over, "undersubscription": under},
        "load": {"users": users, "processes": 2, "lanes": 64, "rtt_ms": 0.5},
        "findings": [],
    }


FIVE = [
    run("none", over=0.176),
    run("check-then-decr", over=0.00002),
    run("memcached-cas", under=0.946),
    run("redis-lua", dust_fen=340_000),
    run("conditional-update"),
]
EIGHT = [
    *FIVE,
    run("memcached-cas-retry", under=0.151),
    run("row-lock", dust_fen=1200),
    run("redis-decr", dust_fen=230_000_000, verdict="inconclusive"),
]
MANY = [
    run(name, over=10.0 ** (i % 6 - 5) if i % 3 == 0 else 0, under=0.3 ** (i % 7 + 1) if i % 3 == 1 else 0)
    for i, name in enumerate(NAMES)
]


def course(
    strategy: str = "redis-lua",
    share: float = 1.0,
    full_at_s: float | None = 2.0,
    span_s: float = 2.0,
    t_end_s: float = 5.0,
    **rates: float,
) -> tuple[dict[str, Any], Ledger, StatusLog, Claims, int]:
    """Return a run whose 1,000 orders sell `share` of the capacity evenly within `span_s`."""
    orders = np.full(1000, round(CAPACITY * share / 1000), np.int64)
    t = np.linspace(span_s * S / 1000, span_s * S, 1000).astype(np.int64)
    changes = [] if full_at_s is None else [round(full_at_s * S)]
    summary = run(strategy, over=max(0.0, share - 1), under=rates.pop("under", 0.0))
    summary["tranche"]["confirmed_fen"] = int(orders.sum())
    summary["rates"].update(rates)
    sampled = np.arange(0, round(t_end_s * S), S // 20)
    remaining = CAPACITY - np.minimum(CAPACITY, np.searchsorted(t, sampled, side="right") * orders[0])
    return (
        summary,
        Ledger(np.arange(1000), orders, t),
        StatusLog(np.array(changes, np.int64), np.ones(len(changes), np.bool_)),
        Claims(sampled, remaining.astype(np.int64), np.zeros(len(sampled), np.bool_)),
        round(t_end_s * S),
    )


LATCHED = course("memcached-cas-retry", 0.983, full_at_s=1.5, under=0.017)


@pytest.mark.parametrize("runs", [FIVE[:1], [FIVE[1]], FIVE, EIGHT, MANY], ids=["1", "tiny", "5", "8", "24"])
def test_bars_overlap_nowhere(runs: list[dict[str, Any]]) -> None:
    """Names, numbers, verdicts and scales keep apart for 1 to 24 strategies and rates of all sizes."""
    assert clashes(charts.subscription_bars(runs)) == []


def test_bars_carry_the_numbers_given() -> None:
    """Every row says its verdict and rate and yuan, or that it sold exactly, its dust, or what is left."""
    said = words(charts.subscription_bars(EIGHT))
    for label in (
        "17.6 %  ·  1,760,000 yuan",
        "0.002 %  ·  200 yuan",
        "94.6 %  ·  9,460,000 yuan",
        "dust 3,400 yuan",
        "sold exactly",
        "2,300,000 yuan left",
        "none (canary)",
    ):
        assert label in said
    assert [said.count(verdict) for verdict in ("fail", "pass", "inconclusive")] == [4, 3, 1]
    assert (
        "10,000 users  ·  capacity 10,000,000 yuan  ·  64 lanes  ·  2 processes  ·  rtt 0.5 ms  ·  seed 1" in said
    )


def test_a_tiny_rate_is_neither_worded_nor_drawn_as_zero() -> None:
    """A thousand-millionth sold too much has a bar to see and a label other than zero; zero has neither."""
    figure = charts.subscription_bars([run("none", over=0.9), run("redis-decr", over=1e-9), run("redis-lua")])
    assert len(bar_widths(figure)) == 2
    assert bar_widths(figure)[1] == pytest.approx(0.05)
    assert "<0.001 %  ·  0.01 yuan" in words(figure)
    assert words(figure).count("sold exactly") == 1


def test_bars_point_to_their_side_and_keep_their_order() -> None:
    """Undersold goes left, oversold right; on a linear scale lengths are in proportion."""
    widths = bar_widths(charts.subscription_bars([run("a", over=0.1), run("b", over=0.2), run("c", under=0.4)]))
    assert widths[0] > 0
    assert widths[1] == pytest.approx(2 * widths[0])
    assert widths[2] == pytest.approx(-4 * widths[0])


def test_the_scale_is_named_and_only_logarithmic_where_it_must() -> None:
    """Rates of like size are drawn to scale; when one would vanish, the axis says that its blocks are tenfold."""
    assert "share of the capacity (to scale)" in words(charts.subscription_bars([FIVE[0], FIVE[2]]))
    assert any("ten times" in text for text in words(charts.subscription_bars(FIVE)))
    alone = bar_widths(charts.subscription_bars([FIVE[1]]))[0]
    large = bar_widths(charts.subscription_bars([FIVE[0]]))[0]
    assert alone < large / 2  # 0.002 % alone on the page does not fill it


@pytest.mark.parametrize(
    ("runs", "title"),
    [
        (FIVE[:1] + FIVE[3:], "1 of 3 designs oversold: none (canary) by 17.6 %"),
        (
            [FIVE[0], *FIVE[2:]],
            "1 of 4 designs oversold: none (canary) by 17.6 %; memcached-cas undersold by 94.6 %",
        ),
        (FIVE[2:], "1 of 3 designs undersold: memcached-cas by 94.6 %"),
        (FIVE[3:], "Both designs sold exactly or all but dust"),
        (FIVE[4:], "conditional-update sold exactly"),
        (FIVE[3:4], "redis-lua sold all but dust of 3,400 yuan"),
        (FIVE[:1], "none (canary) oversold by 17.6 %"),
        (EIGHT[-1:], "Nothing is proven: the run is inconclusive"),
        (EIGHT[-2:], "1 of 2 designs sold exactly or all but dust; 1 inconclusive"),
        ([run("a", over=0.1), run("a", over=0.2), run("b")], "1 of 2 designs oversold: a by up to 20.0 %"),
    ],
)
def test_the_title_is_derived_from_the_data(runs: list[dict[str, Any]], title: str) -> None:
    """The title counts and names the designs that went wrong, the worst first."""
    assert title_of(charts.subscription_bars(runs)) == title


def test_runs_of_one_strategy_are_told_apart() -> None:
    """Users and seeds get columns where they differ, and none where they do not."""
    several = charts.subscription_bars(
        [run(users=users, seed=seed) for users in (1000, 10_000) for seed in (1, 2)]
    )
    assert {"users", "seed", "1,000", "10,000"} <= set(words(several))
    assert clashes(several) == []
    assert not {"users", "seed"} & set(words(charts.subscription_bars(FIVE)))


def test_runs_under_several_settings_are_told_apart() -> None:
    """A setting that differs gets a column; of many runs each bar is labelled with the whole load."""
    runs = [run(users=users) | {"settings": {"p": p, "steps": 12}} for users in (300, 600) for p in (0.05, 0.2)]
    said = words(charts.subscription_bars(runs))
    assert {"settings", "p 0.05", "p 0.2"} <= set(said)
    assert not any("steps" in text for text in said)
    assert "settings" not in words(charts.subscription_bars(FIVE))
    worse = [{**each, **run("b", users=each["load"]["users"], under=0.1)} for each in runs]
    many = words(charts.subscription_bars([*runs, *worse] * 3))
    assert any(text.endswith("·  300 users, p 0.05") for text in many)


def test_both_sides_of_the_bars_have_one_grid() -> None:
    """A step to the left is as long as one to the right, and every line that is alone on its side has its text."""
    said = words(charts.subscription_bars([run("a", over=0.26), run("b", under=0.06)]))
    assert [text for text in said if text.endswith("0 %") and len(text) < 6] == ["10 %", "10 %", "20 %", "30 %"]


def test_a_failure_that_sold_exactly_says_what_failed() -> None:
    """A row without a bar but with the verdict fail names the broken promise."""
    leaky = run(verdict="fail")
    leaky["findings"] = [{"check": "hold_leak", "verdict": "fail", "detail": ""}]
    assert "sold exactly; fails hold leak" in words(charts.subscription_bars([leaky]))


def test_a_lost_ledger_has_no_bar() -> None:
    """A run whose ledger is lost is not drawn as unsold."""
    lost = run(verdict="inconclusive")
    lost["tranche"]["confirmed_fen"] = 0
    lost["findings"] = [{"check": "ledger", "verdict": "inconclusive", "detail": ""}]
    figure = charts.subscription_bars([lost, run()])
    assert "no ledger" in words(figure)
    assert bar_widths(figure) == []


def test_names_are_drawn_as_they_are(tmp_path: Path) -> None:
    """Dollar signs and underscores are no formulas, other alphabets no warnings; no name makes room for itself."""
    names = [LONG, "x_1^2 $\\frac{a$", "标的锁", "a" * 80]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = charts.subscription_bars([run(name, over=0.1) for name in names])
        _, svg = charts.save(figure, tmp_path / "names")
    text = svg.read_text(encoding="utf-8")
    for name in names[:3]:
        assert name in text
    assert "a" * 80 not in words(figure)
    assert clashes(figure) == []


def test_nothing_to_draw_is_a_usage_error() -> None:
    """Charts without data say so in one line instead of being empty."""
    payout = {"strategy": "blind-failover", "verdict": "fail", "obligations": {}}
    with pytest.raises(UsageError, match="no over- or undersubscription"):
        charts.subscription_bars([payout])
    with pytest.raises(UsageError, match="no course"):
        charts.subscription_over_time_all([])
    with pytest.raises(UsageError, match="no response times"):
        charts.response_percentiles([("redis-lua", np.array([]))])
    assert len(bar_widths(charts.subscription_bars([payout, FIVE[0]]))) == 1


@pytest.mark.parametrize(
    ("one", "title"),
    [
        (course(), "redis-lua: full at 2.00 s, sold exactly"),
        (LATCHED, "memcached-cas-retry: marked full and stayed so at 9.83 of 10.00 million yuan"),
        (course("none", 1.176), "none (canary): oversold by 17.6 % after it was full at 1.70 s"),
        (
            course("memcached-cas", 0.054, full_at_s=None, under=0.946),
            "memcached-cas: undersold, never marked full: 0.54 of 10.00 million yuan sold",
        ),
        (course(share=0.999), "redis-lua: sold all but dust of 10,000 yuan"),
        (course(span_s=0.2, t_end_s=0.5, full_at_s=0.2), "redis-lua: full at 200 ms, sold exactly"),
    ],
)
def test_the_course_of_a_sale_says_what_became_of_it(one: Any, title: str) -> None:
    """The title tells when it was full and how far from the capacity the ledger ended; nothing overlaps."""
    figure = charts.subscription_over_time(*one)
    assert title_of(figure) == title
    assert clashes(figure) == []


def test_falsely_full_time_is_labelled_with_its_seconds() -> None:
    """Marked full from 1.5 s to the end at 5 s with stock left: 3.5 s; the planted honest run has none."""
    assert "falsely full: 3.5 s" in words(charts.subscription_over_time(*LATCHED))
    assert not any("falsely" in text for text in words(charts.subscription_over_time(*course())))
    told_apart = charts.subscription_over_time(*LATCHED, live_hold_periods=[(0, 2 * S)])
    assert {"falsely full, holds live: 500 ms", "falsely full, none live: 3.0 s"} <= set(words(told_apart))
    assert clashes(told_apart) == []


def test_falsely_full_time_agrees_with_the_checker() -> None:
    """Time ends where the checker says that the last bidder left, and dust below the smallest bid is not stock."""
    told = course("memcached-cas-retry", 0.983, full_at_s=1.5, under=0.017, false_full_s=2.25)
    assert Course(*told).false_full_periods() == [(round(1.5 * S), round(3.75 * S))]
    dust = course(share=0.999, full_at_s=2.0)
    assert total_s(Course(*dust).false_full_periods()) == pytest.approx(3.0)
    dust[0]["tranche"]["min_bid_fen"] = 1_000_001
    assert Course(*dust).false_full_periods() == []


def test_without_a_ledger_no_time_is_falsely_full() -> None:
    """Where the summary says null, nobody knows what was left; the planted number shades it."""
    lost = course("memcached-cas-retry", 0.5, full_at_s=1.5, false_full_s=None)
    assert Course(*lost).false_full_periods() == []
    lost[0]["rates"]["false_full_s"] = 1.0
    assert total_s(Course(*lost).false_full_periods()) == 1.0


def test_full_periods_follow_the_flag() -> None:
    """The flag may be set twice, cleared, and set again; the last period lasts to the end."""
    t, full = np.array([1, 2, 3, 6], np.int64) * S, np.array([True, True, False, True])
    summary, ledger, _, claims, end = LATCHED
    flagged = Course(summary, ledger, StatusLog(t, full), claims, end)
    assert flagged.full_periods() == [(S, 3 * S), (6 * S, 6 * S)]
    reopened = charts.subscription_over_time(summary, ledger, StatusLog(t[:3], full[:3]), claims, end)
    assert "reopened in vain" in title_of(reopened)


def test_periods_intersect_and_subtract() -> None:
    """What overlaps and what is left of periods together make up the periods."""
    one, other = [(0, 10), (20, 30)], [(5, 22), (25, 26)]
    assert overlaps(one, other) == [(5, 10), (20, 22), (25, 26)]
    assert without(one, other) == [(0, 5), (22, 25), (26, 30)]


def test_the_lines_end_at_the_numbers_given() -> None:
    """Ledger, claim and capacity are labelled with what they end at; a strategy may claim no number."""
    said = words(charts.subscription_over_time(*LATCHED))
    assert {"capacity 10.00", "sold 9.83", "claimed 9.83"} <= set(said)
    summary, ledger, log, claims, end = LATCHED
    silent = Claims(claims.t, np.full(len(claims.t), -1, np.int64), claims.full)
    assert not any(
        "claim" in text for text in words(charts.subscription_over_time(summary, ledger, log, silent, end))
    )
    nearly = words(charts.subscription_over_time(*course(share=0.9999)))
    assert "sold 9.999" in nearly  # not 10.00


def test_a_run_without_orders_can_be_drawn(tmp_path: Path) -> None:
    """An empty ledger, an empty log and no claims make an empty chart, not a crash."""
    none = np.zeros(0, np.int64)
    summary = run(under=1.0)
    one = (summary, Ledger(none, none, none), StatusLog(none, none.astype(bool)), Claims(none, none, none > 0), 0)
    assert "0.00 of 10.00 million yuan sold" in title_of(charts.subscription_over_time(*one))
    charts.save(charts.subscription_over_time_all([one, LATCHED]), tmp_path / "both")


@pytest.mark.parametrize("count", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 4, 8)), 5, 12])
def test_small_multiples_overlap_nowhere(count: int) -> None:
    """Panels of up to twelve runs, long names and long fates included, keep their texts apart."""
    kinds = [course(), LATCHED, course("none", 9.8), course(LONG, 0.054, full_at_s=0.1, under=0.946)]
    figure = charts.subscription_over_time_all((kinds * 3)[:count])
    assert len(figure.axes) == count
    assert clashes(figure) == []


@pytest.mark.slow
def test_small_multiples_share_their_axes_and_admit_what_they_leave_out() -> None:
    """All panels have the same limits; time is logarithmic when the runs differ much; the 13th run is named."""
    figure = charts.subscription_over_time_all([course(), LATCHED])
    assert len({(axes.get_xlim(), axes.get_ylim(), axes.get_xscale()) for axes in figure.axes}) == 1
    assert figure.axes[0].get_xscale() == "linear"
    slow = charts.subscription_over_time_all([course(), course("row-lock", span_s=40, t_end_s=50, full_at_s=40)])
    assert {axes.get_xscale() for axes in slow.axes} == {"log"}
    many = charts.subscription_over_time_all([course()] * 13)
    assert len(many.axes) == 12
    assert any("the first 12 of 13 runs" in text for text in words(many))
    beyond = words(charts.subscription_over_time_all([course(), course("none", 9.8)]))
    assert any("▲ 98.00" in text for text in beyond)


def responses(median_ms: float, count: int = 10_000, spread_of: float = 0.6, seed: int = 1) -> Any:
    """Return log-normal response times in ms."""
    return np.random.default_rng(seed).lognormal(np.log(median_ms), spread_of, count)


@pytest.mark.parametrize("count", [1, pytest.param(8, marks=pytest.mark.slow), 24])
def test_response_labels_overlap_nowhere(count: int) -> None:
    """Lines that end at the same time still get labels that can be read."""
    figure = charts.response_percentiles([(name, responses(20 + i % 3)) for i, name in enumerate(NAMES[:count])])
    assert clashes(figure) == []
    said = words(figure)
    assert sum(any(text.startswith(name) for text in said) for name in NAMES[:count]) == count


def test_the_response_title_names_the_fastest_and_the_slowest() -> None:
    """p99 is taken from the responses themselves, and so are its owners."""
    fast, slow = np.linspace(1, 1000, 1000), np.linspace(10, 10_000, 1000)
    figure = charts.response_percentiles([("row-lock", slow), ("redis-lua", fast)])
    assert title_of(figure) == "p99 response from 990 ms (redis-lua) to 9.9 s (row-lock)"


def test_response_times_say_under_which_conditions_and_praise_no_failure() -> None:
    """Given the runs, the subtitle has their users and delay, and the fastest named is one that passed."""
    fast, slow = np.linspace(1, 1000, 1000), np.linspace(10, 10_000, 1000)
    runs = [run("a", over=0.1), run("b"), run("c")]
    series = [("a", fast), ("b", slow), ("c", slow * 1.01)]
    figure = charts.response_percentiles(series, runs)
    assert any("10,000 users" in line and "rtt" in line for line in words(figure))
    assert title_of(figure) == "p99 response from 9.9 s (b and c, the fastest that passed) to 10.0 s (c)"
    assert title_of(charts.response_percentiles(series)).startswith("p99 response from 990 ms (a)")


def test_only_percentiles_that_the_sample_supports_are_drawn() -> None:
    """999 responses do not make a p99 of ten slower ones; 1,000 do; a handful makes a median."""

    def ticks(count: int) -> set[str]:
        figure = charts.response_percentiles([("redis-lua", responses(20, count))])
        return {text for text in words(figure) if text.startswith("p") and text[1].isdigit()}

    assert ticks(999) == {"p0", "p50", "p90"}
    assert ticks(1000) == {"p0", "p50", "p90", "p99"}
    assert ticks(10_000) == {"p0", "p50", "p90", "p99", "p99.9"}
    assert ticks(3) == {"p0", "p50"}
    assert "p90 response" in title_of(charts.response_percentiles([("redis-lua", responses(20, 999))]))


def test_odd_responses_are_drawn() -> None:
    """Zeros, equal values, NaN and strategies without an answer neither crash nor vanish silently."""
    figure = charts.response_percentiles(
        [
            ("zero", np.zeros(100)),
            ("same", np.full(100, 7.0)),
            ("nan", np.array([np.nan, 5.0])),
            ("mute", np.array([])),
        ]
    )
    assert any("no responses: mute" in text for text in words(figure))
    assert clashes(figure) == []
    flat = words(charts.response_percentiles([("same", np.full(100, 7.0))]))
    assert "10 ms" in flat


def test_labels_spread_without_losing_their_order() -> None:
    """Places keep the gap and the order of the wishes, stay in bounds, and move no more than they must."""
    places = spread([5.0, 5.1, 9.9, 0.0], 1.0, 0.0, 10.0)
    assert places == pytest.approx([4.55, 5.55, 9.9, 0.0])
    crowded = spread([3.0] * 30, 1.0, 0.0, 10.0)
    assert min(crowded) >= 0
    assert max(crowded) <= 10.0 + 1e-9
    assert spread([9.9, 10.0], 1.0, 0.0, 10.0) == pytest.approx([9.0, 10.0])


def figures() -> list[Figure]:
    """Return one figure of each kind."""
    return [
        charts.subscription_bars(EIGHT),
        charts.subscription_over_time(*LATCHED),
        charts.subscription_over_time_all([course(), LATCHED]),
        charts.response_percentiles([("redis-lua", responses(20)), ("row-lock", responses(900))]),
    ]


@pytest.mark.slow
def test_files_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    """Two renderings of the same data do not differ, so pictures can be kept under version control."""
    first = [charts.save(figure, tmp_path / f"a{i}") for i, figure in enumerate(figures())]
    again = [charts.save(figure, tmp_path / f"b{i}") for i, figure in enumerate(figures())]
    for one, other in zip(first, again, strict=True):
        assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]
    planted = charts.save(charts.subscription_bars(FIVE), tmp_path / "other")
    assert planted[1].read_bytes() != first[0][1].read_bytes()


def test_svg_keeps_text_as_text_and_no_date(tmp_path: Path) -> None:
    """What the picture says can be searched in the SVG, which has a title and neither date nor version."""
    figure = charts.subscription_bars(EIGHT)
    _, path = charts.save(figure, tmp_path / "bars")
    svg = path.read_text(encoding="utf-8")
    texts = [
        "".join(node.itertext()) for node in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    ]
    for said in ("17.6 %  ·  1,760,000 yuan", "inconclusive", "none (canary)"):
        assert said in texts
    assert title_of(figure) in svg
    assert "dc:date" not in svg
    assert matplotlib.__version__ not in svg


def test_files_are_named_after_the_stem(tmp_path: Path) -> None:
    """A dot in the stem is no suffix; missing folders are made; a PNG has 144 dots an inch."""
    figure = charts.subscription_bars(FIVE)
    png, svg = charts.save(figure, tmp_path / "new" / "v1.2")
    assert (png.name, svg.name) == ("v1.2.png", "v1.2.svg")
    width = int.from_bytes(png.read_bytes()[16:20], "big")
    assert width == round(figure.get_size_inches()[0] * 144)


def test_a_folder_that_cannot_be_written_is_a_usage_error(tmp_path: Path) -> None:
    """The error is one line that names the file and the cause."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError) as caught:
        charts.save(charts.subscription_bars(FIVE), tmp_path / "file" / "bars")
    assert "bars.png" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_drawing_leaves_no_settings_behind(tmp_path: Path) -> None:
    """The caller's own matplotlib settings neither change the picture nor are they changed."""
    plain = charts.save(charts.subscription_bars(FIVE), tmp_path / "plain")
    with matplotlib.rc_context({"font.size": 30, "text.color": "red", "svg.fonttype": "path"}):
        before = dict(matplotlib.rcParams)
        styled = charts.save(charts.subscription_bars(FIVE), tmp_path / "styled")
        assert dict(matplotlib.rcParams) == before
    assert [path.read_bytes() for path in plain] == [path.read_bytes() for path in styled]
