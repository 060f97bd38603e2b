"""What is wrong with a service file, in one line: the key, the cause, the mend, and never a secret."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from oversold.errors import near

# Values below these keys are never shown: they may hold passwords or tokens.
PRIVATE = {"headers", "auth", "sql", "url", "token", "password", "json", "form"}
_WANTED = {
    "string_type": "text, in quotes",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "dict_type": "a table",
    "mapping_type": "a table",
    "tuple_type": "a list",
}


def told(error: ValidationError, model: type[BaseModel]) -> str:
    """Return the first complaint of pydantic's: where it is, what is wrong, what to do."""
    first = error.errors(include_url=False)[0]
    keys = [str(part) for part in first["loc"]]
    text = _mend(first["type"], str(first["msg"]), keys, first.get("input"), model)
    # A rule about several keys of a table names the one that is meant itself, behind a dot.
    where = ".".join(keys)
    line = f"{where}{text}".lstrip(".") if text.startswith(".") else f"{where}: {text}" if where else text
    return " ".join(line.split())


def _mend(kind: str, message: str, keys: list[str], given: Any, model: type[BaseModel]) -> str:
    if kind == "extra_forbidden":
        known = _keys(model, keys[:-1])
        return f"no such key{near(keys[-1], known)}: there are {', '.join(known)}"
    if kind == "missing":
        return "it is missing: add it"
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    shown = "what is there" if PRIVATE & set(keys) else _shown(given)
    if kind in _WANTED:
        return f"{shown} does not fit: it must be {_WANTED[kind]}"
    return f"{shown} does not fit: {message[:1].lower()}{message[1:]}"


def _shown(given: Any) -> str:
    if isinstance(given, Mapping):
        return "a table"
    if isinstance(given, list | tuple):
        return "a list"
    return repr(given) if len(repr(given)) <= 60 else f"{repr(given)[:57]}..."


def _keys(model: type[BaseModel], place: list[str]) -> list[str]:
    """Return the keys of the table at a place below a model, as they are written in the file."""
    for key in place:
        for name, field in model.model_fields.items():
            if key in (name, field.alias):
                model = next(_models(field.annotation), model)
    return [field.alias or name for name, field in model.model_fields.items()]


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models inside an annotation such as `tuple[Rule, ...]` or `Auth | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)
