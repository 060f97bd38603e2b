"""Several runs on the same bids, side by side, with one canary for each load."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oversold.errors import Exit
from oversold.plan import Plan
from oversold.runs import run
from oversold.session import Session
from oversold.strategies import registry

SCHEMA = "oversold/compare/1"
EXITS = {"pass": Exit.PASS, "fail": Exit.BROKEN, "inconclusive": Exit.INCONCLUSIVE}


@dataclass(frozen=True)
class Load:
    """One column of a comparison: so many users, this seed."""

    users: int
    seed: int


def run_one(session: Session, plan: Plan, folder: Path, *, with_canary: bool) -> dict[str, Any]:
    """Run one strategy, its canary first; the canary's files go to `canary/` below `folder`."""
    canary: float | None = None
    if plan.strategy == registry.CANARY:
        return run(session, plan, folder, None)
    if with_canary:
        below = folder / "canary"
        below.mkdir()
        twin = plan.model_copy(update={"strategy": registry.CANARY})
        summary = run(session, twin, below, None)
        canary = summary["rates"]["oversubscription"]
        if summary.get("interrupted"):
            return summary
    return run(session, plan, folder, canary)


def compare(
    session: Session, plans: Sequence[Plan], loads: Sequence[Load], folder: Path, told: Any
) -> dict[str, Any]:
    """Run every plan under every load; the canary comes first in each load, whether it was asked for or not.

    Returns the document of compare.json (and writes it after each run, so that an interrupted comparison keeps
    what it has). `told(summary)` hears of every finished run.
    """
    summaries: list[dict[str, Any]] = []
    canaries: dict[Load, dict[str, Any]] = {}
    asked = [plan.strategy for plan in plans]
    document: dict[str, Any] = {}
    for load in loads:
        rates: float | None = None
        order = sorted(plans, key=lambda plan: plan.strategy != registry.CANARY)
        if registry.CANARY not in asked:
            order = [plans[0].model_copy(update={"strategy": registry.CANARY}), *order]
        for plan in order:
            cell = plan.model_copy(update={"users": load.users, "seed": load.seed})
            below = _new_folder(folder, _folder_name(cell, loads))
            is_canary = plan.strategy == registry.CANARY
            summary = run(session, cell, below, rates)
            summary["folder"] = below.name
            if is_canary:
                rates = summary["rates"]["oversubscription"]
                canaries[load] = summary
            if plan.strategy in asked:
                summaries.append(summary)
            told(summary)
            document = _document(summaries, canaries)
            (folder / "compare.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
            if summary.get("interrupted"):
                return document
    return document


def run_exit(summary: Mapping[str, Any]) -> Exit:
    """Return the exit code of one run."""
    return EXITS[summary["verdict"]]


def comparison_exit(summaries: Sequence[Mapping[str, Any]]) -> Exit:
    """Return the worst exit code of the runs. A canary that oversells does its duty and breaks no promise."""
    codes = [
        run_exit(summary)
        for summary in summaries
        if not (summary["strategy"] == registry.CANARY and summary["rates"]["oversubscription"] > 0)
    ]
    codes += [Exit.INCONCLUSIVE for summary in summaries if summary.get("interrupted")]
    return next((worst for worst in (Exit.BROKEN, Exit.INCONCLUSIVE) if worst in codes), Exit.PASS)


def _new_folder(folder: Path, name: str) -> Path:
    """Make a folder for one run; two files may hold strategies of the same name."""
    below = next(p for n in range(1, 10_000) if not (p := folder / (name if n == 1 else f"{name}.{n}")).exists())
    below.mkdir()
    return below


def _folder_name(plan: Plan, loads: Sequence[Load]) -> str:
    name = plan.strategy.rpartition(":")[2] if ".py:" in plan.strategy else plan.strategy
    return name if len(loads) == 1 else f"{name}-{plan.users}-{plan.seed}"


def _document(
    summaries: Sequence[Mapping[str, Any]], canaries: Mapping[Load, Mapping[str, Any]]
) -> dict[str, Any]:
    rates = [summary["rates"]["oversubscription"] for summary in canaries.values()]
    return {
        "schema": SCHEMA,
        "runs": list(summaries),
        "canary": {
            "strategy": registry.CANARY,
            "oversold": bool(rates) and all(rate > 0 for rate in rates),
            "oversubscription": min(rates, default=0.0),
            "runs": [
                {
                    "users": load.users,
                    "seed": load.seed,
                    "verdict": summary["verdict"],
                    "oversubscription": summary["rates"]["oversubscription"],
                }
                for load, summary in canaries.items()
            ],
        },
    }
