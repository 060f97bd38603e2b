"""The contracts that plug-in authors import: sound strategies keep them, each broken rule is told by its test."""

from __future__ import annotations

import random
import time as clock_of_its_own
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa

from oversold import scaffold
from oversold.conformance import BidStrategyContract, PayoutStrategyContract
from oversold.conformance.bids import offering
from oversold.conformance.payouts import opening
from oversold.errors import LimitError, UsageError
from oversold.model import Bid, Claim, Hold, Job, Payday, PayoutState, Tranche
from oversold.stores.endpoint import Endpoint
from oversold.strategies.bids.conditional_update import ConditionalUpdate
from oversold.strategies.bids.none import NoLock
from oversold.strategies.bids.redis_lua import RedisLua
from oversold.strategies.bids.row_lock import RowLock
from oversold.strategies.interface import Context, key
from oversold.strategies.payouts import composed
from oversold.strategies.payouts.interface import PayoutContext

pytestmark = pytest.mark.servers
UNSERVED = ("has_the_interface", "takes_time_and_chance_from_its_context")  # tests that need no server
Sound = composed.load("row-lock+unique-outbox")


@pytest.fixture(scope="session")
def oversold_stores(endpoints: Mapping[str, Endpoint]) -> Mapping[str, Endpoint]:
    """The servers of this repository's tests, in place of the plug-in's own."""
    return endpoints


class TestBidsInRedis(BidStrategyContract):
    """A sound strategy keeps every rule."""

    strategy = "redis-lua"


class TestBidsBehindAQueue(BidStrategyContract):
    """One with a consumer does, too."""

    strategy = "redis-queue"
    test_a_race_sells_no_more_than_there_is = None
    test_a_race_of_releases_gives_back_once = None


class TestBidsInMariadb(BidStrategyContract):
    """Where a contract says so, its SQL server is MariaDB."""

    strategy = ConditionalUpdate
    sql = "mariadb"
    lanes = 4


class TestPayouts(PayoutStrategyContract):
    """A sound payout strategy keeps every rule."""

    strategy = Sound


# --- Bids: each rule has somebody who breaks it


class NoRelease:
    """It cannot release."""

    stores = frozenset({"redis"})
    open = reserve = confirm = status = print


class OwnClock(RedisLua):
    """It looks at a clock of its own, which no scheduler could decide."""

    def confirm(self, bid: Bid, hold: Hold) -> bool:
        clock_of_its_own.sleep(0)
        return super().confirm(bid, hold)


class Shrinks(RedisLua):
    """It says that less is left than is."""

    def status(self, tranche_id: str) -> Claim:
        claim = super().status(tranche_id)
        return Claim(claim.status, (claim.remaining_fen or 0) - 1)


class TakesAnyway(NoLock):
    """It writes the stock before it compares."""

    def reserve(self, bid: Bid) -> Hold:
        left = self._redis.decrby(key(bid.tranche_id, "left"), bid.amount_fen)
        return Hold("ok" if left >= 0 else "sold_out")


class StaysOpen(RedisLua):
    """It never notices that it is full."""

    def status(self, tranche_id: str) -> Claim:
        return Claim("open", super().status(tranche_id).remaining_fen)


class GivesBackTwice(RedisLua):
    """A repeated release gives back once more."""

    def release(self, bid: Bid, hold: Hold) -> bool:
        self._redis.incrby(key(bid.tranche_id, "left"), bid.amount_fen)
        return True


class ConfirmsOnce(RedisLua):
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


