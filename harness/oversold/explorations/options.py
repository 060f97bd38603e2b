"""What is asked of an exploration, on the command line or by a test: read, checked, filled up with defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from oversold.errors import UsageError, near
from oversold.explorations import questions
from oversold.explorations.questions import Exploration
from oversold.explore.crowd import Crowd
from oversold.explore.explorer import Limits
from oversold.explore.subject import Scenario
from oversold.options import duration, whole
from oversold.plan import Kind

MOST = {"bidders": 64, "bids_each": 16, "capacity": 10_000, "faults": 2}
FAULTS = {"bids": 0, "payouts": 1}
ACTORS = {"bids": 3, "payouts": 2}


@dataclass(frozen=True)
class Typed:
    """The words as they were given, None where nothing was; `bidders` are the workers of payouts."""

    strategy: str
    bidders: str | None = None
    capacity_bids: str | None = None
    shares: str | None = None
    faults: str | None = None
    budget: str = "30s"
    mode: str = "exhaustive"
    checks: tuple[str, ...] = ()
    seed: str | None = None
    sql: str | None = None
    store: str = "real"
    pauses: bool = True
    bids_each: str | None = None


def exploration_of(typed: Typed, kind: Kind, code: type[Any] | None = None) -> Exploration:
    """Return what the words ask for; `code` is the strategy's class, where the caller has it.

    Raises:
        UsageError: a word that means nothing here.
    """
    limits = Limits(
        faults=_whole("--faults", typed.faults, FAULTS[kind], 0, MOST["faults"]),
        budget_s=duration("--budget", typed.budget),
        mode=one_of("--mode", typed.mode, ("exhaustive", "hunt")),
        checks=_checks(kind, typed.checks),
        seed=_whole("--seed", typed.seed, 1, 0, 2**32),
    )
    store = one_of("--store", typed.store, ("real", "fake"))
    sql = one_of("--sql", typed.sql or "postgres", ("postgres", "mariadb"))
    scenario = _scenario(kind, typed)
    return Exploration(typed.strategy, kind, scenario, limits, store, sql, code, _smaller(typed, scenario, limits))


def _smaller(typed: Typed, scenario: Scenario, limits: Limits) -> Scenario | None:
    """Return the sale of one share to as many; None where its size was given, or is no matter.

    Whoever is told busy leaves. Where one share fewer is for sale than is wanted, one who left takes all scarcity
    along: what begins with somebody's being told busy shows in a smaller sale only.
    """
    scarce = not limits.checks or "oversubscription" in limits.checks
    if typed.capacity_bids is not None or limits.mode == "hunt" or not scarce:
        return None
    return {**scenario, "capacity_bids": 1} if int(scenario.get("capacity_bids", 1)) > 1 else None


def _scenario(kind: Kind, typed: Typed) -> Scenario:
    if kind == "payouts":
        for name, given in (
            ("--capacity-bids", typed.capacity_bids),
            ("--shares", typed.shares),
            ("--bids-each", typed.bids_each),
        ):
            if given is not None:
                raise UsageError(f"{name} means nothing to payouts: leave it out")
        workers = _whole("--workers", typed.bidders, ACTORS[kind], 1, MOST["bidders"])
        return {"workers": workers, "obligations": 1, "channels": "A,B", **({} if typed.pauses else {"pauses": 0})}
    if not typed.pauses:
        raise UsageError("--no-pauses means nothing to bids: leave it out")
    number = _whole("--bidders", typed.bidders, ACTORS[kind], 1, MOST["bidders"])
    bids_each = _whole("--bids-each", typed.bids_each, 1, 1, MOST["bids_each"])
    scarce = max(1, number * bids_each - 1)
    capacity = _whole("--capacity-bids", typed.capacity_bids, scarce, 1, MOST["capacity"])
    each = [_whole("--shares", word.strip(), 1, 1, MOST["capacity"]) for word in (typed.shares or "1").split(",")]
    crowd = Crowd(number, capacity, tuple(each), bids_each)
    _worth_it(crowd, typed.checks)
    return crowd.scenario


def _worth_it(crowd: Crowd, checks: tuple[str, ...]) -> None:
    """Refuse a search for overselling where nothing can be oversold: it would look like a proof."""
    wanted, capacity = [crowd.wanted(bid) for bid in range(crowd.bids)], crowd.capacity_bids
    if checks and "oversubscription" not in checks:
        return
    if min(wanted) > capacity:
        raise UsageError(f"nobody's bid fits into {capacity} shares: raise --capacity-bids, or lower --shares")
    if sum(wanted) <= capacity:
        raise UsageError(
            f"all bids together come to {sum(wanted)} of {capacity} shares, so nothing can be oversold: give more "
            "--bidders, fewer --capacity-bids, or another --check"
        )


def _whole(option: str, text: str | None, default: int, low: int, high: int) -> int:
    return default if text is None else whole(option, text, low, high)


def one_of(option: str, given: str, known: tuple[str, ...]) -> Any:
    """Return what was given; UsageError when it is none of those known."""
    if given not in known:
        raise UsageError(f"{option} {given}: use {' or '.join(known)}")
    return given


def _checks(kind: Kind, names: tuple[str, ...]) -> tuple[str, ...]:
    known = questions.checks(kind)
    for name in names:
        if name not in known:
            raise UsageError(f"--check {name}: unknown{near(name, known)}: there are {', '.join(known)}")
    return tuple(dict.fromkeys(names))
