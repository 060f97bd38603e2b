"""The charts of payout runs: what was paid twice, what was missed, and how it came about.

`charts.save` writes them as it writes the charts of bids.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from oversold.payout_evidence import PayoutEvidence
from oversold.report import payout_backlog, payout_bars, payout_gantt, payout_tradeoff
from oversold.report.charts_paper import house_style


@house_style()
def tradeoff(summaries: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw one mark a run: yuan missed to the right, yuan overpaid upwards, and the good corner.

    `summaries` are run summaries (schema `oversold/run/1`); bid runs are left out. Raises UsageError if no payout
    run is among them.
    """
    return payout_tradeoff.draw(summaries)


@house_style()
def gantt(summary: Mapping[str, Any], evidence: PayoutEvidence) -> Figure:
    """Draw one payday on one time axis: the jobs, the calls in flight, the channels' lies, what was paid twice."""
    return payout_gantt.draw(summary, evidence)


@house_style()
def unknown_backlog(panels: Sequence[tuple[Mapping[str, Any], PayoutEvidence]]) -> Figure:
    """Draw how many payouts each run's strategy believed UNKNOWN over time, in small multiples.

    Of more than twelve runs that ever said UNKNOWN the first twelve are drawn, and the subtitle says so. Raises
    UsageError if there is no run.
    """
    return payout_backlog.draw(panels)


@house_style()
def overpaid_bars(summaries: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw one row a run: yuan overpaid, what of it is withdrawn, the people and the verdict.

    `summaries` are drawn in the given order; bid runs are left out. Raises UsageError if no payout run is among
    them.
    """
    return payout_bars.draw(summaries)