class Remembers(RedisLua):
    """It keeps in the instance what it saw first."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._seen: dict[str, Claim] = {}

    def status(self, tranche_id: str) -> Claim:
        return self._seen.setdefault(tranche_id, super().status(tranche_id))


class KeepsItsLock(NoLock):
    """Whoever reserved first keeps the others out."""

    def reserve(self, bid: Bid) -> Hold:
        me = self._redis.client_id()
        self._redis.set(key(bid.tranche_id, "lock"), me, nx=True)
        if int(self._redis.get(key(bid.tranche_id, "lock")) or 0) != me:
            return Hold("busy")
        return super().reserve(bid)


class LeavesOpen(RowLock):
    """It reads, and leaves the transaction open."""

    def status(self, tranche_id: str) -> Claim:
        claim = super().status(tranche_id)
        self._sql.execute(sa.text("SELECT 1"))
        return claim


class Floats(NoLock):
    """It counts in floating point."""

    def reserve(self, bid: Bid) -> Hold:
        left = float(self._redis.get(key(bid.tranche_id, "left")) or 0)
        if left < float(bid.amount_fen):
            return Hold("sold_out")
        self._redis.set(key(bid.tranche_id, "left"), int(left - float(bid.amount_fen)))
        return Hold("ok")


class ChecksBeforeItGivesBack(RedisLua):
    """It looks whether a hold was released, and notes that only when it has given back."""

    def release(self, bid: Bid, hold: Hold) -> bool:
        mark = key(bid.tranche_id, "released", bid.bid_id)
        if self._redis.get(mark) is None:
            self._redis.incrby(key(bid.tranche_id, "left"), bid.amount_fen)
            self._redis.set(mark, 1)
        return True


class Yes(RedisLua):
    """It answers a word."""

    def reserve(self, bid: Bid) -> Any:
        return "yes"


class Maybe(RedisLua):
    """It answers nothing."""

    def release(self, bid: Bid, hold: Hold) -> Any:
        return None


class Halves(RedisLua):
    """It claims half a fen."""

    def status(self, tranche_id: str) -> Claim:
        return Claim("open", 999.5)  # type: ignore[arg-type]


BROKEN: list[tuple[type[Any], str, str]] = [
    (NoRelease, "has_the_interface", "no method release"),
    (OwnClock, "takes_time_and_chance_from_its_context", "it uses time"),
    (Shrinks, "takes_what_fits", "to the fen.*999 fen left, where 1000"),
    (TakesAnyway, "refuses_what_does_not_fit", "after a bid of 1001 fen was refused"),
    (StaysOpen, "is_full_when_all_is_held", "says full when all is held.*says open with 0"),
    (GivesBackTwice, "gives_back_once", "released once more.*1200 fen left|open with 1200 fen"),
    (ConfirmsOnce, "confirms_again_and_again", "confirmed twice, it answered False"),
    (OneStock, "keeps_tranches_apart", "fits into what is left is held|another tranche"),
    (Remembers, "lanes_share_one_stock", "after another lane took 600 fen"),
    (KeepsItsLock, "lanes_share_one_stock", "leaves nothing locked.*busy"),
    (LeavesOpen, "leaves_no_transaction_open", "after status its SQL connection"),
    (Floats, "counts_huge_amounts_to_the_fen", "."),
    (NoLock, "a_race_sells_no_more_than_there_is", "no more is held than there is"),
    (ChecksBeforeItGivesBack, "a_race_of_releases_gives_back_once", "released the same hold at once"),
    (Yes, "takes_what_fits", "answers a Hold.*'yes'"),
    (Maybe, "gives_back_once", "True or False.*None"),
    (Halves, "takes_what_fits", "whole fen or None.*999.5"),
]


def contract(kind: type[Any], strategy: object, **more: Any) -> Any:
    """Return a contract about a strategy, as an author writes it."""
    return type("TestPlanted", (kind,), {"strategy": strategy, **more})


def held_to(test: Any, name: str, *arguments: Any) -> None:
    """Run one test of a contract."""
    getattr(test(), f"test_{name}")(*arguments)


@pytest.mark.parametrize(("strategy", "name", "told"), BROKEN, ids=lambda each: getattr(each, "__name__", ""))
def test_a_broken_bid_strategy_is_told_which_rule(
    endpoints: Mapping[str, Endpoint], strategy: type[Any], name: str, told: str
) -> None:
    """Planted: each breaks one rule, and the test of that rule says so and what happened."""
    planted = contract(BidStrategyContract, strategy)
    with ExitStack() as stack:
        needs = [] if name in UNSERVED else [stack.enter_context(offering(planted, endpoints))]
        with pytest.raises(AssertionError, match=f"(?s){told}"):
            held_to(planted, name, *needs)


def test_every_rule_has_somebody_who_breaks_it() -> None:
    """No test of a contract is there that nothing planted has ever failed."""
    for kind, broken in ((BidStrategyContract, BROKEN), (PayoutStrategyContract, BROKEN_PAYOUTS)):
        tests = {name.removeprefix("test_") for name in vars(kind) if name.startswith("test_")}
        assert tests == {name for _, name, _ in broken}


# --- Payouts


class NoState:
    """It does not say what it believes."""

    stores = frozenset({"sql"})
    open = run_job = reconcile = print


class Draws(Sound):
    """It draws lots that nobody can repeat."""

    def run_job(self, job: Job) -> None:
        random.random()
        super().run_job(job)


class ForgetsOne(Sound):
    """It believes that the first obligation of a job is paid."""

    def run_job(self, job: Job) -> None:
        if row := self._lock.claim(job):  # of a job that comes late nothing may be left
            self._desk.paid(row, "A")
        super().run_job(job)


class Payroll:
    """The smallest: it pays what is DUE, one after the other, and marks it."""

    stores: ClassVar[frozenset[str]] = frozenset({"sql"})
    due = "SELECT obligation_id, user_id, amount_fen FROM obligations WHERE payday_id = :p AND kind = :k"
    again = " AND status = 'DUE' ORDER BY 1 LIMIT 1"

    def __init__(self, context: PayoutContext) -> None:
        self.sql, self.channel = context.sql, context.channels["A"]

    def open(self, payday: Payday) -> None:
        """Nothing to prepare."""

    def rows(self, job: Job) -> Iterator[Any]:
        """Yield what is due, until nothing is; the first worker does it all."""
        while not job.worker and (row := self.first(job)):
            self.sql.commit()
            yield row
        self.sql.commit()

    def first(self, job: Job) -> Any:
        """Return the next one."""
        return self.sql.execute(sa.text(self.due + self.again), {"p": job.payday_id, "k": job.kind}).first()

    def run_job(self, job: Job) -> None:
        """Pay, then mark."""
        for ref, user, fen in self.rows(job):
            self.pay(ref, user, fen)
            self.mark(ref, "PAID")

    def pay(self, ref: str, user: str, fen: int) -> None:
        """Call the channel."""
        self.channel.pay(ref, user, fen)

    def mark(self, ref: str, status: str) -> None:
        """Write down what is believed."""
        statement = sa.text("UPDATE obligations SET status = :s WHERE obligation_id = :o")
        self.sql.execute(statement, {"s": status, "o": ref})
        self.sql.commit()

    def reconcile(self, payday_id: str) -> int:
        """Nothing is ever in doubt."""
        return 0

    def state(self, payday_id: str) -> Any:
        """Say what the table says."""
        query = sa.text("SELECT obligation_id, status FROM obligations WHERE payday_id = :p")
        states = {ref: PayoutState(status) for ref, status in self.sql.execute(query, {"p": payday_id})}
        self.sql.commit()
        return states


class InYuan(Payroll):
    """It pays yuan where fen are meant."""

    def pay(self, ref: str, user: str, fen: int) -> None:
        super().pay(ref, user, fen // 100)


class PaysAll(Payroll):
    """It pays whatever is due, of any kind."""

    due = "SELECT obligation_id, user_id, amount_fen FROM obligations WHERE payday_id = :p AND :k = :k"


class Optimist(Payroll):
    """It believes from the beginning that all is paid."""

    def state(self, payday_id: str) -> Any:
        return dict.fromkeys(super().state(payday_id), PayoutState("PAID"))


class Dreams(Payroll):
    """It marks before it pays, and never looks again."""

    def run_job(self, job: Job) -> None:
        for ref, user, fen in self.rows(job):
            self.mark(ref, "PAID")
            self.pay(ref, user, fen)


class HoldsOn(Payroll):
    """It locks the row, and calls the channel before it commits."""

    again = " AND status = 'DUE' ORDER BY 1 LIMIT 1 FOR UPDATE"

    def rows(self, job: Job) -> Iterator[Any]:
        while not job.worker and (row := self.first(job)):
            yield row
        self.sql.commit()


BROKEN_PAYOUTS: list[tuple[type[Any], str, str]] = [
    (NoState, "has_the_interface", "no method state"),
    (Draws, "takes_time_and_chance_from_its_context", "it uses random"),
    (ForgetsOne, "pays_everybody_once", "all that is due.*were not paid"),
    (InYuan, "pays_the_right_amount_to_the_right_person", "amount in fen.*amount_fen=1\\)"),
    (PaysAll, "a_job_pays_its_own_kind_only", "6 others were paid"),
    (Optimist, "says_what_it_believes", "12 are, before the first job"),
    (Payroll, "a_second_start_pays_nobody_again", "Nothing is paid twice.*of 12 were paid more than once"),
    (Payroll, "what_is_refused_is_not_paid", "6 are, though every call failed"),
    (Dreams, "survives_a_death_before_a_call", "1 unpaid are believed PAID"),
    (Payroll, "survives_a_death_after_a_call", "1 of 12 were paid more than once, 2 times"),
    (HoldsOn, "holds_no_transaction_over_a_call", "during 6 calls"),
]


@pytest.mark.parametrize(
    ("strategy", "name", "told"), BROKEN_PAYOUTS, ids=lambda each: getattr(each, "__name__", "")
)
def test_a_broken_payout_strategy_is_told_which_rule(
    endpoints: Mapping[str, Endpoint], strategy: type[Any], name: str, told: str
) -> None:
    """Planted: each breaks one rule, and the test of that rule says so and what happened."""
    planted = contract(PayoutStrategyContract, strategy)
    with ExitStack() as stack:
        needs = [] if name in UNSERVED else [stack.enter_context(opening(planted, endpoints))]
        with pytest.raises(AssertionError, match=f"(?s){told}"):
            held_to(planted, name, *needs)


# --- What an author begins with


@pytest.mark.parametrize(
    ("start", "kind", "needs"),
    [("strategy", BidStrategyContract, offering), ("payout", PayoutStrategyContract, opening)],
)
def test_what_new_writes_keeps_every_rule(
    endpoints: Mapping[str, Endpoint], tmp_path: Path, start: str, kind: type[Any], needs: Any
) -> None:
    """The files of `oversold new` pass their contract as they are."""
    path, _ = scaffold.write(start, "flash-lock", tmp_path)
    mine = contract(kind, f"{path}:FlashLock")
    with needs(mine, endpoints) as served:
        for name in [name.removeprefix("test_") for name in vars(kind) if name.startswith("test_")]:
            held_to(mine, name, *([] if name in UNSERVED else [served]))


# --- What an author may get wrong


def test_a_contract_that_names_nothing() -> None:
    """Without `strategy` it says what to write."""
    with pytest.raises(UsageError, match="write `strategy = MyStrategy`"):
        held_to(contract(BidStrategyContract, None), "has_the_interface")


def test_what_is_no_strategy_is_told_once(endpoints: Mapping[str, Endpoint]) -> None:
    """The other tests of its contract are skipped."""
    with (
        pytest.raises(pytest.skip.Exception, match="see test_has_the_interface"),
        offering(contract(BidStrategyContract, NoRelease), endpoints),
    ):
        pass
    with (
        pytest.raises(pytest.skip.Exception, match="see test_has_the_interface"),
        opening(contract(PayoutStrategyContract, NoState), endpoints),
    ):
        pass


def test_a_design_may_say_that_it_cannot(endpoints: Mapping[str, Endpoint]) -> None:
    """A LimitError of `open` skips the test with its reason."""

    class Small(RedisLua):
        def open(self, tranche: Tranche) -> None:
            raise LimitError("at most 100 units")

    with (
        offering(contract(BidStrategyContract, Small), endpoints) as offer,
        pytest.raises(pytest.skip.Exception) as it,
    ):
        offer(1000)
    assert "at most 100 units" in str(it.value)


def test_a_call_that_hangs_fails_its_test(
    endpoints: Mapping[str, Endpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told, and the test goes on to its end."""
    monkeypatch.setattr("oversold.conformance.rules.CALL_S", 0.05)

    class Hangs(RedisLua):
        def reserve(self, bid: Bid) -> Hold:
            self._redis.blpop(["nobody writes here"], timeout=0.3)
            return Hold("busy")

    planted = contract(BidStrategyContract, Hangs)
    with (
        offering(planted, endpoints) as offer,
        pytest.raises(AssertionError, match=r"(?s)must not block for ever.*reserve: no answer within"),
    ):
        held_to(planted, "takes_what_fits", offer)


def test_only_subclasses_are_collected() -> None:
    """The contract itself is no test, whatever a project calls its test classes."""
    assert BidStrategyContract.__test__ is False
    assert contract(BidStrategyContract, "none").__test__ is True
    assert contract(BidStrategyContract, "none", __test__=False).__test__ is False
