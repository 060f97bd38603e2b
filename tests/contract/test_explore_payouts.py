"""Payout strategies under the explorer on real servers: the holes that they name are found, and no others."""

import secrets
from collections import Counter
from contextlib import ExitStack

import pytest

from oversold.explore import explorer
from oversold.explore.execution import Learned, Pruned
from oversold.explore.explorer import Explorer, Limits
from oversold.explore.search import DepthFirst
from oversold.explore.stage import Stage
from oversold.strategies.payouts.composed import Composed, load
from oversold.strategies.payouts.locks.row_lock import RowLock
from oversold.strategies.payouts.policies.retry_same_key import RetrySameKey

pytestmark = pytest.mark.servers


class NewKeyEachTime(RetrySameKey):
    """The sound policy with its promise broken: the channel cannot tell the second call from the first."""

    def _pay(self, row):
        reply = self._channel.pay(row.obligation_id, row.user_id, row.amount_fen, self._desk.fresh_key())
        if reply == "ok":
            self._desk.paid(row, self._channel.name)
        return reply


class RowLockNewKeyEachTime(Composed):
    """What `load` would make of it."""

    stores = frozenset({"sql"})
    lock, policy = RowLock, NewKeyEachTime


@pytest.fixture
def staged(endpoints):
    """Return the stage of a strategy, given by name or class: `staged(...).subject({"workers": 2})`."""
    with ExitStack() as stack:

        def stage(strategy):
            code = load(strategy) if isinstance(strategy, str) else strategy
            servers = {store: endpoints[store] for store in code.stores}
            made = Stage("mine", code, "payouts", servers, f"p{secrets.token_hex(4)}", 1)
            return stack.enter_context(made)

        yield stage


def walk(subject, faults):
    """Walk all schedules with so many faults; return how many broke which promise."""
    search, seen = DepthFirst(), Counter()
    while not search.exhausted:
        search.begin()
        try:
            execution = subject.play(search, faults)
        except Pruned:
            pass
        except Learned:
            search.learned()
            continue
        else:
            assert not subject.raised
            seen.update([finding.check for finding in subject.broken()] or [execution.ending or "sound"])
        search.end()
    return seen


HOLES = {
    # A list that two starts of a job walk: no fault is needed.
    "none+blind-failover": ({"workers": 2}, set()),
    # One intent on two channels: the incident.
    "row-lock+unique-outbox": ({"workers": 2}, {"lost_reply", "lie"}),
    "cas+blind-failover": ({"workers": 1}, {"lost_reply", "lie"}),
    "cas+retry-new-key": ({"workers": 1}, {"lost_reply", "lie"}),
    # A payment that the channel's query does not show yet.
    "row-lock+query-then-retry": ({"workers": 1, "visibility_s": 60, "pauses": 0}, {"lost_reply", "lie"}),
    # A key that the channel has forgotten.
    "row-lock+retry-same-key": ({"workers": 1, "key_life_s": 1800, "pauses": 0}, {"lost_reply", "crash_after"}),
    # A worker that pauses between its note and its call, while reconciliation goes on.
    "row-lock+failover-after-proof": ({"workers": 1}, {"time_passes"}),
    "row-lock+state-machine": ({"workers": 1}, {"time_passes"}),
}


@pytest.mark.parametrize("name", HOLES)
def test_a_known_hole_is_found(staged, monkeypatch, name):
    """One fault is enough, where it takes one at all; the step that is named is the payment too many."""
    monkeypatch.setattr(explorer, "SHRINK_S", 0.2)  # a shorter one is no truer
    numbers, faults = HOLES[name]
    stage = staged(name)
    limits = Limits(faults=1 if faults else 0, budget_s=60)
    found = Explorer(stage.subject(numbers), limits, stage.subject).search()
    assert (found.outcome, found.repeated) == ("VIOLATION", 10)
    schedule = found.schedule
    assert schedule.broken.check == "overpaid"
    assert schedule.steps[schedule.broken.step - 1].operation.startswith("pay payday-000000")
    happened = {step.choice for step in schedule.steps} - {"go"}
    assert happened <= faults
    assert bool(happened) == bool(faults)


@pytest.mark.parametrize("name", ["row-lock+unique-outbox", "lease-fenced+state-machine", "queue+retry-same-key"])
def test_a_claim_lock_keeps_two_starts_apart(staged, name):
    """Without a fault no order of the commands of two workers pays twice, or leaves anything unpaid."""
    assert set(walk(staged(name).subject({"workers": 2}), 0)) == {"sound"}


def test_a_sound_policy_holds_at_any_one_fault_and_its_mutant_does_not(staged):
    """The key of the obligation stops what deaths, lost commands, lost answers and lies would do."""
    numbers = {"workers": 1, "pauses": 0}
    assert "overpaid" not in walk(staged("row-lock+retry-same-key").subject(numbers), 1)
    assert walk(staged(RowLockNewKeyEachTime).subject(numbers), 1)["overpaid"]
