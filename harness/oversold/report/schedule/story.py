"""Why a schedule ends as it does: which reads were stale when they were acted on, told in plain sentences."""

from __future__ import annotations

from dataclasses import dataclass

from oversold.report.schedule import faults
from oversold.report.schedule.keys import (
    LOCKS,
    acts,
    acts_on,
    effective,
    ends,
    looks,
    meet,
    named,
    payment,
    touches,
)
from oversold.report.schedule.rows import circle
from oversold.report.tables import printable
from oversold.schedule import NOBODY, Schedule, Step

_TOLD = 24  # characters of a reply that a sentence quotes
_NAMED = 4  # so many actors, or commands of a circle, are named; the rest is counted

_BREAKS = {
    "oversubscription": "oversells",
    "undersubscription": "undersells",
    "duplicate_order": "orders twice for one bid",
    "lost_order": "loses an order",
    "phantom_order": "writes an order that it should not",
    "claim_gap": "claims what is not so",
    "leak": "leaks a hold",
    "overpaid": "pays twice",
    "stranger": "pays somebody to whom nothing is due",
    "missed": "leaves somebody unpaid",
    "unrecoverable": "pays money that does not come back",
    "raised": "raises an exception",
    "deadlock": "comes to a standstill",
    "livelock": "goes round in circles",
    "false_terminal": "says failed of what was paid",
}
_ENDINGS = {
    "DEADLOCK": "comes to a standstill after",
    "LIVELOCK": "goes round in circles, here for",
    "NONDETERMINISTIC": "does not do the same twice: it differs after",
}


@dataclass(frozen=True, slots=True)
class Stale:
    """A read that was no longer true when its actor acted on it: step `read` saw `key`, step `change` changed it,
    step `act` built on what had been read."""

    key: str
    read: Step
    change: Step
    act: Step


def stale_reads(schedule: Schedule) -> list[Stale]:
    """Return the reads that somebody else's change had overtaken before they were acted on, by time of the read.

    An actor acts on a read when it writes the same key with effect, writes its order, or pays; where it does none
    of that, with the next write of its that takes effect. What it reads again before that does not count.
    """
    found = [
        _overtaken(schedule, step, key)
        for step in schedule.steps
        if step.actor not in NOBODY and _hears(step)
        for key in step.reads
        if looks(step, key) and not _whole_store(key)
    ]
    return [stale for stale in found if stale is not None]


def _hears(step: Step) -> bool:
    """Tell whether a step's actor learns what it read; WATCH only says OK."""
    return step.choice not in faults.UNHEARD and step.reply not in {"", "OK"}


def _whole_store(key: str) -> bool:
    """Tell whether a key stands for all of a store, as that of a snapshot does: too much to have been read."""
    return key.endswith("/*") and key.count("/") == 1


def _overtaken(schedule: Schedule, read: Step, key: str) -> Stale | None:
    act = _act(schedule, read, key)
    for step in schedule.steps:
        if act is None or step.number >= act.number:
            break
        later = step.number > read.number and step.actor != read.actor
        if later and effective(step) and touches(step.writes, key):
            return Stale(key, read, step, act)
    return None


def _act(schedule: Schedule, read: Step, key: str) -> Step | None:
    first: Step | None = None
    for step in schedule.steps:
        if step.actor != read.actor or step.number <= read.number:
            continue
        if acts_on(step, key):
            return step
        if looks(step, key) and _hears(step):
            break
        if acts(step) and first is None:
            first = step
    return first


def cause(schedule: Schedule) -> Stale | None:
    """Return the stale read that explains best what was broken; None where none does."""
    until = schedule.broken.step if schedule.broken else len(schedule.steps)
    breaking = next((step.actor for step in schedule.steps if step.number == until), "")
    found = [stale for stale in stale_reads(schedule) if stale.act.number <= until]

    def weight(stale: Stale) -> tuple[bool, bool, bool, int]:
        return (
            acts_on(stale.act, stale.key),
            stale.act.actor == breaking,
            stale.change.actor not in NOBODY,
            stale.act.number,
        )

    return max(found, key=weight, default=None)


def headline(schedule: Schedule) -> str:
    """Return the main message, such as "none oversells in 6 steps"."""
    count, name = _counted(len(schedule.steps), "step"), printable(schedule.strategy)
    if schedule.outcome in _ENDINGS:
        return f"{name} {_ENDINGS[schedule.outcome]} {count}"
    if schedule.broken is None:
        return f"{name} keeps its promises in these {count}"
    broken = breaks(schedule.broken.check)
    with_faults = f", {_counted(schedule.faults, 'fault')} among them" if schedule.faults else ""
    return f"{name} {broken} in {count}{with_faults}"


def breaks(check: str) -> str:
    """Return what a design does that fails a check.

    >>> breaks("overpaid"), breaks("no_such_check")
    ('pays twice', 'breaks no such check')
    """
    return _BREAKS.get(check, f"breaks {check.replace('_', ' ')}")


def sentence(schedule: Schedule) -> str:
    """Return in plain sentences what happened and why it was possible; what was broken comes last."""
    told = [*faults.told(schedule)]
    if schedule.outcome == "DEADLOCK":
        told += _standstill(schedule)
    elif schedule.outcome == "LIVELOCK":
        told += _round(schedule)
    elif schedule.broken is not None:
        told += _why(schedule)
    if schedule.broken is not None and schedule.broken.detail.strip():
        told.append(schedule.broken.detail)
    elif not told:
        told.append(f"nothing is broken in {_counted(len(schedule.steps), 'step')}")
    return " ".join(_whole(each) for each in told)


