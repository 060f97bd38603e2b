"""The command line. It parses, calls, prints; everything else is elsewhere."""

from __future__ import annotations

import json
import signal
import sys
from contextlib import nullcontext
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from oversold import __version__, shell
from oversold.arguments import (
    LOAD,
    OUTPUT,
    RUN_OPTIONS,
    STORE_OPTIONS,
    USERS_TEXT,
    Canary,
    Json,
    Scenario,
    Seed,
    option,
    takes,
)
from oversold.errors import Exit, UsageError

app = typer.Typer(
    name="oversold",
    help="Find out whether a design oversells, undersells or pays twice, before customers do.",
    epilog="Exit codes: 0 pass; 1 a promise was broken; 2 bad input or harness error; 3 a threshold was missed; "
    "4 inconclusive, the run proves nothing.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
        settings=list(values["settings"] or []),
        stores=values["stores"],
        urls=_urls(values),
        allow_remote=values["allow_remote"],
    )


def _urls(values: dict[str, Any]) -> dict[str, str]:
    """Return the stores' URLs that were given."""
    return {name.removesuffix("_url"): url for name, url in values.items() if name.endswith("_url") and url}


@app.command()
@takes(RUN_OPTIONS)
def run(
    context: typer.Context,
    scenario: Scenario,
    strategy: Annotated[
        str,
        option(
            "--strategy", "-s", panel=LOAD, env="OVERSOLD_STRATEGY", metavar="S",
            text="A strategy of `oversold list`, or path/to/file.py:Class.",
        ),
    ],
    canary: Canary = True,
    json_: Json = False,
    **values: Any,
) -> None:  # fmt: skip
    """Replay an incident against one strategy and audit what came of it.

    Example: oversold run bid-burst --strategy redis-lua --users 5000 --set reopen_on_release=false
    """
    from oversold import options, places, showing, terminal
    from oversold.comparison import run_exit, run_one
    from oversold.session import Session

    typed, out = _typed(context, scenario, values), values["out"]
    plan = options.plan_of(typed, strategy)
    choice = options.choice_of(typed)
    options.writable(out)
    console = terminal.console(json_on_stdout=json_)
    with terminal.telling() as telling:
        with Session([plan, plan.canary] if canary else [plan], choice, telling) as session:
            folder = places.new_run_folder(out, scenario, plan.seed)
            summary, place = run_one(session, plan, folder, with_canary=canary)
        pictures = showing.drawn(telling, place, summary, wanted=values["charts"])
    showing.shown(console, summary, place, pictures)
    _finish(summary, json_, run_exit(summary))


@app.command()
@takes(RUN_OPTIONS)
def compare(
    context: typer.Context,
    scenario: Annotated[
        str | None, typer.Argument(help="Which incident to replay; see `oversold list`.", show_default=False)
    ] = None,
    strategies: Annotated[
        str,
        option(
            "--strategies", "-s", panel=LOAD, env="OVERSOLD_STRATEGIES", metavar="A,B,C|all",
            text="Which ones, separated by commas. all: every one whose servers are here.",
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
    json_: Json = False,
    **values: Any,
) -> None:  # fmt: skip
    """Put several strategies through the same loads, side by side. The canary always runs.

    Several values of --users, --sql and --set make a grid: every strategy runs under every load.

    Example: oversold compare bid-burst -s redis-lua,row-lock,version --users 1000,5000 --set p=0.05,0.2 --repeat 3
    """
    from oversold import comparison, options, places, showing, terminal
    from oversold.session import Session
    from oversold.sweep import finished

    out = values["out"]
    if resume is not None:
        _alone(context, "--resume", {"stores", "charts", "json_", "allow_remote", "scenario", "resume"})
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
    console = terminal.console(json_on_stdout=json_)
    done = finished(sweep, folder) if folder else {}
    todo = [cell for cell in sweep.cells if cell not in done]
    terminal.announce(sweep, todo)
    with terminal.telling() as telling:
        with Session([cell.plan for cell in todo], choice, telling) if todo else nullcontext() as session:
            folder = folder or places.new_run_folder(out, scenario, sweep.canary.seed)
            document = comparison.compare(session, sweep, folder)
        telling.within("")
        pictures = showing.drawn(telling, folder, document, wanted=values["charts"])
    showing.shown(console, document, folder, pictures)
    _finish(document, json_, comparison.comparison_exit(document))


def _alone(context: typer.Context, option_: str, allowed: set[str]) -> None:
    """Refuse what was typed besides an option that leaves no choice."""
    for parameter in context.command.params:
        name, source = str(parameter.name), context.get_parameter_source(str(parameter.name))
        if source is not None and source.name == "COMMANDLINE" and not (name in allowed or name.endswith("_url")):
            raise UsageError(
                f"{parameter.opts[0]} contradicts {option_}, which goes on with what was planned: leave one out"
            )


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(help="Folders of runs or comparisons.", metavar="RUN_DIR...")],
    out: Annotated[
        Path, option("--out", panel=OUTPUT, env="OVERSOLD_OUT", metavar="DIR", text="Where several come together.")
    ] = Path("reports"),
    json_: Json = False,
) -> None:  # fmt: skip
    """Draw charts and pages and print tables again, from what was recorded.

    Several folders are also put side by side, with what differed in their conditions: yesterday's and today's.
    """
    from oversold import comparison, showing, terminal
    from oversold.report import sources
    from oversold.session import Telling

    console = terminal.console(json_on_stdout=json_)
    found, problems = sources.gathered(folders)
    read = []
    for source in found:
        try:
            files = showing.drawn(Telling(), source.folder, source.document, wanted=True, patient=False)
        except UsageError as error:  # a file that is gone
            problems.append(f"left out: {error}")
            continue
        read.append(source)
        showing.shown(console, dict(source.document), source.folder, files)
    for problem in problems:
        shell.complain(problem)
    if len(read) > 1:
        showing.side_by_side(console, read, out)
    documents = [dict(source.document) for source in read]
    codes = [
        comparison.comparison_exit(document) if "runs" in document else comparison.run_exit(document)
        for document in documents
    ] + [Exit.USAGE] * bool(problems)
    _finish(
        documents[0] if len(folders) == 1 and documents else {"reports": documents}, json_, comparison.worst(codes)
    )


