"""The exhaustive search: what it leaves out it has seen, on every small case, and mutants of it are caught."""

from __future__ import annotations

import pytest
from tests.unit.explore import dict_strategies as design
from tests.unit.explore.dict_strategies import programs, scripted
from tests.unit.explore.dict_world import DictSale, explored

from oversold.explore import search as module
from oversold.explore.execution import Execution, Pruned
from oversold.explore.operation import Operation, meet
from oversold.explore.search import DepthFirst, Diverged

CASES = [
    (design.lost_update, 2, 0),
    (design.lost_update, 2, 1),
    (design.lost_update, 3, 0),
    (design.atomic, 3, 0),
    (design.atomic, 2, 1),
    (design.cas, 2, 1),
    (design.spin_lock, 2, 0),
    (design.lease_lock, 2, 1),
    (design.hasty_lock, 2, 1),
    (design.timed_lock, 2, 1),
    (design.gated_lock, 3, 0),
    (design.gated_lock, 2, 1),
    (design.crossed_locks, 3, 0),
    (design.crossed_locks, 2, 1),
    (design.unsure, 2, 1),
]
# Each of these was once searched wrongly: a race behind a race, a fault behind another actor's step, a deadlock
# that was the end, a loop that two keys can end.
HARD = [
    (("add x, add z", "add z", "add z, add x"), 0),
    (("if x, get x", "if x, set x", "if x"), 0),
    (("set y, get y", "if x, if y", "if y"), 0),
    (("spin x, spin x", "get x, spin x"), 0),
    (("wait x y, wait y", "add x", "add y, add y"), 0),
    (("wait x y", "add x", "add y, wait y"), 0),
    (("set y, add x", "wait x y", "set x"), 0),
    (("wait x y, set y", "set y, set y, wait x y"), 1),
    (("lock a, lock b, unlock b, unlock a", "lock b, lock a"), 0),
    (("hasty x", "hasty x", "add y"), 1),
    (("timed x", "timed x", "get x"), 1),
]


def differs(strategy, bidders, budget=0, search=None):
    """Tell whether a search reaches other executions, up to the order of independent steps, than all there are."""
    reduced = explored(DictSale(strategy, bidders), budget, search=search)
    whole = explored(DictSale(strategy, bidders), budget, search=DepthFirst(reduction=False))
    return reduced.traces != whole.traces or reduced.ends != whole.ends


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "bidders", "budget"), CASES)
def test_what_is_left_out_was_seen(strategy, bidders, budget):
    """With and without reduction the same ends and the same orders of dependent steps are reached."""
    assert not differs(strategy, bidders, budget)


@pytest.mark.parametrize(("lines", "budget"), HARD)
def test_hard_cases_are_searched_whole(lines, budget):
    """Cases that an earlier search got wrong are searched whole."""
    assert not differs(scripted(*lines), len(lines), budget)


@pytest.mark.parametrize("seed", range(24))
def test_programs_at_random_are_searched_whole(seed):
    """Programs that nobody has thought of are searched whole: reads, writes, locks, leases, loops, faults."""
    bidders, budget, longest = [(2, 0, 4), (2, 1, 2), (3, 0, 2)][seed % 3]
    assert not differs(scripted(*programs(seed, bidders, longest)), bidders, budget)


@pytest.mark.parametrize("seed", range(8))
def test_who_gives_up_is_searched_whole(seed):
    """Programs that wait for a lock for some time only, and then do something else, are searched whole."""
    assert not differs(scripted(*programs(seed, 2, 1, design.IMPATIENT)), 2, 1)


@pytest.mark.parametrize("strategy", [design.hasty_lock, design.timed_lock])
def test_who_waits_may_give_up(strategy):
    """Who goes on without the lock after some time oversells, which takes one fault; who never does, does not."""
    sold = {len(end[2]) for end in explored(DictSale(strategy), 1).ends}
    assert max(sold) == 2
    assert max(len(end[2]) for end in explored(DictSale(strategy), 0).ends) == 1
    assert max(len(end[2]) for end in explored(DictSale(design.spin_lock), 1).ends) == 1


def test_the_reduction_is_worth_it():
    """Three bidders of a design with one command take 3! orders, and not more; every execution is another one."""
    found = explored(DictSale(design.atomic, 3))
    assert (found.executions, found.pruned) == (6, 0)
    whole = explored(DictSale(design.atomic, 3), search=DepthFirst(reduction=False))
    assert whole.executions > len(whole.traces) == 6


def never(one, other):
    """Nothing depends on anything."""
    return False


def without_reads(one, other):
    """Only writes depend on one another."""
    return meet(one.writes, other.writes)


def one_sided(one, other):
    """What the first reads and the other writes is forgotten."""
    return meet(one.writes, other.keys)


@pytest.mark.parametrize("mutant", [never, without_reads, one_sided])
def test_a_wrong_dependence_is_caught(mutant, monkeypatch):
    """A search that takes dependent steps for independent ones misses something on the cases above."""
    monkeypatch.setattr(module, "dependent", mutant)
    assert any(differs(*case) for case in CASES[:6])


