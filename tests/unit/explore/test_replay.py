"""Replays: a recorded schedule is followed to the letter, or as far as it goes; what differs is named."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.explore import dict_strategies as design
from tests.unit.explore.dict_world import DictSale

from oversold.explore.execution import Learned
from oversold.explore.hunt import RandomWalk
from oversold.explore.replay import LESSONS, Loose, Move, findings, moves, played, recorded, replayed
from oversold.explore.search import DepthFirst, Diverged, Pruned
from oversold.schedule import NOBODY, Broken


def schedules(sale, budget):
    """Return all executions of a sale as schedules."""
    search, found = DepthFirst(), []
    while not search.exhausted:
        search.begin()
        try:
            execution = sale.play(search, budget)
            found.append(recorded(execution, sale, next(findings(sale, execution), None), "EXHAUSTED", 1))
        except Pruned:
            pass
        search.end()
    return found


@pytest.fixture(scope="module")
def oversold():
    """Return a schedule in which two bidders read one share, and both sell it."""
    return next(each for each in schedules(DictSale(design.lost_update), 0) if each.broken)


def changed(schedule, number, **values):
    """Return the schedule with something else in one of its steps."""
    steps = [replace(step, **values) if step.number == number else step for step in schedule.steps]
    return replace(schedule, steps=tuple(steps))


def test_what_was_recorded_is_all_there(oversold):
    """A schedule tells the strategy, its scenario, its steps, what broke and where."""
    assert (oversold.kind, oversold.strategy, oversold.scenario) == (
        "bids",
        "lost_update",
        {"bidders": 2, "capacity_bids": 1},
    )
    assert oversold.broken == Broken("oversubscription", "2 sold of 1", 6)
    assert (oversold.fingerprint, oversold.versions) == ("0123", {"dict": "1"})
    assert [step.number for step in oversold.steps] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    "strategy", [design.lost_update, design.lease_lock, design.gated_lock, design.crossed_locks]
)
def test_every_schedule_can_be_followed_to_the_letter(strategy):
    """All executions with one fault, deaths and leases and deadlocks among them, are repeated step by step."""
    sale = DictSale(strategy)
    found = [each for each in schedules(sale, 1) if each.faults == 1][::7]
    assert len(found) >= 8
    for schedule in found:
        execution = replayed(sale, schedule)
        assert tuple(execution.steps) == schedule.steps


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"reply": "7"}, "step 2, bidder .: get left: it was answered '1', and '7' was recorded"),
        ({"reply": ""}, "step 2, bidder .: get left: it was answered '1', and 'nothing' was recorded"),
        ({"changed": True}, "step 2, .*: it changed nothing now, and changed something when it was recorded"),
        ({"reads": ()}, "step 2, .*: it touches dict/left now, and no key when it was recorded"),
        ({"operation": "get right"}, "step 2: bidder . is about to get left, and was to get right"),
        ({"actor": "bidder 9"}, "step 2: bidder 9 was to get left, and cannot go on: it waits, or has ended"),
        ({"choice": "lie"}, "step 2: lie cannot befall bidder .'s get left now"),
        (
            {"actor": "time", "choice": "expire", "operation": "x expires"},
            "x expires was recorded, and cannot happen",
        ),
    ],
)
def test_the_first_difference_is_named(oversold, values, complaint):
    """Whatever of a step is different, the replay stops there and says what."""
    with pytest.raises(Diverged, match=complaint):
        replayed(DictSale(design.lost_update), changed(oversold, 2, **values))


def test_the_last_reply_is_compared_as_well(oversold):
    """A difference in the last step, after which nothing is chosen, is found at the end."""
    with pytest.raises(Diverged, match="step 6"):
        replayed(DictSale(design.lost_update), changed(oversold, 6, reply="lost"))


def test_a_schedule_that_is_too_short_or_too_long_diverges(oversold):
    """An execution that goes on after the last step, or ends before it, is another one."""
    sale = DictSale(design.lost_update)
    with pytest.raises(
        Diverged, match=r"it goes on after step 4, the last one recorded: bidder . is about to set left 0"
    ):
        replayed(sale, replace(oversold, steps=oversold.steps[:4]))
    more = replace(oversold.steps[-1], number=7, operation="get left")
    with pytest.raises(Diverged, match=r"it ended after step 6, where bidder . went on with get left"):
        replayed(sale, replace(oversold, steps=(*oversold.steps, more)))


def test_another_strategy_diverges(oversold):
    """A schedule of one strategy on another one stops at the first command that is another one."""
    with pytest.raises(Diverged, match=r"step 1: bidder . is about to take left, and was to get left"):
        replayed(DictSale(design.atomic), oversold)


def test_moves_that_are_not_possible_are_skipped():
    """Moves of actors that have ended, wait or never were, and of leases that do not exist, change nothing."""
    sale = DictSale(design.gated_lock)
    wanted = [
        Move("bidder 7", "go"),
        Move("bidder 2", "go"),
        Move("bidder 1", "go"),  # it waits for the lock
        Move("time", "expire", "left expires"),
        Move("bidder 2", "go"),
    ]
    steps = sale.play(Loose(wanted), 0).steps
    assert [step.actor for step in steps] == ["bidder 2"] * 5 + ["bidder 1"] * 3


def test_the_rest_is_done_by_one_after_the_other():
    """After the moves the actor that went last goes on to its end, then the others; no fault happens any more."""
    sale = DictSale(design.lost_update, 3, 3)
    execution = sale.play(Loose([Move("bidder 1", "go"), Move("bidder 3", "go")]), 2)
    assert [step.actor for step in execution.steps] == [
        "bidder 1",
        *["bidder 3"] * 3,
        *["bidder 1"] * 2,
        *["bidder 2"] * 3,
    ]
    assert {step.choice for step in execution.steps} == {"go"}


def test_a_schedule_follows_from_its_moves():
    """Moves alone, without replies, lead to the same schedule: faults, leases and passing time included."""
    sale = DictSale(design.lease_lock, 3)
    for seed in range(20):
        try:
            execution = sale.play(RandomWalk(seed, 12), 2)
        except Pruned:  # nobody gives up
            continue
        schedule = recorded(execution, sale, None, "SAMPLED", seed)
        again = sale.play(Loose(moves(schedule)), 2)
        assert again.steps == execution.steps


@pytest.mark.parametrize(("strategy", "stalls"), [(design.kept_lock, True), (design.lease_lock, False)])
def test_a_lock_that_is_never_given_back_is_told(strategy, stalls):
    """Everybody waits until its lease ends. After a fault that is as it should be: somebody may have died."""
    sale = DictSale(strategy)
    execution = sale.play(Loose(()), 0)
    assert ("stall" in {finding.check for finding in findings(sale, execution)}) is stalls
    execution = sale.play(Loose([Move("bidder 1", "go"), Move("bidder 1", "crash_after")]), 1)
    assert "stall" not in {finding.check for finding in findings(sale, execution)}


def test_time_that_passes_by_itself_is_no_move():
    """A lease that ends because all wait for it is not chosen, so it is no move; one that just ends is."""
    sale = DictSale(design.lease_lock)
    schedule = next(
        each
        for each in schedules(sale, 1)
        if any(step.actor in NOBODY and step.choice == "go" for step in each.steps)
    )
    assert not [move for move in moves(schedule) if move.actor in NOBODY and move.choice == "go"]
    assert Move("time", "expire", "lock expires") in {
        move for each in schedules(sale, 1) for move in moves(each) if move.actor in NOBODY
    }


def test_what_broke_is_found():
    """A deadlock, an exception of the strategy's own and a broken promise are findings; a sound end has none."""

    def raising(desk):
        raise KeyError(desk.store.get("left"))

    def found(strategy, *steps):
        sale = DictSale(strategy)
        return [each.check for each in findings(sale, sale.play(Loose([Move(step, "go") for step in steps]), 0))]

    assert found(design.crossed_locks, "bidder 1", "bidder 2") == ["deadlock"]
    assert found(raising) == ["raised"]
    assert found(design.lost_update, "bidder 1", "bidder 2") == ["oversubscription"]
    assert found(design.lost_update) == []


def test_what_was_learned_of_locks_is_tried_again():
    """An execution that only taught of a lock begins anew, with a new chooser; without an end it is given up."""

    class Teacher:
        def __init__(self, lessons):
            self.lessons, self.choosers = lessons, []

        def play(self, chooser, budget):
            self.choosers.append(chooser)
            if len(self.choosers) <= self.lessons:
                raise Learned
            return "done"

    sale = Teacher(3)
    assert played(sale, object, 0) == "done"
    assert len(set(map(id, sale.choosers))) == 4
    with pytest.raises(Diverged, match="each time for another reason"):
        played(Teacher(LESSONS + 1), object, 0)
