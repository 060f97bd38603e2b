"""The command line's options, declared once: names, environment variables, help."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

if TYPE_CHECKING:
    from oversold.stores.providers import StoreChoice

LOAD, STORES, OUTPUT, PIPELINE = "Load", "Stores", "Output", "Pipelines"


def option(*names: str, panel: str, text: str, env: str | None = None, **more: Any) -> Any:
    """Declare an option in a help panel; `env` is its environment variable."""
    return typer.Option(*names, help=text, rich_help_panel=panel, envvar=env, show_envvar=False, **more)


Scenario = Annotated[
    str, typer.Argument(help="Which incident to replay; see `oversold list`.", show_default=False)
]
USERS_TEXT = "Locust users: bidders (default 2000), or job workers and investors online (default 400)."
Users = Annotated[
    str | None, option("--users", "-u", panel=LOAD, env="OVERSOLD_USERS", text=USERS_TEXT, metavar="N")
]
Capacity = Annotated[
    str | None,
    option(
        "--capacity",
        panel=LOAD,
        env="OVERSOLD_CAPACITY",
        text="Bids: size of the tranche in fen. Default: 1000000000 (10,000,000 yuan).",
        metavar="FEN",
    ),
]
Seed = Annotated[
    str | None,
    option(
        "--seed", panel=LOAD, env="OVERSOLD_SEED", metavar="K",
        text="Same seed, same plan: who comes when, amounts, failing steps, channels' moods. Default: 1.",
    ),
]  # fmt: skip
Processes = Annotated[
    str | None,
    option(
        "--processes", panel=LOAD, env="OVERSOLD_PROCESSES", metavar="P",
        text="App-server processes; a single one hides races. Default: 2.",
    ),
]  # fmt: skip
Lanes = Annotated[
    str | None,
    option(
        "--lanes", panel=LOAD, env="OVERSOLD_LANES", metavar="L",
        text="Workers in each process, each with its own connections: app-server workers (default 64), or workers "
        "of each payout job (default 8).",
    ),
]  # fmt: skip
Rtt = Annotated[
    str | None,
    option(
        "--rtt", panel=LOAD, env="OVERSOLD_RTT", metavar="TIME",
        text="Network delay before each store command: 0.5ms, 300us, 0; a bare number is ms. Default: 0.5ms.",
    ),
]  # fmt: skip
Profile = Annotated[
    str | None,
    option(
        "--profile", panel=LOAD, env="OVERSOLD_PROFILE", metavar="NAME|FILE.toml",
        text="Payouts: how the payment channels behave; see `list`. Default: seed.",
    ),
]  # fmt: skip
Preset = Annotated[
    str | None,
    option(
        "--preset", panel=LOAD, env="OVERSOLD_PRESET", metavar="NAME", text="Settings of an incident; see `list`."
    ),
]
Settings = Annotated[
    list[str] | None,
    option(
        "--set", panel=LOAD, metavar="KEY=VALUE",
        text="A setting of the incident, e.g. full_when=confirmed or jobs=twice. Repeatable; see `list`. "
        "`compare` takes several values: p=0.05,0.2.",
    ),
]  # fmt: skip
SqlServer = Annotated[
    str | None,
    option(
        "--sql", panel=LOAD, env="OVERSOLD_SQL", metavar="postgres|mariadb",
        text="The SQL server of the strategies that use one; `compare` takes both: postgres,mariadb. The "
        "ledger is in PostgreSQL in any case. Default: postgres.",
    ),
]  # fmt: skip
Http = Annotated[
    bool,
    option(
        "--http", panel=LOAD, env="OVERSOLD_HTTP",
        text="Bids: put built-in strategies behind `oversold serve` and drive them over HTTP, as a service is.",
    ),
]  # fmt: skip
AllowHosts = Annotated[
    list[str] | None,
    option(
        "--allow-host", panel=LOAD, metavar="NAME",
        text="Send load to this host, which is not this machine. Repeatable; a name that looks like production "
        "must be given twice.",
    ),
]  # fmt: skip
Stores = Annotated[
    str,
    option(
        "--stores", panel=STORES, env="OVERSOLD_STORES", metavar="auto|local|docker",
        text="auto: a URL, a program on PATH, a wheel, in this order. Never a URL: local, or docker (containers).",
    ),
]  # fmt: skip


def _url(store: str, text: str, metavar: str = "URL") -> Any:
    """Declare the option that gives a store's server by URL."""
    variable = f"OVERSOLD_{store.upper()}_URL"
    return Annotated[str | None, option(f"--{store}-url", panel=STORES, env=variable, metavar=metavar, text=text)]


