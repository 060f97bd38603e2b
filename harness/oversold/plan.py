"""What every run's plan has, whichever incident it replays, and how its settings are read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from oversold.errors import UsageError, near

MAX_USERS = 1_000_000

Kind = Literal["bids", "payouts"]  # what an incident is about: each has its plan, its strategies, its audit
KINDS: tuple[Kind, ...] = ("bids", "payouts")
Sql = Literal["postgres", "mariadb"]
SQLS: tuple[Sql, ...] = ("postgres", "mariadb")
Settings = TypeVar("Settings", bound=BaseModel)


class Plan(BaseModel):
    """One run, as far as all incidents have it in common. Each kind of incident adds its own fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    scenario: str
    strategy: str
    seed: int = Field(1, ge=0, lt=2**63)
    users: int = Field(ge=1, le=MAX_USERS, description="Locust users")
    processes: int = Field(2, ge=1, le=64)
    lanes: int = Field(ge=1, le=4096)
    rtt_s: float = Field(0.0005, ge=0, le=10)
    sql: Sql = Field("postgres", description="the SQL server of the strategies, not of the ledger")
    allow_hosts: tuple[str, ...] = Field((), description="hosts besides this machine that may get load")

    @property
    def is_service(self) -> bool:
        """Whether the design is somebody's running service, described by a TOML file."""
        return self.strategy.endswith(".toml")

    @property
    def settings(self) -> BaseModel:
        """What `--set` changes."""
        raise NotImplementedError

    @property
    def connections(self) -> int:
        """How many connections one process opens to one server."""
        raise NotImplementedError

    @property
    def expected_s(self) -> float:
        """About how long a run takes, opening and audit included; the slowest designs take much longer."""
        raise NotImplementedError

    @property
    def canary(self) -> Self:
        """The same load on the design that must break its promise, or the load proves nothing of any other."""
        raise NotImplementedError


def settings_from(model: type[Settings], preset: Mapping[str, Any], pairs: list[str]) -> Settings:
    """Merge a preset with `key=value` words and validate.

    Raises:
        UsageError: unknown key (with the near ones) or a value that does not fit.
    """
    values = dict(preset)
    known = list(model.model_fields)
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"--set {pair}: write key=value")
        if name not in known:
            raise UsageError(f"--set {name}: no such setting{near(name, known)}; there are {', '.join(known)}")
        values[name] = value
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            raise UsageError(first["msg"].removeprefix("Value error, ")) from error
        name = str(first["loc"][0])
        raise UsageError(f"{name}={values.get(name)!r}: {first['msg'].lower()}") from error


def duration_s(text: str) -> float:
    """Parse `0.5ms`, `2s`, `300us` or a bare number of milliseconds, as `--rtt` takes them.

    >>> duration_s("0.5ms")
    0.0005
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(us|ms|s)?\s*", text)
    if not match:
        raise UsageError(f"{text!r} is no duration: write 0.5ms, 300us or 1s")
    return float(match[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1.0, None: 1e-3}[match[2]]