def _why(schedule: Schedule) -> list[str]:
    told = [] if any(payment(step)[1] for step in faults.steps(schedule)) else _paid_again(schedule)
    stale = cause(schedule)
    if stale is None:
        return told
    count = len(stale_reads(schedule)) - 1
    more = (
        [f"{_counted(count, 'more read')} {'was' if count == 1 else 'were'} stale when acted on"] if count else []
    )
    return [*told, overtaken(stale), *more]


def _bare(reply: str) -> str:
    """Return a reply without the brackets around it.

    >>> _bare("(1, 2)"), _bare("100 (version 1)")
    ('1, 2', '100 (version 1)')
    """
    return reply[1:-1] if reply[:1] == "(" and reply[-1:] == ")" else reply


def overtaken(stale: Stale) -> str:
    """Return one stale read in words."""
    who, key = stale.read.actor, named(stale.key)
    reply = stale.read.reply
    plain = len(reply) <= _TOLD and not set(" =([{") & set(reply)
    said = f"{key} = {reply}" if plain else f"{key} ({faults.short(_bare(reply), 2 * _TOLD)})"
    if stale.change.actor == "time":
        changed = f"it expired at step {stale.change.number}"
    elif stale.change.actor == "cache":
        changed = f"the cache forgot it at step {stale.change.number}"
    else:
        changed = f"{stale.change.actor} had changed it by step {stale.change.number}"
    read, act = stale.read.number, stale.act.number
    return f"{who} read {said} at step {read}; {changed}, before {who} acted on it at step {act}"


def _paid_again(schedule: Schedule) -> list[str]:
    """Tell of the first obligation that was paid twice."""
    paid: dict[str, Step] = {}
    for step in schedule.steps:
        channel, obligation = payment(step)
        if not step.changed or not obligation:
            continue
        if obligation in paid:
            first = paid[obligation]
            return [
                f"{first.actor} paid {obligation} through {payment(first)[0]} at step {first.number}, and "
                f"{'again' if step.actor == first.actor else f'{step.actor} paid it again'} through {channel} "
                f"at step {step.number}"
            ]
        paid[obligation] = step
    return []


def _standstill(schedule: Schedule) -> list[str]:
    """Tell who waits for what, or holds what: whoever waits for a row has taken no step that would show it."""
    actors = [actor for actor in schedule.actors if actor not in NOBODY]
    waits = [said for actor in actors if (said := _waiting(schedule, actor) or _holding(schedule, actor))]
    end = f"nobody can go on after step {len(schedule.steps)}"
    return [f"{end}: {'; '.join(waits)}" if waits else end]


def _waiting(schedule: Schedule, actor: str) -> str:
    """Tell what an actor's last step asked for in vain, and who has it."""
    last = [step for step in schedule.steps if step.actor == actor][-1]
    if not last.writes or effective(last) or last.choice != "go" or not last.reply:
        return ""
    key = last.writes[0]
    if key.startswith(("sql", "channel/")):
        return ""  # a statement that changed no row waits for nothing
    holders = [
        step
        for step in schedule.steps
        if effective(step) and step.actor != actor and any(meet(key, k) for k in step.writes)
    ]
    if not holders or holders[-1].actor in NOBODY:
        return f"{actor} waits for {named(key)}"
    holder = holders[-1]
    died = [step for step in schedule.steps if step.actor == holder.actor and step.choice in faults.DEATHS]
    end = " and died" if died and died[-1].number >= holder.number else ""
    return f"{actor} waits for {named(key)}, which {holder.actor} took at step {holder.number}{end}"


def _holding(schedule: Schedule, actor: str) -> str:
    """Tell which row an actor has locked in a transaction that is still open."""
    held: dict[str, int] = {}
    for step in schedule.steps:
        if step.actor == actor and (ends(step) or step.choice in faults.DEATHS):
            held.clear()
        elif step.actor == actor and step.changed:
            held |= {key: step.number for key in step.writes if key.startswith(LOCKS) and key not in held}
    key = next((key for key in held if not key.endswith("*")), next(iter(held), ""))
    return f"{actor} holds {named(key)} since step {held[key]}" if key else ""


def _round(schedule: Schedule) -> list[str]:
    """Tell who goes round, and by which commands."""
    found = circle(schedule.steps)
    if found is None:
        return [f"after {_counted(len(schedule.steps), 'step')} nobody has come to an end"]
    block, times = found
    first = schedule.steps[len(schedule.steps) - len(block) * times]
    commands = list(dict.fromkeys(f"{step.actor} {faults.short(step.operation)}" for step in block))
    rest = f", and {len(commands) - _NAMED} more" if len(commands) > _NAMED else ""
    who = _listed(list(dict.fromkeys(step.actor for step in block)))
    verb = "goes" if len({step.actor for step in block}) == 1 else "go"
    return [f"{who} {verb} round from step {first.number} on, {times} times: {', '.join(commands[:_NAMED])}{rest}"]


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _whole(text: str) -> str:
    text = printable(" ".join(text.split()))
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
