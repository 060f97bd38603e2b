"""`oversold serve` on real stores: several processes are one shop, and repeating a bid never buys twice."""

from __future__ import annotations

import json
import os
import secrets
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import urllib3

from oversold.assignment import Assignment
from oversold.bid_plan import BidPlan, BidSettings, bid_id, draw_bids
from oversold.clock import SystemClock
from oversold.errors import HarnessError, StoreUnavailableError
from oversold.model import Bid, Claim, Hold, Tranche
from oversold.serving import books, command
from oversold.serving.books import TakenError
from oversold.serving.offers import KEPT_TRANCHES, BadWishError, NoTrancheError
from oversold.serving.shop import FailedError, Shop
from oversold.serving.start import Served, start
from oversold.stores.endpoint import Endpoint
from oversold.stores.guard import Guard
from oversold.stores.postgres import connect_raw
from oversold.strategies import registry
from oversold.strategies.bids.row_lock import RowLock

pytestmark = pytest.mark.servers

QUICK = BidSettings(steps_ms=0, fail_ms=0, p=0)
Begin = Callable[..., Served]
Open = Callable[..., Shop]


def plan_of(strategy: str = "row-lock", **settings: Any) -> BidPlan:
    """Return a plan of 20 bids whose steps take no time and do not fail, changed."""
    bids = QUICK.model_copy(update=settings)
    return BidPlan(
        scenario="bid-burst", strategy=strategy, users=20, capacity_fen=1_000, lanes=4, rtt_s=0, bids=bids
    )


def placed(endpoints: Mapping[str, Endpoint], *stores: str) -> dict[str, Any]:
    """Return the endpoints' fields, by the names that a strategy with these stores knows."""
    found = {"ledger": endpoints["sql"], **{store: endpoints[store] for store in stores}}
    return {name: endpoint.to_json() for name, endpoint in found.items()}


def a_name() -> str:
    """Return a tranche's id that nobody has used."""
    return f"t{secrets.token_hex(4)}"


def ask(served: Served, method: str, path: str, **content: Any) -> tuple[int, Any]:
    """Send one request over a connection of its own; return the status and the content."""
    body = json.dumps(content) if content else None
    headers = {"Content-Type": "application/json", "Connection": "close"}
    reply = urllib3.request(method, served.url + path, body=body, headers=headers, retries=False, timeout=30)
    return reply.status, json.loads(reply.data)


@pytest.fixture
def begin(endpoints: Mapping[str, Endpoint], guard: Guard, tmp_path: Path) -> Iterator[Begin]:
    """Start a server: begin("redis", plan=..., processes=2); it ends with the test."""
    running: list[Served] = []

    def start_one(*stores: str, plan: BidPlan, **options: Any) -> Served:
        folder = tmp_path / f"server{len(running)}"
        folder.mkdir()
        chosen = {"processes": 1, "lanes": 4, **options}
        running.append(start(plan, placed(endpoints, *stores), guard, folder, **chosen))
        return running[-1]

    yield start_one
    for served in running:
        served.stop(guard)


