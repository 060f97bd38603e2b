"""What is asked of an exploration: a strategy, a scenario, limits."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from oversold.checkers import CHECKERS, payouts
from oversold.errors import UsageError
from oversold.explore.bidding import NOT_SEEN
from oversold.explore.explorer import Limits
from oversold.explore.stage import Store
from oversold.explore.subject import Scenario
from oversold.plan import Kind, Sql
from oversold.strategies import registry
from oversold.strategies.payouts import composed


@dataclass(frozen=True)
class Exploration:
    """What is asked: a strategy in a scenario, within limits, on real stores or on fakes. `code` is the strategy's
    class where the asker has it; else it is loaded by its name."""

    strategy: str
    kind: Kind
    scenario: Scenario
    limits: Limits
    store: Store = "real"
    sql: Sql = "postgres"
    code: type[Any] | None = None
    smaller: Scenario | None = None  # what is explored as well when no schedule of the scenario breaks anything

    @property
    def loaded(self) -> type[Any]:
        """The strategy's class."""
        return self.code or registry.load(self.strategy, self.kind)


def kind_of(strategy: str) -> Kind:
    """Return what a strategy is about; of a class in a file, by its methods.

    Raises:
        UsageError: unknown, or a service, which runs where nobody can hold it back.
    """
    if strategy.endswith(".toml"):
        raise UsageError(
            f"{strategy} describes a running service, whose store commands nobody here can hold back: explore the "
            "strategy class behind it (path.py:Class)"
        )
    if ".py:" in strategy:
        try:
            registry.load(strategy, "bids")
        except UsageError:
            try:
                registry.load(strategy, "payouts")
            except UsageError:
                registry.load(strategy, "bids")  # says what it lacks
            return "payouts"
        return "bids"
    if strategy in registry.names("bids"):
        return "bids"
    halves = (*composed.LOCKS, *composed.POLICIES)  # whoever writes one of them means the whole
    return "payouts" if "+" in strategy or strategy in (*registry.names("payouts"), *halves) else "bids"


def command(asked: Exploration) -> str:
    """Return the command that repeats an exploration."""
    numbers, limits = asked.scenario, asked.limits
    words = ["oversold", "explore", asked.strategy]
    if asked.kind == "payouts":
        words += ["--workers", str(numbers["workers"])]
        words += [] if numbers.get("pauses", 1) else ["--no-pauses"]
    else:
        words += ["--bidders", str(numbers["bidders"]), "--capacity-bids", str(numbers["capacity_bids"])]
        words += ["--bids-each", str(numbers["bids_each"])] if numbers.get("bids_each", 1) != 1 else []
        words += [] if numbers["shares"] == "1" else ["--shares", str(numbers["shares"])]
    words += ["--faults", str(limits.faults), "--budget", f"{limits.budget_s:g}s"]
    words += [] if limits.mode == "exhaustive" else ["--mode", limits.mode]
    words += [word for check in limits.checks for word in ("--check", check)]
    words += [] if limits.seed == 1 else ["--seed", str(limits.seed)]
    words += [] if asked.sql == "postgres" else ["--sql", asked.sql]
    words += [] if asked.store == "real" else ["--store", asked.store]
    return shlex.join(words)


def burst(asked: Exploration) -> str:
    """Return the command that runs the same design live."""
    scenario = "payout-overlap" if asked.kind == "payouts" else "bid-burst"
    words = ["oversold", "run", scenario, "--strategy", asked.strategy]
    words += [] if asked.sql == "postgres" else ["--sql", asked.sql]
    return shlex.join(words)


def checks(kind: Kind) -> list[str]:
    """Return the names of the promises that can be searched for."""
    if kind == "payouts":
        return [check.__name__ for check in payouts.CHECKERS]
    return [check.__name__ for check in CHECKERS if check.__name__ not in NOT_SEEN]
