"""From what the user typed (flags, environment, config files, preset) to plans and choices."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from oversold import places
from oversold.bid_plan import BidPlan, BidSettings
from oversold.errors import StoreUnavailableError, UsageError, near
from oversold.payout_plan import PayoutPlan, PayoutSettings
from oversold.plan import SQLS, Kind, Plan, duration_s, settings_from
from oversold.stores.providers import StoreChoice, lacking
from oversold.strategies import registry

if TYPE_CHECKING:
    from oversold.sweep import Sweep

COMMON_OPTIONS = ("users", "seed", "processes", "lanes", "rtt", "sql")
PLAN_OPTIONS: Mapping[Kind, tuple[str, ...]] = {
    "bids": (*COMMON_OPTIONS, "capacity"),
    "payouts": (*COMMON_OPTIONS, "profile"),
}
SETTINGS: Mapping[Kind, type[BaseModel]] = {"bids": BidSettings, "payouts": PayoutSettings}
PLANS: Mapping[Kind, type[Plan]] = {"bids": BidPlan, "payouts": PayoutPlan}
DEFAULTS: dict[str, Any] = {"rtt": "0.5ms"}
ONLY_TYPED = {"allow_hosts", "allow_host"}
TABLES = {
    "set": "settings",
    "max": "maximum",
    "min": "minimum",
    "images": "images",
}  # of config files; each becomes repeated flags
NAMES = {"capacity": "capacity_fen", "rtt": "rtt_s"}
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
DAY_S = 86_400.0


@dataclass(frozen=True)
class Typed:
    """The options that `run`, `compare` and `attend` share, as typed; None or empty where not given."""

    scenario: str
    users: str | None = None
    capacity: str | None = None
    seed: str | None = None
    processes: str | None = None
    lanes: str | None = None
    rtt: str | None = None
    profile: str | None = None
    preset: str | None = None
    sql: str | None = None
    http: bool = False
    allow_hosts: tuple[str, ...] = ()
    settings: list[str] = field(default_factory=list)
    stores: str = "auto"
    urls: Mapping[str, str | None] = field(default_factory=dict)
    allow_remote: bool = False
    images: list[str] = field(default_factory=list)


def plan_of(typed: Typed, strategy: str) -> Plan:
    """Build the validated plan of one strategy. Flags beat the preset, which beats the defaults.

    Raises:
        UsageError: anything that does not fit, in one line that names option and value.
    """
    kind = places.kind(typed.scenario)
    stores = registry.load(strategy, kind).stores
    values: dict[str, Any] = {"scenario": typed.scenario, "strategy": strategy}
    preset = _preset(typed, kind)
    for option in ("capacity", "profile"):
        if getattr(typed, option) is not None and option not in PLAN_OPTIONS[kind]:
            raise UsageError(f"--{option} means nothing to {typed.scenario}, which is about {kind}: leave it out")
    for option in PLAN_OPTIONS[kind]:
        given = getattr(typed, option)
        value = given if given is not None else preset.get(option, DEFAULTS.get(option))
        if value is not None:
            values[NAMES.get(option, option)] = duration_s(str(value)) if option == "rtt" else value
    if strange := [host for host in typed.allow_hosts if not host.strip() or set(host) & set("*/@?, ")]:
        raise UsageError(f"--allow-host {strange[0]}: give one host's name as it stands in url, no wildcard")
    values["allow_hosts"] = typed.allow_hosts
    if kind == "bids":
        values["http"] = typed.http or strategy.endswith(".toml")
    if "profile" in values:
        places.profile(values["profile"])
    if "sql" in values and "sql" not in stores and values["sql"] in SQLS:
        del values["sql"]  # a design that uses no SQL server is the same on any
    values[kind] = settings_from(SETTINGS[kind], preset.get("set", {}), typed.settings)
    try:
        plan = PLANS[kind].model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            raise UsageError(first["msg"].removeprefix("Value error, ")) from error
        name = str(first["loc"][0])
        option = next((short for short, long in NAMES.items() if long == name), name)
        given = str(values.get(name))
        several = "; `compare` takes several" if "," in given and name in {"users", "sql"} else ""
        raise UsageError(f"--{option} {given}: {first['msg'].lower()}{several}") from error
    if plan.is_service:
        _check_service(plan)
    return plan


def _check_service(plan: Plan) -> None:
    """Refuse, before anything is started, a service that may not be driven, or not so hard."""
    from oversold.services import hosts, mapping, payout_mapping

    service = mapping.load(Path(plan.strategy))
    hosts.check(service, plan.allow_hosts)
    if isinstance(plan, PayoutPlan) and service.payout:
        payout_mapping.check_jobs(plan.strategy, service.payout, plan.payouts.jobs)
    if plan.users > service.bounds.users:
        raise UsageError(
            f"--users {plan.users}: {plan.strategy} allows {service.bounds.users} at most: raise users in [bounds]"
        )


def sweep_of(typed: Typed, strategies: str, users: str | None, repeat: str) -> Sweep:
    """Plan a comparison: every cell is validated before anything is started.

    `all` leaves out strategies whose servers are not here. A strategy that is named must have its servers.

    Raises:
        UsageError: anything that does not fit.
    """
    from oversold.session import servers_of
    from oversold.sweep import grid, planned

    kind = places.kind(typed.scenario)
    names = strategies_of(strategies, kind)
    if any(name.endswith(".toml") for name in names):
        typed = replace(typed, http=True)  # all must meet the load on the same path, the canary too
    named = {word.strip() for word in strategies.split(",")}
    counts = _several("--users", users)
    servers = _several("--sql", typed.sql)
    plans = [
        plan_of(replace(typed, users=count, settings=settings, sql=sql), name)
        for count in counts
        for settings in grid(typed.settings)
        for name in names
        for sql in servers
    ]
    # What was named must be there, which starting it will tell; only for the others it is looked up beforehand.
    lacks = lacking(choice_of(typed)) if any(plan.strategy not in named for plan in plans) else {}
    without = {
        plan: needed
        for plan in plans
        if plan.strategy not in named and (needed := sorted(servers_of(plan) & lacks.keys()))
    }
    left_out = {
        (plan.strategy, plan.sql): {"strategy": plan.strategy, "sql": plan.sql, "why": lacks[needed[0]]}
        for plan, needed in without.items()
    }
    plans = [plan for plan in plans if plan not in without]
    if not plans:
        raise StoreUnavailableError(f"no strategy can run here: {next(iter(left_out.values()))['why']}")
    return planned(plans, whole("--repeat", repeat, 1, 1000), list(left_out.values()))


def _several(option: str, text: str | None) -> Sequence[str | None]:
    """Split `a,b`; repeats are dropped. Nothing given is one value, the default."""
    if text is None:
        return [None]
    words = list(dict.fromkeys(word.strip() for word in text.split(",")))
    if "" in words:
        raise UsageError(f"{option} {text}: a value beside a comma is missing")
    return words


def resumed(folder: Path, scenario: str | None) -> Sweep:
    """Read the comparison that is to be gone on with; UsageError when it is of another scenario or damaged."""
    from oversold import sweep

    found = sweep.load(folder)
    if scenario is not None and found.canary.scenario != scenario:
        raise UsageError(f"--resume {folder} is a comparison of {found.canary.scenario}, not of {scenario}")
    for cell in found.cells:
        registry.load(cell.plan.strategy, cell.plan.kind)
        if cell.plan.is_service:
            _check_service(cell.plan)
    return found


def _preset(typed: Typed, kind: Kind) -> dict[str, Any]:
    """Return the preset's table, checked for keys that this kind of incident does not have."""
    preset = places.preset(typed.preset)
    if not isinstance(preset.get("set", {}), dict):
        raise UsageError(f"preset {typed.preset}: `set` must be a table")
    unknown = set(preset) - {*PLAN_OPTIONS[kind], "set", "about"}
    strange = unknown | set(preset.get("set", {})) - set(SETTINGS[kind].model_fields)
    other: Kind = "payouts" if kind == "bids" else "bids"
    if strange and strange <= {*PLAN_OPTIONS[other], *SETTINGS[other].model_fields}:
        hint = "; how its channels behave is a --profile" if kind == "payouts" else ""
        raise UsageError(f"preset {typed.preset} is not for {typed.scenario}, which is about {kind}{hint}")
    if unknown:
        raise UsageError(f"preset {typed.preset}: unknown keys for {typed.scenario}: {', '.join(sorted(unknown))}")
    return preset


