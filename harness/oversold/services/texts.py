"""What may stand in a service file's texts: gaps that can be filled, sound urls and headers, plain JSON."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from oversold.services.placeholders import check

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# Written by whoever sends the request: a second one would let two readers see two different requests.
OWN_HEADERS = ("content-length", "transfer-encoding", "connection", "expect", "upgrade", "te", "trailer")
MAX_DEPTH = 50


def strings(value: Any, key: str) -> list[tuple[str, str]]:
    """Return the strings of a JSON document, names included, each with where it is."""
    if isinstance(value, str):
        return [(key, value)]
    if isinstance(value, Mapping):
        inside = [pair for name, item in value.items() for pair in strings(item, f"{key}.{name}")]
        return [(key, name) for name in value] + inside
    if isinstance(value, list | tuple):
        return [pair for index, item in enumerate(value) for pair in strings(item, f"{key}.{index}")]
    return []


def sound_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Refuse names that are none, those that the sender writes, and values that would end the line.

    Raises:
        ValueError: which header, and why; values are never shown.
    """
    for name, value in headers.items():
        if not _HEADER.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a header: take letters, digits and hyphens")
        if name.lower() in OWN_HEADERS:
            raise ValueError(f"{name} is written by oversold itself: leave it out")
        if any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
            raise ValueError(f"{name} holds a line break or a control character: take it out")
    if len({name.lower() for name in headers}) < len(headers):
        raise ValueError("a header is there twice, in capitals and small letters: leave one out")
    return headers


def plain(value: Any, depth: int) -> None:
    """Refuse what JSON cannot say: TOML knows dates, infinities and NaN besides.

    Raises:
        ValueError: what was found.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
    if isinstance(value, Mapping):
        for item in value.values():
            plain(item, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            plain(item, depth + 1)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} cannot be said in JSON: take a number, or a text in quotes")
    elif not isinstance(value, str | bool | int | float | None):
        raise ValueError(f"{value} is a {type(value).__name__} and JSON has none: write it as text, in quotes")


def scalars(table: Any) -> Any:
    """Refuse a table of wanted values, JSON path -> value, with a list or a table for a value.

    Raises:
        ValueError: which path.
    """
    for path, value in table.items() if isinstance(table, Mapping) else ():
        if not isinstance(value, str | bool | int | float):
            raise ValueError(f"{path!r} must be compared with a text, a number, true or false")
    return table


def check_key(key: str, text: str, known: tuple[str, ...], *, variables: bool = False) -> None:
    """Raise ValueError, beginning with the key's name, for a gap outside of `known`."""
    try:
        check(text, known, variables=variables)
    except ValueError as error:
        raise ValueError(f".{key}: {error}") from error


def sound_url(url: str) -> str:
    """Return the url without slashes at its end.

    Raises:
        ValueError: it cannot be used; the text does not show what may be a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("it is no URL: write http://HOST:PORT, with a port of 1 to 65535") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("it has a user or a password in it: take them out and name a token with [auth]")
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError("write http://HOST:PORT or https://HOST:PORT, perhaps with a path")
    if "%" in parts.netloc:
        raise ValueError("it has a % in its host: write the host or the address out, without a zone")
    if parts.query or parts.fragment:
        raise ValueError("it has a ? or a # in it: write those into the requests' paths")
    if any(letter in '{}$\\"<>^`|' or not "!" <= letter <= "~" for letter in url):
        raise ValueError(
            "it has a placeholder, a space or a letter beyond ASCII in it: write it out, hosts as xn--"
        )
    return url.rstrip("/")
