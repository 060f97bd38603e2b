"""The application that all commands belong to, and how a command ends."""

from __future__ import annotations

import json
import sys
from typing import Any, NoReturn

import typer

from oversold.errors import Exit

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


def finish(document: Any, as_json: bool, code: Exit) -> NoReturn:
    """End a command: its document on stdout where that was wished, its exit code in any case."""
    from oversold import terminal

    try:
        if as_json:
            json.dump(document, sys.stdout, indent=1, ensure_ascii=False)
            print()
        sys.stdout.flush()
    except BrokenPipeError:
        terminal.discard(sys.stdout)  # the reader (head, less) has gone; the verdict stands
    raise typer.Exit(code)
