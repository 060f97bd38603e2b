"""The terminal's tables: what they say, and that they fit and survive a pipe."""

from typing import Any

import pytest
from tests.unit.report.eyes import not_plain, printed, too_wide
from tests.unit.report.summaries import changed

from oversold.report.tables import Sale, comparison_table, duration, percent, reasons, sold


def run(strategy: str = "redis-lua", verdict: str = "pass", **parts: Any) -> dict[str, Any]:
    """Return a summary of the kind `oversold/run/1`; `parts` override its own."""
    summary: dict[str, Any] = {
        "schema": "oversold/run/1",
        "scenario": "bid-burst",
        "strategy": strategy,
        "seed": 1,
        "verdict": verdict,
        "reasons": [],
        "tranche": {"capacity_fen": 1_000_000_000, "confirmed_fen": 1_000_000_000},
        "rates": {"oversubscription": 0.0, "undersubscription": 0.0},
        "load": {"users": 10_000, "goodput_per_s": 1240.0, "attempts_per_bid": 1.0, "wall_s": 4.0},
        "latency_ms": {"response": {"p50": 900, "p99": 3100, "max": 4000}},
        "outcomes": {"ok": 5130, "sold_out": 4870, "busy": 0, "error": 0, "unknown": 0},
        "findings": [],
    }
    return changed(summary, parts)


def test_a_rate_is_never_rounded_to_what_it_is_not() -> None:
    """Only zero reads 0 and only a whole reads 100 %; the planted rounding to a digit would lie about both."""
    assert percent(0.0) == "0"
    for tiny in (1e-12, 1e-6, 0.000004, 0.00002, 0.0004):
        assert f"{100 * tiny:.1f}" == "0.0"  # the planted violation: what a plain format makes of it
        assert percent(tiny).strip("<% ").strip("0.") != ""
    assert percent(0.00002) == "0.002 %"
    assert percent(1e-12) == "<0.001 %"
    assert percent(0.99999) == ">99.9 %"
    assert percent(1.0) == "100 %"


@pytest.mark.parametrize(
    ("rate", "said"),
    [(0.176, "17.6 %"), (0.946, "94.6 %"), (0.0151, "1.51 %"), (8.8, "880 %"), (None, "-"), (float("nan"), "-")],
)
def test_a_rate_has_about_three_digits(rate: float | None, said: str) -> None:
    """Rates keep three digits or fewer, and a missing one is a dash."""
    assert percent(rate) == said


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        (0.0, "-"),
        (9.96, "10 ms"),
        (312.4, "312 ms"),
        (999.7, "1.0 s"),
        (40_800, "40.8 s"),
        (312_000, "312 s"),
        (None, "-"),
    ],
)
def test_a_duration_takes_the_unit_that_fits(ms: float | None, said: str) -> None:
    """No rounding leaves a unit's range: 999.7 ms is 1.0 s, not 1000 ms."""
    assert duration(ms) == said


def test_the_table_says_what_the_summary_says() -> None:
    """Each number of the summary stands in the row of its strategy."""
    row = run(
        "memcached-cas",
        "fail",
        rates={"undersubscription": 0.946},
        outcomes={"ok": 280, "sold_out": 201, "busy": 9519},
        load={"attempts_per_bid": 4.6, "wall_s": 15.9, "goodput_per_s": 155.6},
        latency_ms={"response": {"p99": 312.0}},
    )
    text = printed(comparison_table([row]))
    for said in ("memcached-cas", "fail", "94.6 %", "280 ok", "201 sold out", "9,519 busy", "4.6", "15.9 s"):
        assert said in text
    assert "312 ms" in text
    assert "156" in text
    assert "error" not in text


def test_a_tiny_rate_shows_in_the_table() -> None:
    """A rate of 0.002 % is told apart from zero in the row itself."""
    text = printed(comparison_table([run("check-then-decr", "fail", rates={"oversubscription": 0.00002})]))
    assert "0.002 %" in text
    assert "0.002 %" not in printed(comparison_table([run()]))


WORST = [
    run("none", "fail", rates={"oversubscription": 8.8}),
    run("memcached-cas-retry", "inconclusive", rates={"oversubscription": 1e-9, "undersubscription": 1e-9}),
    run("a_very_long_$trategy_name$_of_30", "fail", load={"goodput_per_s": 12_345.0, "wall_s": 40.8}),
    run("标的[red]锁", outcomes={"sold_out": 10_000, "busy": 10_000, "error": 7, "unknown": 3}),
]


def test_the_worst_table_fits_80_columns_uncut() -> None:
    """Neither long names nor wide numbers make a line longer than 80 columns or cut a cell."""
    text = printed(table := comparison_table(WORST))
    assert too_wide(table) == []
    for whole in ("10,000 sold out", "inconclusive", "12,345", "<0.001 %", "[red]"):
        assert whole in text
    assert too_wide(table, width=40) != []  # the planted violation: no room


def test_a_pipe_gets_plain_text() -> None:
    """Without a terminal there are no colour codes and no box-drawing; with one there is colour."""
    table = comparison_table([row for row in WORST if row["strategy"].isascii()])
    assert not_plain(table) == []
    assert not_plain(table, force_terminal=True, color_system="standard") != []


