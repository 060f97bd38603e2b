"""Every built-in bid strategy on its real server with one bidder at a time: what it promises alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from tests.sale import VARIANTS, Sale, Sell, variant_id

from oversold.model import Bid, Claim, Hold, Tranche
from oversold.plan import SQLS, Sql
from oversold.strategies.bids.none import NoLock
from oversold.strategies.interface import BidStrategy, key

pytestmark = pytest.mark.servers

HUGE_FEN = 10**16

Offer = Callable[[int], Sale]


def takes_what_fits(offer: Offer) -> None:
    """A bid that fits takes its amount."""
    sale = offer(1000)
    assert sale.claim == Claim("open", 1000)
    assert sale.reserve(300)[1].verdict == "ok"
    assert sale.claim == Claim("open", 700)


def refuses_what_does_not_fit(offer: Offer) -> None:
    """A bid that is too big is sold out and takes nothing, and a smaller one still fits."""
    sale = offer(1000)
    assert sale.reserve(1001)[1].verdict == "sold_out"
    assert sale.claim == Claim("open", 1000)
    assert sale.reserve(1)[1].verdict == "ok"
    assert sale.reserve(1000)[1].verdict == "sold_out"
    assert sale.claim == Claim("open", 999)


def is_full_at_zero(offer: Offer) -> None:
    """The last share can be had; then the tranche is full."""
    sale = offer(1000)
    assert sale.reserve(999)[1].verdict == "ok"
    assert sale.reserve(1)[1].verdict == "ok"
    assert sale.claim == Claim("full", 0)
    assert sale.reserve(1)[1].verdict == "sold_out"
    assert sale.claim == Claim("full", 0)


def gives_back_once(offer: Offer) -> None:
    """A release gives the amount back and reopens; another one, by any lane, changes nothing."""
    sale = offer(1000)
    (first, held), (second, also_held) = sale.reserve(600), sale.reserve(400)
    assert sale.claim == Claim("full", 0)
    assert sale.own.release(first, held) is True
    assert sale.claim == Claim("open", 600)
    assert sale.own.release(first, held) is True
    assert sale.lane().release(first, held) is True
    assert sale.claim == Claim("open", 600)
    assert sale.own.release(second, also_held) is True
    assert sale.claim == Claim("open", 1000)
    assert sale.reserve(1000)[1].verdict == "ok"


def confirms_again_and_again(offer: Offer) -> None:
    """A confirmed hold can be confirmed again, by any lane, and the stock stays as it is."""
    sale = offer(1000)
    bid, held = sale.reserve(250)
    assert sale.own.confirm(bid, held) is True
    assert sale.own.confirm(bid, held) is True
    assert sale.lane().confirm(bid, held) is True
    assert sale.claim == Claim("open", 750)


def keeps_tranches_apart(offer: Offer) -> None:
    """What happens to one tranche does not touch another one, even by an instance that serves both."""
    one, other = offer(1000), offer(500)
    bid, held = one.reserve(1000)
    assert other.claim == Claim("open", 500)
    assert other.reserve(400)[1].verdict == "ok"
    assert one.claim == Claim("full", 0)
    assert one.own.release(bid, held) is True
    assert (one.claim, other.claim) == (Claim("open", 1000), Claim("open", 100))
    assert one.own.status(other.tranche.tranche_id) == Claim("open", 100)


def is_exact_with_huge_amounts(offer: Offer) -> None:
    """Amounts beyond 2^53, which a floating-point number cannot hold, are counted to the fen."""
    sale = offer(HUGE_FEN)
    bid, held = sale.reserve(HUGE_FEN - 1)
    assert held.verdict == "ok"
    assert sale.claim == Claim("open", 1)
    assert sale.reserve(2)[1].verdict == "sold_out"
    assert sale.own.release(bid, held) is True
    assert sale.claim == Claim("open", HUGE_FEN)
    assert sale.reserve(HUGE_FEN)[1].verdict == "ok"
    assert sale.claim == Claim("full", 0)


def refuses_one_fen_too_much(offer: Offer) -> None:
    """A huge bid that is one fen too big is sold out."""
    sale = offer(HUGE_FEN - 1)
    assert sale.reserve(HUGE_FEN)[1].verdict == "sold_out"
    assert sale.claim == Claim("open", HUGE_FEN - 1)


class Shrinks(NoLock):
    """Says that less is left than is."""

    def status(self, tranche_id: str) -> Claim:
        claim = super().status(tranche_id)
        return Claim(claim.status, (claim.remaining_fen or 0) - 1)


class TakesAnyway(NoLock):
    """Writes the stock before it compares."""

    def reserve(self, bid: Bid) -> Hold:
        left = self._redis.decrby(key(bid.tranche_id, "left"), bid.amount_fen)
        return Hold("ok" if left >= 0 else "sold_out")


class StaysOpen(NoLock):
    """Never notices that it is full."""

    def status(self, tranche_id: str) -> Claim:
        return Claim("open", super().status(tranche_id).remaining_fen)


class GivesBackTwice(NoLock):
    """A repeated release gives back once more."""

    def release(self, bid: Bid, hold: Hold) -> bool:
        self._redis.incrby(key(bid.tranche_id, "left"), bid.amount_fen)
        return True


class ConfirmsOnce(NoLock):
    """A repeated confirm is refused."""

    def confirm(self, bid: Bid, hold: Hold) -> bool:
        return bool(self._redis.set(key(bid.tranche_id, "confirmed", bid.bid_id), 1, nx=True))


class OneStock(NoLock):
    """All tranches share one stock."""

    def open(self, tranche: Tranche) -> None:
        super().open(Tranche("shared", tranche.capacity_fen))

    def reserve(self, bid: Bid) -> Hold:
        return super().reserve(Bid(bid.bid_id, "shared", bid.user_id, bid.amount_fen))

    def status(self, tranche_id: str) -> Claim:
        return super().status("shared")


class Floats(NoLock):
    """Counts in floating point."""

    def reserve(self, bid: Bid) -> Hold:
        left = float(self._redis.get(key(bid.tranche_id, "left")) or 0)
        if left < float(bid.amount_fen):
            return Hold("sold_out")
        self._redis.set(key(bid.tranche_id, "left"), int(left - float(bid.amount_fen)))
        return Hold("ok")


PLANTED: Mapping[Callable[[Offer], None], type[BidStrategy]] = {
    takes_what_fits: Shrinks,
    refuses_what_does_not_fit: TakesAnyway,
    is_full_at_zero: StaysOpen,
    gives_back_once: GivesBackTwice,
    confirms_again_and_again: ConfirmsOnce,
    keeps_tranches_apart: OneStock,
    is_exact_with_huge_amounts: Floats,
    refuses_one_fen_too_much: Floats,
}
every_check = pytest.mark.parametrize("check", PLANTED, ids=lambda check: check.__name__)


# What a check asks for and a strategy does not promise.
EXEMPT: Mapping[str, tuple[Callable[[Offer], None], ...]] = {
    # One bid a lane at a time: its transaction stays open. It has checks of its own.
    "row-lock-held": tuple(PLANTED),
    # A bid must fit into a sixteenth of the capacity. They have checks of their own.
    "buckets": tuple(PLANTED),
    "buckets-steal": tuple(PLANTED),
    # One row, or one token, for each unit: not made for 10**16 units.
    **dict.fromkeys(
        ("skip-locked", "skip-locked-busy", "tokens", "tokens-returned"),
        (is_exact_with_huge_amounts, refuses_one_fen_too_much),
    ),
    # Its known hole: a token that was taken never comes back.
    "tokens": (gives_back_once, keeps_tranches_apart, is_exact_with_huge_amounts, refuses_one_fen_too_much),
}


def asked() -> list[tuple[Callable[[Offer], None], tuple[str, Sql]]]:
    """Return each check with each variant that promises what it asks for."""
    return [
        (check, variant) for variant in VARIANTS for check in PLANTED if check not in EXEMPT.get(variant[0], ())
    ]


@pytest.mark.parametrize(
    ("check", "variant"), asked(), ids=[f"{variant_id(variant)}-{check.__name__}" for check, variant in asked()]
)
def test_alone(sell: Sell, variant: tuple[str, Sql], check: Callable[[Offer], None]) -> None:
    """With one bidder at a time every strategy keeps every promise that it makes."""
    name, sql = variant
    check(lambda capacity_fen: sell(name, capacity_fen, sql))


@every_check
def test_broken_strategy_is_found(sell: Sell, check: Callable[[Offer], None]) -> None:
    """Planted: each check refuses a strategy that breaks what it is about."""
    with pytest.raises(AssertionError):
        check(lambda capacity_fen: sell(PLANTED[check], capacity_fen))


@pytest.mark.parametrize("name", ["buckets", "buckets-steal"])
def test_split_stock(sell: Sell, name: str) -> None:
    """Split stock adds up: what small bids take and give back is what the sum of the parts says."""
    sale = sell(name, 16_003)
    assert sale.claim == Claim("open", 16_003)
    (first, held), (second, _) = sale.reserve(300), sale.reserve(400)
    assert held.verdict == "ok"
    assert sale.claim == Claim("open", 15_303)
    assert [sale.own.release(first, held), sale.lane().release(first, held)] == [True, True]
    assert sale.claim == Claim("open", 15_603)
    assert sale.own.confirm(second, Hold("ok"))
    assert sale.lane().confirm(second, Hold("ok"))
    assert sale.reserve(16_000)[1].verdict == "sold_out"
    assert sale.claim == Claim("open", 15_603)


@pytest.mark.parametrize("sql", SQLS)
def test_held_row(sell: Sell, sql: Sql) -> None:
    """Each lane holds the row from reserve to confirm or release; the next one finds what was left."""
    sale = sell("row-lock-held", 1000, sql)
    bid, held = sale.reserve(300)
    assert held.verdict == "ok"
    assert [sale.own.confirm(bid, held), sale.lane().confirm(bid, held)] == [True, True]
    other = sale.lane()
    second = sale.bid(600)
    assert other.reserve(second).verdict == "ok"
    assert [other.release(second, Hold("ok")), sale.lane().release(second, Hold("ok"))] == [True, True]
    assert sale.claim == Claim("open", 700)
    assert sale.reserve(701)[1].verdict == "sold_out"
    last, held = sale.reserve(700)
    assert sale.own.confirm(last, held)
    assert sale.lane().status(sale.tranche.tranche_id) == Claim("full", 0)
