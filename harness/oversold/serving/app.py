"""The HTTP API of `oversold serve`: tranches, bids, orders, health; its OpenAPI document tells all of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, TypeVar

import psycopg
from fastapi import FastAPI, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from oversold.clock import now_ns
from oversold.model import Bid, Tranche
from oversold.serving.books import TakenError, Word
from oversold.serving.lanes import NoLaneError
from oversold.serving.messages import (
    BID_ANSWERS,
    CODES,
    COMMON,
    MISSING,
    BidAnswer,
    BidId,
    BidRequest,
    Health,
    OrderRow,
    Problem,
    TrancheAnswer,
    TrancheId,
    TrancheRequest,
)
from oversold.serving.offers import BadWishError, NoTrancheError
from oversold.serving.shop import FailedError, Shop

ASKING_THREADS = 4
BODIES = {word: json.dumps({"status": word}).encode() for word in CODES}

Result = TypeVar("Result")


class Threads:
    """Where requests wait for the platform: so many threads, and calls that may take `hang_s` in them."""

    def __init__(self, count: int, hang_s: float) -> None:
        self._pool = ThreadPoolExecutor(count)
        self._count, self._hang_s = count, hang_s
        self._hung = 0
        self._under_way: set[asyncio.Future[Any]] = set()

    async def call(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Call when a thread is free. To wait for that is not to hang, unless all threads do.

        Raises:
            TimeoutError: it hangs; it may come to an end later.
        """
        began_ns = 0

        def timed() -> Result:
            nonlocal began_ns
            began_ns = now_ns()
            return work(*arguments)

        future = self._start(timed)
        left_s = self._hang_s
        while left_s > 0:
            done, _ = await asyncio.wait({future}, timeout=left_s)
            if done:
                return future.result()
            if not began_ns and self._hung >= self._count:
                future.cancel()
                raise TimeoutError
            left_s = self._hang_s - ((now_ns() - began_ns) / 1e9 if began_ns else 0)
        self._hung += 1
        future.add_done_callback(self._recovered)
        raise TimeoutError

    def later(self, work: Callable[..., object], *arguments: Any) -> None:
        """Call when a thread is free; nobody waits for it."""
        self._start(lambda: work(*arguments))

    def _start(self, work: Callable[[], Result]) -> asyncio.Future[Result]:
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        self._under_way.add(future)  # the event loop itself would forget it
        future.add_done_callback(self._under_way.discard)
        return future

    def _recovered(self, _: asyncio.Future[Any]) -> None:
        self._hung -= 1


