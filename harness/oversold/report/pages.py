"""What is drawn and printed of a run or a comparison, now or later from its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

from oversold.errors import UsageError
from oversold.evidence import NEVER
from oversold.report import (
    cell_tables,
    cells,
    explained,
    parquet,
    payout_parquet,
    payout_tables,
    sources,
    tables,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from oversold.report.page.entries import Card

Recorded = tuple[Mapping[str, Any], Path]  # a summary and the folder that holds its Parquet files
MOST_PANELS = 12  # runs that are read from their files and drawn one by one


def draw(folder: Path, document: Mapping[str, Any], cards: Mapping[str, Card]) -> list[Path]:
    """Draw the charts and the page of a run or a comparison into its folder; return the files to look at.

    `cards` says what the strategies are, by name.
    """
    document = sources.Source("", folder, document).comparison
    # A run's own folder is told from where the comparison is; of several comparisons it is a whole path.
    runs = [(run, folder / run["folder"]) for run in document["runs"]]
    if not runs:
        return []
    # matplotlib takes a second to load, which a run without charts saves.
    from oversold.report import charts
    from oversold.report.page import page

    figures = _payout_figures(runs) if _pays(runs[0][0]) else _bid_figures(runs)
    pictures = [charts.save(figure, folder / name)[0] for name, figure in figures.items()]
    return [*pictures, *page.write(folder, document, figures, cards)]


def _pays(summary: Mapping[str, Any]) -> bool:
    return "obligations" in summary


def _payout_figures(runs: Sequence[Recorded]) -> dict[str, Figure]:
    from oversold.report import payout_charts

    summaries = [summary for summary, _ in runs]
    recorded = [(summary, payout_parquet.read(place)) for summary, place in runs]
    figures = {
        "duplicate-or-missed": payout_charts.tradeoff(summaries),
        "overpaid": payout_charts.overpaid_bars(summaries),
    }
    begun = [(summary, evidence) for summary, evidence in recorded if summary["t_end_s"] > 0]
    if begun:
        # The canary's jobs are the incident; without it, those of the run that broke most.
        shown = max(begun, key=lambda run: (run[0]["canary"], run[0]["obligations"]["duplicates"]))
        figures["jobs"] = payout_charts.gantt(*shown)
        figures["unknown"] = payout_charts.unknown_backlog(begun)
    return figures


def _bid_figures(runs: Sequence[Recorded]) -> dict[str, Figure]:
    from oversold.report import charts

    summaries = [summary for summary, _ in runs]
    found = cells.gather(summaries)
    several, swept = len(cells.strategies(found)) > 1, len(cells.loads(found)) > 1
    figures = {"subscription": charts.subscription_bars(summaries)}
    if several:
        figures["frontier"] = charts.frontier(found)
    if swept:
        figures["heatmap"] = charts.heatmap(found)
    shown = [runs[i] for i in cells.worth_showing(summaries, MOST_PANELS)]
    if panels := _panels(shown):
        figures["over-time"] = (
            charts.subscription_over_time(*panels[0])
            if len(panels) == 1
            else charts.subscription_over_time_all(panels, every=summaries)
        )
    at_largest = [run for cell in cells.ordered(found) for run in cell.runs]
    if answered := _responses(runs, found):
        figures["response"] = charts.response_percentiles(answered, at_largest)
    if several:
        figures["outcomes"] = charts.outcome_stacks(found)
        figures["attempts"] = charts.attempts(found)
    if any(summary.get("fairness") for summary in summaries):
        figures["fairness"] = charts.fairness(found)
    return figures


def _panels(runs: Sequence[Recorded]) -> list[Any]:
    """Return what the charts over time take, of those runs that began."""
    read = [(summary, tables) for summary, place in runs if summary["t_end_s"] > 0 and (tables := _read(place))]
    return [
        (summary, ledger, log, claims, int(summary["t_end_s"] * 1e9)) for summary, (_, ledger, log, claims) in read
    ]


def _responses(runs: Sequence[Recorded], found: Sequence[cells.Cell]) -> list[tuple[str, npt.NDArray[np.float64]]]:
    """Return each strategy's response times at the largest load, of its worst seed, best strategy first."""
    places = {id(summary): place for summary, place in runs}
    read = [(cell.label, _read(places[id(cell.worst_run)])) for cell in cells.ordered(found)]
    times = [(name, _response_ms(tables[0])) for name, tables in read if tables]
    return [(name, values) for name, values in times if len(values)]


