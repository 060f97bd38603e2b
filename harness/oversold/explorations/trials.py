"""Explorations and replays that tests ask for one by one, on the servers that their session has."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from oversold import schedule_file
from oversold.errors import UsageError
from oversold.explorations import answers, questions, replays
from oversold.explorations import servers as searching
from oversold.explorations.options import Typed, exploration_of
from oversold.explorations.questions import Exploration
from oversold.explorations.result import Explored, Repeated, replaying
from oversold.explorations.servers import Stores
from oversold.explore.stage import Store
from oversold.plan import Kind, Sql
from oversold.schedule import Schedule
from oversold.stores.providers import StoreChoice
from oversold.strategies import registry
from oversold.trials import Trials, from_here, word_for

WORDS = ("capacity_bids", "bids_each", "faults", "budget", "mode", "seed", "sql", "store")


def asked(strategy: object, given: Mapping[str, Any]) -> Exploration:
    """Return what a test asks for.

    Args:
        strategy: a class, a name or "path.py:Class". A class is explored as it is, not loaded again from its file.
        given: fields of `Typed`, None where not given; `workers` may stand for `bidders`,
            `check` is the name of one promise or of several, `shares` one number or several.

    Raises:
        UsageError: anything that does not fit.
    """
    if given.get("bidders") is not None and given.get("workers") is not None:
        raise UsageError("bidders and workers are two words for one number: leave one out")
    if inspect.isclass(strategy):
        kind, code = _kind(strategy), strategy
    else:
        word = word_for(strategy, "bids")
        kind = questions.kind_of(word)
        code = registry.load(word, kind)
    words: dict[str, Any] = {name: str(given[name]) for name in WORDS if given.get(name) is not None}
    for name in ("bidders", "workers"):
        if given.get(name) is not None:
            words["bidders"] = str(given[name])
    if given.get("shares") is not None:
        words["shares"] = ",".join(map(str, _several(given["shares"])))
    checks = tuple(_several(given.get("check") or ()))
    pauses = given.get("pauses") is not False
    typed = Typed(from_here(word_for(strategy, kind)), checks=checks, pauses=pauses, **words)
    return exploration_of(typed, kind, code)


def _kind(code: type[Any]) -> Kind:
    """Return what a class is about: that of whose methods it has the most, all of which it then has to have."""
    methods = registry.METHODS
    kind = max(methods, key=lambda kind: sum(callable(getattr(code, name, None)) for name in methods[kind]))
    registry.check(code.__name__, code, kind)
    return kind


def _several(given: Any) -> Sequence[Any]:
    return [given] if isinstance(given, str | int) else list(given)


def explored(trials: Trials, asked: Exploration, folder: Path) -> Explored:
    """Search the schedules of a strategy; `folder` gets explore.json, and the files of a counterexample.

    Raises:
        KeyboardInterrupt: somebody interrupted it.
        StoreUnavailableError, UsageError.
    """
    with Stores(StoreChoice(), trials, trials.new_run()) as servers:
        asked, result = searching.explored_and_smaller(asked, servers, lambda found: None)
        document = answers.document(asked, result, servers.used(asked))
    if result.interrupted:
        raise KeyboardInterrupt
    answers.written(folder, document, result)
    return Explored(document, result, folder, document["command"])


def repeated(
    trials: Trials, file: Path, roots: Sequence[Path], strategy: object, sql: Sql | None, store: Store
) -> Repeated:
    """Repeat the schedule of a replay file, with the strategy as it is now.

    Args:
        roots: from where paths may count, of the file and in it; the first one counts where something is there.
        strategy: a class, a name or "path.py:Class"; None: the one that the file names.
        sql: the server behind `context.sql`; None: the one of the file.

    Raises:
        StoreUnavailableError, UsageError.
    """
    path = _below(roots, file)
    schedule = schedule_file.read(path)
    if schedule.broken is None:
        raise UsageError(f"{file} breaks no promise, so there is nothing to repeat: give a counterexample's file")
    name, code = _now(schedule, roots, strategy)
    with Stores(StoreChoice(), trials, trials.new_run()) as servers:
        now = replace(schedule, strategy=name)
        found = replays.replayed(now, servers, store, sql or replays.sql_of(schedule), code)
    return Repeated(path, schedule, found, replaying(Path(from_here(str(path)))))


def _now(schedule: Schedule, roots: Sequence[Path], strategy: object) -> tuple[str, type[Any]]:
    """Return the name and the class of the strategy that a schedule is to be repeated with."""
    if inspect.isclass(strategy):
        registry.check(strategy.__name__, strategy, schedule.kind)
        return strategy.__name__, strategy
    word = schedule.strategy if strategy is None else word_for(strategy, schedule.kind)
    path, _, name = word.rpartition(":")
    if path.endswith(".py"):
        word = f"{_below(roots, Path(path))}:{name}"
    else:
        questions.kind_of(word)  # refuses a service
    try:
        return from_here(word), registry.load(word, schedule.kind)
    except UsageError as error:
        mend = "" if strategy is not None else "; if it has moved, say which it is by strategy="
        raise UsageError(f"{error}{mend}") from None


def _below(roots: Sequence[Path], path: Path) -> Path:
    return next((root / path for root in roots if (root / path).exists()), path)
