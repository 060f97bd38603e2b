"""Clients of the payment channels: over HTTP as a payout service has them, and without a network for tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import urllib3
from urllib3.connection import HTTPConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from oversold.clock import Clock
from oversold.errors import StoreUnavailableError
from oversold.model import PayReply, QueryReply, Terms, VoidReply
from oversold.platform.channels.kernel import Account, Kernel

STATUS_CODES: Mapping[PayReply, int] = {
    "ok": 201,
    "processing": 202,
    "failed": 402,
    "mismatch": 409,
    "timeout": 504,
}
# A request that the service could not even read pays nothing. Whatever else it says, it may have paid.
REPLIES: Mapping[int, PayReply] = {**{code: reply for reply, code in STATUS_CODES.items()}, 422: "failed"}
JSON = {"Content-Type": "application/json"}
SETUP_S = 5.0  # how long the harness itself waits for an answer


class _Cuttable:
    """What can be cut off for good: from then on every call raises what `cut` was given, and sends nothing."""

    def __init__(self) -> None:
        self._error: BaseException | None = None

    def cut(self, error: BaseException) -> None:
        """Make every later call raise `error`, as when its process is killed."""
        self._error = error

    def _check(self) -> None:
        if self._error is not None:
            raise self._error


class HttpChannel(_Cuttable):
    """A `Channel` (strategies.payouts.interface) over one HTTP connection: no retries, no threads of its own.

    `unreachable` means that no connection could be had, so nothing was sent. When a connection that was there
    is lost, or no answer comes within `terms.timeout_s`, the reply is `timeout`: anything may have happened.
    """

    def __init__(self, name: str, url: str, terms: Terms, caller: str) -> None:
        super().__init__()
        self.name = name
        self.url = url
        self.terms = terms
        self._caller = quote(caller)
        self._pool = _pool(url, terms.timeout_s)
        self._pool.ConnectionCls = _checked(self._check)

    def pay(self, ref: str, user_id: str, amount_fen: int, key: str | None = None) -> PayReply:
        """Ask to pay."""
        headers = {**JSON, "X-Caller": self._caller}
        if key is not None:
            # Quoted, since a header cannot hold every text; different keys stay different.
            headers["Idempotency-Key"] = quote(key, safe="/:@#+")
        wish = {"ref": ref, "user_id": user_id, "amount_fen": amount_fen}
        try:
            response = self._ask("POST", "/payments", wish, headers)
        except (NewConnectionError, ConnectTimeoutError):
            return "unreachable"
        except HTTPError:
            return "timeout"
        if not response.data:  # cut short after its first line: a channel's answers all have a body
            return "timeout"
        return REPLIES.get(response.status, "timeout")

    def query(self, ref: str) -> QueryReply:
        """Ask what became of all payments under a ref together."""
        found: QueryReply | None = self._told("GET", f"/payments/{_segment(ref)}").get("status")
        return found or "timeout"

    def void(self, ref: str) -> VoidReply:
        """Cancel whatever under a ref has not moved money yet."""
        found: VoidReply | None = self._told("POST", f"/payments/{_segment(ref)}/void").get("status")
        return found or "timeout"

    def statement(self) -> Mapping[str, int]:
        """Return fen paid by ref; an empty one when the channel does not answer."""
        found: dict[str, int] = self._told("GET", "/statement").get("paid_fen", {})
        return found

    def account(self, user_id: str) -> Account | None:
        """Return an investor's account; None when the channel does not answer."""
        found = self._told("GET", f"/accounts/{_segment(user_id)}")
        return Account(found["received_fen"], found["withdrawn_fen"]) if found else None

    def withdraw(self, user_id: str, amount_fen: int | None = None) -> int:
        """Withdraw an amount or the whole balance; return the fen granted, 0 when the channel does not answer."""
        found = self._told("POST", f"/accounts/{_segment(user_id)}/withdrawals", {"amount_fen": amount_fen})
        return int(found.get("granted_fen", 0))

    def close(self) -> None:
        """Close the connection."""
        self._pool.close()

    def _ask(
        self, method: str, path: str, content: Any = None, headers: Mapping[str, str] | None = None
    ) -> urllib3.BaseHTTPResponse:
        self._check()
        body = None if content is None else json.dumps(content).encode()
        return self._pool.urlopen(method, path, body=body, headers=headers or JSON, retries=False)

    def _told(self, method: str, path: str, content: Any = None) -> dict[str, Any]:
        """Return the content of an answer; an empty one if none comes or it is an error."""
        try:
            response = self._ask(method, path, content)
            found = json.loads(response.data) if response.status < 300 else {}
        except (HTTPError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


class KernelChannel(_Cuttable):
    """A `Channel` straight over a kernel. Latencies pass on the clock; its seconds are the kernel's nanoseconds.

    All calls to one kernel are in flight together, whichever client they come from.
    """

    def __init__(self, kernel: Kernel, clock: Clock, caller: str) -> None:
        super().__init__()
        self.name = kernel.name
        self.terms = kernel.profile.terms()
        self._kernel = kernel
        self._clock = clock
        self._caller = caller

    def pay(self, ref: str, user_id: str, amount_fen: int, key: str | None = None) -> PayReply:
        """Ask to pay."""
        self._check()
        with self._kernel.in_flight as in_flight:
            answer = self._kernel.pay(self._now_ns(), in_flight, ref, user_id, amount_fen, key, self._caller)
            self._wait(min(answer.after_s, self.terms.timeout_s))
        return "timeout" if answer.after_s > self.terms.timeout_s else answer.reply

    def query(self, ref: str) -> QueryReply:
        """Ask what became of all payments under a ref together."""
        self._ask()
        return self._kernel.query(self._now_ns(), ref)

    def void(self, ref: str) -> VoidReply:
        """Cancel whatever under a ref has not moved money yet."""
        self._check()
        reply = self._kernel.void(self._now_ns(), ref)
        self._wait(self._kernel.profile.query_latency_s)
        return reply

    def statement(self) -> Mapping[str, int]:
        """Return fen paid by ref."""
        self._ask()
        return self._kernel.statement(self._now_ns())

    def account(self, user_id: str) -> Account | None:
        """Return an investor's account."""
        self._check()
        return self._kernel.account(self._now_ns(), user_id)

    def withdraw(self, user_id: str, amount_fen: int | None = None) -> int:
        """Withdraw an amount or the whole balance; return the fen granted."""
        self._check()
        return self._kernel.withdraw(self._now_ns(), user_id, amount_fen)

    def close(self) -> None:
        """There is no connection to close."""

    def _ask(self) -> None:
        self._check()
        self._wait(self._kernel.profile.query_latency_s)
        self._check()  # what is cut while it waits has not asked yet

    def _wait(self, seconds: float) -> None:
        if seconds > 0:
            self._clock.sleep(seconds)

    def _now_ns(self) -> int:
        return round(self._clock.now_s() * 1e9)


def fetch_terms(url: str) -> Terms:
    """Ask the channel behind `url` for its terms.

    Raises:
        StoreUnavailableError: it does not answer as a channel does.
    """
    found = fetch(url, "/terms")
    try:
        return Terms(**found)
    except TypeError as error:
        raise StoreUnavailableError(f"what answers at {url} is no payment channel: {error}") from error


def fetch(url: str, path: str) -> dict[str, Any]:
    """Return the JSON object at a path of the channel behind `url`; for the harness, which must know.

    Raises:
        StoreUnavailableError: no answer within some seconds, or not such a one.
    """
    with _pool(url, SETUP_S) as pool:
        try:
            response = pool.urlopen("GET", path, retries=False)
            found = json.loads(response.data)
        except (HTTPError, ValueError) as error:
            raise StoreUnavailableError(f"the payment channel at {url} does not answer ({error})") from error
    if response.status != 200 or not isinstance(found, dict):
        raise StoreUnavailableError(f"what answers at {url} is no payment channel: {response.status} for {path}")
    return found


def _pool(url: str, timeout_s: float) -> urllib3.HTTPConnectionPool:
    parts = urlsplit(url)
    timeout = urllib3.Timeout(connect=timeout_s, read=timeout_s)
    return urllib3.HTTPConnectionPool(parts.hostname or "127.0.0.1", parts.port, timeout=timeout, maxsize=1)


def _checked(check: Callable[[], None]) -> type[HTTPConnection]:
    """Return a connection class that asks `check` before every write: it may be cut while it connects."""

    class CheckedConnection(HTTPConnection):
        def send(self, data: Any) -> None:
            if self.sock is None:
                self.connect()
            check()
            super().send(data)

    return CheckedConnection


def _segment(text: str) -> str:
    return quote(text, safe="")
