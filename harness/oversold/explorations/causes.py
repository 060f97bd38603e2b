"""From a run that failed to its cause: which exploration explains it, the search for it, where that is told."""

from __future__ import annotations

import itertools
import os
import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oversold import places, shell
from oversold.errors import OversoldError, UsageError
from oversold.plan import Kind, Sql
from oversold.report import explained
from oversold.report.explained import Explained
from oversold.report.tables import shown_name
from oversold.strategies import registry

if TYPE_CHECKING:
    from oversold.explorations.questions import Exploration
    from oversold.explorations.servers import Stores
    from oversold.explore.explorer import Result
    from oversold.schedule import Outcome
    from oversold.stores.providers import StoreChoice
    from oversold.telling import Telling

BUDGET_S = 30.0  # of the command that people repeat
TELL_S = 0.1  # between two words on how far a search is
FAULTS = 1  # an exploration walks the schedules without any first
SEAMLESS = frozenset({"rabbitmq"})  # stores whose commands cannot be taken one at a time
# What the explorer looks for unasked, and what it has to be asked for, the first one that failed.
SAFETY: Mapping[Kind, frozenset[str]] = {
    "bids": frozenset({"oversubscription", "duplicate_order", "phantom_order", "lost_order"}),
    "payouts": frozenset({"overpaid", "stranger"}),
}
BY_NAME: Mapping[Kind, tuple[str, ...]] = {
    "bids": ("undersubscription", "leak", "claim_gap"),
    "payouts": ("missed", "false_terminal", "unresolved", "review_reason"),
}
SMALLEST: Mapping[Kind, Mapping[str, int | str]] = {
    "bids": {"bidders": 2, "capacity_bids": 1, "shares": "1"},
    "payouts": {"workers": 2, "obligations": 1},
}
LARGER: Mapping[Kind, Mapping[str, int | str]] = {
    "bids": {"bidders": 3, "capacity_bids": 2, "shares": "1"},
    "payouts": {"workers": 3, "obligations": 1},
}
ACTORS: Mapping[Kind, tuple[str, str]] = {"bids": ("--bidders", "3"), "payouts": ("--workers", "2")}
Design = tuple[str, str]  # strategy, SQL server


def asked(summary: Mapping[str, Any]) -> Exploration | None:
    """Return the exploration that would explain why a run failed; None where there is none.

    There is none for a run that did not fail, for what only the platform's FULL mark has done, for services and
    whatever was driven over HTTP, and for designs over a store without a seam.
    """
    strategy = str(summary["strategy"])
    if summary["verdict"] != "fail" or "http" in summary or strategy.endswith(".toml"):
        return None
    kind: Kind = "payouts" if "obligations" in summary else "bids"
    failed = {str(found["check"]) for found in summary.get("findings", []) if found["verdict"] == "fail"}
    if failed & SAFETY[kind]:
        return _exploration(strategy, kind, summary.get("sql", "postgres"), ())
    if "false_full" in failed and _marks_too_early(summary.get("settings", {})):
        failed.discard("undersubscription")  # the mark has sent people away, not the strategy
    named = [check for check in BY_NAME[kind] if check in failed]
    return _exploration(strategy, kind, summary.get("sql", "postgres"), (named[0],)) if named else None


def command(summary: Mapping[str, Any]) -> str | None:
    """Return the command that explores why a run failed; None where nothing can be explored."""
    exploration = asked(summary)
    if exploration is None:
        return None
    from oversold.explorations import questions

    return questions.command(exploration)


def after_pass(runs: Sequence[Mapping[str, Any]]) -> str | None:
    """Return in a line what the runs that passed do not prove, and the command that may; None where no design that
    passed can be explored."""
    for run in runs:
        strategy = str(run["strategy"])
        if run["verdict"] != "pass" or run["canary"] or "http" in run or strategy.endswith(".toml"):
            continue
        kind: Kind = "payouts" if "obligations" in run else "bids"
        stores = _stores(strategy, kind)
        if stores is not None and not stores & SEAMLESS:
            words = ["oversold", "explore", strategy, *ACTORS[kind]]
            words += ["--sql", "mariadb"] if "sql" in stores and run.get("sql") == "mariadb" else []
            return f"A burst proves no absence: `{shlex.join(words)}` tries every order of the store commands."
    return None


