"""What a payout run is going to do: validated settings, and the payday that a seed stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from oversold.model import Job, JobName, Obligation, ObligationKind, Payday
from oversold.plan import MAX_USERS, Plan

CANARY = "none+blind-failover"
CANARY_PROFILE = "seed"
INTEREST_JOB_MIN = 90  # of the incident
PAYMENT_S = 0.065  # what one payment takes a worker, over the channels of the built-in profiles
LEAST_MINUTE_S, MOST_MINUTE_S = 0.002, 60.0
LEAST_HORIZON_S, MOST_HORIZON_S = 60.0, 86_400.0


class PayoutSettings(BaseModel):
    """The payday and its jobs. `--set key=value` changes them. Minutes are the incident's: `minute_s` says how
    long one of them takes here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    obligations: int = Field(3_500, ge=1, le=1_000_000, description="payouts that are due, interest and principal")
    maturing: float = Field(
        0.33, ge=0, le=1, description="share of them that is principal, paid by the maturity job"
    )
    mean_fen: int = Field(86_000, ge=1, le=10**12, description="mean amount of one payout, in fen")
    jobs: Literal["overlap", "twice", "killed"] = Field(
        "overlap",
        description="overlap: the maturity job starts while the interest job runs; twice: the interest job is "
        "also started a second time; killed: the interest job is killed and started again",
    )
    minute_s: float | None = Field(
        None,
        gt=0,
        le=MOST_MINUTE_S,
        description="one minute of the incident takes this many seconds; default: 90 of them last as long as the "
        "interest job at 65 ms a payment",
    )
    maturity_min: float = Field(60, ge=0, le=10_000, description="the maturity job starts after this many minutes")
    again_min: float = Field(
        20, ge=0, le=10_000, description="twice and killed: the interest job starts again after this many minutes"
    )
    kill_min: float = Field(
        10, ge=0, le=10_000, description="killed: the interest job dies after this many minutes"
    )
    horizon_s: float | None = Field(
        None,
        gt=0,
        le=MOST_HORIZON_S,
        description="what is not paid after this many seconds is missed; default: 60, or 360 minutes of the "
        "incident where that is longer",
    )
    reconcile_s: float = Field(0.5, gt=0, le=3600, description="seconds between two rounds of reconciliation")
    visits: int = Field(3, ge=0, le=1000, description="times that an investor who is online reads the balance")
    withdraw: float = Field(
        0.5, ge=0, le=1, description="share of the visits on which the investor withdraws the whole balance"
    )

    @model_validator(mode="after")
    def _in_order(self) -> PayoutSettings:
        if self.jobs == "killed" and self.again_min < self.kill_min:
            raise ValueError(f"again_min={self.again_min:g} is before kill_min={self.kill_min:g}: raise again_min")
        return self


@dataclass(frozen=True)
class Start:
    """One planned start of a job: seconds after the first one; `kill_s` when it is killed on purpose."""

    name: JobName
    start: int
    at_s: float
    kill_s: float | None = None

    @property
    def run(self) -> str:
        """The start's name, as `Job.run` gives it."""
        return f"{self.name}#{self.start}"


@dataclass(frozen=True)
class DrawnPayday:
    """What the seed decides: the payday and its investors. Arrays over obligations.

    `user` is the index of the investor; `payday.obligations[i].user_id` is `user_id(user[i])`.
    """

    payday: Payday
    due_fen: npt.NDArray[np.int64]
    user: npt.NDArray[np.int64]
    users: int


def user_id(payday_id: str, index: int) -> str:
    """Return the id of investor `index`; `user_index` is its inverse."""
    return f"{payday_id}-u{index:06d}"


def obligation_id(payday_id: str, index: int) -> str:
    """Return the id of obligation `index`; `obligation_index` is its inverse."""
    return f"{payday_id}-{index:06d}"


def user_index(payday_id: str, text: str, count: int) -> int:
    """Return the index of a user id found in the books, -1 for one that is not among the first `count`."""
    return _index(text, f"{payday_id}-u", count)


def obligation_index(payday_id: str, text: str, count: int) -> int:
    """Return the index of a ref found in the books, -1 for one that is not among the first `count`."""
    return _index(text, f"{payday_id}-", count)


def _index(text: str, prefix: str, count: int) -> int:
    number = text.removeprefix(prefix)
    if not (text.startswith(prefix) and number.isdecimal() and number.isascii() and len(number) <= 9):
        return -1
    return int(number) if int(number) < count and number == f"{int(number):06d}" else -1


