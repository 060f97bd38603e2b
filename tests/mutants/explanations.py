"""Why some mutants survive: they do the same as their design (equivalent), or the explorer cannot see it (gap)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from tests.mutants import explained_caches, explained_payouts, explained_sql
from tests.mutants.explained import Explained

TABLE: Sequence[Explained] = (*explained_caches.TABLE, *explained_sql.TABLE, *explained_payouts.TABLE)


def explanations(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return the kind and the reason by mutant; the table's names may have wildcards."""
    found = {}
    for name in names:
        for kind, why, patterns in TABLE:
            if any(fnmatchcase(name, pattern) for pattern in patterns):
                found[name] = (kind, why)
    return found


def strays(names: Iterable[str]) -> list[str]:
    """Return the table's names that fit none of these mutants."""
    known = list(names)
    patterns = [pattern for _, _, patterns in TABLE for pattern in patterns]
    return [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in known)]
