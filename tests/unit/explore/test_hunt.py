"""Hunting: schedules are drawn from a seed, by chance or by priorities, and faults among them."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice, pairwise

import pytest
from tests.unit.explore import dict_strategies as design
from tests.unit.explore.dict_strategies import scripted
from tests.unit.explore.dict_world import DictSale

from oversold.explore.execution import Pruned
from oversold.explore.hunt import LENGTH, Pct, RandomWalk, portfolio


def drawn(choosers, strategy=design.lease_lock, bidders=3, faults=1):
    """Return the steps that each chooser draws, but where nobody who was to give up did."""
    sale, found = DictSale(strategy, bidders), []
    for chooser in choosers:
        with suppress(Pruned):
            found.append(tuple(sale.play(chooser, faults).steps))
    return found


def switches(steps):
    """Return how often another actor goes on."""
    return sum(one.actor != other.actor for one, other in pairwise(steps))


def test_the_same_seed_draws_the_same_schedules():
    """Two portfolios of one seed draw the same, those of two seeds do not."""
    first, again, other = (drawn(islice(portfolio(seed), 24)) for seed in (7, 7, 8))
    assert first == again
    assert first != other


@pytest.mark.parametrize("make", [RandomWalk, lambda seed: Pct(seed, 3)], ids=["walk", "pct"])
def test_two_seeds_draw_two_schedules(make):
    """A chooser of another seed chooses otherwise, and one of the same seed does not."""
    assert len(set(drawn([make(seed) for seed in range(12)]))) > 6
    assert len(set(drawn([make(5) for _ in range(4)]))) == 1


def test_the_portfolio_goes_round():
    """By chance, then by priorities of depth one, two and three, and again."""
    choosers = list(islice(portfolio(1), 8))
    assert [(type(each), getattr(each, "depth", 0)) for each in choosers] == 2 * [
        (RandomWalk, 0),
        (Pct, 1),
        (Pct, 2),
        (Pct, 3),
    ]


def test_the_portfolio_learns_how_long_executions_are():
    """The first chooser expects a guess, the next ones what those before them took."""
    sale, lengths = DictSale(design.atomic, 3), []
    for chooser in islice(portfolio(1), 6):
        lengths.append(chooser.length)
        sale.play(chooser, 0)
    assert lengths[0] == LENGTH
    assert set(lengths[1:]) == {4}  # three take, one of them writes an order


@pytest.mark.parametrize("seed", range(8))
def test_depth_one_goes_on_with_whom_it_began(seed):
    """Without moments of change, and where nobody waits, every actor runs to its end in one go."""
    (steps,) = drawn([Pct(seed, 1)], design.lost_update, 4, 0)
    assert switches(steps) == 3


def test_chance_does_not():
    """The check above would see somebody interrupted: drawn by chance, somebody is."""
    assert max(switches(steps) for steps in drawn(map(RandomWalk, range(8)), design.lost_update, 4, 0)) > 3


@pytest.mark.parametrize("seed", range(8))
def test_depth_two_interrupts_at_most_once(seed):
    """One moment of change interrupts at most one actor."""
    (steps,) = drawn([Pct(seed, 2, 9)], design.lost_update, 3, 0)
    assert switches(steps) in (2, 3)


def test_depth_two_finds_what_depth_one_cannot():
    """A lost update takes one interruption: priorities alone never oversell, a moment of change does soon."""
    sale, sold = DictSale(design.lost_update, 2), {1: 0, 2: 0}
    for depth in sold:
        for seed in range(30):
            sale.play(Pct(seed, depth, 6), 0)
            sold[depth] += len(sale.books.orders) > 1
    assert sold[1] == 0
    assert sold[2] >= 3  # one of 2 * 6 at the least, in the long run


def test_who_waits_in_a_loop_lets_others_go_on():
    """A loop that changes something in each turn, and would hold the highest priority for ever, goes behind."""

    def strategy(desk):
        if desk.number == 1:
            desk.store.set("go", 1)
            return False
        while not desk.store.get("go"):
            desk.store.add("turns", 1)
            desk.sleep(0.01)
        return False

    sale = DictSale(strategy, 2)
    assert {sale.play(Pct(seed, 1), 0).ending for seed in range(8)} == {""}


def test_faults_stay_within_the_budget():
    """None without a budget, at most the budget with one; some executions have all, some have none."""
    for budget in (0, 1, 2):
        counts = [
            sum(step.choice != "go" for step in steps) for steps in drawn(islice(portfolio(3), 60), faults=budget)
        ]
        assert (min(counts), max(counts)) == (0, budget)


def test_every_kind_of_fault_is_drawn():
    """Deaths, lost requests, lost replies, leases that end: each of them is drawn in a hundred executions."""
    kinds = {step.choice for steps in drawn(islice(portfolio(1), 100)) for step in steps}
    assert kinds == {"go", "crash_after", "lost_request", "lost_reply", "expire"}


def test_rare_kinds_have_the_same_chance():
    """With many bidders there are many commands to lose and one lease to end: it ends as often as one is lost."""
    found = [step.choice for steps in drawn(islice(portfolio(1), 40), bidders=8) for step in steps]
    assert 3 * found.count("expire") > found.count("lost_request") > 0


def test_a_broken_design_is_found_among_many_bidders():
    """Twenty bidders for ten shares: the portfolio oversells within its first round."""
    sale = DictSale(design.lost_update, 20, 10)
    found = []
    for chooser in islice(portfolio(1), 4):
        sale.play(chooser, 0)
        found += sale.broken()
    assert found


def test_a_sound_design_is_not():
    """The same on a design that asks and takes in one step finds nothing."""
    sale = DictSale(design.atomic, 20, 10)
    for chooser in islice(portfolio(1), 40):
        sale.play(chooser, 0)
        assert sale.broken() == []


def test_a_program_without_a_step_is_no_problem():
    """Where nobody does anything, nothing is chosen and nothing is learned of lengths."""
    sale = DictSale(lambda desk: False, 2)
    choosers = portfolio(1)
    for _ in range(5):
        chooser = next(choosers)
        assert sale.play(chooser, 1).steps == []
        assert chooser.length == LENGTH
    assert sale.play(Pct(1, 3, 1), 0).ending == ""
    assert DictSale(scripted("get x"), 1).play(Pct(1, 3, 1), 2).ending == ""
