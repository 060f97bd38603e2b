"""Several runs on the same loads, side by side, with one canary for each load."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oversold import places
from oversold.errors import Exit, HarnessError
from oversold.payout_plan import PayoutPlan
from oversold.plan import Plan
from oversold.report.cell_tables import cell_rows
from oversold.report.cells import gather
from oversold.runs import run
from oversold.session import Session
from oversold.summary import command
from oversold.sweep import FILE, Cell, Sweep, finished, held, spoken

SCHEMA = "oversold/compare/1"
# A broken promise, then a run that failed, a doubt, a missed threshold.
WORST_FIRST = (Exit.BROKEN, Exit.USAGE, Exit.INCONCLUSIVE, Exit.THRESHOLD)
EXITS = {"pass": Exit.PASS, "fail": Exit.BROKEN, "inconclusive": Exit.INCONCLUSIVE}


def run_one(session: Session, plan: Plan, folder: Path, *, with_canary: bool) -> tuple[dict[str, Any], Path]:
    """Run one strategy, its canary first; return the summary and the folder with its files.

    The canary's files go to `canary/` below `folder`. Interrupted there, the canary's are all there is: its
    summary is returned, and proves nothing about the strategy.
    """
    twin = plan.canary
    if plan == twin:
        return run(session, plan, folder, None), folder
    canary: float | None = None
    if with_canary:
        below = folder / "canary"
        below.mkdir()
        summary = run(session, twin, below, None)
        canary = broken_share(summary)
        if summary.get("interrupted"):
            reasons = [f"The run was interrupted during the canary: {plan.strategy} was not tried."]
            return {**summary, "verdict": "inconclusive", "reasons": reasons, "command": command(plan)}, below
    return run(session, plan, folder, canary), folder


def compare(session: Session | None, sweep: Sweep, folder: Path) -> dict[str, Any]:
    """Run every cell of a sweep that was not run to its end before; a cell that fails does not stop the others.

    Where none is left no `session` is needed.

    Returns the document of compare.json. It is written after each run, so that an interrupted comparison keeps
    what it has; it then says `"interrupted": true`.
    """
    if not (folder / FILE).exists():
        sweep.save(folder)
    with held(folder):
        course = Course(sweep, folder)
        try:
            for cell in course.open_cells:
                assert session is not None
                _take_turn(session, cell, folder, course)
                if course.interrupted:
                    break
        except KeyboardInterrupt:  # between two runs: those that are done are kept all the same
            course.interrupted = True
        return course.write()


def _take_turn(session: Session, cell: Cell, folder: Path, course: Course) -> None:
    """Run one cell and write down what came of it."""
    course.begin(cell)
    session.telling.within(course.place())
    try:
        course.take(cell, _run_cell(session, cell, folder, course))
    except KeyboardInterrupt:
        course.interrupted = True
    except Exception as error:  # whatever it was, the other cells can still be run
        if os.environ.get("OVERSOLD_DEBUG"):
            raise
        course.fail(cell, " ".join(f"{error}".split()) or type(error).__name__)
    course.write()
    session.telling.line(course.said_of(cell))


def _run_cell(session: Session, cell: Cell, folder: Path, course: Course) -> dict[str, Any]:
    before = course.canaries.get(cell.load)
    if before is None and cell.plan != cell.plan.canary:
        raise HarnessError("its canary could not be run, so nothing would be proven")
    below = folder / cell.folder
    if below.exists():  # what a run left that did not come to its end
        aside = folder / "unfinished"  # a level deeper than those that are queried together
        aside.mkdir(exist_ok=True)
        numbers = itertools.count(1)
        below.rename(next(p for n in numbers if not (p := aside / f"{cell.folder}-{n}").exists()))
    below.mkdir()
    summary = run(session, cell.plan, below, broken_share(before) if before else None)
    return {**summary, "folder": below.name}


class Course:
    """How far a sweep has come: the summaries so far, what failed, and what time is left."""

    def __init__(self, sweep: Sweep, folder: Path) -> None:
        self._sweep, self._folder = sweep, folder
        self._summaries = finished(sweep, folder)
        self.open_cells = [cell for cell in sweep.cells if cell not in self._summaries]
        self.canaries = {c.load: s for c, s in self._summaries.items() if c.plan == c.plan.canary}
        self.failed: dict[Cell, str] = {}
        self.interrupted = False
        self._begun, self._begun_s = 0, 0.0
        self._spent_s = self._expected_s = 0.0

    def begin(self, cell: Cell) -> None:
        """Note that a cell begins."""
        self._begun += 1
        self._begun_s = time.monotonic()

    def take(self, cell: Cell, summary: dict[str, Any]) -> None:
        """Take in the summary of a cell, and learn from how long it took."""
        self.interrupted = bool(summary.get("interrupted"))
        self._summaries[cell] = summary
        self._spent_s += time.monotonic() - self._begun_s
        self._expected_s += cell.plan.expected_s
        if cell.plan == cell.plan.canary:
            self.canaries[cell.load] = summary

    def fail(self, cell: Cell, why: str) -> None:
        """Note that a cell could not be run."""
        self.failed[cell] = why

    def place(self) -> str:
        """Return where we are and what is left, in a few words; nothing for a single run."""
        if len(self._sweep.cells) == 1:
            return ""
        left = sum(cell.plan.expected_s for cell in self.open_cells[self._begun - 1 :])
        pace = self._spent_s / self._expected_s if self._expected_s else 1.0
        return f"{self._place}/{len(self._sweep.cells)}, {spoken(left * pace)} left"

    @property
    def _place(self) -> int:
        return len(self._sweep.cells) - len(self.open_cells) + self._begun

    def said_of(self, cell: Cell) -> str:
        """Return what became of a cell, in one line."""
        if cell in self.failed:
            told = f"FAILED: {self.failed[cell]}"
        else:
            summary = self._summaries.get(cell)
            told = _outcome(summary) if summary else "interrupted"
        return f"{self._place:>3}/{len(self._sweep.cells)} {cell.folder}: {told}"

    def write(self) -> dict[str, Any]:
        """Write compare.json; return its document."""
        document = self._document()
        write(document, self._folder)
        return document

    def _document(self) -> dict[str, Any]:
        order = self._sweep.cells
        canaries = [self.canaries.get(load) for load in dict.fromkeys(cell.load for cell in order)]
        missing = any(cell not in self._summaries and cell not in self.failed for cell in order)
        failed = [
            {
                "strategy": cell.plan.strategy,
                "sql": cell.plan.sql,
                "users": cell.plan.users,
                "seed": cell.plan.seed,
                "folder": cell.folder,
                "why": why,
            }
            for cell, why in self.failed.items()
        ]
        runs = [self._summaries[cell] for cell in order if cell.asked and cell in self._summaries]
        return {
            "schema": SCHEMA,
            # Also while it goes on: a sweep that was killed must not look like a whole one.
            **({"interrupted": True} if self.interrupted or missing else {}),
            "runs": runs,
            "cells": cell_rows(gather(runs)),
            "canary": _canary_document(self._sweep.canary, canaries),
            **({"failed": failed} if failed else {}),
            **({"left_out": [dict(row) for row in self._sweep.left_out]} if self._sweep.left_out else {}),
            "planned": sum(cell.asked for cell in order),
        }


def write(document: Mapping[str, Any], folder: Path) -> None:
    """Write compare.json."""
    places.write_json(folder / "compare.json", document)


def _outcome(summary: Mapping[str, Any]) -> str:
    if summary.get("interrupted"):
        return "interrupted"
    if not summary["canary"]:
        return str(summary["verdict"])
    return "breaks its promise, as it must" if broken_share(summary) > 0 else "broke nothing, so nothing is proven"


def run_exit(summary: Mapping[str, Any]) -> Exit:
    """Return the exit code of one run."""
    return EXITS[summary["verdict"]]


def comparison_exit(document: Mapping[str, Any]) -> Exit:
    """Return the worst exit code of the runs. A canary that oversells or pays twice does its duty and breaks no
    promise."""
    summaries = document["runs"]
    codes = [run_exit(summary) for summary in summaries if not (summary["canary"] and broken_share(summary) > 0)]
    if document.get("interrupted") or not summaries:
        codes.append(Exit.INCONCLUSIVE)
    if document.get("failed"):
        codes.append(Exit.USAGE)
    return worst(codes)


def worst(codes: Sequence[Exit]) -> Exit:
    """Return the worst of several exit codes."""
    return next((code for code in WORST_FIRST if code in codes), Exit.PASS)


def _canary_document(canary: Plan, of_loads: Sequence[Mapping[str, Any] | None]) -> dict[str, Any]:
    """Return what compare.json says of the canary: one row a load, and whether it broke its promise under all.

    `of_loads` are the canaries' summaries, None for a load whose canary has not been run.
    """
    summaries = [summary for summary in of_loads if summary is not None]
    runs = [
        {
            "users": summary["load"]["users"],
            "seed": summary["seed"],
            "settings": summary["settings"],
            "verdict": summary["verdict"],
            _promise(summary): broken_share(summary),
            **(_payout_facts(summary) if _pays(summary) else {}),
        }
        for summary in summaries
    ]
    shares = [broken_share(summary) for summary in summaries]
    proven = len(shares) == len(of_loads) and all(share > 0 for share in shares)
    return {
        "strategy": canary.strategy,
        **(
            {"profile": canary.profile, "paid_twice": proven, "duplicate": min(shares, default=0.0)}
            if isinstance(canary, PayoutPlan)
            else {"oversold": proven, "oversubscription": min(shares, default=0.0)}
        ),
        "runs": runs,
    }


def broken_share(summary: Mapping[str, Any]) -> float:
    """Return how badly a run broke the promise that its canary must break: oversubscription or duplicate rate."""
    return float(summary["rates"][_promise(summary)] or 0.0)  # null: nobody knows


def _payout_facts(summary: Mapping[str, Any]) -> dict[str, Any]:
    names = ("duplicates", "overpaid_fen", "users_affected")
    return {name: summary["obligations"][name] for name in names}


def _promise(summary: Mapping[str, Any]) -> str:
    return "duplicate" if _pays(summary) else "oversubscription"


def _pays(summary: Mapping[str, Any]) -> bool:
    return "obligations" in summary
