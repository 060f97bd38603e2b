"""What a run is going to do: validated settings, and the bids that a seed stands for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from oversold.errors import UsageError, near
from oversold.model import Tranche

MAX_USERS = 1_000_000
MAX_CAPACITY_FEN = 10**16  # 100 trillion yuan: sums of bids still fit into 64 bits


class BidSettings(BaseModel):
    """The bid pipeline's toggles and the bidders' manners. `--set key=value` changes them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    demand: float = Field(1.3, gt=0, le=1000, description="sum of all bids, in capacities")
    min_bid_fen: int | None = Field(
        None,
        ge=1,
        description="smallest bid, and the unit of all bids; default 100 yuan, less for small tranches",
    )
    arrival_s: float = Field(
        0.0, ge=0, le=3600, description="bidders arrive spread over this time; 0: all at once"
    )
    patience_s: float = Field(10.0, ge=0, le=3600, description="a bidder told busy goes on tapping this long")
    think_ms: float = Field(200.0, ge=0, le=60_000, description="mean pause between two taps of one bidder")
    steps: int = Field(12, ge=1, le=100, description="steps between reserve and confirm")
    steps_ms: float = Field(24.0, ge=0, le=60_000, description="time that all steps of one bid take together")
    p: float = Field(
        0.1, ge=0, le=1, description="chance that one of a bid's steps fails, so its hold is released"
    )
    full_when: Literal["reserved", "confirmed"] = Field(
        "reserved",
        description="the tranche is marked full when all of it is reserved, or only when confirmed",
    )
    reopen_on_release: bool = Field(
        True, description="a release re-checks the stock and takes the full mark back"
    )
    progress: Literal["row", "derived"] = Field(
        "derived", description="progress is a hot row under an optimistic lock, or derived from the orders"
    )
    progress_tries: int = Field(3, ge=1, le=100, description="tries of the progress row's optimistic lock")
    hang_s: float = Field(30.0, gt=0, le=3600, description="a strategy call that takes longer counts as hung")
    limit_s: float = Field(300.0, gt=0, le=86_400, description="the whole burst is stopped after this time")


def settings_from(preset: Mapping[str, Any], pairs: list[str]) -> BidSettings:
    """Merge a preset with `key=value` words and validate.

    Raises:
        UsageError: unknown key (with the near ones) or a value that does not fit.
    """
    values = dict(preset)
    known = list(BidSettings.model_fields)
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"--set {pair}: write key=value")
        if name not in known:
            raise UsageError(
                f"--set {name}: no such setting{near(name, known)}; there are {', '.join(known)}"
            )
        values[name] = value
    try:
        return BidSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        raise UsageError(f"{name}={values.get(name)!r}: {first['msg'].lower()}") from error


class Plan(BaseModel):
    """One run, completely: the same plan gives the same bidders, amounts and failing steps."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scenario: str
    strategy: str
    seed: int = Field(1, ge=0, lt=2**63)
    users: int = Field(2_000, ge=1, le=MAX_USERS)
    capacity_fen: int = Field(1_000_000_000, ge=1, le=MAX_CAPACITY_FEN)
    processes: int = Field(2, ge=1, le=64)
    lanes: int = Field(64, ge=1, le=4096, description="app-server workers in each process")
    rtt_s: float = Field(0.0005, ge=0, le=10)
    bids: BidSettings = BidSettings()

    @property
    def tranche(self) -> Tranche:
        """The tranche before it has an id of its own; `Assignment` gives it one."""
        return Tranche("", self.capacity_fen)

    @property
    def min_bid_fen(self) -> int:
        """The unit of all bids: as set, else 100 yuan, or about a tenth of the mean bid where that is less."""
        if self.bids.min_bid_fen is not None:
            return self.bids.min_bid_fen
        mean = self.bids.demand * self.capacity_fen / self.users
        return int(max(1, min(10_000, mean // 10)))


@dataclass(frozen=True)
class DrawnBids:
    """What the seed decides for each bid i of the plan: arrays of length `users`.

    `amount_fen` int64; `offset_ns` int64 from the gate's opening to the intended tap; `failing_step` int64,
    1-based, 0 where every step succeeds; `latency_s` float64, what all steps together take.
    """

    amount_fen: npt.NDArray[np.int64]
    offset_ns: npt.NDArray[np.int64]
    failing_step: npt.NDArray[np.int64]
    latency_s: npt.NDArray[np.float64]


def draw_bids(plan: Plan) -> DrawnBids:
    """Return the bids of a plan. The sum of the amounts is the demand asked for, up to rounding to units."""
    draw = np.random.default_rng([plan.seed, 0x0FE2])
    unit = plan.min_bid_fen
    # Amounts as people bid: many small, few large (gamma with shape 2), in whole units.
    weights = draw.gamma(2.0, size=plan.users)
    wanted = plan.bids.demand * plan.capacity_fen
    units = np.maximum(1, np.round(weights / weights.sum() * wanted / unit))
    offset = draw.uniform(0, plan.bids.arrival_s, plan.users) * 1e9
    fails = draw.uniform(size=plan.users) < plan.bids.p
    step = draw.integers(1, plan.bids.steps + 1, plan.users)
    latency = draw.uniform(0.5, 1.5, plan.users) * plan.bids.steps_ms / 1e3
    return DrawnBids(
        (units * unit).astype(np.int64),
        offset.astype(np.int64),
        np.where(fails, step, 0).astype(np.int64),
        latency,
    )


def bid_id(tranche_id: str, index: int) -> str:
    """Return the id of bid `index`; `bid_index` is its inverse."""
    return f"{tranche_id}-{index:06d}"


def bid_index(tranche_id: str, text: str, users: int) -> int:
    """Return the plan's index of a bid id found in the ledger, -1 for one that the plan does not know."""
    prefix, _, number = text.rpartition("-")
    if prefix != tranche_id or not number.isdecimal() or text != bid_id(tranche_id, int(number)):
        return -1
    return int(number) if int(number) < users else -1


def duration_s(text: str) -> float:
    """Parse `0.5ms`, `2s`, `300us` or a bare number of milliseconds, as `--rtt` takes them.

    >>> duration_s("0.5ms")
    0.0005
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(us|ms|s)?\s*", text)
    if not match:
        raise UsageError(f"{text!r} is no duration: write 0.5ms, 300us or 1s")
    return float(match[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1.0, None: 1e-3}[match[2]]
