"""Recorded runs and comparisons read back from their folders, one by one or side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oversold.errors import UsageError

SCHEMAS = {"compare.json": "oversold/compare/1", "summary.json": "oversold/run/1"}


@dataclass(frozen=True)
class Source:
    """One folder of a run or a comparison with its document, by a word that tells it from the others."""

    word: str
    folder: Path
    document: Mapping[str, Any]

    @property
    def is_comparison(self) -> bool:
        """Whether it holds a comparison, not a single run."""
        return "runs" in self.document

    @property
    def comparison(self) -> dict[str, Any]:
        """The document of compare.json; that of a comparison of one where the folder holds a single run."""
        if self.is_comparison:
            return dict(self.document)
        run = {**self.document, "folder": "."}
        return {"schema": SCHEMAS["compare.json"], "runs": [run], "canary": _canary_beside(self.folder, run)}


def load(folder: Path) -> dict[str, Any]:
    """Read compare.json or summary.json of a folder.

    Raises:
        UsageError: neither is there, or it is damaged or of another schema.
    """
    for name, schema in SCHEMAS.items():
        path = folder / name
        if path.is_file():
            try:
                document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise UsageError(f"{path} cannot be read: {error}") from error
            found = document.get("schema") if isinstance(document, dict) else None
            if found != schema:
                raise UsageError(f"{path} has schema {found!r}; this version reads {schema!r}")
            if name == "compare.json" and not (
                isinstance(document.get("runs"), list) and isinstance(document.get("canary"), dict)
            ):
                raise UsageError(f"{path} is damaged: it has no list of runs and no canary")
            return document
    latest = f": did you mean {folder / 'latest'}?" if (folder / "latest").exists() else ""
    raise UsageError(f"{folder} holds no run, neither summary.json nor compare.json{latest}")


def gathered(folders: Sequence[Path]) -> tuple[list[Source], list[str]]:
    """Read several folders; return those that can be read, and one line for each that cannot.

    Raises:
        UsageError: none of them can be read; the first one's cause.
    """
    found: list[tuple[Path, dict[str, Any]]] = []
    problems: list[UsageError] = []
    seen: set[Path] = set()
    for folder in folders:
        try:
            if folder.resolve() in seen:
                raise UsageError(f"{folder} is the same folder as another one")
            seen.add(folder.resolve())
            found.append((folder, load(folder)))
        except UsageError as error:
            problems.append(error)
    if not found:
        raise problems[0]
    words = _words([folder for folder, _ in found])
    sources = [Source(word, folder, document) for word, (folder, document) in zip(words, found, strict=True)]
    return sources, [f"left out: {problem}" for problem in problems]


def side_by_side(sources: Sequence[Source]) -> dict[str, Any]:
    """Return one document of all sources' runs; each run carries its `source`, its `folder` is a whole path.

    Raises:
        UsageError: bids and payouts cannot be compared.
    """
    documents = [(source, source.comparison) for source in sources]
    runs = [
        {**run, "source": source.word, "folder": str((source.folder / run["folder"]).resolve())}
        for source, document in documents
        for run in document["runs"]
    ]
    if not runs:
        raise UsageError("there is nothing to put side by side: none of the comparisons has a finished run")
    if len({"obligations" in run for run in runs}) > 1:
        raise UsageError("runs of bids and runs of payouts do not compare: give folders of one kind")
    canaries = [document["canary"] for _, document in documents]
    return {
        "schema": SCHEMAS["compare.json"],
        "runs": runs,
        "canary": _all_canaries(canaries),
        **({"interrupted": True} if any(document.get("interrupted") for _, document in documents) else {}),
        "planned": sum(document.get("planned", len(document["runs"])) for _, document in documents),
        "sources": [
            {"source": source.word, "folder": str(source.folder), "recorded": _recorded(document["runs"])}
            for source, document in documents
        ],
        **{
            name: rows
            for name in ("left_out", "failed")
            if (rows := [row for _, document in documents for row in document.get(name, [])])
        },
    }


def _all_canaries(canaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the canaries of several comparisons as one: what all of them proved is proven."""
    merged = dict(canaries[0])
    for proof, share in (("oversold", "oversubscription"), ("paid_twice", "duplicate")):
        if proof in merged:
            merged[proof] = all(canary.get(proof) for canary in canaries)
            merged[share] = min((float(canary.get(share) or 0.0) for canary in canaries), default=0.0)
    merged["runs"] = [run for canary in canaries for run in canary.get("runs", [])]
    return merged


def _canary_beside(folder: Path, run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what compare.json would say of the canary of a single run."""
    share, proof = ("duplicate", "paid_twice") if "obligations" in run else ("oversubscription", "oversold")
    try:
        summary = dict(run) if run.get("canary") else load(folder / "canary")
    except UsageError:
        return {"strategy": "none", proof: False, share: 0.0, "runs": []}
    rate = float(summary["rates"][share] or 0.0)  # one that was never judged has proven nothing
    row = {"users": summary["load"]["users"], "seed": summary["seed"], "verdict": summary["verdict"], share: rate}
    return {"strategy": summary["strategy"], proof: rate > 0, share: rate, "runs": [row]}


def _recorded(runs: Sequence[Mapping[str, Any]]) -> str | None:
    """Return when the first of some runs was recorded, in ISO form; None of runs that do not say it."""
    return min((str(run["recorded"]) for run in runs if run.get("recorded")), default=None)


def _words(folders: Sequence[Path]) -> list[str]:
    """Return a short word for each folder: its name, with as many parents as it takes to tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    words = ["/".join(each[-1:]) for each in parts]
    for depth in range(2, max(len(each) for each in parts) + 1):
        if len(set(words)) == len(words):
            break
        words = ["/".join(each[-depth:]) for each in parts]
    return words
