"""A schedule as a page: one HTML file that needs no network, with picture, steps, and how to replay them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from oversold.report.schedule import cards, colours, svg
from oversold.report.schedule.lanes import answered
from oversold.report.schedule.marks import ending, marked
from oversold.report.schedule.story import headline, sentence
from oversold.report.tables import printable
from oversold.schedule import Schedule

_HERE = Path(__file__).parent
_SMALLEST = 0.85  # of its size: what is smaller than that cannot be read, so it scrolls
_HOUSE_STYLE = _HERE.parent / "page" / "style.css"  # the fonts and colours of every report


def page(schedule: Schedule, mermaid: str, commands: Sequence[str]) -> str:
    """Return the page. `mermaid` is the diagram's text to copy, `commands` are what replays the schedule."""
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    style = _HOUSE_STYLE.read_text(encoding="utf-8") + (_HERE / "page.css").read_text(encoding="utf-8")
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["printable"] = printable
    return environment.get_template("page.html").render(
        headline=headline(schedule),
        sentence=sentence(schedule),
        schedule=schedule,
        rows=marked(schedule),
        answered=answered,
        ending=ending(schedule),
        picture=svg.drawn(schedule),
        least=round(_SMALLEST * cards.lanes(schedule).right),
        facts=_facts(schedule),
        commands=commands,
        mermaid=mermaid,
        style=style,
        dark_by_system=colours.dark_rules(':root:not([data-theme="light"])'),
        dark_by_choice=colours.dark_rules(':root[data-theme="dark"]'),
        script=script,
        # The page may run this script and no other: no text of a schedule can become code.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _facts(schedule: Schedule) -> list[tuple[str, str]]:
    """Return what the schedule was found with."""
    return [
        ("verdict", schedule.outcome),
        *((name.replace("_", " "), str(value)) for name, value in schedule.scenario.items()),
        ("seed", str(schedule.seed)),
        *(schedule.versions.items()),
        *([("strategy's code", schedule.fingerprint)] if schedule.fingerprint else []),
    ]
