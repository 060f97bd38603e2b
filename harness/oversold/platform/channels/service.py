"""One payment channel as an HTTP service: `python -m oversold.platform.channels.service FILE`."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, Header, Request, Response
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from oversold.clock import now_ns
from oversold.model import PayReply, QueryReply, VoidReply
from oversold.platform.channels.books import Books
from oversold.platform.channels.client import STATUS_CODES
from oversold.platform.channels.kernel import Kernel
from oversold.platform.channels.profile import ChannelProfile
from oversold.platform.channels.stall import StallWatch

# Ids travel in paths, where slashes and lone dots would change their meaning.
ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:@#+-]{0,199}$"
MAX_FEN = 10**16
HUNG_UP = 499  # no status of ours: nobody is there to read it

Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
Ref = Annotated[str, InPath(pattern=ID_PATTERN, description="What the caller calls the payment.")]
UserId = Annotated[str, InPath(pattern=ID_PATTERN, description="An investor.")]


class PaymentRequest(BaseModel):
    """A wish to pay."""

    model_config = ConfigDict(extra="forbid")

    ref: Id = Field(description="What the caller calls the payment; several calls may share a ref.")
    user_id: Id = Field(description="The investor who gets the money.")
    amount_fen: int = Field(ge=1, le=MAX_FEN, description="In fen, 1/100 yuan.")


class PaymentReply(BaseModel):
    """What the channel says of a payment. It may be a lie."""

    status: PayReply = Field(description="ok: paid. failed: not paid. processing: ask later. mismatch: see 409.")
    payment_id: str = Field(description="The call that decided; a replay names the first one.")


class QueryAnswer(BaseModel):
    """What became of all payments under a ref together."""

    status: QueryReply = Field(description="not_found: no payment is known, or none is visible yet.")


class VoidAnswer(BaseModel):
    """What became of the wish to cancel."""

    status: VoidReply = Field(description="voided: nothing was paid and nothing will be. paid: too late.")


class Statement(BaseModel):
    """The statement of account (对账单)."""

    paid_fen: dict[str, int] = Field(description="Fen paid, by ref, of all calls older than the visibility lag.")


class AccountAnswer(BaseModel):
    """An investor's account at the channel."""

    received_fen: int = Field(description="All that was paid to it.")
    withdrawn_fen: int = Field(description="All that was taken out.")
    balance_fen: int = Field(description="What is left.")


class WithdrawalRequest(BaseModel):
    """A wish to take money out."""

    model_config = ConfigDict(extra="forbid")

    amount_fen: int | None = Field(None, ge=1, le=MAX_FEN, description="None: the whole balance.")


class WithdrawalAnswer(BaseModel):
    """What was taken out: never more than the balance."""

    granted_fen: int


class TermsAnswer(BaseModel):
    """What the channel promises, and as a rule keeps. Times in seconds."""

    timeout_s: float = Field(description="A caller may give up then; what was asked for may still happen.")
    visibility_s: float = Field(description="Queries tell the truth of calls that are older than this.")
    settle_s: float = Field(description="An effect that comes late comes within this time.")
    honours_keys: bool = Field(description="Whether an Idempotency-Key is remembered.")
    key_retention_s: float = Field(description="For how long.")


class Health(BaseModel):
    """Alive."""

    name: str
    in_flight: int = Field(description="Pay calls that are being processed.")


PAY_ANSWERS: dict[int | str, dict[str, Any]] = {
    201: {"model": PaymentReply, "description": "Paid."},
    202: {"model": PaymentReply, "description": "Not yet: ask later."},
    402: {"model": PaymentReply, "description": "Failed: not paid."},
    409: {"model": PaymentReply, "description": "The key was used with another ref, user or amount: not paid."},
    504: {"model": PaymentReply, "description": "Nothing is known of the payment."},
}


def create_app(kernel: Kernel) -> FastAPI:
    """Return the service of one channel.

    Its handlers run in one thread and do not wait between reading the books and writing them, so calls are
    atomic. Answers are written by hand: validating our own output would take a third of a call's time.
    """
    app = FastAPI(
        title=f"Payment channel {kernel.name}",
        description="A third-party payment interface, as a payout service meets it. Its answers may be lies.",
        docs_url=None,  # those pages load scripts from elsewhere
        redoc_url=None,
    )
    _payments(app, kernel)
    _accounts(app, kernel)

    @app.get("/terms", response_model=TermsAnswer, summary="The terms of use")
    async def terms() -> Response:
        promised = kernel.profile.terms()
        return _json({name: getattr(promised, name) for name in TermsAnswer.model_fields})

    @app.get("/health", response_model=Health, summary="Whether the channel is alive")
    async def health() -> Response:
        return _json({"name": kernel.name, "in_flight": kernel.in_flight.count})

    return app


