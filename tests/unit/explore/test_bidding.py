"""Bidders under the explorer: what their taps, faults and deaths leave for the checkers."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from oversold.evidence import HoldEnd, Outcome
from oversold.explore.bidding import Sale
from oversold.explore.crowd import Crowd, crowd_of
from oversold.explore.execution import Execution
from oversold.explore.naming import Naming
from oversold.explore.seams import fakes
from oversold.explore.stage import scripted
from oversold.explore.subject import Code
from oversold.explore.world import World
from oversold.model import Hold
from oversold.strategies.bids.none import NoLock
from oversold.strategies.bids.redis_lock import RedisLock
from oversold.strategies.bids.redis_lua import RedisLua
from oversold.strategies.bids.redis_queue import RedisQueue
from oversold.strategies.interface import key

pytest.importorskip("fakeredis")


class Follow:
    """Takes a list of (actor, choice); after that whatever is first."""

    def __init__(self, *moves: tuple[str, str]) -> None:
        self.moves = list(moves)

    def choose(self, options: Any, execution: Execution) -> Any:
        """Return the next one."""
        if not self.moves:
            return options[0]
        actor, choice = self.moves.pop(0)
        return next(option for option in options if (option.actor, option.choice) == (actor, choice))


def sale(
    strategy: Any, bidders: int = 2, capacity_bids: int = 1, shares: tuple[int, ...] = (1,), bids_each: int = 1
) -> Sale:
    """Return a sale on a fake Redis."""
    naming = Naming("t-1", "tranche")
    world = World(naming, bidders + 2)
    world.add("redis", fakes.seam("redis", naming))
    scripted(world.seams)
    world.sit()
    return Sale(strategy, world, "t-1", Crowd(bidders, capacity_bids, shares, bids_each), 1, Code("mine"))


def broken(subject: Sale) -> set[str]:
    """Return the names of the promises that the last execution broke."""
    return {finding.check for finding in subject.broken()}


def test_one_after_the_other_keeps_every_promise() -> None:
    """A canary that nobody disturbs sells its share once, and says the second bidder no."""
    subject = sale(NoLock)
    execution = subject.play(Follow(), 0)
    done = [step.operation for step in execution.steps]
    assert done == ["GET left", "SET left 0", "order of bidder 1", "GET left"]
    assert [tap.outcome for tap in subject.books.taps] == [Outcome.OK, Outcome.SOLD_OUT]
    assert broken(subject) == set()


def test_the_order_too_many_is_the_step_that_breaks() -> None:
    """Two who read the same stock both buy: the step told is the second order, and its reply says 2 of 1."""
    subject = sale(NoLock)
    execution = subject.play(Follow(("bidder 1", "go"), ("bidder 2", "go")), 0)
    assert "oversubscription" in broken(subject)
    step = execution.steps[subject.step_of("oversubscription") - 1]
    assert step.reply == "2 of 1 sold"
    assert step.number == len(execution.steps)


def test_two_plays_are_alike() -> None:
    """Every execution begins with the same data: the same choices give the same steps."""
    subject = sale(RedisLock)
    first = subject.play(Follow(), 0).steps
    assert subject.play(Follow(), 0).steps == first


def test_a_bidder_without_answer_taps_again() -> None:
    """Whose request is lost taps again, with a new instance over a connection that works."""
    subject = sale(NoLock, 1)
    subject.play(Follow(("bidder 1", "lost_request")), 1)
    assert [(tap.attempt, tap.outcome) for tap in subject.books.taps] == [(1, Outcome.UNKNOWN), (2, Outcome.OK)]
    assert broken(subject) == set()


def test_a_lost_reply_was_applied() -> None:
    """Whose reply is lost has changed the store all the same: an amount is gone that nobody has."""
    subject = sale(NoLock, 1)
    subject.play(Follow(("bidder 1", "go"), ("bidder 1", "lost_reply")), 1)
    assert [tap.outcome for tap in subject.books.taps] == [Outcome.UNKNOWN, Outcome.SOLD_OUT]
    assert "undersubscription" in broken(subject)


def test_who_dies_leaves_a_hold() -> None:
    """A bidder that dies says nothing more: not even its `finally` is heard, and its lock has to expire."""
    subject = sale(RedisLock)
    moves = [("bidder 1", "go")] * 2 + [("bidder 1", "crash_after")]
    execution = subject.play(Follow(*moves), 1)
    after = [step for step in execution.steps[3:] if step.actor == "bidder 1"]
    assert after == []
    assert any("time passes: lock expired" in step.operation for step in execution.steps)


def test_a_step_that_fails_gives_the_hold_back() -> None:
    """Where a step of the pipeline fails the hold is released, and the next bidder gets the share."""
    subject = sale(RedisLua)
    subject.play(Follow(("bidder 1", "go"), ("bidder 1", "step_fails")), 1)
    assert [tap.hold for tap in subject.books.taps] == [HoldEnd.RELEASED, HoldEnd.CONFIRMED]
    assert broken(subject) == set()


def test_the_consumer_serves_and_is_no_reason_to_go_on() -> None:
    """A queue's consumer decides for the bidders; that it waits for more ends the execution, not in a deadlock."""
    subject = sale(RedisQueue)
    execution = subject.play(Follow(), 0)
    assert execution.ending == ""
    assert {step.actor for step in execution.steps} == {"bidder 1", "bidder 2", "consumer"}
    assert broken(subject) == set()


