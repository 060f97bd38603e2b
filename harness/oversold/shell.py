"""What a shell sees of a command that goes wrong: one line on stderr and an exit code, never a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import typer

from oversold.errors import Exit, OversoldError, near

CLICK_INTERRUPTED = 130  # what the command line's library makes of Ctrl-C
# Read by the harness itself: for a look at its faults, and by its children.
OWN_VARIABLES = {"OVERSOLD_DEBUG", "OVERSOLD_ASSIGNMENT", "OVERSOLD_HOME"}
# typer brings its own click since 0.2x and older ones use click's: either way this is its UsageError.
CommandError: Any = typer.BadParameter.__mro__[1]


def notice(known: set[str]) -> None:
    """Say which of our environment variables nobody reads: a misspelt one would change nothing, silently."""
    for name in sorted(os.environ):
        if name.startswith("OVERSOLD_") and name not in known | OWN_VARIABLES:
            complain(f"warning: environment variable {name} is unknown{near(name, sorted(known))}")


def guarded(call: Callable[[], Any]) -> int:
    """Return the exit code of a call; every expected error becomes one line and a code of its own."""
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
    complain(text)
    return int(code)


def complain(text: str) -> None:
    """Write one line to stderr."""
    print(f"oversold: {' '.join(text.split())}", file=sys.stderr)
