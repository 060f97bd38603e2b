"""What the charts say in words: their titles and subtitles, derived from the data."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from oversold.model import yuan
from oversold.report.tables import Sale, percent

MILLION = 1_000_000
_NAMED = 2  # a title names so many strategies and counts the others


def headline(sales: Sequence[Sale]) -> str:
    """Say which designs over- or undersold, the worst first; of several runs of one the worst counts."""
    designs = list(dict.fromkeys(sale.name for sale in sales))
    over, under = _worst(sales, "over"), _worst(sales, "under")
    if len(designs) == 1 and (over or under):
        verb, rates = ("oversold", over) if over else ("undersold", under)
        return f"{designs[0]} {verb} {_by(designs[0], rates, sales)}"
    said = []
    if over:
        said.append(f"{len(over)} of {len(designs)} designs oversold: {_listed(over, sales)}")
    if under and not over:
        said.append(f"{len(under)} of {len(designs)} designs undersold: {_listed(under, sales)}")
    elif len(under) > 1:
        said.append(f"{len(under)} undersold: {_listed(under, sales)}")
    elif under:
        said.extend(f"{name} undersold {_by(name, under, sales)}" for name in under)
    unproven = {sale.name for sale in sales if sale.verdict == "inconclusive"}
    right = [name for name in designs if name not in {*over, *under, *unproven}]
    if not said and not right:
        runs = "the run is" if len(sales) == 1 else f"all {len(sales)} runs are"
        return f"Nothing is proven: {runs} inconclusive"
    if not said:
        said.append(_sold_out(designs, right, sales))
    return "; ".join([*said, f"{len(unproven)} inconclusive"] if unproven else said)


def _worst(sales: Sequence[Sale], side: Literal["over", "under"]) -> dict[str, float]:
    """Return the strategies that went wrong on one side, the worst first, and their highest rates."""
    worst: dict[str, float] = {}
    for sale in sales:
        rate = sale.over if side == "over" else sale.under
        if rate > worst.get(sale.name, 0):
            worst[sale.name] = rate
    return dict(sorted(worst.items(), key=lambda item: -item[1]))


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
    everyone = "Both" if len(designs) == 2 else f"All {len(designs)}"
    who = everyone if len(right) == len(designs) else f"{len(right)} of {len(designs)}"
    return f"{who} designs sold exactly{' or all but dust' if dust else ''}"


def conditions(runs: Sequence[Mapping[str, Any]]) -> str:
    """Say under what conditions the runs were made: users, capacity, lanes, network delay, seed."""

    def load(key: str) -> list[Any]:
        return [run["load"][key] for run in runs if run["load"].get(key)]

    seeds = [run["seed"] for run in runs if run.get("seed") is not None]
    parts = [
        _span(load("users"), "{} users", "{:,}".format),
        _span([run["tranche"]["capacity_fen"] for run in runs], "capacity {}", yuan),
        _span(load("lanes"), "{} lanes", "{:,}".format),
        _span(load("processes"), "{} processes", str),
        _span(load("rtt_ms"), "rtt {} ms", "{:g}".format),
        _span(seeds, "seed {}", str),
    ]
    return "  ·  ".join(part for part in parts if part)


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


def _span(values: Sequence[Any], template: str, word: Callable[[Any], str]) -> str:
    """Word one value, or the least and the greatest of several; nothing for none."""
    if not values:
        return ""
    least, greatest = min(values), max(values)
    return template.format(word(least) if least == greatest else f"{word(least)} to {word(greatest)}")
