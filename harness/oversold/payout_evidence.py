"""What a payday leaves behind for the audit: the channels' books, the strategy's beliefs, the jobs' times.

Times are nanoseconds since the first job started, as int64; `NEVER` (of `evidence`) stands for "did not happen".
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oversold.evidence import Ints
from oversold.model import PayoutState

# One row a pay call that reached a channel, from that channel's books. `applied` effects are the truth.
PAYMENT = np.dtype(
    [
        ("channel", "u1"),  # index into PayoutEvidence.channels
        ("obligation", "<i4"),  # index into the payday's obligations; -1: a ref that nobody owes
        ("run", "<i2"),  # index into PayoutEvidence.runs: the job start that called; -1: somebody else
        ("worker", "<i4"),  # of that start; -1: not told
        ("amount_fen", "<i8"),
        ("reply", "u1"),  # index into model.PAY_REPLIES
        ("replay", "u1"),  # 1: answered from a remembered idempotency key, so it can have no effect of its own
        ("t_arrived", "<i8"),
        ("t_replied", "<i8"),  # when the channel answered, or would have
        ("t_effect", "<i8"),  # when the money moved; NEVER: it did not (a voided one did not either)
    ]
)

# One row a sample: how many obligations the strategy believed to be in each status (model.PAYOUT_STATUSES).
BELIEF = np.dtype([("t", "<i8"), ("counts", "<i4", (8,))])

# One row a withdrawal that a channel granted.
WITHDRAWAL = np.dtype([("channel", "u1"), ("user", "<i4"), ("amount_fen", "<i8"), ("t", "<i8")])


@dataclass(frozen=True)
class JobRun:
    """One start of a job: its name (`interest#1`), when it was to start, when its first worker began and its
    last one ended (NEVER: still running at the horizon), and whether it was killed on purpose."""

    run: str
    t_planned: int
    t_start: int
    t_end: int
    killed: bool = False


@dataclass(frozen=True)
class PayoutEvidence:
    """All that the payout checkers may look at. Arrays over obligations have one entry an obligation.

    `due_fen`; `user` is the index of the investor it is owed to; `t_due` when the job that owes it was to start.
    `runs` are the starts of the jobs. `payments` is `PAYMENT` rows in order of arrival, `withdrawals` `WITHDRAWAL`
    rows. `states` is what the strategy believed in the end, one an obligation (None: it said nothing of it).
    `beliefs` is `BELIEF` rows in time order; `unknown_since` and `unknown_until` are the spells in which some
    obligation was believed UNKNOWN (until NEVER: it still was in the end). `t_end` is the horizon, or the end of
    all work if that came first. `complete` is false when a channel, a store or a worker was lost or the run was
    interrupted.
    """

    due_fen: Ints
    user: Ints
    t_due: Ints
    channels: Sequence[str]
    runs: Sequence[JobRun]
    payments: npt.NDArray[np.void]
    withdrawals: npt.NDArray[np.void]
    states: Sequence[PayoutState | None]
    beliefs: npt.NDArray[np.void]
    unknown_since: Ints
    unknown_until: Ints
    t_end: int
    complete: bool = True
