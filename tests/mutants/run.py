"""Explores all mutants of the sound designs, and says how many were found, and why the others were not."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.util import Finalize
from pathlib import Path
from typing import get_args

from oversold.explorations.servers import Stores
from oversold.explore.stage import Store
from oversold.stores.providers import StoreChoice
from tests.mutants import corpus, designs
from tests.mutants.explanations import explanations
from tests.mutants.hunting import Hunted, Hunter, expected
from tests.mutants.originals import Originals

BUDGET_S = 60.0
BATCH = 8
KEPT = Path("reports") / "mutants"
KINDS = ("safety", "otherwise")


def main(words: Sequence[str]) -> int:
    """Explore; return 0 when each mutant was found or has an explanation, else 1."""
    parser = argparse.ArgumentParser("tests.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="parts of mutants' names, with commas between")
    parser.add_argument(
        "--budget", default=f"{BUDGET_S:g}s", help="seconds for each exploration of a mutant, at most"
    )
    parser.add_argument("--jobs", type=int, default=2, help="how many are explored at a time")
    parser.add_argument("--store", choices=get_args(Store), default="real", help="where there is a fake of it")
    parser.add_argument("--kept", type=Path, default=KEPT, help="folder of what the designs themselves show")
    parser.add_argument("--markdown", type=Path, help="where to write the table")
    given = parser.parse_args(words)
    chosen = [
        mutant.name for mutant in corpus.mutants() if any(word in mutant.name for word in given.only.split(","))
    ]
    started, found = time.monotonic(), []
    job = Job(float(given.budget.removesuffix("s")), given.store, given.kept)
    for hunted in hunt(chosen, job, given.jobs):
        found.append(hunted)
        print(line(hunted, len(found), len(chosen)), flush=True)
    known = explanations([mutant.name for mutant in corpus.mutants()])
    text = "\n".join(table(found, known))
    print(f"\n{text}\n\n{len(found):,} mutants in {time.monotonic() - started:.0f} s.")
    if given.markdown:
        given.markdown.write_text(f"{text}\n", encoding="utf-8")
    wrong = [hunted for hunted in found if not expected(hunted, known)]
    for hunted in wrong:
        name = hunted.mutant.name
        why = "survives without an explanation" if name not in known else "is found although explained"
        print(f"{name} ({hunted.mutant.place}) {why}: {hunted.mutant.diff}")
    return 1 if wrong else 0


@dataclass(frozen=True)
class Job:
    """How each process explores."""

    budget_s: float
    store: Store
    kept: Path


_HUNTER: list[Hunter] = []


def hunt(names: Sequence[str], job: Job, jobs: int) -> Iterator[Hunted]:
    """Yield what comes of mutants, batch by batch. Each process has servers of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=(job,)) as pool:
        batches = [names[first : first + BATCH] for first in range(0, len(names), BATCH)]
        for done in as_completed([pool.submit(_hunted, batch) for batch in batches]):
            yield from done.result()


def _begin(job: Job) -> None:
    stack = ExitStack()
    servers = stack.enter_context(Stores(StoreChoice()))
    _HUNTER.append(Hunter(servers, job.budget_s, job.store, Originals(job.kept)))
    Finalize(None, stack.close, exitpriority=10)


def _hunted(names: Sequence[str]) -> list[Hunted]:
    known = {mutant.name: mutant for mutant in corpus.mutants()}
    return [_HUNTER[0].hunted(known[name]) for name in names]


def line(hunted: Hunted, number: int, total: int) -> str:
    """Return what is told of one mutant when it is through."""
    runs = sum(each.runs for each in hunted.seen)
    what = f"{hunted.kind} ({hunted.how}, phase {hunted.phase})" if hunted.phase else f"{hunted.kind} {hunted.how}"
    if hunted.kind == "survived":
        what += ", ".join(each.outcome for each in hunted.seen)
    return f"{number}/{total} {hunted.mutant.name}: {what}, {runs} schedules, {hunted.seconds:.2f} s"


def table(found: Iterable[Hunted], known: dict[str, tuple[str, str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table by design, and the share that was found."""
    counts: dict[str, Counter[str]] = {}
    for hunted in found:
        count = counts.setdefault(hunted.mutant.design, Counter())
        kind = hunted.kind
        if kind == "survived":
            kind = known.get(hunted.mutant.name, ("unexplained", ""))[0]
        count[kind] += 1
    columns = [*KINDS, "equivalent", "gap", "unexplained"]
    yield f"| design | mutants | {' | '.join(columns)} |"
    yield f"|{'---|' * (len(columns) + 2)}"
    whole: Counter[str] = Counter()
    for name in designs.names():
        if name in counts:
            whole += counts[name]
            yield _row(name, counts[name], columns)
    yield _row("all", whole, columns)
    live = sum(whole[each] for each in columns if each != "equivalent")
    hits = sum(whole[each] for each in KINDS)
    yield ""
    yield (
        f"Found: {hits:,} of {live:,} mutants that differ from their design ({hits / max(1, live):.1%}); "
        f"{whole['equivalent']:,} do not differ, {whole['stillborn']:,} cannot even be opened."
    )


def _row(name: str, count: Counter[str], columns: Sequence[str]) -> str:
    return (
        f"| {name} | {sum(count[each] for each in columns)} | {' | '.join(str(count[each]) for each in columns)} |"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
