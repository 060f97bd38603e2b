"""The designs of a document, each under each of its loads, with the runs of all seeds together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from oversold.ci.metrics import kind_of
from oversold.comparison import broken_share
from oversold.report.page import bids, payouts
from oversold.report.page.entries import Entry, Table

Document = Mapping[str, Any]  # of summary.json or compare.json


def is_comparison(document: Document) -> bool:
    """Return whether a document holds several runs, not one."""
    return "runs" in document


def runs_of(document: Document) -> Sequence[Mapping[str, Any]]:
    """Return the run summaries of a document."""
    return list(document["runs"]) if is_comparison(document) else [document]


def table_of(document: Document) -> Table:
    """Return the designs of a document, the best first, with the sentence that answers which to take."""
    runs = runs_of(document)
    return payouts.tabulate(runs) if runs and kind_of(runs[0]) == "payouts" else bids.tabulate(runs)


def judged(table: Table) -> list[Entry]:
    """Return the entries that thresholds are for: all but the canaries, unless there is nothing else."""
    return [entry for entry in table.entries if not entry.canary] or list(table.entries)


def load_of(table: Table, entry: Entry) -> str:
    """Return the load of an entry in words."""
    return table.loads[entry.load]


def dutiful(document: Document, run: Mapping[str, Any]) -> bool:
    """Return whether a run is the canary of a comparison that broke its promise, as it must."""
    return is_comparison(document) and bool(run.get("canary")) and broken_share(run) > 0
