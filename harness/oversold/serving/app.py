"""The HTTP API of `oversold serve`: tranches, bids, orders, health; its OpenAPI document tells all of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from oversold.model import Bid, Tranche
from oversold.serving.books import TakenError, Word
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
    """Where requests wait for the platform: bids in one thread a lane, all else in a few others."""

    def __init__(self, lanes: int, hang_s: float) -> None:
        self._bidding = ThreadPoolExecutor(lanes, "lane")
        self._asking = ThreadPoolExecutor(ASKING_THREADS, "asking")
        self._hang_s = hang_s
        self._under_way: set[asyncio.Future[object]] = set()

    async def bid(self, call: Callable[[Bid], Result], bid: Bid) -> Result:
        """Call from a lane's thread when one is free; TimeoutError when the call then hangs."""
        return await self._within(self._bidding, call, bid)

    async def ask(self, call: Callable[..., Result], *arguments: Any) -> Result:
        """Call from another thread; TimeoutError when it hangs."""
        return await self._within(self._asking, call, *arguments)

    async def _within(self, pool: ThreadPoolExecutor, call: Callable[..., Result], *arguments: Any) -> Result:
        began = 0.0

        def work() -> Result:
            nonlocal began
            began = time.monotonic()  # to wait for a free thread is not to hang
            return call(*arguments)

        future = asyncio.get_running_loop().run_in_executor(pool, work)
        left_s = self._hang_s
        while left_s > 0:
            done, _ = await asyncio.wait({future}, timeout=left_s)
            if done:
                return future.result()
            left_s = began + self._hang_s - time.monotonic() if began else self._hang_s
        raise TimeoutError

    def later(self, call: Callable[[Bid], object], bid: Bid) -> None:
        """Call from a lane's thread when one is free; nobody waits for it."""
        work = asyncio.get_running_loop().run_in_executor(self._bidding, call, bid)
        self._under_way.add(work)  # the event loop itself would forget it
        work.add_done_callback(self._under_way.discard)


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
    threads = Threads(plan.lanes, plan.bids.hang_s)
    _bids(app, shop, threads, later=later)
    _tranches(app, shop, threads)

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


def _bids(app: FastAPI, shop: Shop, threads: Threads, *, later: bool) -> None:
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
            word = await threads.bid(shop.bid, wanted)
        elif known := await threads.ask(shop.take, wanted):
            word = known
        else:
            word = "pending"
            threads.later(shop.decide, wanted)
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
        word = await threads.ask(shop.word, tranche_id, bid_id)
        return _problem(404, f"nothing is known of bid {bid_id}") if word is None else _answer(word, code=200)


def _tranches(app: FastAPI, shop: Shop, threads: Threads) -> None:
    @app.post(
        "/tranches",
        response_model=TrancheAnswer,
        status_code=201,
        responses={**COMMON, 409: {"model": Problem, "description": "There is a tranche of this name."}},
        summary="Put a tranche up for sale",
    )
    async def put(wish: TrancheRequest) -> Response:
        tranche = Tranche(wish.tranche_id, wish.capacity_fen, wish.unit_fen)
        await threads.ask(shop.open, tranche)
        return _json(await threads.ask(shop.state, wish.tranche_id), 201)

    @app.get(
        "/tranches/{tranche_id}",
        response_model=TrancheAnswer,
        responses={**COMMON, **MISSING},
        summary="What the tranche's page says",
    )
    async def state(tranche_id: TrancheId) -> Response:
        return _json(await threads.ask(shop.state, tranche_id))

    @app.get(
        "/tranches/{tranche_id}/orders",
        response_model=list[OrderRow],
        responses={**COMMON, **MISSING},
        summary="The ledger: all orders, oldest first",
    )
    async def orders(tranche_id: TrancheId) -> Response:
        return _json(await threads.ask(shop.orders, tranche_id))


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