def test_numbers_that_are_missing_are_dashes() -> None:
    """A summary of a run that measured nothing still makes a row, of dashes and not of zeros."""
    bare = {"strategy": "redis-lua", "verdict": "inconclusive"}
    line = printed(comparison_table([bare])).splitlines()[3]
    assert line.split() == ["redis-lua", "inconclusive", "-", "-", "-", "-", "-"]


def test_users_are_told_where_they_differ() -> None:
    """Runs of one strategy under several loads are told apart by their users."""
    text = printed(comparison_table([run(load={"users": 1000}), run(load={"users": 10_000})]))
    assert "1,000 users" in text
    assert "10,000 users" in text
    assert "users" not in printed(comparison_table([run(), run()]))


def test_the_caption_says_whether_the_canary_proved_the_burst() -> None:
    """The canary's verdict comes from the comparison's own record, else from its row; without one it is silent."""

    def caption(*rows: dict[str, Any], canary: dict[str, Any] | None = None) -> str:
        return " ".join(printed(comparison_table(rows, canary)).split())

    sold_too_much = run("none", "fail", rates={"oversubscription": 0.176})
    assert "oversold by 17.6 %" in caption(sold_too_much)
    assert "did not oversell: passes prove nothing" in caption(run("none"))
    assert "canary" not in caption(run())
    twice = {"runs": [{"oversubscription": 0.1}, {"oversubscription": 0.3}]}
    assert "oversold by 10.0 % to 30.0 %" in caption(run(), canary=twice)
    once = {"runs": [{"oversubscription": 0.1}, {"oversubscription": 0.0}]}
    assert "in some bursts only" in caption(run(), canary=once)


def test_each_run_that_did_not_pass_gets_one_line() -> None:
    """A reason names strategy, verdict and why, on one line; findings stand in where no reasons are recorded."""
    findings = [
        {"check": "leak", "verdict": "fail", "detail": "3 holds leaked."},
        {"check": "oversubscription", "verdict": "pass", "detail": "fine"},
    ]
    lines = reasons(
        [
            run("none", "fail", reasons=["oversold by\n17.6 %", "claim gap"]),
            run("redis-lua"),
            run("redis-decr", "fail", findings=findings),
            run("tokens", "inconclusive"),
        ]
    )
    assert lines == [
        "none: fail: oversold by 17.6 %; claim gap",
        "redis-decr: fail: leak: 3 holds leaked.",
        "tokens: inconclusive: the run recorded no reason",
    ]


def test_a_lost_ledger_is_not_an_unsold_tranche() -> None:
    """When the ledger is gone, what it sold is unknown; a ledger that is there and empty says nothing was sold."""
    gone = [{"check": "ledger", "verdict": "inconclusive", "detail": "lost"}]
    nothing = {"confirmed_fen": 0}
    assert Sale.read(run(findings=gone, tranche=nothing)).confirmed_fen is None
    assert Sale.read(run(tranche=nothing)).off_fen == 1_000_000_000


def test_what_nobody_judged_is_not_an_unsold_tranche() -> None:
    """A tranche that was never opened has no rate: nobody knows what it sold."""
    rates = {"oversubscription": None, "undersubscription": None}
    refused = run(rates=rates, tranche={"confirmed_fen": 0})
    assert Sale.read(refused).confirmed_fen is None
    assert sold(refused) == "nobody knows how much of 10,000,000 yuan was sold"
    row = next(line for line in printed(comparison_table([refused])).splitlines() if line.startswith("redis-lua"))
    assert row.split()[2:4] == ["-", "-"]


@pytest.mark.parametrize(
    ("http", "said"),
    [
        (None, "by the ledger"),
        ({"ledger": "sql", "unknown": 0, "ordered": 0}, "by the ledger"),
        ({"ledger": "sql", "unknown": 3, "ordered": 2}, "by the ledger; 3 bids got no answer, and 2 of them have"),
        (
            {"ledger": "sql", "unknown": 1, "ordered": 1},
            "by the ledger; 1 bid got no answer, and 1 of them has an",
        ),
        (
            {"ledger": "csv", "unknown": 2, "ordered": 0},
            "by the ledger; 2 bids got no answer, and none of them have",
        ),
        (
            {"ledger": None, "unknown": 2, "ordered": 0},
            "claims; 2 bids got no answer, and nobody knows what became",
        ),
    ],
)
def test_what_was_sold_says_what_became_of_bids_without_an_answer(http: Any, said: str) -> None:
    """Over HTTP an answer can be lost; the ledger knows of the order, and claims do not."""
    told = sold({**run(), "http": http})
    assert said in told
    assert ("no answer" in told) == ("no answer" in said)


def test_a_design_that_is_broken_on_purpose_is_marked() -> None:
    """With what the mark means below the table; the canary, whose duty it is, has none."""
    assert "†" not in printed(comparison_table([run("a"), {**run("none"), "broken": True}]))
    marked = printed(comparison_table([run("a"), {**run("b"), "broken": True}]))
    assert "b †" in marked
    assert "† broken on purpose" in marked
