"""The phrases that titles, subtitles and captions are put together from, of bids and of payouts alike."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

Number = TypeVar("Number", int, float)


def between(values: Sequence[Any], word: Callable[[Any], str]) -> str:
    """Word the least and the greatest of some values, or the one that both read as.

    >>> between([64, 72], str), between([0.5001, 0.5002], "{:.1f}".format)
    ('64 to 72', '0.5')
    """
    least, greatest = word(min(values)), word(max(values))
    return least if least == greatest else f"{least} to {greatest}"


def span(values: Sequence[Any], template: str, word: Callable[[Any], str]) -> str:
    """Put one value, or the least and the greatest of several, into a template; nothing for none."""
    return template.format(between(values, word)) if values else ""


def made_under(runs: Sequence[Mapping[str, Any]], *matter: str) -> str:
    """Join what the runs were about with what they were made under: lanes, processes, network delay, seed."""
    simulated = [run for run in runs if not is_service(run)]  # a service of somebody's has a network of its own
    seeds = [run["seed"] for run in runs if run.get("seed") is not None]
    parts = [
        *matter,
        _path(runs),
        span(recorded(runs, "load", "lanes"), "{} lanes", "{:,}".format),
        span(recorded(runs, "load", "processes"), "{} processes", str),
        span(recorded(simulated, "load", "rtt_ms"), "rtt {} ms", "{:g}".format),
        span(seeds, "seed {}", str),
    ]
    return "  ·  ".join(part for part in parts if part)


def _path(runs: Sequence[Mapping[str, Any]]) -> str:
    """Say that services were driven, and whether their own word is all that there is."""
    over, claims = sum(bool(run.get("http")) for run in runs), sum(only_claims(run) for run in runs)
    if not over:
        return ""
    said = "over HTTP" if over == len(runs) else f"{over} of {len(runs)} runs over HTTP"
    if not claims:
        return said
    return f"{said}, claims only" if claims == len(runs) else f"{said}, {claims} of them claims only"


def is_service(run: Mapping[str, Any]) -> bool:
    """Tell whether a run is of somebody's running service, described by a TOML file."""
    return str(run.get("strategy", "")).endswith(".toml")


def only_claims(run: Mapping[str, Any]) -> bool:
    """Tell whether a run is of a service without a ledger: what it sold is what its bidders were told."""
    return bool(run.get("http")) and not run["http"].get("ledger")


def by_whom(run: Mapping[str, Any]) -> str:
    """Say where the sum of what was sold is from."""
    return "by its own claims" if only_claims(run) else "by the ledger"


def unanswered(run: Mapping[str, Any]) -> str:
    """Say what the ledger knows of the bids that got no answer over HTTP; nothing where there are none."""
    http = run.get("http") or {}
    if not (count := http.get("unknown")):
        return ""
    said = f"{count:,} {'bid' if count == 1 else 'bids'} got no answer"
    ordered = http.get("ordered")
    if only_claims(run) or ordered is None:
        return f"{said}, and nobody knows what became of them"
    some = f"{ordered:,}" if ordered else "none"
    return f"{said}, and {some} of them {'has' if ordered == 1 else 'have'} an order"


def recorded(runs: Sequence[Mapping[str, Any]], part: str, key: str) -> list[Any]:
    """Return a number of one part of the summaries, of those runs that have it and where it is not zero."""
    return [run[part][key] for run in runs if run.get(part, {}).get(key)]


def worst_first(told: Iterable[tuple[str, Number]]) -> dict[str, Number]:
    """Return the names with their greatest number above zero, the greatest first.

    >>> worst_first([("a", 1), ("b", 0), ("c", 3), ("a", 2)])
    {'c': 3, 'a': 2}
    """
    worst: dict[str, Number] = {}
    for name, number in told:
        if number > worst.get(name, 0):
            worst[name] = number
    return dict(sorted(worst.items(), key=lambda item: -item[1]))


def all_or(number: int, of: int) -> str:
    """Say how many there are of so many.

    >>> all_or(2, 5), all_or(2, 2), all_or(5, 5)
    ('2 of 5', 'Both', 'All 5')
    """
    if number < of:
        return f"{number} of {of}"
    return "Both" if number == 2 else f"All {number}"


def clauses(said: Sequence[str], inconclusive: int) -> str:
    """Join the clauses of a title, and say at its end how many designs are inconclusive."""
    return "; ".join([*said, f"{inconclusive} inconclusive"] if inconclusive else said)


def nothing_proven(runs: int) -> str:
    """Say that so many runs are all inconclusive."""
    return f"Nothing is proven: {'the run is' if runs == 1 else f'all {runs} runs are'} inconclusive"


def listed(checks: Sequence[str]) -> str:
    """Word the names of checks.

    >>> listed(["hold_leak", "missed"])
    'hold leak, missed'
    """
    return ", ".join(checks).replace("_", " ")