class PayoutPlan(Plan):
    """One payday, completely: the same plan gives the same obligations, investors and channels' moods."""

    kind: Literal["payouts"] = "payouts"
    users: int = Field(400, ge=1, le=MAX_USERS, description="job workers, a reconciler, and investors online")
    lanes: int = Field(8, ge=1, le=1024, description="workers of each job in each process")
    profile: str = Field("seed", description="how the payment channels behave; see fixtures/channels")
    payouts: PayoutSettings = PayoutSettings()

    @property
    def settings(self) -> PayoutSettings:
        """What `--set` changes, with the times as they turned out."""
        return self.payouts.model_copy(update={"minute_s": self.minute_s, "horizon_s": self.horizon_s})

    @property
    def connections(self) -> int:
        """How many connections one process opens to one server."""
        return len(self.starts) * self.lanes + 1

    @property
    def expected_s(self) -> float:
        """About how long a run takes: the start of Locust, the payday, the audit."""
        return 5 + 0.8 * self.horizon_s

    @property
    def canary(self) -> Self:
        """The same jobs on no claim lock and blind failover, over the channels of the incident."""
        return self.model_copy(update={"strategy": CANARY, "profile": CANARY_PROFILE, "sql": "postgres"})

    @property
    def workers(self) -> int:
        """How many workers each start of a job has, in all processes together."""
        return self.lanes * self.processes

    @property
    def starts(self) -> tuple[Start, ...]:
        """The planned starts of the jobs, in order of their time."""
        every, minute = self.payouts, self.minute_s
        killed = every.kill_min * minute if every.jobs == "killed" else None
        starts = [Start("interest", 1, 0.0, killed), Start("maturity", 1, every.maturity_min * minute)]
        if every.jobs != "overlap":
            starts.append(Start("interest", 2, every.again_min * minute))
        return tuple(sorted(starts, key=lambda start: start.at_s))

    @property
    def minute_s(self) -> float:
        """How many seconds one minute of the incident takes: as set, or so that the interest job takes about as
        many of them as it took minutes then."""
        if self.payouts.minute_s is not None:
            return self.payouts.minute_s
        interest = self.payouts.obligations - principal_count(self.payouts)
        derived = round(interest / self.workers * PAYMENT_S / INTEREST_JOB_MIN, 4)
        return min(max(LEAST_MINUTE_S, derived), MOST_MINUTE_S)

    @property
    def horizon_s(self) -> float:
        """How many seconds after its beginning the payday is over."""
        if self.payouts.horizon_s is not None:
            return self.payouts.horizon_s
        return min(max(LEAST_HORIZON_S, round(4 * INTEREST_JOB_MIN * self.minute_s, 1)), MOST_HORIZON_S)

    @model_validator(mode="after")
    def _fits(self) -> PayoutPlan:
        needed = len(self.starts) * self.workers + 1
        if self.users < needed:
            raise ValueError(
                f"{self.users} users are too few: {len(self.starts)} job starts have {self.workers} workers each, "
                f"and one more reconciles: use at least {needed}, or fewer lanes"
            )
        last_s = self.starts[-1].at_s
        if self.horizon_s <= last_s:
            raise ValueError(
                f"horizon_s={self.horizon_s:g} ends the payday before its last job starts "
                f"(after {last_s:g} s): raise horizon_s or lower minute_s"
            )
        return self

    def parts(self) -> list[Part]:
        """Return what each Locust user does, by index. Every process gets its share of each, since the gate
        hands out indices to the processes block by block."""
        roles = [
            Part("worker", start=start, worker=worker) for start in self.starts for worker in range(self.workers)
        ]
        roles.append(Part("reconciler"))
        roles += [Part("investor", investor=n) for n in range(self.users - len(roles))]
        block = -(-self.users // self.processes)
        order = sorted(range(self.users), key=lambda index: (index % block, index // block))
        parts = [roles[0]] * self.users
        for role, index in zip(roles, order, strict=True):
            parts[index] = role
        return parts

    def job(self, payday_id: str, part: Part) -> Job:
        """Return the job that a worker's part belongs to."""
        assert part.start is not None
        return Job(payday_id, part.start.name, part.start.start, part.worker, self.workers)


@dataclass(frozen=True)
class Part:
    """What one Locust user plays: a worker of one start of a job, the reconciler, or investor `investor`."""

    role: Literal["worker", "reconciler", "investor"]
    start: Start | None = None
    worker: int = 0
    investor: int = 0


def principal_count(settings: PayoutSettings) -> int:
    """Return how many of the obligations are principal."""
    return round(settings.obligations * settings.maturing)


def investor_count(settings: PayoutSettings) -> int:
    """Return how many investors are owed something: the first ones principal as well as interest."""
    principal = principal_count(settings)
    return max(settings.obligations - principal, principal)


def draw_payday(plan: PayoutPlan, payday_id: str) -> DrawnPayday:
    """Return the payday of a plan. Investors come in the order of their ids; the first ones are owed principal
    as well as interest. Amounts are lognormal around the plan's mean, at least one fen."""
    every = plan.payouts
    draw = np.random.default_rng([plan.seed, 0xD1E])
    principal = principal_count(every)
    interest = every.obligations - principal
    users = investor_count(every)
    user = np.concatenate([np.arange(interest), np.arange(principal)]).astype(np.int64)
    sigma = 0.6
    amounts = draw.lognormal(np.log(every.mean_fen) - sigma**2 / 2, sigma, every.obligations)
    due_fen = np.maximum(1, np.round(amounts)).astype(np.int64)
    kinds: list[ObligationKind] = ["interest" if i < interest else "principal" for i in range(every.obligations)]
    obligations = tuple(
        Obligation(obligation_id(payday_id, i), user_id(payday_id, int(user[i])), kinds[i], int(due_fen[i]))
        for i in range(every.obligations)
    )
    return DrawnPayday(Payday(payday_id, obligations), due_fen, user, users)
