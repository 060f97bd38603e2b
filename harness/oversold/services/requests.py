"""One request to a service as its file describes it, and the rules by which a reply becomes an answer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from oversold.errors import near
from oversold.services.placeholders import PER_RUN, PER_TAP
from oversold.services.texts import check_key, plain, scalars, sound_headers, strings

Answer = Literal["ok", "pending", "sold_out", "busy", "declined", "error", "unknown"]
ANSWERS: tuple[Answer, ...] = get_args(Answer)
Scalar = str | bool | int | float
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_STATUS = re.compile(r"[1-5](xx|\d\d)")


class Section(BaseModel):
    """A table of the service file: no unknown keys, never changed after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)


class Request(Section):
    """A request. Path, headers, JSON and form may have gaps; those of a run and of a tap are known."""

    method: str = "GET"
    path: str = Field(description="begins with /, is added to the service's url")
    headers: Mapping[str, str] = {}
    json_: Any = Field(None, alias="json", description="the body as JSON")
    form: Mapping[str, str] | None = Field(None, description="the body as a form, instead of JSON")

    @field_validator("method", mode="before")
    @classmethod
    def _known_method(cls, method: Any) -> Any:
        if isinstance(method, str) and method.upper() not in METHODS:
            raise ValueError(f"{method!r} is no method that is sent: there are {', '.join(METHODS)}")
        return method.upper() if isinstance(method, str) else method

    @field_validator("path")
    @classmethod
    def _sound_path(cls, path: str) -> str:
        if not path.startswith("/"):
            raise ValueError("it must begin with /: it is added to the service's url")
        if any(letter.isspace() or not letter.isprintable() for letter in path) or "#" in path:
            raise ValueError("it has a space, a # or a control character: write %20 or %23, or leave it out")
        return path

    @field_validator("headers")
    @classmethod
    def _sound_headers(cls, headers: Mapping[str, str]) -> Mapping[str, str]:
        return sound_headers(headers)

    @field_validator("json_")
    @classmethod
    def _plain_json(cls, body: Any) -> Any:
        plain(body, 0)
        return body

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        if self.json_ is not None and self.form is not None:
            raise ValueError("json and form are both given: a request has one body, leave one out")
        self.known()
        return self

    def known(self) -> None:
        """Refuse gaps that nothing fills. Requests that are sent once in a run know no taps."""
        self.gaps((*PER_RUN, *PER_TAP))

    def gaps(self, known: tuple[str, ...]) -> None:
        """Raise ValueError, with the key's name, for a gap outside of `known`."""
        for key, text in self.texts():
            check_key(key, text, known, variables=key.startswith("headers."))

    def texts(self) -> list[tuple[str, str]]:
        """Return every text that may have gaps, each with its key: `("path", "/bids/{bid_id}")`."""
        found = [("path", self.path)]
        found += [(f"headers.{name}", value) for name, value in self.headers.items()]
        for name, value in (self.form or {}).items():
            found += [("form", name), (f"form.{name}", value)]
        return found + list(strings(self.json_, "json"))


def requests_in(section: Section, key: str = "") -> Iterator[tuple[str, Request]]:
    """Yield every request of a section and of those inside it, each with its key: `("ledger.http", ...)`."""
    if isinstance(section, Request):
        yield key, section
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from requests_in(value, f"{key}.{name}".lstrip("."))


class Rule(Section):
    """One reply and what it means: the first rule whose status and JSON values fit decides."""

    status: int | str | tuple[int | str, ...] | None = Field(None, description='201, "2xx", a list; none: any')
    json_: Mapping[str, Scalar] = Field(
        {}, alias="json", description="JSON path -> the value that is wanted there"
    )
    verdict: Answer

    @field_validator("status", mode="before")
    @classmethod
    def _known_status(cls, status: Any) -> Any:
        for code in status if isinstance(status, list | tuple) else () if status is None else (status,):
            if isinstance(code, bool) or not isinstance(code, int | str) or not _STATUS.fullmatch(str(code)):
                raise ValueError(f'{code!r} is no status: write 201, "2xx" or a list of them')
        if isinstance(status, list | tuple) and not status:
            raise ValueError("an empty list never fits: name a status, or leave the key out for any")
        return status

    @field_validator("json_", mode="before")
    @classmethod
    def _scalars(cls, table: Any) -> Any:
        return scalars(table)

    @field_validator("verdict", mode="before")
    @classmethod
    def _known_verdict(cls, verdict: Any) -> Any:
        if verdict not in ANSWERS:
            words = near(str(verdict), list(ANSWERS))
            raise ValueError(f"{verdict!r} is no verdict{words}: there are {', '.join(ANSWERS)}")
        return verdict

    @cached_property
    def codes(self) -> frozenset[int] | None:
        """The statuses that fit, as numbers; None: any."""
        if self.status is None:
            return None
        found: set[int] = set()
        for code in self.status if isinstance(self.status, tuple) else (self.status,):
            text = str(code)
            found |= set(range(int(text[0]) * 100, int(text[0]) * 100 + 100)) if "x" in text else {int(text)}
        return frozenset(found)
