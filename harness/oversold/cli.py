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
    AllowRemote,
    Canary,
    Capacity,
    Json,
    Lanes,
    MemcachedUrl,
    Out,
    Preset,
    Processes,
    RedisUrl,
    Rtt,
    Scenario,
    Seed,
    Settings,
    SqlUrl,
    Stores,
    Users,
    option,
)
from oversold.errors import Exit, OversoldError

app = typer.Typer(
    name="oversold",
    help="Find out whether a design oversells or undersells, before customers do.",
    epilog="Exit codes: 0 pass; 1 a promise was broken; 2 bad input or harness error; 3 a threshold was missed; "
    "4 inconclusive, the run proves nothing.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# typer brings its own click since 0.2x and older ones use click's: either way this is its UsageError.
CommandError: Any = typer.BadParameter.__mro__[1]


def _typed(scenario: str, values: dict[str, Any]) -> Any:
    from oversold.options import Typed

    plain = {name: values[name] for name in ("users", "capacity", "seed", "processes", "lanes", "rtt", "preset")}
    return Typed(
        scenario,
        **plain,
        settings=list(values["settings"] or []),
        stores=values["stores"],
        urls={"redis": values["redis_url"], "memcached": values["memcached_url"], "sql": values["sql_url"]},
        allow_remote=values["allow_remote"],
    )


@app.command()
def run(
    scenario: Scenario,
    strategy: Annotated[
        str,
        option(
            "--strategy", "-s", panel=LOAD, env="OVERSOLD_STRATEGY", metavar="S",
            text="A strategy of `oversold list`, or path/to/file.py:Class.",
        ),
    ],
    users: Users = None,
    capacity: Capacity = None,
    seed: Seed = None,
    processes: Processes = None,
    lanes: Lanes = None,
    rtt: Rtt = None,
    preset: Preset = None,
    settings: Settings = None,
    canary: Canary = True,
    stores: Stores = "auto",
    redis_url: RedisUrl = None,
    memcached_url: MemcachedUrl = None,
    sql_url: SqlUrl = None,
    allow_remote: AllowRemote = False,
    out: Out = Path("reports"),
    json_: Json = False,
) -> None:  # fmt: skip
    """Replay an incident against one strategy and audit what came of it.

    Example: oversold run bid-burst --strategy redis-lua --users 5000 --set reopen_on_release=false
    """
    from oversold import options, places, terminal
    from oversold.comparison import run_exit, run_one
    from oversold.session import Session
    from oversold.strategies.registry import CANARY

    typed = _typed(scenario, locals())
    plan = options.plan_of(typed, strategy)
    choice = options.choice_of(typed)
    options.writable(out)
    console = terminal.console(json_on_stdout=json_)
    with terminal.telling() as telling:
        names = list(dict.fromkeys([strategy, CANARY] if canary else [strategy]))
        with Session(names, choice, plan, telling) as session:
            folder = places.new_run_folder(out, scenario, plan.seed)
            summary, place = run_one(session, plan, folder, with_canary=canary)
        telling.phase("drawing charts")
        from oversold.report import pages  # matplotlib must not sit in memory during the burst

        pictures = pages.draw_run(place, summary)
    pages.print_run(console, summary, place, pictures)
    _finish(summary, json_, run_exit(summary))


@app.command()
def compare(
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
        option(
            "--users", "-u", panel=LOAD, env="OVERSOLD_USERS", metavar="N[,N]", text="Bidders. Default: 2000."
        ),
    ] = None,
    repeat: Annotated[
        str, option("--repeat", panel=LOAD, metavar="R", text="Repeat everything with the next R seeds.")
    ] = "1",
    capacity: Capacity = None,
    seed: Seed = None,
    processes: Processes = None,
    lanes: Lanes = None,
    rtt: Rtt = None,
    preset: Preset = None,
    settings: Settings = None,
    stores: Stores = "auto",
    redis_url: RedisUrl = None,
    memcached_url: MemcachedUrl = None,
    sql_url: SqlUrl = None,
    allow_remote: AllowRemote = False,
    out: Out = Path("reports"),
    json_: Json = False,
) -> None:  # fmt: skip
    """Put several strategies through the same bids, side by side. The canary (none) always runs.

    Example: oversold compare bid-burst --strategies memcached-cas,redis-lua,row-lock --users 10000
    """
    from oversold import comparison, options, places, terminal
    from oversold.session import Session
    from oversold.strategies.registry import CANARY

    names = options.strategies_of(strategies)
    counts = list(dict.fromkeys(word.strip() for word in users.split(","))) if users else [None]
    typed = _typed(scenario, {**locals(), "users": None})
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
        with Session(list(dict.fromkeys([CANARY, *names])), choice, plans[0], telling) as session:
            folder = places.new_run_folder(out, scenario, plans[0].seed)
            document = comparison.compare(session, plans[: len(names)], loads, folder)
        telling.phase("drawing charts")
        from oversold.report import pages  # matplotlib must not sit in memory during the burst

        pictures = pages.draw_comparison(folder, document)
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
def list_(json_: Json = False) -> None:
    """Show scenarios, strategies, presets and settings."""
    from oversold import catalogue, terminal

    document = catalogue.everything()
    catalogue.show(terminal.console(json_on_stdout=json_), document)
    _finish(document, json_, Exit.PASS)


