"""What people see while a run goes on: progress on stderr, tables at the end, errors in one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from oversold.telling import Telling

if TYPE_CHECKING:
    from oversold.sweep import Cell, Sweep


def announce(sweep: Sweep, open_cells: Sequence[Cell]) -> None:
    """Say what a comparison is going to do, what it leaves out, and how a long one could be made shorter."""
    from oversold.report.tables import shown_name
    from oversold.sweep import LONG_S

    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    if len(sweep.cells) > 2:
        console.print(sweep.describe(open_cells))
    if sum(cell.plan.expected_s for cell in open_cells) > LONG_S:
        console.print(
            "That is long: name fewer --strategies, --users or values of --set, or a smaller --repeat. "
            "Ctrl-C keeps what is done, and --resume goes on."
        )
    for row in sweep.left_out:
        console.print(f"left out: {shown_name(row)}: {row['why']}")


@contextmanager
def telling() -> Iterator[Telling]:
    """Yield callbacks that draw one progress bar; when stderr is no terminal, only lines are written."""
    console = Console(stderr=True, highlight=False, markup=False)

    def line(text: str) -> None:
        console.print(text, soft_wrap=True)

    if not console.is_terminal:
        yield Telling(line=line)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None, count="")

        place = ""

        def within(text: str) -> None:
            nonlocal place
            place = f"[{text}] " if text else ""

        def phase(text: str) -> None:
            text = place + text
            if progress.tasks[0].description != text:
                progress.reset(task, description=text, total=None, count="")

        def count(text: str, finished: int, total: int) -> None:
            text = place + text
            if progress.tasks[0].description != text:
                progress.reset(task, description=text, total=total)
            # One below the end: a finished task stops its spinner and clock.
            progress.update(task, completed=min(finished, total - 0.001), count=f"{finished:,}/{total:,}")

        yield Telling(phase, count, within, line)


class _Patient(Console):
    """A console whose reader may go away (head, less) without ending the command."""

    def on_broken_pipe(self) -> None:
        """Write the rest to nowhere."""
        discard(self.file)


def discard(stream: IO[str]) -> None:
    """Send what is still written to a stream nowhere, so that Python does not complain at exit either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def piped_width(otherwise: int) -> int:
    """Return how many columns a pipe gets: as many as COLUMNS says, where it is set."""
    wished = os.environ.get("COLUMNS", "")
    return int(wished) if wished.isdecimal() and int(wished) > 0 else otherwise


def console(*, json_on_stdout: bool, pipe_width: int = 100) -> Console:
    """Return where tables go: stdout, or stderr when stdout belongs to JSON. Pipes get so many columns."""
    stream = sys.stderr if json_on_stdout else sys.stdout
    return _Patient(file=stream, width=None if stream.isatty() else pipe_width, highlight=False)
