"""What is drawn, printed and put side by side of runs and comparisons, now or later from their folders."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from oversold import catalogue, comparison, options, places, shell
from oversold.errors import UsageError
from oversold.report import pages, sources
from oversold.report.sources import Source
from oversold.telling import Telling


def drawn(
    telling: Telling, folder: Path, document: Mapping[str, Any], *, wanted: bool, patient: bool = True
) -> list[Path]:
    """Draw the charts and the page of a run or a comparison.

    A `patient` caller goes on without what cannot be drawn: what is recorded is there all the same.
    """
    if not wanted:
        return []
    telling.phase("drawing charts")
    try:
        return pages.draw(folder, document, catalogue.cards_of(Source("", folder, document).comparison))
    except KeyboardInterrupt:
        shell.complain(f"interrupted while drawing: `oversold report {folder}` does it again")
    except UsageError as error:
        if not patient:
            raise
        shell.complain(f"not drawn: {error}")  # the verdict does not hang on a full disk
    return []


def shown(console: Console, document: Mapping[str, Any], folder: Path, files: Sequence[Path]) -> None:
    """Print a run or a comparison."""
    printing = pages.print_comparison if "runs" in document else pages.print_run
    printing(console, document, folder, files)


def side_by_side(console: Console, found: Sequence[Source], out: Path) -> None:
    """Put several runs and comparisons into a folder of their own, below `out`, and show them together."""
    together = sources.side_by_side(found)
    options.writable(out)
    folder = places.new_run_folder(out, "side-by-side", together["runs"][0]["seed"])
    for run in together["runs"]:
        run["folder"] = os.path.relpath(run["folder"], folder)
    comparison.write(together, folder)
    shown(console, together, folder, drawn(Telling(), folder, together, wanted=True))
