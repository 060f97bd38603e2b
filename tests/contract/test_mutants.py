"""The explorer finds a sample of the mutants of the sound designs; `python -m tests.mutants` explores them all."""

from __future__ import annotations

import pytest
from tests.mutants import corpus
from tests.mutants.corpus import Mutant
from tests.mutants.edits import Edit
from tests.mutants.hunting import Hunter

from oversold.explorations.servers import Stores
from oversold.stores.providers import StoreChoice

pytestmark = pytest.mark.servers
BUDGET_S = 30.0
SAMPLE = {
    "memcached-cas:always:memcached_cas.reserve.1": "oversubscription",
    "memcached-cas-retry:read-once:memcached_cas.by-hand.1": "undersubscription",
    "memcached-lock:finally-first:memcached_lock.reserve.1": "oversubscription",
    "redis-decr:never:redis_decr.reserve.1": "oversubscription",
    "redis-lua:lua-never:redis_lua.RESERVE.3": "oversubscription",
    "redis-lock:without:redis_lock._try_lock.1": "oversubscription",
    "row-lock:clause:row_lock.LOCK.1": "oversubscription",
    "row-lock:deleted:row_lock.reserve.1": "deadlock",
    "conditional-update:clause:conditional_update.TAKE.1": "oversubscription",
    "version:clause:version.TAKE.1": "oversubscription",
    "serializable:without:serializable.__init__.1": "oversubscription",
    "cas+state-machine:without:desk.CHANGE.1": "overpaid",
}


@pytest.fixture(scope="module")
def hunter(endpoints):
    """Explores mutants on the servers of the session."""
    with Stores(StoreChoice(), endpoints) as servers:
        yield Hunter(servers, BUDGET_S)


@pytest.mark.parametrize("name", SAMPLE)
def test_a_mutant_is_found(hunter, name):
    """A slip that a person could make breaks the promise that it must break."""
    hunted = hunter.hunted(next(mutant for mutant in corpus.mutants() if mutant.name == name))
    assert SAMPLE[name] in hunted.how


def test_a_design_without_a_slip_survives(hunter):
    """What the sound design shows itself, under faults, is not held against its mutants."""
    unchanged = Mutant(
        "redis-decr:nothing", "redis-decr", "oversold.strategies.bids.redis_decr", Edit("none", 1, 0, 0, "")
    )
    hunted = hunter.hunted(unchanged)
    assert hunted.kind == "survived"
    assert any(seen.marks for seen in hunted.seen)
