"""What an exploration has found, for machines and people: a document, sentences, files."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from oversold import places, schedule_file
from oversold.errors import Exit, UsageError
from oversold.explorations.questions import Exploration, burst, command
from oversold.explore.explorer import REPEATS, Result
from oversold.model import Verdict
from oversold.report.schedule import lanes, mermaid, page, story
from oversold.schedule import Outcome, Schedule

SCHEMA = "oversold/explore/1"


VERDICTS: Mapping[Outcome, Verdict] = {
    "EXHAUSTED": "pass",
    "BOUNDED": "inconclusive",
    "SAMPLED": "inconclusive",
    "VIOLATION": "fail",
    "DEADLOCK": "fail",
    "LIVELOCK": "fail",
    "NONDETERMINISTIC": "inconclusive",
}
EXITS: Mapping[Verdict, Exit] = {"pass": Exit.PASS, "fail": Exit.BROKEN, "inconclusive": Exit.INCONCLUSIVE}
REPLAY, DOCUMENT, PAGE, DIAGRAM = "replay.jsonl", "explore.json", "schedule.html", "schedule.mmd"


def document(asked: Exploration, result: Result, used: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was found as a JSON document of schema `oversold/explore/1`."""
    verdict = VERDICTS[result.outcome]
    rate = result.runs / result.searched_s if result.searched_s else 0.0
    return {
        "schema": SCHEMA,
        "strategy": asked.strategy,
        "kind": asked.kind,
        "scenario": dict(asked.scenario),
        "faults": asked.limits.faults,
        "mode": asked.limits.mode,
        "store": asked.store,
        "seed": asked.limits.seed,
        "checks": list(asked.limits.checks),
        "outcome": result.outcome,
        "verdict": verdict,
        "said": said(asked, result),
        "why": result.why,
        "bound": result.bound,
        "schedules": result.runs,
        "steps": result.steps,
        "seconds": round(result.seconds, 3),
        "first_s": None if result.first_s is None else round(result.first_s, 3),
        "schedules_per_s": round(rate, 1),
        "counterexample": counterexample(result.schedule, result.repeated),
        "also": {
            check: {"schedules": aside.count, **(counterexample(aside.schedule, 0) or {})}
            for check, aside in sorted(result.also.items())
        },
        "stores": dict(used),
        "command": command(asked),
    }


def counterexample(schedule: Schedule | None, repeated: int) -> dict[str, Any] | None:
    """Return a schedule for the document; None where there is none."""
    if schedule is None:
        return None
    broken = schedule.broken
    return {
        "check": broken.check if broken else None,
        "detail": broken.detail if broken else "",
        "sentence": story.sentence(schedule) if broken else "",
        "scenario": dict(schedule.scenario),
        "faults": schedule.faults,
        "repeated": repeated,
        "steps": [
            {
                "step": step.number,
                "actor": step.actor,
                "choice": step.choice,
                "op": step.operation,
                "reply": step.reply,
            }
            for step in schedule.steps
        ],
    }


def said(asked: Exploration, result: Result) -> str:
    """Return in a sentence what the outcome means: what was proven, and what was not."""
    crowd = _crowd(asked)
    wrong = "pays too much" if asked.kind == "payouts" else "oversells"
    if asked.limits.checks:
        wrong = f"breaks {' or '.join(asked.limits.checks)}"
    some = f"{result.runs:,} schedules"
    if result.outcome == "EXHAUSTED":
        return (
            f"No order of the store commands of {crowd} {wrong}{_with(asked.limits.faults)}: "
            f"{some} stand for all there are.{_patient(asked, result)}{result.besides and f' {result.besides}'}"
        )
    if result.outcome == "BOUNDED":
        return (
            f"No order of the store commands of {crowd} {wrong}{_with(result.bound or 0)}; with more faults "
            f"{result.why} before all were tried. That proves nothing for them."
        )
    if result.outcome == "SAMPLED":
        return f"None of {some} of {crowd} that were tried {wrong}, and {result.why}: that proves nothing."
    if result.outcome == "NONDETERMINISTIC":
        return f"It cannot be explored: {result.why}. Nothing is proven."
    assert result.schedule is not None
    return story.sentence(result.schedule)


def _patient(asked: Exploration, result: Result) -> str:
    if asked.limits.faults or not result.waited:
        return ""
    return " Whoever waits was taken to wait as long as it takes: --faults 1 lets somebody give up."


