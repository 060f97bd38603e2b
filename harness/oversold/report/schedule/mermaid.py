"""A schedule as a Mermaid sequence diagram, for documents and pull requests."""

from __future__ import annotations

from collections.abc import Sequence

from oversold.report.schedule import faults
from oversold.report.schedule.lanes import answered
from oversold.report.schedule.marks import ending, marked
from oversold.report.schedule.rows import Again, Row
from oversold.report.tables import printable
from oversold.schedule import NOBODY, Schedule, Step

# What Mermaid reads as its own: comments, entities, ends of statements, markup.
_ENTITIES = {ord(sign): f"#{ord(sign)};" for sign in "#;:\"'<>&%{}[]()`\\$*_~|"}
_RED, _YELLOW = "rgb(253, 226, 211)", "rgb(253, 241, 214)"


def drawn(schedule: Schedule) -> str:
    """Return the text of a `sequenceDiagram`: actors and stores, steps by number, notes on what went wrong."""
    actors = [actor for actor in schedule.actors if actor not in NOBODY]
    stores = list(dict.fromkeys(store for step in schedule.steps for store in stores_of(step)))
    names = {name: f"a{place}" for place, name in enumerate(actors, 1)}
    names |= {name: f"s{place}" for place, name in enumerate(stores, 1)}
    lines = ["sequenceDiagram"]
    lines += [f"    participant {names[name]} as {escaped(name)}" for name in (*actors, *stores)]
    everybody = _over([names[name] for name in (*actors, *stores)])
    for row in marked(schedule):
        if isinstance(row, Again):
            lines.append(f"    Note over {everybody}: {escaped(row.text)}")
        else:
            lines += _row(row, names, everybody)
    if last := ending(schedule):
        lines.append(f"    Note over {everybody}: ✗ {escaped(last)}")
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Return a text that Mermaid shows as it is.

    >>> escaped("SET a;b #1: <x>")
    'SET a#59;b #35;1#58; #60;x#62;'
    """
    return printable(" ".join(text.split())).translate(_ENTITIES)


def stores_of(step: Step) -> list[str]:
    """Return the stores that a step speaks to: by its writes, or by its reads where it writes nothing.

    >>> stores_of(Step(1, "worker 1", "go", "pay i1", (), ("channel/A/i1",)))
    ['channel A']
    """
    found = {}
    for key in sorted(step.writes or step.reads):
        store, _, rest = key.partition("/")
        if store != "*":
            found[f"channel {rest.partition('/')[0]}" if store == "channel" else store.removesuffix("-lock")] = (
                True
            )
    return list(found)


def _row(row: Row, names: dict[str, str], everybody: str) -> list[str]:
    step = row.step
    lines = _exchange(row, names, everybody)
    here = names.get(step.actor, everybody)
    lines += [
        f"Note over {here}: {'✗' if mark.kind == 'broken' else '!'} {escaped(mark.text)}"
        for mark in row.marks
        if step.actor not in NOBODY
    ]
    tint = _RED if row.has("broken") else _YELLOW if row.marks else ""
    if tint:
        return [f"    rect {tint}", *(f"        {line}" for line in lines), "    end"]
    return [f"    {line}" for line in lines]


def _exchange(row: Row, names: dict[str, str], everybody: str) -> list[str]:
    step = row.step
    times = f" (x{row.times})" if row.times > 1 else ""
    said = f"{step.number}. {escaped(step.operation + times)}"
    stores = [names[store] for store in stores_of(step)]
    if step.actor in NOBODY:
        return [f"Note over {_over(stores) or everybody}: {said}"]
    actor = names[step.actor]
    if not stores:
        reply = answered(step)
        return [f"Note over {actor}: {said}{f' → {escaped(reply)}' if reply else ''}"]
    if step.choice in {"lost_request", "crash_before"}:
        return [f"{actor}-x{stores[0]}: {said}"]
    lines = [f"{actor}->>{stores[0]}: {said}"]
    if step.choice in faults.UNHEARD:
        lines.append(f"{stores[0]}--x{actor}: {escaped(step.reply) or 'no reply'}")
    elif step.reply:
        lines.append(f"{stores[0]}-->>{actor}: {escaped(answered(step))}")
    return lines


def _over(names: Sequence[str]) -> str:
    return ",".join(dict.fromkeys([*names[:1], *names[-1:]]))
