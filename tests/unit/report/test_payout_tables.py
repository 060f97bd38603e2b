"""The terminal's payout tables: what they say, and that they fit and survive a pipe."""

from typing import Any

import pytest
from tests.unit.report.eyes import not_plain, printed, too_wide
from tests.unit.report.summaries import DUE, OBLIGATIONS, changed

from oversold.report.payout_tables import Reckoning, comparison_table, reasons, settled

PAID_TWICE = {
    "paid_fen": 307_192_000,
    "duplicates": 72,
    "overpaid_fen": 6_192_000,
    "unrecoverable_fen": 860_000,
    "users_affected": 71,
}


def run(strategy: str = "row-lock+state-machine", verdict: str = "pass", **parts: Any) -> dict[str, Any]:
    """Return a summary of the kind `oversold/run/1`; `parts` override its own."""
    summary: dict[str, Any] = {
        "schema": "oversold/run/1",
        "scenario": "payout-overlap",
        "strategy": strategy,
        "seed": 1,
        "verdict": verdict,
        "reasons": [],
        "canary": False,
        "profile": "seed",
        "obligations": OBLIGATIONS,
        "rates": {"duplicate": 0.0, "overpaid": 0.0, "missed": 0.0},
        "unknown": {"peak": 31, "age_p95_s": 1.2, "age_max_s": 2.0},
        "time_to_paid_s": {"p50": 4.0, "p95": 9.1, "max": 11.0},
        "settings": {"jobs": "overlap", "minute_s": 0.1},
        "findings": [],
    }
    return changed(summary, parts)


CANARY = run("none+blind-failover", "fail", canary=True, obligations=PAID_TWICE, rates={"duplicate": 72 / 3500})


def test_the_table_says_what_the_summary_says() -> None:
    """Each number of the summary stands in the row of its strategy."""
    row = run(
        "lease+failover-after-proof",
        "fail",
        obligations={
            "duplicates": 72,
            "overpaid_fen": 6_192_000,
            "missed": 13,
            "missed_fen": 1_118_000,
            "reviews": 41,
        },
        rates={"duplicate": 0.0206},
    )
    text = printed(comparison_table([row]))
    for said in (
        "lease+",
        "failover-",
        "fail",
        "72",
        "2.06 %",
        "61,920",
        "13",
        "11,180",
        "41",
        "9.1 s",
        "31",
    ):
        assert said in text
    assert "1.2 s" in text


def test_zero_is_said_once_and_only_of_zero() -> None:
    """A run that wronged nobody has plain zeros; the planted single fen is told apart from them."""
    clean = printed(comparison_table([run("cas+x", unknown={"peak": 0})])).splitlines()[3]
    assert clean.split() == ["cas+x", "pass", "0", "0", "0", "0", "9.1", "s", "0"]
    planted = run("cas+x", "fail", obligations={"duplicates": 1, "overpaid_fen": 1}, rates={"duplicate": 1e-6})
    text = printed(comparison_table([planted]))
    assert "0.01" in text
    assert "<0.001 %" in text


WORST = [
    run(
        "a_very_long_$trategy_name$_of_forty_chars",
        "inconclusive",
        canary=True,
        profile="a-rather-long-profile-name",
        seed=123_456_789,
        obligations={
            "duplicates": 999_999,
            "overpaid_fen": 999_999,
            "missed": 1_000_000,
            "missed_fen": 99_999_999_999,
            "reviews": 999_999,
        },
        rates={"duplicate": 1e-6},
        unknown={"peak": 999_999, "age_p95_s": 1234.0},
        time_to_paid_s={"p95": 98_765.0},
    ),
    run("lease-fenced+failover-after-proof", "inconclusive", rates={"duplicate": 0.99999}),
    run("x" * 40, obligations={"overpaid_fen": 99_999_999, "missed": 1, "missed_fen": 999_999}),
    run("派息[red]锁+y"),
]


def test_the_worst_table_fits_80_columns_uncut() -> None:
    """Neither long names nor wide numbers make a line longer than 80 columns or cut a cell."""
    text = printed(table := comparison_table(WORST))
    assert too_wide(table) == []
    for whole in ("999,999", "inconclusive", "1.00 M", "1,000 M", "9,999.99", "1,000,000", "1,234 s", "[red]"):
        assert whole in text
    assert "".join(text.split()).count("x" * 14) == 2
    assert too_wide(table, width=40) != []  # the planted violation: no room


def test_names_break_after_their_plus() -> None:
    """Lock and policy stand on lines of their own where a name is too long for one."""
    lines = [line.split(" ")[0] for line in printed(comparison_table([run()])).splitlines()]
    assert "row-lock+" in lines
    assert "state-machine" in lines
    assert "cas+retry" in [
        line.split(" ")[0] for line in printed(comparison_table([run("cas+retry")])).splitlines()
    ]


