"""What an SQL statement is called in a schedule: short, and understood at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from oversold.explore.naming import Naming

LONGEST = 80
COLUMNS = 3
PARAMETER = re.compile(r"%\((\w+)\)s|%s")
QUOTES = re.compile(r'["`]')
CAST = re.compile(r"::[A-Z]+(?: (?:VARYING|PRECISION|WITH TIME ZONE|WITHOUT TIME ZONE))?(?:\(\d+\))?")
CLOCK = re.compile(r"\b(?:clock_timestamp|now|statement_timestamp|utc_timestamp)\(\d?\)", re.IGNORECASE)
EPOCH = re.compile(r"extract\(epoch FROM (\w+)\)", re.IGNORECASE)
CASTED = re.compile(r"CAST\(([^()]+) AS [^()]+\)", re.IGNORECASE)
PREFIX = re.compile(r"\b[a-z_]\w*\.(?=[a-z_*])")
HINT = re.compile(r" FORCE INDEX \([\w, ]*\)", re.IGNORECASE)
SAYS_NOTHING = re.compile(r" (?:ON CONFLICT|RETURNING|ORDER BY)\b.*?(?= FOR | LIMIT |$)", re.IGNORECASE)
DANGLING = re.compile(r"(?: AND| WHERE)+(?= FOR | LIMIT |\)|$)", re.IGNORECASE)
BRACKETS = re.compile(r"(?:(?<=[=(])|(?<=, ))\(([^()]*)\)")
LABEL = re.compile(r" AS \w+_\d+\b")
TESTED = re.compile(r"(?<=\)) IS NOT NULL$")  # what makes a value of a function that returns none
OPERATORS = re.compile(r" (<=|>=|<>|!=|[=<>+*/%-]) ")
SELECTED = re.compile(r"^SELECT (.*?) FROM (.*)$", re.IGNORECASE)
INSERTED = re.compile(r"^INSERT (?:IGNORE )?INTO (\w+) \([^()]*\) VALUES \((.*)\)$", re.IGNORECASE)
WRITTEN = re.compile(
    r"\b(INSERT|UPDATE|DELETE) (?:IGNORE )?(?:INTO |FROM )?(?!OF |SKIP |NOWAIT)(\w+)", re.IGNORECASE
)
LOCKING = re.compile(
    r" FOR (?:NO KEY )?(?:UPDATE|SHARE|KEY SHARE)(?: OF \w+)?(?: SKIP LOCKED| NOWAIT)?$", re.IGNORECASE
)


def text_of(sql: str, parameters: Any, naming: Naming) -> str:
    """Return a statement with its values in it, without what says nothing: the one tranche, prefixes, casts.

    >>> values = {"rest": 0, "sale": "t1"}
    >>> update = "UPDATE stock SET rest=%(rest)s::BIGINT WHERE stock.id = %(sale)s"
    >>> text_of(update, values, Naming("t1", "tranche"))
    'UPDATE stock SET rest=0'
    """
    text = CAST.sub("", " ".join(QUOTES.sub("", sql).split()))
    text = PREFIX.sub("", HINT.sub("", text))
    if text.upper().startswith("WITH "):
        return _cut(" · ".join(f"{verb.upper()} {table}" for verb, table in WRITTEN.findall(text)) or text)
    text = _filled(EPOCH.sub(r"\1", CLOCK.sub("now", text)), parameters, naming)
    text = SAYS_NOTHING.sub("", CASTED.sub(r"\1", text))
    text = _without_subject(text, naming)
    text = OPERATORS.sub(r"\1", TESTED.sub("", LABEL.sub("", text)).replace("%%", "%"))
    text = BRACKETS.sub(r"\1", text)
    inserted = INSERTED.match(text)
    if inserted:
        return _cut(f"INSERT {inserted.group(1)} ({inserted.group(2)})")
    selected = SELECTED.match(text)
    if selected and selected.group(1).count(",") >= COLUMNS:
        text = f"SELECT * FROM {selected.group(2)}"
    return _cut(text)


def _filled(text: str, parameters: Any, naming: Naming) -> str:
    if isinstance(parameters, Mapping):
        return PARAMETER.sub(lambda found: _value(parameters.get(found.group(1) or ""), naming), text)
    values = iter(parameters or ())
    return PARAMETER.sub(lambda found: _value(next(values, "?"), naming), text)


def _value(value: Any, naming: Naming) -> str:
    return naming.of(value) if value != "" else "''"


def _without_subject(text: str, naming: Naming) -> str:
    """Leave out the conditions that name the one thing that everything is about."""
    subject = re.escape(naming.of(naming.prefix.removeprefix("oversold:")))
    text = re.sub(rf"\b\w+ = {subject}(?: AND |(?=\)|$| FOR | LIMIT ))", "", text)
    text = re.sub(rf"(?<=\(){subject}, ", "", text)
    return DANGLING.sub("", " ".join(text.split()))


def _cut(text: str) -> str:
    """Return a text that is not too long; how it locks stays."""
    if len(text) <= LONGEST:
        return text
    lock = LOCKING.search(text)
    tail = lock.group() if lock else ""
    return f"{text[: LONGEST - len(tail) - 1].rstrip()}…{tail}"
