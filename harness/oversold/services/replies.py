"""What a reply of the service means: by the rules of its file, and nothing but status and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from oversold.model import Claim
from oversold.services.mapping import StatusRequest
from oversold.services.requests import Answer, Rule, Scalar


def verdict_of(rules: Sequence[Rule], status: int, body: bytes) -> Answer | None:
    """Return the verdict of the first rule that fits, if one does. JSON is read only if a rule asks for it."""
    document, read = None, False
    for rule in rules:
        codes = rule.codes
        if codes is not None and status not in codes:
            continue
        if not rule.json_:
            return rule.verdict
        if not read:
            document, read = document_of(body), True
        if fits(rule.json_, document):
            return rule.verdict
    return None


def unmapped(section: str, rules: Sequence[Rule], status: int) -> str:
    """Return, for a reply that no rule of a section fits, what it was: the same text for the same cause."""
    if any(rule.codes is None or status in rule.codes for rule in rules):
        return f"status {status} with a body that no rule of [{section}] fits"
    return f"status {status}, which no rule of [{section}] names"


def fits(wanted: Mapping[str, Scalar], document: Any) -> bool:
    """Whether a document has all the wanted values (JSON path -> value). `true` is no 1, and \"1\" neither."""
    for path, value in wanted.items():
        found = at_path(document, path)
        if found != value or isinstance(found, bool) != isinstance(value, bool):
            return False
    return True


def at_path(document: Any, path: str) -> Any:
    """Return what is at a path of dotted names and indices, or None if nothing is there; "" is the whole document.

    >>> at_path({"data": {"items": [{"id": 7}]}}, "data.items.0.id")
    7
    """
    for step in path.split(".") if path else ():
        if isinstance(document, Mapping):
            document = document.get(step)
        elif isinstance(document, list) and step.isdecimal() and int(step) < len(document):
            document = document[int(step)]
        else:
            return None
    return document


def claim_of(status_request: StatusRequest, body: bytes) -> Claim:
    """Return what the service says of its own stock.

    Raises:
        ValueError: the reply is no JSON, so it says nothing.
    """
    document = document_of(body)
    if document is None:
        raise ValueError("the reply to the status request is no JSON")
    path = status_request.remaining_fen
    left = None if path is None else _whole(at_path(document, path))
    full = fits(status_request.full, document) if status_request.full else left is not None and left <= 0
    return Claim("full" if full else "open", left)


def document_of(body: bytes) -> Any:
    """Return a body's JSON; None where it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):  # no JSON, no text, numbers or nesting beyond measure
        return None


def _whole(value: Any) -> int | None:
    """Return a whole number, however it is written; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = int(value)
    except (ValueError, OverflowError):
        return None
    return number if isinstance(value, str) or number == value else None