def create_app(shop: Shop, process: int = 0, *, later: bool = False) -> FastAPI:
    """Return the API over one process's platform; `later`: bids are answered 202, and decided afterwards."""
    plan = shop.plan
    app = FastAPI(
        title="oversold serve",
        description=f"A shop that sells tranches under the lock strategy {plan.strategy}. "
        "Money is in fen, 1/100 yuan.",
        docs_url=None,  # those pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    lanes, asking = Threads(plan.lanes, plan.bids.hang_s), Threads(ASKING_THREADS, plan.bids.hang_s)
    _bids(app, shop, lanes, asking, later=later)
    _tranches(app, shop, asking)

    @app.get("/health", response_model=Health, responses={400: COMMON[400]}, summary="Whether it is alive")
    async def health() -> Response:
        answers = "async" if later else "sync"
        return _json(
            {
                "strategy": plan.strategy,
                "process": process,
                "processes": plan.processes,
                "lanes": plan.lanes,
                "answers": answers,
                "faults": shop.faults.rows(),
            }
        )

    _problems(app)
    _describe(app)
    return app


def _bids(app: FastAPI, shop: Shop, lanes: Threads, asking: Threads, *, later: bool) -> None:
    @app.post(
        "/tranches/{tranche_id}/bids",
        response_model=BidAnswer,
        status_code=201,
        responses={**COMMON, **MISSING, **BID_ANSWERS},
        summary="Bid",
    )
    async def bid(
        tranche_id: TrancheId,
        wish: BidRequest,
        ask_later: Annotated[
            str | None, Query(alias="async", max_length=20, description="Given: answer 202 at once.")
        ] = None,
        _key: Annotated[
            str | None,
            Header(alias="Idempotency-Key", max_length=200, description="Not needed: bid_id names the wish."),
        ] = None,
    ) -> Response:
        wanted = Bid(wish.bid_id, tranche_id, wish.user_id, wish.amount_fen)
        word: Word
        if not later and ask_later is None:
            word = await lanes.call(shop.bid, wanted)
        elif known := await asking.call(shop.take, wanted):
            word = known
        else:
            word = "pending"
            lanes.later(shop.decide, wanted)
        place = {"Location": f"/tranches/{tranche_id}/bids/{wish.bid_id}"} if word == "pending" else None
        return _answer(word, place)

    @app.get(
        "/tranches/{tranche_id}/bids/{bid_id}",
        response_model=BidAnswer,
        responses={
            **COMMON,
            404: {"model": Problem, "description": "No such tranche, or nothing known of the bid."},
        },
        summary="Ask what became of a bid",
    )
    async def ask(tranche_id: TrancheId, bid_id: BidId) -> Response:
        word = await asking.call(shop.word, tranche_id, bid_id)
        return _problem(404, f"nothing is known of bid {bid_id}") if word is None else _answer(word, code=200)


def _tranches(app: FastAPI, shop: Shop, asking: Threads) -> None:
    @app.post(
        "/tranches",
        response_model=TrancheAnswer,
        status_code=201,
        responses={**COMMON, 409: {"model": Problem, "description": "There is a tranche of this name."}},
        summary="Put a tranche up for sale",
    )
    async def put(wish: TrancheRequest) -> Response:
        tranche = Tranche(wish.tranche_id, wish.capacity_fen, wish.unit_fen)
        await asking.call(shop.open, tranche)
        return _json(await asking.call(shop.state, wish.tranche_id), 201)

    @app.get(
        "/tranches/{tranche_id}",
        response_model=TrancheAnswer,
        responses={**COMMON, **MISSING},
        summary="What the tranche's page says",
    )
    async def state(tranche_id: TrancheId) -> Response:
        return _json(await asking.call(shop.state, tranche_id))

    @app.get(
        "/tranches/{tranche_id}/orders",
        response_model=list[OrderRow],
        responses={**COMMON, **MISSING},
        summary="The ledger: all orders, oldest first",
    )
    async def orders(tranche_id: TrancheId) -> Response:
        return _json(await asking.call(shop.orders, tranche_id))


def _problems(app: FastAPI) -> None:
    """Answer every failure in one shape, with a text of one line."""

    def on(kind: type[Exception], code: int, text: Callable[[Any], str]) -> None:
        async def answer(_: Request, error: Exception) -> Response:
            return _problem(code, text(error))

        app.add_exception_handler(kind, answer)

    on(RequestValidationError, 400, _invalid)
    on(BadWishError, 400, str)
    on(NoTrancheError, 404, lambda _: "no such tranche: POST /tranches opens one")
    on(TakenError, 409, lambda _: "there is a tranche of this name: choose another")
    on(FailedError, 500, str)
    on(NoLaneError, 500, lambda _: "the strategy's stores do not answer")
    for kind in (psycopg.Error, OSError):
        on(kind, 500, lambda _: "the ledger's server does not answer")
    on(TimeoutError, 504, lambda _: "no answer in time: nobody knows")
    on(Exception, 500, lambda error: f"{type(error).__name__}: {error}")

    async def routed(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _problem(error.status_code, str(error.detail), error.headers)

    app.add_exception_handler(HTTPException, routed)


def _invalid(error: RequestValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part != "body")
    return f"{place}: {first['msg']}" if place else str(first["msg"])


def _describe(app: FastAPI) -> None:
    """Take what FastAPI says of 422 out of the document: such requests are answered 400."""
    document = app.openapi()
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)


def _answer(word: Word, headers: dict[str, str] | None = None, code: int = 0) -> Response:
    return Response(BODIES[word], code or CODES[word], headers, "application/json")


def _problem(code: int, detail: str, headers: Any = None) -> Response:
    return _json({"status": "error", "detail": " ".join(detail.split())[:300]}, code, headers)


def _json(content: Any, code: int = 200, headers: Any = None) -> Response:
    return Response(json.dumps(content), code, headers, "application/json")
