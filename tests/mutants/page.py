"""What came of the mutants, as a page: how many were found by design, and why the others were not."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tests.mutants import designs
from tests.mutants.hunting import Hunted

FOUND = ("safety", "otherwise")
HEAD = """\
# What of our own slips the explorer finds

This page is made by `make mutants`, which breaks the sound designs systematically: one small change at a time
in the code of a design (a condition that always holds, two commands swapped, a comparison one off, a `WHERE`
forgotten, a compare-and-set whose answer nobody reads ...). Each mutant is explored in a few small scenarios,
without faults, with one, with two, until it breaks something that its design keeps. `safety`: money is lost.
`otherwise`: another promise, a wait without end, an exception. What survives is either equivalent (it keeps all
that its design promises), or a gap: it is worse, and these explorations cannot show it.
"""
SECTIONS = {
    "gap": ("Gaps", "These are worse than their design, and the explorations above do not show it."),
    "equivalent": ("Equivalent", "These keep all that their design promises."),
}


def lines(found: Sequence[Hunted], known: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    """Yield the lines of the page. `known` has the explanations: kind and reason by mutant."""
    yield HEAD
    yield from table(found, known)
    explored = {each.mutant.design for each in found}
    if left_out := [name for name in designs.names() if name not in explored]:
        yield f"\nNot explored in this run: {', '.join(f'`{name}`' for name in left_out)}."
    survivors = {each.mutant.name: each for each in found if each.kind == "survived"}
    for kind, (title, what) in SECTIONS.items():
        reasons: defaultdict[str, list[Hunted]] = defaultdict(list)
        for name, (of_kind, why) in known.items():
            if of_kind == kind and name in survivors:
                reasons[why].append(survivors[name])
        yield f"\n## {title}\n\n{what}\n"
        for why, mutants in reasons.items():
            yield f"- {why}"
            for each in mutants:
                yield f"  - `{each.mutant.design}`, {each.mutant.place}: `{_code(each.mutant.diff)}`"
    yield ""


def _code(text: str) -> str:
    return text.replace("`", "'")


def table(found: Iterable[Hunted], known: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table by design, and the share that was found."""
    counts: dict[str, Counter[str]] = {}
    for hunted in found:
        count = counts.setdefault(hunted.mutant.design, Counter())
        kind = hunted.kind
        if kind == "survived":
            kind = known.get(hunted.mutant.name, ("unexplained", ""))[0]
        count[kind] += 1
    columns = [*FOUND, "equivalent", "gap", "unexplained"]
    yield f"| design | mutants | {' | '.join(columns)} |"
    yield f"|{'---|' * (len(columns) + 2)}"
    whole: Counter[str] = Counter()
    for name in designs.names():
        if name in counts:
            whole += counts[name]
            yield _row(name, counts[name], columns)
    yield _row("all", whole, columns)
    live = sum(whole[each] for each in columns if each != "equivalent")
    hits = sum(whole[each] for each in FOUND)
    yield ""
    yield (
        f"Found: {hits:,} of {live:,} mutants that differ from their design ({hits / max(1, live):.1%}); "
        f"{whole['equivalent']:,} do not differ, {whole['stillborn']:,} cannot even be opened."
    )


def _row(name: str, count: Counter[str], columns: Sequence[str]) -> str:
    return (
        f"| {name} | {sum(count[each] for each in columns)} | {' | '.join(str(count[each]) for each in columns)} |"
    )
