"""What `--dry-run` shows: what would be started, sent and read, and how much of it. Nothing is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oversold.bid_plan import BidPlan, draw_bids
from oversold.errors import Exit
from oversold.model import yuan
from oversold.payout_plan import PayoutPlan
from oversold.plan import Plan
from oversold.services import dry_run, mapping
from oversold.services.placeholders import fill
from oversold.session import LEDGER, servers_of
from oversold.stores.providers import LABELS, StoreChoice, describe
from oversold.summary import command
from oversold.sweep import spoken

SCHEMA = "oversold/dry-run/1"
RUN_ID = "RUN"  # stands for the name that only a run gets
PROVIDERS = {
    "url": "at the URL given",
    "docker": "in a container that is started for the run",
    None: "NOT HERE",
}


def document(plans: Sequence[Plan], choice: StoreChoice) -> dict[str, Any]:
    """Return what the plans, canaries included, would do; `ready` is false when a server is missing."""
    needed = sorted({LEDGER}.union(*(servers_of(plan) for plan in plans)))
    rows = describe(choice)
    return {
        "schema": SCHEMA,
        "ready": all(rows[name]["ready"] for name in needed),
        "servers": {name: rows[name] for name in needed},
        "runs": [
            {
                "command": command(plan),
                "canary": plan == plan.canary,
                "load": _load(plan),
                "about_s": plan.expected_s,
            }
            for plan in plans
        ],
        "services": {plan.strategy: _service(plan) for plan in plans if plan.is_service},
    }


def lines(found: Mapping[str, Any]) -> list[str]:
    """Return the same for people."""
    told = ["Servers:"]
    for name, row in found["servers"].items():
        where = PROVIDERS.get(row["provider"], f"private, started for the run ({row['provider']})")
        version = f" {row['version']}" if row.get("version") else ""
        told.append(f"  {LABELS[name]}{version}: {row.get('problem') or where}")
    total = spoken(sum(run["about_s"] for run in found["runs"]))
    told += ["", f"Runs, one after the other, about {total} in all:"]
    for run in found["runs"]:
        told += [f"  {'canary: ' if run['canary'] else ''}{run['load']}", f"    {run['command']}"]
    for described in found["services"].values():
        told += ["", *described]
    return [*told, "", "This was a dry run: nothing was started and nothing was sent."]


def exit_of(found: Mapping[str, Any]) -> Exit:
    """Return 0 if the runs could begin, 2 if a server is missing."""
    return Exit.PASS if found["ready"] else Exit.USAGE


def _load(plan: Plan) -> str:
    where = f"{plan.processes} processes with {plan.lanes} lanes each"
    if isinstance(plan, BidPlan):
        offered = int(draw_bids(plan).amount_fen.sum())
        over = " over HTTP" if plan.http else ""
        asked = f"{plan.users:,} bidders ask for {yuan(offered)} of {yuan(plan.capacity_fen)}{over}"
        return f"{asked}, from {where}, for {plan.bids.limit_s:g} s at most"
    assert isinstance(plan, PayoutPlan)
    return f"{plan.payouts.obligations:,} obligations are due, {plan.users:,} users, {where}"


def _service(plan: Plan) -> list[str]:
    service = mapping.load(Path(plan.strategy))
    fixed: dict[str, str | int] = {"run_id": RUN_ID, "tranche_id": fill(service.tranche_id, {"run_id": RUN_ID})}
    sample: dict[str, str | int] = {}
    if isinstance(plan, BidPlan):
        fixed |= {"capacity_fen": plan.capacity_fen, "unit_fen": plan.min_bid_fen}
        amount = int(draw_bids(plan).amount_fen[0])
        user = fill(service.user_id, {"run_id": RUN_ID, "n": 0})
        sample = {"bid_id": f"{RUN_ID}-000000", "user_id": user, "n": 0, "amount_fen": amount, "attempt": 1}
    return dry_run.describe(service, fixed, sample)
