"""The command line. It parses, calls, prints; everything else is elsewhere."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from oversold import __version__
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
from oversold.errors import Exit, OversoldError, near

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

CLICK_INTERRUPTED = 130  # what the command line's library makes of Ctrl-C
# Read by the harness itself: for a look at its faults, and by its children.
OWN_VARIABLES = {"OVERSOLD_DEBUG", "OVERSOLD_ASSIGNMENT", "OVERSOLD_HOME"}
# typer brings its own click since 0.2x and older ones use click's: either way this is its UsageError.
CommandError: Any = typer.BadParameter.__mro__[1]


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
        for name in ("users", "capacity", "seed", "processes", "lanes", "rtt", "profile", "preset")
    }
    return Typed(
        scenario,
        **plain,
        settings=list(values["settings"] or []),
        stores=values["stores"],
        urls={"redis": values["redis_url"], "memcached": values["memcached_url"], "sql": values["sql_url"]},
        allow_remote=values["allow_remote"],
    )


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
    from oversold import options, places, terminal
    from oversold.comparison import run_exit, run_one
    from oversold.session import Session

    typed, out = _typed(context, scenario, values), values["out"]
    plan = options.plan_of(typed, strategy)
    choice = options.choice_of(typed)
    options.writable(out)
    console = terminal.console(json_on_stdout=json_)
    with terminal.telling() as telling:
        names = list(dict.fromkeys([strategy, plan.canary.strategy] if canary else [strategy]))
        with Session(names, choice, plan, telling) as session:
            folder = places.new_run_folder(out, scenario, plan.seed)
            summary, place = run_one(session, plan, folder, with_canary=canary)
        telling.phase("drawing charts")
        from oversold.report import pages  # matplotlib must not sit in memory during the burst

        pictures = pages.draw_run(place, summary) if values["charts"] else []
    pages.print_run(console, summary, place, pictures)
    _finish(summary, json_, run_exit(summary))


@app.command()
@takes(RUN_OPTIONS)
def compare(
    context: typer.Context,
    scenario: Scenario,
    strategies: Annotated[
        str,
        option(
            "--strategies", "-s", panel=LOAD, env="OVERSOLD_STRATEGIES", metavar="A,B,C|all",
            text="Which ones, separated by commas.",
        ),
    ] = "all",
    users: Annotated[
        str | None,
        option("--users", "-u", panel=LOAD, env="OVERSOLD_USERS", metavar="N[,N]", text=USERS_TEXT),
    ] = None,
    repeat: Annotated[
        str, option("--repeat", panel=LOAD, metavar="R", text="Repeat everything with the next R seeds.")
    ] = "1",
    json_: Json = False,
    **values: Any,
) -> None:  # fmt: skip
    """Put several strategies through the same load, side by side. The canary always runs.

    Example: oversold compare bid-burst --strategies memcached-cas,redis-lua,row-lock --users 10000
    """
    from oversold import comparison, options, places, terminal
    from oversold.session import Session

    names = options.strategies_of(strategies, places.kind(scenario))
    counts = list(dict.fromkeys(word.strip() for word in users.split(","))) if users else [None]
    typed, out = _typed(context, scenario, {**values, "users": None}), values["out"]
    plans = [
        options.plan_of(replace(typed, users=count), name) for count in counts for name in names
    ]  # every cell is validated before anything is started
    loads = [
        comparison.Load(plan.users, plan.seed + turn)
        for plan in plans[:: len(names)]
        for turn in range(options.whole("--repeat", repeat, 1, 1000))
    ]
    choice = options.choice_of(typed)
    options.writable(out)
    console = terminal.console(json_on_stdout=json_)
    with terminal.telling() as telling:
        with Session(
            list(dict.fromkeys([plans[0].canary.strategy, *names])), choice, plans[0], telling
        ) as session:
            folder = places.new_run_folder(out, scenario, plans[0].seed)
            document = comparison.compare(session, plans[: len(names)], loads, folder)
        telling.phase("drawing charts")
        from oversold.report import pages  # matplotlib must not sit in memory during the burst

        pictures = pages.draw_comparison(folder, document) if values["charts"] else []
    pages.print_comparison(console, document, folder, pictures)
    _finish(document, json_, comparison.comparison_exit(document))


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(help="Folders of runs or comparisons.", metavar="RUN_DIR...")],
    json_: Json = False,
) -> None:
    """Draw charts and print tables again, from what was recorded."""
    from oversold import comparison, terminal
    from oversold.report import pages

    console = terminal.console(json_on_stdout=json_)
    documents = []
    for folder in folders:
        document = pages.load(folder)
        documents.append(document)
        if "runs" in document:
            pages.print_comparison(console, document, folder, pages.draw_comparison(folder, document))
        else:
            pages.print_run(console, document, folder, pages.draw_run(folder, document))
    codes = [
        comparison.comparison_exit(document) if "runs" in document else comparison.run_exit(document)
        for document in documents
    ]
    _finish(documents[0] if len(documents) == 1 else {"reports": documents}, json_, comparison.worst(codes))


@app.command(name="list")
def list_(
    sections: Annotated[
        list[str] | None,
        typer.Argument(
            help="Only these: scenarios, bids, payouts, presets, profiles, settings. Default: all.",
            metavar="SECTION...", show_default=False,
        ),
    ] = None,
    json_: Json = False,
) -> None:  # fmt: skip
    """Show scenarios, strategies, presets, channel profiles and settings. The JSON document is always whole."""
    from oversold import catalogue, terminal

    document = catalogue.everything()
    catalogue.show(terminal.console(json_on_stdout=json_), document, sections or ())
    _finish(document, json_, Exit.PASS)


@app.command()
@takes(STORE_OPTIONS)
def doctor(json_: Json = False, **values: Any) -> None:
    """Show what each store would be on this machine, and what to install to get the real one."""
    from oversold import catalogue, terminal
    from oversold.stores.providers import StoreChoice, describe

    urls = {name: values[f"{name}_url"] for name in ("redis", "memcached", "sql") if values[f"{name}_url"]}
    choice = StoreChoice(values["stores"], urls, values["allow_remote"])
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
    from oversold import options, places, runs, terminal
    from oversold.comparison import run_exit
    from oversold.session import Session, Telling

    # Ctrl-C reaches the whole terminal group; Locust tells this process when to finish.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    typed, out = _typed(context, scenario, values), values["out"]
    plan = options.plan_of(typed, strategy)
    options.writable(out)
    with Session([strategy], options.choice_of(typed), plan, Telling()) as session:
        folder = places.new_run_folder(out, scenario, plan.seed)
        summary = runs.attend(session, plan, folder, sys.stdin, sys.stdout)
    from oversold.report import pages

    pictures = pages.draw_run(folder, summary) if values["charts"] else []
    pages.print_run(terminal.console(json_on_stdout=True), summary, folder, pictures)
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
    sys.exit(_guarded(_command))


def _command() -> Any:
    from oversold.options import defaults_from_config

    command = typer.main.get_command(app)
    commands = getattr(command, "commands", {})
    config = defaults_from_config({name: {p.name for p in each.params} for name, each in commands.items()})
    _notice({p.envvar for each in commands.values() for p in each.params if isinstance(p.envvar, str)})
    return command.main(standalone_mode=False, default_map=config)


def _notice(known: set[str]) -> None:
    """Say which of our environment variables nobody reads: a misspelt one would change nothing, silently."""
    for name in sorted(os.environ):
        if name.startswith("OVERSOLD_") and name not in known | OWN_VARIABLES:
            _complain(f"warning: environment variable {name} is unknown{near(name, sorted(known))}")


def _guarded(call: Callable[[], Any]) -> int:
    try:
        code = call()
    except OversoldError as error:
        return _failed(error.exit_code, str(error))
    except CommandError as error:
        place = error.ctx.command_path if error.ctx else "oversold"
        return _failed(Exit.USAGE, f"{error.format_message()} See `{place} --help`.")
    except (typer.Abort, KeyboardInterrupt):
        code = CLICK_INTERRUPTED
    except OSError as error:
        return _failed(Exit.USAGE, f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
    except Exception as error:  # whatever it is, it is no broken promise of a design
        if os.environ.get("OVERSOLD_DEBUG"):
            raise
        what = f"{type(error).__name__}: {error}"
        return _failed(Exit.USAGE, f"a fault of oversold itself: {what} (OVERSOLD_DEBUG=1 shows where)")
    if code == CLICK_INTERRUPTED:
        return _failed(Exit.INCONCLUSIVE, "interrupted before there was anything to keep")
    return code if isinstance(code, int) else Exit.PASS


def _failed(code: Exit, text: str) -> int:
    _complain(text)
    return int(code)


def _complain(text: str) -> None:
    print(f"oversold: {' '.join(text.split())}", file=sys.stderr)
