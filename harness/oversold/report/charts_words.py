"""What the bid charts say in words: their titles and subtitles, derived from the data."""

from collections.abc import Mapping, Sequence
from typing import Any

from oversold.model import yuan
from oversold.report.cells import Cell, Spread, loads, strategies
from oversold.report.phrases import (
    all_or,
    between,
    clauses,
    made_under,
    nothing_proven,
    recorded,
    span,
    worst_first,
)
from oversold.report.tables import BROKEN_NOTE, Sale, percent, rate

MILLION = 1_000_000
_NAMED = 2  # a title names so many strategies and counts the others
_ALL_NAMED = 24  # of more strategies than these a title names none
_LEVEL_NAMED = 3  # so many designs that are as fast as one another are named
_MARGIN = 0.05


def headline(sales: Sequence[Sale]) -> str:
    """Say which designs over- or undersold, the worst first; of several runs of one the worst counts."""
    designs = list(dict.fromkeys(sale.name for sale in sales))
    over = worst_first((sale.name, sale.over) for sale in sales)
    short = worst_first((sale.name, sale.under) for sale in sales)
    if len(designs) == 1 and (over or short):
        verb, rates = ("oversold", over) if over else ("undersold", short)
        return f"{designs[0]} {verb} {_by(designs[0], rates, sales)}"
    if len(designs) > _ALL_NAMED and (over or short):
        counted = [(rates, verb) for rates, verb in ((over, "oversold"), (short, "undersold")) if rates]
        said = [f"{len(rates)} {verb} by up to {percent(max(rates.values()))}" for rates, verb in counted]
        said[0] = said[0].replace(" ", f" of {len(designs)} designs ", 1)
        return clauses([", ".join(said)], len({sale.name for sale in sales if sale.verdict == "inconclusive"}))
    said = []
    if over:
        said.append(f"{len(over)} of {len(designs)} designs oversold: {_listed(over, sales)}")
    if short and not over:
        said.append(f"{len(short)} of {len(designs)} designs undersold: {_listed(short, sales)}")
    elif len(short) > 1:
        said.append(f"{len(short)} undersold: {_listed(short, sales)}")
    elif short:
        said.extend(f"{name} undersold {_by(name, short, sales)}" for name in short)
    unproven = {sale.name for sale in sales if sale.verdict == "inconclusive"}
    right = [name for name in designs if name not in {*over, *short, *unproven}]
    if not said and not right:
        return nothing_proven(len(sales))
    if not said:
        said.append(_sold_out(designs, right, sales))
    return clauses(said, len(unproven))


def _listed(rates: Mapping[str, float], sales: Sequence[Sale]) -> str:
    said = ", ".join(f"{name} {_by(name, rates, sales)}" for name in list(rates)[:_NAMED])
    return f"{said} and {len(rates) - _NAMED} more" if len(rates) > _NAMED else said


def _by(name: str, rates: Mapping[str, float], sales: Sequence[Sale]) -> str:
    several = sum(sale.name == name for sale in sales) > 1
    return f"by {'up to ' if several else ''}{percent(rates[name])}"


def _sold_out(designs: Sequence[str], right: Sequence[str], sales: Sequence[Sale]) -> str:
    dust = [sale for sale in sales if sale.name in right and sale.off_fen]
    if len(designs) == 1:
        return (
            f"{designs[0]} sold all but dust of {yuan(dust[0].off_fen)}" if dust else f"{designs[0]} sold exactly"
        )
    return f"{all_or(len(right), len(designs))} designs sold exactly{' or all but dust' if dust else ''}"


def conditions(runs: Sequence[Mapping[str, Any]]) -> str:
    """Say under what conditions the runs were made: users, capacity, lanes, network delay, seed."""
    return made_under(
        runs,
        span(recorded(runs, "load", "users"), "{} users", "{:,}".format),
        span([run["tranche"]["capacity_fen"] for run in runs], "capacity {}", yuan),
    )


