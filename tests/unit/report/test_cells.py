"""The cells of a comparison: which runs belong together, what they say together, and who comes first."""

import math
from typing import Any

import pytest
from tests.unit.report.comparisons import comparison, run

from oversold.report.cells import (
    Load,
    Spread,
    gather,
    loads,
    ordered,
    ranked,
    shown_name,
    shown_sale,
    strategies,
    worst_verdict,
    worth_showing,
)


def test_seeds_of_a_strategy_and_load_share_a_cell() -> None:
    """Three seeds make one cell; another strategy, number of users, SQL server or source makes another."""
    seeds = [run("a", seed=seed) for seed in (1, 2, 3)]
    assert [len(cell.runs) for cell in gather(seeds)] == [3]
    others = [run("b"), run("a", users=2000), run("a", sql="mariadb"), run("a", source="before")]
    assert [len(cell.runs) for cell in gather([*seeds, *others])] == [3, 1, 1, 1, 1]


def test_cells_keep_the_order_of_first_appearance_and_leave_payouts_out() -> None:
    """A payout run between runs of bids changes nothing."""
    payout = {"strategy": "blind-failover", "verdict": "fail", "obligations": {}}
    cells = gather([run("b"), payout, run("a"), run("b", seed=2)])
    assert strategies(cells) == ["b", "a"]
    assert gather([payout]) == []


def test_the_shown_name_tells_server_source_and_canary() -> None:
    """PostgreSQL goes without saying; MariaDB and the source are part of the name; only the canary is marked."""
    assert shown_name(run("version", sql="postgres")) == "version"
    cell = gather([run("version", sql="mariadb", source="before")])[0]
    assert (cell.strategy, cell.label, cell.source) == (*["version on MariaDB · before"] * 2, "before")
    assert gather([run("none", source="before")])[0].label == "none · before (canary)"
    assert shown_sale(run("none", sql="mariadb")).name == "none on MariaDB (canary)"
    assert shown_sale(run("none")).name == "none (canary)"


def test_the_shown_name_can_be_seen() -> None:
    """Control characters, line ends and halves of characters are left out of names, everything else stays."""
    assert shown_name(run("a\x00b\x1b[2J\n\ud800", source="\x07满标 Ü")) == "ab[2J · 满标 Ü"
    assert shown_sale(run("a\x00")).name == "a"
    assert shown_name(run("shop.py:Lock <b>")) == "shop.py:Lock <b>"


def test_a_load_names_only_what_differs() -> None:
    """A setting that all runs share is not said; one that differs is, of any type; a missing one is default."""
    shared = {"p": 0.1, "late": 0.15}
    same = gather([run("a", settings=shared), run("b", settings=shared)])
    assert [load.label for load in loads(same)] == ["1,000 users"]
    cells = gather(
        [
            run("a", settings={**shared, "reopen": True}),
            run("a", settings={**shared, "p": 0.05, "reopen": False}),
            run("a", settings={"late": 0.15, "p": None}),
        ]
    )
    assert [load.label for load in loads(cells)] == [
        "1,000 users, p 0.1, reopen true",
        "1,000 users, p 0.05, reopen false",
        "1,000 users, p default, reopen default",
    ]


def test_a_load_names_conditions_that_differ() -> None:
    """Lanes, round-trip time and capacity are part of the load where one comparison varies them."""
    slow, small = run("a"), run("a")
    slow["load"]["rtt_ms"] = 2.0
    small["tranche"]["capacity_fen"] = 100_000
    labels = [load.label for load in loads(gather([run("a"), slow, small]))]
    assert labels[1] == "1,000 users, capacity 10,000,000 yuan, rtt 2 ms"
    assert labels[2] == "1,000 users, capacity 1,000 yuan, rtt 0.5 ms"


def test_sources_share_their_loads() -> None:
    """What differs only between two sources is no load of its own, so that their cells stand side by side."""
    before = run("a", settings={"p": 0.1}, source="before")
    after = run("a", settings={"p": 0.05}, source="after")
    assert len(loads(gather([before, after]))) == 1
    swept = run("a", settings={"p": 0.05}, source="before")
    assert len(loads(gather([before, after, swept]))) == 2


def test_loads_come_by_users() -> None:
    """The fewest users come first, whatever was run first; the default load of `ordered` is the largest."""
    cells = gather([run("a", users=5000), run("a", users=1000), run("b", users=10_000)])
    assert loads(cells) == [Load(1000), Load(5000), Load(10_000)]
    assert strategies(ordered(cells)) == ["b"]
    assert strategies(ordered(cells, Load(1000))) == ["a"]


