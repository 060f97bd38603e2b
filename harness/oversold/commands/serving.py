"""The commands that stay up until Ctrl-C: `serve`, `channels`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from oversold.commands.arguments import (
    LOAD,
    OUTPUT,
    STORE_OPTIONS,
    Json,
    Lanes,
    Processes,
    Rtt,
    Seed,
    Settings,
    SqlServer,
    choice_of,
    option,
    takes,
)
from oversold.commands.root import app, finish
from oversold.errors import Exit, UsageError


@app.command()
@takes(STORE_OPTIONS)
def serve(
    strategy: Annotated[
        str,
        option(
            "--strategy", "-s", panel=LOAD, env="OVERSOLD_STRATEGY", metavar="S",
            text="A strategy of `oversold list bids`, or path/to/file.py:Class.",
        ),
    ],
    port: Annotated[
        str, option("--port", panel=LOAD, metavar="P", text="Where it listens. 0: a free port.")
    ] = "8700",
    processes: Processes = None,
    lanes: Lanes = None,
    rtt: Rtt = None,
    seed: Seed = None,
    sql: SqlServer = None,
    settings: Settings = None,
    answers_later: Annotated[
        bool, option("--async", panel=LOAD, text="Answer each bid 202 at once; what became of it is asked for.")
    ] = False,
    **values: Any,
) -> None:  # fmt: skip
    """Put a bid strategy behind an HTTP API: a service to try things on, and what an HTTP canary is made of.

    It listens on 127.0.0.1 until Ctrl-C, over private stores of its own; /openapi.json describes its API, and
    `oversold new service` writes a file with which `oversold run --target` drives it.

    Example: oversold serve --strategy redis-lua --processes 2 --set p=0
    """
    from oversold import options, session, terminal
    from oversold.bid_plan import BidPlan
    from oversold.serving import command

    plan = options.plan_of(
        options.Typed(
            "bid-burst", processes=processes, lanes=lanes, rtt=rtt, seed=seed, sql=sql, settings=settings or [],
        ),
        strategy,
    )  # fmt: skip
    assert isinstance(plan, BidPlan)
    if plan.is_service:
        raise UsageError(f"--strategy {strategy} is a service already: name a strategy of `oversold list bids`")
    number = options.whole("--port", port, 0, 65_535)
    choice = choice_of(values)
    with terminal.telling() as telling, session.Session([plan], choice, telling) as stores:
        telling.phase(f"starting {strategy}")
        command.serve(
            plan,
            {name: endpoint.to_json() for name, endpoint in stores.placed(plan).items()},
            stores.guard,
            stores.private,
            port=number,
            answers="async" if answers_later else "sync",
            say=telling.line,
            needed=stores.servers(plan),
        )
    finish({}, False, Exit.PASS)


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
