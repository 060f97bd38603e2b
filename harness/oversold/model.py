"""The nouns of the domain: frozen, and money is a whole number of fen (1/100 yuan)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

HoldVerdict = Literal["ok", "sold_out", "busy", "error", "unknown"]
Verdict = Literal["pass", "fail", "inconclusive"]

ObligationKind = Literal["interest", "principal"]
JobName = Literal["interest", "maturity"]
PayoutStatus = Literal["DUE", "CLAIMED", "SENT", "PAID", "FAILED", "FAILED_DEFINITE", "UNKNOWN", "REVIEW"]
# What a channel says to a pay call. ok: paid. failed: not paid. processing: not yet. timeout: no answer in time.
# unreachable: no connection, so nothing was sent. mismatch: the key was used with other parameters; nothing paid.
PayReply = Literal["ok", "failed", "processing", "timeout", "unreachable", "mismatch"]
# What it says when asked about a ref later; not_found: it knows of no payment (yet). timeout: no answer.
QueryReply = Literal["success", "failed", "processing", "not_found", "timeout"]
# voided: nothing paid under this ref so far, and what was on its way is cancelled. paid: too late.
VoidReply = Literal["voided", "paid", "timeout"]

HOLD_VERDICTS: tuple[HoldVerdict, ...] = ("ok", "sold_out", "busy", "error", "unknown")
PAYOUT_STATUSES: tuple[PayoutStatus, ...] = get_args(PayoutStatus)
PAY_REPLIES: tuple[PayReply, ...] = get_args(PayReply)


@dataclass(frozen=True, slots=True)
class Tranche:
    """An offer (标的): at most `capacity_fen` may be sold; all bids are multiples of `unit_fen`, the smallest."""

    tranche_id: str
    capacity_fen: int
    unit_fen: int = 1


@dataclass(frozen=True, slots=True)
class Bid:
    """One bidder's wish. Tapping again repeats the same bid with the same `bid_id`."""

    bid_id: str
    tranche_id: str
    user_id: str
    amount_fen: int


@dataclass(frozen=True, slots=True)
class Hold:
    """A strategy's answer to `reserve`.

    `ok`: the amount is held for this bid. `sold_out`: it does not fit into what is left. `busy`: the
    strategy could not decide, a later try may succeed. `error`: definitely not held. `unknown`: the
    strategy cannot tell whether it is held.
    """

    verdict: HoldVerdict
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """What a strategy says of its own stock: a claim, never the truth."""

    status: Literal["open", "full"]
    remaining_fen: int | None


@dataclass(frozen=True, slots=True)
class Obligation:
    """A payout that is due: one investor, one amount, once. Its id is the `ref` of every payment made for it."""

    obligation_id: str
    user_id: str
    kind: ObligationKind
    amount_fen: int


@dataclass(frozen=True, slots=True)
class Payday:
    """All that is due in one run. The interest job pays the interest, the maturity job the principal."""

    payday_id: str
    obligations: tuple[Obligation, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """One start of a payout job, as one of its workers sees it.

    `start` counts the starts of this job: 2 is the same job started again. `worker` counts from 0 to
    `workers` - 1 within one start.
    """

    payday_id: str
    name: JobName
    start: int
    worker: int
    workers: int

    @property
    def run(self) -> str:
        """This start's own name: the workers of one start share it.

        >>> Job("p1", "interest", 2, 0, 16).run
        'interest#2'
        """
        return f"{self.name}#{self.start}"

    @property
    def kind(self) -> ObligationKind:
        """What this job pays."""
        return "interest" if self.name == "interest" else "principal"


@dataclass(frozen=True, slots=True)
class PayoutState:
    """What a strategy believes of one obligation: a claim, never the truth. REVIEW needs a reason.

    DUE: nothing was tried. CLAIMED: a worker has taken it. SENT: a call is under way. PAID: paid for good.
    FAILED: given up, no money moved. FAILED_DEFINITE: no money moved for sure, so it may be paid again.
    UNKNOWN: money may have moved. REVIEW: a person has to look.
    """

    status: PayoutStatus
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a payment channel promises in its documentation, and as a rule keeps. Times in seconds.

    A pay call that has no answer after `timeout_s` may be given up: what it asked for may still happen.
    A query tells the truth of any call that is older than `visibility_s`. An effect that comes late comes within
    `settle_s` of its call. An idempotency key, where `honours_keys`, is remembered for `key_retention_s`.
    """

    timeout_s: float
    visibility_s: float
    settle_s: float
    honours_keys: bool
    key_retention_s: float


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's verdict on one run, with a sentence for people and numbers for machines."""

    check: str
    verdict: Verdict
    detail: str
    values: Mapping[str, float] = field(default_factory=dict)


def yuan(fen: float) -> str:
    """Return an amount for people: whole yuan where it is whole, thousands separated.

    >>> yuan(100_000_000)
    '1,000,000 yuan'
    >>> yuan(150)
    '1.50 yuan'
    """
    whole, rest = divmod(round(abs(fen)), 100)  # whole numbers: a float would round large sums
    sign = "-" if fen < 0 else ""
    return f"{sign}{whole:,}.{rest:02d} yuan" if rest else f"{sign}{whole:,} yuan"