def test_spreads_leave_out_what_is_no_number() -> None:
    """None and NaN do not count; of nothing there is NaN and the count 0."""
    assert Spread.of([1, None, math.nan, 4.0]) == Spread(1.0, 2.5, 4.0, 2)
    nothing = Spread.of([None])
    assert math.isnan(nothing.mean)
    assert nothing.count == 0


def test_a_cell_says_the_range_of_its_runs() -> None:
    """Shares, goodput, p99, attempts and fairness come from all seeds, the verdict from the worst."""
    cell = gather(
        [
            run("a", seed=1, over=0.1, goodput=100, p99=10, attempts=1, fairness={"inversions": 0.1, "gini": 0.2}),
            run("a", seed=2, goodput=300, p99=None, attempts=2, fairness={"inversions": 0.3, "gini": None}),
        ]
    )[0]
    assert cell.verdict == "fail"
    assert cell.over == Spread(0.0, 0.05, 0.1, 2)
    assert cell.goodput == Spread(100.0, 200.0, 300.0, 2)
    assert cell.p99_ms == Spread(10.0, 10.0, 10.0, 1)
    assert cell.attempts.mean == 1.5
    assert cell.inversions == Spread(0.1, 0.2, 0.3, 2)
    assert cell.gini == Spread(0.2, 0.2, 0.2, 1)
    assert cell.worst_run["seed"] == 1


def test_old_summaries_have_no_fairness() -> None:
    """A summary of an earlier version, without fairness, outcomes or latencies, still makes a cell."""
    old = run("a")
    for key in ("latency_ms", "outcomes", "canary"):
        del old[key]
    cell = gather([old])[0]
    assert cell.inversions is None
    assert cell.gini is None
    assert cell.p99_ms.count == 0
    assert not cell.canary


def test_a_lost_ledger_is_no_share() -> None:
    """A run whose ledger is lost neither over- nor undersold as far as anyone knows."""
    lost = run("a", under=0.9, verdict="inconclusive")
    lost["findings"] = [{"check": "ledger", "verdict": "inconclusive", "detail": ""}]
    assert gather([lost])[0].under.count == 0
    assert gather([lost, run("a", under=0.2, seed=2)])[0].under.high == 0.2


@pytest.mark.parametrize(
    ("verdicts", "worst"),
    [
        (["pass", "fail", "inconclusive"], "fail"),
        (["pass", "inconclusive"], "inconclusive"),
        (["pass", "pass"], "pass"),
    ],
)
def test_the_worst_verdict_counts(verdicts: list[str], worst: str) -> None:
    """A failure outweighs a doubt, a doubt outweighs a pass."""
    assert worst_verdict(verdicts) == worst
    assert gather([run("a", seed=i, verdict=verdict) for i, verdict in enumerate(verdicts)])[0].verdict == worst


def test_the_worst_run_broke_most() -> None:
    """Of two failures the larger share counts, of equal shares the more broken checks."""
    seeds = [run("a", seed=1, over=0.1), run("a", seed=2, under=0.3), run("a", seed=3, verdict="inconclusive")]
    assert gather(seeds)[0].worst_run["seed"] == 2
    leaky = [run("a", seed=1, failed=["claim_gap"]), run("a", seed=2, failed=["claim_gap", "hold_leak"])]
    assert gather(leaky)[0].worst_run["seed"] == 2
    dusty = [run("a"), run("a", seed=2)]
    dusty[1]["tranche"]["confirmed_fen"] -= 5
    assert gather(dusty)[0].worst_run["seed"] == 2
    assert gather(leaky)[0].failed == ("claim_gap", "hold_leak")


def test_the_best_come_first_and_the_canary_last() -> None:
    """Passes by goodput at the largest load, then doubts, then failures by how badly, even under one load."""
    runs = [
        run("none", over=0.001),
        run("awful", under=0.9),
        run("bad", over=0.01),
        run("leaky", failed=["hold_leak"]),
        run("doubtful", verdict="inconclusive", goodput=9000),
        run("slow", goodput=10),
        run("fast", goodput=1000),
        run("fast", users=2000, goodput=300),
        run("faster-when-large", goodput=5),
        run("faster-when-large", users=2000, goodput=400),
        run("sometimes", goodput=9000),
        run("sometimes", users=2000, over=0.0001),
        run("mute", goodput=None),
    ]
    assert ranked(gather(runs)) == [
        "faster-when-large",
        "fast",
        "slow",
        "mute",
        "doubtful",
        "leaky",
        "sometimes",
        "bad",
        "awful",
        "none",
    ]


