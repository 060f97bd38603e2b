"""Where a service's truth is: its own orders, by a SQL query, an HTTP request or a CSV file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Self

from pydantic import Field, field_validator, model_validator

from oversold.errors import near
from oversold.services.placeholders import PER_RUN
from oversold.services.requests import Request, Section
from oversold.services.texts import check_key

COLUMNS = ("bid_id", "user_id", "amount_fen", "amount_yuan", "at")
_READS = re.compile(r"\s*(select|with|table|values)\b", re.IGNORECASE)


class LedgerProbe(Section):
    """Where the truth is read after the load: exactly one of a SQL query, an HTTP request, a CSV file."""

    sql: str | None = Field(None, repr=False, description="SQLAlchemy URL; ${NAME} takes an environment variable")
    query: str | None = Field(None, description="yields the columns; :tranche_id is bound")
    http: Request | None = None
    rows: str = Field("", description="JSON path of the list of rows in the reply to `http`")
    csv: str | None = Field(None, description="path of the file, from the service file's folder")
    columns: Mapping[str, str] = Field({}, description="our name -> theirs")
    settle_s: float = Field(1.0, ge=0, le=600)
    wait_s: float = Field(30.0, gt=0, le=3600)

    @field_validator("query")
    @classmethod
    def _only_reads(cls, query: str | None) -> str | None:
        if query is not None and not _READS.match(query):
            raise ValueError("it must begin with SELECT or WITH: the truth is read and never written")
        return query

    @field_validator("columns")
    @classmethod
    def _ours(cls, columns: Mapping[str, str]) -> Mapping[str, str]:
        for name in columns:
            if name not in COLUMNS:
                raise ValueError(
                    f"{name!r} is no column of ours{near(name, list(COLUMNS))}: there are {', '.join(COLUMNS)}"
                )
        if {"amount_fen", "amount_yuan"} <= columns.keys():
            raise ValueError("amount_fen and amount_yuan are both named: an amount has one column, leave one out")
        return columns

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in ("sql", "http", "csv") if getattr(self, name) is not None]
        if len(given) != 1:
            found = f"{' and '.join(given)} are given" if given else "nothing says where the truth is"
            raise ValueError(f"{found}: give exactly one of sql (with query), http, csv")
        if (self.sql is None) != (self.query is None):
            raise ValueError("sql and query go together: a URL, and what is asked there")
        if self.rows and self.http is None:
            raise ValueError("rows belongs to http: leave it out")
        if self.http is not None:
            try:
                self.http.gaps(PER_RUN)
            except ValueError as error:
                raise ValueError(f".http{error}") from error
        if self.csv is not None:
            check_key("csv", self.csv, ("run_id", "tranche_id"))
        return self

    @property
    def kind(self) -> str:
        """`sql`, `http` or `csv`."""
        return "sql" if self.sql is not None else "http" if self.http is not None else "csv"
