"""The known holes of the Redis strategies without a lock, provoked on the real server, and what mends them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import pytest
from tests.sale import Sale, Sell

from oversold.clock import SystemClock
from oversold.errors import LimitError
from oversold.model import Claim, Hold, HoldVerdict
from oversold.stores.endpoint import Endpoint
from oversold.stores.providers import connect, cut
from oversold.strategies.bids import check_then_decr, redis_watch, tokens
from oversold.strategies.bids.buckets import BUCKETS
from oversold.strategies.interface import BidStrategy, key

pytestmark = pytest.mark.servers

TOKENS = ["tokens", "tokens-returned"]


@pytest.fixture
def store(endpoints: Mapping[str, Endpoint]) -> Iterator[Any]:
    """A Redis client of nobody's lane."""
    client = connect(endpoints["redis"], SystemClock(), 0)
    yield client
    client.close()


def paused(sale: Sale, name: str, happen: Callable[[Any], Any]) -> BidStrategy:
    """Return a lane that, after its first command on a key, is paused while something happens to its client."""
    lane, clients = sale.lane_and_clients()
    client = clients["redis"]
    execute = client.execute_command

    def wrapped(*arguments: Any, **options: Any) -> Any:
        answer = execute(*arguments, **options)
        if name in arguments:
            client.execute_command = execute
            happen(client)
        return answer

    client.execute_command = wrapped
    return lane


def die(client: Any) -> None:
    """Let the process behind a client have died."""
    cut("redis", client, ConnectionResetError("died"))


# --- Between the check and the write


@pytest.mark.parametrize(
    ("name", "rival", "claim"),
    [
        ("none", "ok", Claim("open", 400)),
        ("check-then-decr", "ok", Claim("full", -300)),
        ("redis-decr", "sold_out", Claim("open", 400)),
        ("redis-lua", "sold_out", Claim("open", 400)),
    ],
)
def test_two_who_have_read_the_same_stock(
    sell: Sell, monkeypatch: pytest.MonkeyPatch, name: str, rival: HoldVerdict, claim: Claim
) -> None:
    """The known hole: both are told ok, 1300 of 1000. Mended: the later one is sold out."""
    monkeypatch.setattr(check_then_decr, "WORK_S", 0)
    sale = sell(name, 1000)
    seen: list[Hold] = []
    stock = key(sale.tranche.tranche_id, "left")
    lane = paused(sale, stock, lambda _: seen.append(sale.reserve(700)[1]))
    assert lane.reserve(sale.bid(600)) == Hold("ok")
    assert seen == [Hold(rival)]
    assert sale.claim == claim


def test_two_who_have_read_what_is_left_before_a_release(sell: Sell) -> None:
    """The known hole of no lock: what comes back between a bidder's read and its write is lost."""
    sale = sell("none", 1000)
    bid, held = sale.reserve(400)
    lane = paused(sale, key(sale.tranche.tranche_id, "left"), lambda _: sale.own.release(bid, held))
    assert lane.reserve(sale.bid(100)) == Hold("ok")
    assert sale.claim == Claim("open", 500)  # nine hundred are not sold


# --- WATCH


def overtaken(sale: Sale, store: Any, times: int) -> tuple[BidStrategy, list[str]]:
    """Return a lane that is overtaken after each of its first reads of the stock, and the list of its reads."""
    lane, clients = sale.lane_and_clients()
    client, reads = clients["redis"], cast("list[str]", [])
    pipeline = client.pipeline

    def watched() -> Any:
        transaction = pipeline()
        read = transaction.get

        def get(name: str) -> Any:
            value = read(name)
            reads.append(name)
            if len(reads) <= times:
                store.set(name, value)  # somebody else's sale of nothing
            return value

        transaction.get = get
        return transaction

    client.pipeline = watched
    return lane, reads


@pytest.mark.parametrize(
    ("times", "verdict", "reads", "left"),
    [(0, "ok", 1, 999), (3, "ok", 4, 999), (15, "ok", 16, 999), (16, "busy", 16, 1000), (99, "busy", 16, 1000)],
)
def test_watch_pays_for_each_writer(
    sell: Sell, store: Any, times: int, verdict: HoldVerdict, reads: int, left: int
) -> None:
    """The known hole: each writer costs a whole try, and after the last one all of the stock is still there."""
    sale = sell("redis-watch", 1000)
    lane, read = overtaken(sale, store, times)
    assert lane.reserve(sale.bid(1)) == Hold(verdict)
    assert len(read) == reads <= redis_watch.TRIES == 16
    assert sale.claim == Claim("open", left)


