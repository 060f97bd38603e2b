"""A run's numbers in words and columns: what the terminal shows, worded as the charts word it."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from rich.box import Box
from rich.table import Table
from rich.text import Text

from oversold.model import HOLD_VERDICTS, yuan
from oversold.report.phrases import between, by_whom, unanswered

BROKEN_MARK = "†"  # stands after the name of a design that is broken on purpose
BROKEN_NOTE = f"{BROKEN_MARK} broken on purpose: its pass says nothing about its hole"
CANARY = "none"  # the strategy that must oversell, or the burst could not have shown a fault

# A rule under the header and nothing else, so that a pipe or a log gets plain ASCII.
_RULED = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
_STYLES = {"pass": "green", "fail": "bold red", "inconclusive": "yellow"}
_NAME_WIDTH = 18  # longer strategy names break at a hyphen, so that the table fits 80 columns
_SERVERS = {"mariadb": "MariaDB"}  # the SQL server is named where it is not the usual one
NOTHING = "-"  # what stands where there is no number


@dataclass(frozen=True)
class Sale:
    """What one bid run sold, read from its summary (schema `oversold/run/1`).

    `over` and `under` are fractions of the capacity. `confirmed_fen` is None where the run ended without
    a ledger, or never opened what it was to sell; then `over` and `under` are 0 and mean nothing.
    """

    strategy: str
    verdict: str
    capacity_fen: int
    confirmed_fen: int | None
    over: float
    under: float

    @classmethod
    def read(cls, summary: Mapping[str, Any]) -> Self:
        """Take the sale out of the summary of a bid run; KeyError if it has no tranche."""
        tranche, rates = summary["tranche"], summary.get("rates", {})
        unjudged = "oversubscription" in rates and rates["oversubscription"] is None
        lost = unjudged or is_lost(summary, "ledger")
        return cls(
            printable(str(summary["strategy"])),
            str(summary["verdict"]),
            int(tranche["capacity_fen"]),
            None if lost else tranche.get("confirmed_fen"),
            _number(rates.get("oversubscription")) or 0.0,
            _number(rates.get("undersubscription")) or 0.0,
        )

    @property
    def name(self) -> str:
        """The strategy's name, with a mark on the canary."""
        return named(self.strategy, canary=self.strategy == CANARY)

    @property
    def off_fen(self) -> int:
        """How far the ledger is from the capacity, in fen, whichever way; 0 without a ledger."""
        return abs((self.confirmed_fen or 0) - self.capacity_fen) if self.confirmed_fen is not None else 0


def sold(run: Mapping[str, Any]) -> str:
    """Say what a run of bids sold, by whose word, and what became of bids that got no answer."""
    sale = Sale.read(run)
    if sale.confirmed_fen is None:
        return f"nobody knows how much of {yuan(sale.capacity_fen)} was sold"
    said = f"{yuan(sale.confirmed_fen)} of {yuan(sale.capacity_fen)} sold {by_whom(run)}"
    return "; ".join(filter(None, [said, unanswered(run)]))


def named(strategy: str, *, canary: bool) -> str:
    """Return a strategy's name, with a mark on the canary."""
    return f"{strategy} (canary)" if canary else strategy


def shown_name(run: Mapping[str, Any]) -> str:
    """Return the name that a run's strategy is shown by: with its SQL server and its source where they tell more.

    >>> shown_name({"strategy": "version", "sql": "mariadb", "source": "before"})
    'version on MariaDB · before'
    """
    server = _SERVERS.get(str(run.get("sql")))
    name = f"{run['strategy']} on {server}" if server else str(run["strategy"])
    return printable(f"{name} · {run['source']}" if run.get("source") else name)


def printable(name: str) -> str:
    """Return a name without what cannot be seen: a control character would spoil a terminal, and no SVG has one.

    >>> printable("no\\x1b[31m lock\\0\\n")
    'no[31m lock'
    """
    return "".join(character for character in name if character.isprintable())


def is_lost(summary: Mapping[str, Any], check: str) -> bool:
    """Return whether a run ended without the records that a check reads: then the check did not pass."""
    return any(found["check"] == check and found["verdict"] != "pass" for found in summary.get("findings", []))


