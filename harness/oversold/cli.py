"""The command line: the commands together, their errors as lines and exit codes."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Annotated, Any

import typer

from oversold import __version__, shell
from oversold.commands.root import app

# Importing a room adds its commands, and this is the order in which `--help` lists them.
# isort: off
from oversold.commands import running
from oversold.commands import exploring
from oversold.commands import reading
from oversold.commands import starting
from oversold.commands import serving
# isort: on

ROOMS = (running, exploring, reading, starting, serving)


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
