"""The exit code of a run, with its thresholds and its baseline counted in."""

from __future__ import annotations

from typing import Any

from oversold.ci.designs import Document
from oversold.errors import Exit


def missed(document: Document) -> list[dict[str, Any]]:
    """Return the rows of the thresholds that a document misses."""
    return [row for row in document.get("thresholds") or [] if not row["held"]]


def worsened(document: Document) -> list[dict[str, Any]]:
    """Return the rows of the baseline that got worse."""
    return [row for row in (document.get("baseline") or {}).get("rows") or [] if row["worse"]]


def exit_with(document: Document, base: Exit) -> Exit:
    """Return `base`, or THRESHOLD where all passed but a threshold was missed or a number got worse.

    A broken promise and a harness error come first. So does a doubt: the numbers of a run that proves nothing are
    no news of the design.
    """
    if base == Exit.PASS and (missed(document) or worsened(document)):
        return Exit.THRESHOLD
    return base
