"""What is drawn and printed of a run or a comparison, now or later from its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

from oversold.errors import UsageError
from oversold.evidence import NEVER
from oversold.model import yuan
from oversold.report import parquet, payout_parquet, payout_tables, tables

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Recorded = tuple[Mapping[str, Any], Path]  # a summary and the folder that holds its Parquet files
SCHEMAS = {"summary.json": "oversold/run/1", "compare.json": "oversold/compare/1"}


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
            return document
    latest = f": did you mean {folder / 'latest'}?" if (folder / "latest").exists() else ""
    raise UsageError(f"{folder} holds no run, neither summary.json nor compare.json{latest}")


def draw_run(folder: Path, summary: Mapping[str, Any]) -> list[Path]:
    """Draw the charts of one run into its folder; return the PNGs."""
    return _draw(folder, [(summary, folder)])


def draw_comparison(folder: Path, document: Mapping[str, Any]) -> list[Path]:
    """Draw the charts of a comparison into its folder; return the PNGs."""
    return _draw(folder, [(summary, folder / summary["folder"]) for summary in document["runs"]])


def _draw(folder: Path, runs: Sequence[Recorded]) -> list[Path]:
    if not runs:
        return []
    from oversold.report import charts  # matplotlib takes a second to load, which a run without charts saves

    figures = _payout_figures(runs) if _pays(runs[0][0]) else _bid_figures(runs)
    return [charts.save(figure, folder / name)[0] for name, figure in figures.items()]


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
    recorded = [(summary, *parquet.read(place)) for summary, place in runs]
    times = [(summary["strategy"], _response_ms(history)) for summary, history, *_ in recorded]
    figures = {"subscription": charts.subscription_bars(summaries)}
    panels = [
        (summary, ledger, log, claims, int(summary["t_end_s"] * 1e9))
        for summary, _, ledger, log, claims in recorded
        if summary["t_end_s"] > 0
    ]
    if panels:
        figures["over-time"] = (
            charts.subscription_over_time(*panels[0])
            if len(panels) == 1
            else charts.subscription_over_time_all(panels)
        )
    answered = [(name, values) for name, values in times if len(values)]
    if answered:
        figures["response"] = charts.response_percentiles(answered)
    return figures


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
    sold = payout_tables.settled(summary) if pays else _sold(summary)
    console.print(f"\n{sold}; limited by {summary['limits']['limited_by']}.", soft_wrap=True, markup=False)
    _print_places(console, folder, pictures)
    console.print(f"repeat: {summary['command']}", soft_wrap=True, markup=False)


def _sold(summary: Mapping[str, Any]) -> str:
    tranche = summary["tranche"]
    return f"{yuan(tranche['confirmed_fen'])} of {yuan(tranche['capacity_fen'])} sold by the ledger"


def print_comparison(
    console: Console, document: Mapping[str, Any], folder: Path, pictures: Sequence[Path]
) -> None:
    """Print a comparison: one table, the reasons of all that did not pass, where the files are."""
    runs = document["runs"]
    table = payout_tables.comparison_table if runs and _pays(runs[0]) else tables.comparison_table
    console.print(table(runs, document["canary"]))
    for reason in tables.reasons(runs):
        console.print(reason, soft_wrap=True, markup=False)
    _print_places(console, folder, pictures)


def _print_places(console: Console, folder: Path, pictures: Sequence[Path]) -> None:
    console.print(f"files: {folder}", soft_wrap=True, markup=False)
    for picture in pictures:
        console.print(f"chart: {picture}", soft_wrap=True, markup=False)
