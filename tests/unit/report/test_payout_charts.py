"""The payout charts: that they carry the numbers given, say them in their titles, and overlap nowhere."""

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from tests.unit.report.eyes import bar_widths, clashes, marks, marks_under_text, title_of, words
from tests.unit.report.summaries import DUE, OBLIGATIONS

from oversold.errors import UsageError
from oversold.evidence import NEVER
from oversold.model import PAY_REPLIES, PAYOUT_STATUSES, PayoutState, PayoutStatus
from oversold.payout_evidence import BELIEF, PAYMENT, WITHDRAWAL, JobRun, PayoutEvidence
from oversold.report import charts, payout_charts, payout_course
from oversold.report.labels import Box, Label, placed

pytestmark = pytest.mark.slow  # each draws: together they would be a quarter of `make check`

S = 1_000_000_000  # a second in ns
LONG = "a_very_long_$trategy_name$_of_forty_chars"[:40]


def run(strategy: str = "row-lock+state-machine", verdict: str = "", **told: Any) -> dict[str, Any]:
    """Return the part of a payout summary that charts read; `told` overrides its obligations and top keys."""
    obligations: dict[str, Any] = dict(OBLIGATIONS)
    summary: dict[str, Any] = {
        "strategy": strategy,
        "seed": 1,
        "profile": "seed",
        "canary": False,
        "load": {"users": 200, "processes": 2, "lanes": 8, "rtt_ms": 0.5},
        "settings": {"jobs": "overlap", "minute_s": 0.1},
        "unknown": {"peak": 0, "age_p95_s": 0.0, "age_max_s": 0.0},
        "findings": [],
    }
    for key, value in told.items():
        (summary if key in summary else obligations)[key] = value
    short, over = obligations["missed_fen"], obligations["overpaid_fen"]
    if "paid_fen" not in told:
        obligations["paid_fen"] = DUE + over - short
    if over and not obligations["users_affected"]:
        obligations["users_affected"] = obligations["duplicates"] = max(1, over // 86_000)
    summary["obligations"] = obligations
    summary["rates"] = {"duplicate": 0.0, "overpaid": over / DUE, "missed": short / DUE}
    summary["verdict"] = verdict or ("fail" if over or short else "pass")
    return summary


CANARY = run(
    "none+blind-failover", canary=True, overpaid_fen=6_192_000, users_affected=71, unrecoverable_fen=860_000
)
LOST = run("queue+unique-outbox", "inconclusive", paid_fen=None)
SIX = [
    CANARY,
    run("cas+query-then-retry", overpaid_fen=1_236_000, reviews=9, reviews_fen=774_000),
    run("lease+failover-after-proof", overpaid_fen=86_000, missed=12, missed_fen=1_032_000),
    run("row-lock+state-machine", reviews=12, reviews_fen=1_032_000),
    run("queue+state-machine", missed=3, missed_fen=258_000),
    run("cas+state-machine"),
]
NAMES = [f"{LONG[:36]}_{i:03d}" for i in range(12)]
SAFE = [run(name) for name in NAMES]
TWELVE = [
    *SIX,
    LOST,
    run("queue+failover-after-proof", "inconclusive"),
    run(NAMES[0], overpaid_fen=1),
    run(NAMES[1], overpaid_fen=860_000_000, missed_fen=90_000_000_000, missed=3),
    run(NAMES[2], reviews=1, reviews_fen=1),
    run("lease-fenced+failover-after-proof"),
]
NEAR = [run(name, overpaid_fen=5_000_000 + 300_000 * i, missed_fen=40_000 * i) for i, name in enumerate(NAMES)]
CROWD = [run(name, overpaid_fen=100_000, missed_fen=2_000_000_000) for name in NAMES]
DOUBTFUL = [run(name, "inconclusive") for name in NAMES]
CASES = {
    "1": [CANARY],
    "safe": SAFE[:1],
    "6": SIX,
    "12": TWELVE,
    "zeros": SAFE,
    "near": NEAR,
    "crowd": CROWD,
    "doubtful": DOUBTFUL,
    "lost": [LOST],
    "left": [run(name, reviews=i + 1, reviews_fen=86_000 * (i + 1)) for i, name in enumerate(NAMES)],
}


@pytest.mark.parametrize("runs", CASES.values(), ids=CASES.keys())
def test_the_tradeoff_names_every_run_and_overlaps_nowhere(runs: list[dict[str, Any]]) -> None:
    """Names of forty characters are all there and keep apart, from marks too, where marks crowd and coincide."""
    figure = payout_charts.tradeoff(runs)
    said = " ".join(words(figure))
    assert [each["strategy"] for each in runs if each["strategy"] not in said] == []
    assert clashes(figure) == []
    assert marks_under_text(figure) == []


def test_the_tradeoff_places_marks_by_money() -> None:
    """Ten times as much is one step further from zero; what is in REVIEW is a hollow mark to the right."""
    runs = [run(f"s{fen}", missed_fen=fen, overpaid_fen=fen) for fen in (100_00, 1000_00, 10_000_00)]
    places = [(x, y) for marker, x, y in marks(payout_charts.tradeoff([run(), *runs])) if marker == "X"]
    (x1, y1), (x2, y2), (x3, y3) = places
    assert x2 - x1 == pytest.approx(x3 - x2)
    assert y2 - y1 == pytest.approx(y3 - y2)
    assert x1 > 0 < y1
    figure = payout_charts.tradeoff([run("both", missed_fen=100_00, reviews=1, reviews_fen=900_00)])
    (_, hollow, _), (_, solid, _) = marks(figure)
    assert solid < hollow
    assert words(figure).count("both, 1 to people") == 1
    alone = marks(payout_charts.tradeoff([run("x", missed_fen=100_00)]))
    assert len(alone) == 1  # the planted run without reviews has no hollow mark


def test_only_the_safe_and_complete_stand_in_the_corner() -> None:
    """A pass with nothing overpaid, missed or left is listed; failures, doubts and work for people are not."""
    broken = run("c+broken", "fail", findings=[{"check": "false_terminal", "verdict": "fail", "detail": ""}])
    figure = payout_charts.tradeoff([run("a+safe"), run("b+doubt", "inconclusive"), broken, SIX[3]])
    corner = next(t.get_position()[1] for t in figure.axes[0].texts if t.get_text() == "safe and complete")
    inside = {
        text.get_text()
        for text in figure.axes[0].texts
        if 0 < text.get_position()[1] < corner and text.zorder == 4
    }
    assert "a+safe" in inside
    said = words(figure)
    assert "b+doubt (inconclusive)" in said
    assert "c+broken (fails false terminal)" in said
    assert "row-lock+state-machine, 12 to people" in said


@pytest.mark.parametrize(
    ("runs", "title"),
    [
        (
            SIX,
            "2 of 6 designs paid everyone once, or left it to people; 3 overpaid up to 61,920 yuan; "
            "2 missed up to 10,320 yuan",
        ),
        (SAFE, "All 12 designs paid everyone once"),
        (SAFE[:2], "Both designs paid everyone once"),
        ([CANARY], "none+blind-failover (canary) paid 71 people 61,920 yuan too much"),
        ([SIX[5]], "cas+state-machine paid everyone exactly once"),
        ([SIX[3]], "row-lock+state-machine paid nobody too much and left 12 payouts to people"),
        ([SIX[4]], "queue+state-machine missed 2,580 yuan"),
        ([LOST], "Nothing is proven: the run is inconclusive"),
        ([LOST, DOUBTFUL[0]], "Nothing is proven: all 2 runs are inconclusive"),
        ([CANARY, LOST], "1 of 2 designs overpaid 61,920 yuan; 1 inconclusive"),
        ([run("x", "inconclusive", missed_fen=DUE), run()], "1 of 2 designs paid everyone once; 1 inconclusive"),
        (
            [run(), run("x", "fail", findings=[{"check": "false_terminal", "verdict": "fail"}])],
            "Both designs paid everyone once; 1 fails another check",
        ),
    ],
)
def test_the_tradeoff_title_is_derived_from_the_data(runs: list[dict[str, Any]], title: str) -> None:
    """The title counts who paid everyone once and says how far the others went wrong, on either side."""
    assert title_of(payout_charts.tradeoff(runs)) == title


@pytest.mark.parametrize("runs", CASES.values(), ids=CASES.keys())
def test_bars_overlap_nowhere(runs: list[dict[str, Any]]) -> None:
    """Names, amounts, people, verdicts and scales keep apart for 1 to 12 strategies and amounts of all sizes."""
    assert clashes(payout_charts.overpaid_bars(runs)) == []


def test_bars_carry_the_numbers_given() -> None:
    """Every row says its yuan, its share, its people, what they withdrew and its verdict; zero is a dot and 0."""
    figure = payout_charts.overpaid_bars([*SIX, LOST])
    said = words(figure)
    for label in (
        "61,920 yuan  ·  2.06 %",
        "71",
        "8,600",
        "860 yuan  ·  0.029 %",
        "no books",
        "none+blind-failover (canary)",
    ):
        assert label in said
    assert [said.count(verdict) for verdict in ("fail", "pass", "inconclusive")] == [4, 2, 1]
    assert "withdrawn, yuan" in said
    assert "withdrawn, yuan" not in words(payout_charts.overpaid_bars(SIX[1:]))
    assert sum(marker == "o" and y in {3, 4, 5} for marker, _, y in marks(figure)) == 5  # three dots, two passes
    assert (
        "3,500 payouts due  ·  3,010,000 yuan  ·  channels: seed  ·  jobs: overlap  ·  8 lanes  ·  2 processes"
        in " ".join(said)
    )


def test_bars_are_in_proportion_to_the_money() -> None:
    """On a linear scale twice the money is twice the bar, and the withdrawn part is its share of it."""
    widths = bar_widths(
        payout_charts.overpaid_bars(
            [run("a", overpaid_fen=100_000), run("b", overpaid_fen=200_000, unrecoverable_fen=50_000)]
        )
    )
    assert widths[1] == pytest.approx(2 * widths[0])
    assert widths[2] == pytest.approx(widths[1] / 4)
    assert bar_widths(payout_charts.overpaid_bars(SAFE)) == []


def test_a_fen_is_neither_worded_nor_drawn_as_zero() -> None:
    """One fen too much beside millions has a bar to see and its amount; the scale then says that it is tenfold."""
    figure = payout_charts.overpaid_bars([run("a", overpaid_fen=10**9), run("b", overpaid_fen=1), run("c")])
    assert len(bar_widths(figure)) == 2
    assert bar_widths(figure)[1] >= 0.05
    assert "0.01 yuan  ·  <0.001 %" in words(figure)
    assert any("ten times" in text for text in words(figure))
    assert any("to scale" in text for text in words(payout_charts.overpaid_bars(SIX)))


@pytest.mark.parametrize(
    ("runs", "title"),
    [
        (SIX, "3 of 6 designs paid too much, up to 61,920 yuan (none+blind-failover (canary)); up to 8,600 yuan"),
        ([CANARY], "none+blind-failover (canary) paid 71 people 61,920 yuan too much; 8,600 yuan of it withdrawn"),
        (SAFE, "All 12 designs paid nobody too much"),
        (SIX[5:], "cas+state-machine paid nobody too much"),
        ([SIX[5], LOST], "1 of 2 designs paid nobody too much; 1 inconclusive"),
        ([LOST], "Nothing is proven: the run is inconclusive"),
        ([run("a", overpaid_fen=100_00, users_affected=1)], "a paid 1 person 100 yuan too much"),
        (
            [run("a", overpaid_fen=100_00), run("a", overpaid_fen=300_00, users_affected=2)],
            "a paid 2 people up to 300 yuan too much",
        ),
    ],
)
def test_the_bars_title_is_derived_from_the_data(runs: list[dict[str, Any]], title: str) -> None:
    """The title counts the designs that overpaid, names the worst, and says what is withdrawn."""
    assert title_of(payout_charts.overpaid_bars(runs)).startswith(title)


def test_a_row_without_a_bar_says_what_failed() -> None:
    """A failure that overpaid nobody names the broken promise; a pass just says 0."""
    missed = run("x", missed_fen=1, findings=[{"check": "missed", "verdict": "fail", "detail": ""}])
    assert "0; fails missed" in words(payout_charts.overpaid_bars([missed]))
    assert not any("fails" in text for text in words(payout_charts.overpaid_bars([run()])))


def test_runs_of_one_strategy_are_told_apart() -> None:
    """Channels and seeds are said where they differ, in columns of the bars and in names elsewhere."""
    several = [run(seed=1), run(seed=2), run("b+c")]
    assert "seed" in words(payout_charts.overpaid_bars(several))
    assert "seed" not in words(payout_charts.overpaid_bars(SIX))
    said = words(payout_charts.tradeoff(several))
    assert {"row-lock+state-machine, seed 1", "row-lock+state-machine, seed 2", "b+c"} <= set(said)


def test_labels_keep_off_everything_and_near_their_marks() -> None:
    """Labels of coinciding marks spread around them; without room the last resort is the place to the right."""
    room = Box(0, 0, 10, 5)
    labels = [Label(5, 2.5, 2, 0.2, ("name",)) for _ in range(8)]
    boxes = [box for _, box in placed(labels, [Box.around(5, 2.5, 0.1)], room)]
    assert all(box.within(room) for box in boxes)
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    assert not any(box.overlaps(Box.around(5, 2.5, 0.1)) for box in boxes)
    assert boxes[0].x0 == pytest.approx(5.16)
    cramped = placed([Label(0.5, 0.5, 2, 0.2, ("name",))], [], Box(0, 0, 1, 1))
    assert cramped[0][1].x0 == pytest.approx(0.66)
    assert Box(0, 0, 1, 1).crossed((-1, 0.5), (2, 0.5))
    assert not Box(0, 0, 1, 1).crossed((-1, 1.5), (2, 1.5))


def pay(
    obligation: int,
    at_s: float,
    reply: str = "ok",
    effect: bool = True,
    channel: int = 0,
    job: int = 0,
    **more: Any,
) -> dict[str, Any]:
    """Return one call of 100 ms; its effect, if any, comes with its reply."""
    t = round(at_s * S)
    return {
        "channel": channel,
        "obligation": obligation,
        "run": job,
        "worker": 0,
        "amount_fen": 100,
        "reply": PAY_REPLIES.index(reply),
        "t_arrived": t,
        "t_replied": t + S // 10,
        "t_effect": t + S // 10 if effect else NEVER,
        **more,
    }


JOBS = [JobRun("interest#1", 0, 0, 9 * S), JobRun("maturity#1", 6 * S, round(6.2 * S), 12 * S)]


def evidence(
    calls: list[dict[str, Any]] | None = None,
    runs: list[JobRun] | None = None,
    unknown: list[int] | None = None,
    ends: tuple[PayoutStatus, ...] = ("PAID",),
    t_end_s: float = 24.0,
    **more: Any,
) -> PayoutEvidence:
    """Return literal evidence; `unknown` is the backlog, one sample a second."""
    rows = [pay(i, i / 2) for i in range(20)] if calls is None else calls
    payments = np.zeros(len(rows), PAYMENT)
    for i, row in enumerate(rows):
        for key, value in row.items():
            payments[i][key] = value
    beliefs = np.zeros(len(unknown or []), BELIEF)
    beliefs["t"] = np.arange(len(beliefs)) * S
    beliefs["counts"][:, PAYOUT_STATUSES.index("UNKNOWN")] = unknown or []
    none = np.zeros(0, np.int64)
    return PayoutEvidence(
        due_fen=np.full(100, 100, np.int64),
        user=np.arange(100),
        t_due=np.zeros(100, np.int64),
        channels=more.pop("channels", ["A", "B"]),
        runs=JOBS if runs is None else runs,
        payments=payments,
        withdrawals=np.zeros(0, WITHDRAWAL),
        states=[PayoutState(status, "why") for status in ends],
        beliefs=beliefs,
        unknown_since=none,
        unknown_until=none,
        t_end=round(t_end_s * S),
        **more,
    )


# Of four lies three are told while both jobs run; two of them are paid again, and one call of no lie as well.
LIED = [
    pay(1, 1, "failed"),
    pay(2, 7, "failed"),
    pay(3, 7.5, "failed", job=1),
    pay(4, 8, "failed"),
    pay(2, 7.2, channel=1),
    pay(3, 7.7, channel=1, job=1),
    pay(5, 2),
    pay(5, 3),
    pay(6, 4, "failed", effect=False),
    pay(7, 5, "failed", replay=1),
]


@pytest.mark.parametrize(
    "one",
    [
        evidence(LIED),
        evidence([]),
        evidence(runs=[], channels=[]),
        evidence(t_end_s=0, runs=[], calls=[]),
        evidence([*LIED, pay(8, 30), pay(1, 25, channel=1), pay(9, 3, "ok", effect=False)]),
        evidence(
            LIED,
            runs=[
                JobRun("interest#1", 0, 0, S, killed=True),
                JobRun("interest#2", 2 * S, 3 * S, NEVER),
                JobRun("maturity#1", 6 * S, NEVER, NEVER),
            ],
            channels=["A", "B", "a-channel-of-20-char", "D"],
        ),
    ],
    ids=["lied", "silent", "nobody", "nothing", "late", "killed"],
)
@pytest.mark.parametrize("name", ["none+blind-failover", LONG])
def test_the_gantt_overlaps_nowhere(one: PayoutEvidence, name: str) -> None:
    """Jobs that ran, were killed, never began or never ended keep their texts apart, as do silent channels."""
    assert clashes(payout_charts.gantt(run(name), one)) == []


def test_the_gantt_tells_what_happened() -> None:
    """Jobs, peaks, lies and second effects have their numbers; replays and honest failures are no lies."""
    figure = payout_charts.gantt(CANARY, evidence(LIED))
    said = words(figure)
    assert title_of(figure) == (
        "none+blind-failover (canary): channel A said failed 4 times after paying, 3 of them while two jobs ran; "
        "3 payouts were paid twice"
    )
    for text in (
        "interest#1",
        "9.0 s",
        "maturity#1",
        "5.8 s",
        "channel A",
        "channel B",
        "two jobs at once: 2.8 s",
    ):
        assert text in said
    assert said[said.index("said failed, but paid") + 1] == "4"
    assert said[said.index("paid again") + 1] == "3"
    assert "minutes of the incident" in said
    assert "240" in said  # 24 s are 240 minutes of 0.1 s
    assert "said ok, but did not pay" not in said
    planted = words(payout_charts.gantt(CANARY, evidence([*LIED, pay(9, 3, "ok", effect=False)])))
    assert planted[planted.index("said ok, but did not pay") + 1] == "1"


@pytest.mark.parametrize(
    ("calls", "title"),
    [
        (None, "row-lock+state-machine: no channel said failed after paying; nothing was paid twice"),
        ([], "row-lock+state-machine: no call reached a channel"),
        (LIED[:1], "row-lock+state-machine: channel A said failed once after paying; nothing was paid twice"),
        (LIED[6:8], "row-lock+state-machine: no channel said failed after paying; 1 payout was paid twice"),
        (
            [pay(1, 1, "failed"), pay(2, 1, "failed", channel=1)],
            "row-lock+state-machine: channels A and B said failed 2 times after paying; nothing was paid twice",
        ),
    ],
)
def test_the_gantt_title_is_derived_from_the_books(calls: list[dict[str, Any]] | None, title: str) -> None:
    """The title counts lies and second payments, and an inconclusive run says so."""
    assert title_of(payout_charts.gantt(run(), evidence(calls))) == title
    assert title_of(payout_charts.gantt(run(verdict="inconclusive"), evidence(calls))) == f"{title} (inconclusive)"


def test_the_gantt_draws_the_jobs_to_scale() -> None:
    """A bar begins when its first worker did and ends when its last one did, or at the horizon."""
    runs = [JobRun("interest#1", 0, S, 3 * S, killed=True), JobRun("interest#2", 4 * S, 5 * S, NEVER)]
    figure = payout_charts.gantt(run(), evidence(runs=runs))
    bars = [bar for container in figure.axes[0].containers for bar in container]
    assert [(bar.get_x(), bar.get_width()) for bar in bars] == [(1, 2), (5, 19)]
    said = words(figure)
    assert {"killed, 2.0 s", "not finished", "killed"} <= set(said)
    assert {"|", "X", ">"} == {marker for marker, _, _ in marks(figure)}
    assert "killed" not in words(payout_charts.gantt(run(), evidence()))


def test_the_area_is_as_high_as_the_calls_in_flight() -> None:
    """Three calls at once of two jobs are stacked to three, and a lie is marked at the height at its moment."""
    calls = [pay(1, 7, "failed"), pay(2, 7.01), pay(3, 7.02, job=1)]
    figure = payout_charts.gantt(run(), evidence(calls))
    areas = [each for each in figure.axes[1].collections if isinstance(each, PolyCollection)]
    tops = [max(path.vertices[:, 1].max() for path in area.get_paths()) for area in areas]
    assert tops == [2, 3]
    assert ("v", 7.1, 3.0) in [(m, round(x, 3), y) for m, x, y in marks(figure, 1)]
    said = words(figure)
    assert said[said.index("channel A") + 1] == "peak 3"
    assert said[said.index("channel B") + 1] == "peak 0"


def test_calls_in_flight_agree_with_counting() -> None:
    """The steps say at each moment how many calls had arrived and not been answered, by job."""
    rng = np.random.default_rng(7)
    calls = [pay(i, float(at), job=i % 2) for i, at in enumerate(rng.uniform(0, 3, 200))]
    calls.append(pay(1, 1.0, t_replied=NEVER, job=-1))
    one = evidence(calls, t_end_s=5)
    times, counts = payout_course.in_flight(one, 0, [[0], [1], [-1]])
    rows = one.payments
    for at in rng.integers(0, 5 * S, 50):
        for group, job in enumerate((0, 1, -1)):
            of = rows[rows["run"] == job]
            brute = np.count_nonzero(
                (of["t_arrived"] <= at) & ((of["t_replied"] > at) | (of["t_replied"] == NEVER))
            )
            assert counts[group, np.searchsorted(times, at, side="right") - 1] == brute


def test_thinning_keeps_the_peaks() -> None:
    """Of a long line the highest point, the first and the last are drawn, wherever a short peak is."""
    heights = np.zeros(100_000, np.int64)
    heights[54_321] = 99
    drawn = payout_course.thinned(np.arange(100_000), heights)
    assert len(drawn) < 4000
    assert {0, 54_321, 99_999} <= set(drawn)
    assert 54_321 not in set(np.linspace(0, 99_999, 3000).astype(int))  # the planted naive choice misses it


def test_overlaps_of_three_starts_count_once() -> None:
    """Time in which three starts ran at once is not counted three times; starts one after another share none."""
    runs = [
        JobRun(f"interest#{i}", 0, start * S, end * S) for i, (start, end) in enumerate([(0, 9), (3, 6), (4, 12)])
    ]
    assert payout_course.both_running(evidence(runs=runs)) == [(3 * S, 9 * S)]
    assert payout_course.both_running(evidence(runs=runs[:1])) == []


PEAK = [0, 0, 1, 4, 31, 12, 2, 0, 0]
LEFT = [0, 5, 7, 7, 3]


def doubts(count: int, **told: Any) -> list[tuple[dict[str, Any], PayoutEvidence]]:
    """Return runs in doubt, with long names."""
    ends: tuple[PayoutStatus, ...] = ("REVIEW",) * 12 + ("UNKNOWN",) * 3
    aged = {"peak": 31, "age_p95_s": 1.2, "age_max_s": 2.0}
    return [
        (run(f"{LONG[:37]}{i:03d}", unknown=aged, **told), evidence(unknown=PEAK, ends=ends)) for i in range(count)
    ]


SILENT = [(run(name), evidence(unknown=[0] * 9)) for name in NAMES]


@pytest.mark.parametrize(("count", "silent"), [(0, 1), (0, 12), (1, 0), (1, 12), (2, 1), (4, 0), (5, 2), (12, 12)])
def test_backlogs_overlap_nowhere(count: int, silent: int) -> None:
    """Panels of up to twelve runs and the names of up to twelve that were never in doubt keep apart."""
    figure = payout_charts.unknown_backlog([*doubts(count), *SILENT[:silent]])
    assert len(figure.axes) == count
    assert clashes(figure) == []


def test_the_backlog_is_drawn_as_believed() -> None:
    """The line goes through the samples and on to the end; the head says peak, age, and what was left."""
    figure = payout_charts.unknown_backlog([*doubts(1), (run(), evidence(unknown=LEFT, ends=("UNKNOWN",) * 3))])
    line = figure.axes[0].lines[0]
    assert list(line.get_ydata()) == [*PEAK, 0]
    assert list(line.get_xdata())[-1] == 24
    assert list(figure.axes[1].lines[0].get_ydata())[-1] == 3
    said = words(figure)
    assert "31 at once, the oldest for 2.0 s; in the end 3 still UNKNOWN and 12 in REVIEW" in said
    assert "7 at once; in the end 3 still UNKNOWN" in said
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in figure.axes}) == 1