RedisUrl = _url("redis", "Use this Redis.")
MemcachedUrl = _url("memcached", "Use this memcached.")
SqlUrl = _url("sql", "Use this PostgreSQL.")
MariadbUrl = _url("mariadb", "Use this MariaDB.")
RabbitmqUrl = _url("rabbitmq", "Use this RabbitMQ.")
RedlockUrl = _url("redlock", "Use these five Redis for redlock.", "URL,URL,...")
Images = Annotated[
    list[str] | None,
    option(
        "--image", panel=STORES, metavar="STORE=NAME",
        text="Docker: take this image for a store, e.g. redis=registry.example/redis:7. Repeatable.",
    ),
]  # fmt: skip
AllowRemote = Annotated[
    bool,
    option("--allow-remote", panel=STORES, text="Let the URLs point at other machines. They get real load."),
]
Out = Annotated[
    Path, option("--out", panel=OUTPUT, env="OVERSOLD_OUT", metavar="DIR", text="Folder for the runs' files.")
]
Charts = Annotated[
    bool,
    option(
        "--charts/--no-charts", panel=OUTPUT, env="OVERSOLD_CHARTS",
        text="Draw the pictures. Without them a run ends two seconds sooner; `oversold report` draws them later.",
    ),
]  # fmt: skip
Explain = Annotated[
    str,
    option(
        "--explain", panel=OUTPUT, env="OVERSOLD_EXPLAIN", metavar="TIME",
        text="Search so long for the shortest schedule that breaks each design that failed. 0: do not.",
    ),
]  # fmt: skip
Junit = Annotated[
    Path | None,
    option("--junit", panel=PIPELINE, env="OVERSOLD_JUNIT", metavar="FILE", text="Write a JUnit report."),
]
Markdown = Annotated[
    Path | None,
    option("--markdown", panel=PIPELINE, env="OVERSOLD_MARKDOWN", metavar="FILE", text="Write a short summary."),
]
Most = Annotated[
    list[str] | None,
    option(
        "--max", panel=PIPELINE, metavar="METRIC=N",
        text="A threshold, e.g. p99_ms=200 or undersubscription=0.001; missed, a pass exits with 3. Repeatable.",
    ),
]  # fmt: skip
Least = Annotated[
    list[str] | None,
    option("--min", panel=PIPELINE, metavar="METRIC=N", text="The same downwards, e.g. goodput_per_s=500."),
]
Baseline = Annotated[
    Path | None,
    option(
        "--baseline", panel=PIPELINE, metavar="DIR",
        text="An earlier run or comparison: say what got worse beyond the noise; then a pass exits with 3.",
    ),
]  # fmt: skip
DryRun = Annotated[
    bool,
    option("--dry-run", panel=LOAD, text="Print what would be started, sent and read, and where; do none of it."),
]
Json = Annotated[bool, option("--json", panel=OUTPUT, text="One JSON document on stdout and nothing else.")]
Canary = Annotated[
    bool,
    option(
        "--canary/--no-canary", panel=LOAD,
        text="First prove that the load finds races, by a run without a lock. Without it no run can pass.",
    ),
]  # fmt: skip

# What every command takes that runs something: name, type, default.
STORE_OPTIONS: Mapping[str, tuple[Any, Any]] = {
    "stores": (Stores, "auto"),
    "redis_url": (RedisUrl, None),
    "memcached_url": (MemcachedUrl, None),
    "sql_url": (SqlUrl, None),
    "mariadb_url": (MariadbUrl, None),
    "rabbitmq_url": (RabbitmqUrl, None),
    "redlock_url": (RedlockUrl, None),
    "images": (Images, None),
    "allow_remote": (AllowRemote, False),
}
RUN_OPTIONS: Mapping[str, tuple[Any, Any]] = {
    "users": (Users, None),
    "capacity": (Capacity, None),
    "seed": (Seed, None),
    "processes": (Processes, None),
    "lanes": (Lanes, None),
    "rtt": (Rtt, None),
    "profile": (Profile, None),
    "preset": (Preset, None),
    "settings": (Settings, None),
    "sql": (SqlServer, None),
    "http": (Http, False),
    "allow_hosts": (AllowHosts, None),
    **STORE_OPTIONS,
    "charts": (Charts, True),
    "explain": (Explain, "5s"),
    "out": (Out, Path("reports")),
}
# What a pipeline asks besides the verdict; `maximum` and `minimum` are the names that config files use.
PIPELINE_OPTIONS: Mapping[str, tuple[Any, Any]] = {
    "maximum": (Most, None),
    "minimum": (Least, None),
    "baseline": (Baseline, None),
    "junit": (Junit, None),
    "markdown": (Markdown, None),
}
Command = TypeVar("Command", bound=Callable[..., Any])


def takes(options: Mapping[str, tuple[Any, Any]]) -> Callable[[Command], Command]:
    """Give a command these options besides its own; it gets them in its `**values`.

    The command line is read off a function's signature, so several commands would repeat the whole list.
    """

    def add(command: Command) -> Command:
        signature, hints = inspect.signature(command), get_type_hints(command, include_extras=True)
        own = [
            each.replace(annotation=hints[each.name])
            for each in signature.parameters.values()
            if each.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        names = {each.name for each in own}
        added = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
            for name, (kind, default) in options.items()
            if name not in names
        ]
        command.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
        command.__annotations__ = {each.name: each.annotation for each in (*own, *added)}
        return command

    return add


def urls(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the stores' URLs that were given."""
    return {name.removesuffix("_url"): url for name, url in values.items() if name.endswith("_url") and url}


def explain_s(values: Mapping[str, Any]) -> float:
    """Return how long to search for each cause, in seconds: 0 for `0` and `no`; UsageError where it is no time."""
    from oversold.options import duration

    text = str(values["explain"])
    return 0.0 if text.strip().lower() in {"0", "0s", "no", "false"} else duration("--explain", text)


def choice_of(values: Mapping[str, Any]) -> StoreChoice:
    """Return what was said of the stores by `STORE_OPTIONS`; UsageError where it cannot be used."""
    from oversold.options import paired
    from oversold.stores.providers import StoreChoice

    return StoreChoice(values["stores"], urls(values), values["allow_remote"], paired("--image", values["images"]))
