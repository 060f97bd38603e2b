"""Under what conditions runs were made, said once where all are alike, and what differs where not."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oversold.model import yuan
from oversold.report.page.entries import number, pace_cause, pace_of
from oversold.report.phrases import is_service

LIMITED_BY = "What set the pace: limited by"  # as a difference between sources; it came of the runs
_MACHINE = {"cpu": "CPUs", "machine": "architecture", "system": "system"}


@dataclass(frozen=True)
class Condition:
    """One condition: its group, its name, and each of its values with the number of runs made under it."""

    group: str
    name: str
    values: tuple[tuple[str, int], ...]

    @property
    def said(self) -> list[str]:
        """The values in words, the number of runs beside each where there are several values."""
        if len(self.values) == 1:
            return [self.values[0][0]]
        return [f"{value} ({count} {'run' if count == 1 else 'runs'})" for value, count in self.values]


@dataclass(frozen=True)
class Difference:
    """A condition that is not the same in all sources: its values by source, in the order of the sources."""

    name: str
    values: tuple[str, ...]


def conditions(runs: Sequence[Mapping[str, Any]]) -> list[Condition]:
    """Return all conditions of some run summaries, in groups, the values in order of first appearance.

    A run that does not say a condition does not count for it.
    """
    found: dict[tuple[str, str], Counter[str]] = {}
    for run in runs:
        for group, name, value in _facts(run):
            found.setdefault((group, name), Counter())[value] += 1
    groups = list(dict.fromkeys(group for group, _ in found))
    ordered = sorted(found.items(), key=lambda item: groups.index(item[0][0]))
    return [Condition(group, name, tuple(values.items())) for (group, name), values in ordered]


def differences(runs: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[Difference]]:
    """Return the sources of runs that come from several, and the conditions in which those differ."""
    sources: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        sources.setdefault(str(run.get("source") or ""), []).append(run)
    if len(sources) < 2:
        return [], []
    told = [{(one.group, one.name): one for one in conditions(own)} for own in sources.values()]
    keys = dict.fromkeys(key for own in told for key in own)
    rows = [
        Difference(
            f"{group}: {name}",
            tuple(
                ", ".join(sorted(value for value, _ in own[group, name].values)) if (group, name) in own else "-"
                for own in told
            ),
        )
        for group, name in keys
    ]
    return list(sources), [row for row in rows if len(set(row.values)) > 1]


def _facts(run: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield each condition of a run as (group, name, value)."""
    load = run.get("load", {})
    if (users := number(load.get("users"))) is not None:
        yield "Load", "users", f"{users:,.0f}"
    if "tranche" in run:
        yield "Load", "capacity", yuan(int(run["tranche"]["capacity_fen"]))
    if http := run.get("http"):
        yield "Load", "path", f"over HTTP; the truth: {http.get('ledger') or 'claims only'}"
    if "processes" in load and "lanes" in load:
        yield "Load", "processes × lanes", f"{load['processes']} × {load['lanes']}"
    if (rtt_ms := number(load.get("rtt_ms"))) is not None and not is_service(run):
        yield "Load", "network delay (rtt)", f"{rtt_ms:g} ms"
    if run.get("profile"):
        yield "Load", "channels' profile", str(run["profile"])
    yield "Load", "seed", str(run.get("seed", "?"))
    if pace := pace_of(run):
        yield "What set the pace", "limited by", pace_cause(pace)
    for name, store in run.get("stores", {}).items():
        yield "Stores", name, _store(store)
    environment = run.get("environment", {})
    for key, value in environment.items():
        yield ("Machine" if key in _MACHINE else "Versions"), _MACHINE.get(key, key), str(value)
    for name, value in run.get("settings", {}).items():
        yield "Settings", name, _setting(value)


def _store(store: Mapping[str, Any]) -> str:
    said = " ".join(str(store[key]) for key in ("name", "provider", "version") if store.get(key))
    settings = ", ".join(f"{name} {_setting(value)}" for name, value in (store.get("settings") or {}).items())
    return f"{said}; {settings}" if settings else said


def _setting(value: Any) -> str:
    if value is None:
        return "default"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