def test_what_is_broken_on_purpose_comes_before_the_failures_only() -> None:
    """Its pass does not outrank a doubt; a failure of it is one as any other; the canary stays last."""
    runs = [
        {**run("cheat", goodput=9000), "broken": True},
        {**run("doubtful-cheat", verdict="inconclusive"), "broken": True},
        {**run("caught", over=0.01), "broken": True},
        {**run("none", over=0.2), "broken": True},
        run("worse", under=0.5),
        run("doubtful", verdict="inconclusive"),
        run("slow", goodput=1),
    ]
    names = ["slow", "doubtful", "cheat", "doubtful-cheat", "caught", "worse", "none"]
    assert ranked(gather(runs)) == names
    assert ranked(gather([{**one, "broken": False} for one in runs]))[0] == "cheat"
    marks = {cell.strategy: (cell.broken, cell.sound, cell.label) for cell in gather(runs)}
    assert marks["cheat"] == (True, False, "cheat †")
    assert marks["none"] == (True, False, "none (canary)")
    assert marks["slow"] == (False, True, "slow")
    assert shown_sale(runs[0]).name == "cheat †"


def test_a_pass_under_a_larger_load_comes_first() -> None:
    """Goodput under different loads does not compare: who passed the larger one comes before who did not try."""
    runs = [run("small", users=300, goodput=9000), run("large", users=10_000, goodput=200)]
    assert ranked(gather(runs)) == ["large", "small"]


def test_dust_is_the_most_of_all_runs_that_prove_something() -> None:
    """A run that proves nothing may have lacked demand: what it left is no dust."""
    seeds = [run("a", seed=seed) for seed in (1, 2, 3)]
    for one, fen in zip(seeds, (5, 7, 900), strict=True):
        one["tranche"]["dust_fen"] = fen
    seeds[2]["verdict"] = "inconclusive"
    assert gather(seeds)[0].dust_fen == 7
    assert gather([run("a")])[0].dust_fen == 0


def test_rank_does_not_depend_on_the_order_of_the_runs() -> None:
    """The same runs the other way round are ranked the same."""
    runs = comparison(39, loads=2)
    assert ranked(gather(runs)) == ranked(gather(runs[::-1]))


def shown(runs: list[dict[str, Any]], most: int) -> list[tuple[str, int]]:
    """Return strategy and seed of the runs that are worth showing."""
    return [(runs[i]["strategy"], runs[i]["seed"]) for i in worth_showing(runs, most)]


def test_few_runs_are_all_worth_showing() -> None:
    """As many runs as there is room for are shown in their order, passes and second seeds too."""
    runs = [run("a"), run("b", over=0.1), run("a", seed=2)]
    assert shown(runs, 3) == [("a", 1), ("b", 1), ("a", 2)]


def test_of_many_runs_the_worst_of_each_strategy_is_shown() -> None:
    """First comes the canary, then what oversold, then what undersold, then doubts, then passes."""
    runs = [
        run("good"),
        run("good", seed=2),
        run("under", under=0.9),
        run("over", seed=1, over=0.001),
        run("over", seed=2, over=0.002),
        run("doubtful", verdict="inconclusive"),
        run("none", over=0.0001),
    ]
    assert shown(runs, 5) == [("none", 1), ("over", 2), ("under", 1), ("doubtful", 1), ("good", 1)]
    assert shown(runs, 3) == [("none", 1), ("over", 2), ("under", 1)]


def test_a_canary_that_did_not_oversell_is_shown_too() -> None:
    """It proves nothing, and that is worth seeing, however many broke more."""
    runs = [*(run(f"s{i}", over=0.1 * i) for i in range(1, 6)), run("none")]
    assert shown(runs, 3) == [("none", 1), ("s5", 1), ("s4", 1)]


def test_of_a_single_strategy_its_worst_runs_are_shown() -> None:
    """Many seeds of one strategy compete with one another."""
    runs = [run("a", seed=seed, over=seed / 100) for seed in range(1, 6)]
    assert shown(runs, 2) == [("a", 5), ("a", 4)]
