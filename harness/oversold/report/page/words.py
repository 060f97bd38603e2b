"""What the page says besides its numbers: what was run, whether it proves anything, how to read it."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oversold.model import yuan
from oversold.report import tables
from oversold.report.page.conditions import LIMITED_BY, Difference
from oversold.report.page.entries import Card, Table, number, pace_of
from oversold.report.phrases import between
from oversold.report.tables import percent

SYMBOLS = {"pass": "✓", "inconclusive": "?", "fail": "✗"}
_NAMED = 6  # so many conditions in which sources differ are named on top
_STAMP = re.compile(r"(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)\d\d-\d+")  # the name of a run's folder

CAPTIONS = {
    "heatmap": (
        "A square is one design under one load. The numbers are the worst of its runs: what it left unsold "
        "and what it sold too much, as a share of the capacity."
    ),
    "frontier": (
        "Farther right: more bids served a second. Farther down: quicker. Whoever is on the line is beaten by "
        "nobody in both; only designs that pass, and are not broken on purpose, are joined by it. A ring around a "
        "mark is one more design at that place."
    ),
    "outcomes": "What the bidders of each design were told in the end, as shares of all bids.",
    "fairness": (
        "The chance to be served by time of arrival, in tenths of the bidders; Gini is how uneven the row is. An "
        "even row may be a crowd that came at once, or a lottery. The inversions tell which: near 0 first come, "
        "first served; about 50 % a lottery; near 100 % last come, first served."
    ),
    "attempts": (
        "Taps a bid: how often a bidder had to tap until the last word. What climbs with the number of users is a "
        "retry storm."
    ),
    "subscription": (
        "To the left what was undersold, to the right what was oversold. A dot at zero is what was promised; the "
        "dust that was left is written beside it."
    ),
    "over-time": (
        "The orders of the ledger as they grow towards the capacity, and what the strategy claimed meanwhile. "
        "Shaded: marked full while stock was left."
    ),
    "response": (
        "A line is one design: the time (upwards) within which a share of its bidders (to the right) had "
        "their last answer. Time counts from the moment when a bidder first meant to tap."
    ),
    "duplicate-or-missed": (
        "To the right what was paid too much, upwards what was not paid. The corner at zero is what was promised."
    ),
    "overpaid": "Yuan paid beyond what was due by the channels' books, and what of it is withdrawn already.",
    "jobs": (
        "One payday on one time axis: which jobs ran, how many calls were in flight, when channels lied, and "
        "when somebody was paid again."
    ),
    "unknown": (
        "How many payouts were in doubt at each moment. A design that never lets go of doubt leaves it to people."
    ),
}
_SHARED = {
    "pass": "No promise was broken, and the run could have shown it: the same load broke a design without a lock.",
    "fail": "A promise was broken; the ledger or the channels' books prove it.",
    "inconclusive": "The run proves nothing, neither way. Its reasons say why.",
    "canary": (
        "A design without protection, run under each load first. Only if it breaks its promise can another "
        "design pass."
    ),
}
_BIDS = {
    "oversold": "What the orders in the ledger exceed the capacity by, as a share of the capacity.",
    "undersold": (
        "What stayed unsold although a bidder who wanted it was sent away for good while it was free. A remainder "
        "that was free for nobody when they asked is dust, and does not count: it was held and came back later, "
        "or is smaller than any bid."
    ),
    "response time": (
        "From the moment when a bidder first meant to tap to the last answer; waiting and tapping again count."
    ),
    "inversions": (
        "Of all pairs of equal bids of which one was served, the share in which it was the later one. 0: "
        "first come, first served; about 50 %: a lottery; 100 %: last come, first served."
    ),
    "Gini": (
        "How unequally the chance to be served is spread over tenths of the bidders by arrival. 0: equally, as in "
        "a lottery or in a crowd that came at once."
    ),
    "taps a bid": "How often a bidder tapped, on average. 1: nobody had to try again.",
    "fastest": (
        "Designs are named together if their ok/s are less than 5 % apart or their ranges over the seeds overlap: "
        "another run might turn them round."
    ),
    "broken on purpose": (
        "A design with a hole that another one mends. A burst may not show that hole, so its pass says nothing "
        "about it; it ranks behind all others that did not fail."
    ),
}
_PAYOUTS = {
    "paid twice": "The channels' books show two effects or more for one payout, whatever the design believes.",
    "missed": "Neither paid in full at the horizon nor left to a person with a reason.",
    "to review": "Left to a person with a reason. That keeps the promise, and is work.",
}


A_PASS = "A pass says that this load found no fault."


def a_pass(table: Table, cards: Mapping[str, Card], where: str) -> str:
    """Say what a pass is worth, and `where` the known holes are told; of a service nobody knows one."""
    holes = [cards[entry.strategy].hole for entry in table.entries if entry.strategy in cards]
    if not holes or all(holes):
        return f"{A_PASS} What it did not try is {where}: the known hole."
    if not any(holes):
        return A_PASS
    return f"{A_PASS} What it did not try is {where} that has one: the known hole."


def differing(differences: Sequence[Difference]) -> str:
    """Say in which conditions several sources differ, whose numbers then do not compare; nothing for none."""
    names = [row.name.partition(": ")[2] for row in differences if row.name != LIMITED_BY]
    if not names:
        return ""
    said = ", ".join(names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"The sources differ in {said}{more}: verdicts compare, numbers may not."


def definitions(*, payouts: bool) -> dict[str, str]:
    """Return the words of the page with what they mean."""
    return _SHARED | (_PAYOUTS if payouts else _BIDS)


def about(table: Table, runs: Sequence[Mapping[str, Any]], date: str) -> list[str]:
    """Say in a few pieces what was run: scenario, how many runs, designs, loads and seeds, when."""
    scenarios = list(dict.fromkeys(str(run["scenario"]) for run in runs if run.get("scenario")))
    seeds = len({run.get("seed") for run in runs})
    nouns = (
        (len(runs), "run"),
        (len(table.designs), "design"),
        (len(table.loads), "load"),
        (seeds, "seed"),
    )
    said = [f"{count:,} {noun}{'s' if count != 1 else ''}" for count, noun in nouns]
    if len(table.loads) == 1:
        said[2] = table.loads[0]
    return [part for part in (", ".join(scenarios), *said, date) if part]


def counts(table: Table) -> list[tuple[str, int]]:
    """Return each verdict with the number of designs that it is the worst of, the best verdict first."""
    found = Counter(table.designs.values())
    return [(verdict, found[verdict]) for verdict in SYMBOLS]


def recorded(runs: Sequence[Mapping[str, Any]], folder: Path) -> str:
    """Say when some runs were made: as they tell it, else by the folder's name; nothing if neither tells."""
    days = sorted(str(run["recorded"])[:16].replace("T", " ") for run in runs if run.get("recorded"))
    if days:
        last = days[-1][11:] if days[-1][:10] == days[0][:10] else days[-1]
        return f"{days[0]} UTC" if days[0] == days[-1] else f"{days[0]} to {last} UTC"
    found = _STAMP.fullmatch(folder.resolve().name)
    return "{}-{}-{} {}:{}".format(*found.groups()) if found else ""


