"""What a reply said, in a few words and without secrets: services echo tokens, and messages end up in reports."""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Iterator, Sequence
from urllib.parse import quote, quote_plus

from oversold.errors import UsageError
from oversold.services.mapping import Service
from oversold.services.placeholders import Variable, expand, parse, variables_in
from oversold.services.reader import Reply
from oversold.services.requests import requests_in
from oversold.services.templates import MASK, is_harmless, is_secret

SHOWN = 120  # characters of a reply
READ_BYTES = 1 << 16  # of a reply: what is shown is always its beginning
SHORTEST = 6  # letters of a text of the file that may be a secret; values of the environment are, however short


def said(service: Service, reply: Reply | bytes | str) -> str:
    """Return the beginning of a reply's body in one line, with all that is secret replaced by ***."""
    body = reply.body if isinstance(reply, Reply) else reply
    text = body[:READ_BYTES].decode("utf-8", "replace") if isinstance(body, bytes) else body[:READ_BYTES]
    return shortened(text, secrets_of(service))


def shortened(text: str, secrets: Sequence[str]) -> str:
    """Return the beginning of a text in one line, without secrets and control characters."""
    # What is dropped could stand inside of a secret, so it goes first; and what is cut could be half of one.
    printable = "".join(letter for letter in text if letter.isprintable() or letter.isspace())
    words = " ".join(hushed(printable, secrets).split())
    return words if len(words) <= SHOWN else words[: SHOWN - 3] + "..."


def hushed(text: str, secrets: Sequence[str]) -> str:
    """Return the text with every secret replaced by ***, in capitals and small letters alike."""
    if not secrets:
        return text
    return re.sub("|".join(map(re.escape, secrets)), MASK, text, flags=re.IGNORECASE)


def secrets_of(service: Service) -> tuple[str, ...]:
    """Return what must not be shown, in all the ways in which it may be written; longer ones first.

    That is: values of the environment, the token, values of headers, bodies and queries that may be secret, the
    password of ledger.sql. A variable that is not set hides nothing.
    """
    found = {form for secret in _plain(service) if secret for form in _forms(secret)}
    return tuple(sorted(found, key=len, reverse=True))


def _forms(secret: str) -> Iterator[str]:
    yield from (secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1])
    yield from (quote(secret, safe=""), quote(secret), quote_plus(secret), html.escape(secret))
    yield json.dumps(secret)[1:-1].replace("/", "\\/")


def _plain(service: Service) -> Iterator[str]:
    if service.auth:
        yield os.environ.get(service.auth.env, "")
    headers = [service.headers, *(request.headers for _, request in requests_in(service))]
    for name, value in (pair for table in headers for pair in table.items()):
        yield from _of_header(name, value)
    for _, request in requests_in(service):
        for key, text in request.texts():
            if key.startswith(("json.", "form.")) and is_secret(key):
                yield from _literals(text)
        for name, value in re.findall(r"[?&]([^=&]+)=([^&]*)", request.path):
            if is_secret(name):
                yield from _literals(value)
    if service.ledger and service.ledger.sql is not None:
        yield from _of_database(service.ledger.sql)


def _of_header(name: str, value: str) -> Iterator[str]:
    for piece in parse(value):
        if isinstance(piece, Variable):
            yield os.environ.get(piece.name, "")
    if not is_harmless(name):
        yield from _literals(value)


def _literals(text: str) -> Iterator[str]:
    """Yield what stands between the gaps of a text, whole and word by word: `Bearer` comes before a token."""
    for piece in parse(text):
        if isinstance(piece, str):
            yield from (part for part in (piece.strip(), *piece.split()) if len(part) >= SHORTEST)


def _of_database(text: str) -> Iterator[str]:
    # Its drivers take long to import, and most service files are read without them.
    from oversold.services.probes.sql import url_of

    values = [os.environ.get(name, "") for name in variables_in(text)]
    try:
        url = url_of(expand(text))
    except UsageError:
        yield from values
        return
    yield str(url.password or "")
    yield from (str(value) for name, value in url.query.items() if "pass" in name)
    told = {url.host, url.database, url.username, str(url.port), url.drivername}
    yield from (value for value in values if value not in told)