def choice_of(typed: Typed) -> StoreChoice:
    """Build the choice of stores."""
    given = {name: url for name, url in typed.urls.items() if url}
    return StoreChoice(typed.stores, given, typed.allow_remote, paired("--image", typed.images))


def paired(option: str, pairs: Sequence[str] | None) -> dict[str, str]:
    """Split `key=value` words; UsageError for one that is none."""
    found = {}
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"{option} {pair}: write STORE=NAME")
        found[name] = value
    return found


def strategies_of(text: str, kind: Kind) -> list[str]:
    """Split `a,b,c`; `all` is every strategy there is. Order is kept, repeats are dropped.

    Raises:
        UsageError: an unknown strategy, or none at all.
    """
    names: list[str] = []
    for word in text.split(","):
        names += registry.names(kind) if word.strip() == "all" else [word.strip()]
    names = list(dict.fromkeys(filter(None, names)))
    if not names:
        raise UsageError("--strategies is empty: give names separated by commas, or all")
    for name in names:
        registry.load(name, kind)
    return names


def defaults_from_config(commands: Mapping[str, set[str]]) -> dict[str, dict[str, Any]]:
    """Return click's default map: the config files' keys as defaults of every command that has them.

    `commands` maps each command to its parameter names. A table `[set]` becomes `--set` pairs, `[max]` and
    `[min]` thresholds, `[images]` `--image` pairs, `[stores]` URLs.

    Raises:
        UsageError: a key that no command knows.
    """
    config = places.configuration()
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if name.replace("-", "_") in ONLY_TYPED:
            raise UsageError(
                f"config key {name!r}: what may get load is said on the command line only: leave it out"
            )
        if name == "stores" and not isinstance(value, dict | str):
            raise UsageError(f"config key {name!r} must be a table")
        if name in TABLES:
            if not isinstance(value, dict):
                raise UsageError(f"config key {name!r} must be a table")
            flat[TABLES[name]] = [f"{key}={item}" for key, item in value.items()]
        elif isinstance(value, dict) and name == "stores":
            flat |= {f"{store}_url": url for store, url in value.items()}
        else:
            flat[name.replace("-", "_")] = value
    known = set().union(*commands.values())
    for name in flat:
        if name not in known:
            raise UsageError(f"config key {name!r} is unknown{near(name, sorted(known))}")
    return {command: {k: v for k, v in flat.items() if k in names} for command, names in commands.items()}


def whole(option: str, text: str, low: int, high: int) -> int:
    """Parse a whole number between `low` and `high`; UsageError otherwise."""
    try:
        number = int(text)
    except ValueError:
        raise UsageError(f"{option} {text}: write a whole number") from None
    if not low <= number <= high:
        raise UsageError(f"{option} {text}: must be from {low} to {high}")
    return number


def duration(option: str, text: str) -> float:
    """Return seconds for `30s`, `2m`, `500ms`, or a bare number of seconds; UsageError where it is none.

    >>> duration("--budget", "2m"), duration("--budget", "500ms")
    (120.0, 0.5)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h)?\s*", text)
    seconds = float(match[1]) * SECONDS[match[2] or "s"] if match else 0.0
    if not 0 < seconds <= DAY_S:
        raise UsageError(f"{option} {text}: write a time such as 30s, 2m or 500ms, a day at most")
    return seconds


def writable(out: Path) -> None:
    """Raise UsageError early when nothing can be written below `out`."""
    folder = out
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise UsageError(f"--out {out}: {folder} is not a folder")
    probe = folder / f".oversold-{id(folder)}"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError(f"--out {out} cannot be written ({error.strerror}): choose another folder") from error