@app.command(name="list")
def list_(
    sections: Annotated[
        list[str] | None,
        typer.Argument(
            help="Only these, in full: scenarios, bids, payouts, presets, profiles, settings, or strategies.",
            metavar="SECTION|NAME...", show_default=False,
        ),
    ] = None,
    json_: Json = False,
) -> None:  # fmt: skip
    """Show scenarios, strategies, presets, channel profiles and settings. The JSON document is always whole."""
    from oversold import catalogue, terminal

    document = catalogue.everything()
    catalogue.show(terminal.console(json_on_stdout=json_, pipe_width=200), document, sections or ())
    _finish(document, json_, Exit.PASS)


@app.command()
@takes(STORE_OPTIONS)
def doctor(json_: Json = False, **values: Any) -> None:
    """Show what each store would be on this machine, and what to install to get the real one."""
    from oversold import catalogue, terminal
    from oversold.stores.providers import StoreChoice, describe

    choice = StoreChoice(values["stores"], _urls(values), values["allow_remote"])
    rows = describe(choice)
    catalogue.show_stores(terminal.console(json_on_stdout=json_), rows)
    _finish(
        {"schema": "oversold/doctor/1", "stores": rows},
        json_,
        Exit.PASS if all(row["ready"] for row in rows.values()) else Exit.USAGE,
    )


@app.command()
def channels(
    profile: Annotated[
        str, option("--profile", panel=LOAD, env="OVERSOLD_PROFILE", metavar="NAME|FILE.toml",
                    text="How they behave; see `oversold list`.")
    ] = "seed",
    port: Annotated[
        str,
        option("--port", panel=LOAD, metavar="P", text="The first listens here, the next on P+1. 0: free ports."),
    ] = "8600",
    seed: Seed = None,
    out: Annotated[
        Path | None,
        option("--out", panel=OUTPUT, metavar="DIR", text="Keep the books here. Default: they go at the end."),
    ] = None,
    json_: Json = False,
) -> None:  # fmt: skip
    """Run the payment channels alone, so that a payout service of your own can be pointed at them.

    They listen on 127.0.0.1 until Ctrl-C; /openapi.json of each describes its API. What they then have in their
    books, and who was paid twice, is printed.

    Example: oversold channels --profile hostile --port 8600
    """
    from oversold import options, places, standalone, terminal

    behaviour = places.profile(profile)
    first = options.whole("--port", port, 0, 65_535)
    number = options.whole("--seed", seed or "1", 0, 2**63 - 1)
    if out is not None:
        options.writable(out)
    document = standalone.serve(behaviour, number, first, out, terminal.console(json_on_stdout=json_))
    _finish(document, json_, Exit.PASS)


@app.command(hidden=True)
@takes(RUN_OPTIONS)
def attend(
    context: typer.Context, scenario: Scenario, strategy: Annotated[str, typer.Option()], **values: Any
) -> None:
    """Keep the stores of a plain `locust -f` run and audit it at the end. Locust starts this by itself."""
    from oversold import options, places, runs, showing, terminal
    from oversold.comparison import run_exit
    from oversold.session import Session, Telling

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


def _version(wanted: bool) -> None:
    if wanted:
        print(f"oversold {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


def _finish(document: Any, as_json: bool, code: Exit) -> None:
    from oversold import terminal

    try:
        if as_json:
            json.dump(document, sys.stdout, indent=1, ensure_ascii=False)
            print()
        sys.stdout.flush()
    except BrokenPipeError:
        terminal.discard(sys.stdout)  # the reader (head, less) has gone; the verdict stands
    raise typer.Exit(code)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM and SIGHUP end a run as Ctrl-C does: cleaned up, with its data kept."""
    raise KeyboardInterrupt


def main() -> None:
    """Run the command; every expected error is one line on stderr and its own exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    sys.exit(shell.guarded(_command))


def _command() -> Any:
    from oversold.options import defaults_from_config

    command = typer.main.get_command(app)
    commands = getattr(command, "commands", {})
    config = defaults_from_config({name: {p.name for p in each.params} for name, each in commands.items()})
    shell.notice({p.envvar for each in commands.values() for p in each.params if isinstance(p.envvar, str)})
    return command.main(standalone_mode=False, default_map=config)
