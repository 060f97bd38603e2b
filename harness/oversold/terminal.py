"""What people see while a run goes on: progress on stderr, tables at the end, errors in one line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from oversold.session import Telling


@contextmanager
def telling(quiet: bool = False) -> Iterator[Telling]:
    """Yield callbacks that draw one progress bar; when stderr is no terminal, they say nothing."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield Telling()
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None)

        def phase(text: str) -> None:
            progress.update(task, description=text, total=None, completed=0)

        def bids(finished: int, total: int) -> None:
            progress.update(task, description="bidding", total=total, completed=finished)

        yield Telling(phase, bids)


def console(*, json_on_stdout: bool) -> Console:
    """Return where tables go: stdout, or stderr when stdout belongs to JSON. Pipes get 100 columns."""
    stream = sys.stderr if json_on_stdout else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else 100, highlight=False)