def test_a_consumer_that_dies_lives_again() -> None:
    """After its death the consumer goes on from what is stored; the bid that it had popped is lost with it."""
    subject = sale(RedisQueue, 1)
    execution = subject.play(Follow(("bidder 1", "go"), ("consumer", "crash_after")), 1)
    assert execution.ending == ""
    # It taps again, since it had no answer, and is served then.
    assert [tap.outcome for tap in subject.books.taps][-1] == Outcome.OK


def test_different_amounts_are_asked_for_in_turn() -> None:
    """`shares` are what the bidders want, in turn."""
    subject = sale(NoLock, 3, 3, (2, 1))
    subject.play(Follow(), 0)
    assert [tap.outcome for tap in subject.books.taps] == [Outcome.OK, Outcome.OK, Outcome.SOLD_OUT]
    assert crowd_of(subject.scenario()) == subject.crowd


class Remembers(NoLock):
    """Takes its first bid from the stock, and trusts its own count from then on."""

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self._left: int | None = None

    def reserve(self, bid: Any) -> Hold:
        """Ask the store once."""
        if self._left is None:
            self._left = int(self._redis.decrby(key(bid.tranche_id, "left"), bid.amount_fen))
        else:
            self._left -= bid.amount_fen
            self._redis.set(key(bid.tranche_id, "left"), self._left)
        return Hold("ok" if self._left >= 0 else "sold_out")


def test_a_bid_meets_what_the_one_before_left_behind() -> None:
    """One instance makes a bidder's bids: what it remembers of the first one is wrong by the second."""
    subject = sale(Remembers, 2, 3, bids_each=2)
    # Each decrements once and orders, and then counts on by itself.
    first = [("bidder 1", "go"), ("bidder 2", "go"), ("bidder 1", "go"), ("bidder 2", "go")]
    execution = subject.play(Follow(*first), 0)
    assert "oversubscription" in broken(subject)
    assert [step.reply for step in execution.steps if step.operation == "order of bidder 2, bid 2"] == [
        "4 of 3 sold"
    ]
    assert [(tap.bidder, tap.bid) for tap in subject.books.taps] == [(0, 0), (1, 1), (0, 2), (1, 3)]
    assert crowd_of(subject.scenario()) == subject.crowd
    subject.play(Follow(), 0)
    assert "oversubscription" not in broken(subject), "one bidder after the other counts right"


def test_amounts_are_asked_for_in_turn_over_all_bids() -> None:
    """`shares` go through all first bids, then through all second ones."""
    assert [Crowd(2, 3, (2, 1, 3), 2).wanted_fen(bid) for bid in range(4)] == [200, 100, 300, 200]
    assert [list(Crowd(2, 3, (1,), 3).bids_of(bidder)) for bidder in range(2)] == [[0, 2, 4], [1, 3, 5]]


class FailsLater(NoLock):
    """Its second bid fails in its own code."""

    def reserve(self, bid: Any) -> Hold:
        """Divide by nothing, later."""
        if bid.bid_id == "bid-2":
            raise ZeroDivisionError(bid.bid_id)
        return super().reserve(bid)


def test_a_connection_that_failed_excuses_its_own_bid_only() -> None:
    """The next bid comes over a new connection: what its code raises is its own fault."""
    subject = sale(FailsLater, 1, 3, bids_each=2)
    subject.play(Follow(("bidder 1", "lost_reply")), 1)
    assert [tap.outcome for tap in subject.books.taps][:2] == [Outcome.UNKNOWN, Outcome.OK]
    assert "ZeroDivisionError" in subject.raised[0][1]


class Raises(NoLock):
    """Fails in its own code."""

    def reserve(self, bid: Any) -> Hold:
        """Divide by nothing."""
        raise ZeroDivisionError(bid.bid_id)


class Nonsense(NoLock):
    """Answers what is no Hold."""

    def reserve(self, bid: Any) -> Any:
        """Say yes."""
        return "ok"


class Swallows(NoLock):
    """Takes every exception for a no."""

    quiet: ClassVar[bool] = True

    def reserve(self, bid: Any) -> Hold:
        """Hide whatever goes wrong."""
        try:
            self._redis.get(key(bid.tranche_id, "left"))
        except Exception:  # noqa: BLE001 - that is the point
            return Hold("busy")
        return Hold("sold_out")


@pytest.mark.parametrize(("strategy", "word"), [(Raises, "ZeroDivisionError"), (Nonsense, "instead of a Hold")])
def test_what_its_own_code_raises_is_told(strategy: Any, word: str) -> None:
    """An exception of the strategy's own is never taken for an answer."""
    subject = sale(strategy, 1)
    subject.play(Follow(), 0)
    assert [who for who, _ in subject.raised] == ["bidder 1"]
    assert word in subject.raised[0][1]


def test_death_is_no_exception() -> None:
    """A strategy that swallows every exception cannot swallow its death."""
    subject = sale(Swallows, 1)
    subject.play(Follow(("bidder 1", "crash_after")), 1)
    assert [tap.outcome for tap in subject.books.taps] == [Outcome.UNKNOWN]
    assert subject.raised == []
