"""What a run leaves behind for the audit: history, ledger, status log and claims, as numpy columns.

Times are nanoseconds since the starting gate opened, as int64; `NEVER` stands for "did not happen".
"""

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from oversold.model import Claim, Tranche

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

NEVER = -(1 << 62)


class Outcome(IntEnum):
    """What the bidder was told. A tap that never completed stays `UNKNOWN`."""

    UNKNOWN = 0
    OK = 1
    SOLD_OUT = 2
    BUSY = 3
    ERROR = 4


class HoldEnd(IntEnum):
    """What became of the hold that a tap got, as far as the platform knows."""

    NONE = 0  # never got one
    LIVE = 1  # got one; the tap never completed
    CONFIRMED = 2  # confirmed, and the order was written
    RELEASED = 3  # given back
    LEAKED = 4  # neither confirmed nor given back, though the tap completed


class RefusedBy(IntEnum):
    """Who turned the tap away."""

    NOBODY = 0
    STATUS = 1  # the platform's FULL flag, before the strategy was asked
    STRATEGY = 2  # the strategy's own answer
    STEP = 3  # a step of the pipeline failed after the hold


# One row a tap (one attempt of one bid). The first 64 bytes are what a worker writes.
TAP = np.dtype(
    [
        ("bid", "<u4"),  # index of the bid in the plan
        ("attempt", "<u2"),  # 1, 2, ... of this bid
        ("lane", "<u2"),
        ("outcome", "u1"),  # Outcome
        ("hold", "u1"),  # HoldEnd
        ("refused_by", "u1"),  # RefusedBy
        ("final", "u1"),  # 1: the bidder left after this tap
        ("failed_step", "u1"),  # 1-based; 0: none
        ("pad", "V3"),
        ("amount_fen", "<i8"),
        ("t_intended", "<i8"),  # when the bidder meant to tap
        ("t_admitted", "<i8"),  # when a lane took the tap
        ("t_sent", "<i8"),  # when the strategy was asked
        ("t_reserved", "<i8"),  # when the strategy had answered
        ("t_done", "<i8"),  # when the bidder was told
    ]
)
HISTORY = np.dtype([*((n, TAP[n].str) for n in TAP.names or () if n != "pad"), ("worker", "u1")])


@dataclass(frozen=True)
class Ledger:
    """The orders table: the truth. All arrays have one entry an order.

    `bid` is the index into the plan, -1 for a bid_id that the plan does not know. `refused` lists the
    bids (plan indices) for which a second order was attempted and refused by UNIQUE (bid_id).
    """

    bid: Ints
    amount_fen: Ints
    t: Ints
    refused: Ints = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def confirmed_fen(self) -> int:
        """Sum of all orders, in fen."""
        return int(self.amount_fen.sum())


@dataclass(frozen=True)
class StatusLog:
    """Changes of the platform's FULL flag in time order; the tranche starts open."""

    t: Ints
    full: Flags


@dataclass(frozen=True)
class Claims:
    """The strategy's own claim, sampled during the run; remaining is -1 where it claims no number."""

    t: Ints
    remaining_fen: Ints
    full: Flags


@dataclass(frozen=True)
class Evidence:
    """All that the checkers may look at.

    `bid_amount_fen[i]` is what bid i of the plan asked for; `min_bid_fen` the smallest bid that the platform
    takes; `t_end` the end of the run, after all holds were resolved; `complete` is false when a worker or a
    store was lost or the run was interrupted, so that missing operations are no one's fault. `notice_ns` is how
    long a platform may take to notice that stock came back: whoever was turned away within it proves nothing.
    """

    tranche: Tranche
    min_bid_fen: int
    bid_amount_fen: Ints
    history: npt.NDArray[np.void]
    ledger: Ledger
    status_log: StatusLog
    claims: Claims
    final_claim: Claim | None
    t_end: int
    complete: bool = True
    notice_ns: int = 0
