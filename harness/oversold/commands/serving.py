"""The commands that stay up until Ctrl-C: `channels`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from oversold.commands.arguments import LOAD, OUTPUT, Json, Seed, option
from oversold.commands.root import app, finish
from oversold.errors import Exit


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
    finish(document, json_, Exit.PASS)
