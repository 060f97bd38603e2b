"""The words of `oversold serve`'s HTTP API: requests, answers, and the status codes that say them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from oversold.bid_plan import MAX_CAPACITY_FEN
from oversold.serving.books import Word

# Stores take these ids into their keys and queues. The mark's channel in PostgreSQL has 63 bytes, and does not
# tell `-` from `_`.
TRANCHE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9.-]{0,49}$"
ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:@-]{0,79}$"
CODES: dict[Word, int] = {
    "confirmed": 201,
    "pending": 202,
    "declined": 402,
    "sold_out": 409,
    "busy": 429,
    "error": 500,
    "unknown": 504,
}

TrancheId = Annotated[str, InPath(pattern=TRANCHE_PATTERN, description="A tranche.")]
BidId = Annotated[str, InPath(pattern=ID_PATTERN, description="What the bidder calls the bid.")]
Fen = Annotated[int, Field(strict=True, ge=1, le=MAX_CAPACITY_FEN)]


class TrancheRequest(BaseModel):
    """A tranche to be put up for sale. It counts in fen, 1/100 yuan."""

    model_config = ConfigDict(extra="forbid")

    tranche_id: Annotated[str, StringConstraints(pattern=TRANCHE_PATTERN)]
    capacity_fen: Fen
    unit_fen: Fen = Field(1, description="The smallest bid; all bids are multiples of it.")


class BidRequest(BaseModel):
    """A wish to buy. Repeating it never buys twice: only who was told busy or sold_out is considered again."""

    model_config = ConfigDict(extra="forbid")

    bid_id: Annotated[str, StringConstraints(pattern=ID_PATTERN)]
    user_id: Annotated[str, StringConstraints(pattern=ID_PATTERN)]
    amount_fen: Fen


class TrancheAnswer(BaseModel):
    """What the tranche's page says: a claim, which may be wrong."""

    tranche_id: str
    status: Literal["open", "full"]
    remaining_fen: int | None = Field(description="Null: the strategy does not know.")
    capacity_fen: int


class BidAnswer(BaseModel):
    """What has become of a bid."""

    status: Word
    detail: str = ""


class OrderRow(BaseModel):
    """One order of the ledger."""

    bid_id: str
    user_id: str
    amount_fen: int
    at: str = Field(description="ISO 8601, UTC.")


class Problem(BaseModel):
    """Why there is no answer."""

    status: Literal["error"] = "error"
    detail: str


class Health(BaseModel):
    """Alive, and what this one of the processes is."""

    strategy: str
    process: int
    processes: int
    lanes: int
    answers: Literal["sync", "async"]
    faults: list[dict[str, Any]] = Field(description="What went wrong in this process, counted.")


Responses = dict[int | str, dict[str, Any]]
COMMON: Responses = {
    400: {"model": Problem, "description": "The request cannot be understood."},
    500: {"model": Problem, "description": "The strategy or a store failed."},
    504: {"model": Problem, "description": "No answer in time: nobody knows."},
}
MISSING: Responses = {404: {"model": Problem, "description": "There is no such tranche."}}
BID_ANSWERS: Responses = {
    201: {"model": BidAnswer, "description": "confirmed: sold, the order is written."},
    202: {"model": BidAnswer, "description": "pending: it is being decided; Location says where to ask."},
    402: {"model": BidAnswer, "description": "declined: a step of the server's own failed; nothing was sold."},
    409: {"model": BidAnswer, "description": "sold_out: it does not fit into what is left."},
    429: {"model": BidAnswer, "description": "busy: try again."},
    500: {"model": BidAnswer, "description": "error: not sold."},
    504: {"model": BidAnswer, "description": "unknown: a store did not answer in time, so nobody knows."},
}