def test_who_never_says_unknown_is_named_and_not_drawn() -> None:
    """A strategy without a doubt gets no flat line but its name in a note; one with a doubt is not in it."""
    figure = payout_charts.unknown_backlog([*doubts(1), (CANARY, evidence(unknown=[0, 0]))])
    assert len(figure.axes) == 1
    note = next(text for text in words(figure) if text.startswith("Never in doubt"))
    assert "none+blind-failover (canary)" in note
    assert LONG[:37] not in note
    assert not any("Never" in text for text in words(payout_charts.unknown_backlog(doubts(2))))


@pytest.mark.parametrize(
    ("panels", "title"),
    [
        (
            doubts(1)[:1],
            f"{LONG[:37]}000: 31 payouts in doubt at once, the oldest for 2.0 s; "
            "in the end 3 still UNKNOWN and 12 in REVIEW",
        ),
        (
            [(run("a"), evidence(unknown=PEAK)), (run("b"), evidence(unknown=LEFT[:3]))],
            "Up to 31 payouts in doubt at once (a); every doubt was resolved",
        ),
        (
            [(run("a"), evidence(unknown=PEAK)), (run("b"), evidence(unknown=LEFT, ends=("REVIEW", "UNKNOWN")))],
            "Up to 31 payouts in doubt at once (a); 1 of 2 runs end with 1 still UNKNOWN; "
            "1 of 2 runs end with 1 in REVIEW",
        ),
        ([(CANARY, evidence())], "none+blind-failover (canary) was never in doubt"),
        (SILENT, "None of 12 runs was ever in doubt"),
    ],
)
def test_the_backlog_title_is_derived_from_the_beliefs(panels: list[Any], title: str) -> None:
    """The title says who was in doubt of most, and what was left in the end."""
    assert title_of(payout_charts.unknown_backlog(panels)) == title


