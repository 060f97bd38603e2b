"""Thresholds: what is read, what is refused, what is missed, and what that makes of the exit code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.unit.ci.recorded import broken, changed, comparison, several, single

from oversold.ci.exits import exit_with
from oversold.ci.metrics import METRICS, of_kind
from oversold.ci.thresholds import consistent, judged_rows, parse
from oversold.comparison import worst
from oversold.errors import Exit, UsageError

DOCUMENT = Path(__file__).parents[3] / "docs" / "ci.md"
P99 = "latency_ms.response.p99"


def rows(document, *pairs, bound="max"):
    """Return the rows of some thresholds."""
    return judged_rows(document, parse(pairs, bound))


@pytest.mark.parametrize(
    ("pair", "says"),
    [
        ("p99_ms", "write METRIC=NUMBER, as in --max p99_ms=200"),
        ("p99_ms=", "write METRIC=NUMBER"),
        ("=200", "write METRIC=NUMBER"),
        ("", "write METRIC=NUMBER"),
        ("p99_ms=200ms", "'200ms' is no number; write it without a unit"),
        ("p99_ms=fast", "'fast' is no number"),
        ("p99_ms=nan", "nan is no limit; write a finite number"),
        ("p99_ms=inf", "inf is no limit"),
        ("p99_ms=1e999", "1e999 is no limit"),
        ("p99_ms=-1", "no p99_ms is negative; write 0 or more"),
        ("undersubscription=5", "is a share of 1; write 0.05 for 5 %"),
        ("p99=200", "unknown metric 'p99' (did you mean p99_ms"),
        ("延迟=200", "unknown metric '延迟': there are oversubscription,"),
        ("duplicate=0", "bids have no duplicate"),
    ],
)
def test_what_is_no_threshold_is_refused(pair, says):
    """One line says what is wrong and what to write instead."""
    with pytest.raises(UsageError) as raised:
        parse([pair], "max", "bids")
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_metric_has_one_limit_on_either_side():
    """The same bound twice is a mistake, and so are two bounds that leave nothing between them."""
    with pytest.raises(UsageError, match="p99_ms has a --max already"):
        parse(["p99_ms=1", "p99_ms=2"], "max")
    both = (*parse(["goodput_per_s=5"], "max"), *parse(["goodput_per_s=6"], "min"))
    with pytest.raises(
        UsageError, match="--min goodput_per_s=6 and --max goodput_per_s=5: nothing is within both"
    ):
        consistent(both)
    consistent((*parse(["goodput_per_s=6"], "max"), *parse([" goodput_per_s = 6 "], "min")))


def test_a_limit_is_missed_only_beyond_it():
    """What is exactly at the limit is within it; the least bit more is not, and reads so."""
    run = changed(single(), P99, 200.0)
    (row,) = rows(run, "p99_ms=200")
    assert (row["held"], row["value"], row["limit"], row["bound"]) == (True, 200.0, 200.0, "max")
    (row,) = rows(changed(run, P99, 200.0001), "p99_ms=200")
    assert not row["held"]
    assert row["detail"] == "p99_ms 200.0001 is above 200."
    (row,) = rows(run, "p99_ms=201", bound="min")
    assert (row["held"], row["detail"]) == (False, "p99_ms 200 is below 201.")


def test_a_number_that_the_run_does_not_have_is_not_within_its_limit():
    """Null, a missing part, a latency of nobody and a ledger that was lost are no proof of anything."""
    run = single()
    never = changed(run, "load.time_to_fill_s.t100", None)
    nobody = changed(run, P99, 0.0)
    old = {key: value for key, value in run.items() if key != "fairness"}
    lost = {
        **run,
        "findings": [*run["findings"], {"check": "ledger", "verdict": "inconclusive", "detail": "Lost."}],
    }
    for document, pair in (
        (never, "time_to_fill_s=9"), (nobody, "p99_ms=9"), (old, "gini=1"), (lost, "oversubscription=0"),
    ):  # fmt: skip
        (row,) = rows(document, pair)
        assert (row["value"], row["held"]) == (None, False)
        assert row["detail"].startswith(f"The run has no {pair.partition('=')[0]}, so")
    assert rows(run, "oversubscription=0")[0]["held"]


def test_of_several_seeds_the_worst_counts():
    """One row a design and load: the seed that is farthest off, whichever side the limit is on."""
    slow = changed(changed(single(), P99, 900.0), "load.goodput_per_s", 10.0)
    document = several(single(), slow, single("memcached-cas"))
    found = {row["strategy"]: row for row in rows(document, "p99_ms=800")}
    assert (found["redis-lua"]["value"], found["redis-lua"]["seed"], found["redis-lua"]["held"]) == (
        900.0,
        2,
        False,
    )
    assert len(found) == 2
    (row,) = [row for row in rows(document, "goodput_per_s=50", bound="min") if row["strategy"] == "redis-lua"]
    assert (row["value"], row["seed"]) == (10.0, 2)


def test_a_canary_is_judged_only_where_it_is_all_there_is():
    """It must oversell, so a comparison does not hold that against the designs."""
    assert [
        row["strategy"] for row in rows(comparison("bid-burst", "none", "redis-lua"), "oversubscription=0")
    ] == ["redis-lua"]
    (row,) = rows(single("none"), "oversubscription=0")
    assert (row["strategy"], row["held"]) == ("none", False)


def test_shares_of_bids_are_worked_out():
    """The error rate is errors among all bids that tapped."""
    (row,) = rows(changed(single(), "outcomes.error", 30), "error_rate=0.1")
    assert (row["value"], row["held"]) == (0.1, True)
    (row,) = rows(changed(single(), "outcomes.error", 31), "error_rate=0.1")
    assert not row["held"]


def test_payouts_have_metrics_of_their_own():
    """A design that pays people twice misses a limit of none."""
    run = single("row-lock+query-then-retry", "payout-overlap")
    (row,) = rows(run, "duplicate=0")
    assert (row["held"], row["load"]) == (False, "700 payouts")
    assert rows(run, "missed=0")[0]["held"]


@pytest.mark.parametrize("scenario", ["bid-burst", "payout-overlap"])
def test_every_metric_is_in_a_recorded_run(scenario):
    """The places of the table are those of summary.json: a misspelt one would never have a value."""
    document = comparison(scenario)
    kind = "payouts" if scenario == "payout-overlap" else "bids"
    without = [
        each.name for each in of_kind(kind) if not any(each.of(run) is not None for run in document["runs"])
    ]
    assert without == []


@pytest.mark.parametrize("base", list(Exit))
def test_a_threshold_changes_the_exit_code_of_a_pass_alone(base):
    """A broken promise, a harness error and a doubt come first."""
    run = single()
    missed = {**run, "thresholds": rows(run, "p99_ms=1")}
    held = {**run, "thresholds": rows(run, "p99_ms=100000")}
    assert exit_with(missed, base) == (Exit.THRESHOLD if base == Exit.PASS else base)
    assert exit_with(held, base) == base
    assert exit_with(run, base) == base


def test_the_worst_of_several_codes_is_a_threshold_only_among_passes():
    """1 before 2 before 4 before 3."""
    every = [Exit.PASS, Exit.THRESHOLD, Exit.INCONCLUSIVE, Exit.USAGE, Exit.BROKEN]
    assert [worst(every[: count + 1]) for count in range(5)] == every
    assert worst([]) == Exit.PASS


def test_the_table_of_metrics_is_documented():
    """docs/ci.md has a row a metric, with its place and its meaning, as the code has it."""
    lines = [f"| {word} |" for word in ("metric | of | in summary.json | what it is", "--- | --- | --- | ---")]
    lines += [
        f"| `{each.name}` | {each.kind or 'both'} | `{each.place}`{f' / `{each.per}`' if each.per else ''} | "
        f"{each.meaning} |"
        for each in METRICS
    ]
    expected = "\n".join(lines)
    text = DOCUMENT.read_text(encoding="utf-8")
    found = re.search(r"<!-- metrics -->\n(.*?)\n<!-- /metrics -->", text, re.DOTALL)
    assert found, "the markers are missing"
    assert found[1] == expected, f"put this there:\n{expected}"


def test_a_failed_run_is_judged_as_well():
    """Its rows are there to be read, though its exit code is that of the broken promise."""
    run = broken(single())
    assert len(rows(run, "p99_ms=1", "undersubscription=0")) == 2
