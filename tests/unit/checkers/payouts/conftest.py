"""A small builder of literal paydays, so that a test reads as the story of one."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import pytest

from oversold.evidence import NEVER
from oversold.model import PAY_REPLIES, PAYOUT_STATUSES, PayoutState, PayoutStatus, PayReply
from oversold.payout_evidence import BELIEF, PAYMENT, WITHDRAWAL, JobRun, PayoutEvidence


class Story:
    """Payments, withdrawals and beliefs in fen and ns.

    `Story(100, 200)` owes two people 100 and 200 fen. The strategy believes everything PAID unless told
    otherwise; obligation i is owed to user i unless `users` says to whom.
    """

    def __init__(self, *due_fen: int, users: Sequence[int] | None = None, t_end: int = 1000) -> None:
        self.due_fen, self.t_end = due_fen, t_end
        self.users = range(len(due_fen)) if users is None else users
        self.t_due = [0] * len(due_fen)
        self.channels = ("first", "second")
        self.runs = [JobRun("interest#1", 0, 0, 600), JobRun("maturity#1", 300, 300, 900)]
        self.payments: list[dict[str, int]] = []
        self.withdrawals: list[tuple[int, int, int, int]] = []
        self.states: list[PayoutState | None] = [PayoutState("PAID")] * len(due_fen)
        self.samples: list[tuple[int, list[int]]] = []
        self.spells: list[tuple[int, int]] = []

    def call(
        self, obligation: int, amount_fen: int | None = None, reply: PayReply = "failed", **columns: int
    ) -> Self:
        """Write a pay call that moved no money; `columns` say what was different."""
        amount = self.due_fen[obligation] if amount_fen is None else amount_fen
        row = dict.fromkeys(PAYMENT.names or (), 0)
        row |= {"obligation": obligation, "amount_fen": amount, "reply": PAY_REPLIES.index(reply)}
        row |= {"t_arrived": 10, "t_replied": 20, "t_effect": NEVER}
        self.payments.append(row | columns)
        return self

    def paid(
        self,
        obligation: int,
        amount_fen: int | None = None,
        at: int = 15,
        reply: PayReply = "ok",
        **columns: int,
    ) -> Self:
        """Write a pay call that moved money `at` a time."""
        times = {"t_arrived": at, "t_replied": at + 5, "t_effect": at}
        return self.call(obligation, amount_fen, reply, **{**times, **columns})

    def withdrew(self, user: int, amount_fen: int, channel: int = 0) -> Self:
        """Write a withdrawal that was granted."""
        self.withdrawals.append((channel, user, amount_fen, 50))
        return self

    def believed(self, obligation: int, status: PayoutStatus | None, reason: str = "") -> Self:
        """Set what the strategy believes in the end; None: it says nothing."""
        self.states[obligation] = None if status is None else PayoutState(status, reason)
        return self

    def sample(self, t: int, **counts: int) -> Self:
        """Write how many obligations were believed to be in each status at a time."""
        self.samples.append((t, [counts.get(status, 0) for status in PAYOUT_STATUSES]))
        return self

    def unknown(self, since: int, until: int = NEVER) -> Self:
        """Write a spell in which an obligation was believed UNKNOWN."""
        self.spells.append((since, until))
        return self

    def evidence(self, complete: bool = True) -> PayoutEvidence:
        """Everything that the payout checkers may look at."""
        rows = [tuple(row[name] for name in PAYMENT.names or ()) for row in self.payments]
        spells = np.array(self.spells, np.int64).reshape(-1, 2)
        return PayoutEvidence(
            due_fen=np.array(self.due_fen, np.int64),
            user=np.array(self.users, np.int64),
            t_due=np.array(self.t_due, np.int64),
            channels=self.channels,
            runs=tuple(self.runs),
            payments=np.array(rows, PAYMENT),
            withdrawals=np.array(self.withdrawals, WITHDRAWAL),
            states=tuple(self.states),
            beliefs=np.array(self.samples, BELIEF),
            unknown_since=spells[:, 0],
            unknown_until=spells[:, 1],
            t_end=self.t_end,
            complete=complete,
        )


@pytest.fixture(scope="session")
def story() -> type[Story]:
    """The builder's class; calling it starts a new story."""
    return Story
