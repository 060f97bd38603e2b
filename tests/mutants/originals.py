"""What the sound designs show themselves when they are explored, kept from one run to the next."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from tests.mutants import corpus, designs
from tests.mutants.designs import Phase
from tests.mutants.watching import Mark


@dataclass(frozen=True)
class Seen:
    """What one phase showed: `broken` is the check that the counterexample breaks, `marks` tells by what other
    promises broke."""

    outcome: str
    broken: str = ""
    detail: str = ""
    marks: frozenset[Mark] = frozenset()
    runs: int = 0
    seconds: float = 0.0


class Originals:
    """What each phase showed of each design; with a folder, of earlier runs too while their text is the same."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._known: dict[str, Seen] = {}

    def seen(self, design: str, phase: Phase, explore: Callable[[], Seen]) -> Seen:
        """Return it; explore when it is not known."""
        word = self._word(design, phase)
        if word not in self._known:
            self._known[word] = self._read(word) or self._kept(word, explore())
        return self._known[word]

    @staticmethod
    def _word(design: str, phase: Phase) -> str:
        texts = [corpus.source(module).text for module in corpus.modules(design)]
        return sha256("".join([repr((phase, designs.SMALL)), *texts]).encode()).hexdigest()[:24]

    def _read(self, word: str) -> Seen | None:
        file = self._folder / f"{word}.json" if self._folder else None
        if file is None or not file.is_file():
            return None
        fields = json.loads(file.read_text(encoding="utf-8"))
        return Seen(**{**fields, "marks": frozenset(map(tuple, fields["marks"]))})

    def _kept(self, word: str, seen: Seen) -> Seen:
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps({**asdict(seen), "marks": sorted(seen.marks)}, indent=1)
            (self._folder / f"{word}.json").write_text(text, encoding="utf-8")
        return seen
