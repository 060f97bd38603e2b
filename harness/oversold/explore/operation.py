"""What an actor is about to do: one store command, and the keys on which it depends."""

from __future__ import annotations

from dataclasses import dataclass

EVERYTHING = "*"


@dataclass(frozen=True, slots=True)
class Operation:
    """One exchange with a store, which the store serves as a whole.

    `text` is for people and for comparing replays: it holds no token, digest or id that differs between two
    executions of the same schedule. `name` is what the command is called: a loop is recognised by it. `reads` and
    `writes` are keys like `redis/left`; one that ends with `/*` stands for all that begin like it, and `*` for
    everything.
    """

    text: str
    name: str
    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()

    @property
    def keys(self) -> frozenset[str]:
        """All keys that it touches."""
        return self.reads | self.writes


def dependent(one: Operation, other: Operation) -> bool:
    """Tell whether the order of two operations of different actors can matter."""
    return meet(one.writes, other.keys) or meet(other.writes, one.reads)


def meet(some: frozenset[str], others: frozenset[str]) -> bool:
    """Tell whether two sets of keys have one in common.

    >>> meet(frozenset({"sql/stock/*"}), frozenset({"sql/stock/t1"}))
    True
    >>> meet(frozenset({"sql/stock/t2"}), frozenset({"sql/stock/t1"}))
    False
    """
    if not some.isdisjoint(others):
        return True
    return _covers(some, others) or _covers(others, some)


def _covers(wild: frozenset[str], keys: frozenset[str]) -> bool:
    return any(key.startswith(pattern[:-1]) for pattern in wild if pattern.endswith("*") for key in keys)
