"""The known holes of the SQL strategies that keep bids, units or versions in rows, on both servers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from tests.between import before, impatient
from tests.sale import Sell

from oversold.clock import SystemClock, seeded
from oversold.errors import LimitError
from oversold.model import Bid, Claim, Hold
from oversold.plan import SQLS, Sql
from oversold.strategies.bids import conditional_update, skip_locked, stock_table, two_phase, version_retry
from oversold.strategies.bids.version import Version
from oversold.strategies.interface import Context

pytestmark = pytest.mark.servers

on_both = pytest.mark.parametrize("sql", SQLS)
OK, SOLD_OUT, BUSY = Hold("ok"), Hold("sold_out"), Hold("busy")


# --- Giving back


@on_both
@pytest.mark.parametrize("name", ["row-lock", "conditional-update", "version", "serializable", "advisory-lock"])
def test_giving_back_is_one_step(sell: Sell, sql: Sql, name: str) -> None:
    """A release that fails on its way has changed nothing, so the next one gives the amount back."""
    sale = sell(name, 1000, sql)
    bid, held = sale.reserve(600)
    lane, clients = sale.lane_and_clients()

    def fail() -> None:
        raise ConnectionAbortedError

    before(clients["sql"], "UPDATE stock", fail)
    with pytest.raises(ConnectionAbortedError):
        lane.release(bid, held)
    clients["sql"].rollback()  # as the platform does with what a strategy's exception has left
    assert sale.claim == Claim("open", 400)
    assert sale.lane().release(bid, held) is True
    assert sale.claim == Claim("open", 1000)


def test_giving_back_in_two_steps_is_found(sell: Sell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: a marker that is committed by itself loses the amount when the next statement fails."""

    def mark_then_add(sql: sa.Connection, bid: Bid) -> None:
        values = {"tranche": bid.tranche_id, "bid": bid.bid_id, "amount": bid.amount_fen}
        if sql.execute(stock_table.MARK["mariadb"], values).rowcount == 1:
            sql.execute(stock_table.ADD, values)

    monkeypatch.setattr(stock_table, "give_back", mark_then_add)
    with pytest.raises(AssertionError):
        test_giving_back_is_one_step(sell, "mariadb", "conditional-update")


# --- The row that is held


@on_both
@pytest.mark.parametrize(("name", "waits"), [("row-lock-held", True), ("row-lock", False)])
def test_row_is_locked_for_the_whole_pipeline(sell: Sell, sql: Sql, name: str, waits: bool) -> None:
    """While one bid is on its way through the steps nobody else can reserve; with row-lock everybody can."""
    sale = sell(name, 1000, sql)
    other, clients = sale.lane_and_clients()
    impatient(clients["sql"])
    bid, held = sale.reserve(100)
    if waits:
        with pytest.raises(sa.exc.OperationalError):
            other.reserve(sale.bid(1))
        clients["sql"].rollback()
    else:
        assert other.reserve(sale.bid(1)) == OK
    assert sale.own.confirm(bid, held) is True
    assert other.reserve(sale.bid(1)) == OK


@on_both
def test_held_row_comes_back_with_the_connection(sell: Sell, sql: Sql) -> None:
    """A bidder whose connection ends has bought nothing, and the stock is whole again."""
    sale = sell("row-lock-held", 1000, sql)
    lane, clients = sale.lane_and_clients()
    bid = sale.bid(1000)
    assert lane.reserve(bid) == OK
    clients["sql"].invalidate()
    rival, held = sale.reserve(1000)  # waits until the server has noticed
    assert held == OK
    assert sale.own.confirm(rival, held) is True
    assert sale.own.confirm(bid, OK) is False


