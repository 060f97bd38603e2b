"""The commands that run something against the stores: `run`, `compare`, and what `locust -f` starts."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

from oversold.commands.arguments import (
    LOAD,
    OUTPUT,
    PIPELINE_OPTIONS,
    RUN_OPTIONS,
    USERS_TEXT,
    Canary,
    DryRun,
    Json,
    Scenario,
    explain_s,
    option,
    takes,
    urls,
)
from oversold.commands.pipeline import judged, reported, wishes_of
from oversold.commands.root import app, finish
from oversold.errors import UsageError

if TYPE_CHECKING:
    from oversold.plan import Plan
    from oversold.stores.providers import StoreChoice


def _typed(context: typer.Context, scenario: str, values: dict[str, Any]) -> Any:
    from oversold import places
    from oversold.options import PLAN_OPTIONS, Typed

    # An environment variable or a config file is there for every scenario; what this one has no use for is no
    # mistake. On the command line it is one.
    mine = PLAN_OPTIONS[places.kind(scenario)]
    for name in ("capacity", "profile"):
        source = context.get_parameter_source(name)
        if name not in mine and (source is None or source.name != "COMMANDLINE"):
            values = {**values, name: None}

    plain = {
        name: values[name]
        for name in ("users", "capacity", "seed", "processes", "lanes", "rtt", "profile", "preset", "sql")
    }
    return Typed(
        scenario,
        **plain,
        http=values["http"],
        allow_hosts=tuple(values["allow_hosts"] or ()),
        settings=list(values["settings"] or []),
        stores=values["stores"],
        urls=urls(values),
        allow_remote=values["allow_remote"],
        images=list(values["images"] or []),
    )


@app.command()
@takes({**RUN_OPTIONS, **PIPELINE_OPTIONS})
def run(
    context: typer.Context,
    scenario: Scenario,
    strategy: Annotated[
        str,
        option(
            "--strategy", "--target", "-s", panel=LOAD, env="OVERSOLD_STRATEGY", metavar="S",
            text="A strategy of `oversold list`, path/to/file.py:Class, or (also as --target) service.toml for a "
            "running service of yours.",
        ),
    ],
    canary: Canary = True,
    dry_run: DryRun = False,
    json_: Json = False,
    **values: Any,
) -> None:  # fmt: skip
    """Replay an incident against one strategy and audit what came of it.

    Example: oversold run bid-burst --strategy redis-lua --users 5000 --set reopen_on_release=false
    """
    from oversold import options, places, runs, showing, terminal
    from oversold.comparison import run_exit, run_one
    from oversold.explorations import causes
    from oversold.session import Session

    budget_s = explain_s(values)
    typed, out = _typed(context, scenario, values), values["out"]
    plan = options.plan_of(typed, strategy)
    choice = options.choice_of(typed)
    options.writable(out)
    wishes = wishes_of(context, values, plan.kind)
    console = terminal.console(json_on_stdout=json_)
    plans = list(dict.fromkeys([plan.canary, plan] if canary else [plan]))
    if dry_run:
        _rehearse(plans, choice, console, as_json=json_)
    runs.reach(plans)
    with terminal.telling() as telling:
        with Session(plans, choice, telling) as session:
            folder = places.new_run_folder(out, scenario, plan.seed)
            summary, place = run_one(session, plan, folder, with_canary=canary)
        summary = causes.explain(summary, place, choice, budget_s, telling)
        summary = judged(wishes, summary, place)
        pictures = showing.drawn(telling, place, summary, wanted=values["charts"])
    showing.shown(console, summary, place, pictures)
    _tell_limits(console, [summary])
    finish(summary, json_, reported(wishes, [summary], [run_exit(summary)], console, as_json=json_))


def _tell_limits(console: Console, found: Sequence[Mapping[str, Any]]) -> None:
    """Say in one line what a pass does not prove, where the explorer might."""
    from oversold.explorations import causes

    if line := causes.after_pass(found):
        console.print(line, soft_wrap=True, markup=False)


def _rehearse(plans: Sequence[Plan], choice: StoreChoice, console: Console, *, as_json: bool) -> NoReturn:
    """Show what the runs would do, and end."""
    from oversold import dry_run

    found = dry_run.document(plans, choice)
    for line in dry_run.lines(found):
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    finish(found, as_json, dry_run.exit_of(found))


@app.command()
@takes({**RUN_OPTIONS, **PIPELINE_OPTIONS})
def compare(
    context: typer.Context,
    scenario: Annotated[
        str | None, typer.Argument(help="Which incident to replay; see `oversold list`.", show_default=False)
    ] = None,
    strategies: Annotated[
        str,
        option(
            "--strategies", "-s", panel=LOAD, env="OVERSOLD_STRATEGIES", metavar="A,B,C|all",
            text="Which ones, with commas between; files as for --strategy. all: those whose servers are here.",
        ),
    ] = "all",
    users: Annotated[
        str | None,
        option("--users", "-u", panel=LOAD, env="OVERSOLD_USERS", metavar="N[,N]", text=USERS_TEXT),
    ] = None,
    repeat: Annotated[
        str, option("--repeat", panel=LOAD, metavar="R", text="Repeat everything with the next R seeds.")
    ] = "1",
    resume: Annotated[
        Path | None,
        option(
            "--resume", panel=OUTPUT, metavar="DIR",
            text="Go on with the comparison in this folder: its own runs, those that are missing.",
        ),
    ] = None,
    dry_run: DryRun = False,
    json_: Json = False,
    **values: Any,
) -> None:  # fmt: skip
    """Put several strategies through the same loads, side by side. The canary always runs.

    Several values of --users, --sql and --set make a grid: every strategy runs under every load.

    Example: oversold compare bid-burst -s redis-lua,row-lock,version --users 1000,5000 --set p=0.05,0.2 --repeat 3
    """
    from oversold import comparison, options, places, runs, showing, terminal
    from oversold.explorations import causes
    from oversold.session import Session
    from oversold.sweep import finished

    out, budget_s = values["out"], explain_s(values)
    if resume is not None:
        free = {"stores", "charts", "explain", "json_", "allow_remote", "scenario", "resume", "dry_run"}
        _alone(context, "--resume", free | PIPELINE_OPTIONS.keys())
        folder = resume.resolve()  # `latest` may move on meanwhile
        sweep = options.resumed(folder, scenario)
        scenario = sweep.canary.scenario
        typed = _typed(context, scenario, {**values, "users": None})
    elif scenario is None:
        raise UsageError("compare needs a scenario, as in `oversold compare bid-burst`: see `oversold list`")
    else:
        typed = _typed(context, scenario, {**values, "users": None})
        sweep, folder = options.sweep_of(typed, strategies, users, repeat), None
    choice = options.choice_of(typed)
    options.writable(folder or out)
    wishes = wishes_of(context, values, sweep.canary.kind)
    console = terminal.console(json_on_stdout=json_)
    done = finished(sweep, folder) if folder else {}
    todo = [cell for cell in sweep.cells if cell not in done]
    if dry_run:
        _rehearse([cell.plan for cell in todo], choice, console, as_json=json_)
    runs.reach([cell.plan for cell in todo])
    terminal.announce(sweep, todo)
    with terminal.telling() as telling:
        with Session([cell.plan for cell in todo], choice, telling) if todo else nullcontext() as session:
            folder = folder or places.new_run_folder(out, scenario, sweep.canary.seed)
            document = comparison.compare(session, sweep, folder)
        telling.within("")
        document = causes.explain(document, folder, choice, budget_s, telling)
        document = judged(wishes, document, folder)
        pictures = showing.drawn(telling, folder, document, wanted=values["charts"])
    showing.shown(console, document, folder, pictures)
    _tell_limits(console, document["runs"])
    base = comparison.comparison_exit(document)
    finish(document, json_, reported(wishes, [document], [base], console, as_json=json_))


def _alone(context: typer.Context, option_: str, allowed: set[str]) -> None:
    """Refuse what was typed besides an option that leaves no choice."""
    for parameter in context.command.params:
        name, source = str(parameter.name), context.get_parameter_source(str(parameter.name))
        if source is not None and source.name == "COMMANDLINE" and not (name in allowed or name.endswith("_url")):
            raise UsageError(
                f"{parameter.opts[0]} contradicts {option_}, which goes on with what was planned: leave one out"
            )


@app.command(hidden=True)
@takes(RUN_OPTIONS)
def attend(
    context: typer.Context, scenario: Scenario, strategy: Annotated[str, typer.Option()], **values: Any
) -> None:
    """Keep the stores of a plain `locust -f` run and audit it at the end. Locust starts this by itself."""
    from oversold import options, places, runs, showing, terminal
    from oversold.comparison import run_exit
    from oversold.session import Session
    from oversold.telling import Telling

    # Ctrl-C reaches the whole terminal group; Locust tells this process when to finish.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    typed, out = _typed(context, scenario, values), values["out"]
    plan = options.plan_of(typed, strategy)
    options.writable(out)
    with Session([plan], options.choice_of(typed), Telling()) as session:
        folder = places.new_run_folder(out, scenario, plan.seed)
        summary = runs.attend(session, plan, folder, sys.stdin, sys.stdout)
    pictures = showing.drawn(Telling(), folder, summary, wanted=values["charts"])
    showing.shown(terminal.console(json_on_stdout=True), summary, folder, pictures)
    raise typer.Exit(run_exit(summary))
