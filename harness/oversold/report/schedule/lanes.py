"""A schedule for the terminal: one lane an actor, or a list where lanes would be too narrow."""

from __future__ import annotations

from rich.box import Box
from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.table import Table
from rich.text import Text

from oversold.report.schedule import faults
from oversold.report.schedule.marks import ending, marked
from oversold.report.schedule.rows import Again, Kind, Row
from oversold.report.tables import printable
from oversold.schedule import Schedule, Step

NARROWEST = 14  # characters; below that a lane cannot be read
_NUMBERS = 6  # characters that the column of step numbers takes
_BETWEEN = 3  # characters between two columns
_WIDTH = 4  # characters of a step's number

# Plain ASCII, so that a pipe or a log can have it.
_LANES = Box("    \n  | \n -+ \n  | \n  | \n  | \n  | \n    \n", ascii=True)
SIGNS: dict[Kind, str] = {"stale": "~", "acts": "~", "fault": "!", "broken": "X"}
_STYLES: dict[Kind, str] = {"stale": "yellow", "acts": "yellow", "fault": "magenta", "broken": "bold red"}


def drawn(schedule: Schedule, width: int) -> RenderableType:
    """Return the schedule as text of at most `width` columns.

    Each row has a step's number, its command, and its reply behind `->`. `~` stands at stale reads and at what was
    built on them, `!` at faults, `X` where the promise is broken.
    """
    actors = schedule.actors
    lane = (width - _NUMBERS) // max(1, len(actors)) - _BETWEEN
    rows = marked(schedule)
    table = _lanes(actors, rows) if lane >= NARROWEST else _list(rows)
    parts: list[RenderableType] = [table]
    if last := ending(schedule):
        parts.append(Text(printable(f"{SIGNS['broken']} {last}"), style=_STYLES["broken"]))
    return Constrain(Group(*parts), width)


def _table() -> Table:
    table = Table(box=_LANES, show_edge=False, pad_edge=False, header_style="bold")
    table.add_column("step", justify="right", no_wrap=True, min_width=_WIDTH)
    return table


def _lanes(actors: tuple[str, ...], rows: list[Row | Again]) -> Table:
    table = _table()
    for actor in actors:
        table.add_column(printable(actor), overflow="fold", min_width=NARROWEST)
    for row in rows:
        if isinstance(row, Again):
            table.add_row("...", *(Text(row.text if not place else "", "italic") for place in range(len(actors))))
        else:
            cells = [_cell(row) if actor == row.step.actor else Text() for actor in actors]
            table.add_row(_number(row), *cells)
    return table


def _list(rows: list[Row | Again]) -> Table:
    table = _table()
    table.add_column("who", no_wrap=True)
    table.add_column("what", overflow="fold")
    for row in rows:
        if isinstance(row, Again):
            table.add_row("...", "", Text(row.text, "italic"))
        else:
            table.add_row(_number(row), printable(row.step.actor), _cell(row))
    return table


def told(row: Row | Again) -> Text:
    """Return one row by itself, with the signs of `drawn`: number, actor, command and reply, what is beside it."""
    if isinstance(row, Again):
        return Text(f" ... | {row.text}", "italic")
    number = _number(row)
    number.pad_left(_WIDTH - len(number))
    first, *others = (Text(f"{printable(row.step.actor)}: ") + _cell(row)).split("\n")
    below = [Text.assemble(" " * _WIDTH, " | ", other) for other in others]
    return Text("\n").join([Text.assemble(number, " | ", first), *below])


def _number(row: Row) -> Text:
    sign = f"{SIGNS['broken']} " if row.has("broken") else ""
    return Text(f"{sign}{row.step.number}", style=_STYLES["broken"] if sign else "")


def _cell(row: Row) -> Text:
    """Return a step's command and reply, and what is said beside it, each of that on a line of its own."""
    text = Text(printable(row.step.operation), style=_STYLES["broken"] if row.has("broken") else "")
    if reply := answered(row.step):
        text.append(f" -> {printable(reply)}")
    if row.times > 1:
        text.append(f" (x{row.times})", style="italic")
    for mark in row.marks:
        text.append("\n")
        text.append(f"{SIGNS[mark.kind]} {printable(mark.text)}", style=_STYLES[mark.kind])
    return text


def answered(step: Step) -> str:
    """Return the reply that a step's actor got: nothing where it was lost, whatever the store has answered."""
    return "" if step.choice in faults.UNHEARD else " ".join(step.reply.split())
