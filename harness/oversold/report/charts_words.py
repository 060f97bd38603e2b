"""What the charts say in words: their titles and subtitles, derived from the data."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from oversold.model import yuan
from oversold.report.tables import Sale, percent

_NAMED = 3  # a title names so many strategies and counts the others


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
    if under and over:
        # The count is said already where the list names everyone.
        said.append(f"{_listed(under, sales, 'undersold ')}")
    elif under:
        said.append(f"{len(under)} of {len(designs)} designs undersold: {_listed(under, sales)}")
    proven = {sale.name for sale in sales if sale.verdict != "inconclusive"} - {*over, *under}
    unproven = len(designs) - len({*over, *under} | proven)
    if not said and not proven:
        return (
            "Nothing is proven: "
            + ("the run is" if len(sales) == 1 else f"all {len(sales)} runs are")
            + " inconclusive"
        )
    if not said:
        said.append(_sold_out(designs, sorted(proven), sales))
    return "; ".join([*said, f"{unproven} inconclusive"] if unproven else said)


def _worst(sales: Sequence[Sale], side: Literal["over", "under"]) -> dict[str, float]:
    """Return the strategies that went wrong on one side, the worst first, and their highest rates."""
    worst: dict[str, float] = {}
    for sale in sales:
        rate = sale.over if side == "over" else sale.under
        if rate > worst.get(sale.name, 0):
            worst[sale.name] = rate
    return dict(sorted(worst.items(), key=lambda item: -item[1]))


def _listed(rates: Mapping[str, float], sales: Sequence[Sale], verb: str = "") -> str:
    said = [f"{name} {verb}{_by(name, rates, sales)}" for name in list(rates)[:_NAMED]]
    if len(rates) > _NAMED:
        said.append(f"and {len(rates) - _NAMED} more")
    return ", ".join(said)


def _by(name: str, rates: Mapping[str, float], sales: Sequence[Sale]) -> str:
    several = sum(sale.name == name for sale in sales) > 1
    return f"by {'up to ' if several else ''}{percent(rates[name])}"


def _sold_out(designs: Sequence[str], proven: Sequence[str], sales: Sequence[Sale]) -> str:
    dust = [sale for sale in sales if sale.name in proven and sale.off_fen]
    if len(designs) == 1:
        return (
            f"{designs[0]} sold all but dust of {yuan(dust[0].off_fen)}"
            if dust
            else f"{designs[0]} sold exactly"
        )
    who = f"All {len(designs)}" if len(proven) == len(designs) else f"{len(proven)} of {len(designs)}"
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
        _span([1000 * rtt for rtt in load("rtt_s")], "rtt {} ms", "{:g}".format),
        _span(seeds, "seed {}", str),
    ]
    return "  ·  ".join(part for part in parts if part)


def _span(values: Sequence[Any], template: str, word: Callable[[Any], str]) -> str:
    """Word one value, or the least and the greatest of several; nothing for none."""
    if not values:
        return ""
    least, greatest = min(values), max(values)
    return template.format(word(least) if least == greatest else f"{word(least)} to {word(greatest)}")