class NeverWakes(DepthFirst):
    """Who sleeps is not woken by what depends on it."""

    @staticmethod
    def _asleep(parent):
        return {option.key: option for option in [*parent.sleeping.values(), *parent.done]}


class Incurious(DepthFirst):
    """No race is looked for."""

    def _races(self, options, before):
        pass


class Hasty(DepthFirst):
    """Who waits at the end is not looked at."""

    def end(self):
        self._execution.waiting = ()
        super().end()


class OneRace(DepthFirst):
    """Only the last race is looked at, and only its own actor is tried there, as in the first version."""

    def _race(self, option, before):
        for place in range(len(self._stack) - 1, -1, -1):
            node = self._stack[place]
            late = place >= before.get(node.chosen.actor, 0)
            if late and node.chosen.actor != option.actor and not module.commute(node.chosen, option):
                same = [each.key for each in node.options if (each.actor, each.choice) == (option.actor, "go")]
                node.wanted.update(same or (each.key for each in node.options))
                return


@pytest.mark.parametrize("mutant", [NeverWakes, Incurious, Hasty, OneRace])
def test_a_wrong_search_is_caught(mutant):
    """A search that wakes nobody, sees no race, forgets a deadlock or stops at one race misses something."""
    cases = [(scripted(*lines), len(lines), budget) for lines, budget in HARD]
    assert any(differs(*case, search=mutant()) for case in [(design.crossed_locks, 2, 0), *cases])


def test_a_deadlock_is_found():
    """Two locks in two orders end in a deadlock for some schedule, and one order of locks for none."""
    endings = {end[0] for end in explored(DictSale(design.crossed_locks, 2)).ends}
    assert endings == {"", "deadlock"}
    assert {end[0] for end in explored(DictSale(design.gated_lock, 2)).ends} == {""}


def test_what_never_ends_is_a_livelock():
    """An actor that goes on for ever is stopped, and told."""
    sale = DictSale(design.for_ever, 1)
    search = DepthFirst()
    search.begin()
    assert sale.play(search, 0).ending == "livelock"


def every_step(strategy, bidders, budget):
    """Return the steps of all executions, in the order of the search, and the place of those cut off."""
    sale, search, found = DictSale(strategy, bidders), DepthFirst(), []
    while not search.exhausted:
        search.begin()
        try:
            found.append(tuple(sale.play(search, budget).steps))
        except Pruned:
            found.append(len(found))
        search.end()
    return found


def test_the_same_choices_give_the_same_schedules():
    """Two searches walk through the same executions in the same order."""
    first, again = (every_step(design.lease_lock, 2, 1) for _ in range(2))
    assert first == again
    assert len(set(first)) == len(first) > 10


def test_hidden_state_diverges():
    """A strategy that counts its calls outside of its context is told by the step at which it went another way."""
    calls = []

    def hidden(desk):
        calls.append(desk.number)
        desk.store.get("left")
        desk.store.set(f"key{len(calls)}", 1)
        return False

    with pytest.raises(
        Diverged, match=r"at step 2, after the same steps and replies: bidder 1 was about to set key2 "
    ):
        every_step(hidden, 2, 0)


def test_a_run_that_ends_early_diverges():
    """A strategy that stops where it had gone on before is told as well."""
    calls = []

    def tired(desk):
        calls.append(desk.number)
        if len(calls) == 1:
            desk.store.get("left")
        return False

    sale, search = DictSale(tired, 1), DepthFirst()
    search.begin()
    sale.play(search, 0)
    search.begin()
    sale.play(search, 0)
    with pytest.raises(Diverged, match="it ended after 0 steps"):
        search.end()


def test_a_loop_is_not_repeated_for_nothing():
    """Who asks for a lock again and again asks once more only when it was changed; two pauses in a row are one."""

    def patient(desk):
        while not desk.store.new("lock", 1):
            desk.sleep(0.01)
            desk.sleep(0.02)
        desk.store.set("other", 1)
        desk.store.delete("lock")
        return False

    sale, search = DictSale(patient, 2), DepthFirst(reduction=False)
    while not search.exhausted:
        search.begin()
        steps = sale.play(search, 0).steps
        search.end()
        assert sum(step.operation == "new lock" for step in steps) <= 3


@pytest.mark.parametrize("reads", ["dict/*", "*"])
def test_a_loop_over_a_pattern_goes_on_when_one_key_of_it_changes(reads):
    """Who waits for any key of a table sees the change of one of them."""

    def strategy(desk):
        if desk.number == 2:
            desk.store.set("flag", 1)
            return False
        for _ in range(3):
            desk.store._port.ask(Operation("look", "look", frozenset({reads})))
            desk.store._port.reply("looked", changed=False)
            desk.sleep(1)
        return False

    class Looker:
        """Lets bidder 1 look first."""

        def choose(self, options, execution: Execution):
            return next((option for option in options if option.actor == "bidder 1"), options[0])

    steps = DictSale(strategy, 2).play(Looker(), 0).steps
    assert [step.actor for step in steps[:4]] == ["bidder 1", "bidder 2", "bidder 1", "time"]
