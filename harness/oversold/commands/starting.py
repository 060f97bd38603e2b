"""The command that writes files to start from: `new`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oversold.commands.arguments import OUTPUT, Json, option
from oversold.commands.root import app, finish
from oversold.errors import Exit


@app.command()
def new(
    kind: Annotated[
        str, typer.Argument(help="strategy (of bids), payout (a strategy too), or service.", metavar="KIND")
    ],
    name: Annotated[str, typer.Argument(help="What to call it, such as flash-lock.")],
    out: Annotated[
        Path, option("--out", panel=OUTPUT, metavar="DIR", text="Folder for the files; nothing is overwritten.")
    ] = Path(),
    json_: Json = False,
) -> None:  # fmt: skip
    """Write a small commented file to start from, and its test.

    Example: oversold new strategy flash-lock
    """
    from oversold import scaffold, terminal

    paths = scaffold.write(kind, name, out)
    console = terminal.console(json_on_stdout=json_)
    for line in (*(f"written: {path}" for path in paths), "next:"):
        console.print(line, soft_wrap=True, markup=False)
    for line in scaffold.following(kind, paths).splitlines():
        console.print(f"  {line}", soft_wrap=True, markup=False)
    finish({"schema": "oversold/new/1", "files": [str(path) for path in paths]}, json_, Exit.PASS)