def conditions_of(cells: Sequence[Cell], per_mark: str, several: int = 0) -> str:
    """Say the conditions of all runs, and what a mark shows of several, such as `each bar the worst`.

    `several` is how many runs a mark stands for at most, if they are not those of one cell.
    """
    said = conditions([run for cell in cells for run in cell.runs])
    several = several or max(len(cell.runs) for cell in cells)
    parts = [said, f"{per_mark} of {several} runs" if several > 1 else "", broken_note(cells)]
    return "  ·  ".join(part for part in parts if part)


def together(names: Sequence[str]) -> str:
    """Join names into a subject; of more than three the others are counted.

    >>> together(["a"]), together(["a", "b"]), together(["a", "b", "c", "d", "e"])
    ('a', 'a and b', 'a, b, c and 2 more')
    """
    said = list(names[:_LEVEL_NAMED])
    if len(names) > _LEVEL_NAMED:
        said.append(f"{len(names) - _LEVEL_NAMED} more")
    return " and ".join([", ".join(said[:-1]), said[-1]] if said[1:] else said)


def about(cells: Sequence[Cell]) -> str:
    """Word the mean goodput of cells that are level: one number, or from where to where if it takes two.

    Of several it is rounded to three digits.
    """
    means = [cell.goodput.mean for cell in cells]
    if len(means) == 1:
        return rate(means[0])
    if level(min(means), max(means)):
        return f"about {_rounded(sum(means) / len(means))}"
    return between(means, _rounded)


def _rounded(per_s: float) -> str:
    return rate(float(f"{per_s:.3g}"))


def level(one: float, other: float) -> bool:
    """Return whether two numbers are less than 5 % of the larger apart, which no run can tell from luck.

    >>> level(2269, 2170), level(2269, 2100)
    (True, False)
    """
    return min(one, other) >= (1 - _MARGIN) * max(one, other)


def fastest_of(cells: Sequence[Cell]) -> list[Cell]:
    """Return those of some cells of one load that are level with the best, most goodput first.

    Their mean is level with its mean, or the ranges of their runs overlap: what the seeds themselves differ by is
    no lead. Cells without a goodput are left out.
    """
    told = sorted((cell for cell in cells if cell.goodput.count), key=lambda cell: -cell.goodput.mean)
    best = told[0].goodput if told else Spread.of([])
    return [cell for cell in told if level(cell.goodput.mean, best.mean) or cell.goodput.high >= best.low]


def broken_note(cells: Sequence[Cell]) -> str:
    """Return what the mark on designs that are broken on purpose means; nothing where there is none."""
    return BROKEN_NOTE if any(cell.broken and not cell.canary for cell in cells) else ""


def left_out(why: str, names: Sequence[str]) -> str:
    """Say at the end of a subtitle which designs are not drawn, and why; nothing for none.

    >>> left_out("without an answer", ["a", "b"])
    '  ·  without an answer: a, b'
    """
    return f"  ·  {why}: {', '.join(names)}" if names else ""


def matrix_headline(cells: Sequence[Cell]) -> str:
    """Say how many designs over- or undersold under any load, and how many of them only under the larger ones."""
    designs = strategies(cells)
    over = {cell.strategy for cell in cells if cell.over.high > 0}
    under = {cell.strategy for cell in cells if cell.under.high > 0}
    other = {cell.strategy for cell in cells if cell.verdict == "fail"} - over - under
    doubtful = {cell.strategy for cell in cells if cell.verdict == "inconclusive"} - over - under - other
    counted = [(over, "oversold"), (under, "undersold"), (other, "failed another check")]
    said = [f"{len(names)} {verb}" for names, verb in counted if names]
    all_loads = loads(cells)
    where = f"at {all_loads[0].label}" if len(all_loads) == 1 else "under some load"
    if len(designs) == 1:
        return f"{cells[0].label} {_alone(cells)}"
    if not said:
        right = len(designs) - len(doubtful)
        if not right:
            return nothing_proven(sum(len(cell.runs) for cell in cells))
        where = where if len(all_loads) == 1 else "under every load"
        said = [f"{all_or(right, len(designs))} designs sold exactly or all but dust {where}"]
        return clauses(said, len(doubtful))
    first = said[0].replace(" ", f" of {len(designs)} designs ", 1)
    return clauses([f"{', '.join([first, *said[1:]])} {where}", *_late(cells)], len(doubtful))


