"""The nouns of the domain: frozen, and money is a whole number of fen (1/100 yuan)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

HoldVerdict = Literal["ok", "sold_out", "busy", "error", "unknown"]
Verdict = Literal["pass", "fail", "inconclusive"]

HOLD_VERDICTS: tuple[HoldVerdict, ...] = ("ok", "sold_out", "busy", "error", "unknown")


@dataclass(frozen=True, slots=True)
class Tranche:
    """An offer (标的) of which at most `capacity_fen` may be sold."""

    tranche_id: str
    capacity_fen: int


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
