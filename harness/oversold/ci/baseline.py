"""What got worse since an earlier run, beyond the noise: each design against itself under the same load."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oversold.ci.designs import Document, is_comparison, judged, load_of, runs_of, table_of
from oversold.ci.metrics import Metric, Tolerance, kind_of, of_kind, worded
from oversold.errors import UsageError
from oversold.report import sources
from oversold.report.cells import worst_verdict
from oversold.report.page.entries import Entry
from oversold.report.phrases import listed
from oversold.report.tables import broken_checks, percent, shown_name

STEADY_RUNS = 3  # so many runs on either side tell their own noise
MANY_RUNS = 8  # of so many the middle half is the noise: one run that went astray does not hide a change
_MACHINE = {"cpu": "CPUs", "machine": "architecture", "system": "system"}

Run = Mapping[str, Any]


@dataclass(frozen=True)
class Pair:
    """One design under one load: its runs before and now, at least one of each."""

    strategy: str
    load: str
    before: tuple[Run, ...]
    now: tuple[Run, ...]


def load(folder: Path) -> dict[str, Any]:
    """Read the run or the comparison that others are compared with.

    Raises:
        UsageError: the folder holds none, or one that cannot be read or has no finished run.
    """
    try:
        document = sources.load(folder)
    except UsageError as error:
        raise UsageError(f"--baseline: {error}") from error
    runs = runs_of(document)
    if not all(isinstance(run, Mapping) and {"strategy", "verdict"} <= run.keys() for run in runs):
        raise UsageError(f"--baseline: {folder} is damaged: a run in it has no strategy or no verdict")
    if not _finished(document):
        raise UsageError(f"--baseline: {folder} has no finished run: give another folder")
    return document


def recorded(document: Document) -> str | None:
    """Return when the first run of a baseline was recorded, in ISO form; None of runs that do not say it."""
    return min((str(run["recorded"]) for run in runs_of(document) if run.get("recorded")), default=None)


def compared(document: Document, before: Document) -> list[dict[str, Any]]:
    """Return what was compared, as plain JSON types: of each design under each load the verdict and the numbers.

    A row has `strategy`, `load`, `metric`, `before`, `now`, `worse` and `why` (a sentence). Numbers are medians,
    of a promise the worst; a verdict is a word. A number that neither side has gets no row.
    """
    return [row for pair in _pairs(document, before) for row in _rows(pair)]


def _rows(pair: Pair) -> Iterator[dict[str, Any]]:
    yield _verdict_row(pair)
    apart = bool(_grounds_apart(pair))
    for metric in of_kind(kind_of(pair.now[0])):
        if metric.tolerance is not None and (row := _row(pair, metric, metric.tolerance, apart=apart)):
            yield row


def caveats(document: Document, before: Document) -> list[str]:
    """Return what must be known of the comparison: what differs, and what could not be compared, a line each."""
    pairs = _pairs(document, before)
    lines = [] if pairs else ["Nothing could be compared: make a new baseline."]
    for pair in pairs:
        lines += [f"{what}: times are not judged." for what in _grounds_apart(pair)]
    lines += _versions(pairs)
    table = table_of(document)
    paired = {(pair.strategy, pair.load) for pair in pairs}
    known = {shown_name(run): run for run in _finished(before)}
    for entry in judged(table):
        if (entry.name, load_of(table, entry)) not in paired:
            lines.append(_without_pair(entry, load_of(table, entry), known.get(entry.name)))
    if is_comparison(document):
        gone = sorted(known.keys() - {entry.name for entry in table.entries})
        lines += [f"{name}: only the baseline has it." for name in gone]
    return list(dict.fromkeys(lines))


def _finished(document: Document) -> list[Run]:
    return [run for run in runs_of(document) if not run.get("interrupted")]


def _pairs(document: Document, before: Document) -> list[Pair]:
    table, earlier = table_of(document), _finished(before)
    found = []
    for entry in judged(table):
        same = tuple(run for run in earlier if not _load_apart(run, entry.runs[0]))
        if same:
            found.append(Pair(entry.name, load_of(table, entry), same, entry.runs))
    return found


def _load_apart(before: Run, now: Run) -> list[str]:
    """Say in what two runs are not of one design under one load; nothing of what only one of them tells."""
    mine, theirs = _identity(now), _identity(before)
    return [
        f"{name} {theirs[name]} instead of {mine[name]}"
        for name in mine
        if name in theirs and mine[name] != theirs[name]
    ]


def _identity(run: Run) -> dict[str, Any]:
    loaded, tranche = run.get("load") or {}, run.get("tranche") or {}
    return {
        "strategy": run["strategy"],
        "kind": kind_of(run),
        "path": "HTTP" if run.get("http") else "in-process",
        **{name: run[name] for name in ("scenario", "sql", "profile") if name in run},
        **{name: loaded[name] for name in ("users", "processes", "lanes", "rtt_ms") if name in loaded},
        **{name: tranche[name] for name in ("capacity_fen",) if name in tranche},
        **(run.get("settings") or {}),
    }


def _without_pair(entry: Entry, load: str, known: Run | None) -> str:
    if known is None:
        return f"{entry.name}: the baseline does not have it."
    apart = _load_apart(known, entry.runs[0])
    more = f" and {len(apart) - 3} more" if len(apart) > 3 else ""
    return f"{entry.name}, {load}: not compared, the baseline has {', '.join(apart[:3])}{more}."


def _grounds_apart(pair: Pair) -> list[str]:
    """Say what makes times incomparable: another machine, other servers or other settings of theirs."""
    before, now = _grounds(pair.before), _grounds(pair.now)
    return [
        f"{name} was {before[name]}, is {now[name]}"
        for name in before
        if name in now and before[name] != now[name]
    ]


def _grounds(runs: Sequence[Run]) -> dict[str, str]:
    found: dict[str, dict[str, None]] = {}
    for run in runs:
        environment = run.get("environment") or {}
        facts = {said: environment[name] for name, said in _MACHINE.items() if name in environment}
        for name, store in (run.get("stores") or {}).items():
            settings = [f"{key} {value}" for key, value in sorted((store.get("settings") or {}).items())]
            facts[f"server {name}"] = ", ".join([str(store.get("provider")), *settings])
        for name, value in facts.items():
            found.setdefault(name, {})[str(value)] = None
    return {name: " or ".join(sorted(values)) for name, values in found.items()}


def _versions(pairs: Sequence[Pair]) -> list[str]:
    """Return one line with all versions that changed, or none."""
    before = _version_facts([run for pair in pairs for run in pair.before])
    now = _version_facts([run for pair in pairs for run in pair.now])
    changed = [
        f"{name} {before[name]} -> {now[name]}" for name in before if name in now and before[name] != now[name]
    ]
    return [f"Versions changed: {', '.join(changed)}."] if changed else []


def _version_facts(runs: Sequence[Run]) -> dict[str, str]:
    found: dict[str, dict[str, None]] = {}
    for run in runs:
        facts = {name: value for name, value in (run.get("environment") or {}).items() if name not in _MACHINE}
        facts |= {f"server {name}": store.get("version") for name, store in (run.get("stores") or {}).items()}
        for name, value in facts.items():
            found.setdefault(name, {})[str(value)] = None
    return {name: " or ".join(sorted(values)) for name, values in found.items()}


def _verdict_row(pair: Pair) -> dict[str, Any]:
    before = worst_verdict([str(run["verdict"]) for run in pair.before])
    now = worst_verdict([str(run["verdict"]) for run in pair.now])
    had = {check for run in pair.before for check in broken_checks(run)}
    new = list(dict.fromkeys(check for run in pair.now for check in broken_checks(run) if check not in had))
    worse = bool(new) or worst_verdict([before, now]) == now != before
    why = f"Now fails {listed(new)}." if new else f"It was {before}." if worse else "Not worse."
    return _as_row(pair, "verdict", before, now, worse=worse, why=why)


def _row(pair: Pair, metric: Metric, tolerance: Tolerance, *, apart: bool) -> dict[str, Any] | None:
    before = [value for run in pair.before if (value := metric.of(run)) is not None]
    now = [value for run in pair.now if (value := metric.of(run)) is not None]
    if not before or not now:
        if not before and not now:
            return None
        gone = "The run has no such number now." if before else "The baseline has no such number."
        middles = [statistics.median(values) if values else None for values in (before, now)]
        return _as_row(pair, metric.name, *middles, worse=False, why=gone)
    if metric.promise:
        was, is_ = max(before), max(now)
        why = "Newly broken." if (worse := was == 0 < is_) else "Broken before already." if is_ else "Kept."
        return _as_row(pair, metric.name, was, is_, worse=worse, why=why)
    was, is_ = statistics.median(before), statistics.median(now)
    if apart and metric.machine:
        why = "Not judged: made on another machine or on other servers."
        return _as_row(pair, metric.name, was, is_, worse=False, why=why)
    by = is_ - was if metric.worse == "high" else was - is_
    noise = allowed(tolerance, before, now)
    share = f" ({percent(by / was)})" if was and by > 0 else ""
    if by > noise:
        why = f"Worse by {worded(by)}{share}; up to {worded(noise)} is taken for noise."
    else:
        why = f"Within the noise: worse by {worded(by)}{share} of {worded(noise)}." if by > 0 else "Not worse."
    return _as_row(pair, metric.name, was, is_, worse=by > noise, why=why)


def _as_row(pair: Pair, metric: str, before: Any, now: Any, *, worse: bool, why: str) -> dict[str, Any]:
    return {
        "strategy": pair.strategy,
        "load": pair.load,
        "metric": metric,
        "before": before,
        "now": now,
        "worse": worse,
        "why": why,
    }


def allowed(tolerance: Tolerance, before: Sequence[float], now: Sequence[float]) -> float:
    """Return how far a median may get worse: what is tolerated, or what both spreads explain if that is more.

    Fewer than `STEADY_RUNS` on one side do not tell their noise, and get the wider tolerance of single runs.
    """
    steady = min(len(before), len(now)) >= STEADY_RUNS
    share = tolerance.steady if steady else tolerance.single
    return max(share * abs(statistics.median(before)), tolerance.floor, _spread(before) + _spread(now))


def _spread(values: Sequence[float]) -> float:
    if len(values) < MANY_RUNS:
        return max(values) - min(values)
    low, _, high = statistics.quantiles(values, n=4)
    return high - low
