"""Text with gaps: `{bid_id}` is filled in per run or per tap, `${NAME}` from the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from oversold.errors import UsageError, near

# Fixed for a whole run, and changing with every tap. An amount is given in fen; the one in yuan is made of it.
PER_RUN = ("run_id", "tranche_id", "capacity_fen", "capacity_yuan", "unit_fen")
PER_TAP = ("bid_id", "user_id", "n", "amount_fen", "amount_yuan", "attempt")
AS_TEXT = "text"
_GAP = re.compile(r"\$\{(?P<variable>\w+)\}|\{\{|\}\}|\{(?P<gap>[^{}]*)\}|[{}]")
_VARIABLE = re.compile(r"\$\{(\w+)\}")

Value = str | int


class Gap(NamedTuple):
    """A placeholder: `{name}`, or `{name:text}`, which stays a string where it is all of a JSON value."""

    name: str
    as_text: bool = False


class Variable(NamedTuple):
    """`${NAME}`: an environment variable, read when it is used."""

    name: str


Piece = str | Gap | Variable


def parse(text: str) -> tuple[Piece, ...]:
    """Split a text into literal strings, gaps and variables; `{{` and `}}` are braces.

    Raises:
        ValueError: a lone brace, or a gap that is no name.
    """
    pieces: list[Piece] = []
    literal, end = "", 0
    for match in _GAP.finditer(text):
        literal += text[end : match.start()]
        end = match.end()
        if match[0] in ("{{", "}}"):
            literal += match[0][0]
            continue
        pieces += [literal] if literal else []
        literal = ""
        pieces.append(Variable(match["variable"]) if match["variable"] else _gap(match["gap"]))
    literal += text[end:]
    return (*pieces, literal) if literal else tuple(pieces)


def _gap(inside: str | None) -> Gap:
    if inside is None:
        raise ValueError("a brace stands alone: write {{ or }} for a brace")
    name, colon, form = inside.partition(":")
    if not name.isidentifier() or (colon and form != AS_TEXT):
        raise ValueError(f"{{{inside}}} is no placeholder: write {{name}}, {{name:text}}, or {{{{ for a brace")
    return Gap(name, bool(colon))


def check(text: str, known: tuple[str, ...], *, variables: bool = False) -> None:
    """Refuse a text whose gaps cannot be filled from `known`, or whose variables have no place there.

    Raises:
        ValueError: what is wrong, with the near names and the known ones.
    """
    for piece in parse(text):
        if isinstance(piece, Gap) and piece.name not in known:
            there = ", ".join(f"{{{name}}}" for name in known)
            raise ValueError(
                f"{{{piece.name}}} is not known here{near(piece.name, list(known))}: there are {there}"
            )
        if isinstance(piece, Variable) and not variables:
            raise ValueError(f"${{{piece.name}}}: environment variables work in headers and in ledger.sql only")


def fill(text: str, values: Mapping[str, Value]) -> str:
    """Return the text with its gaps filled and its variables read.

    >>> fill("{run_id}-user-{n}", {"run_id": "r1", "n": 7})
    'r1-user-7'

    Raises:
        UsageError: a variable is not set.
        KeyError: a value is missing.
    """
    return "".join(
        piece if isinstance(piece, str) else variable(piece.name) if isinstance(piece, Variable)
        else str(value_of(piece.name, values))
        for piece in parse(text)
    )  # fmt: skip


def expand(text: str) -> str:
    """Return the text with its `${NAME}`s read from the environment; braces mean nothing else in it.

    Raises:
        UsageError: a variable is not set.
    """
    return _VARIABLE.sub(lambda match: variable(match[1]), text)


def variables_in(text: str) -> list[str]:
    """Return the environment variables that `expand` would read."""
    return _VARIABLE.findall(text)


def variable(name: str) -> str:
    """Return an environment variable.

    Raises:
        UsageError: it is not set, empty, or holds a line break. The text names it and never shows what it holds.
    """
    value = os.environ.get(name, "")
    if not value:
        raise UsageError(f"the service file needs the environment variable {name}: it is not set")
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
        raise UsageError(f"the environment variable {name} holds a line break or a control character: take it out")
    return value


def source_of(name: str) -> str:
    """Return the value that a gap is made of: amounts in yuan come from those in fen."""
    return f"{name.removesuffix('_yuan')}_fen" if name.endswith("_yuan") else name


def value_of(name: str, values: Mapping[str, Value]) -> Value:
    """Return what belongs into a gap; an amount in yuan is its decimal text, `1.50`.

    Raises:
        KeyError: it is missing.
    """
    value = values[source_of(name)]
    return yuan_text(int(value)) if name.endswith("_yuan") else value


def yuan_text(fen: int) -> str:
    """Return an amount as decimal yuan, exactly.

    >>> yuan_text(150)
    '1.50'
    """
    return f"{'-' if fen < 0 else ''}{abs(fen) // 100}.{abs(fen) % 100:02d}"
