"""What GitHub Actions shows of a run: its summary beside the step, and annotations beside the change."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from oversold.ci.news import Item
from oversold.errors import UsageError

MOST = 10  # GitHub shows no more of each step
_CONTROL = re.compile("[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]")


def annotate(items: Sequence[Item], stream: TextIO) -> None:
    """Write at most `MOST` annotations, the worst of the items first; the last one then says what is left out."""
    shown = list(items) if len(items) <= MOST else list(items[: MOST - 1])
    for item in shown:
        print(annotation(item), file=stream)
    if left := len(items) - len(shown):
        level = items[len(shown)].level
        print(annotation(Item(level, "oversold", f"and {left} more: see the summary of this step")), file=stream)
    stream.flush()


def annotation(item: Item) -> str:
    """Return one annotation as a line, with what GitHub reads as syntax escaped.

    >>> print(annotation(Item("error", "a, b: c", "100 %\\nsold")))
    ::error title=a%2C b%3A c::100 %25%0Asold
    """
    title = _escaped(item.title).replace(":", "%3A").replace(",", "%2C")
    return f"::{item.level} title={title}::{_escaped(item.text)}"


def _escaped(text: str) -> str:
    said = _CONTROL.sub(" ", text)
    return said.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def summarise(text: str, environ: Mapping[str, str]) -> None:
    """Append Markdown to the step's summary, where there is one.

    Raises:
        UsageError: it cannot be written.
    """
    name = environ.get("GITHUB_STEP_SUMMARY")
    if not name:
        return
    try:
        with Path(name).open("a", encoding="utf-8", newline="\n", errors="replace") as file:
            file.write(f"{text}\n")
    except OSError as error:
        raise UsageError(
            f"GITHUB_STEP_SUMMARY={name} cannot be written ({error.strerror}): the run's own files are kept"
        ) from error


def runs_in(environ: Mapping[str, str]) -> bool:
    """Return whether these are the variables of GitHub Actions."""
    return environ.get("GITHUB_ACTIONS") == "true"
