"""How an explanation of survivors is written down."""

from __future__ import annotations

from collections.abc import Sequence

Explained = tuple[str, str, Sequence[str]]  # equivalent or gap, why, and which mutants; names may have wildcards


def named(*lines: str) -> Sequence[str]:
    """Return the names of mutants; each line has a design, then what follows it in their names.

    >>> named("version never:take.1 twice:take.2")
    ['version:never:take.1', 'version:twice:take.2']
    """
    return [f"{design}:{rest}" for design, *names in map(str.split, lines) for rest in names]
