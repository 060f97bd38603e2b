"""What the payout charts say in words: their titles and subtitles, derived from the data."""

from collections.abc import Mapping, Sequence
from typing import Any

from oversold.errors import UsageError
from oversold.model import yuan
from oversold.report.payout_tables import Reckoning
from oversold.report.phrases import (
    all_or,
    clauses,
    listed,
    made_under,
    nothing_proven,
    recorded,
    span,
    worst_first,
)


def payout_runs(summaries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the payout runs among the summaries; UsageError if there is none."""
    runs = [run for run in summaries if "obligations" in run]
    if not runs:
        raise UsageError("no payouts to draw: give at least one run of a payout scenario")
    return runs


def names(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one name a run: its strategy, and what tells it from other runs of the same strategy."""
    plain = [Reckoning.read(run).name for run in runs]
    told = [
        {"profile": run.get("profile"), "jobs": run.get("settings", {}).get("jobs"), "seed": run.get("seed")}
        for run in runs
    ]
    keys = [key for key in ("profile", "jobs", "seed") if len({str(each[key]) for each in told}) > 1]
    return [
        f"{name}, {', '.join(f'{key} {each[key]}' for key in keys)}" if keys and plain.count(name) > 1 else name
        for name, each in zip(plain, told, strict=True)
    ]


def both_sides(reckonings: Sequence[Reckoning]) -> str:
    """Say how many designs paid everyone once, and how far the others went wrong on either side."""
    designs = list(dict.fromkeys(one.name for one in reckonings))
    over = worst_first((one.name, one.overpaid_fen) for one in reckonings)
    # What an incomplete run did not pay, it might have paid; what it overpaid is a fact.
    short = worst_first((one.name, one.missed_fen) for one in reckonings if one.verdict != "inconclusive")
    unproven = {one.name for one in reckonings if one.verdict == "inconclusive" or one.lost}
    right = [name for name in designs if name not in {*over, *short, *unproven}]
    if not over and not short and not right:
        return nothing_proven(len(reckonings))
    if len(designs) == 1:
        said = [f"{designs[0]} {_alone(reckonings, over, short)}"]
    else:
        said = _counted(designs, reckonings, right, over, short)
    return clauses(said, len(unproven))


def _counted(
    designs: Sequence[str],
    reckonings: Sequence[Reckoning],
    right: Sequence[str],
    over: Mapping[str, int],
    short: Mapping[str, int],
) -> list[str]:
    """Say how many of several designs came out how."""
    said = []
    if right:
        who = all_or(len(right), len(designs))
        people = sum(one.reviews for one in reckonings if one.name in right)
        said.append(f"{who} designs paid everyone once" + (", or left it to people" if people else ""))
    if over:
        who = f"{len(over)} overpaid" if right else f"{all_or(len(over), len(designs))} designs overpaid"
        said.append(f"{who} {_upto(over)}")
    if short:
        who = f"{len(short)} missed" if said else f"{all_or(len(short), len(designs))} designs missed"
        said.append(f"{who} {_upto(short)}")
    other = {one.name for one in reckonings if one.name in right and one.verdict == "fail"}
    if other:
        said.append(f"{len(other)} {'fails another check' if len(other) == 1 else 'fail other checks'}")
    return said


def overpaid(reckonings: Sequence[Reckoning]) -> str:
    """Say which designs overpaid, the worst first, whom, and how much of it is gone."""
    designs = list(dict.fromkeys(one.name for one in reckonings))
    over = worst_first((one.name, one.overpaid_fen) for one in reckonings)
    unproven = {one.name for one in reckonings if (one.verdict == "inconclusive" or one.lost)} - {*over}
    safe = [name for name in designs if name not in {*over, *unproven}]
    if not over and not safe:
        return nothing_proven(len(reckonings))
    if not over:
        who = designs[0] if len(designs) == 1 else f"{all_or(len(safe), len(designs))} designs"
        said = [f"{who} paid nobody too much"]
    elif len(designs) == 1:
        said = [f"{designs[0]} {_overpaid_by(designs[0], reckonings)}"]
    else:
        worst = next(iter(over))
        said = [f"{all_or(len(over), len(designs))} designs paid too much, {_upto(over)} ({worst})"]
    gone = max((one.unrecoverable_fen for one in reckonings), default=0)
    if gone:
        said.append(f"{'up to ' if len(over) > 1 else ''}{yuan(gone)} of it withdrawn")
    return clauses(said, len(unproven))


def conditions(runs: Sequence[Mapping[str, Any]]) -> str:
    """Say under what conditions payout runs were made: what was due, channels, jobs, load, seed."""
    profiles = sorted({str(run["profile"]) for run in runs if run.get("profile")})
    jobs = sorted(set(map(str, recorded(runs, "settings", "jobs"))))
    return made_under(
        runs,
        span(recorded(runs, "obligations", "count"), "{} payouts due", "{:,}".format),
        span(recorded(runs, "obligations", "due_fen"), "{}", yuan),
        f"channels: {', '.join(profiles)}" if profiles else "",
        f"jobs: {', '.join(jobs)}" if jobs else "",
    )


def _alone(reckonings: Sequence[Reckoning], over: Mapping[str, int], short: Mapping[str, int]) -> str:
    one = max(reckonings, key=lambda each: (each.overpaid_fen, each.missed_fen, each.reviews))
    said = [_overpaid_by(one.name, reckonings)] if over else []
    said += [f"missed {_upto(short)}"] if short else []
    if not said and one.reviews:
        payouts = "1 payout" if one.reviews == 1 else f"{one.reviews:,} payouts"
        return f"paid nobody too much and left {payouts} to people"
    if not said and one.verdict == "fail":
        return f"paid everyone once, but fails {listed(one.failed) or 'a check'}"
    return " and ".join(said) or "paid everyone exactly once"


def _overpaid_by(name: str, reckonings: Sequence[Reckoning]) -> str:
    """Say by how much one design overpaid, and whom; of several runs the worst counts."""
    runs = [one for one in reckonings if one.name == name]
    worst = max(runs, key=lambda one: one.overpaid_fen)
    people = "1 person" if worst.users_affected == 1 else f"{worst.users_affected:,} people"
    upto = "up to " if len(runs) > 1 else ""
    return f"paid {people if worst.users_affected else 'out'} {upto}{yuan(worst.overpaid_fen)} too much"


def _upto(amounts: Mapping[str, int]) -> str:
    most = yuan(max(amounts.values()))
    return most if len(amounts) == 1 else f"up to {most}"
