"""What is said beside the steps of a schedule, in every drawing of it."""

from __future__ import annotations

from dataclasses import replace

from oversold.report.schedule import faults
from oversold.report.schedule.rows import Again, Mark, Row, folded
from oversold.report.schedule.story import breaks, stale_reads
from oversold.schedule import Schedule


def marked(schedule: Schedule) -> list[Row | Again]:
    """Return the rows of a schedule with what is said beside them; what is said something of is not folded."""
    beside = _beside(schedule)
    keep = set(beside) | {stale.change.number for stale in stale_reads(schedule)}
    return [
        replace(row, marks=tuple(beside.get(row.step.number, ()))) if isinstance(row, Row) else row
        for row in folded(schedule.steps, keep)
    ]


def ending(schedule: Schedule) -> str:
    """Return what is said below the last step: what was broken, where no step shows it; nothing otherwise."""
    broken = schedule.broken
    if broken is None or any(step.number == broken.step for step in schedule.steps):
        return ""
    return f"after the last step: {' '.join(broken.detail.split())}"


def _beside(schedule: Schedule) -> dict[int, list[Mark]]:
    beside: dict[int, list[Mark]] = {}
    for step in schedule.steps:
        if sign := faults.sign(step):
            beside.setdefault(step.number, []).append(Mark("fault", sign))
    acts: dict[int, list[int]] = {}
    for stale in stale_reads(schedule):
        text = f"stale: changed at {stale.change.number}"
        seen = beside.setdefault(stale.read.number, [])
        if Mark("stale", text) not in seen:
            seen.append(Mark("stale", text))
        if stale.read.number not in acts.setdefault(stale.act.number, []):
            acts[stale.act.number].append(stale.read.number)
    for number, reads in acts.items():
        which = " and ".join(map(str, reads))
        beside.setdefault(number, []).append(Mark("acts", f"acts on stale {which}"))
    if schedule.broken is not None:
        mark = Mark("broken", breaks(schedule.broken.check))
        if any(step.number == schedule.broken.step for step in schedule.steps):
            beside.setdefault(schedule.broken.step, []).append(mark)
    return beside
