"""Writes the report: report.html, one file that needs no network, and report.md for a pull request."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from oversold.errors import UsageError
from oversold.report.page import bids, conditions, markdown, paint, payouts, why, words
from oversold.report.page.entries import Card, Table, pace_of

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Chart:
    """A chart of the page: the name of its files, its message, how to read it, and its picture."""

    name: str
    message: str
    caption: str
    svg: str


def write(
    folder: Path,
    document: Mapping[str, Any],
    figures: Mapping[str, Figure],
    cards: Mapping[str, Card] | None = None,
) -> list[Path]:
    """Write report.html and report.md of a comparison, or of one run, into its folder; return their paths.

    `document` is a compare.json, which may also have `left_out`, `failed`, `interrupted` and `sources`; `figures`
    are the charts in their order, by the names that their files have; `cards` are what is told of the strategies,
    by the names that they are run by.

    Raises:
        UsageError: they cannot be written.
    """
    table = tabulate(document.get("runs", []))
    texts = {
        "report.html": html(folder, document, table, figures, cards or {}),
        "report.md": markdown.written(
            document, table, list(figures), words.recorded(_runs(table), folder), cards or {}
        ),
    }
    for name, text in texts.items():
        path = folder / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n", errors="replace")
        except OSError as error:
            raise UsageError(f"cannot write the report {path}: {error.strerror}; choose another folder") from error
    return [folder / name for name in texts]


def tabulate(runs: Sequence[Mapping[str, Any]]) -> Table:
    """Return the entries of some runs; of bids and payouts together those of the kind that comes first."""
    pays = bool(runs) and "obligations" in runs[0]
    return payouts.tabulate(runs) if pays else bids.tabulate(runs)


def html(
    folder: Path,
    document: Mapping[str, Any],
    table: Table,
    figures: Mapping[str, Figure],
    cards: Mapping[str, Card],
) -> str:
    """Return the page as one HTML document."""
    runs = _runs(table)
    charts, colours = _charts(figures)
    style = (_HERE / "style.css").read_text(encoding="utf-8")
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    sources, differences = conditions.differences(runs)
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("template.html").render(
        answer=table.answer,
        about=words.about(table, runs, words.recorded(runs, folder)),
        counts=words.counts(table),
        proof=words.proof(document),
        differing=words.differing(differences),
        a_pass=words.a_pass(table, cards, "in each row"),
        interrupted=bool(document.get("interrupted")),
        table=table,
        cards=cards,
        sold=words.sold,
        link=_link,
        pace_of=pace_of,
        charts=charts,
        conditions=_grouped(conditions.conditions(runs)),
        pace_warning=words.pace_warning(runs),
        pace_matters=any(words.generator_limited(run) for entry in table.entries[:1] for run in entry.runs),
        left_out=words.left_out(document),
        sources=sources,
        differences=differences,
        definitions=words.definitions(payouts=bool(runs) and "obligations" in runs[0]),
        places=[source for source in document.get("sources", []) if source.get("folder")],
        style=style,
        causes=why.causes(folder, document, table),
        dark_charts=paint.dark_rules(colours),
        dark_by_system=why.dark_rules(':root:not([data-theme="light"])'),
        dark_by_choice=why.dark_rules(':root[data-theme="dark"]'),
        script=script,
        # The page may run this script and no other: no text of the data can become code.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _runs(table: Table) -> list[Mapping[str, Any]]:
    return [run for entry in table.entries for run in entry.runs]


def _charts(figures: Mapping[str, Figure]) -> tuple[list[Chart], set[str]]:
    charts: list[Chart] = []
    colours: set[str] = set()
    for place, (name, figure) in enumerate(figures.items(), 1):
        painting = paint.paint(figure, f"chart{place}-")
        colours |= painting.colours
        message = str(figure.get_label()) or name
        charts.append(Chart(name, message, words.CAPTIONS.get(name, ""), painting.svg))
    return charts, colours


def _grouped(found: Sequence[conditions.Condition]) -> dict[str, list[conditions.Condition]]:
    groups: dict[str, list[conditions.Condition]] = {}
    for condition in found:
        groups.setdefault(condition.group, []).append(condition)
    return groups


def _link(run: Mapping[str, Any]) -> str:
    """Return the relative address of a run's folder, or nothing where the page does not lie beside it."""
    if run.get("source") or run.get("folder", ".") == ".":
        return ""
    return f"./{quote(str(run['folder']), safe='')}/"
