"""What a test gets of an exploration or of a replay: its outcome and its steps, told when an assert fails."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from oversold.errors import UsageError, near
from oversold.result import Answer, brief

if TYPE_CHECKING:
    from rich.console import RenderableType

    from oversold.explorations.replays import Replayed
    from oversold.explore.explorer import Result
    from oversold.model import Verdict
    from oversold.schedule import Outcome, Schedule, Step

WIDTHS = (60, 120)  # of a schedule in a report, whatever the terminal has
OTHERS = ("raised", "deadlock", "livelock")  # what can be found besides broken promises


@dataclass(frozen=True, eq=False, repr=False)
class Explored(Answer):
    """One exploration. It is true when every schedule was walked and none breaks anything: EXHAUSTED alone.

    `document` is what explore.json says, `folder` has it and the files of a counterexample.
    """

    document: Mapping[str, Any]
    result: Result
    folder: Path
    command: str

    def __bool__(self) -> bool:
        return self.outcome == "EXHAUSTED"

    def __repr__(self) -> str:
        doubt = ", not a proof" if self.verdict == "inconclusive" else ""
        return f"<{self.strategy}: {brief(f'{self.outcome}{doubt}: {self.sentence}')}>"

    def __str__(self) -> str:
        return "\n".join(self.story())

    @property
    def strategy(self) -> str:
        """The strategy's name; of a class in a file, the class's name."""
        return str(self.document["strategy"]).rpartition(":")[2]

    @property
    def outcome(self) -> Outcome:
        """EXHAUSTED, BOUNDED, SAMPLED, VIOLATION, NONDETERMINISTIC, DEADLOCK or LIVELOCK."""
        return self.result.outcome

    @property
    def verdict(self) -> Verdict:
        """`pass`, `fail` or `inconclusive`, as of a run."""
        verdict: Verdict = self.document["verdict"]
        return verdict

    @property
    def found(self) -> bool:
        """Whether there is a counterexample."""
        return self.result.schedule is not None

    @property
    def schedules(self) -> int:
        """How many schedules were walked."""
        return self.result.runs

    @property
    def schedule(self) -> Schedule | None:
        """The counterexample; None where there is none."""
        return self.result.schedule

    @property
    def counterexample(self) -> tuple[Step, ...]:
        """The counterexample's steps; empty where there is none."""
        return self.schedule.steps if self.schedule else ()

    @property
    def sentence(self) -> str:
        """What happened and why; or what was proven, and what was not."""
        return str(self.document["said"])

    @property
    def also(self) -> Mapping[str, Mapping[str, Any]]:
        """The promises that nobody asked for and some schedules break, by name: how many `schedules`, `detail`,
        `sentence`, `steps`."""
        return MappingProxyType(dict(self.document["also"]))

    @property
    def file(self) -> Path | None:
        """The counterexample's replay file; None where there is none."""
        from oversold.explorations.answers import REPLAY

        return self.folder / REPLAY if self.found else None

    def broken(self, check: str) -> bool:
        """Return whether a schedule was seen that breaks this promise, asked for or not.

        False proves nothing where the outcome is not EXHAUSTED.

        Raises:
            UsageError: there is no such promise.
        """
        from oversold.explorations import questions

        known = [*questions.checks(self.document["kind"]), *OTHERS]
        if check not in known:
            raise UsageError(f"there is no promise {check}{near(check, known)}: there are {', '.join(known)}")
        found = self.schedule.broken if self.schedule else None
        return check in self.also or (found is not None and found.check == check)

    def story(self, about: str | None = None) -> list[str]:
        """Return the outcome, the schedule as lanes, the cause, what repeats it, and where the files are."""
        from oversold.explorations import answers

        replay = [f"replay: {replaying(self.file)}"] if self.file else []
        return [
            *_text(lambda width: answers.shown(self.document, self.result, width), "oversold: "),
            f"repeat: {self.command}",
            *replay,
            f"files: {self.folder}",
        ]


@dataclass(frozen=True, eq=False, repr=False)
class Repeated(Answer):
    """One replay. It is true when the schedule of the file breaks its promise no longer.

    `schedule` is what the file says, `replayed` what came of it now.
    """

    file: Path
    schedule: Schedule
    replayed: Replayed
    command: str

    def __bool__(self) -> bool:
        return self.outcome == "mended"

    def __repr__(self) -> str:
        told = self.why if self.outcome == "diverged" else self.sentence
        return f"<replay of {self.file.name}: {brief(f'{self.outcome}: {told}')}>"

    def __str__(self) -> str:
        return "\n".join(self.story())

    @property
    def outcome(self) -> str:
        """`mended`, `broken`, or `diverged`: it went another way although the strategy's text is the file's."""
        return self.replayed.outcome

    @property
    def changed(self) -> bool:
        """Whether the strategy's text is another one than the file's."""
        return self.replayed.changed

    @property
    def why(self) -> str:
        """Where it went another way than the file; empty where it did not."""
        return self.replayed.why

    @property
    def steps(self) -> tuple[Step, ...]:
        """What happened now; empty where nothing could be told."""
        return self.replayed.steps.steps if self.replayed.steps else ()

    @property
    def sentence(self) -> str:
        """What happened and why."""
        from oversold.report.schedule import story

        return story.sentence(self.replayed.steps or self.schedule)

    def story(self, about: str | None = None) -> list[str]:
        """Return the outcome, what happened as lanes, the cause, and what repeats it."""
        from oversold.explorations import replays
        from oversold.report.schedule import lanes

        def parts(width: int) -> Iterable[RenderableType]:
            yield f"{self.file}: {self.outcome}"
            if self.replayed.steps is not None:
                yield lanes.drawn(self.replayed.steps, width)
            if self.outcome == "broken":
                yield self.sentence
            yield replays.told(self.replayed)

        return [*_text(parts, "oversold: "), f"repeat: {self.command}"]


def replaying(file: Path) -> str:
    """Return the command that repeats a replay."""
    return shlex.join(["oversold", "replay", str(file)])


def _text(parts: Callable[[int], Iterable[RenderableType]], title: str) -> list[str]:
    """Return what a terminal of some width would show as plain lines, `title` before the first one."""
    from io import StringIO

    from rich.console import Console

    low, high = WIDTHS
    width = max(low, min(high, shutil.get_terminal_size().columns))
    file = StringIO()
    console = Console(file=file, width=width, color_system=None)
    console.print(title, end="")
    for part in parts(width):
        console.print(part, soft_wrap=isinstance(part, str), markup=False, highlight=False)
    return [line.rstrip() for line in file.getvalue().splitlines()]
