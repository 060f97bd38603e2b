"""The commands that search and repeat schedules: `explore`, `replay`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, RenderableType

from oversold.commands.arguments import (
    OUTPUT,
    STORE_OPTIONS,
    Json,
    Seed,
    SqlServer,
    choice_of,
    option,
    takes,
)
from oversold.commands.root import app, finish
from oversold.errors import Exit, UsageError

if TYPE_CHECKING:
    from oversold.schedule import Schedule

SEARCH = "Search"
PIPE = 80  # columns of what goes into a pipe, where COLUMNS does not say

StoreKind = Annotated[
    str,
    option(
        "--store", panel="Stores", metavar="real|fake",
        text="fake: Redis and memcached inside this process; nothing is started. What is found there has to be "
        "repeated on the real store.",
    ),
]  # fmt: skip


@app.command()
@takes(STORE_OPTIONS)
def explore(
    strategy: Annotated[
        str, typer.Argument(help="A strategy of `oversold list`, of bids or payouts, or path/to/file.py:Class.")
    ],
    bidders: Annotated[
        str | None,
        option(
            "--bidders", "--workers", panel=SEARCH, metavar="N",
            text="How many act at the same time: bidders (default 3), or job workers of payouts (default 2).",
        ),
    ] = None,
    capacity_bids: Annotated[
        str | None,
        option(
            "--capacity-bids", panel=SEARCH, metavar="N",
            text="Bids: how many shares are for sale (default: one fewer than there are bids).",
        ),
    ] = None,
    bids_each: Annotated[
        str | None,
        option(
            "--bids-each", panel=SEARCH, metavar="N",
            text="Bids: how many each bidder makes, one after the other over one connection (default 1): finds "
            "what a bid leaves behind for the next one.",
        ),
    ] = None,
    shares: Annotated[
        str | None,
        option(
            "--shares", panel=SEARCH, metavar="N[,N]",
            text="Bids: how many shares each bid wants, in turn (default 1).",
        ),
    ] = None,
    faults: Annotated[
        str | None,
        option(
            "--faults", panel=SEARCH, metavar="0..2",
            text="How many of these may happen: somebody dies, a request or a reply is lost, a channel lies, a "
            "step of the pipeline fails, somebody gives up, a key expires, time passes. Default: 0, of payouts 1.",
        ),
    ] = None,
    no_pauses: Annotated[
        bool,
        option(
            "--no-pauses", panel=SEARCH,
            text="Payouts: no worker stops for an hour; that breaks nearly all designs: channels have no fence.",
        ),
    ] = False,
    budget: Annotated[
        str, option("--budget", panel=SEARCH, metavar="TIME", text="Search for so long at most: 30s, 2m, 500ms.")
    ] = "30s",
    mode: Annotated[
        str,
        option(
            "--mode", panel=SEARCH, metavar="exhaustive|hunt",
            text="exhaustive: all schedules, which proves something for a few bidders. hunt: draw schedules at "
            "random and by priorities (PCT), for many.",
        ),
    ] = "exhaustive",
    check: Annotated[
        list[str] | None,
        option(
            "--check", panel=SEARCH, metavar="NAME",
            text="Search for this broken promise, e.g. undersubscription, leak, missed. Repeatable. Default: "
            "those that lose money: oversubscription, duplicate, phantom and lost orders; overpaid and stranger.",
        ),
    ] = None,
    seed: Seed = None,
    sql: SqlServer = None,
    store: StoreKind = "real",
    out: Annotated[
        Path, option("--out", panel=OUTPUT, env="OVERSOLD_OUT", metavar="DIR", text="Folder for the files.")
    ] = Path("reports"),
    json_: Json = False,
    **values: Any,
) -> None:  # fmt: skip
    """Find the shortest order of store commands that breaks a design, or show that there is none.

    Runs the strategy's own code one store command at a time on the real stores, in all orders that differ. The
    verdict says what was searched; a counterexample is made as small as it can be, repeated ten times, and kept as
    a replay file.

    Example: oversold explore check-then-decr --bidders 2
    """
    from oversold import options, places, terminal
    from oversold.explorations import answers
    from oversold.explorations.options import Typed, exploration_of
    from oversold.explorations.questions import kind_of
    from oversold.explorations.servers import Stores, explored_and_smaller

    words = (strategy, bidders, capacity_bids, shares, faults, budget, mode, tuple(check or ()), seed, sql, store)
    asked = exploration_of(Typed(*words, pauses=not no_pauses, bids_each=bids_each), kind_of(strategy))
    options.writable(out)
    choice = choice_of(values)
    console = terminal.console(json_on_stdout=json_, pipe_width=terminal.piped_width(PIPE))
    with terminal.telling() as telling, Stores(choice) as servers:
        telling.phase("starting the stores")
        teller = _teller(telling, strategy, asked.limits.budget_s)
        asked, result = explored_and_smaller(asked, servers, teller)
        found = answers.document(asked, result, servers.used(asked))
    folder = places.new_run_folder(out, "explore", asked.limits.seed)
    files = answers.written(folder, found, result)
    for part in answers.shown(found, result, console.width):
        _say(console, part)
    for line in answers.following(asked, result, files):
        _say(console, line, whole=line.startswith(("again:", "next:")))
    for line in ("files:", *(f"  {path}" for path in files)):
        _say(console, line, whole=True)
    finish({**found, "folder": str(folder)}, json_, answers.EXITS[found["verdict"]])


@app.command()
@takes(STORE_OPTIONS)
def replay(
    file: Annotated[Path, typer.Argument(help="A replay file of `oversold explore`.", metavar="FILE")],
    html: Annotated[
        Path | None,
        option("--html", panel=OUTPUT, metavar="FILE", text="Write the schedule as a page with its picture."),
    ] = None,
    mermaid: Annotated[
        bool,
        option("--mermaid", panel=OUTPUT, text="Print a Mermaid sequence diagram to stdout, and nothing else."),
    ] = False,
    step: Annotated[
        bool, option("--step", panel=SEARCH, text="Show one step after the other: Enter goes on, q ends.")
    ] = False,
    strategy: Annotated[
        str | None,
        option("--strategy", "-s", panel=SEARCH, metavar="S", text="Repeat it with this one, not the file's."),
    ] = None,
    run: Annotated[
        bool, option("--run/--no-run", panel=SEARCH, text="Repeat it on the stores; --no-run only shows the file.")
    ] = True,
    sql: SqlServer = None,
    store: StoreKind = "real",
    json_: Json = False,
    **values: Any,
) -> None:  # fmt: skip
    """Repeat a schedule step by step on the stores, and say whether it still breaks the design.

    Exit code 1: it does. 0: the design has been changed and keeps its promise in this schedule now; whether in
    others too, `oversold explore` says. 4: it goes another way although nothing was changed.

    Example: oversold replay reports/explore/latest/replay.jsonl
    """
    from dataclasses import replace

    from oversold import schedule_file, terminal
    from oversold.explorations import replays
    from oversold.explorations.options import one_of
    from oversold.explorations.servers import Stores
    from oversold.report.schedule import mermaid as diagrams
    from oversold.report.schedule import page

    if mermaid and json_:
        raise UsageError("--mermaid and --json both want stdout: leave one out")
    schedule = schedule_file.read(file)
    written_for = schedule.strategy
    if strategy is not None:
        schedule = replace(schedule, strategy=strategy)
    elif run and not mermaid:
        replays.require_strategy(schedule, file)
    choice = choice_of(values)
    kind_of_store = one_of("--store", store, ("real", "fake"))
    server = one_of("--sql", sql, ("postgres", "mariadb")) if sql else replays.sql_of(schedule)
    found = None
    if run and not mermaid:
        with terminal.telling() as telling, Stores(choice) as servers:
            telling.phase("repeating the schedule")
            found = replays.replayed(schedule, servers, kind_of_store, server)
        if strategy not in (None, written_for):
            found = replace(found, written_for=written_for)
    shown = found.steps if found is not None and found.steps is not None else schedule
    diagram = diagrams.drawn(shown)
    if html is not None:
        try:
            html.write_text(page.page(shown, diagram, [f"oversold replay {file}"]), encoding="utf-8")
        except OSError as error:
            raise UsageError(f"--html {html} cannot be written ({error.strerror}): choose another file") from error
    if mermaid:
        print(diagram)
        finish(None, False, Exit.PASS)
    console = terminal.console(json_on_stdout=json_, pipe_width=terminal.piped_width(PIPE))
    _walk(console, shown, slowly=step)
    if found is not None:
        _say(console, replays.told(found))
    code = replays.REPLAY_EXITS[found.outcome] if found is not None else Exit.PASS
    finish(replays.replay_document(schedule, found), json_, code)


# What is shown


def _teller(telling: Any, strategy: str, budget_s: float) -> Any:
    import time

    began = time.monotonic()
    last = 0.0

    def tell(result: Any) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < 0.1:
            return
        last = now
        passed = now - began
        shortest = "" if result.first_s is None else ", found one, looking for a shorter one"
        text = f"{strategy}: {result.runs:,} schedules, {result.runs / max(passed, 1e-3):,.0f} a second{shortest}"
        telling.count(text, min(int(passed), int(budget_s)), max(1, int(budget_s)))

    return tell


def _say(console: Console, part: RenderableType, *, whole: bool = False) -> None:
    """Print a part of an answer: text in lines that fit, or `whole` for those who copy or grep it."""
    import textwrap

    if not isinstance(part, str):
        console.print(part)
        return
    fitting = textwrap.wrap(part, console.width, break_long_words=False, break_on_hyphens=False)
    for line in [part] if whole else fitting:
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def _walk(console: Console, schedule: Schedule, *, slowly: bool) -> None:
    """Show a schedule, its steps one by one before where that is wished and somebody is there to go on."""
    from oversold.report.schedule import lanes, story

    if slowly and console.is_terminal and sys.stdin.isatty() and not _stepped(console, schedule):
        return
    console.print(lanes.drawn(schedule, console.width))
    if schedule.broken is not None:
        _say(console, story.sentence(schedule))


def _stepped(console: Console, schedule: Schedule) -> bool:
    """Show one step after the other, each when Enter was pressed; false when somebody has seen enough."""
    from oversold.report.schedule import lanes
    from oversold.report.schedule.marks import marked

    for row in marked(schedule):
        try:
            if console.input("Enter goes on, q ends: ").strip().lower() == "q":
                return False
        except EOFError:  # Ctrl-D
            console.print()
            return False
        console.print(lanes.told(row), soft_wrap=True)
    return True