@on_both
def test_held_row_of_a_lost_bid(sell: Sell, sql: Sql) -> None:
    """A bid that the platform has lost on its way is rolled back by the next one, and cannot be confirmed."""
    sale = sell("row-lock-held", 1000, sql)
    lost, held = sale.reserve(600)
    bid, held = sale.reserve(500)
    assert held == OK
    assert sale.own.confirm(lost, held) is False
    assert sale.own.status(sale.tranche.tranche_id) == Claim("open", 500)
    assert sale.lane().status(sale.tranche.tranche_id) == Claim("open", 1000)  # asking has committed nothing
    assert sale.own.release(lost, held) is True
    assert sale.own.confirm(bid, held) is True
    assert sale.own.release(bid, held) is True
    assert sale.lane().status(sale.tranche.tranche_id) == Claim("open", 500)


# --- Units that are locked


@on_both
@pytest.mark.parametrize(("name", "told"), [("skip-locked", SOLD_OUT), ("skip-locked-busy", BUSY)])
def test_locked_units_are_not_sold(sell: Sell, sql: Sql, name: str, told: Hold) -> None:
    """Nothing is sold, a bid that is too big has all units locked, and the next one is told sold out, or busy."""
    sale = sell(name, 300, sql, unit_fen=100)
    lane, clients = sale.lane_and_clients()
    heard: list[Hold] = []
    before(clients["sql"], "ROLLBACK", lambda: heard.append(sale.reserve(100)[1]))
    assert lane.reserve(sale.bid(400)) == SOLD_OUT
    assert heard == [told]
    assert sale.claim == Claim("open", 300)
    assert sale.reserve(300)[1] == OK  # planted: units that are not locked are found
    assert sale.reserve(100)[1] == SOLD_OUT  # and sold is sold


@on_both
@pytest.mark.parametrize(("name", "waits"), [("skip-locked", False), ("conditional-update", True)])
def test_hot_row_serialises(sell: Sell, sql: Sql, name: str, waits: bool) -> None:
    """While one bid's change is not committed a bidder for the same row waits; one for other units does not."""
    sale = sell(name, 300, sql, unit_fen=100)
    rival = sale.lane_and_clients()[1]["sql"].execution_options(isolation_level="READ COMMITTED")
    values = {"tranche": sale.tranche.tranche_id, "amount": 100, "bid": "rival", "numbers": [0]}
    rival.execute(conditional_update.TAKE if waits else skip_locked.TAKE, values)
    other, clients = sale.lane_and_clients()
    if waits:
        impatient(clients["sql"])
        with pytest.raises(sa.exc.OperationalError):
            other.reserve(sale.bid(100))
    else:
        assert other.reserve(sale.bid(100)) == OK


@on_both
def test_units_come_back_while_others_are_locked(sell: Sell, sql: Sql) -> None:
    """A release waits for no bidder who is about to mark other units, nor for the gaps between them."""
    sale = sell("skip-locked", 500, sql, unit_fen=100)
    (lane, clients), (other, others) = sale.lane_and_clients(), sale.lane_and_clients()
    impatient(others["sql"])
    bid, held = sale.reserve(200)
    released = []
    before(clients["sql"], "UPDATE units", lambda: released.append(other.release(bid, held)))
    assert lane.reserve(sale.bid(100)) == OK
    assert released == [True]
    assert sale.claim == Claim("open", 400)


