"""Explores all mutants of the sound designs, and says how many were found, and why the others were not."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from multiprocessing.util import Finalize
from pathlib import Path
from typing import get_args

from oversold.explorations.servers import Stores
from oversold.explore.stage import Store
from oversold.stores.providers import StoreChoice
from tests.mutants import corpus, page
from tests.mutants.explanations import explanations
from tests.mutants.hunting import Hunted, Hunter, expected
from tests.mutants.originals import Originals, Seen

BUDGET_S = 60.0
BATCH = 8
KEPT = Path("reports") / "mutants"
NOTES = "found.jsonl"  # what came of each mutant, so that a run that was stopped goes on where it was


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
    parser.add_argument("--markdown", type=Path, help="where to write the page")
    parser.add_argument("--fresh", action="store_true", help="forget what earlier runs have found")
    parser.add_argument("--survivors", action="store_true", help="explore those again that have survived")
    given = parser.parse_args(words)
    chosen = [mutant for mutant in corpus.mutants() if any(word in mutant.name for word in given.only.split(","))]
    started = time.monotonic()
    job = Job(float(given.budget.removesuffix("s")), given.store, given.kept)
    notes = given.kept / NOTES
    if given.fresh:
        for file in (notes, *given.kept.glob("*.json")):
            file.unlink(missing_ok=True)
    known_before = noted(notes)
    found = [known_before[mutant.name] for mutant in chosen if mutant.name in known_before]
    if given.survivors:
        found = [hunted for hunted in found if hunted.kind != "survived"]
    # There may be phases that a survivor has not met yet.
    begun = {hunted.mutant.name: hunted.seen for hunted in found if not hunted.done}
    found = [hunted for hunted in found if hunted.done]
    done = {hunted.mutant.name for hunted in found}
    rest = {mutant.name: begun.get(mutant.name, []) for mutant in chosen if mutant.name not in done}
    if done:
        print(f"{len(done):,} of {len(chosen):,} mutants were explored before: {notes}. --fresh explores all.")
    for hunted in hunt(rest, job, given.jobs):
        found.append(hunted)
        note(notes, hunted)
        print(line(hunted, len(found), len(chosen)), flush=True)
    known = explanations([mutant.name for mutant in corpus.mutants()])
    text = "\n".join(page.table(found, known))
    print(f"\n{text}\n\n{len(found):,} mutants in {time.monotonic() - started:.0f} s.")
    if given.markdown:
        given.markdown.write_text("\n".join(page.lines(found, known)), encoding="utf-8")
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


Begun = tuple[str, list[Seen]]  # a mutant's name, and what the phases showed that it has survived


def hunt(mutants: Mapping[str, list[Seen]], job: Job, jobs: int) -> Iterator[Hunted]:
    """Yield what comes of mutants, batch by batch. Each process has servers of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=(job,)) as pool:
        every = list(mutants.items())
        batches = [every[first : first + BATCH] for first in range(0, len(every), BATCH)]
        for done in as_completed([pool.submit(_hunted, batch) for batch in batches]):
            yield from done.result()


def _begin(job: Job) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    stack = ExitStack()
    servers = stack.enter_context(Stores(StoreChoice()))
    _HUNTER.append(Hunter(servers, job.budget_s, job.store, Originals(job.kept)))
    Finalize(None, stack.close, exitpriority=10)


def _end_with_parent() -> None:
    """End this process when the one that hands out the mutants was killed; its servers end with it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _hunted(batch: Sequence[Begun]) -> list[Hunted]:
    known = {mutant.name: mutant for mutant in corpus.mutants()}
    return [_HUNTER[0].hunted(known[name], survived) for name, survived in batch]


def note(file: Path, hunted: Hunted) -> None:
    """Add what came of a mutant to the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    seen = [{**asdict(each), "marks": sorted(each.marks)} for each in hunted.seen]
    row = {"mutant": hunted.mutant.name, "diff": hunted.mutant.diff, "kind": hunted.kind, "how": hunted.how}
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({**row, "phase": hunted.phase, "seen": seen}) + "\n")


def noted(file: Path) -> dict[str, Hunted]:
    """Return what came of each mutant in earlier runs; of those only that are the same today."""
    mutants = {mutant.name: mutant for mutant in corpus.mutants()}
    found = {}
    for text in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        row = json.loads(text)
        mutant = mutants.get(row["mutant"])
        if mutant is not None and mutant.diff == row["diff"]:
            seen = [Seen(**{**each, "marks": frozenset(map(tuple, each["marks"]))}) for each in row["seen"]]
            found[mutant.name] = Hunted(mutant, row["kind"], row["how"], row["phase"], seen)
    return found


def line(hunted: Hunted, number: int, total: int) -> str:
    """Return what is told of one mutant when it is through."""
    runs = sum(each.runs for each in hunted.seen)
    what = f"{hunted.kind} ({hunted.how}, phase {hunted.phase})" if hunted.phase else f"{hunted.kind} {hunted.how}"
    if hunted.kind == "survived":
        what += ", ".join(each.outcome for each in hunted.seen)
    return f"{number}/{total} {hunted.mutant.name}: {what}, {runs} schedules, {hunted.seconds:.2f} s"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
