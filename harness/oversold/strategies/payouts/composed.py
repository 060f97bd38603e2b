"""Puts a claim lock and a settlement policy together: `cas+state-machine` is a payout strategy."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from oversold.errors import UsageError, near
from oversold.model import Job, Payday, PayoutState
from oversold.strategies.payouts.interface import PayoutContext, PayoutStrategy
from oversold.strategies.payouts.patience import stale_s

if TYPE_CHECKING:
    from oversold.strategies.payouts.desk import Row

LOCKS = {
    "none": "oversold.strategies.payouts.locks.none:NoLock",
    "cas": "oversold.strategies.payouts.locks.cas:Cas",
    "row-lock": "oversold.strategies.payouts.locks.row_lock:RowLock",
    "queue": "oversold.strategies.payouts.locks.queue:Queue",
    "lease": "oversold.strategies.payouts.locks.lease:Lease",
    "lease-fenced": "oversold.strategies.payouts.locks.lease_fenced:LeaseFenced",
}
POLICIES = {
    "blind-failover": "oversold.strategies.payouts.policies.blind_failover:BlindFailover",
    "retry-new-key": "oversold.strategies.payouts.policies.retry_new_key:RetryNewKey",
    "retry-same-key": "oversold.strategies.payouts.policies.retry_same_key:RetrySameKey",
    "query-then-retry": "oversold.strategies.payouts.policies.query_then_retry:QueryThenRetry",
    "failover-after-proof": "oversold.strategies.payouts.policies.failover_after_proof:FailoverAfterProof",
    "unique-outbox": "oversold.strategies.payouts.policies.unique_outbox:UniqueOutbox",
    "state-machine": "oversold.strategies.payouts.policies.state_machine:StateMachine",
}
LABELS = ("", "Guarantee:", "Known hole:")


@runtime_checkable
class Lock(Protocol):
    """How a worker comes to an obligation that no other worker has. One instance a worker."""

    stores: ClassVar[frozenset[str]]

    def __init__(self, context: PayoutContext) -> None: ...

    def open(self, payday: Payday) -> None:
        """Prepare the stores. Called once, before the first job starts."""

    def begin(self, job: Job) -> None:
        """Prepare for one worker's share of a job."""

    def claim(self, job: Job) -> Row | None:
        """Return the next row for this worker; None when there is nothing left for it.

        The row's status is the one in which it was found: DUE, or CLAIMED when it is a dead worker's.
        """

    def done(self, row: Row) -> None:
        """Give up a row of `claim` that the policy is through with."""


@runtime_checkable
class Policy(Protocol):
    """How an obligation is paid that its caller alone has claimed.

    Commits before every call to a channel. While a row is CLAIMED, touches it between two calls: what nobody
    touches for `patience.stale_s` is taken for a dead worker's.
    """

    stores: ClassVar[frozenset[str]]

    def __init__(self, context: PayoutContext) -> None: ...

    def open(self, payday: Payday) -> None:
        """Prepare the stores. Called once, before the first job starts."""

    def settle(self, row: Row) -> None:
        """Pay one row that was DUE, and write down what came of it."""

    def recover(self, row: Row) -> None:
        """Go on with a row whose worker died while it was CLAIMED."""

    def reconcile(self, payday_id: str) -> int:
        """Settle what `settle` left open, as far as that is possible now; return how many rows that are in an end
        state it still has to compare with something."""


class Composed:
    """A payout strategy made of two halves; `load` makes the classes with halves in them."""

    stores: ClassVar[frozenset[str]]
    lock: ClassVar[type[Lock]]
    policy: ClassVar[type[Policy]]

    def __init__(self, context: PayoutContext) -> None:
        # Who asks for names alone need not wait for SQLAlchemy.
        from oversold.strategies.payouts.desk import Desk

        self._desk = Desk(context)
        self._stale_s = stale_s(context.channels.values())
        self._lock = self.lock(context)
        self._policy = self.policy(context)

    def open(self, payday: Payday) -> None:
        """Let both halves prepare."""
        self._lock.open(payday)
        self._policy.open(payday)

    def run_job(self, job: Job) -> None:
        """Claim and settle until there is nothing left to claim."""
        self._lock.begin(job)
        while (row := self._lock.claim(job)) is not None:
            self._pay(row)
            self._lock.done(row)

    def reconcile(self, payday_id: str) -> int:
        """Let the policy settle what it left open, then go on with what dead workers had claimed."""
        unchecked = self._policy.reconcile(payday_id)
        for row in self._desk.in_status(payday_id, "CLAIMED", self._stale_s):
            taken = self._desk.take(row, "reconcile")
            if taken is not None:
                self._pay(taken)
        return self._desk.count_open(payday_id) + unchecked

    def state(self, payday_id: str) -> Mapping[str, PayoutState]:
        """Report the table."""
        return self._desk.state(payday_id)

    def _pay(self, row: Row) -> None:
        if row.status == "DUE":
            self._policy.settle(row)
        else:
            self._policy.recover(row)


def names() -> list[str]:
    """Return the names of all built-in payout strategies."""
    return [f"{lock}+{policy}" for lock in LOCKS for policy in POLICIES]


@cache
def load(name: str) -> type[PayoutStrategy]:
    """Return the class of a payout strategy, `lock+policy`.

    Its docstring has the three paragraphs of every strategy, each with what both halves say.

    Raises:
        UsageError: there is no such lock or policy.
    """
    lock_name, plus, policy_name = name.partition("+")
    if not plus:
        raise UsageError(f"{name!r} is no payout strategy{near(name, names())}: {_choices()}")
    lock = _half("claim lock", lock_name, LOCKS)
    policy = _half("settlement policy", policy_name, POLICIES)
    body = {
        "__doc__": _both(lock, policy),
        "__module__": __name__,
        "stores": frozenset({"sql"}) | lock.stores | policy.stores,
        "lock": lock,
        "policy": policy,
    }
    return type(f"{lock.__name__}{policy.__name__}", (Composed,), body)


def _half(what: str, name: str, known: Mapping[str, str]) -> Any:
    target = known.get(name)
    if target is None:
        raise UsageError(f"unknown {what} {name!r}{near(name, list(known))}: {_choices()}")
    module, _, class_name = target.partition(":")
    return getattr(import_module(module), class_name)


def _choices() -> str:
    return f"it must be LOCK+POLICY, a lock out of {', '.join(LOCKS)} and a policy out of {', '.join(POLICIES)}"


def _both(lock: type, policy: type) -> str:
    """Return a docstring that says, paragraph by paragraph, what the halves' docstrings say."""
    paragraphs = []
    for place, label in enumerate(LABELS):
        claim, payment = (
            " ".join((inspect.getdoc(half) or "").split("\n\n")[place].removeprefix(label).split())
            for half in (lock, policy)
        )
        paragraphs.append(f"{label} Claim: {claim} Payment: {payment}".strip())
    return "\n\n".join(paragraphs)
