"""Bids that are sent again, and queues that nobody serves."""

from __future__ import annotations

import pytest
from tests.sale import Sell

from oversold.model import Claim, Hold
from oversold.strategies.bids import redis_queue

pytestmark = pytest.mark.servers

CHARGES_ONCE = ["redis-lua", "redis-queue", "redis-stream", "rabbitmq-queue"]


@pytest.mark.parametrize("name", CHARGES_ONCE)
def test_repeated_bid_is_charged_once(sell: Sell, name: str) -> None:
    """A bid that is sent again, by any lane, gets its answer again and takes nothing more."""
    sale = sell(name, 1000)
    bid, held = sale.reserve(700)
    assert held.verdict == "ok"
    assert sale.own.reserve(bid).verdict == "ok"
    assert sale.lane().reserve(bid).verdict == "ok"
    assert sale.claim == Claim("open", 300)
    assert sale.own.release(bid, held)
    assert sale.claim == Claim("open", 1000)


@pytest.mark.parametrize("name", ["none", "check-then-decr"])
def test_repeated_bid_is_charged_twice(sell: Sell, name: str) -> None:
    """Planted: a strategy that does not know its bids takes the amount again."""
    sale = sell(name, 1000)
    bid, _ = sale.reserve(400)
    sale.own.reserve(bid)
    assert sale.claim == Claim("open", 200)


@pytest.mark.parametrize(
    "name",
    ["redis-lua", "redis-queue", "redis-stream", "rabbitmq-queue"],
)
def test_confirmed_bid_is_charged_once(sell: Sell, name: str) -> None:
    """A bid that is sent again after it was confirmed takes nothing more."""
    sale = sell(name, 1000)
    bid, held = sale.reserve(400)
    assert sale.own.confirm(bid, held)
    sale.own.reserve(bid)
    assert sale.claim == Claim("open", 600)


def test_queue_that_nobody_serves(open_sale: Sell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a consumer a bidder cannot know; the answer that comes later finds the stock taken once."""
    sale = open_sale("redis-queue", 1000)
    with monkeypatch.context() as patch:
        patch.setattr(redis_queue, "ANSWER_WAIT_S", 0.2)
        bid, held = sale.reserve(400)
        assert held == Hold("unknown")
        assert sale.own.release(bid, held) is False
    assert sale.claim == Claim("open", 1000)
    sale.consume()
    assert sale.own.reserve(bid).verdict == "ok"
    assert sale.reserve(500)[1].verdict == "ok"
    assert sale.claim.remaining_fen == 100


def test_queue_answers_the_latest_request(open_sale: Sell, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that came too late is not taken for the answer to a later request of the same bid."""
    sale = open_sale("redis-queue", 1000)
    with monkeypatch.context() as patch:
        patch.setattr(redis_queue, "ANSWER_WAIT_S", 0.1)
        bid, held = sale.reserve(400)
        sale.own.release(bid, held)
        rival, _ = sale.reserve(1000)
    sale.consume()
    assert sale.own.reserve(rival).verdict == "ok"
    assert sale.own.reserve(bid).verdict == "sold_out"
