"""The coordinator's own requests to a service: what it takes down, and what it refuses before a burst."""

import sqlite3
from contextlib import closing

import pytest
from tests.scripted_service import ScriptedService, answer

from oversold.bid_plan import BidPlan
from oversold.errors import StoreUnavailableError, UsageError
from oversold.model import Claim
from oversold.services.desk import Desk
from oversold.services.mapping import Service
from oversold.stores.endpoint import free_port

PLAN = BidPlan(scenario="bid-burst", strategy="shop.toml", capacity_fen=100_000, users=10)
OPENED = answer(201, b'{"offer": {"id": 7}}')
WHOLE = answer(200, b'{"remaining_fen": 100000, "status": "open"}')


@pytest.fixture
def desk():
    """Return a function that makes the desk of a service with the given fields; all are closed."""
    made = []

    def make(url, plan=PLAN, **fields):
        made.append(Desk(Service.model_validate({"name": "shop", "url": url, **fields}), plan, "r1"))
        return made[-1]

    yield make
    for one in made:
        one.close()


def csv(tmp_path, *rows):
    """Return a [ledger] with these orders."""
    path = tmp_path / "orders.csv"
    path.write_text("\n".join(["user_id,amount_fen", *rows]) + "\n")
    return {"csv": str(path)}


def refused(work):
    """Return the one line with which something is refused."""
    with pytest.raises(UsageError) as caught:
        work()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_tranche_is_opened_and_its_id_taken(desk):
    """The id that the service chose is what all later requests name; one connection does for all of them."""
    with ScriptedService(OPENED, WHOLE) as service:
        one = desk(service.url, open={"tranche_id": "offer.id"}, status={})
        assert one.open(whole=True) is None
        assert (one.tranche_id, one.fixed["tranche_id"]) == ("7", "7")
        assert one.claim() == Claim("open", 100_000)
        assert service.requests[-1].startswith(b"GET /tranches/7 ")
        assert service.connections == 1


def test_a_reply_without_an_id_is_refused(desk):
    """Planted: the id lies elsewhere."""
    with ScriptedService(OPENED) as service:
        told = refused(lambda: desk(service.url, open={"tranche_id": "id"}).open(whole=True))
    assert "no id at tranche_id = 'id'" in told


def test_a_wrong_token_is_no_fault_of_the_service(desk):
    """A 4xx to [open] is the file's mistake; a 5xx is the service's, and told as its answer."""
    with ScriptedService(answer(401, b"who are you?")) as service:
        assert "refused [open] with 401" in refused(lambda: desk(service.url, open={}).open(whole=True))
    with ScriptedService(answer(500, b"oh no")) as service:
        assert desk(service.url, open={}).open(whole=True) == "it answered 500 to [open]: oh no"


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b'{"remaining_fen": 1000, "status": "open"}', "give --capacity 1000"),
        (b'{"remaining_fen": 100000, "status": "full"}', "nothing is left before the burst"),
        (b'{"status": "full"}', "nothing is left before the burst"),
        (b"hello", "does not tell the tranche's status"),
    ],
)
def test_a_tranche_that_is_not_whole_is_refused(body, complaint, desk):
    """A slip between fen and yuan, or a second run on one tranche, must not look like a fault of the service."""
    with ScriptedService(answer(200, body)) as service:
        assert complaint in refused(lambda: desk(service.url, status={}).open(whole=True))


def test_a_strategy_of_ours_may_claim_what_it_likes(desk):
    """Behind `oversold serve` a wrong claim is the strategy's, and for the audit."""
    with ScriptedService(answer(200, b'{"remaining_fen": 1}')) as service:
        assert desk(service.url, status={}).open(whole=False) is None


def test_what_is_no_status_is_no_claim(desk):
    """A 404 with JSON in it is not taken for "open, nobody knows how much"."""
    with ScriptedService(answer(404, b'{"error": "not found"}')) as service:
        assert "it answered 404" in refused(desk(service.url, status={}).claim)


def test_orders_from_before_the_burst_are_refused(desk, tmp_path):
    """They would count as sold in it. Without any the tranche is opened."""
    with ScriptedService(WHOLE) as service:
        before = desk(service.url, ledger=csv(tmp_path, "ann,100", "bob,200"))
        assert "has 2 orders of tranche r1 before the burst" in refused(lambda: before.open(whole=True))
        assert "has 2 orders" in refused(before.reach)
        assert desk(service.url, ledger=csv(tmp_path)).open(whole=True) is None
        missing = {"csv": str(tmp_path / "not-yet.csv")}  # the service makes it with its first order
        assert desk(service.url, ledger=missing).open(whole=True) is None


def test_a_tranche_that_is_still_to_come_is_not_asked_for(desk):
    """Before [open] a service rightly has no orders to show: its ledger over HTTP is asked afterwards."""
    ledger = {"http": {"path": "/tranches/{tranche_id}/orders"}}
    with ScriptedService(answer(404)) as service:
        desk(service.url, open={}, ledger=ledger).reach()
        assert service.requests == []
        with pytest.raises(UsageError):
            desk(service.url, ledger=ledger).reach()


def test_a_service_that_is_not_there_is_told(desk):
    """In one line, before anything is started for it."""
    gone = desk(f"http://127.0.0.1:{free_port()}", open={})
    for work in (gone.reach, lambda: gone.open(whole=True)):
        with pytest.raises(StoreUnavailableError, match=r"shop at http://127\.0\.0\.1:\d+ does not answer"):
            work()


def test_a_status_path_that_leads_nowhere_is_refused(desk):
    """Planted: a slip in the path would leave one promise unchecked without a word."""
    with ScriptedService(WHOLE) as service:
        told = refused(lambda: desk(service.url, status={"remaining_fen": "seats.lft"}).open(whole=True))
        assert "no whole number at remaining_fen = 'seats.lft'" in told
    with ScriptedService(answer(200, b'{"status": "open"}')) as service:
        assert desk(service.url, status={}).open(whole=True) is None  # nobody said that it tells a number


def test_a_query_over_all_runs_is_told_as_such(desk, tmp_path):
    """To empty the ledger would not help: the query has to name the tranche."""
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript("CREATE TABLE orders (who TEXT, fen INT); INSERT INTO orders VALUES ('ann', 5);")
    ledger = {"sql": f"sqlite:///{path}", "query": "SELECT who AS user_id, fen AS amount_fen FROM orders"}
    with ScriptedService(WHOLE) as service:
        assert "does not bind :tranche_id" in refused(lambda: desk(service.url, ledger=ledger).open(whole=True))
