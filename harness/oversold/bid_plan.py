"""What a burst of bids is going to do: validated settings, and the bids that a seed stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from oversold.plan import MAX_USERS, Plan

CANARY = "none"
LEDGER_CONNECTIONS = 8  # of one app-server process, shared by its lanes
MAX_OFFERED_FEN = 10**18
MAX_CAPACITY_FEN = 10**16  # 100 trillion yuan: sums of bids still fit into 64 bits


class BidSettings(BaseModel):
    """The bid pipeline's toggles and the bidders' manners. `--set key=value` changes them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    demand: float = Field(1.3, gt=0, le=1000, description="sum of all bids, in capacities")
    min_bid_fen: int | None = Field(
        None,
        ge=1,
        le=10**16,
        description="smallest bid, and the unit of all bids; default: a round sum below the mean bid",
    )
    arrival_s: float = Field(
        0.0, ge=0, le=3600, description="bidders arrive spread over this time; 0: all at once"
    )
    late: float = Field(0.15, ge=0, le=1, description="share of the bidders that come late, one by one")
    late_s: float | None = Field(
        None, ge=0, le=3600, description="they come within this time; default: 1.75 times what the lanes need"
    )
    patience_s: float = Field(10.0, ge=0, le=3600, description="a bidder told busy goes on tapping this long")
    think_ms: float = Field(200.0, ge=0, le=60_000, description="mean pause between two taps of one bidder")
    steps: int = Field(12, ge=1, le=100, description="steps between reserve and confirm")
    steps_ms: float = Field(24.0, ge=0, le=60_000, description="time that all steps of one bid take together")
    fail_ms: float = Field(
        150.0, ge=0, le=60_000, description="what a failing step takes besides: most failures are time-outs"
    )
    p: float = Field(
        0.1, ge=0, le=1, description="chance that one of a bid's steps fails, so its hold is released"
    )
    full_when: Literal["reserved", "confirmed"] = Field(
        "reserved",
        description="the tranche is marked full when all of it is reserved, or only when confirmed",
    )
    reopen_on_release: bool = Field(True, description="a release re-checks the stock and takes the full mark back")
    progress: Literal["row", "derived"] = Field(
        "derived", description="progress is a hot row under an optimistic lock, or derived from the orders"
    )
    progress_tries: int = Field(3, ge=1, le=100, description="tries of the progress row's optimistic lock")
    hang_s: float = Field(30.0, gt=0, le=3600, description="a strategy call that takes longer counts as hung")
    limit_s: float = Field(300.0, gt=0, le=86_400, description="the whole burst is stopped after this time")


class BidPlan(Plan):
    """One burst of bids, completely: the same plan gives the same bidders, amounts and failing steps."""

    kind: Literal["bids"] = "bids"
    users: int = Field(2_000, ge=1, le=MAX_USERS)
    capacity_fen: int = Field(1_000_000_000, ge=1, le=MAX_CAPACITY_FEN)
    lanes: int = Field(64, ge=1, le=4096, description="app-server workers in each process")
    http: bool = Field(False, description="driven over HTTP: a service, or a strategy behind `oversold serve`")
    bids: BidSettings = BidSettings()

    @property
    def settings(self) -> BidSettings:
        """What `--set` changes."""
        return self.bids

    @property
    def connections(self) -> int:
        """How many connections one process opens to one server."""
        return self.lanes + LEDGER_CONNECTIONS + 1

    @property
    def expected_s(self) -> float:
        """About how long a run takes: the start of Locust, the burst, the audit."""
        return 5 + self.bids.arrival_s + 2 * self.late_s

    @property
    def canary(self) -> Self:
        """The same burst on no lock at all."""
        return self.model_copy(update={"strategy": CANARY, "sql": "postgres"})

    @model_validator(mode="after")
    def _fits_64_bits(self) -> BidPlan:
        offered = self.users * max(self.mean_bid_fen, self.min_bid_fen)
        if max(offered, self.mean_bid_fen / self.min_bid_fen) > MAX_OFFERED_FEN:
            raise ValueError(
                f"all bids together come to {offered:.3g} fen: choose a smaller capacity, demand or bid"
            )
        return self

    @property
    def min_bid_fen(self) -> int:
        """The unit of all bids: as set, else the largest 1, 2 or 5 times a power of ten below the mean bid."""
        if self.bids.min_bid_fen is not None:
            return self.bids.min_bid_fen
        mean = self.mean_bid_fen
        power = 10 ** max(0, len(str(int(mean))) - 1)
        return next((factor * power for factor in (5, 2, 1) if factor * power <= mean), 1)

    @property
    def mean_bid_fen(self) -> float:
        """What a bid asks for on average."""
        return self.bids.demand * self.capacity_fen / self.users

    @property
    def late_s(self) -> float:
        """The time in which late bidders come. They must still come when the tranche is full, or nobody is
        there to be turned away by a mark that should have been taken back."""
        if self.bids.late_s is not None:
            return self.bids.late_s
        hold_s = (self.bids.steps_ms + self.bids.p * self.bids.fail_ms) / 1e3
        return max(1.5, 1.75 * self.users * hold_s / (self.processes * self.lanes))


