"""The sentence on top of a page of bids: it praises nobody by luck, nobody broken, and compares like with like."""

from typing import Any

import pytest
from tests.unit.report.comparisons import CAPACITY, run

from oversold.report.page.answer import Answer
from oversold.report.page.bids import tabulate


def answer(*runs: dict[str, Any]) -> Answer:
    """Return what a page of these runs says on top."""
    table = tabulate(runs)
    return Answer(table.answer, table.pace)


def broken(name: str, **told: Any) -> dict[str, Any]:
    """Return a run of a design that is broken on purpose."""
    return {**run(name, **told), "broken": True}


def limited(name: str, by: str, **told: Any) -> dict[str, Any]:
    """Return a run whose pace something set."""
    return run(name, limits={"limited_by": by}, **told)


def test_designs_that_are_level_are_named_together() -> None:
    """A lead of less than 5 % is no lead; one of more is; of many that are level three are named."""
    near = answer(run("a", goodput=2269, p99=2930), run("b", goodput=2267, p99=2910), run("c", goodput=270))
    assert near.text == (
        "a and b sold exactly and were the fastest of the 3 that did: about 2,270 ok/s, p99 2.9 s"
    )
    both = answer(run("a", goodput=1000), run("b", goodput=960))
    assert both.text == "a and b sold exactly and were as fast as one another: about 980 ok/s, p99 500 ms"
    assert answer(run("a", goodput=1000), run("b", goodput=949)).text.startswith(
        "a sold exactly and was the faster"
    )
    crowd = answer(*(run(name, goodput=1000) for name in "abcdefg"), run("slow", goodput=1))
    assert crowd.text.startswith("a, b, c and 4 more sold exactly and were the fastest of the 8 that did: about")


def test_a_lead_that_the_seeds_differ_by_is_no_lead() -> None:
    """Designs whose ranges overlap are level however far apart their means; those that do not touch are not."""
    pace = {"a": (900, 1100), "b": (700, 901), "c": (700, 899)}
    runs = [run(name, seed=seed, goodput=each) for name, two in pace.items() for seed, each in enumerate(two)]
    said = answer(*runs).text
    assert said == "a and b sold exactly and were the fastest of the 3 that did: 800 to 1,000 ok/s, p99 500 ms"


def test_no_design_that_is_broken_on_purpose_is_praised() -> None:
    """The fastest of all is passed over for its hole; without the mark it would be the answer."""
    cheat = broken("cheat", goodput=9000)
    honest = [run("a", goodput=400), run("b", goodput=100)]
    assert answer(cheat, *honest).text.startswith("a sold exactly and was the faster of the 2 that did")
    assert answer({**cheat, "broken": False}, *honest).text.startswith("cheat sold exactly")
    assert (
        answer(cheat, run("a", over=0.1), run("b", over=0.1)).text == "Neither design kept its promise: 2 oversold"
    )


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        (
            [broken("x"), broken("y"), broken("z", over=0.1)],
            "All 3 designs are broken on purpose: 2 passed, which says nothing about their holes",
        ),
        (
            [broken("x")],
            "x sold exactly: 1,000 ok/s, p99 500 ms; but it is broken on purpose, and this says nothing about its "
            "hole",
        ),
        ([broken("x", over=0.1)], "x † oversold by 10.0 %"),
        ([broken("x", over=0.1), broken("y", over=0.2)], "Neither design kept its promise: 2 oversold"),
    ],
)
def test_where_all_are_broken_on_purpose_it_says_so(runs: list[dict[str, Any]], said: str) -> None:
    """A comparison of broken designs alone praises none, whether they pass or fail."""
    assert answer(*runs).text == said


def test_sold_exactly_means_with_every_seed() -> None:
    """Dust with one seed, or with one of the designs that are named, takes the word exactly away."""
    dust = {"capacity_fen": CAPACITY, "confirmed_fen": CAPACITY - 5}
    assert answer(run("a", seed=1), run("a", seed=2)).text.startswith("a sold exactly:")
    assert answer(run("a", seed=1), run("a", seed=2, tranche=dust)).text.startswith(
        "a sold exactly or all but dust:"
    )
    assert answer(run("a", tranche=dust), run("b", tranche=dust)).text.startswith("a and b sold all but dust")


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        (
            [limited("a", "the lanes (97% busy)"), run("b", goodput=10)],
            "The pace of the fastest, a, was set by the lanes (97 % busy), not by the design: ok/s is what this "
            "load can show.",
        ),
        (
            [limited("a", "the lanes (97% busy)"), limited("b", "the bidders' own arrival and think times")],
            "The pace of the fastest was set by the lanes or the bidders' own arrival and think times, not by the "
            "design: ok/s is what this load can show.",
        ),
        (
            [limited("a", "the lanes (97% busy)"), run("a", seed=2)],
            "In 1 of 2 runs the pace of a was set by the lanes (97 % busy), not by the design: ok/s is what this "
            "load can show.",
        ),
        ([run("a"), limited("b", "the lanes (97% busy)", goodput=10)], ""),
        ([limited("a", "the lanes (97% busy)", over=0.1)], ""),
    ],
)
def test_what_set_the_pace_of_the_fastest_is_said(runs: list[dict[str, Any]], said: str) -> None:
    """Lanes or arrival that set the pace of the fastest are named; those of others, or of failures, are not."""
    assert answer(*runs).pace == said


def test_of_several_sources_one_is_spoken_of() -> None:
    """That with most users, which is named: what was faster under a smaller load elsewhere is no rival."""
    runs = [
        run("a", source="small", users=300, goodput=9000),
        run("a", source="large", users=10_000, goodput=200),
        run("b", source="large", users=10_000, goodput=100),
    ]
    assert answer(*runs).text == (
        "large: a sold exactly and was the faster of the 2 that did: 200 ok/s, p99 500 ms at 10,000 users"
    )
    same = [run("a", source=source, goodput=goodput) for source, goodput in (("first", 10), ("second", 900))]
    assert answer(*same).text.startswith("first: a sold exactly: 10")
    assert not answer(run("a")).text.startswith(":")
