"""What a pipeline must be told of a run: a broken promise, a missed threshold, a doubt, an item each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from oversold.ci.designs import Document, dutiful, is_comparison, load_of, runs_of, table_of
from oversold.ci.exits import missed, worsened
from oversold.ci.metrics import worded
from oversold.report.cells import worst_verdict
from oversold.report.page.entries import Entry, Table

Level = Literal["error", "warning"]


class Item(NamedTuple):
    """One piece of news: how bad it is, what it is about, what happened."""

    level: Level
    title: str
    text: str


def verdict_of(document: Document) -> str:
    """Return the worst verdict of a document. A canary that breaks its promise in a comparison does not count."""
    runs = runs_of(document)
    verdicts = [str(run["verdict"]) for run in runs if not dutiful(document, run)]
    if document.get("interrupted") or document.get("failed") or not runs:
        verdicts.append("inconclusive")
    return worst_verdict(verdicts) if verdicts else "pass"


def items(document: Document) -> list[Item]:
    """Return all news of a document, what is worst first."""
    return worst_first([*_verdicts(document), *_failed(document), *_numbers(document), *_doubts(document)])


def worst_first(found: Iterable[Item]) -> list[Item]:
    """Return errors before warnings, each in their order."""
    return sorted(found, key=lambda item: item.level != "error")


def lines(document: Document) -> list[str]:
    """Return what a terminal is told of thresholds and baseline, a line each; the findings it has already."""
    rows = document.get("thresholds") or []
    told = [f"{len(rows) - len(missed(document))} of {len(rows)} thresholds held"] if rows else []
    return [*told, *(f"{item.title}: {item.text}" for item in (*_numbers(document), *_doubts(document)))]


def changed(row: Mapping[str, Any]) -> str:
    """Say what became of a number since the baseline."""
    return f"{row['metric']} was {value_of(row['before'])}, is {value_of(row['now'])}. {row['why']}"


def value_of(value: str | float | None) -> str:
    """Return a number, or the word of a verdict, as it is told."""
    return value if isinstance(value, str) else worded(value)


def where(row: Mapping[str, Any]) -> str:
    """Say which design under which load a row of thresholds or of the baseline is of."""
    return f"{row['strategy']}, {row['load']}"


def _verdicts(document: Document) -> Iterator[Item]:
    table = table_of(document)
    for entry in table.entries:
        if entry.verdict == "pass" or dutiful(document, entry.worst):
            continue
        level: Level = "error" if entry.verdict == "fail" else "warning"
        for check, sentence in entry.reasons:
            title = f"{_name(document, table, entry)}: {check or entry.verdict}"
            yield Item(level, title, f"{sentence} Again: {entry.command}" if entry.command else sentence)


def _name(document: Document, table: Table, entry: Entry) -> str:
    parts = [str(entry.worst.get("scenario") or ""), entry.name]
    if is_comparison(document):
        parts += [load_of(table, entry), entry.which]
    return ", ".join(part for part in parts if part)


def _failed(document: Document) -> Iterator[Item]:
    for row in document.get("failed") or []:
        title = f"{row.get('strategy', '?')}, {row.get('users', '?')} users, seed {row.get('seed', '?')}"
        yield Item("error", f"{title}: not run", str(row.get("why", "")))


def _numbers(document: Document) -> Iterator[Item]:
    for row in missed(document):
        yield Item("error", f"{where(row)}: threshold missed", row["detail"])
    for row in worsened(document):
        yield Item("error", f"{where(row)}: worse than the baseline", changed(row))


def _doubts(document: Document) -> Iterator[Item]:
    if document.get("interrupted"):
        yield Item("warning", "interrupted", "Not everything that was asked for was run.")
    for line in (document.get("baseline") or {}).get("caveats") or []:
        yield Item("warning", "baseline", line)