def test_a_pipe_gets_plain_text() -> None:
    """Without a terminal there are no colour codes and no box-drawing; with one there is colour."""
    table = comparison_table([row for row in WORST if row["strategy"].isascii()])
    assert not_plain(table) == []
    assert not_plain(table, force_terminal=True, color_system="standard") != []


def test_numbers_that_are_missing_are_dashes() -> None:
    """A run that measured nothing, or lost the channels' books, makes a row of dashes and not of zeros."""
    bare = {"strategy": "cas+x", "verdict": "inconclusive"}
    assert printed(comparison_table([bare])).splitlines()[3].split() == ["cas+x", "inconclusive", *["-"] * 6]
    lost = run("cas+x", "inconclusive", obligations={"paid_fen": None}, time_to_paid_s={"p95": 0.0})
    assert printed(comparison_table([lost])).splitlines()[3].split() == ["cas+x", "inconclusive", *["-"] * 5, "31"]


def test_runs_of_one_strategy_are_told_apart() -> None:
    """Profile, jobs and seed are said where they differ, and nowhere else."""
    several = [run("cas+x", seed=1), run("cas+x", seed=2, settings={"jobs": "twice"}, profile="hostile")]
    text = printed(comparison_table(several))
    for said in ("seed 1", "seed 2", "jobs twice", "profile", "hostile"):
        assert said in text
    assert "seed" not in printed(comparison_table([run(), run()]))


def proof(*rows: dict[str, Any], canary: dict[str, Any] | None = None) -> str:
    """Return the table's caption and cells in one line."""
    return " ".join(printed(comparison_table(rows, canary)).split())


def entry(*duplicates: int) -> dict[str, Any]:
    """Return what compare.json says of a canary that paid so many twice, run by run."""
    runs = [
        {"users": 200, "seed": i, "verdict": "fail", "profile": "seed", "duplicates": n}
        for i, n in enumerate(duplicates)
    ]
    return {"strategy": "none+blind-failover", "duplicate": max(duplicates) / 3500, "runs": runs}


@pytest.mark.parametrize(
    ("canary", "said"),
    [
        (entry(72), "The canary (none+blind-failover, profile seed) paid 72 people twice: a fault would show."),
        (entry(1), "paid 1 person twice: a fault would show."),
        (entry(64, 72), "paid 64 to 72 people twice: a fault would show."),
        (entry(72, 0), "paid nobody twice in some runs: the others of those loads prove nothing."),
        (entry(0), "paid nobody twice: passes prove nothing."),
    ],
)
def test_the_caption_says_whether_the_canary_proved_the_load(canary: dict[str, Any], said: str) -> None:
    """Only a canary that paid twice in every run is a proof; one that did not takes the passes' worth away."""
    assert said in proof(run(), canary=canary)


def test_the_canary_proves_by_its_row_where_nothing_else_is_recorded() -> None:
    """Its own row counts the people; the same strategy that is not marked as the canary proves nothing."""
    assert "paid 71 people twice" in proof(CANARY, run())
    assert "canary" not in proof(run("none+blind-failover", "fail", obligations=PAID_TWICE))


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (
            {"reviews": 12},
            "3,010,000 of 3,010,000 yuan paid by the channels' books, 0 too much, 0 missed, 12 to review",
        ),
        (
            {**PAID_TWICE, "missed": 3, "missed_fen": 258_050, "reviews": 1, "reviews_fen": 8600},
            "3,071,920 of 3,010,000 yuan paid by the channels' books, 61,920 yuan too much, "
            "3 missed (2,580.50 yuan), 1 to review (86 yuan)",
        ),
        ({"paid_fen": None}, "the channels' books are lost: nobody knows what was paid of 3,010,000 yuan"),
    ],
)
def test_a_run_is_settled_in_one_line(told: dict[str, Any], said: str) -> None:
    """The line says what was paid of what was due, too much, too little, and what is left to people."""
    assert settled(run(obligations=told)) == said


def test_lost_books_are_not_an_unpaid_payday() -> None:
    """When the books are gone, nothing is known to be missed; books without a payment say that none was made."""
    gone = [{"check": "books", "verdict": "inconclusive", "detail": "lost"}]
    short = {"paid_fen": 0, "missed": 3500, "missed_fen": DUE}
    assert Reckoning.read(run(findings=gone, obligations=short)).lost
    assert Reckoning.read(run(findings=gone, obligations=short)).missed_fen == 0
    assert Reckoning.read(run(obligations=short)).missed_fen == DUE
    assert not Reckoning.read(run(obligations=short)).lost


def test_each_run_that_did_not_pass_gets_one_line() -> None:
    """The reasons of payout runs are worded as those of bid runs are."""
    findings = [{"check": "overpaid", "verdict": "fail", "detail": "72 obligations were paid twice."}]
    assert reasons([run(), run("none+blind-failover", "fail", findings=findings)]) == [
        "none+blind-failover: fail: overpaid: 72 obligations were paid twice."
    ]