def test_watch_ends_with_the_bid(sell: Sell, store: Any) -> None:
    """A bid that is sold out watches nothing any more: what others write does not disturb the next one."""
    sale = sell("redis-watch", 1000)
    lane, reads = overtaken(sale, store, 0)
    assert lane.reserve(sale.bid(1001)) == Hold("sold_out")
    store.set(key(sale.tranche.tranche_id, "left"), 500)
    assert lane.reserve(sale.bid(500)) == Hold("ok")
    assert len(reads) == 2


# --- DECRBY


@pytest.mark.parametrize(
    ("name", "claim", "verdict"),
    [("redis-decr", Claim("full", -500), "sold_out"), ("redis-lua", Claim("open", 1000), "ok")],
)
def test_decrement_that_is_taken_back_hides_stock(
    sell: Sell, name: str, claim: Claim, verdict: HoldVerdict
) -> None:
    """The known hole: while a bid that is too big stands in the stock, one that fits is told sold out."""
    sale = sell(name, 1000)
    seen: list[tuple[Claim, Hold]] = []
    stock = key(sale.tranche.tranche_id, "left")
    lane = paused(sale, stock, lambda _: seen.append((sale.claim, sale.reserve(100)[1])))
    assert lane.reserve(sale.bid(1500)) == Hold("sold_out")
    assert seen == [(claim, Hold(verdict))]
    assert sale.reserve(100)[1] == Hold("ok")


def test_decrement_that_nobody_takes_back_leaks(sell: Sell) -> None:
    """The known hole: a crash between DECRBY and INCRBY leaves a full tranche of which nothing is sold."""
    sale = sell("redis-decr", 1000)
    lane = paused(sale, key(sale.tranche.tranche_id, "left"), die)
    with pytest.raises(ConnectionResetError):
        lane.reserve(sale.bid(1500))
    assert sale.claim == Claim("full", -500)
    assert sale.reserve(1)[1] == Hold("sold_out")


def test_script_leaves_nothing_to_take_back(sell: Sell) -> None:
    """Mended by one script: the same crash finds the stock as it was."""
    sale = sell("redis-lua", 1000)
    lane = paused(sale, key(sale.tranche.tranche_id, "left"), die)
    lane.reserve(sale.bid(1500))
    assert sale.claim == Claim("open", 1000)
    assert sale.reserve(1)[1] == Hold("ok")


@pytest.mark.parametrize("name", ["redis-decr", "redis-lua"])
def test_crash_before_the_release_leaks(sell: Sell, name: str) -> None:
    """The known hole of both: the hold of a process that died is nobody's, and stays out of the stock."""
    sale = sell(name, 1000)
    lane = paused(sale, key(sale.tranche.tranche_id, "left"), die)
    bid = sale.bid(400)
    hold = lane.reserve(bid)
    with pytest.raises(ConnectionResetError):
        lane.release(bid, hold)
    assert sale.claim == Claim("open", 600)
    assert sale.reserve(601)[1] == Hold("sold_out")


# --- Buckets


def bucket_stocks(sale: Sale, store: Any) -> list[int]:
    """Return what is in each bucket."""
    names = [key(sale.tranche.tranche_id, "left", str(bucket)) for bucket in range(BUCKETS)]
    return [int(value) for value in store.mget(names)]


@pytest.mark.parametrize(
    ("name", "told", "left"),
    [("buckets", ["ok", "sold_out", "sold_out"], 1500), ("buckets-steal", ["ok"] * 3, 1300)],
)
def test_stranded_stock(sell: Sell, name: str, told: list[HoldVerdict], left: int) -> None:
    """The known hole: an empty bucket is sold out while fifteen are full. Mended: the bid goes on to the next."""
    sale = sell(name, 100 * BUCKETS)
    assert [sale.reserve(100)[1].verdict for _ in told] == told
    assert sale.claim == Claim("open", left)


@pytest.mark.parametrize("name", ["buckets", "buckets-steal"])
def test_bid_larger_than_a_bucket(sell: Sell, name: str) -> None:
    """The known hole of both: nobody can buy more than a bucket holds, though sixteen times that is left."""
    sale = sell(name, 100 * BUCKETS)
    assert sale.reserve(101)[1] == Hold("sold_out")
    assert sale.claim == Claim("open", 1600)


