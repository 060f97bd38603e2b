"""A service as its file describes it: where it is, what it is asked, what replies mean, where its truth is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator

from oversold.errors import UsageError
from oversold.services.complaints import told
from oversold.services.default_rules import BID_RULES, POLL_RULES, SERVED_RULES
from oversold.services.file import absent_is_default, beside, table_of
from oversold.services.ledger_probe import LedgerProbe
from oversold.services.payout_mapping import (
    JobRequest,
    ObligationsRequest,
    PayoutService,
    ReconcileRequest,
    StateRequest,
    check_headers,
    refuse_mixed,
)
from oversold.services.placeholders import PER_RUN
from oversold.services.requests import Answer, Request, Rule, Scalar, Section
from oversold.services.texts import check_key, scalars, sound_headers, sound_url

__all__ = [
    "Answer",
    "Auth",
    "BidRequest",
    "Bounds",
    "LedgerProbe",
    "OpenRequest",
    "PollRequest",
    "Request",
    "Rule",
    "Service",
    "StatusRequest",
    "load",
    "served",
]
BY_LOCATION = "location"
MAX_USERS = 1_000_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class BidRequest(Request):
    """A tap. A reply that no rule fits is an error: the bid was not taken."""

    method: str = "POST"
    path: str = "/tranches/{tranche_id}/bids"
    headers: Mapping[str, str] = {"Idempotency-Key": "{bid_id}"}
    json_: Any = Field({"bid_id": "{bid_id}", "user_id": "{user_id}", "amount_fen": "{amount_fen}"}, alias="json")
    reply: tuple[Rule, ...] = BID_RULES

    @model_validator(mode="before")
    @classmethod
    def _form_instead(cls, table: Any) -> Any:
        return absent_is_default(table)

    @field_validator("reply")
    @classmethod
    def _can_sell(cls, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        if not any(rule.verdict in ("ok", "pending") for rule in rules):
            raise ValueError("no rule says ok or pending, so no bid could ever succeed: add one")
        return rules


class PollRequest(Request):
    """How a bid that was answered `pending` is asked about: every `every_ms`, for at most `for_s`.

    A reply that no rule fits says nothing of the bid, so it is asked again.
    """

    path: str = "/tranches/{tranche_id}/bids/{bid_id}"
    every_ms: float = Field(50, ge=1, le=60_000)
    for_s: float = Field(10, gt=0, le=3600)
    reply: tuple[Rule, ...] = POLL_RULES

    @field_validator("path")
    @classmethod
    def _sound_path(cls, path: str) -> str:
        return path if path == BY_LOCATION else super()._sound_path(path)

    @property
    def by_location(self) -> bool:
        """Whether the reply's own Location header is asked, instead of a path of the file."""
        return self.path == BY_LOCATION


class OpenRequest(Request):
    """Sent once before the load. `tranche_id`: JSON path of the id in the reply, where the service chooses it."""

    method: str = "POST"
    path: str = "/tranches"
    json_: Any = Field(
        {"tranche_id": "{tranche_id}", "capacity_fen": "{capacity_fen}", "unit_fen": "{unit_fen}"}, alias="json"
    )
    tranche_id: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _form_instead(cls, table: Any) -> Any:
        return absent_is_default(table)

    def known(self) -> None:
        """No tap has happened yet."""
        self.gaps(PER_RUN)


class StatusRequest(Request):
    """What the service says of its own stock. `full`: JSON path -> value, all of them when nothing is left."""

    path: str = "/tranches/{tranche_id}"
    remaining_fen: str | None = Field("remaining_fen", description="JSON path of what is left")
    full: Mapping[str, Scalar] = {"status": "full"}

    @field_validator("full", mode="before")
    @classmethod
    def _scalars(cls, table: Any) -> Any:
        return scalars(table)

    def known(self) -> None:
        """It is asked beside the taps."""
        self.gaps(PER_RUN)


class Auth(Section):
    """A token of the environment, sent with every request and written nowhere."""

    env: str = Field(description="name of the environment variable that holds the token")
    header: str = "Authorization"
    scheme: str = Field("Bearer", description="stands before the token; empty: the token alone")

    @field_validator("env")
    @classmethod
    def _a_name(cls, env: str) -> str:
        if not _VARIABLE.fullmatch(env):
            raise ValueError(
                "it must be the name of an environment variable, as SHOP_TOKEN, and not the token itself"
            )
        return env

    @model_validator(mode="after")
    def _sound(self) -> Self:
        sound_headers({self.header: self.scheme})
        if self.header.lower() == "host":
            raise ValueError(".header: Host says who is asked, and is no place for a token: name another header")
        return self


