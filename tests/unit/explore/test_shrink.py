"""Shrinking: the same promise is broken by less of everything, and what remains can be followed to the letter."""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import islice
from math import inf

import pytest
from tests.unit.explore import dict_strategies as design
from tests.unit.explore.dict_world import DictSale

from oversold.errors import UsageError
from oversold.explore.hunt import portfolio
from oversold.explore.replay import Loose, Move, findings, moves, recorded, replayed
from oversold.explore.shrink import fewer_actors, fewer_switches, renamed, shrunk, size


def staged(strategy):
    """Return a stage: a function that gives the sale of a scenario, the same one for the same numbers."""
    made = cache(lambda bidders, capacity: DictSale(strategy, bidders, capacity))
    return lambda scenario: made(scenario["bidders"], scenario["capacity_bids"])


def hunted(sale, faults, check):
    """Return the first schedule that breaks a promise."""
    for chooser in islice(portfolio(1), 200):
        execution = sale.play(chooser, faults)
        for finding in findings(sale, execution):
            if finding.check == check:
                return recorded(execution, sale, finding, "VIOLATION", 1)
    raise AssertionError(f"no schedule breaks {check}")


def told(schedule):
    """Return who did what."""
    return [f"{step.actor[-1]} {step.choice} {step.operation}" for step in schedule.steps]


def small(strategy, bidders, capacity, faults, check, until=inf):
    """Hunt for a schedule, and return it and what is left of it."""
    stage = staged(strategy)
    found = hunted(stage({"bidders": bidders, "capacity_bids": capacity}), faults, check)
    return found, shrunk(stage, found, check, until)


def test_twenty_bidders_shrink_to_two():
    """Of a lost update among twenty bidders for ten shares six steps are left: the fewest that there are."""
    found, least = small(design.lost_update, 20, 10, 0, "oversubscription")
    assert len(found.steps) > 40
    assert told(least) == [
        "1 go get left",
        "2 go get left",
        "2 go set left 0",
        "2 go order of bidder 2",
        "1 go set left 0",
        "1 go order of bidder 1",
    ]
    assert least.scenario == {"bidders": 2, "capacity_bids": 1}


@pytest.mark.parametrize(
    ("strategy", "bidders", "capacity", "faults", "check", "least"),
    [
        (design.lost_update, 6, 2, 2, "oversubscription", (0, 3, 6, 2)),  # it takes no fault
        (design.unsure, 4, 2, 1, "oversubscription", (1, 4, 6, 2)),  # a lost request is put back: one too many
        (design.unsure, 4, 2, 2, "leak", (1, 2, 1, 0)),  # who dies keeps what it took
        (design.lease_lock, 4, 2, 1, "oversubscription", (1, 3, 11, 3)),
        (design.crossed_locks, 6, 3, 0, "deadlock", (0, 3, 2, 1)),
    ],
)
def test_what_is_left_is_the_least_there_is(strategy, bidders, capacity, faults, check, least):
    """Faults, bidders, shares, steps and switches go down to what the promise needs to be broken."""
    _, schedule = small(strategy, bidders, capacity, faults, check)
    assert size(schedule) == least
    assert schedule.broken.check == check


@pytest.mark.parametrize("strategy", [design.lost_update, design.lease_lock, design.crossed_locks])
def test_what_is_left_can_be_followed_to_the_letter(strategy):
    """The schedule that is handed out was run with no more budget than it has faults, so it can be replayed."""
    check = "deadlock" if strategy is design.crossed_locks else "oversubscription"
    _, least = small(strategy, 4, 2, 1, check)
    sale = staged(strategy)(least.scenario)
    assert check in [finding.check for finding in findings(sale, replayed(sale, least))]


def test_another_promise_is_not_taken_for_it():
    """A schedule that breaks two promises keeps the one that was asked for, though the other takes less."""
    leak = small(design.unsure, 4, 2, 2, "leak")[1]
    sold = small(design.unsure, 4, 2, 2, "oversubscription")[1]
    assert leak.broken.check == "leak"
    assert sold.broken.check == "oversubscription"
    assert size(leak) < size(sold)


def test_at_the_deadline_the_best_so_far_is_returned():
    """Without time nothing is tried: the schedule is the one that was found, and still breaks the promise."""
    found, least = small(design.lost_update, 6, 2, 0, "oversubscription", until=-inf)
    assert least.steps == found.steps
    assert least.broken == found.broken


def test_a_schedule_that_does_not_repeat_is_returned_as_it_is():
    """On a sound strategy no candidate breaks anything: the schedule comes back, and the replay will tell."""
    found = hunted(DictSale(design.lost_update), 0, "oversubscription")
    assert shrunk(staged(design.atomic), found, "oversubscription", inf) == found


def test_a_scenario_that_cannot_be_is_passed_over():
    """A stage that refuses small numbers only keeps the scenario large."""
    stage = staged(design.lost_update)

    def choosy(scenario):
        if scenario["bidders"] < 3:
            raise UsageError("three bidders at least")
        return stage(scenario)

    found = hunted(stage({"bidders": 5, "capacity_bids": 2}), 0, "oversubscription")
    assert shrunk(choosy, found, "oversubscription", inf).scenario["bidders"] == 3


def test_actors_are_named_in_the_order_of_their_first_steps():
    """Whoever comes first is bidder 1; who never acts comes last."""
    sale = DictSale(design.atomic, 3)
    execution = sale.play(Loose([Move("bidder 3", "go"), Move("bidder 2", "go")]), 0)
    schedule = recorded(execution, sale, None, "SAMPLED", 1)
    steps, scenario = renamed(schedule)
    assert steps[0].actor == "bidder 1"
    assert scenario == schedule.scenario
    first = dict.fromkeys(move.actor for move in steps)
    assert list(first) == sorted(first)


def test_fewer_actors_are_numbered_anew():
    """Each candidate has the bidders from 1 on without a gap, and no more shares than before."""
    found = hunted(DictSale(design.lost_update, 5, 2), 0, "oversubscription")
    for steps, scenario in fewer_actors(found):
        assert 1 <= scenario["bidders"] < 5
        assert 1 <= scenario["capacity_bids"] <= 2
        assert {move.actor for move in steps} == {f"bidder {number + 1}" for number in range(scenario["bidders"])}


def test_merged_moves_are_the_same_moves():
    """Bringing blocks together leaves out no move and makes none up."""
    found = hunted(DictSale(design.lost_update, 4, 2), 0, "oversubscription")
    candidates = list(fewer_switches(found))
    assert candidates
    assert all(Counter(steps) == Counter(moves(found)) for steps, _ in candidates)


def test_a_candidate_is_tried_once():
    """Shrinking what is as small as can be takes a bounded number of executions, and changes nothing."""
    stage = staged(design.lost_update)
    found = hunted(stage({"bidders": 2, "capacity_bids": 1}), 0, "oversubscription")
    least = shrunk(stage, found, "oversubscription", inf)
    sale = stage(least.scenario)
    before = sale.plays
    assert shrunk(stage, least, "oversubscription", inf) == least
    assert sale.plays - before < 60