def _payments(app: FastAPI, kernel: Kernel) -> None:
    profile = kernel.profile

    @app.post("/payments", response_model=PaymentReply, status_code=201, responses=PAY_ANSWERS, summary="Pay")
    async def pay(
        request: Request,
        wish: PaymentRequest,
        key: Annotated[
            str | None,
            Header(alias="Idempotency-Key", min_length=1, max_length=200, description="Names this wish."),
        ] = None,
        caller: Annotated[str, Header(alias="X-Caller", max_length=200, description="Who calls.")] = "",
    ) -> Response:
        if await _hung_up(request):
            return Response(status_code=HUNG_UP)
        with kernel.in_flight as in_flight:
            answer = kernel.pay(now_ns(), in_flight, wish.ref, wish.user_id, wish.amount_fen, key, caller)
            await _wait(min(answer.after_s, profile.timeout_s))
        # Whoever gave up in time no longer counts as in flight; whoever did not gets to hear something in the end.
        await _wait(answer.after_s - profile.timeout_s)
        reply = {"status": answer.reply, "payment_id": answer.payment_id}
        return _json(reply, STATUS_CODES[answer.reply])

    @app.get("/payments/{ref}", response_model=QueryAnswer, summary="Ask what became of a payment")
    async def query(ref: Ref) -> Response:
        await _wait(profile.query_latency_s)
        return _json({"status": kernel.query(now_ns(), ref)})

    @app.post("/payments/{ref}/void", response_model=VoidAnswer, summary="Cancel what has not been paid yet")
    async def void(ref: Ref) -> Response:
        reply = kernel.void(now_ns(), ref)
        await _wait(profile.query_latency_s)
        return _json({"status": reply})

    @app.get("/statement", response_model=Statement, summary="The statement of account")
    async def statement() -> Response:
        await _wait(profile.query_latency_s)
        return _json({"paid_fen": kernel.statement(now_ns())})


def _accounts(app: FastAPI, kernel: Kernel) -> None:
    @app.get("/accounts/{user_id}", response_model=AccountAnswer, summary="An investor's account")
    async def account(user_id: UserId) -> Response:
        found = kernel.account(now_ns(), user_id)
        return _json({name: getattr(found, name) for name in AccountAnswer.model_fields})

    @app.post(
        "/accounts/{user_id}/withdrawals",
        response_model=WithdrawalAnswer,
        status_code=201,
        summary="Take money out",
    )
    async def withdraw(user_id: UserId, wish: WithdrawalRequest) -> Response:
        return _json({"granted_fen": kernel.withdraw(now_ns(), user_id, wish.amount_fen)}, 201)


def _json(content: Mapping[str, Any], status_code: int = 200) -> Response:
    return Response(json.dumps(content), status_code, media_type="application/json")


async def _hung_up(request: Request) -> bool:
    """Tell whether the caller has closed the connection already, and so cannot know of what is done now.

    A request that waited in the socket's buffer while this process stood still is read before the end of the
    connection that stands behind it. The event loop sees that end in one turn and tells of it in the next.
    """
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return await request.is_disconnected()


async def _wait(seconds: float) -> None:
    if seconds > 0:
        await asyncio.sleep(seconds)


class _Server(uvicorn.Server):
    """Ends at once when told to, whoever waits: all that it owes anybody is in the books."""

    def __init__(self, config: uvicorn.Config, books: Books) -> None:
        super().__init__(config)
        self._books = books
        self._stalls = StallWatch(books)
        self._beating: asyncio.Task[None] | None = None  # kept, since the event loop would forget it

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._beating = asyncio.create_task(self._stalls.beat())

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._stalls.note(now_ns())  # the signal may have waited for the end of a stall, too
        self._books.close()  # so that they are one file again
        os._exit(0)


def main() -> None:
    """Serve the channel that the private file describes until SIGTERM."""
    plan = json.loads(Path(sys.argv[1]).read_text())
    profile = ChannelProfile.model_validate(plan["profile"])
    books = Books(Path(plan["books"]))
    config = uvicorn.Config(
        create_app(Kernel(plan["name"], profile, plan["seed"], books, plan["namespace"])),
        host="127.0.0.1",
        port=plan["port"],
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        # A connection that the service closes for being idle looks like a lost payment to its caller.
        timeout_keep_alive=86_400,
        proxy_headers=False,
        server_header=False,
        date_header=False,
    )
    _Server(config, books).run()


if __name__ == "__main__":
    main()
