"""Explores every strategy of the catalogue, and writes what was found: docs/explored.md.

Of bids first the known hole, by the exploration that shows it; then what is proven with three bidders and no
fault, and with two bidders and one. Of payouts each lock with each policy: two workers without a fault and with
one, then one worker who never pauses, with one. It takes most of an hour on two cores: what holds and is large
uses the whole budget.

    python benchmarks/explored.py [--budget 30s] [--only NAME ...] [--out docs/explored.md] [--json] [--rows FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from holes import BIDS, CLAIMS, POLICIES, Hole, asked

from oversold.errors import UsageError
from oversold.explorations.servers import Stores, explored
from oversold.plan import Kind
from oversold.schedule import Choice
from oversold.stores.providers import StoreChoice
from oversold.strategies import registry

PAGE = Path(__file__).parents[1] / "docs" / "explored.md"
NO_SEAM = "no seam"
CASES: Mapping[Kind, Mapping[str, str]] = {
    "bids": {
        "3 bidders, 2 shares, no fault": "--bidders 3",
        "2 bidders, 1 share, 1 fault": "--bidders 2 --faults 1",
    },
    "payouts": {
        "2 workers, no fault": "--workers 2 --faults 0",
        "2 workers, 1 fault": "--workers 2 --faults 1",
        "1 worker, 1 fault, nobody pauses": "--workers 1 --faults 1 --no-pauses",
    },
}
FAULTS: Mapping[Choice, str] = {
    "crash_before": "a death",
    "crash_after": "a death",
    "lost_request": "a lost request",
    "lost_reply": "a lost reply",
    "lie": "a lie",
    "step_fails": "a step that fails",
    "gives_up": "somebody who gives up",
    "expire": "a lease that ends",
    "evict": "a key that is evicted",
    "time_passes": "a pause",
}
Row = dict[str, Any]


def main() -> None:
    """Explore what is asked for, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--budget", default="30s", help="for each exploration")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these strategies alone, to stdout")
    parser.add_argument("--out", type=Path, default=PAGE)
    parser.add_argument("--json", action="store_true", help="print what was found as JSON, and write nothing")
    parser.add_argument("--rows", type=Path, help="explore nothing: write the page of what --json has printed")
    options = parser.parse_args()
    known = {name: kind for kind in CASES for name in registry.names(kind)}
    if options.rows:
        rows = json.loads(options.rows.read_text())
    else:
        with Stores(StoreChoice()) as servers:
            names = options.only or list(known)
            rows = [row for name in names for row in explore(name, known[name], options.budget, servers)]
    if options.json:
        print(json.dumps(rows, indent=1))
    elif options.only:
        print("\n".join(page(rows, options.budget)))
    else:
        options.out.write_text("\n".join(page(rows, options.budget)) + "\n", encoding="utf-8")


def explore(name: str, kind: Kind, budget: str, servers: Stores) -> Iterator[Row]:
    """Yield what each exploration of a strategy finds."""
    questions = list(CASES[kind].items())
    if kind == "bids" and BIDS[name].words:
        questions.insert(0, ("hole", BIDS[name].words))
    seen: dict[str, Row] = {}
    for case, words in questions:
        exploration = asked(name, kind, f"{words} --budget {budget}")
        same = json.dumps([dict(exploration.scenario), exploration.limits.faults, exploration.limits.checks])
        if same not in seen:
            print(f"{name}: {words}", file=sys.stderr, flush=True)
            seen[same] = found(exploration, servers)
        yield {"strategy": name, "kind": kind, "case": case, "words": words, **seen[same]}


def found(exploration: Any, servers: Stores) -> Row:
    """Return what an exploration finds, in numbers."""
    try:
        result = explored(exploration, servers, lambda _: None)
    except UsageError as error:
        return {"outcome": NO_SEAM, "why": str(error)}
    schedule = result.schedule
    broken = schedule.broken if schedule is not None else None
    return {
        "outcome": result.outcome,
        "why": result.why,
        "bound": result.bound,
        "schedules": result.runs,
        "seconds": round(result.searched_s, 2),
        "first_s": None if result.first_s is None else round(result.first_s, 2),
        "check": broken.check if broken else None,
        "steps": len(schedule.steps) if schedule else None,
        "faults": [step.choice for step in schedule.steps if step.choice in FAULTS] if schedule else None,
        "also": sorted(result.also),
    }


