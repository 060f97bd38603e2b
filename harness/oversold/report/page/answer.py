"""The sentence on top of a page of bids: which designs to take, how fast they were, and what set that pace."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from oversold.report import cells
from oversold.report.cells import Cell, Load
from oversold.report.charts_words import about, fastest_of, headline, together
from oversold.report.page.entries import fastest, pace_cause, pace_of
from oversold.report.phrases import between, is_service, listed, nothing_proven
from oversold.report.tables import duration, printable

Designs = Mapping[str, Sequence[Cell]]  # the cells of each design, the best design first
_BROKEN = "broken on purpose, and this says nothing about its hole"
_NO_PROOF = "which says nothing about their holes"


@dataclass(frozen=True)
class Answer:
    """The answer as a sentence, and what set the pace of the fastest where that was not the design itself."""

    text: str
    pace: str = ""


def answered(found: Sequence[Cell], loads: Sequence[Load], sources: Sequence[str]) -> Answer:
    """Say which designs kept their promise and were fastest, or how those that there are broke it.

    `found` are the cells, the best design first. Of several sources it speaks of the one with most users, of equal
    ones the first: numbers that were made under other conditions do not compare.
    """
    if not found:
        return Answer("Nothing was run")
    if len(sources) == 1:
        return _answer(found, loads)
    users = {source: max(cell.load.users for cell in found if cell.source == source) for source in sources}
    source = max(sources, key=lambda each: users[each])
    tail = printable(f" · {source}")
    own = [replace(one, strategy=one.strategy.removesuffix(tail)) for one in found if one.source == source]
    said = _answer(own, loads)
    return Answer(f"{source}: {said.text}", said.pace)


def _answer(found: Sequence[Cell], loads: Sequence[Load]) -> Answer:
    own: dict[str, list[Cell]] = {}
    for cell in found:
        own.setdefault(cell.strategy, []).append(cell)
    bids = {name: mine for name, mine in own.items() if not mine[0].canary}
    designs = {name: mine for name, mine in bids.items() if not any(cell.broken for cell in mine)} or bids or own
    passed = [mine for mine in designs.values() if all(cell.verdict == "pass" for cell in mine)]
    if passed and all(cell.broken for mine in passed for cell in mine) and len(designs) > 1:
        return Answer(f"All {len(designs)} designs are broken on purpose: {len(passed)} passed, {_NO_PROOF}")
    if passed:
        return _praise(passed, len(designs), loads)
    return Answer(_alone(next(iter(designs.values()))) if len(designs) == 1 else _blame(designs))


def _praise(kept: Sequence[Sequence[Cell]], designs: int, loads: Sequence[Load]) -> Answer:
    """Say what the best of the designs that kept their promise did; `kept` are the cells of each, best first."""
    if len(kept) > 1 and any(is_service(run) for mine in kept for cell in mine for run in cell.runs):
        # A service has its own machine, database and steps: who was faster says nothing of a design.
        names = together([mine[0].label for mine in kept])
        return Answer(f"{len(kept)} of {designs} designs kept their promise: {names}")
    largest = max((cell.load for cell in kept[0]), key=loads.index)
    rivals = [cell for mine in kept for cell in mine if cell.load == largest]
    best = fastest_of(rivals) or rivals[:1]
    names = together([cell.strategy for cell in best])
    mine = [cell for own in kept for cell in own if cell.strategy in {one.strategy for one in best}]
    sold = _sold(mine)
    sold += " at every load" if len(loads) > 1 and len(mine) == len(best) * len(loads) else ""
    pace = f"{about(best)} ok/s, p99 {between([cell.p99_ms.mean for cell in best], duration)}"
    pace += f" at {largest.label}" if len(loads) > 1 else ""
    who = f"the fastest{'' if best[1:] else f', {names},'}" if len(rivals) > 1 else names
    cause = _pace([run for cell in best for run in cell.runs], who)
    if designs == 1:
        return Answer(f"{names} {sold}: {pace}{f'; but it is {_BROKEN}' if mine[0].broken else ''}", cause)
    if len(kept) == 1:
        return Answer(f"Only {names} kept its promise: it {sold}, {pace}", cause)
    return Answer(f"{names} {sold} and {fastest(len(best), len(rivals))}: {pace}", cause)


def _sold(mine: Sequence[Cell]) -> str:
    exact = {cells.shown_sale(run).off_fen == 0 for cell in mine for run in cell.runs}
    if exact == {True, False}:
        return "sold exactly or all but dust"
    return "sold exactly" if exact == {True} else "sold all but dust"


def _pace(runs: Sequence[Mapping[str, Any]], who: str) -> str:
    """Say what set the pace of the fastest, if that was how the load was made; else nothing."""
    told = [pace for run in runs if re.search("the lanes|arrival", pace := pace_of(run))]
    if not told:
        return ""
    causes = list(dict.fromkeys(told if len(set(told)) == 1 else map(pace_cause, told)))
    share = f"In {len(told)} of {len(runs)} runs the" if len(told) < len(runs) else "The"
    said = re.sub(r"(?<=\d)%", " %", " or ".join(causes))
    return f"{share} pace of {who} was set by {said}, not by the design: ok/s is what this load can show."


def _alone(mine: Sequence[Cell]) -> str:
    """Say how the only design broke its promise."""
    failed = list(dict.fromkeys(check for cell in mine for check in cell.failed))
    sales = [cells.shown_sale(run) for cell in mine for run in cell.runs]
    if failed and not any(sale.over or sale.under for sale in sales):
        return f"{mine[0].label} broke its promise: {listed(failed)}"
    return headline(sales)


def _blame(designs: Mapping[str, Sequence[Cell]]) -> str:
    """Say how many designs broke their promise how; each counts once, for the worst that it did."""
    counts = dict.fromkeys(("oversold", "undersold", "broke another promise", "proved nothing"), 0)
    for mine in designs.values():
        failed = [cell for cell in mine if cell.verdict == "fail"]
        if not failed:
            counts["proved nothing"] += 1
        elif any(cell.over.high > 0 for cell in failed):
            counts["oversold"] += 1
        elif any(cell.under.high > 0 for cell in failed):
            counts["undersold"] += 1
        else:
            counts["broke another promise"] += 1
    if counts["proved nothing"] == len(designs):
        return nothing_proven(sum(len(cell.runs) for mine in designs.values() for cell in mine))
    said = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f"{'Neither' if len(designs) == 2 else 'No'} design kept its promise: {said}"
