"""A schedule that was recorded, repeated on the stores."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oversold.errors import Exit, UsageError
from oversold.explorations.answers import counterexample
from oversold.explorations.questions import Exploration
from oversold.explorations.servers import Stores
from oversold.explore.explorer import Limits
from oversold.explore.replay import Loose, findings, moves, played, recorded
from oversold.explore.replay import replayed as walked
from oversold.explore.search import Diverged
from oversold.explore.stage import Store
from oversold.plan import Sql
from oversold.schedule import Schedule
from oversold.stores.providers import LABELS


@dataclass(frozen=True)
class Replayed:
    """What came of a replay.

    `outcome`: `broken` again, `mended` (the same promise is kept now), or `diverged` although the strategy's text
    is the same. `steps` is what happened; `why` where it went another way than the file.
    """

    outcome: str
    changed: bool  # the strategy's text is another one than the file's
    steps: Schedule | None
    why: str = ""
    written_for: str = ""  # the file's own strategy, where it was repeated with another one


def replayed(
    schedule: Schedule,
    servers: Stores,
    store: Store = "real",
    sql: Sql = "postgres",
    code: type[Any] | None = None,
) -> Replayed:
    """Walk a schedule on the stores; `code` is the strategy's class, where it is not to be loaded by its name.
    Where the strategy was changed and goes another way, follow it as far as that is possible, and let everybody
    finish.

    Raises:
        UsageError: a strategy or a store that is not here.
        StoreUnavailableError: a store is not there, or goes away meanwhile.
    """
    if schedule.broken is None:
        raise UsageError("the file breaks no promise, so there is nothing to repeat: give a counterexample's file")
    limits = Limits(faults=schedule.faults, seed=schedule.seed)
    asked = Exploration(schedule.strategy, schedule.kind, schedule.scenario, limits, store, sql, code)
    with servers.stage(asked) as stage:
        subject = stage.subject(schedule.scenario)
        changed = bool(schedule.fingerprint) and subject.fingerprint != schedule.fingerprint
        why = ""
        try:
            execution = walked(subject, schedule)
        except Diverged as error:
            why = str(error)
            if not changed:
                stage.require_stores()
                return Replayed("diverged", changed, None, why)
            execution = played(subject, lambda: Loose(moves(schedule)), schedule.faults)
        finding = next(
            (each for each in findings(subject, execution) if each.check == schedule.broken.check), None
        )
        steps = recorded(execution, subject, finding, schedule.outcome if finding else "SAMPLED", schedule.seed)
        return Replayed("mended" if finding is None else "broken", changed, steps, why)


REPLAY_EXITS = {"broken": Exit.BROKEN, "mended": Exit.PASS, "diverged": Exit.INCONCLUSIVE}


def told(found: Replayed) -> str:
    """Return in words what came of a replay."""
    news = "The strategy's text has changed since the file was written. " if found.changed else ""
    if found.changed and found.written_for and found.steps is not None:
        news = f"The file was written for {found.written_for}; this is {found.steps.strategy}. "
    way = f" It goes another way: {found.why}." if found.why else ""
    if found.outcome == "broken":
        return f"{news}It happened again: this schedule breaks the design.{way}"
    if found.outcome == "mended":
        return (
            f"{news}The promise is kept in this schedule.{way} Whether it is kept in the others too, "
            "`oversold explore` says."
        )
    return f"It could not be repeated although the strategy's text is the same: {found.why}. That proves nothing."


def require_strategy(schedule: Schedule, file: Path) -> None:
    """Refuse a replay file whose strategy lies in a file that is not here.

    Its path counts from the folder in which `oversold explore` was called, of which the replay file may lie below.

    Raises:
        UsageError: it is not here; the text says where it is, or how to name it.
    """
    path, _, name = schedule.strategy.rpartition(":")
    if not path.endswith(".py") or Path(path).is_file():
        return
    there = next((each / path for each in file.resolve().parents if (each / path).is_file()), None)
    named = shlex.quote(f"{there or './path.py'}:{name}")
    where = "there is no such file here" if there is None else f"that file is in {there.resolve().parent}"
    raise UsageError(f"{file} was written for {schedule.strategy}, and {where}: add --strategy {named}")


def replay_document(schedule: Schedule, found: Replayed | None) -> dict[str, Any]:
    """Return a replay as a JSON document of schema `oversold/replayed/1`."""
    return {
        "schema": "oversold/replayed/1",
        "strategy": schedule.strategy,
        "outcome": found.outcome if found else "shown",
        "changed": found.changed if found else None,
        "why": found.why if found else "",
        "file": counterexample(schedule, 0),
        "happened": counterexample(found.steps, 0) if found and found.steps else None,
    }


def sql_of(schedule: Schedule) -> Sql:
    """Return the SQL server that a schedule was found on."""
    return "mariadb" if schedule.versions.get("sql", "").startswith(LABELS["mariadb"]) else "postgres"