def proof(document: Mapping[str, Any]) -> tuple[bool, str]:
    """Say whether the load was hard enough to prove anything, and how we know: (it was, sentence)."""
    canary, runs = document.get("canary"), document.get("runs", [])
    if not canary or not canary.get("runs"):
        return _own_proof(runs)
    broken = [number(run.get("oversubscription", run.get("duplicate"))) or 0.0 for run in canary.get("runs", [])]
    name = str(canary.get("strategy", "none"))
    pays = "paid_twice" in canary
    if max(broken) == 0:
        return (
            False,
            f"The canary ({name}) {'paid nobody twice' if pays else 'did not oversell'}: passes prove nothing.",
        )
    if min(broken) == 0:
        failed = "paid nobody twice" if pays else "did not oversell"
        return False, f"The canary ({name}) {failed} in some runs: passes under those loads prove nothing."
    if pays:
        said = f"paid {between(broken, percent)} of the payouts twice"
    else:
        said = f"oversold by {between(broken, percent)}"
    return (
        True,
        f"Under the same load a design without protection ({name}, the canary) {said}: a fault would show.",
    )


def _own_proof(runs: Sequence[Mapping[str, Any]]) -> tuple[bool, str]:
    """Take the proof from what the runs themselves say of the canary."""
    found = [one for run in runs for one in run.get("findings", []) if one["check"] == "canary"]
    doubts = [one for one in found if one["verdict"] != "pass"]
    for one in (*doubts, *found):
        return not doubts, str(one["detail"])
    return False, "No canary was run: passes prove nothing."


def pace_warning(runs: Sequence[Mapping[str, Any]]) -> str:
    """Say in how many runs the load generator set the pace, so that ok/s and p99 are its own; else nothing."""
    slow = [run for run in runs if generator_limited(run)]
    if not slow:
        return ""
    names = list(dict.fromkeys(str(run["strategy"]) for run in slow))
    listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return (
        f"In {len(slow)} of {len(runs)} runs the load generator itself was the limit ({listed}): "
        "there ok/s is a lower bound and p99 an upper one."
    )


def generator_limited(run: Mapping[str, Any]) -> bool:
    """Return whether the load generator set the pace of a run."""
    return "the load generator" in pace_of(run)


def left_out(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what was not run or did not end, and why: (what, why)."""
    said = [(str(one.get("strategy", "?")), str(one.get("why", ""))) for one in document.get("left_out", [])]
    for one in document.get("failed", []):
        users = number(one.get("users"))
        parts = [str(one.get("strategy", "?")), f"{users:,.0f} users" if users is not None else ""]
        parts.append(f"seed {one['seed']}" if one.get("seed") is not None else "")
        said.append((", ".join(part for part in parts if part), f"failed: {one.get('why', '')}"))
    return [(what, " ".join(why.split())) for what, why in said]


def sold(run: Mapping[str, Any]) -> str:
    """Say what the ledger or the channels' books came to, in yuan."""
    if "tranche" in run:
        return tables.sold(run)
    told = run["obligations"]
    return f"{yuan(int(told.get('paid_fen') or 0))} of {yuan(int(told.get('due_fen') or 0))} paid by the books"
