"""Requests as bytes, made ready before the load: a tap only fills the gaps."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from json.encoder import encode_basestring
from typing import Any
from urllib.parse import SplitResult, quote, quote_plus, urljoin, urlsplit

from oversold.errors import UsageError
from oversold.services.mapping import PollRequest, Service
from oversold.services.placeholders import Gap, Value, Variable, parse, source_of, variable, yuan_text
from oversold.services.requests import Request

MASK = "***"
LOCATION = "location"
PORTS = {"http": 80, "https": 443}
_SIMPLE = re.compile(r"[A-Za-z0-9_.-]+").fullmatch  # the same bytes in a path, a form, a header and a JSON string
_SECRET = re.compile(r"auth|token|secret|passw|api[-_]?key|cookie|credential|signature|session", re.IGNORECASE)
# Headers whose values tell nothing that is secret; any other one may be a key of somebody's own.
_HARMLESS = {
    *("accept", "accept-charset", "accept-encoding", "accept-language", "cache-control", "content-type", "host"),
    *("idempotency-key", "origin", "pragma", "prefer", "referer", "user-agent", "x-requested-with"),
}
_SECRET_QUERY = re.compile(rf"([?&][^=&]*(?:{_SECRET.pattern})[^=&]*=)[^&]*", re.IGNORECASE)
_RESERVED = "/:?[]@!$&'()*+,;=%~"  # what a path may hold besides letters, as it is

Encode = Callable[[Value], bytes]


class Prepared:
    """A request as bytes, but for what changes per tap.

    Values: those of `placeholders.PER_RUN` and `PER_TAP`, without the amounts in yuan, which are made of those
    in fen. What `fixed` has is written down for good; `render` takes the others. A poll that asks the reply's
    Location is rendered with `location`: what `place_of` returned.

    Raises:
        UsageError: an environment variable is not set, or a fixed value cannot stand where it should.
    """

    def __init__(
        self, service: Service, request: Request, fixed: Mapping[str, Value], *, masked: bool = False
    ) -> None:
        body = _body(request, fixed, masked)
        head = _Template(fixed)
        head.raw(request.method + " ")
        if isinstance(request, PollRequest) and request.by_location:
            head.slot(LOCATION, _location)
        else:
            head.raw(service.prefix)
            path = _SECRET_QUERY.sub(rf"\1{MASK}", request.path) if masked else request.path
            head.text(path, _percent, lambda text: quote(text, safe=_RESERVED))
        head.raw(" HTTP/1.1\r\n")
        _headers(head, service, request, masked)
        self._bodiless = not body.pieces and request.method in ("GET", "DELETE")
        head.raw("\r\n" if self._bodiless else "Content-Length: ")
        self._head, self._head_slots = head.compiled(tail=b"" if self._bodiless else b"%d\r\n\r\n")
        self._body, self._body_slots = body.compiled(tail=b"")

    def render(self, values: Mapping[str, Value]) -> bytes:
        """Return a whole HTTP/1.1 request that keeps the connection alive.

        Raises:
            UsageError: a value holds a control character and stands in a header.
            KeyError: a value is missing.
        """
        head = [encode(values[name]) for name, encode in self._head_slots]
        if self._bodiless:
            return self._head % tuple(head)
        body = self._body % tuple([encode(values[name]) for name, encode in self._body_slots])
        return self._head % (*head, len(body)) + body


class _Template:
    """Bytes with slots, being written from left to right."""

    def __init__(self, fixed: Mapping[str, Value]) -> None:
        self._fixed = fixed
        self.pieces: list[bytes | tuple[str, Encode]] = []

    def raw(self, text: str) -> None:
        """Add text as it is."""
        self.pieces.append(text.encode("utf-8"))

    def slot(self, name: str, encode: Encode) -> None:
        """Add a gap: filled at once if its value is fixed."""
        source = source_of(name)
        written = _in_yuan(encode) if name != source else encode
        self.pieces.append(written(self._fixed[source]) if source in self._fixed else (source, written))

    def text(self, text: str, encode: Encode, literal: Callable[[str], str]) -> None:
        """Add a text with gaps: `literal` writes what stands between them."""
        for piece in parse(text):
            if isinstance(piece, Gap):
                self.slot(piece.name, encode)
            elif isinstance(piece, Variable):
                self.pieces.append(encode(variable(piece.name)))
            else:
                self.raw(literal(piece))

    def compiled(self, tail: bytes) -> tuple[bytes, list[tuple[str, Encode]]]:
        """Return a pattern for `%`, and who fills its slots."""
        parts = [piece.replace(b"%", b"%%") if isinstance(piece, bytes) else b"%b" for piece in self.pieces]
        return b"".join(parts) + tail, [piece for piece in self.pieces if not isinstance(piece, bytes)]


def place_of(service: Service, asked: str, location: str) -> str | None:
    """Return the path that a Location header leads to, or None where it leaves the service or is none.

    `asked` is the whole path of the request that was answered: a Location may be told from there. The token is
    sent to the service itself and nobody else, so another host, port or scheme is not followed.
    """
    base = urlsplit(service.url)
    try:
        there = urlsplit(urljoin(f"{base.scheme}://{base.netloc}{asked}", location.strip()))
        elsewhere = _origin(there) != _origin(base)
    except ValueError:  # a port that is no number, brackets that hold no address
        return None
    if elsewhere:
        return None
    path = (there.path or "/") + (f"?{there.query}" if there.query else "")
    return quote(path, safe=_RESERVED)


def _origin(url: SplitResult) -> tuple[str, str | None, int | None, str | None]:
    return url.scheme, url.hostname, url.port or PORTS.get(url.scheme), url.username


def is_secret(name: str) -> bool:
    """Whether what is called so is better not shown."""
    return bool(_SECRET.search(name))


def is_harmless(header: str) -> bool:
    """Whether a header of this name is known to hold no secret."""
    return header.lower() in _HARMLESS


def _hides(name: str, value: str) -> bool:
    """Whether the value of a header is not to be shown. One with a gap changes with the requests: it is no key."""
    pieces = parse(value)
    if is_secret(name) or any(isinstance(piece, Variable) for piece in pieces):
        return True
    return not is_harmless(name) and not any(isinstance(piece, Gap) for piece in pieces)


def _headers(head: _Template, service: Service, request: Request, masked: bool) -> None:
    given = {name.lower(): (name, value) for name, value in {**service.headers, **request.headers}.items()}
    defaults = {"Host": urlsplit(service.url).netloc, "User-Agent": "oversold", "Accept": "application/json"}
    if request.json_ is not None:
        defaults["Content-Type"] = "application/json"
    elif request.form is not None:
        defaults["Content-Type"] = "application/x-www-form-urlencoded"
    for name, value in defaults.items():
        if name.lower() not in given:
            head.raw(f"{name}: {value}\r\n")
    for name, value in given.values():
        head.raw(f"{name}: ")
        if masked and _hides(name, value):
            head.raw(MASK)
        else:
            head.text(value, _header, str)
        head.raw("\r\n")
    if service.auth:
        token = MASK if masked else variable(service.auth.env)
        head.raw(f"{service.auth.header}: {f'{service.auth.scheme} {token}'.strip()}\r\n")


def _body(request: Request, fixed: Mapping[str, Value], masked: bool) -> _Template:
    body = _Template(fixed)
    if request.json_ is not None:
        _json(body, request.json_, masked)
    for index, (name, value) in enumerate((request.form or {}).items()):
        body.raw("&" if index else "")
        body.text(name, _form, quote_plus)
        body.raw("=")
        body.text(MASK if masked and is_secret(name) else value, _form, quote_plus)
    return body


def _json(body: _Template, value: Any, masked: bool) -> None:
    """Write a JSON value. A string that is one gap and nothing else becomes the value itself, with its type."""
    if isinstance(value, Mapping):
        for index, (name, item) in enumerate(value.items()):
            body.raw("," if index else "{")
            _json_string(body, name)
            body.raw(":")
            _json(body, MASK if masked and is_secret(name) else item, masked)
        body.raw("}" if value else "{}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            body.raw("," if index else "[")
            _json(body, item, masked)
        body.raw("]" if value else "[]")
    elif isinstance(value, str):
        pieces = parse(value)
        if len(pieces) == 1 and isinstance(pieces[0], Gap) and not pieces[0].as_text:
            alone = pieces[0].name
            body.slot(alone, _json_number if alone.endswith("_yuan") else _json_value)
        else:
            _json_string(body, value)
    else:
        body.raw(json.dumps(value))


def _json_string(body: _Template, text: str) -> None:
    body.raw('"')
    body.text(text, _json_inside, lambda literal: encode_basestring(literal)[1:-1])
    body.raw('"')


def _json_value(value: Value) -> bytes:
    return b"%d" % value if isinstance(value, int) else encode_basestring(value).encode()


def _json_number(value: Value) -> bytes:
    return str(value).encode()


def _json_inside(value: Value) -> bytes:
    return encode_basestring(str(value))[1:-1].encode()


def _percent(value: Value) -> bytes:
    text = str(value)
    return text.encode() if _SIMPLE(text) else quote(text, safe="").encode()


def _form(value: Value) -> bytes:
    text = str(value)
    return text.encode() if _SIMPLE(text) else quote_plus(text).encode()


def _header(value: Value) -> bytes:
    text = str(value)
    if not _SIMPLE(text) and any(letter < " " or letter == "\x7f" for letter in text):
        raise UsageError("a value holds a line break or a control character and stands in a header: take it out")
    return text.encode()


def _location(value: Value) -> bytes:
    return str(value).encode("ascii")


def _in_yuan(encode: Encode) -> Encode:
    return lambda fen: encode(yuan_text(int(fen)))