def test_fragments_remain(sell: Sell) -> None:
    """The mend's known hole: 40 remain in each bucket, 640 in all, and a bid of 60 is sold out."""
    sale = sell("buckets-steal", 100 * BUCKETS)
    assert [sale.reserve(60)[1].verdict for _ in range(BUCKETS)] == ["ok"] * BUCKETS
    assert sale.reserve(60)[1] == Hold("sold_out")
    assert sale.claim == Claim("open", 640)
    assert sale.reserve(40)[1].verdict == "ok"


def test_release_behind_the_back_is_missed(sell: Sell) -> None:
    """The mend's known hole: what comes back into a bucket that was just tried is not seen."""
    sale = sell("buckets-steal", 100 * BUCKETS)
    held = [sale.reserve(100) for _ in range(BUCKETS)]
    assert sorted(str(hold.token) for _, hold in held) == sorted(str(bucket) for bucket in range(BUCKETS))
    first, hold = held[0]
    own = key(sale.tranche.tranche_id, "left", str(hold.token))
    lane = paused(sale, own, lambda _: sale.own.release(first, hold))
    assert lane.reserve(sale.bid(100)) == Hold("sold_out")
    assert sale.claim == Claim("open", 100)
    assert lane.reserve(sale.bid(100)) == Hold("ok", hold.token)


@pytest.mark.parametrize("name", ["buckets", "buckets-steal"])
def test_stock_is_split_to_the_fen(sell: Sell, store: Any, name: str) -> None:
    """The buckets hold whole units that differ by one at most; what is less than a unit lies in the first."""
    sale = sell(name, 1003, unit_fen=10)
    assert bucket_stocks(sale, store) == [73, 70, 70, 70] + [60] * 12
    assert sale.claim == Claim("open", 1003)


def test_release_goes_back_to_its_bucket(sell: Sell, store: Any) -> None:
    """What was taken from another bucket than the user's own goes back there, once, by whichever lane."""
    sale = sell("buckets-steal", 100 * BUCKETS)
    sale.reserve(100)
    before = bucket_stocks(sale, store)
    bid, held = sale.reserve(100)
    assert bucket_stocks(sale, store) != before
    assert [sale.lane().release(bid, held), sale.own.release(bid, held)] == [True, True]
    assert bucket_stocks(sale, store) == before


def test_repeated_bid_stays_in_its_bucket(sell: Sell) -> None:
    """A bid that is sent again is not charged twice, though its user's own bucket has stock again."""
    sale = sell("buckets-steal", 100 * BUCKETS)
    first, own = sale.reserve(100)
    bid, held = sale.reserve(100)
    sale.own.release(first, own)
    assert held.token != own.token
    assert sale.lane().reserve(bid) == held
    assert sale.claim == Claim("open", 1500)


def test_users_are_spread(sell: Sell) -> None:
    """Different users come to different buckets, and the same user always to the same."""
    sale = sell("buckets", 100 * BUCKETS)
    told = [[sale.own.reserve(sale.bid(1, f"u{user}")).token for _ in range(2)] for user in range(40)]
    assert all(first == second for first, second in told)
    assert len({first for first, _ in told}) > BUCKETS // 2


# --- Tokens


@pytest.mark.parametrize(
    ("name", "released", "left", "next_told"),
    [("tokens", False, 600, "sold_out"), ("tokens-returned", True, 1000, "ok")],
)
def test_no_show(sell: Sell, name: str, released: bool, left: int, next_told: HoldVerdict) -> None:
    """The known hole: who does not buy keeps the tokens, and they stay unsold. Mended: they come back."""
    sale = sell(name, 1000, unit_fen=100)
    bid, held = sale.reserve(400)
    assert sale.own.release(bid, held) is released
    assert sale.claim == Claim("open", left)
    assert sale.reserve(700)[1] == Hold(next_told)


@pytest.mark.parametrize("name", TOKENS)
def test_tokens_in_the_hands_of_a_bid_that_is_too_big(sell: Sell, name: str) -> None:
    """The known hole of both: while somebody counts too few tokens, a bid that fits is told sold out."""
    sale = sell(name, 1000, unit_fen=100)
    seen: list[tuple[Claim, Hold]] = []
    lane = paused(
        sale,
        key(sale.tranche.tranche_id, "tokens"),
        lambda _: seen.append((sale.claim, sale.reserve(100)[1])),
    )
    assert lane.reserve(sale.bid(1100)) == Hold("sold_out")
    assert seen == [(Claim("full", 0), Hold("sold_out"))]
    assert sale.claim == Claim("open", 1000)


