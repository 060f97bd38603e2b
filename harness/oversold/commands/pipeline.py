"""What `run`, `compare` and `report` do for pipelines: thresholds, a baseline, JUnit, Markdown, GitHub."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from oversold.errors import Exit
from oversold.plan import Kind

if TYPE_CHECKING:
    from oversold.ci.wishes import Wishes


def wishes_of(context: typer.Context, values: Mapping[str, Any], kind: Kind | None) -> Wishes:
    """Read the options of `PIPELINE_OPTIONS`, before anything is started.

    Raises:
        UsageError: one of them cannot be used.
    """
    from oversold.ci.wishes import Wishes

    typed = any(_on_the_command_line(context, name) for name in ("maximum", "minimum"))
    return Wishes.read(
        environ=os.environ,
        most=values["maximum"] or (),
        least=values["minimum"] or (),
        baseline=values["baseline"],
        junit=values["junit"],
        markdown=values["markdown"],
        kind=kind,
        typed=typed,
    )


def _on_the_command_line(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def judged(wishes: Wishes, document: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a document with what came of the wishes, and keep it so in its folder."""
    from oversold import places, shell

    found = wishes.judged(document)
    if found != document:
        path = folder / ("compare.json" if "runs" in found else "summary.json")
        try:
            places.write_json(path, found)
        except OSError as error:  # what the run itself found is there already, and the verdict stands
            shell.complain(f"thresholds and baseline are not in {path}: {error.strerror}")
    return found


def reported(
    wishes: Wishes,
    documents: Sequence[Mapping[str, Any]],
    bases: Sequence[Exit],
    console: Console,
    *,
    as_json: bool,
) -> Exit:
    """Tell people, write the files, print the annotations; return the exit code."""
    from oversold.ci import news

    for document in documents:
        for line in news.lines(document):
            console.print(line, soft_wrap=True, markup=False, highlight=False)
    return wishes.report(documents, bases, stdout_is_json=as_json)
