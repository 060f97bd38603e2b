"""Limits that a pipeline sets to the numbers of a run: `--max p99_ms=200`, `--min goodput_per_s=500`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from oversold.ci.designs import Document, judged, load_of, table_of
from oversold.ci.metrics import BY_NAME, Metric, of_kind, worded
from oversold.errors import UsageError, near
from oversold.plan import Kind
from oversold.report.page.entries import Entry

Bound = Literal["max", "min"]
_SIDES = {"max": "above", "min": "below"}


@dataclass(frozen=True)
class Threshold:
    """A limit: the metric must not be above it (`max`) or below it (`min`)."""

    metric: Metric
    bound: Bound
    limit: float

    def fits(self, kind: Kind) -> bool:
        """Return whether runs of this kind have the metric."""
        return self.metric.kind in {None, kind}

    def holds(self, value: float | None) -> bool:
        """Return whether a value is within the limit; what is not known is not."""
        if value is None:
            return False
        return value <= self.limit if self.bound == "max" else value >= self.limit


def parse(pairs: Iterable[str], bound: Bound, kind: Kind | None = None) -> tuple[Threshold, ...]:
    """Read `metric=number` words; `kind`, if given, is what they must be metrics of.

    Raises:
        UsageError: a word is no such pair, the metric is unknown or of another kind, the number is none, negative
            or a share above 1, or a metric comes twice.
    """
    found: dict[str, Threshold] = {}
    for pair in pairs:
        name, equals, text = (part.strip() for part in pair.partition("="))
        said = f"--{bound} {pair}"
        if not equals or not name or not text:
            raise UsageError(f"{said}: write METRIC=NUMBER, as in --{bound} {_EXAMPLES[bound]}")
        if name in found:
            raise UsageError(f"{said}: {name} has a --{bound} already: leave one out")
        metric = _metric(said, name, kind)
        found[name] = Threshold(metric, bound, _limit(said, text, metric))
    return tuple(found.values())


_EXAMPLES = {"max": "p99_ms=200", "min": "goodput_per_s=500"}


def _metric(said: str, name: str, kind: Kind | None) -> Metric:
    names = [metric.name for metric in (of_kind(kind) if kind else BY_NAME.values())]
    if name in names:
        return BY_NAME[name]
    if name in BY_NAME:
        raise UsageError(f"{said}: {kind} have no {name}{near(name, names)}; they have {', '.join(names)}")
    raise UsageError(f"{said}: unknown metric {name!r}{near(name, names)}: there are {', '.join(names)}")


def _limit(said: str, text: str, metric: Metric) -> float:
    try:
        limit = float(text)
    except ValueError:
        raise UsageError(f"{said}: {text!r} is no number; write it without a unit") from None
    if not math.isfinite(limit):
        raise UsageError(f"{said}: {text} is no limit; write a finite number")
    if limit < 0:
        raise UsageError(f"{said}: no {metric.name} is negative; write 0 or more")
    if metric.share and limit > 1:
        raise UsageError(f"{said}: {metric.name} is a share of 1; write 0.05 for 5 %")
    return limit


def consistent(thresholds: Sequence[Threshold]) -> None:
    """Raise UsageError where no value could be within both limits of a metric."""
    most = {each.metric.name: each.limit for each in thresholds if each.bound == "max"}
    for each in thresholds:
        name = each.metric.name
        if each.bound == "min" and each.limit > most.get(name, math.inf):
            raise UsageError(
                f"--min {name}={each.limit:g} and --max {name}={most[name]:g}: nothing is within both; change one"
            )


def judged_rows(document: Document, thresholds: Sequence[Threshold]) -> list[dict[str, Any]]:
    """Return a row for each threshold and each design under each load, as plain JSON types.

    Of several seeds the worst run counts. A number that a run does not have is not within its limit. Canaries are
    not judged, unless there is nothing else. A row has `strategy`, `load`, `metric`, `bound`, `limit`, `value`
    (None: there is none), `seed` (of the run that the value is of), `held`, `detail`.
    """
    table = table_of(document)
    return [_row(entry, load_of(table, entry), threshold) for entry in judged(table) for threshold in thresholds]


def _row(entry: Entry, load: str, threshold: Threshold) -> dict[str, Any]:
    metric, bound = threshold.metric, threshold.bound
    values = [(metric.of(run), run.get("seed")) for run in entry.runs]
    value, seed = max(values, key=lambda each: _badness(each[0], bound))
    held = threshold.holds(value)
    limit = f"{worded(threshold.limit)}"
    if value is None:
        detail = f"The run has no {metric.name}, so nothing shows that it is within {limit}."
    elif held:
        detail = f"{metric.name} {worded(value)} is not {_SIDES[bound]} {limit}."
    else:
        detail = f"{metric.name} {_exactly(value, threshold.limit)} is {_SIDES[bound]} {limit}."
    return {
        "strategy": entry.name,
        "load": load,
        "metric": metric.name,
        "bound": bound,
        "limit": threshold.limit,
        "value": value,
        "seed": seed,
        "held": held,
        "detail": detail,
    }


def _badness(value: float | None, bound: Bound) -> float:
    if value is None:
        return math.inf
    return value if bound == "max" else -value


def _exactly(value: float, limit: float) -> str:
    """Return a number in as many digits as tell it from the limit."""
    return worded(value) if worded(value) != worded(limit) else f"{value!r}"