def _stores(strategy: str, kind: Kind) -> frozenset[str] | None:
    """Return the stores of a strategy; None where its file has gone since."""
    try:
        return frozenset(registry.load(strategy, kind).stores)
    except UsageError:
        return None


def _marks_too_early(settings: Mapping[str, Any]) -> bool:
    return settings.get("full_when") == "reserved" or settings.get("reopen_on_release") is False


def _exploration(strategy: str, kind: Kind, sql: Sql, checks: tuple[str, ...]) -> Exploration | None:
    stores = _stores(strategy, kind)
    if stores is None or stores & SEAMLESS:
        return None
    # Most runs do not fail: they need not wait for the explorer's libraries.
    from oversold.explorations.questions import Exploration
    from oversold.explore.explorer import Limits

    limits = Limits(faults=FAULTS, budget_s=BUDGET_S, checks=checks)
    return Exploration(strategy, kind, SMALLEST[kind], limits, sql=sql if "sql" in stores else "postgres")


# The search


def explain(
    document: Mapping[str, Any], folder: Path, choice: StoreChoice, budget_s: float, telling: Telling
) -> dict[str, Any]:
    """Search for the cause of each design that failed in a run or a comparison, and of a comparison's canary.

    What is found goes to `explain/<design>/` in the folder, and into the document, which is returned and kept. No
    more than `budget_s` seconds are spent on each search (0: nothing is searched), and a few to shrink and repeat
    what was found. Whatever goes wrong is one line on stderr: the run itself has come to its end.
    """
    sound: Sequence[Exploration] = ()
    if budget_s and not document.get("interrupted"):  # who presses Ctrl-C wants the end
        known = {(each.schedule.strategy, each.sql) for each in explained.read(folder)[0]}
        todo = [each for each in _wanted(document) if (each.strategy, each.sql) not in known]
        sound = _search(todo, folder, choice, budget_s, telling) if todo else []
    found = told(_larger(document, sound), folder)
    if found != document:
        try:
            places.write_json(folder / ("compare.json" if "runs" in found else "summary.json"), found)
        except OSError as error:  # what was found is in its own folder all the same
            shell.complain(f"the causes are not in the documents of {folder}: {error.strerror}")
    return found


def _wanted(document: Mapping[str, Any]) -> list[Exploration]:
    """Return one exploration a design that failed; what loses money goes before what has to be asked for."""
    runs = document.get("runs", [document])
    found = [exploration for run in runs if (exploration := asked(run)) is not None]
    canary = _of_canary(document["canary"]) if "runs" in document else None
    found += [canary] if canary is not None else []
    designs: dict[Design, Exploration] = {}
    for each in sorted(found, key=lambda each: bool(each.limits.checks)):
        designs.setdefault((each.strategy, each.sql), each)
    return list(designs.values())


def _of_canary(canary: Mapping[str, Any]) -> Exploration | None:
    """Return what explains why a comparison's canary broke its promise; None where it kept it."""
    if not (canary.get("oversold") or canary.get("paid_twice")):
        return None
    return _exploration(str(canary["strategy"]), "payouts" if "paid_twice" in canary else "bids", "postgres", ())


def _search(
    todo: Iterable[Exploration], folder: Path, choice: StoreChoice, budget_s: float, telling: Telling
) -> list[Exploration]:
    """Explore; return those of which every schedule was tried, and none breaks the design."""
    from oversold.explorations.servers import Stores

    sound: list[Exploration] = []
    try:
        with Stores(choice) as servers:
            for each in todo:
                name = shown_name({"strategy": each.strategy, "sql": each.sql})
                try:
                    if _explore(each, budget_s, name, servers, folder, telling) == "EXHAUSTED":
                        sound.append(each)
                except Exception as error:  # whatever it was, the run is over and its verdict stands
                    if os.environ.get("OVERSOLD_DEBUG") and not isinstance(error, OversoldError):
                        raise
                    shell.complain(f"not explained: {name}: {error}")
    except KeyboardInterrupt:
        shell.complain("interrupted while explaining: `oversold explore` does it later")
    return sound