@app.command()
def doctor(
    stores: Stores = "auto",
    redis_url: RedisUrl = None,
    memcached_url: MemcachedUrl = None,
    sql_url: SqlUrl = None,
    allow_remote: AllowRemote = False,
    json_: Json = False,
) -> None:
    """Show what each store would be on this machine, and what to install to get the real one."""
    from oversold import catalogue, terminal
    from oversold.stores.providers import StoreChoice, describe

    urls = {"redis": redis_url, "memcached": memcached_url, "sql": sql_url}
    choice = StoreChoice(stores, {name: url for name, url in urls.items() if url}, allow_remote)
    rows = describe(choice)
    catalogue.show_stores(terminal.console(json_on_stdout=json_), rows)
    _finish(
        {"schema": "oversold/doctor/1", "stores": rows},
        json_,
        Exit.PASS if all(row["ready"] for row in rows.values()) else Exit.USAGE,
    )


@app.command(hidden=True)
def attend(
    scenario: Scenario,
    strategy: Annotated[str, typer.Option()],
    users: Users = None,
    capacity: Capacity = None,
    seed: Seed = None,
    processes: Processes = None,
    lanes: Lanes = None,
    rtt: Rtt = None,
    preset: Preset = None,
    settings: Settings = None,
    stores: Stores = "auto",
    redis_url: RedisUrl = None,
    memcached_url: MemcachedUrl = None,
    sql_url: SqlUrl = None,
    allow_remote: AllowRemote = False,
    out: Out = Path("reports"),
) -> None:
    """Keep the stores of a plain `locust -f` run and audit it at the end. Locust starts this by itself."""
    from oversold import options, places, runs, terminal
    from oversold.comparison import run_exit
    from oversold.session import Session, Telling

    # Ctrl-C reaches the whole terminal group; Locust tells this process when to finish.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    typed = _typed(scenario, locals())
    plan = options.plan_of(typed, strategy)
    options.writable(out)
    with Session([strategy], options.choice_of(typed), plan, Telling()) as session:
        folder = places.new_run_folder(out, scenario, plan.seed)
        summary = runs.attend(session, plan, folder, sys.stdin, sys.stdout)
    from oversold.report import pages

    pages.print_run(terminal.console(json_on_stdout=True), summary, folder, pages.draw_run(folder, summary))
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
    return command.main(standalone_mode=False, default_map=config)


def _guarded(call: Callable[[], Any]) -> int:
    try:
        code = call()
    except OversoldError as error:
        _complain(str(error))
        return int(error.exit_code)
    except CommandError as error:
        _complain(f"{error.format_message()} See `{error.ctx.command_path if error.ctx else 'oversold'} --help`.")
        return Exit.USAGE
    except (typer.Abort, KeyboardInterrupt):
        _complain("interrupted before there was anything to keep")
        return Exit.INCONCLUSIVE
    except OSError as error:
        _complain(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        return Exit.USAGE
    except Exception as error:  # whatever it is, it is no broken promise of a design
        if os.environ.get("OVERSOLD_DEBUG"):
            raise
        _complain(f"a fault of oversold itself: {type(error).__name__}: {error} (OVERSOLD_DEBUG=1 shows where)")
        return Exit.USAGE
    return code if isinstance(code, int) else Exit.PASS


def _complain(text: str) -> None:
    print(f"oversold: {' '.join(text.split())}", file=sys.stderr)
