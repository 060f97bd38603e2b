"""What a pipeline asks of a run besides its verdict, from the options to files, annotations and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

from oversold import comparison, shell
from oversold.ci import baseline as baselines
from oversold.ci import exits, files, github, junit, markdown, news
from oversold.ci.designs import Document
from oversold.ci.thresholds import Threshold, consistent, judged_rows, parse
from oversold.errors import Exit, UsageError
from oversold.plan import Kind


@dataclass(frozen=True)
class Wishes:
    """What was asked for, checked; `baseline` is the document of the earlier run, `baseline_folder` its folder."""

    thresholds: tuple[Threshold, ...] = ()
    baseline: Mapping[str, Any] | None = None
    baseline_folder: Path | None = None
    junit_file: Path | None = None
    markdown_file: Path | None = None
    environ: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(
        cls,
        *,
        environ: Mapping[str, str],
        most: Sequence[str] = (),
        least: Sequence[str] = (),
        baseline: Path | None = None,
        junit: Path | None = None,
        markdown: Path | None = None,
        kind: Kind | None = None,
        typed: bool = True,
    ) -> Self:
        """Check all that can be checked before the run; `most` and `least` are the words of --max and --min.

        A threshold that runs of this `kind` do not have is a mistake if it was `typed`. One of a config file is
        there for every scenario: it is left out.

        Raises:
            UsageError: an option is wrong, the baseline cannot be read, or a file could not be written.
        """
        asked = kind if typed else None
        limits = (*parse(most, "max", asked), *parse(least, "min", asked))
        consistent(limits)
        for option, path in (("--junit", junit), ("--markdown", markdown)):
            if path is not None:
                files.check_writable(path, option)
        if junit is not None and markdown is not None and junit.absolute() == markdown.absolute():
            raise UsageError(f"--junit and --markdown both name {junit}: give each a file of its own")
        before = baselines.load(baseline) if baseline is not None else None
        fitting = tuple(each for each in limits if kind is None or each.fits(kind))
        return cls(fitting, before, baseline, junit, markdown, dict(environ))

    def judged(self, document: Document) -> dict[str, Any]:
        """Return the document of summary.json or compare.json with what came of thresholds and baseline.

        It gets `thresholds` (rows) and `baseline` (`folder`, `recorded`, `caveats`, `rows`), each if asked for.
        """
        own: dict[str, Any] = {}
        if self.thresholds:
            own["thresholds"] = judged_rows(document, self.thresholds)
        if self.baseline is not None:
            own["baseline"] = {
                "folder": str(self.baseline_folder),
                "recorded": baselines.recorded(self.baseline),
                "caveats": baselines.caveats(document, self.baseline),
                "rows": baselines.compared(document, self.baseline),
            }
        return {**document, **own}

    def report(self, documents: Sequence[Document], bases: Sequence[Exit], *, stdout_is_json: bool) -> Exit:
        """Write and print what was asked for of some judged documents; return the worst exit code.

        `bases` are the codes that their verdicts give. With JSON on stdout the annotations go to stderr. What
        cannot be written is one line on stderr and a code of USAGE; all else is written, and a broken promise
        stays BROKEN.
        """
        text = "\n".join(markdown.text(document) for document in documents)
        problems = []
        for write in self._writers(documents, text):
            try:
                write()
            except UsageError as error:
                problems.append(error)
                shell.complain(str(error))
        if github.runs_in(self.environ):
            told = [item for document in documents for item in news.items(document)]
            github.annotate(news.worst_first(told), sys.stderr if stdout_is_json else sys.stdout)
        codes = [exits.exit_with(document, base) for document, base in zip(documents, bases, strict=True)]
        return comparison.worst([*codes, *([Exit.USAGE] if problems else [])])

    def _writers(self, documents: Sequence[Document], text: str) -> list[Callable[[], None]]:
        writers = [partial(github.summarise, text, self.environ)]
        if self.junit_file is not None:
            writers.append(partial(junit.write, self.junit_file, documents))
        if self.markdown_file is not None:
            writers.append(partial(files.write, self.markdown_file, text, "--markdown"))
        return list(writers)
