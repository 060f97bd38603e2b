"""The schedules that explain failing designs, read back from the folder of a run or a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oversold import schedule_file
from oversold.errors import UsageError
from oversold.report.tables import shown_name
from oversold.schedule import Schedule

FOLDER = "explain"  # below a run or a comparison; it has a folder a design
FILE = "replay.jsonl"


@dataclass(frozen=True)
class Explained:
    """A design's shortest schedule that breaks it, and the replay file that it is in.

    `source` tells whose it is, where several folders are side by side.
    """

    schedule: Schedule
    path: Path
    source: str = ""

    @property
    def sql(self) -> str:
        """The SQL server that it was found on."""
        return "mariadb" if self.schedule.versions.get("sql", "").startswith("MariaDB") else "postgres"

    @property
    def name(self) -> str:
        """The design's name, as tables show it."""
        return shown_name({"strategy": self.schedule.strategy, "sql": self.sql, "source": self.source})


def read(folder: Path, source: str = "") -> tuple[list[Explained], list[str]]:
    """Return the schedules in a run's or a comparison's folder, and a line for each file that cannot be read."""
    found, problems = [], []
    for path in sorted(folder.glob(f"{FOLDER}/*/{FILE}")):
        try:
            found.append(Explained(schedule_file.read(path), path, source))
        except UsageError as error:
            problems.append(f"no schedule of {path.parent.name} is shown: {' '.join(str(error).split())}")
    return found, problems


def beside(folder: Path, document: Mapping[str, Any]) -> tuple[list[Explained], list[str]]:
    """Return what `read` does; of several folders side by side, what it does for each of them."""
    places = [(Path(str(each.get("folder"))), str(each.get("source"))) for each in document.get("sources", [])]
    found: list[Explained] = []
    problems: list[str] = []
    for place, source in places or [(folder, "")]:
        own, lines = read(place, source)
        found += own
        problems += lines
    return found, problems