def _crowd(asked: Exploration) -> str:
    numbers = asked.scenario
    if asked.kind == "payouts":
        one = numbers["workers"] == 1
        never = "" if numbers.get("pauses", 1) else " who never pauses" if one else " who never pause"
        return f"{numbers['workers']} worker{'' if one else 's'}{never}"
    shares = int(numbers["capacity_bids"])
    each = int(numbers.get("bids_each", 1))
    several = f" with {each} bids each" if each > 1 else ""
    return f"{numbers['bidders']} bidders{several} for {shares} {'share' if shares == 1 else 'shares'}"


def _with(faults: int) -> str:
    return ", without faults" if not faults else f", with up to {faults} {'fault' if faults == 1 else 'faults'}"


COLOURS: Mapping[Verdict, str] = {"pass": "green", "fail": "bold red", "inconclusive": "yellow"}


def shown(found: Mapping[str, Any], result: Result, width: int) -> Iterator[RenderableType]:
    """Yield what people see of an exploration: the verdict, the schedule, the cause, what else was seen."""
    verdict = VERDICTS[result.outcome]
    title = f"{found['strategy']}: {result.outcome}"
    yield Text(title, style=COLOURS[verdict])
    if result.schedule is not None:
        yield lanes.drawn(result.schedule, width)
    yield str(found["said"])
    if result.schedule is not None:
        yield (
            f"Repeated {result.repeated} times out of {REPEATS} on the stores." if result.repeated else result.why
        )
    for check, aside in found["also"].items():
        counted = f"{aside['schedules']:,} of {result.runs:,} schedules"
        yield f"Also seen: {check} in {counted}: {aside['detail']} (its schedule: also-{check}.jsonl)"
    yield (
        f"{result.runs:,} schedules in {result.searched_s:.2f} s ({found['schedules_per_s']:,.0f} a second). One "
        "store command is one step; two of them are independent when they share no key that one of them writes."
    )


LONGER = 4  # times the budget that was not enough


def following(asked: Exploration, result: Result, files: Sequence[Path]) -> list[str]:
    """Return what to do next: a command, and what else may help; nothing after a proof."""
    replay = next((path for path in files if path.name == REPLAY), None)
    if replay is not None:
        return [f"again: {shlex.join(['oversold', 'replay', str(replay)])}"]
    if result.outcome not in ("BOUNDED", "SAMPLED"):
        return []
    if result.bound == asked.limits.faults:  # all was walked, and yet it proves nothing: a burst may show the rest
        return [f"next: {burst(asked)}"] if result.moved else []
    limits = replace(asked.limits, budget_s=LONGER * asked.limits.budget_s)
    fewer = "fewer --workers" if asked.kind == "payouts" else "fewer --bidders"
    fewer += " or --faults" if limits.faults else ""
    other = f"{fewer}, which are exhausted sooner; --mode hunt finds holes among many, and proves nothing"
    if limits.mode == "hunt":
        other = f"--mode exhaustive with {fewer}, since a hunt proves nothing however long it is"
    return [f"next: {command(replace(asked, limits=limits))}", f"Or: {other}."]


def written(folder: Path, found: Mapping[str, Any], result: Result) -> list[Path]:
    """Write the document; of a counterexample also its replay file, page and diagram. Return the files.

    Raises:
        UsageError: nothing can be written there.
    """
    files = []
    try:
        if result.schedule is not None:
            files = draw(result.schedule, folder)
        for check, aside in sorted(result.also.items()):
            files.append(folder / f"also-{check}.jsonl")
            schedule_file.write(aside.schedule, files[-1])
        places.write_json(folder / DOCUMENT, found)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written ({error.strerror}): choose another --out") from error
    return [*files, folder / DOCUMENT]


def draw(schedule: Schedule, folder: Path) -> list[Path]:
    """Write a schedule's replay file, page and Mermaid diagram into a folder."""
    paths = [folder / name for name in (REPLAY, PAGE, DIAGRAM)]
    schedule_file.write(schedule, paths[0])
    diagram = mermaid.drawn(schedule)
    paths[1].write_text(page.page(schedule, diagram, [f"oversold replay {paths[0]}"]), encoding="utf-8")
    paths[2].write_text(diagram, encoding="utf-8")
    return paths