def _alone(cells: Sequence[Cell]) -> str:
    """Say what became of one design under all its loads."""
    rates = [(Spread.of([getattr(cell, side).high for cell in cells]).high, side) for side in ("over", "under")]
    wrong = [
        f"{side}sold by {'up to ' if len(cells) > 1 else ''}{percent(rate)}" for rate, side in rates if rate > 0
    ]
    if not wrong and any(cell.verdict == "fail" for cell in cells):
        wrong = ["sold exactly or all but dust, but failed another check"]
    if not wrong and any(cell.verdict != "pass" for cell in cells):
        return "is not proven under every load" if len(cells) > 1 else "is not proven"
    every = " under every load" if len(cells) > 1 else ""
    return "; ".join([" and ".join(wrong) or f"sold exactly or all but dust{every}", *_late(cells)])


def _late(cells: Sequence[Cell]) -> list[str]:
    """Say how many of the designs that broke were still sound with the fewest users, where that was tried."""
    fewest = min(cell.load.users for cell in cells)
    failing = {cell.strategy for cell in cells if cell.verdict == "fail"}
    tried = {cell.strategy for cell in cells if cell.load.users == fewest}
    early = {cell.strategy for cell in cells if cell.verdict == "fail" and cell.load.users == fewest}
    late = len((failing & tried) - early)
    if not late:
        return []
    return [
        f"{late} of them only with more than {fewest:,} users"
        if len(failing) > 1
        else f"only with more than {fewest:,} users"
    ]


def amount(fen: int, capacity_fen: int) -> str:
    """Word an amount in the unit of its chart, with as many digits as tell it from the capacity.

    >>> amount(983_000_000, 1_000_000_000), amount(999_660_000, 1_000_000_000), amount(150, 30_000)
    ('9.83', '9.997', '1.50')
    """
    unit = 100 * MILLION if capacity_fen >= 100 * MILLION else 100
    if unit == 100:
        return yuan(fen).removesuffix(" yuan")
    for digits in range(2, 8):
        said = f"{fen / unit:,.{digits}f}"
        if fen == capacity_fen or said != f"{capacity_fen / unit:,.{digits}f}":
            break
    return said


def moment(ns: int) -> str:
    """Word a moment since the gate opened: ms in the first second, then seconds with two decimals."""
    return f"{ns / 1e6:.0f} ms" if ns < 995_000_000 else f"{ns / 1e9:,.2f} s"


def fate(sale: Sale, filled_at: int | None, *, ended_full: bool, marked: bool) -> str:
    """Say what became of a sale.

    `filled_at` is when the ledger held the capacity (ns, None if never), `marked` whether the tranche was ever
    marked full, `ended_full` whether it still was in the end.
    """
    if sale.confirmed_fen is None:
        return "the ledger is lost"
    unit = "million yuan" if sale.capacity_fen >= 100 * MILLION else "yuan"
    whole = amount(sale.capacity_fen, sale.capacity_fen)
    sold = f"{amount(sale.confirmed_fen, sale.capacity_fen)} of {whole} {unit}"
    doubtful = sale.verdict == "inconclusive"
    if sale.over:
        said = f"oversold by {percent(sale.over)}"
        said += f" after it was full at {moment(filled_at)}" if filled_at is not None else ""
    elif sale.under and ended_full:
        said = f"marked full and stayed so at {sold}"
    elif sale.under:
        said = f"undersold, {'reopened in vain' if marked else 'never marked full'}: {sold} sold"
    elif filled_at is not None:
        said = f"full at {moment(filled_at)}, sold exactly"
    elif doubtful:
        said = f"{sold} sold"
    else:
        said = f"sold all but dust of {yuan(sale.off_fen)}"
    return f"{said} (inconclusive)" if doubtful else said