def _explore(
    wanted: Exploration, budget_s: float, name: str, servers: Stores, folder: Path, telling: Telling
) -> Outcome:
    from oversold.explorations import answers
    from oversold.explorations.servers import explored
    from oversold.report.schedule import story

    telling.phase(f"explaining {name}")
    brief = replace(wanted, limits=replace(wanted.limits, budget_s=budget_s))
    result = explored(brief, servers, _teller(telling, name, budget_s))
    if result.interrupted:
        raise KeyboardInterrupt
    if result.schedule is None:
        telling.line(f"not explained: {name}: {answers.said(wanted, result)}")
        return result.outcome
    place = _place(folder / explained.FOLDER, wanted)
    place.mkdir(parents=True, exist_ok=True)
    answers.draw(result.schedule, place)
    telling.line(f"explained: {story.headline(result.schedule)}")
    return result.outcome


def _teller(telling: Telling, name: str, budget_s: float) -> Callable[[Result], None]:
    began = last = time.monotonic()

    def tell(_: Result) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= TELL_S:
            last = now
            telling.count(f"explaining {name}", min(int(now - began), int(budget_s)), max(1, int(budget_s)))

    return tell


def _place(folder: Path, exploration: Exploration) -> Path:
    """Return where a design's schedule goes: a folder of its own that is new, or whose replay file is damaged."""
    strategy = exploration.strategy
    name = (strategy.rpartition(":")[2] if ".py:" in strategy else strategy).replace("/", "_")
    name += "" if exploration.sql == "postgres" else f"-{exploration.sql}"
    taken = {each.path.parent for each in explained.read(folder.parent)[0]}
    places_ = (folder / (name if number == 1 else f"{name}.{number}") for number in itertools.count(1))
    return next(place for place in places_ if place not in taken)


# What is told


def _larger(document: Mapping[str, Any], sound: Sequence[Exploration]) -> dict[str, Any]:
    """Return a document whose commands ask for one actor more, where the smallest case was tried in vain."""
    if "runs" in document:
        return {**document, "runs": [_larger(run, sound) for run in document["runs"]]}
    exploration = asked(document)
    if exploration is None or exploration not in sound:
        return dict(document)
    from oversold.explorations import questions

    larger = replace(exploration, scenario=LARGER[exploration.kind])
    return {**document, "explain": questions.command(larger)}


def told(document: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a run or a comparison with what is known of the causes: from the schedules in its folder."""
    found = {(each.schedule.strategy, each.sql): each for each in explained.read(folder)[0]}
    if not found:
        return dict(document)
    if "runs" in document:
        return {**document, "runs": [_with_cause(run, found, folder) for run in document["runs"]]}
    return _with_cause(document, found, folder)


def _with_cause(run: Mapping[str, Any], found: Mapping[Design, Explained], folder: Path) -> dict[str, Any]:
    exploration = asked(run)
    known = found.get((exploration.strategy, exploration.sql)) if exploration else None
    if exploration is None or known is None or not _fits(exploration, known):
        return dict(run)
    from oversold.explorations import questions
    from oversold.report.schedule import story

    schedule = known.schedule
    assert schedule.broken is not None
    limits = replace(exploration.limits, faults=schedule.faults)
    return {
        **run,
        "explain": questions.command(replace(exploration, limits=limits)),
        "cause": {
            "check": schedule.broken.check,
            "sentence": story.sentence(schedule),
            "steps": len(schedule.steps),
            "faults": schedule.faults,
            "folder": str(known.path.parent.relative_to(folder)),
        },
    }


def _fits(exploration: Exploration, known: Explained) -> bool:
    """Tell whether a schedule shows what a run failed for, and no other promise of the same design."""
    broken = known.schedule.broken
    if broken is None:
        return False
    checks = exploration.limits.checks
    return broken.check in checks if checks else broken.check not in BY_NAME[exploration.kind]