@on_both
def test_a_row_for_each_unit(sell: Sell, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stock is split into units, the last has the rest; too many are refused by name, and none is made."""
    monkeypatch.setattr(skip_locked, "MAX_UNITS", 4)
    huge_fen = 10**12
    sale = sell("skip-locked", 3 * huge_fen + 1, sql, unit_fen=huge_fen)
    assert sale.claim == Claim("open", 3 * huge_fen + 1)
    assert sale.reserve(2 * huge_fen)[1] == OK
    assert sale.reserve(2 * huge_fen)[1] == SOLD_OUT  # a unit and the rest are not two units
    assert sale.reserve(huge_fen)[1] == OK
    assert sale.claim == Claim("open", 1)
    with pytest.raises(LimitError, match=r"401 fen in units of 100 fen are 5 rows.*--set min_bid_fen="):
        sell("skip-locked", 401, sql, unit_fen=100)


# --- Versions


def overtaken(sell: Sell, sql: Sql, name: str, times: int) -> tuple[Hold, int, Claim]:
    """Let one fen be sold before each of a bidder's first writes; return its answer, its writes and the claim."""
    sale = sell(name, 1000, sql)
    lane, clients = sale.lane_and_clients()
    rival = Version(Context({"sql": sale.lane_and_clients()[1]["sql"]}, SystemClock(), seeded("rival")))
    writes = before(clients["sql"], "UPDATE stock", lambda: rival.reserve(sale.bid(1)), times)
    return lane.reserve(sale.bid(100)), len(writes), sale.claim


@on_both
def test_version_is_busy_while_stock_remains(sell: Sell, sql: Sql) -> None:
    """Overtaken three times, a bidder is told busy though nearly all of the stock is there."""
    assert overtaken(sell, sql, "version", times=3) == (BUSY, 3, Claim("open", 997))
    assert overtaken(sell, sql, "version", times=2) == (OK, 3, Claim("open", 898))


@on_both
def test_version_retry_goes_on(sell: Sell, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> None:
    """With patience the same bidder gets its share at the fourth try; the work in vain is what it costs."""
    assert overtaken(sell, sql, "version-retry", times=3) == (OK, 4, Claim("open", 897))
    monkeypatch.setattr(version_retry, "TRIES", 6)
    assert overtaken(sell, sql, "version-retry", times=100) == (BUSY, 6, Claim("open", 994))


@on_both
def test_release_counts_as_a_version(sell: Sell, sql: Sql) -> None:
    """What is given back between a bidder's read and its write is not lost."""
    sale = sell("version", 1000, sql)
    lane, clients = sale.lane_and_clients()
    bid, held = sale.reserve(600)
    writes = before(clients["sql"], "UPDATE stock", lambda: sale.own.release(bid, held))
    assert lane.reserve(sale.bid(100)) == OK
    assert len(writes) == 2
    assert sale.claim == Claim("open", 900)


# --- Holds that expire

Expiring = Callable[[float], None]


@pytest.fixture
def hold_s(monkeypatch: pytest.MonkeyPatch) -> Expiring:
    """Say how long the holds are valid that are made from now on: with 0 they have expired when they are made."""
    return lambda seconds: monkeypatch.setattr(two_phase, "HOLD_S", seconds)


@on_both
@pytest.mark.parametrize(("name", "sold_fen"), [("two-phase-unchecked", 1200), ("two-phase", 600)])
def test_late_confirm(sell: Sell, sql: Sql, hold_s: Expiring, name: str, sold_fen: int) -> None:
    """A hold expires, its share is swept up and sold again; then its bidder confirms: sold twice, or refused."""
    sale = sell(name, 1000, sql)
    hold_s(0)
    late, first = sale.reserve(600)
    hold_s(10)
    rival, second = sale.reserve(600)
    assert (first, second) == (OK, OK)
    bought = [sale.own.confirm(bid, OK) for bid in (rival, late)]
    assert sum(bought) * 600 == sold_fen
    assert sale.claim == Claim("open", 400)
    assert sale.lane().confirm(rival, OK) is True  # planted: who is in time is confirmed again


@on_both
def test_dead_bidders_block_the_stock(sell: Sell, sql: Sql, hold_s: Expiring) -> None:
    """Stock of somebody who died is sold out until the hold expires, and until a lane is due to sweep."""
    sale = sell("two-phase", 1000, sql)
    hold_s(10)
    sale.reserve(600)
    assert sale.reserve(600)[1] == SOLD_OUT  # nothing is sold, but it is held; this lane has swept now
    hold_s(0)
    dead, _ = sale.reserve(400)
    hold_s(10)
    assert sale.reserve(400)[1] == SOLD_OUT  # expired, but this lane's next sweep is not due
    assert sale.claim == Claim("full", 0)
    assert sale.lane().reserve(sale.bid(400)) == OK  # another lane's is
    assert sale.own.confirm(dead, OK) is False


@on_both
def test_sweep_is_due_again(sell: Sell, sql: Sql, hold_s: Expiring, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same lane sweeps again when its time has come."""
    sale = sell("two-phase", 1000, sql)
    monkeypatch.setattr(two_phase, "SWEEP_S", 0)
    hold_s(0)
    for _ in range(3):
        assert sale.reserve(1000)[1] == OK
    hold_s(10)
    assert sale.reserve(1000)[1] == OK
    assert sale.reserve(1000)[1] == SOLD_OUT


@on_both
def test_bids_come_in_during_a_sweep(sell: Sell, sql: Sql, hold_s: Expiring) -> None:
    """A new hold waits for no lane that is about to void expired ones, nor for the gaps between them."""
    sale = sell("two-phase", 1000, sql)
    (lane, clients), (other, others) = sale.lane_and_clients(), sale.lane_and_clients()
    impatient(others["sql"])
    hold_s(0)
    sale.reserve(600)
    hold_s(10)
    told = []
    before(clients["sql"], "UPDATE holds", lambda: told.append(other.reserve(sale.bid(100))))
    assert lane.reserve(sale.bid(600)) == OK
    assert told == [OK]
    assert sale.claim == Claim("open", 300)


@on_both
def test_expired_hold_that_nobody_swept(sell: Sell, sql: Sql, hold_s: Expiring) -> None:
    """It cannot be confirmed; released, it is given back once."""
    sale = sell("two-phase", 1000, sql)
    hold_s(0)
    bid, held = sale.reserve(600)
    assert sale.own.confirm(bid, held) is False
    assert sale.claim == Claim("open", 400)
    assert [sale.own.release(bid, held), sale.lane().release(bid, held)] == [True, True]
    assert sale.claim == Claim("open", 1000)


@on_both
def test_posted_hold_is_never_given_back(sell: Sell, sql: Sql, hold_s: Expiring) -> None:
    """Neither by a release nor by a sweep, and a repeated bid changes nothing."""
    sale = sell("two-phase", 1000, sql)
    hold_s(10)
    bid, held = sale.reserve(600)
    assert sale.own.confirm(bid, held) is True
    hold_s(0)
    assert sale.own.reserve(bid) == OK
    assert sale.reserve(600)[1] == SOLD_OUT
    assert sale.own.release(bid, held) is False
    assert sale.own.confirm(bid, held) is True
    assert sale.claim == Claim("open", 400)


@on_both
def test_repeated_bid_is_charged_once(sell: Sell, sql: Sql, hold_s: Expiring) -> None:
    """While its hold lives, also when it has expired and nobody swept; after a release it is charged again."""
    sale = sell("two-phase", 1000, sql)
    hold_s(0)
    bid, held = sale.reserve(600)
    hold_s(10)
    assert [sale.own.reserve(bid), sale.lane().reserve(bid)] == [OK, OK]
    assert sale.claim == Claim("open", 400)
    assert sale.own.release(bid, held) is True
    assert sale.own.confirm(bid, held) is False
    assert sale.own.reserve(bid) == OK
    assert sale.claim == Claim("open", 400)
    assert sale.own.confirm(bid, held) is True


def test_charging_again_is_found(sell: Sell) -> None:
    """Planted: a strategy that does not know its bids takes the amount again."""
    sale = sell("conditional-update", 1000)
    bid, _ = sale.reserve(400)
    assert sale.own.reserve(bid) == OK
    assert sale.claim == Claim("open", 200)


def test_clock_is_the_database_s(sell: Sell) -> None:
    """Both servers' clocks, in milliseconds, agree with each other on this machine."""
    now = sa.select(two_phase.NowMs())
    times = [sell("two-phase", 1, each).lane_and_clients()[1]["sql"].execute(now).scalar_one() for each in SQLS]
    assert all(isinstance(each, int) for each in times)
    assert abs(times[0] - times[1]) < 60_000