class Bounds(Section):
    """The most that one run may do to the service; more is refused before anything is sent."""

    users: int = Field(20_000, ge=1, le=MAX_USERS)
    requests: int = Field(1_000_000, ge=1, le=10**9)


class Service(Section):
    """All that is known of one service. Sections that are None it does not have."""

    name: str
    url: str = Field(description="http:// or https://, with a path if all paths begin with it")
    timeout_s: float = Field(10, gt=0, le=3600, description="a reply that takes longer is unknown")
    connect_timeout_s: float = Field(5, gt=0, le=3600)
    headers: Mapping[str, str] = {}
    auth: Auth | None = None
    ca_file: str | None = None
    tranche_id: str = "{run_id}"
    user_id: str = "{run_id}-user-{n}"
    open: OpenRequest | None = None
    bid: BidRequest = BidRequest()
    poll: PollRequest = PollRequest()
    status: StatusRequest | None = None
    ledger: LedgerProbe | None = None
    obligations: ObligationsRequest | None = None
    job: JobRequest | None = None
    reconcile: ReconcileRequest | None = None
    state: StateRequest | None = None
    bounds: Bounds = Bounds()

    @field_validator("name")
    @classmethod
    def _short_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name: take up to 40 letters, digits, dots, hyphens and underscores")
        return name

    @field_validator("url")
    @classmethod
    def _sound_url(cls, url: str) -> str:
        return sound_url(url)

    @field_validator("headers")
    @classmethod
    def _sound_headers(cls, headers: Mapping[str, str]) -> Mapping[str, str]:
        for name, value in sound_headers(headers).items():
            check_key(name, value, PER_RUN, variables=True)
        return headers

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        check_key("tranche_id", self.tranche_id, ("run_id",))
        check_key("user_id", self.user_id, ("run_id", "n"))
        if self.auth and self.auth.header.lower() in {name.lower() for name in self.headers}:
            raise ValueError(f"headers and auth both set {self.auth.header}: leave one out")
        if self.ca_file and not self.url.startswith("https:"):
            raise ValueError("ca_file is for https and the url is http: change one of them")
        if self.payout:
            check_headers(self.headers)
        return self

    @property
    def payout(self) -> PayoutService | None:
        """The sections of a service that pays instead of selling; None of one that sells."""
        if self.obligations is None or self.job is None:
            return None
        return PayoutService(self.obligations, self.job, self.reconcile, self.state)

    @property
    def longest_s(self) -> float:
        """How long a tap may take without anything being wrong with the harness."""
        return 2 * (self.connect_timeout_s + self.timeout_s) + self.poll.for_s

    @property
    def prefix(self) -> str:
        """The path that stands before every request's own, without a slash at its end."""
        return urlsplit(self.url).path

    def public(self) -> dict[str, Any]:
        """Return what a report may say of the service: nothing of it is secret."""
        if self.payout:
            return {"name": self.name, "url": self.url, "maps": self.payout.public(), "ledger": "channels"}
        polls = any(rule.verdict == "pending" for rule in self.bid.reply)
        poll = self.poll if polls else None
        asked = {"open": self.open, "bid": self.bid, "poll": poll, "status": self.status}
        maps = {name: f"{one.method} {one.path.partition('?')[0]}" for name, one in asked.items() if one}
        return {
            "name": self.name,
            "url": self.url,
            "maps": maps,
            "ledger": self.ledger.kind if self.ledger else None,
        }


def load(path: Path) -> Service:
    """Read a service file. Paths in it are taken from its own folder; its name is its file's if it has none.

    Raises:
        UsageError: one line that names the file, the key, and what is wrong with it. Environment variables are not
            read yet.
    """
    table = table_of(path)
    try:
        refuse_mixed(table)
        return Service.model_validate(beside(table, path))
    except ValidationError as error:
        raise UsageError(f"{path}: {told(error, Service)}") from error
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error


def served(url: str, name: str) -> Service:
    """Return a service as `oversold serve` offers it: the defaults, but 500 is a bid not sold; and no ledger.

    Raises:
        UsageError: the url or the name cannot be used.
    """
    try:
        bid = BidRequest(reply=SERVED_RULES)
        return Service(name=name, url=url, open=OpenRequest(), bid=bid, status=StatusRequest())
    except ValidationError as error:
        raise UsageError(told(error, Service)) from error
