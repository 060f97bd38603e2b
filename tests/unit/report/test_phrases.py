"""The phrases of titles and captions: that they count right and say nothing twice."""

from typing import Any

import pytest

from oversold.report.phrases import all_or, between, clauses, made_under, nothing_proven, worst_first


@pytest.mark.parametrize(
    ("values", "said"), [([72], "72"), ([72, 64], "64 to 72"), ([3, 3], "3"), ([2, 1, 3], "1 to 3")]
)
def test_several_values_are_told_by_their_ends(values: list[int], said: str) -> None:
    """The least comes first, whatever the order; what is all the same is said once."""
    assert between(values, str) == said


def test_ends_that_read_the_same_are_said_once() -> None:
    """Rates that differ only in digits that are not shown are no range; the planted wider pair is one."""
    assert between([0.1001, 0.1002], "{:.2f}".format) == "0.10"
    assert between([0.10, 0.12], "{:.2f}".format) == "0.10 to 0.12"


def test_of_several_runs_of_one_design_the_worst_counts() -> None:
    """Names come in the order of their greatest number; a name that never had one is left out."""
    worst = worst_first([("a", 1), ("fine", 0), ("b", 3), ("a", 2), ("b", 1)])
    assert list(worst.items()) == [("b", 3), ("a", 2)]


@pytest.mark.parametrize(
    ("number", "of", "said"), [(1, 2, "1 of 2"), (2, 2, "Both"), (3, 3, "All 3"), (0, 3, "0 of 3")]
)
def test_all_are_told_from_some(number: int, of: int, said: str) -> None:
    """Two of two are both, more are all, and anything less is counted."""
    assert all_or(number, of) == said


def test_what_is_unproven_ends_the_title() -> None:
    """A title admits its inconclusive designs last, and says nothing of none."""
    assert clauses(["a oversold", "b undersold"], 1) == "a oversold; b undersold; 1 inconclusive"
    assert clauses(["a oversold"], 0) == "a oversold"
    assert nothing_proven(1) == "Nothing is proven: the run is inconclusive"
    assert nothing_proven(3) == "Nothing is proven: all 3 runs are inconclusive"


def test_conditions_say_what_was_recorded() -> None:
    """Lanes, processes, delay and seed are told as spans; zeros and what is missing are not, but seed 0 is."""
    runs = [{"load": {"lanes": 8, "rtt_ms": 0.0}, "seed": 0}, {"load": {"lanes": 1024, "processes": 2}, "seed": 2}]
    said = "5 payouts due  ·  8 to 1,024 lanes  ·  2 processes  ·  seed 0 to 2"
    assert made_under(runs, "5 payouts due", "") == said
    assert made_under([{}]) == ""


HTTP = {"http": {"ledger": "sql"}}
CLAIMS = {"http": {"ledger": None}}


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ([{}], ""),
        ([HTTP, HTTP], "over HTTP"),
        ([HTTP, {}], "1 of 2 runs over HTTP"),
        ([CLAIMS], "over HTTP, claims only"),
        ([CLAIMS, HTTP, HTTP], "over HTTP, 1 of them claims only"),
        ([CLAIMS, HTTP, {}], "2 of 3 runs over HTTP, 1 of them claims only"),
    ],
)
def test_the_path_is_said_of_those_runs_that_took_it(runs: list[dict[str, Any]], said: str) -> None:
    """One service without a ledger does not make claims of the others' ledgers."""
    assert made_under(runs) == said


def test_a_service_has_no_simulated_delay() -> None:
    """The delay is said of strategies of ours, over HTTP too, and of no service that its owner runs."""
    load = {"load": {"rtt_ms": 0.5}}
    assert made_under([{"strategy": "shop.toml", **HTTP, **load}]) == "over HTTP"
    assert made_under([{"strategy": "redis-lua", **HTTP, **load}]) == "over HTTP  ·  rtt 0.5 ms"
