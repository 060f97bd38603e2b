"""The keys that steps touch: which covers which, what people call them, and what a step does to one."""

from __future__ import annotations

from collections.abc import Iterable

from oversold.schedule import Step

LOCKS = "sql-lock/"  # what a transaction locks at once; what it writes is among the keys of its COMMIT
_LOOKS, _UNDOES, _ENDS = "SELECT", "ROLLBACK", "COMMIT"
_SCRIPT, _REFUSED = "script", ("0", "nil")


def meet(one: str, other: str) -> bool:
    """Tell whether two keys are the same, or one covers the other.

    A bare `*` meets nothing here: it stands for a step of which nobody knows what it touches, and a story should
    tell no more than is known.

    >>> meet("sql/stock/*", "sql/stock/t1"), meet("sql/stock/t2", "sql/stock/t1"), meet("*", "sql/stock/t1")
    (True, False, False)
    """
    if "*" in (one, other):
        return False
    return one == other or _covers(one, other) or _covers(other, one)


def _covers(pattern: str, key: str) -> bool:
    return pattern.endswith("/*") and key.startswith(pattern[:-1])


def touches(keys: Iterable[str], key: str) -> bool:
    """Tell whether one of the keys meets `key`."""
    return any(meet(each, key) for each in keys)


def named(key: str) -> str:
    """Return what people call a key: without the store, and a channel by its name.

    >>> named("redis/left"), named("sql/stock/*"), named("channel/A/i1"), named("sql-lock/stock/t1")
    ('left', 'stock', 'i1 at channel A', 'stock/t1')
    """
    store, _, rest = key.partition("/")
    channel, _, obligation = rest.partition("/")
    if store == "channel" and obligation:
        return f"{obligation} at channel {channel}"
    return rest.removesuffix("/*") if rest not in {"", "*"} else store


def effective(step: Step) -> bool:
    """Tell whether a step is known to have changed something.

    Of a Redis script that was not watched more closely it is only believed. One that answers 0 or nil has refused,
    as far as anybody knows.
    """
    return step.changed and not (_word(step).startswith(_SCRIPT.upper()) and step.reply in _REFUSED)


def looks(step: Step, key: str) -> bool:
    """Tell whether a step looks at a key and decides nothing, even if it locks it."""
    return touches(step.reads, key) and (not effective(step) or _word(step) == _LOOKS)


def acts(step: Step) -> bool:
    """Tell whether a step writes data with effect; locking and undoing are none."""
    word = _word(step)
    if not effective(step) or word in {_LOOKS, _UNDOES}:
        return False
    return word != _ENDS or any(not key.startswith(LOCKS) for key in step.writes)


def acts_on(step: Step, key: str) -> bool:
    """Tell whether a step writes a key with effect, at once or in its transaction, or orders, or pays."""
    if not acts(step):
        return False
    if payment(step)[1] or any(each.startswith("ledger/") for each in step.writes):
        return True
    written = step.writes if _word(step) == _ENDS else (each.replace(LOCKS, "sql/", 1) for each in step.writes)
    return touches(written, key)


def ends(step: Step) -> bool:
    """Tell whether a step ends a transaction."""
    return _word(step) in {_ENDS, _UNDOES}


def payment(step: Step) -> tuple[str, str]:
    """Return the channel that a step pays through and the obligation that it pays; nothing where it pays none.

    >>> payment(Step(1, "worker 1", "go", "pay i1 by A", (), ("channel/A/key/k1", "channel/A/i1")))
    ('A', 'i1')
    """
    for key in step.writes if step.operation.startswith("pay ") else ():
        store, _, rest = key.partition("/")
        channel, _, obligation = rest.partition("/")
        if store == "channel" and obligation and not obligation.startswith("key/"):
            return channel, obligation
    return "", ""


def _word(step: Step) -> str:
    return step.operation.partition(" ")[0].upper()