@dataclass(frozen=True)
class DrawnBids:
    """What the seed decides for each bid i of the plan: arrays of length `users`.

    `amount_fen` int64; `offset_ns` int64 from the gate's opening to the intended tap; `failing_step` int64,
    1-based, 0 where every step succeeds; `steps_s` float64, what the steps that the bid goes through take
    together; `fail_s` float64, what its failing step takes besides (0 where none fails).
    """

    amount_fen: npt.NDArray[np.int64]
    offset_ns: npt.NDArray[np.int64]
    failing_step: npt.NDArray[np.int64]
    steps_s: npt.NDArray[np.float64]
    fail_s: npt.NDArray[np.float64]


def draw_bids(plan: BidPlan) -> DrawnBids:
    """Return the bids of a plan. The amounts' mean is what the demand asks for, in whole units of at least one."""
    draw = np.random.default_rng([plan.seed, 0x0FE2])
    unit = plan.min_bid_fen
    # Most people bid the minimum or little more, so the stock reaches zero rather than a remainder for nobody.
    units = 1 + draw.poisson(max(0.0, plan.mean_bid_fen / unit - 1), plan.users)
    offset = draw.uniform(0, plan.bids.arrival_s, plan.users) * 1e9
    late = draw.uniform(size=plan.users) < plan.bids.late
    offset = np.where(late, offset + draw.uniform(0, plan.late_s, plan.users) * 1e9, offset)
    fails = draw.uniform(size=plan.users) < plan.bids.p
    step = draw.integers(1, plan.bids.steps + 1, plan.users)
    # A bid that fails goes through the steps up to the failing one, which then takes its time.
    walked = np.where(fails, step, plan.bids.steps) / plan.bids.steps
    steps_s = draw.uniform(0.5, 1.5, plan.users) * plan.bids.steps_ms / 1e3 * walked
    fail_s = np.where(fails, draw.uniform(0.5, 1.5, plan.users) * plan.bids.fail_ms / 1e3, 0.0)
    return DrawnBids(
        amount_fen=(units * unit).astype(np.int64),
        offset_ns=offset.astype(np.int64),
        failing_step=np.where(fails, step, 0).astype(np.int64),
        steps_s=steps_s,
        fail_s=fail_s,
    )


def bid_id(tranche_id: str, index: int) -> str:
    """Return the id of bid `index`; `bid_index` is its inverse."""
    return f"{tranche_id}-{index:06d}"


def bid_index(tranche_id: str, text: str, users: int) -> int:
    """Return the plan's index of a bid id found in the ledger, -1 for one that the plan does not know."""
    prefix, _, number = text.rpartition("-")
    if (
        prefix != tranche_id
        or not number.isdecimal()
        or len(number) > 9
        or text != bid_id(tranche_id, int(number))
    ):
        return -1
    return int(number) if int(number) < users else -1