def broken_checks(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the checks that a run failed."""
    return tuple(str(found["check"]) for found in summary.get("findings", []) if found["verdict"] == "fail")


def percent(rate: float | None) -> str:
    """Word a fraction as a percentage of about three digits; only zero itself reads 0, only a whole 100.

    >>> percent(0.176), percent(0.00002), percent(1e-9), percent(0.0), percent(0.99999), percent(None)
    ('17.6 %', '0.002 %', '<0.001 %', '0', '>99.9 %', '-')
    """
    if (rate := _number(rate)) is None:
        return NOTHING
    value = 100 * rate
    if value == 0:
        return "0"
    if value < 0.001:
        return "<0.001 %"
    if value < 100 and round(value, 1) >= 100:
        return ">99.9 %"
    for least, digits in ((100, 0), (10, 1), (0.1, 2)):
        if value >= least:
            return f"{value:,.{digits}f} %"
    return f"{value:.3f} %"


def duration(ms: float | None) -> str:
    """Word milliseconds with two or three digits and the unit that fits.

    >>> duration(0.42), duration(4.2), duration(999.6), duration(3120), duration(40_800), duration(None)
    ('0.42 ms', '4.2 ms', '1.0 s', '3.1 s', '40.8 s', '-')
    """
    if not (ms := _number(ms)):  # no time at all: nothing was measured
        return NOTHING
    for below, scale, digits, unit in (
        (0.995, 1, 2, "ms"),
        (9.95, 1, 1, "ms"),
        (999.5, 1, 0, "ms"),
        (99_950, 1000, 1, "s"),
    ):
        if ms < below:
            return f"{ms / scale:.{digits}f} {unit}"
    return f"{ms / 1000:,.0f} s"


def comparison_table(summaries: Sequence[Mapping[str, Any]], canary: Mapping[str, Any] | None = None) -> Table:
    """Lay out one block of lines a run, in the given order; it fits 80 columns.

    `canary` is what compare.json says under that key: the caption says whether it proved the burst. Without
    it the runs of strategy `none` among `summaries` prove it.
    """
    rows = list(summaries)
    legend = "ok/s: goodput; p99: response since the intended start"
    marked = [BROKEN_NOTE] * any(run.get("broken") and run["strategy"] != CANARY for run in rows)
    table = ruled(("over", "under", "ok/s\np99", "tries\nwall"), [legend, *marked, *proof(rows, canary)])
    table.add_column("bidders\nwere told", justify="right")
    differ = len({_users(run) for run in rows}) > 1
    for run in rows:
        table.add_row(*_cells(run, differ))
    return table


def ruled(numbers: Sequence[str], caption: Sequence[str]) -> Table:
    """Return a table without rows: strategy, verdict, the columns of numbers; the lines of its caption below."""
    table = Table(box=_RULED, padding=0, show_edge=False, caption=Text("\n".join(caption)), caption_justify="left")
    table.add_column("strategy", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for title in numbers:
        table.add_column(title, justify="right", no_wrap=True)
    return table


def verdict_cell(run: Mapping[str, Any]) -> Text:
    """Return a run's verdict in its colour."""
    return Text(run["verdict"], style=_STYLES.get(run["verdict"], ""))


def reasons(summaries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one line for each run that did not pass: its name, its verdict and why."""
    differ = len({_users(run) for run in summaries}) > 1
    lines = []
    for run in summaries:
        if run["verdict"] == "pass":
            continue
        name = f"{shown_name(run)} ({_users(run)})" if differ else shown_name(run)
        lines.append(f"{name}: {run['verdict']}: {reasons_of(run)}")
    return lines


def reasons_of(run: Mapping[str, Any]) -> str:
    """Return why a run did not pass, in one line."""
    whys = run.get("reasons") or [
        f"{finding['check']}: {finding['detail']}"
        for finding in run.get("findings", [])
        if finding["verdict"] != "pass"
    ]
    return _sentences([" ".join(str(why).split()) for why in whys]) or "the run recorded no reason"


def _cells(run: Mapping[str, Any], say_users: bool) -> list[Text]:
    rates, load = run.get("rates", {}), run.get("load", {})
    name = packed(re.split(r"(?<=[-_/: ])", shown_name(run)), _NAME_WIDTH)
    if run["strategy"] == CANARY:
        name.append("(canary)")
    elif run.get("broken"):
        name[-1] += f" {BROKEN_MARK}"
    if say_users:
        name.append(_users(run))
    p99 = run.get("latency_ms", {}).get("response", {}).get("p99")
    tries, wall = _number(load.get("attempts_per_bid")), _number(load.get("wall_s"))
    return [
        Text("\n".join(name)),
        verdict_cell(run),
        Text(percent(rates.get("oversubscription"))),
        Text(percent(rates.get("undersubscription"))),
        Text(f"{rate(load.get('goodput_per_s'))}\n{duration(p99)}"),
        Text(f"{NOTHING if tries is None else f'{tries:.1f}'}\n{duration(wall and 1000 * wall)}"),
        Text("\n".join(_told(run.get("outcomes", {}))) or NOTHING),
    ]


def _told(outcomes: Mapping[str, int]) -> list[str]:
    counts = ((name, int(outcomes.get(name) or 0)) for name in HOLD_VERDICTS)
    # `ok` is always said: that nobody was served is news, that nothing was unknown is not.
    return [f"{n:,} {name.replace('_', ' ')}" for name, n in counts if outcomes and (n or name == "ok")]


def proof(rows: Sequence[Mapping[str, Any]], canary: Mapping[str, Any] | None) -> list[str]:
    """Return the caption that says whether the canary proved the bursts; nothing if there was none."""
    overs = [Sale.read(run).over for run in rows if run["strategy"] == CANARY and "tranche" in run]
    if canary is not None:
        overs = [run["oversubscription"] for run in canary.get("runs", [])]
    if not overs:
        return []
    if min(overs) > 0:
        return [f"The canary (no lock) oversold by {between(overs, percent)}: a fault would show."]
    if max(overs) > 0:
        return ["The canary (no lock) oversold in some bursts only: the others prove nothing."]
    return ["The canary (no lock) did not oversell: passes prove nothing."]


def packed(parts: Iterable[str], width: int) -> list[str]:
    """Join the parts of a name into lines of at most `width`; a part that is longer gets a longer line.

    >>> packed(["memcached-", "cas-", "retry"], 14)
    ['memcached-cas-', 'retry']
    """
    lines = [""]
    for part in parts:
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return lines


def _users(run: Mapping[str, Any]) -> str:
    return f"{int(run.get('load', {}).get('users') or 0):,} users"


def rate(per_s: float | None) -> str:
    """Word a number of bids a second."""
    if (per_s := _number(per_s)) is None:
        return NOTHING
    return f"{per_s:,.0f}" if per_s >= 10 else f"{per_s:.1f}"


def _number(value: Any) -> float | None:
    """Return a number, or None for what is missing, null or NaN."""
    return None if value is None or math.isnan(value) else float(value)


def _sentences(parts: Sequence[str]) -> str:
    """Join what may be sentences or mere phrases."""
    return " ".join(part if part.endswith(".") or part is parts[-1] else f"{part};" for part in parts)
