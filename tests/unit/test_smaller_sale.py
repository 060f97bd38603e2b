"""After a proof one share is for sale as well: some races begin with a bidder who is told busy, and leaves."""

from __future__ import annotations

from typing import Any

import pytest

from oversold.explorations import answers, questions
from oversold.explorations.options import Typed, exploration_of
from oversold.explorations.servers import Stores, explored, explored_and_smaller
from oversold.explore.explorer import Result
from oversold.model import Hold
from oversold.stores.providers import StoreChoice
from oversold.strategies.bids.none import NoLock
from oversold.strategies.bids.redis_lua import RedisLua
from oversold.strategies.interface import key

pytest.importorskip("fakeredis")


class NotMyLock(NoLock):
    """Deletes the lock even where it has not got it."""

    def reserve(self, bid: Any) -> Hold:
        """Look and write under the lock, if it is one's own."""
        lock = key(bid.tranche_id, "lock")
        try:
            return super().reserve(bid) if self._redis.set(lock, bid.bid_id, nx=True) else Hold("busy")
        finally:
            self._redis.delete(lock)


def found(code: type[Any], **words: Any) -> tuple[questions.Exploration, Result]:
    """Explore a class on a fake Redis."""
    asked = exploration_of(Typed(code.__name__, store="fake", **words), "bids", code)
    with Stores(StoreChoice()) as servers:
        return explored_and_smaller(asked, servers, lambda result: None)


def test_what_two_shares_hide_one_share_shows() -> None:
    """Of three bidders one is told busy, and with two shares nobody is left to whom too much could be sold."""
    asked = exploration_of(Typed("NotMyLock", store="fake"), "bids", NotMyLock)
    with Stores(StoreChoice()) as servers:
        assert explored(asked, servers, lambda result: None).outcome == "EXHAUSTED"
    asked, result = found(NotMyLock)
    assert result.outcome == "VIOLATION"
    assert "--bidders 3 --capacity-bids 1" in questions.command(asked)
    assert "--budget 30s" in questions.command(asked)


def test_a_proof_tells_of_both() -> None:
    """The sentence is about what was asked for, then about the smaller sale; the command is the first's."""
    asked, result = found(RedisLua)
    assert (result.outcome, asked.scenario["capacity_bids"]) == ("EXHAUSTED", 2)
    assert "3 bidders for 2 shares oversells" in answers.said(asked, result)
    assert "Nor does any with one share for sale: " in answers.said(asked, result)
    assert answers.following(asked, result, []) == []


def test_a_size_that_was_given_is_taken_as_it_is() -> None:
    """Whoever asks for two shares gets an answer about two shares."""
    asked, result = found(NotMyLock, capacity_bids="2")
    assert (result.outcome, result.besides) == ("EXHAUSTED", "")
    assert asked.scenario["capacity_bids"] == 2


def test_no_time_left_is_no_smaller_sale(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first proof stands when the budget is over by then, or in the middle of the smaller one."""
    short = exploration_of(Typed("RedisLua", store="fake"), "bids", RedisLua)
    outcomes = [Result("EXHAUSTED", seconds=31.0)]
    monkeypatch.setattr("oversold.explorations.servers.explored", lambda *words: outcomes.pop(0))
    assert explored_and_smaller(short, None, lambda result: None)[1].besides == ""  # type: ignore[arg-type]
    outcomes = [Result("EXHAUSTED", seconds=1.0), Result("SAMPLED", runs=7, seconds=29.0)]
    result = explored_and_smaller(short, None, lambda result: None)[1]  # type: ignore[arg-type]
    assert (result.outcome, result.besides) == ("EXHAUSTED", "With one share for sale 7 were tried, and not all.")
