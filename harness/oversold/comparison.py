"""Several runs on the same bids, side by side, with one canary for each load."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oversold.errors import Exit
from oversold.payout_plan import PayoutPlan
from oversold.plan import Plan
from oversold.runs import run
from oversold.session import Session
from oversold.summary import command

SCHEMA = "oversold/compare/1"
EXITS = {"pass": Exit.PASS, "fail": Exit.BROKEN, "inconclusive": Exit.INCONCLUSIVE}


@dataclass(frozen=True)
class Load:
    """One column of a comparison: so many users, this seed."""

    users: int
    seed: int


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


def compare(session: Session, plans: Sequence[Plan], loads: Sequence[Load], folder: Path) -> dict[str, Any]:
    """Run every plan under every load; the canary comes first in each load, whether it was asked for or not.

    Returns the document of compare.json. It is written after each run, so that an interrupted comparison keeps
    what it has; it then says `"interrupted": true`.
    """
    summaries: list[dict[str, Any]] = []
    canaries: dict[Load, dict[str, Any]] = {}
    interrupted = False
    for load, plan, asked in _cells(plans, loads):
        below = _new_folder(folder, _folder_name(plan, loads, asked=asked))
        before = canaries.get(load)
        try:
            summary = run(session, plan, below, broken_share(before) if before else None)
            summary["folder"] = below.name
            interrupted = bool(summary.get("interrupted"))
            if plan == plan.canary:
                canaries[load] = summary
            if asked:
                summaries.append(summary)
        except KeyboardInterrupt:
            interrupted = True
        document = _document(plans[0].canary, summaries, canaries, interrupted=interrupted)
        (folder / "compare.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
        if interrupted:
            break
    return document


def _cells(plans: Sequence[Plan], loads: Sequence[Load]) -> Iterator[tuple[Load, Plan, bool]]:
    """Yield each plan under each load, the canary first, and whether it was asked for."""
    canary = plans[0].canary
    order = [(canary, canary in plans), *((plan, True) for plan in plans if plan != canary)]
    for load in loads:
        for plan, asked in order:
            yield load, plan.model_copy(update={"users": load.users, "seed": load.seed}), asked


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
    return worst(codes)


def worst(codes: Sequence[Exit]) -> Exit:
    """Return the worst of several exit codes: a broken promise, then a doubt."""
    return next((code for code in (Exit.BROKEN, Exit.INCONCLUSIVE) if code in codes), Exit.PASS)


def _new_folder(folder: Path, name: str) -> Path:
    """Make a folder for one run; two files may hold strategies of the same name."""
    below = next(p for n in range(1, 10_000) if not (p := folder / (name if n == 1 else f"{name}.{n}")).exists())
    below.mkdir()
    return below


def _folder_name(plan: Plan, loads: Sequence[Load], *, asked: bool) -> str:
    name = plan.strategy.rpartition(":")[2] if ".py:" in plan.strategy else plan.strategy
    name = name if asked else "canary"
    return name if len(loads) == 1 else f"{name}-{plan.users}-{plan.seed}"


def _document(
    canary: Plan,
    summaries: Sequence[Mapping[str, Any]],
    canaries: Mapping[Load, Mapping[str, Any]],
    *,
    interrupted: bool,
) -> dict[str, Any]:
    runs = [
        {
            "users": load.users,
            "seed": load.seed,
            "verdict": summary["verdict"],
            _promise(summary): broken_share(summary),
            **(_payout_facts(summary) if _pays(summary) else {}),
        }
        for load, summary in canaries.items()
    ]
    shares = [broken_share(summary) for summary in canaries.values()]
    proven = bool(shares) and all(share > 0 for share in shares)
    return {
        "schema": SCHEMA,
        **({"interrupted": True} if interrupted else {}),
        "runs": list(summaries),
        "canary": {
            "strategy": canary.strategy,
            **(
                {"profile": canary.profile, "paid_twice": proven, "duplicate": min(shares, default=0.0)}
                if isinstance(canary, PayoutPlan)
                else {"oversold": proven, "oversubscription": min(shares, default=0.0)}
            ),
            "runs": runs,
        },
    }


def broken_share(summary: Mapping[str, Any]) -> float:
    """Return how badly a run broke the promise that its canary must break: oversubscription or duplicate rate."""
    return float(summary["rates"][_promise(summary)])


def _payout_facts(summary: Mapping[str, Any]) -> dict[str, Any]:
    names = ("duplicates", "overpaid_fen", "users_affected")
    return {name: summary["obligations"][name] for name in names}


def _promise(summary: Mapping[str, Any]) -> str:
    return "duplicate" if _pays(summary) else "oversubscription"


def _pays(summary: Mapping[str, Any]) -> bool:
    return "obligations" in summary
