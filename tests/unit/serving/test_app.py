"""The HTTP API of `oversold serve` over a shop that needs no servers: codes, shapes, odd requests, threads."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import psycopg
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from oversold.bid_plan import BidPlan
from oversold.model import Bid, Tranche
from oversold.platform.faults import Faults
from oversold.serving import messages
from oversold.serving.app import create_app
from oversold.serving.books import WORDS, TakenError, Word
from oversold.serving.lanes import NoLaneError
from oversold.serving.offers import BadWishError, NoTrancheError
from oversold.serving.shop import FailedError, Shop

PLAN = BidPlan(scenario="bid-burst", strategy="row-lock", users=10, capacity_fen=1_000, processes=1, lanes=2)


class Reply(NamedTuple):
    """What came back; `content` is the parsed JSON."""

    status: int
    content: Any
    headers: dict[str, str]


class PretendedShop:
    """Sells from a dictionary; `says` is the answer to every bid."""

    def __init__(self, plan: BidPlan = PLAN, says: Word = "confirmed") -> None:
        self.plan, self.says, self.faults = plan, says, Faults()
        self.tranches: dict[str, Tranche] = {}
        self.bids: dict[str, Word] = {}
        self.decided = threading.Event()

    def open(self, tranche: Tranche) -> None:
        if tranche.tranche_id in self.tranches:
            raise TakenError
        if tranche.unit_fen > tranche.capacity_fen:
            raise BadWishError("the unit is more than the capacity")
        self.tranches[tranche.tranche_id] = tranche

    def bid(self, bid: Bid) -> Word:
        self._find(bid.tranche_id)
        self.bids[bid.bid_id] = self.says
        return self.says

    def take(self, bid: Bid) -> Word | None:
        self._find(bid.tranche_id)
        known = self.bids.get(bid.bid_id)
        self.bids.setdefault(bid.bid_id, "pending")
        return known

    def decide(self, bid: Bid) -> Word:
        self.bids[bid.bid_id] = self.says
        self.decided.set()
        return self.says

    def word(self, tranche_id: str, bid_id: str) -> Word | None:
        self._find(tranche_id)
        return self.bids.get(bid_id)

    def state(self, tranche_id: str) -> dict[str, Any]:
        tranche = self._find(tranche_id)
        numbers = {"remaining_fen": None, "capacity_fen": tranche.capacity_fen}
        return {"tranche_id": tranche_id, "status": "open", **numbers}

    def orders(self, tranche_id: str) -> list[dict[str, str | int]]:
        self._find(tranche_id)
        return [{"bid_id": bid, "user_id": "u", "amount_fen": 1, "at": "2026-01-01"} for bid in self.bids]

    def _find(self, tranche_id: str) -> Tranche:
        if tranche_id not in self.tranches:
            raise NoTrancheError
        return self.tranches[tranche_id]


def served(shop: PretendedShop, **options: Any) -> FastAPI:
    """Return the API over a pretended shop, with tranche t1 open."""
    shop.open(Tranche("t1", 1_000))
    return create_app(cast(Shop, shop), **options)


async def exchange(
    app: FastAPI, method: str, path: str, body: bytes = b"", query: str = "", **headers: str
) -> Reply:
    """Send one request to the app, as its server would."""
    sent: list[dict[str, Any]] = []
    named = {"content_type": "application/json", **headers}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    content = b"".join(message.get("body", b"") for message in sent)
    told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Reply(sent[0]["status"], json.loads(content) if content else None, told)


def ask(app: FastAPI, method: str, path: str, content: Any = None, query: str = "", **headers: str) -> Reply:
    """Send one request and wait for the reply; `content` becomes JSON unless it is bytes."""
    body = content if isinstance(content, bytes) else b"" if content is None else json.dumps(content).encode()
    return asyncio.run(exchange(app, method, path, body, query, **headers))


def wish(bid_id: str = "b1", **changes: Any) -> dict[str, Any]:
    """Return a sound bid, changed."""
    return {"bid_id": bid_id, "user_id": "u1", "amount_fen": 100, **changes}


def check_documented(app: FastAPI, method: str, path: str, reply: Reply) -> None:
    """Assert that the OpenAPI document foretells the reply: its status and the shape of its content."""
    document = app.openapi()
    templates = [it for it in document["paths"] if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", it), path)]
    assert reply.status != 500
    if not templates:
        assert reply.status == 404
        kind = "Problem"
    elif not any(method.lower() in document["paths"][it] for it in templates):
        assert reply.status == 405
        kind = "Problem"
    else:
        responses = document["paths"][templates[0]][method.lower()]["responses"]
        assert str(reply.status) in responses
        schema = responses[str(reply.status)]["content"]["application/json"]["schema"]
        kind = (schema.get("items") or schema)["$ref"].rpartition("/")[2]
    model = getattr(messages, kind)
    for entry in reply.content if isinstance(reply.content, list) else [reply.content]:
        assert model.model_validate(entry).model_dump(exclude_unset=True) == entry


@pytest.mark.parametrize("word", WORDS)
def test_each_answer_has_its_code_and_is_documented(word: Word) -> None:
    """Whatever becomes of a bid has a status code of its own, which the document explains."""
    app = served(PretendedShop(says=word))
    reply = ask(app, "POST", "/tranches/t1/bids", wish(), idempotency_key="b1")
    assert reply.content == {"status": word}
    assert reply.status == messages.CODES[word]
    assert str(reply.status) in app.openapi()["paths"]["/tranches/{tranche_id}/bids"]["post"]["responses"]
    later = ask(app, "GET", "/tranches/t1/bids/b1")
    assert (later.status, later.content) == (200, {"status": word})


# One for all examples: to make an app takes longer than to ask it.
ASKED = PretendedShop()
ASKED_APP = served(ASKED)


def ask_anew(method: str, path: str, body: bytes, query: str = "", kind: str = "application/json") -> None:
    """Ask a shop that has sold nothing yet, and check the reply against the document."""
    ASKED.tranches, ASKED.bids = {"t1": Tranche("t1", 1_000)}, {}
    reply = asyncio.run(exchange(ASKED_APP, method, path, body, query, content_type=kind))
    check_documented(ASKED_APP, method, path, reply)


ODD_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(["t1", "t2", "b1", "../x", "a b", "", "\x00", "\ud800", "日本", "x" * 81, "0", "-1"])
AMOUNTS = st.sampled_from([1, 100, 0, -1, 10**16, 10**16 + 1, 10**400, 1.0, "100", True, None])
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("bid_id", "user_id", "tranche_id"), NAMES | ODD_JSON),
        **dict.fromkeys(("amount_fen", "capacity_fen", "unit_fen"), AMOUNTS | ODD_JSON),
        "extra": ODD_JSON,
    },
)
BODIES = (
    st.binary(max_size=20) | st.just(b"[" * 5_000) | (FIELDS | ODD_JSON).map(lambda it: json.dumps(it).encode())
)
SOUND = {"tranche_id": NAMES, "capacity_fen": AMOUNTS, "unit_fen": AMOUNTS}
SOUND_BIDS = {"bid_id": NAMES, "user_id": NAMES, "amount_fen": AMOUNTS}
PART = st.sampled_from(["t1", "t9", "b1", "x" * 99, "日本", "%00", "..", "a b"])
PATHS = st.one_of(
    st.sampled_from(["/", "/health", "/tranches", "/tranches/", "/openapi.yaml", "//", "/tranches//bids"]),
    st.builds("/tranches/{}".format, PART),
    st.builds("/tranches/{}/{}".format, PART, st.sampled_from(["bids", "orders", "other"])),
    st.builds("/tranches/{}/bids/{}".format, PART, PART),
)
METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
TYPES = st.sampled_from(["application/json", "text/plain", "application/x-www-form-urlencoded", "é", ""])


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(METHODS, PATHS, BODIES, st.sampled_from(["", "async", "async=%00", "async=" + "x" * 30, "&&=%"]), TYPES)
@example("POST", "/tranches", json.dumps({"tranche_id": "t2", "capacity_fen": 5}).encode(), "", "application/json")
@example("POST", "/tranches/t1/bids", json.dumps(wish()).encode(), "", "application/json")
@example("POST", "/tranches/t1/bids", b'{"amount_fen": ' + b"9" * 5_000 + b"}", "", "application/json")
def test_any_request_has_a_documented_answer(method: str, path: str, body: bytes, query: str, kind: str) -> None:
    """No request makes the server fail, and every reply has the status and the shape that the document says."""
    ask_anew(method, path, body, query, kind)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.fixed_dictionaries(SOUND), st.fixed_dictionaries(SOUND_BIDS))
def test_wishes_with_odd_values_have_documented_answers(tranche: dict[str, Any], bid: dict[str, Any]) -> None:
    """Complete wishes whose values are on the edge are taken or refused in the documented shape."""
    for path, content in (("/tranches", tranche), ("/tranches/t1/bids", bid)):
        ask_anew("POST", path, json.dumps(content).encode())


def test_the_check_finds_undocumented_answers() -> None:
    """The property above fails for a reply whose code, shape or fields the document does not know."""
    shop = PretendedShop()
    app = served(shop)
    shop.state = lambda tranche_id: {"tranche_id": tranche_id}  # type: ignore[method-assign]
    with pytest.raises(ValidationError):
        check_documented(app, "GET", "/tranches/t1", ask(app, "GET", "/tranches/t1"))
    good = ask(app, "GET", "/tranches/t9/orders")
    check_documented(app, "GET", "/tranches/t9/orders", good)
    for bad in (
        good._replace(status=422),
        good._replace(status=500),
        good._replace(content={"detail": "x", "more": 1}),
        good._replace(content=None),
    ):
        with pytest.raises((AssertionError, ValidationError)):
            check_documented(app, "GET", "/tranches/t9/orders", bad)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (wish(amount_fen=0), "amount_fen: Input should be greater than or equal to 1"),
        (wish(amount_fen="100"), "amount_fen: Input should be a valid integer"),
        (wish(bid_id="a b"), "bid_id: String should match pattern"),
        (wish(more=1), "more: Extra inputs are not permitted"),
        (b"{", "JSON decode error"),
        (None, "Field required"),
    ],
)
def test_bad_input_is_refused_with_its_reason(content: Any, told: str) -> None:
    """A request that cannot be understood is answered 400 with one line that names the field."""
    reply = ask(served(PretendedShop()), "POST", "/tranches/t1/bids", content)
    assert reply.status == 400
    assert told in reply.content["detail"]
    assert "\n" not in reply.content["detail"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadWishError("no multiple"), 400),
        (NoTrancheError(), 404),
        (TakenError(), 409),
        (FailedError("status: OSError: gone"), 500),
        (NoLaneError(), 500),
        (psycopg.OperationalError("gone"), 500),
        (TimeoutError(), 504),
    ],
)
def test_what_the_shop_raises_has_a_code(error: Exception, status: int) -> None:
    """Each thing that can go wrong in the shop is told by a status and a text, never by a traceback."""
    shop = PretendedShop()
    app = served(shop)

    def fail(_: Any) -> Any:
        raise error

    shop.state = fail  # type: ignore[method-assign]
    reply = ask(app, "GET", "/tranches/t1")
    assert reply.status == status
    assert reply.content["status"] == "error"
    assert reply.content["detail"]


@pytest.mark.parametrize(("later", "query"), [(True, ""), (False, "async"), (False, "async=1")])
def test_a_bid_answered_later_says_where_to_ask(later: bool, query: str) -> None:
    """Asynchronous answers are 202 with a Location, and what became of the bid is found there."""
    shop = PretendedShop(says="sold_out")

    async def talk() -> tuple[Reply, Reply, Reply]:
        app, body = served(shop, later=later), json.dumps(wish()).encode()
        first = await exchange(app, "POST", "/tranches/t1/bids", body, query)
        await asyncio.to_thread(shop.decided.wait, 10)
        found = await exchange(app, "GET", first.headers["location"])
        return first, found, await exchange(app, "POST", "/tranches/t1/bids", body, query)

    first, found, again = asyncio.run(talk())
    assert (first.status, first.content) == (202, {"status": "pending"})
    assert first.headers["location"] == "/tranches/t1/bids/b1"
    assert (found.status, found.content) == (200, {"status": "sold_out"})
    assert (again.status, again.content) == (409, {"status": "sold_out"})


def impatient(call: Callable[[Bid], Word]) -> FastAPI:
    """Return an app with one lane whose calls may take 0.2 s."""
    plan = PLAN.model_copy(update={"lanes": 1, "bids": PLAN.bids.model_copy(update={"hang_s": 0.2})})
    shop = PretendedShop(plan)
    shop.bid = call  # type: ignore[method-assign]
    return served(shop)


def test_waiting_for_a_lane_is_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bid whose lane is busy for longer than a call may take is decided in its turn."""
    monkeypatch.setattr("oversold.serving.app.now_ns", lambda: 1)  # no call takes any time
    over = threading.Event()

    def call(_: Bid) -> Word:
        over.wait(10)
        return "confirmed"

    async def talk() -> list[int]:
        app = impatient(call)
        bodies = [json.dumps(wish(name)).encode() for name in ("b1", "b2")]
        asked = [asyncio.ensure_future(exchange(app, "POST", "/tranches/t1/bids", body)) for body in bodies]
        await asyncio.sleep(0.5)
        over.set()
        return [(await reply).status for reply in asked]

    assert asyncio.run(talk()) == [201, 201]