def _read(place: Path) -> Any:
    """Return the tables of one run; None where they are gone or damaged, which is one run less in a chart."""
    try:
        return parquet.read(place)
    except UsageError:
        return None


def _response_ms(history: npt.NDArray[np.void]) -> npt.NDArray[np.float64]:
    """Return each bid's time from its intended start to its last answer, in ms."""
    final = history[(history["final"] == 1) & (history["t_done"] != NEVER)]
    return np.asarray((final["t_done"] - final["t_intended"]) / 1e6, np.float64)


def print_run(console: Console, summary: Mapping[str, Any], folder: Path, pictures: Sequence[Path]) -> None:
    """Print one run: the table, every finding, what limited it, where its files are."""
    pays = _pays(summary)
    console.print(payout_tables.comparison_table([summary]) if pays else tables.comparison_table([summary]))
    if summary.get("interrupted"):
        console.print("Interrupted. " + " ".join(summary["reasons"][:1]), soft_wrap=True, markup=False)
    for finding in summary["findings"]:
        mark = {"pass": "pass", "fail": "FAIL", "inconclusive": "unproven"}[finding["verdict"]]
        console.print(f"  {mark:<9}{finding['check']:<18}{finding['detail']}", soft_wrap=True, markup=False)
    sold = payout_tables.settled(summary) if pays else tables.sold(summary)
    console.print(f"\n{sold}; limited by {summary['limits']['limited_by']}.", soft_wrap=True, markup=False)
    _print_places(console, folder, pictures)
    console.print(f"repeat: {summary['command']}", soft_wrap=True, markup=False)
    _print_causes(console, [summary], folder, summary)


def print_comparison(
    console: Console, document: Mapping[str, Any], folder: Path, pictures: Sequence[Path]
) -> None:
    """Print a comparison: one table, the reasons of all that did not pass, where the files are."""
    runs = document["runs"]
    found = cells.gather(runs)
    swept = found and (len(found) < len(runs) or len(cells.loads(found)) > 1)
    if swept:
        console.print(cell_tables.cells_table(found, document["canary"]))
    else:
        pays = "paid_twice" in document["canary"]
        table = payout_tables.comparison_table if pays else tables.comparison_table
        console.print(table(runs, document["canary"]))
    for reason in cell_tables.reasons(found) if swept else tables.reasons(runs):
        console.print(reason, soft_wrap=True, markup=False)
    for row in document.get("failed", []):
        console.print(f"{row['folder']}: could not be run: {row['why']}", soft_wrap=True, markup=False)
    if document.get("interrupted"):
        console.print(
            f"Unfinished: {len(runs)} of {document.get('planned', '?')} runs are there. {_mend(document, folder)}",
            soft_wrap=True,
            markup=False,
        )
    _print_places(console, folder, pictures)
    _print_causes(console, [run for run in runs if not run["canary"]], folder, document)


def _mend(document: Mapping[str, Any], folder: Path) -> str:
    if "sources" in document:
        return "Finish them with `oversold compare --resume`."
    return f"`oversold compare --resume {folder}` goes on."


def _print_places(console: Console, folder: Path, pictures: Sequence[Path]) -> None:
    console.print(f"files: {folder}", soft_wrap=True, markup=False)
    for path in pictures:
        what = "chart" if path.suffix == ".png" else "page"
        console.print(f"{what}: {path}", soft_wrap=True, markup=False)


def _print_causes(
    console: Console, runs: Sequence[Mapping[str, Any]], folder: Path, document: Mapping[str, Any]
) -> None:
    """Print for each design that failed why, as far as that is known, and the command that explores it."""
    whys: dict[str, str] = {}
    for run in runs:
        if command := run.get("explain"):
            cause = run.get("cause")
            whys.setdefault(command, f"{tables.shown_name(run)}: {cause['sentence']}" if cause else "")
    for command, sentence in whys.items():
        for line in filter(None, [sentence and f"cause: {sentence}", f"why: {command}"]):
            console.print(line, soft_wrap=True, markup=False)
    for problem in explained.beside(folder, document)[1]:
        console.print(problem, soft_wrap=True, markup=False)
