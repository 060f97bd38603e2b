"""The sound designs that are mutated, and the numbers with which each mutant is explored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from oversold.explore.stage import Store
from oversold.explore.subject import Scenario
from oversold.plan import Kind
from oversold.strategies import registry

# Numbers of a module that would keep a few bidders from ever meeting: sixteen buckets for one share.
SMALL: Mapping[str, Mapping[str, int]] = {"buckets": {"BUCKETS": 1}}
NO_SEAM = {"rabbitmq"}
# Each claim lock under one policy, each settlement policy under one lock.
PAYOUTS = (
    "cas+state-machine",
    "row-lock+state-machine",
    "lease-fenced+state-machine",
    "queue+state-machine",
    "cas+retry-same-key",
    "cas+query-then-retry",
    "cas+failover-after-proof",
)


# The known hole of these is a pause that outlasts a lock, or lies between a worker's note and its call. Pauses are
# not explored with them: what the design itself shows is not held against its mutants.
PAUSED = frozenset({"memcached-lock", "redis-lock", "redlock", *PAYOUTS})


@dataclass(frozen=True)
class Phase:
    """One exploration of a mutant: the scenario, the faults, and after how many schedules it ends at last."""

    scenario: Scenario
    faults: int
    schedules: int

    @property
    def for_originals(self) -> int:
        """After how many schedules it ends for a sound design: what that shows is not held against its mutants."""
        return max(self.schedules, 1_500) if self.faults else self.schedules


def bids(bidders: int, capacity_bids: int, shares: str, faults: int, schedules: int, bids_each: int = 1) -> Phase:
    """Return a phase about bids."""
    words: Scenario = {"bidders": bidders, "capacity_bids": capacity_bids, "shares": shares}
    return Phase({**words, "bids_each": bids_each} if bids_each > 1 else words, faults, schedules)


def payouts(workers: int, faults: int, schedules: int, visibility_s: int = 0, obligations: int = 1) -> Phase:
    """Return a phase about payouts."""
    words = {"channels": "A,B", "visibility_s": visibility_s, "key_life_s": 86_400}
    return Phase({"workers": workers, "obligations": obligations, **words}, faults, schedules)


# In the order in which they are explored. A new one belongs at the end: what has survived goes on with it.
PHASES: Mapping[Kind, tuple[Phase, ...]] = {
    "bids": (
        bids(2, 1, "1", 0, 100),
        bids(2, 2, "1,2", 0, 100),
        bids(3, 2, "1", 0, 150),
        bids(2, 1, "1", 1, 1_000),
        bids(2, 2, "1", 2, 300),
        # What was given back twice shows when somebody wants more than there was.
        bids(2, 1, "1,2", 2, 300),
        # What a bid leaves behind meets the next one over the same connection.
        bids(2, 3, "1", 0, 150, bids_each=2),
    ),
    "payouts": (
        payouts(1, 0, 5, visibility_s=60),
        payouts(2, 0, 60),
        payouts(1, 1, 150),
        payouts(2, 1, 150),
        payouts(1, 2, 100),
        # And what a worker leaves behind meets the next obligation.
        payouts(2, 0, 100, obligations=2),
    ),
}


def names() -> list[str]:
    """Return the designs whose mutants are made: those not broken on purpose over stores that can be explored."""
    found = [name for name in registry.BID_STRATEGIES if _sound(name)]
    return [*found, *PAYOUTS]


def kind(name: str) -> Kind:
    """Return what a design is about."""
    return "payouts" if name in PAYOUTS else "bids"


def store(name: str, wished: Store) -> Store:
    """Return on what a design is explored: there is no fake of SQL."""
    found = registry.load(name, kind(name)).stores
    return wished if kind(name) == "bids" and found <= {"redis", "memcached", "redlock"} else "real"


def _sound(name: str) -> bool:
    found = registry.load_bids(name)
    return not getattr(found, "broken", False) and not NO_SEAM & found.stores