def test_when_all_lanes_hang_nobody_waits_for_ever() -> None:
    """Bids that no lane will ever take are answered as well, and a lane that comes back takes bids again."""
    over = threading.Event()

    def call(_: Bid) -> Word:
        over.wait(10)
        return "confirmed"

    async def talk() -> list[int]:
        app = impatient(call)
        bodies = [json.dumps(wish(name)).encode() for name in ("b1", "b2", "b3")]
        asked = [exchange(app, "POST", "/tranches/t1/bids", body) for body in bodies]
        told = [reply.status for reply in await asyncio.gather(*asked)]
        over.set()
        return [*told, (await exchange(app, "POST", "/tranches/t1/bids", bodies[0])).status]

    assert asyncio.run(talk()) == [504, 504, 504, 201]


def test_health_says_what_it_is() -> None:
    """The health page names the strategy, its process and what went wrong in it."""
    shop = PretendedShop()
    shop.faults.add("raised", "reserve", "ValueError: x")
    reply = ask(served(shop, process=1, later=True), "GET", "/health")
    assert reply.content["strategy"] == "row-lock"
    assert (reply.content["process"], reply.content["answers"]) == (1, "async")
    assert reply.content["faults"] == [{"kind": "raised", "phase": "reserve", "text": "ValueError: x", "count": 1}]