@pytest.fixture(scope="module")
def pair(
    endpoints: Mapping[str, Endpoint], guard: Guard, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A server of two processes under redis-lua, for tests that do not harm it."""
    folder = tmp_path_factory.mktemp("pair")
    served = start(plan_of("redis-lua"), placed(endpoints, "redis"), guard, folder, processes=2, lanes=4)
    yield served
    served.stop(guard)


@pytest.fixture
def open_shop(endpoints: Mapping[str, Endpoint], tmp_path: Path) -> Iterator[Open]:
    """Open the platform of one more server process, in this process; row-lock unless told otherwise."""
    shops: list[Shop] = []
    with connect_raw(endpoints["sql"], SystemClock(), 0, autocommit=True) as connection:
        books.create(connection)

    def open_one(plan: BidPlan | None = None) -> Shop:
        assignment = Assignment(plan or plan_of(), "serving", placed(endpoints, "sql"), tmp_path)
        shops.append(Shop(assignment, len(shops)))
        return shops[-1]

    yield open_one
    for shop in shops:
        shop.close()


def test_processes_are_one_shop(pair: Served) -> None:
    """Connections reach both processes; each knows the tranche of the other, and together they never oversell."""
    served, name = pair, a_name()
    status, page = ask(served, "POST", "/tranches", tranche_id=name, capacity_fen=1_000, unit_fen=10)
    assert (status, page["status"], page["remaining_fen"]) == (201, "open", 1_000)

    def buy(number: int) -> tuple[int, Any]:
        return ask(served, "POST", f"/tranches/{name}/bids", bid_id=f"b{number}", user_id="u", amount_fen=100)

    with ThreadPoolExecutor(8) as buyers:
        told = Counter(status for status, _ in buyers.map(buy, range(30)))
    assert told == {201: 10, 409: 20}
    assert {ask(served, "GET", "/health")[1]["process"] for _ in range(40)} == {0, 1}
    status, page = ask(served, "GET", f"/tranches/{name}")
    assert (status, page["status"], page["remaining_fen"]) == (200, "full", 0)
    orders = ask(served, "GET", f"/tranches/{name}/orders")[1]
    assert sum(order["amount_fen"] for order in orders) == 1_000
    assert ask(served, "POST", "/tranches", tranche_id=name, capacity_fen=1_000)[0] == 409


def test_a_process_that_ends_is_named_and_the_other_one_goes_on(begin: Begin, guard: Guard) -> None:
    """A killed process is told by name; the port's other process still answers."""
    served = begin("sql", plan=plan_of(), processes=2)
    assert served.ended(guard) == ""
    os.kill(served.pids[0], signal.SIGKILL)
    assert (
        _until(lambda: served.ended(guard)) == "server process 0 has ended by itself (status -9); its log is empty"
    )
    assert {ask(served, "GET", "/health")[1]["process"] for _ in range(10)} == {1}


def test_answers_come_later_from_whichever_process(pair: Served) -> None:
    """Asynchronous bids are 202 at once, and any process knows what became of them."""
    served, name = pair, a_name()
    ask(served, "POST", "/tranches", tranche_id=name, capacity_fen=250, unit_fen=10)
    path = f"/tranches/{name}/bids"
    for number in range(3):
        wish = {"bid_id": f"{name}:{number}", "user_id": "u", "amount_fen": 100}
        assert ask(served, "POST", f"{path}?async", **wish) == (202, {"status": "pending"})

    def words() -> list[str]:
        found = [ask(served, "GET", f"{path}/{name}:{number}")[1]["status"] for number in range(3)]
        return [] if "pending" in found else sorted(found)

    assert _until(words) == ["confirmed", "confirmed", "sold_out"]
    assert len(ask(served, "GET", f"/tranches/{name}/orders")[1]) == 2


def test_a_strategy_with_a_queue_has_its_consumer(begin: Begin) -> None:
    """A strategy whose decisions are made by one process gets that, for each tranche that is opened."""
    served = begin("redis", plan=plan_of("redis-queue"))
    assert list(served.names.values()) == ["server process 0", "consumer process"]
    for name in (a_name(), a_name()):
        ask(served, "POST", "/tranches", tranche_id=name, capacity_fen=100, unit_fen=10)
        path = f"/tranches/{name}/bids"
        told = [ask(served, "POST", path, bid_id=name + end, user_id="u", amount_fen=60)[0] for end in ("a", "b")]
        assert told == [201, 409]


class Interrupting:
    """A guard under which Ctrl-C comes as soon as the command watches its processes."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self.lines: list[str] = []
        self.pids: list[int] = []

    def say(self, line: str) -> None:
        """Take a line that is told to people."""
        self.lines.append(line)

    def returncode(self, pid: int) -> int | None:
        """Tell whether a process runs; interrupt once all is told."""
        self.pids.append(pid)
        if any("Ctrl-C" in line for line in self.lines):
            url = self.lines[0].split("  ")[0].rpartition(" at ")[2]
            assert urllib3.request("GET", f"{url}/openapi.json").status == 200
            raise KeyboardInterrupt
        return self._guard.returncode(pid)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._guard, name)


@pytest.fixture
def own_interrupts() -> Iterator[None]:
    """The command takes Ctrl-C for itself: give it back."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.mark.usefixtures("own_interrupts")
def test_the_command_serves_until_interrupted(
    endpoints: Mapping[str, Endpoint], guard: Guard, tmp_path: Path
) -> None:
    """The command says where the server is and what to try, and ends its processes at Ctrl-C."""
    watched = Interrupting(guard)
    plan = plan_of().model_copy(update={"processes": 1})
    where = placed(endpoints, "sql")
    command.serve(plan, where, cast(Guard, watched), tmp_path, port=0, answers="sync", say=watched.say)
    assert watched.lines[0].startswith("row-lock at http://127.0.0.1:")
    assert watched.lines[0].endswith("(1 process, 4 lanes each; bids are answered sync)")
    assert guard.returncode(watched.pids[0]) is not None


@pytest.mark.usefixtures("own_interrupts")
@pytest.mark.parametrize("dead", ["server process 0", "PostgreSQL"])
def test_the_command_tells_what_has_died(
    dead: str, guard: Guard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that loses a process or a store ends all others, and says which one it was."""
    log = tmp_path / "log"
    seconds = {
        name: "0" if name == dead else "60" for name in ("server process 0", "server process 1", "PostgreSQL")
    }
    pids = {name: guard.spawn(["sleep", it], log=log) for name, it in seconds.items()}
    store = pids.pop("PostgreSQL")
    served = Served(
        "http://127.0.0.1:1", {pid: name for name, pid in pids.items()}, dict.fromkeys(pids.values(), log)
    )
    monkeypatch.setattr(command, "start", lambda *_, **__: served)
    with pytest.raises(HarnessError, match=rf"{dead} has ended by itself \(status 0\)"):
        command.serve(
            plan_of(),
            {},
            guard,
            tmp_path,
            port=0,
            answers="sync",
            say=lambda _: None,
            needed={store: "PostgreSQL"},
        )
    assert all(guard.returncode(pid) is not None for pid in served.pids)
    guard.stop(store)


def test_a_process_that_cannot_start_says_why(
    endpoints: Mapping[str, Endpoint], guard: Guard, tmp_path: Path
) -> None:
    """A store that is not there ends the start, in one line with the reason and without a password."""
    where = {**placed(endpoints, "sql")}
    where["redis"] = {**where["sql"], "store": "redis", "url": "redis://:secret@127.0.0.1:1"}
    plan = plan_of(f"{_strategy(tmp_path)}:Unable")
    with pytest.raises(StoreUnavailableError, match=r"server process 0 has ended by itself .*no luck") as caught:
        start(plan, where, guard, tmp_path, processes=1, lanes=1)
    assert "\n" not in str(caught.value)
    gone = {**where["ledger"], "url": "postgresql://u:secret@127.0.0.1:1/x"}
    with pytest.raises(StoreUnavailableError, match="PostgreSQL does not answer") as caught:
        start(plan_of(), {**where, "ledger": gone}, guard, tmp_path, processes=1, lanes=1)
    assert "secret" not in str(caught.value)


def _strategy(folder: Path) -> Path:
    path = folder / "own.py"
    path.write_text(
        "from oversold.strategies.bids.row_lock import RowLock\n\n\n"
        "class Unable(RowLock):\n    def __init__(self, context):\n        raise RuntimeError('no luck')\n"
    )
    return path


def test_a_repeated_bid_buys_once(open_shop: Open) -> None:
    """The same bid again, at another process or at the same time, has the same answer, and takes stock once."""
    here, there, name = open_shop(), open_shop(), a_name()
    here.open(Tranche(name, 1_000, 10))
    bid = Bid(f"{name}-b", name, "u", 100)
    assert [here.bid(bid), there.bid(bid), there.bid(bid)] == ["confirmed"] * 3
    twin = Bid(f"{name}-c", name, "u", 100)
    gate = threading.Barrier(4)

    def buy(shop: Shop) -> str:
        gate.wait(10)
        return shop.bid(twin)

    with ThreadPoolExecutor(4) as buyers:
        told = set(buyers.map(buy, [here, there, here, there]))
    assert "confirmed" in told <= {"confirmed", "pending"}
    assert there.bid(twin) == "confirmed"
    assert here.state(name)["remaining_fen"] == 800
    assert [order["bid_id"] for order in here.orders(name)] == [bid.bid_id, twin.bid_id]
    with pytest.raises(BadWishError, match="belongs to another bid"):
        there.bid(Bid(bid.bid_id, name, "u", 200))
    with pytest.raises(BadWishError, match="no multiple of the tranche's unit of 10 fen"):
        here.bid(Bid(f"{name}-d", name, "u", 15))


def test_a_bid_that_is_taken_is_decided_once(open_shop: Open) -> None:
    """Of all who take the same bid one decides; sold out may be tried again, confirmed stays."""
    here, there, name = open_shop(), open_shop(), a_name()
    here.open(Tranche(name, 150, 10))
    bid, late = Bid(f"{name}-b", name, "u", 100), Bid(f"{name}-c", name, "u", 100)
    assert [here.take(bid), there.take(bid), there.word(name, bid.bid_id)] == [None, "pending", "pending"]
    here.decide(bid)
    assert [there.take(bid), there.word(name, bid.bid_id)] == ["confirmed", "confirmed"]
    assert there.take(late) is None
    there.decide(late)
    assert here.word(name, late.bid_id) == "sold_out"
    assert here.take(late) is None  # what is left is too little for it, but not nothing
    with pytest.raises(BadWishError, match="belongs to another bid"):
        there.take(Bid(late.bid_id, name, "somebody", 100))
    assert here.word(name, "nobody") is None


def test_steps_fail_as_they_would_in_process(open_shop: Open) -> None:
    """Bids of the plan that fail a step in-process are declined, however often; their stock comes back."""
    plan, name = plan_of(p=0.5), a_name()
    shop, unit = open_shop(plan), plan.min_bid_fen
    shop.open(Tranche(name, plan.capacity_fen, unit))
    failing = draw_bids(plan).failing_step > 0
    for index in range(plan.users):
        bid = Bid(bid_id(name, index), name, "u", unit)
        word = "declined" if failing[index] else "confirmed"
        assert [shop.bid(bid), shop.bid(bid)] == [word, word]
    sold = unit * int(sum(~failing))
    assert unit * len(shop.orders(name)) == sold
    assert shop.state(name)["remaining_fen"] == plan.capacity_fen - sold


def test_a_process_that_hears_of_a_tranche_late_knows_its_mark(open_shop: Open) -> None:
    """The FULL mark that was set before a process knew the tranche turns bidders away there as well."""
    here, there, name = open_shop(), open_shop(), a_name()
    here.open(Tranche(name, 100, 100))
    assert here.bid(Bid(f"{name}-a", name, "u", 100)) == "confirmed"
    assert here.bid(Bid(f"{name}-b", name, "u", 100)) == "sold_out"
    assert there.state(name)["status"] == "full"
    assert _until(lambda: there._offers.get(name).status.full)
    for _ in range(KEPT_TRANCHES):
        other = a_name()
        there.open(Tranche(other, 100, 100))
        there.state(other)
    assert _until(lambda: there._offers.get(name).status.full)


def test_tranches_that_cannot_be_opened_are_told(open_shop: Open) -> None:
    """A name that is taken, numbers that do not fit and a tranche that is not there are told apart."""
    shop, name = open_shop(), a_name()
    with pytest.raises(NoTrancheError):
        shop.state(name)
    with pytest.raises(BadWishError, match="unit_fen 200 is more"):
        shop.open(Tranche(name, 100, 200))
    with ThreadPoolExecutor(3) as openers:
        opened = [openers.submit(shop.open, Tranche(name, 100, 10)) for _ in range(3)]
        assert Counter(type(it.exception()) for it in opened) == {type(None): 1, TakenError: 2}
    shop.state(name)


def test_what_a_strategy_does_wrong_ends_no_process(open_shop: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A strategy that raises, answers nonsense or loses its connection is told of, and the next bid is served."""
    monkeypatch.setitem(registry.BID_STRATEGIES, "naughty", f"{__name__}:Naughty")
    monkeypatch.setattr("oversold.strategies.registry.load_bids", lambda _: Naughty)
    shop, name = open_shop(plan_of().model_copy(update={"lanes": 1})), a_name()
    shop.open(Tranche(name, 1_000, 1))

    def told(user: str) -> str:
        return shop.bid(Bid(f"{name}-{user}", name, user, 1))

    assert [told(user) for user in ("raises", "nonsense", "lost", "good")] == [
        "error",
        "error",
        "unknown",
        "confirmed",
    ]
    with pytest.raises(FailedError, match="status: ValueError: no page"):
        shop.state(name)
    kinds = Counter(row["kind"] for row in shop.faults.rows())
    assert kinds == {"raised": 2, "nonsense": 1, "store": 1}


class Naughty(RowLock):
    """Does wrong what the user's name says."""

    def reserve(self, bid: Bid) -> Hold:
        """Do it."""
        if bid.user_id == "raises":
            raise ValueError("no")
        if bid.user_id == "nonsense":
            return None  # type: ignore[return-value]
        if bid.user_id == "lost":
            raise ConnectionError("gone")
        return super().reserve(bid)

    def status(self, tranche_id: str) -> Claim:
        """Fail."""
        raise ValueError("no page")


def test_orders_tell_their_time(open_shop: Open) -> None:
    """Each order has bid_id, user_id, amount_fen and the ledger's time in UTC."""
    shop, name = open_shop(), a_name()
    shop.open(Tranche(name, 1_000, 1))
    before = datetime.now(UTC) - timedelta(seconds=5)
    shop.bid(Bid(f"{name}-b", name, "u", 7))
    (order,) = shop.orders(name)
    assert (order["bid_id"], order["user_id"], order["amount_fen"]) == (f"{name}-b", "u", 7)
    assert before < datetime.fromisoformat(str(order["at"])) < before + timedelta(seconds=60)


def _until(look: Callable[[], Any]) -> Any:
    """Look again and again until there is something to see."""
    deadline = time.monotonic() + 20
    while not (seen := look()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return seen