def test_the_thirteenth_panel_is_admitted() -> None:
    """Of more than twelve runs in doubt the first twelve are drawn, and the subtitle says so."""
    figure = payout_charts.unknown_backlog(doubts(13))
    assert len(figure.axes) == 12
    assert "the first 12 of 13 runs that were in doubt" in " ".join(words(figure))


def test_nothing_to_draw_is_a_usage_error() -> None:
    """Charts without data say so in one line instead of being empty; bid runs are left out."""
    bid = {"strategy": "redis-lua", "verdict": "pass", "tranche": {}}
    for draw in (payout_charts.tradeoff, payout_charts.overpaid_bars):
        with pytest.raises(UsageError, match="no payouts to draw"):
            draw([bid])
        assert "3 yuan" in " ".join(words(draw([bid, run(overpaid_fen=300)])))
    with pytest.raises(UsageError, match="no backlog"):
        payout_charts.unknown_backlog([])


def test_files_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    """Two renderings of the same data do not differ, so pictures can be kept under version control."""

    def files(name: str) -> list[bytes]:
        figures = [
            payout_charts.tradeoff(TWELVE),
            payout_charts.overpaid_bars(TWELVE),
            payout_charts.gantt(CANARY, evidence(LIED)),
            payout_charts.unknown_backlog(doubts(2)),
        ]
        saved = [charts.save(figure, tmp_path / f"{name}{i}") for i, figure in enumerate(figures)]
        return [path.read_bytes() for pair in saved for path in pair]

    assert files("a") == files("b")
    planted = charts.save(payout_charts.tradeoff(SIX), tmp_path / "other")
    assert planted[1].read_bytes() != (tmp_path / "a0.svg").read_bytes()
