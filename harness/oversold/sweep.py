"""What a comparison is going to run: strategies x loads x seeds, as cells that are known before anything starts.

A sweep is written down beside its runs, so that an interrupted one can be gone on with.
"""

from __future__ import annotations

import fcntl
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from oversold import places
from oversold.assignment import PLANS
from oversold.errors import UsageError
from oversold.plan import Plan
from oversold.summary import command

FILE = "sweep.json"
SCHEMA = "oversold/sweep/1"
MOST_SEED = 2**63
LONG_S = 600.0  # a sweep that takes longer says how to make it shorter


@dataclass(frozen=True)
class Cell:
    """One run of a sweep. A canary that nobody asked for (`asked` is false) only proves its load."""

    plan: Plan
    asked: bool
    folder: str

    @property
    def load(self) -> str:
        """What all runs under the same load have in common: their canary."""
        return _load(self.plan)


@dataclass(frozen=True)
class Sweep:
    """All runs of one comparison, in order. `left_out` are strategies whose server is not here, and why."""

    cells: tuple[Cell, ...]
    left_out: tuple[Mapping[str, str], ...] = ()

    @property
    def canary(self) -> Plan:
        """The canary of the first load."""
        return self.cells[0].plan.canary

    def save(self, folder: Path) -> None:
        """Write the sweep to its folder. No store's address is in it."""
        rows = [
            {"folder": cell.folder, "asked": cell.asked, "plan": cell.plan.model_dump(mode="json")}
            for cell in self.cells
        ]
        document = {"schema": SCHEMA, "cells": rows, "left_out": [dict(row) for row in self.left_out]}
        places.write_json(folder / FILE, document)

    def describe(self, open_cells: Sequence[Cell]) -> str:
        """Return how much there is to do, in one line; `open_cells` are those that are still to be run."""
        loads = len({_load(cell.plan.model_copy(update={"seed": 0})) for cell in self.cells})
        seeds = len({cell.plan.seed for cell in self.cells})
        designs = len({(cell.plan.strategy, cell.plan.sql) for cell in self.cells if cell.asked})
        asked = sum(cell.asked for cell in self.cells)
        factors = [_counted(designs, "design"), *_many(loads, "load"), *_many(seeds, "seed")]
        extra = len(self.cells) - asked
        canaries = f" and {extra} canar{'y' if extra == 1 else 'ies'}" if extra else ""
        done = len(self.cells) - len(open_cells)
        left = f", {done} of them done" if done else ""
        todo = f", about {spoken(sum(cell.plan.expected_s for cell in open_cells))}" if open_cells else ""
        return f"{' x '.join(factors)}: {_counted(asked, 'run')}{canaries}{left}{todo}"


def planned(plans: Sequence[Plan], repeat: int, left_out: Sequence[Mapping[str, str]] = ()) -> Sweep:
    """Return the sweep over these plans, repeated with the next `repeat` seeds.

    The canary comes first in each load, whether it was asked for or not. All loads are run once before the first
    is repeated: cut short, a sweep has still seen everything.
    """
    if any(plan.seed + repeat > MOST_SEED for plan in plans):
        raise UsageError(f"--seed {plans[0].seed}: too large to be followed by {repeat - 1} more")
    wanted: list[tuple[Plan, bool]] = []
    for turn in range(repeat):
        turned = [plan.model_copy(update={"seed": plan.seed + turn}) for plan in dict.fromkeys(plans)]
        for _, same in itertools.groupby(turned, key=_load):
            under = list(same)
            canary = under[0].canary
            wanted += [(canary, canary in under), *((plan, True) for plan in under if plan != canary)]
    varied = _varied([plan for plan, _ in wanted])
    names: set[str] = set()
    return Sweep(
        tuple(Cell(plan, asked, _unused(_name(plan, varied, asked=asked), names)) for plan, asked in wanted),
        tuple(left_out),
    )


