"""What went wrong by itself in a schedule: each fault in words, with what its actor did next."""

from __future__ import annotations

from collections.abc import Sequence

from oversold.report.schedule.keys import effective, named, payment, touches
from oversold.schedule import Choice, Schedule, Step

_SHORT = 36  # characters of a command that a sentence quotes
_MOST = 2  # so many faults are told; more are counted

DEATHS: tuple[Choice, ...] = ("crash_before", "crash_after")
# After these nobody hears what the store has answered.
UNHEARD: tuple[Choice, ...] = (*DEATHS, "lost_request", "lost_reply")

# What stands beside a step.
_SIGNS: dict[Choice, str] = {
    "crash_before": "dies before this",
    "crash_after": "dies after this",
    "lost_request": "request lost",
    "lost_reply": "reply lost",
    "lie": "paid, says failed",
    "step_fails": "a later step fails",
    "gives_up": "waits no longer",
    "expire": "by itself",
    "evict": "by itself",
    "time_passes": "by itself",
}


def steps(schedule: Schedule) -> list[Step]:
    """Return the steps that were not simply served."""
    return [step for step in schedule.steps if step.choice != "go"]


def told(schedule: Schedule) -> list[str]:
    """Return a sentence a fault, in the order of time; the first ones, and how many more there are."""
    found = steps(schedule)
    more = len(found) - _MOST
    rest = [f"{more} more fault{'s' if more > 1 else ''} happened"] if more > 0 else []
    return [_told(schedule.steps, step) for step in found[:_MOST]] + rest


def short(text: str, most: int = _SHORT) -> str:
    """Return a text of at most so many characters."""
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 3].rstrip()}..."


def sign(step: Step) -> str:
    """Return what stands beside a step: nothing where it was simply served."""
    done = "done, " if step.choice == "lost_reply" and step.changed else ""
    return done + _SIGNS.get(step.choice, "")


def _told(all_steps: Sequence[Step], step: Step) -> str:
    if step.choice in DEATHS:
        return _death(all_steps, step)
    if step.choice in {"lost_request", "lost_reply"}:
        return f"{_lost(step)}; {_next(all_steps, step)}"
    if step.choice == "lie":
        channel = payment(step)[0]
        who = f"channel {channel}" if channel else "a channel"
        return f"{who} paid and said failed at step {step.number}; {_next(all_steps, step)}"
    at = f"at step {step.number}"
    plain = {
        "step_fails": f"a later step of {step.actor}'s pipeline failed {at}, so what it held is given back",
        "gives_up": f"{step.actor} stopped waiting {at}{_without(all_steps, step)}",
        "time_passes": f"time passed for everybody {at}",
    }
    return plain.get(step.choice) or _gone(all_steps, step)


def _lost(step: Step) -> str:
    at = f"(step {step.number})"
    channel, obligation = payment(step)
    if step.choice == "lost_request":
        return f"{step.actor}'s {short(step.operation)} {at} never arrived"
    if channel and obligation:
        done = ", though it had paid" if step.changed else ""
        return f"the answer of channel {channel} to {step.actor} {at} was lost{done}"
    done = ", though it was applied" if step.changed else ""
    return f"the reply to {step.actor}'s {short(step.operation)} {at} was lost{done}"


def _next(all_steps: Sequence[Step], step: Step) -> str:
    """Tell what the actor did after a fault that it outlived."""
    obligation = payment(step)[1]
    later = [each for each in all_steps if each.number > step.number]
    for each in later:
        if obligation and each.changed and payment(each)[1] == obligation:
            return f"{each.actor} paid again through {payment(each)[0]} at step {each.number}"
    mine = [each for each in later if each.actor == step.actor]
    again = next((each for each in mine if each.operation == step.operation), None)
    if again is not None:
        return f"{step.actor} sent it again at step {again.number}"
    if mine:
        return f"{step.actor} went on at step {mine[0].number} with {short(mine[0].operation)}"
    return f"{step.actor} did nothing more"


def _own_next(all_steps: Sequence[Step], step: Step) -> Step | None:
    """Return what the same actor did next."""
    return next((each for each in all_steps if each.number > step.number and each.actor == step.actor), None)


def _without(all_steps: Sequence[Step], step: Step) -> str:
    """Tell with what an actor went on that had waited in vain."""
    mine = _own_next(all_steps, step)
    return f", and went on with {short(mine.operation)} at step {mine.number}" if mine else ""


def _death(all_steps: Sequence[Step], step: Step) -> str:
    back = _own_next(all_steps, step)
    end = f", and came back at step {back.number}" if back else ""
    command = short(step.operation)
    when = "before" if step.choice == "crash_before" else "after"
    return f"{step.actor} died {when} step {step.number} ({command}){end}"


def _gone(all_steps: Sequence[Step], step: Step) -> str:
    """Tell of a key that disappeared by itself, who had set it, and who took it next."""
    key = step.writes[0] if step.writes else ""
    name = named(key) if key else short(step.operation)
    thing = f"the {name}" if name in {"lock", "lease"} else name
    if step.choice == "evict":
        return f"the cache forgot {name} at step {step.number}"
    if not key:
        return f"{short(step.operation)} at step {step.number}"
    changes = [each for each in all_steps if effective(each) and touches(each.writes, key) and each is not step]
    before = [each for each in changes if each.number < step.number]
    if not before:
        return f"{thing} expired at step {step.number}"
    owner = before[-1].actor
    working = any(each.actor == owner and each.number > step.number for each in all_steps)
    taker = next((each for each in changes if each.number > step.number and each.actor != owner), None)
    while_ = f" while {owner} still worked under it" if working else f", which {owner} had set"
    taken = f", and {taker.actor} took it at step {taker.number}" if taker else ""
    return f"{thing} expired at step {step.number}{while_}{taken}"