def page(rows: Sequence[Row], budget: str) -> Iterator[str]:
    """Yield the lines of the page."""
    by_name: dict[str, dict[str, Row]] = {}
    for row in rows:
        by_name.setdefault(row["strategy"], {})[row["case"]] = row
    bids = [name for name in by_name if name in BIDS]
    payouts = [name for name in by_name if name not in BIDS]
    yield HEAD.format(budget=budget, cores=os.cpu_count())
    yield "## Bids: the known holes"
    yield WORDS
    head = ["strategy", "known hole", "words that find it", "found"]
    yield from table(head, holes(bids, by_name))
    yield "\n## Bids: what no order breaks"
    yield PROOFS
    yield from table(["strategy", *CASES["bids"], "besides, with 1 fault"], proofs(bids, by_name))
    yield "\n## Payouts"
    yield PAYOUTS
    yield from table(["strategy", *CASES["payouts"]], payday(payouts, by_name))
    yield "\nWhich hole of a half shows in it, and which lies outside the model:\n"
    yield from table(["half", "known hole", "shown by"], [*halves(CLAIMS), *halves(POLICIES)])


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a Markdown table."""
    for cells in (head, ["---"] * len(head), *lines):
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def holes(names: Sequence[str], by_name: Mapping[str, Mapping[str, Row]]) -> list[list[str]]:
    """Return a line for each known hole."""
    lines = []
    for name in names:
        hole, row = BIDS[name], by_name[name].get("hole")
        beyond = f"outside: {hole.beyond}" if hole.beyond else ""
        words = f"`{hole.words}`" if hole.words else "-"
        told = "; ".join(part for part in (cell(row) if row else "", beyond) if part)
        lines.append([f"`{name}`", brief(registry.card(name).hole), words, told])
    return lines


def proofs(names: Sequence[str], by_name: Mapping[str, Mapping[str, Row]]) -> list[list[str]]:
    """Return a line for each strategy: what was proven."""
    lines = []
    for name in names:
        cases = [by_name[name][case] for case in CASES["bids"]]
        lines.append([f"`{name}`", *map(cell, cases), ", ".join(cases[-1].get("also", [])) or "-"])
    return lines


def payday(names: Sequence[str], by_name: Mapping[str, Mapping[str, Row]]) -> list[list[str]]:
    """Return a line for each payout strategy."""
    return [[f"`{name}`", *(cell(by_name[name][case]) for case in CASES["payouts"])] for name in names]


def halves(known: Mapping[str, Hole]) -> Iterator[list[str]]:
    """Yield a line for each claim lock, or each settlement policy."""
    from oversold.strategies.payouts import composed

    names = composed.LOCKS if known is CLAIMS else composed.POLICIES
    for card in registry.halves(names):
        hole = known[card.name]
        told = [f"`{hole.words}`" if hole.words else "", f"outside: {hole.beyond}" if hole.beyond else ""]
        yield [f"`{card.name}`", brief(card.hole), "; ".join(part for part in told if part)]


def brief(hole: str) -> str:
    """Return a hole's first sentence."""
    return hole.partition(". ")[0].rstrip(".")


def cell(row: Row) -> str:
    """Return what was found in few words."""
    outcome = row["outcome"]
    if outcome == NO_SEAM:
        return "no seam"
    if outcome == "EXHAUSTED":
        return f"EXHAUSTED: {row['schedules']:,} schedules, {row['seconds']:.1f} s"
    if outcome in {"BOUNDED", "SAMPLED"}:
        walked = "all without faults walked" if row["bound"] is not None else "not all walked"
        if outcome == "SAMPLED" and row["bound"] is not None:  # all walked, and yet no proof
            walked = row["why"]
        return f"{outcome}: {row['schedules']:,} schedules, {row['seconds']:.0f} s ({walked})"
    if row["steps"] is None:
        return f"{outcome}: {row['why']}"
    what = row["check"] if outcome == "VIOLATION" else outcome
    steps = "1 step" if row["steps"] == 1 else f"{row['steps']} steps"
    faults = f" with {' and '.join(FAULTS[choice] for choice in row['faults'])}" if row["faults"] else ""
    return f"**{what}**: {steps}{faults}, after {row['first_s']:.2f} s"


HEAD = """# What the explorer found
This page is made by `make explored`, on real servers, with {budget} for each exploration on {cores} cores. How to
read the verdicts, and what they do not prove: [explorer.md](explorer.md#verdicts). Schedules and steps are the
same on every machine, seconds are not. What is not EXHAUSTED here may be with a longer `--budget`.
"""
WORDS = """
The words are those after `oversold explore` and the name. `none` oversells without any fault; others need a
crash, an expired lock, a forgotten key. A **bold** word is the broken promise, with the length of the shortest
schedule that was found, and when the first one was. A hole that is a matter of time or lies in what is not
modelled is named as such: for those there are bursts ([strategies.md](strategies.md)).
"""
PROOFS = """
EXHAUSTED means that no order of the store commands, with up to that many faults, oversells, orders twice, or
loses an order. The last column has the other promises that some schedule with one fault breaks. Most designs
have `claim_gap` and `undersubscription` there: whoever dies with a share in hand takes it along.
"""
PAYOUTS = """
One obligation, two channels, and a reconciler that comes when the workers are gone or an hour has passed. A
fault is a channel that pays and says failed, a request or a reply that is lost, a worker that dies, a lease that
ends, or a pause of all for an hour. A pause between a worker's note and its call breaks nearly every design,
since no channel asks for a fence; so the last column leaves that fault out.
"""

if __name__ == "__main__":
    main()