def load(folder: Path) -> Sweep:
    """Read the sweep of a folder.

    Raises:
        UsageError: there is none, or it is damaged or of another version.
    """
    path = folder / FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        latest = f": did you mean {folder / 'latest'}?" if (folder / "latest").exists() else ""
        raise UsageError(f"--resume {folder} holds no sweep, no {FILE}{latest}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"--resume: {path} cannot be read: {error}") from error
    found = document.get("schema") if isinstance(document, dict) else None
    if found != SCHEMA:
        raise UsageError(f"--resume: {path} has schema {found!r}; this version reads {SCHEMA!r}")
    try:
        cells = tuple(
            Cell(PLANS.validate_python(row["plan"]), bool(row["asked"]), _below(row["folder"]))
            for row in document["cells"]
        )
        left_out = tuple(document["left_out"])
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"--resume: {path} is damaged: {str(error).splitlines()[0]}") from error
    if not cells:
        raise UsageError(f"--resume: {path} has no runs")
    return Sweep(cells, left_out)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep a sweep to oneself while it is run.

    Raises:
        UsageError: somebody else runs it now.
    """
    with (folder / FILE).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"{folder} is being run by another oversold: wait for it, or stop it") from None
        yield


def finished(sweep: Sweep, folder: Path) -> dict[Cell, dict[str, Any]]:
    """Return the summaries of the cells that need not be run again.

    What a run lost a worker or a server in, and what was judged by a canary that is run anew, is run again.
    """
    found = {cell: summary for cell in sweep.cells if (summary := recorded(cell, folder)) is not None}
    proven = {cell.load for cell in found if cell.plan == cell.plan.canary}
    return {
        cell: summary
        for cell, summary in found.items()
        if cell.load in proven or _finding(summary, "canary") == "pass"
    }


def recorded(cell: Cell, folder: Path) -> dict[str, Any] | None:
    """Return the summary of a cell that was run to its end, None for one that is still to be run."""
    try:
        summary = json.loads((folder / cell.folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(summary, dict) or summary.get("interrupted") or summary.get("command") != command(cell.plan):
        return None
    if _finding(summary, "complete") != "pass" and _finding(summary, "strategy") == "pass":
        return None  # it lost a worker or a server; that a strategy hung is an answer, though
    return {**summary, "folder": cell.folder}


def _finding(summary: Mapping[str, Any], check: str) -> str:
    return next((str(f["verdict"]) for f in summary.get("findings", []) if f["check"] == check), "pass")


def _below(name: str) -> str:
    """Return the name of a cell's folder; ValueError for one that would lead elsewhere."""
    if not name or Path(name).name != name or name.startswith("."):
        raise ValueError(f"{name!r} is no name of a folder below")
    return name


def grid(pairs: Iterable[str]) -> list[list[str]]:
    """Return every combination of `key=a,b` words, each as plain `key=value` words.

    >>> grid(["p=0.05,0.2", "steps=3"])
    [['p=0.05', 'steps=3'], ['p=0.2', 'steps=3']]

    Raises:
        UsageError: a key comes twice, or an empty value.
    """
    choices: list[list[str]] = []
    seen: set[str] = set()
    for pair in pairs:
        name, equals, values = pair.partition("=")
        if name in seen:
            raise UsageError(f"--set {name} is given twice: write all its values in one, --set {name}=a,b")
        seen.add(name)
        words = list(dict.fromkeys(word.strip() for word in values.split(",")))
        if equals and "" in words and len(words) > 1:
            raise UsageError(f"--set {pair}: a value between the commas is missing")
        choices.append([f"{name}={word}" for word in words] if equals else [pair])
    return [list(choice) for choice in itertools.product(*choices)]


def spoken(seconds: float) -> str:
    """Word a time for people who wait.

    >>> spoken(42), spoken(330), spoken(9000)
    ('42 s', '6 min', '2 h 30 min')
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


def _load(plan: Plan) -> str:
    return str(plan.canary.model_dump_json())


def _many(count: int, noun: str) -> list[str]:
    return [_counted(count, noun)] if count > 1 else []


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _varied(plans: Sequence[Plan]) -> list[str]:
    """Return which of users, settings and seed differ between the plans, in the order of a folder's name."""
    rows = [_facts(plan) for plan in plans]
    return [name for name in rows[0] if len({row[name] for row in rows}) > 1]


def _facts(plan: Plan) -> dict[str, str]:
    settings = {name: str(value) for name, value in plan.settings.model_dump(mode="json").items()}
    return {"users": str(plan.users), **settings, "seed": str(plan.seed)}


def _name(plan: Plan, varied: Sequence[str], *, asked: bool) -> str:
    name = plan.strategy.rpartition(":")[2] if ".py:" in plan.strategy else plan.strategy
    words = [name if asked else "canary", *([plan.sql] if plan.sql != "postgres" else [])]
    facts = _facts(plan)
    if varied:  # as soon as there are several loads, users and seed are always told
        varied = ["users", *(each for each in varied if each not in {"users", "seed"}), "seed"]
    words += [facts[each] if each in {"users", "seed"} else f"{each}={facts[each]}" for each in varied]
    return "-".join(words).replace("/", "_")


def _unused(name: str, names: set[str]) -> str:
    """Return the name, or the next one that is free: two files may hold strategies of the same name."""
    free = next(found for n in itertools.count(1) if (found := name if n == 1 else f"{name}.{n}") not in names)
    names.add(free)
    return free