@pytest.mark.parametrize("name", TOKENS)
def test_tokens_that_died_with_their_holder(sell: Sell, name: str) -> None:
    """The known hole of both: tokens that a bidder who crashed had in its hands are nobody's."""
    sale = sell(name, 1000, unit_fen=100)
    lane = paused(sale, key(sale.tranche.tranche_id, "tokens"), die)
    with pytest.raises(ConnectionResetError):
        lane.reserve(sale.bid(1100))
    assert sale.claim == Claim("full", 0)
    assert sale.reserve(100)[1] == Hold("sold_out")


@pytest.mark.parametrize("name", TOKENS)
def test_tokens_are_whole_units(sell: Sell, name: str) -> None:
    """A rest smaller than a unit is never sold, and a bid pays for each unit that it begins."""
    sale = sell(name, 1050, unit_fen=100)
    assert sale.claim == Claim("open", 1000)
    assert sale.reserve(150)[1] == Hold("ok")
    assert sale.claim == Claim("open", 800)
    assert sale.reserve(850)[1] == Hold("sold_out")
    assert sale.reserve(800)[1] == Hold("ok")
    assert sale.claim == Claim("full", 0)


@pytest.mark.parametrize("name", TOKENS)
def test_many_tokens(sell: Sell, name: str) -> None:
    """More tokens than one command pushes are all there."""
    assert tokens.PUSHED < 25_001
    assert sell(name, 25_001).claim == Claim("open", 25_001)


@pytest.mark.parametrize("name", TOKENS)
def test_tokens_that_redis_forgot(sell: Sell, store: Any, name: str) -> None:
    """When the keys are gone nobody knows what a bid costs: an error, no number, nothing given back."""
    sale = sell(name, 1000, unit_fen=100)
    bid, held = sale.reserve(400)
    store.delete(*store.keys(key(sale.tranche.tranche_id, "*")))
    late = sale.lane()
    assert late.reserve(sale.bid(100)) == Hold("error")
    assert late.status(sale.tranche.tranche_id) == Claim("open", None)
    assert late.release(bid, held) is False
    store.set(key(sale.tranche.tranche_id, "unit"), 100)  # planted: what is known is no error
    assert late.reserve(sale.bid(100)) == Hold("sold_out")


@pytest.mark.parametrize("name", TOKENS)
def test_too_many_tokens(sell: Sell, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit so small that there would be too many tokens is refused before anything is stored."""
    monkeypatch.setattr(tokens, "MAX_TOKENS", 100)
    with pytest.raises(LimitError, match=r"^101 tokens of 10 fen .*min_bid_fen"):
        sell(name, 1010, unit_fen=10)
    assert sell(name, 1009, unit_fen=10).claim == Claim("open", 1000)


# --- Settled once


def settle_twice(sale: Sale) -> tuple[Claim, bool]:
    """Release a confirmed hold of 40, confirm a released one of 30; return the claim and the last answer."""
    (sold, held), (returned, also_held) = sale.reserve(40), sale.reserve(30)
    assert sale.own.confirm(sold, held) is True
    sale.lane().release(sold, held)
    assert sale.own.release(returned, also_held) is True
    confirmed = sale.lane().confirm(returned, also_held)
    return sale.claim, confirmed


@pytest.mark.parametrize("name", ["tokens-returned", "buckets", "buckets-steal"])
def test_hold_is_settled_once(sell: Sell, name: str) -> None:
    """A confirmed hold gives nothing back, and a released one cannot be confirmed."""
    assert settle_twice(sell(name, 1600)) == (Claim("open", 1560), False)


@pytest.mark.parametrize("name", ["buckets", "buckets-steal"])
def test_confirmed_bid_is_charged_once(sell: Sell, name: str) -> None:
    """A bid that is sent again after it was confirmed takes nothing more, and no release makes it forgotten."""
    sale = sell(name, 1600)
    bid, held = sale.reserve(5)
    for lane in (sale.own, sale.lane()):
        assert lane.confirm(bid, held)
        assert lane.reserve(bid) == held  # the same bucket
        assert lane.release(bid, lane.reserve(bid))
    assert sale.claim == Claim("open", 1595)
    other, also_held = sale.reserve(3)
    assert sale.own.release(other, also_held)  # planted: what was not confirmed comes back
    assert sale.claim == Claim("open", 1595)


@pytest.mark.parametrize("name", ["redis-decr", "redis-watch"])
def test_hold_is_settled_twice(sell: Sell, name: str) -> None:
    """Planted: a strategy that does not mark its holds gives a sold one back, and confirms a released one."""
    assert settle_twice(sell(name, 1600)) == (Claim("open", 1600), True)
