"""Each settlement policy over channels that follow a script, on a table in memory and a clock set by hand."""

import inspect
from collections import Counter
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
import sqlalchemy as sa
from tests.payday import Killed, ManualClock, ScriptedChannel, new_payday

from oversold.clock import seeded
from oversold.errors import UsageError
from oversold.model import Job, Terms
from oversold.strategies.payouts import composed, obligation_table
from oversold.strategies.payouts.desk import END_STATUSES, Desk
from oversold.strategies.payouts.interface import PayoutContext, PayoutStrategy
from oversold.strategies.payouts.patience import MARGIN_S, STALE_S, stale_s
from oversold.strategies.payouts.policies import query_then_retry, retry_same_key, state_machine

TERMS = Terms(timeout_s=1.0, visibility_s=2.0, settle_s=5.0, honours_keys=True, key_retention_s=1000.0)
EPOCH = datetime(2026, 1, 1)
ALL_VISIBLE_S = TERMS.settle_s + TERMS.visibility_s + MARGIN_S
GIVEN_UP_S = 4 * (TERMS.timeout_s + TERMS.visibility_s + TERMS.settle_s) + 1
SAFE = ("failover-after-proof", "state-machine")


class World:
    """One payday of one interest obligation, or more, in a database whose clock is the test's."""

    def __init__(self, policy, a=("now/ok",), b=("now/ok",), count=1, terms=TERMS, lock="cas"):
        self.clock = ManualClock()
        engine = sa.create_engine("sqlite://")
        sa.event.listen(engine, "connect", self._give_time)
        self.sql = engine.connect()
        self.a = ScriptedChannel("A", self.clock, a, terms)
        self.b = ScriptedChannel("B", self.clock, b, terms)
        self.payday = new_payday(count)
        obligation_table.create(self.sql, self.payday)
        self.policy = policy
        self.kind = composed.load(f"{lock}+{policy}") if isinstance(policy, str) else policy
        self._instances = 0
        self.own = self.instance()
        self.own.open(self.payday)

    def _give_time(self, connection, _):
        def clock_timestamp():
            return (EPOCH + timedelta(seconds=self.clock.now_s())).isoformat(" ", "microseconds")

        connection.create_function("clock_timestamp", 0, clock_timestamp)

    def context(self):
        """A worker's private world; the connection is shared, as there is one thread."""
        self._instances += 1
        channels = {"A": self.a, "B": self.b}
        return PayoutContext({"sql": self.sql}, self.clock, seeded(self._instances), channels)

    def instance(self):
        return self.kind(self.context())

    def run(self):
        """Let a new worker do the interest job."""
        self.instance().run_job(Job(self.payday.payday_id, "interest", 1, 0, 1))
        return self

    def reconcile(self, after_s=0.0):
        """Let time pass, reconcile by a new instance; return how many obligations are in no end state then."""
        self.clock.sleep(after_s)
        self.unfinished = self.instance().reconcile(self.payday.payday_id)
        states = self.own.state(self.payday.payday_id).values()
        return sum(state.status not in END_STATUSES for state in states)

    @property
    def row(self):
        return Desk(self.context()).get(self.payday.payday_id, self.payday.obligations[0].obligation_id)

    @property
    def told(self):
        """Status and reason of the first obligation."""
        return self.row.status, self.row.reason

    @property
    def calls(self):
        """The calls in order of arrival, as channel and reply."""
        calls = [(call.t_s, name, call.reply) for name in "AB" for call in getattr(self, name.lower()).calls]
        return [(name, reply) for _, name, reply in sorted(calls)]

    @property
    def keys(self):
        return [call.key for channel in (self.a, self.b) for call in channel.calls]

    @property
    def paid(self):
        """How often the first obligation was paid: the truth."""
        ref = self.payday.obligations[0].obligation_id
        return self.a.paid[ref] + self.b.paid[ref]


# --- All policies


@pytest.mark.parametrize("policy", composed.POLICIES)
def test_an_ok_is_one_call(policy):
    """A channel that pays and says so is asked once, under a key, and the obligation is PAID."""
    world = World(policy).run()
    assert world.calls == [("A", "ok")]
    assert world.told == ("PAID", "")
    assert world.row.channel == "A"
    assert None not in world.keys
    assert world.reconcile() == 0
    assert world.paid == 1


@pytest.mark.parametrize("policy", [*SAFE, "unique-outbox"])
def test_a_row_that_has_changed_is_not_paid(policy):
    """What was read before somebody else took it is left to them, and nothing is written over."""
    world = World(policy)
    stale = world.row
    world.run()
    world.instance()._policy.settle(stale)
    assert len(world.calls) == 1
    assert world.told == ("PAID", "")


def test_the_desk_writes_nothing_over():
    """A change, a claim and a write of a row that has changed meanwhile are refused; the other's stays."""
    world = World("state-machine")
    desk = Desk(world.context())
    stale = world.row
    assert desk.take(stale, "first") is not None
    assert desk.take(stale, "second") is None
    assert desk.take_fenced(stale, "second", 9) is None
    assert desk.change(stale, "FAILED") is None
    assert desk.write(stale, "FAILED") is None
    assert (world.row.status, world.row.version) == ("CLAIMED", 1)


class KeepsItsTransaction(composed.load("cas+blind-failover")):
    """Reads once more before it pays, and does not end the transaction."""

    def _pay(self, row):
        self._desk._sql.execute(sa.select(1))
        super()._pay(row)


def idle(world):
    """Run, and tell whether the connection was in no transaction at any call."""
    found = []
    for channel in (world.a, world.b):
        channel.before = lambda ref: found.append(world.sql.in_transaction())
    world.run()
    for _ in range(5):
        world.reconcile(GIVEN_UP_S)
    assert len(found) > 1
    return not any(found)


@pytest.mark.parametrize("policy", composed.POLICIES)
def test_no_transaction_is_open_during_a_call(policy):
    """Whatever was written is committed before a channel is asked to pay."""
    assert idle(World(policy, a=("none/failed",), b=("none/timeout",)))


def test_an_open_transaction_is_found():
    """Planted: a policy that keeps one open."""
    assert not idle(World(KeepsItsTransaction, a=("none/failed",), b=("none/timeout",)))


@pytest.mark.parametrize("name", composed.names())
def test_every_name_is_a_strategy_that_tells_of_both_halves(name):
    """It has the interface's methods, the stores of its halves, and three paragraphs."""
    kind = composed.load(name)
    lock = name.partition("+")[0]
    assert all(callable(getattr(kind, method)) for method in ("open", "run_job", "reconcile", "state"))
    assert composed.load(name) is kind
    assert kind.stores == ({"sql", "redis"} if lock in {"queue", "lease", "lease-fenced"} else {"sql"})
    assert kind.__name__ == kind.lock.__name__ + kind.policy.__name__
    first, guarantee, hole = kind.__doc__.split("\n\n")
    for paragraph, label in ((first, ""), (guarantee, "Guarantee: "), (hole, "Known hole: ")):
        claim, payment = paragraph.removeprefix(label).removeprefix("Claim: ").split(" Payment: ")
        assert paragraph.startswith(f"{label}Claim: ")
        assert min(len(claim), len(payment)) > 20


@pytest.mark.parametrize("policy", composed.POLICIES)
@pytest.mark.parametrize("lock", composed.LOCKS)
def test_halves_and_whole_are_what_the_protocols_say(lock, policy):
    """The same methods with the same arguments, since they are called by position."""
    kind = composed.load(f"{lock}+{policy}")
    for protocol, found in (
        (composed.Lock, kind.lock),
        (composed.Policy, kind.policy),
        (PayoutStrategy, kind),
    ):
        for name, method in vars(protocol).items():
            if inspect.isfunction(method) and not name.startswith("_"):
                wanted = inspect.signature(method).parameters
                assert list(inspect.signature(getattr(found, name)).parameters) == list(wanted)
        assert found.stores <= kind.stores


def test_all_locks_go_with_all_policies():
    """Six locks and seven policies are 42 strategies."""
    assert len(set(composed.names())) == 42


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("cas+state-machin", r"unknown settlement policy 'state-machin' \(did you mean state-machine\?\)"),
        ("cass+state-machine", r"unknown claim lock 'cass' \(did you mean cas\?\)"),
        ("cas", "'cas' is no payout strategy"),
        ("", "'' is no payout strategy"),
    ],
)
def test_an_unknown_name_is_refused(name, complaint):
    """The message names the wrong half, its neighbours, and all there are."""
    with pytest.raises(UsageError, match=complaint) as caught:
        composed.load(name)
    assert all(word in str(caught.value) for word in (*composed.LOCKS, *composed.POLICIES))


# --- blind-failover


def test_blind_failover_asks_the_next_channel_with_a_new_key():
    """After anything but ok; and it does not look back."""
    world = World("blind-failover", a=("none/processing",)).run()
    assert world.calls == [("A", "processing"), ("B", "ok")]
    assert len(set(world.keys)) == 2
    assert world.row.channel == "B"


def test_blind_failover_gives_up_after_three_rounds():
    """All channels say no three times: FAILED, with the reason."""
    world = World("blind-failover", a=("none/failed",), b=("none/failed",)).run()
    assert Counter(world.calls) == {("A", "failed"): 3, ("B", "failed"): 3}
    assert world.told == ("FAILED", "no channel said ok in 3 rounds")


# --- retry-new-key, retry-same-key


def test_retry_new_key_never_repeats_a_key():
    """Three calls to the first channel only, each under its own key, then FAILED."""
    world = World("retry-new-key", a=("none/failed",)).run()
    assert world.calls == [("A", "failed")] * 3
    assert len(set(world.keys)) == 3
    assert world.told == ("FAILED", "not ok in 3 calls")


def test_retry_same_key_always_repeats_it():
    """Four calls under the obligation's id, then UNKNOWN; one more each round; people look after twelve."""
    world = World("retry-same-key", a=("none/failed",), terms=Terms(1, 2, 5, False, 0)).run()
    assert len(world.calls) == retry_same_key.TRIES
    assert set(world.keys) == {world.row.obligation_id}
    assert world.told == ("UNKNOWN", "failed")
    for calls in range(retry_same_key.TRIES + 1, retry_same_key.ALL_TRIES):
        assert world.reconcile() == 1
        assert len(world.calls) == calls
    assert world.reconcile() == 0
    assert world.told == ("REVIEW", "failed after 12 calls")


def test_retry_same_key_waits_longer_each_time():
    """Before the second, third and fourth call, with jitter, up to twice the wait before."""
    pauses = set()
    for seed in range(20):
        world = World("retry-same-key", a=("none/failed",), terms=Terms(1, 2, 5, False, 0))
        world._instances = seed
        times = [call.t_s for call in world.run().a.calls]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert all(gap <= retry_same_key.FIRST_WAIT_S * 2**turn for turn, gap in enumerate(gaps))
        pauses.add(tuple(gaps))
    assert len(pauses) == 20


def test_retry_same_key_hears_in_a_later_round():
    """A payment that was denied is found by its key once it has moved."""
    world = World("retry-same-key", a=("later/processing",)).run()
    assert world.told == ("UNKNOWN", "processing")
    assert world.reconcile(TERMS.settle_s) == 0
    assert (world.told, world.paid) == (("PAID", ""), 1)


def test_retry_same_key_leaves_a_foreign_key_to_people():
    """A mismatch cannot be mended by calling again."""
    world = World("retry-same-key", a=("none/mismatch",)).run()
    assert world.calls == [("A", "mismatch")]
    assert world.told == ("REVIEW", "the key was used for another payment")


# --- query-then-retry


def test_query_then_retry_believes_a_success():
    """What the query finds is not paid again."""
    world = World("query-then-retry", a=("now/failed",), terms=Terms(1, 0, 5, True, 1000)).run()
    assert world.calls == [("A", "failed")]
    assert (world.told, world.paid) == (("PAID", ""), 1)


def test_query_then_retry_waits_for_what_is_processing():
    """It queries some times; what is still under way then is UNKNOWN, and found by reconciliation."""
    world = World("query-then-retry", a=("later/processing",), terms=Terms(1, 0, 5, True, 1000)).run()
    assert world.told == ("UNKNOWN", "processing")
    assert world.a.queries.total() == query_then_retry.ASKS
    assert world.reconcile() == 1
    assert world.reconcile(5) == 0
    assert (world.told, world.paid, len(world.calls)) == (("PAID", ""), 1, 1)


def test_query_then_retry_pays_again_what_is_not_there():
    """Under a new key, three calls at most, then people look."""
    world = World("query-then-retry", a=("none/failed",)).run()
    assert world.calls == [("A", "failed")] * 3
    assert len(set(world.keys)) == 3
    assert world.told == ("REVIEW", "not found after 3 calls")


def test_query_then_retry_leaves_silence_to_people():
    """No answer to the query: UNKNOWN, then REVIEW; but it goes on when an answer comes in time."""
    world = World("query-then-retry", a=("none/failed", "now/ok"))
    world.a.deaf = True
    world.run()
    assert world.told == ("UNKNOWN", "timeout")
    assert world.reconcile(1) == 1
    assert len(world.calls) == 1
    world.a.deaf = False
    assert world.reconcile(1) == 0
    assert (world.told, world.paid) == (("PAID", ""), 1)

    silent = World("query-then-retry", a=("none/failed",))
    silent.a.deaf = True
    silent.run()
    assert silent.reconcile(GIVEN_UP_S) == 0
    assert silent.told == ("REVIEW", "timeout, whenever it was queried")


def test_query_then_retry_asks_about_a_dead_workers_call():
    """What the dead worker paid is found, not paid again."""
    world = World("query-then-retry")
    world.a.after = die_once()
    with pytest.raises(Killed):
        world.run()
    assert world.reconcile(TERMS.visibility_s + STALE_S) == 0
    assert (world.told, world.paid) == (("PAID", ""), 1)


# --- failover-after-proof


def test_failover_after_proof_cancels_before_it_goes_on():
    """A payment on its way is voided, and the next channel pays."""
    world = World("failover-after-proof", a=("later/processing",)).run()
    assert world.calls == [("A", "processing"), ("B", "ok")]
    world.clock.sleep(ALL_VISIBLE_S)
    assert (world.told, world.paid) == (("PAID", ""), 1)


def test_failover_after_proof_believes_the_void_not_the_reply():
    """The incident's lie: said failed, was paid; the void tells, and no other channel is asked."""
    world = World("failover-after-proof", a=("now/failed",)).run()
    assert world.calls == [("A", "failed")]
    assert (world.told, world.row.channel, world.paid) == (("PAID", ""), "A", 1)


def test_failover_after_proof_waits_for_proof():
    """While the void is not answered nothing else is called; afterwards the next channel pays."""
    world = World("failover-after-proof", a=("none/timeout",))
    world.a.deaf = True
    world.run()
    assert world.told == ("UNKNOWN", "the void was not answered")
    assert world.reconcile(1) == 1
    assert len(world.calls) == 1
    world.a.deaf = False
    world.reconcile(1)
    assert world.told == ("FAILED_DEFINITE", "voided")
    assert world.reconcile(1) == 0
    assert world.calls == [("A", "timeout"), ("B", "ok")]
    assert world.paid == 1


def test_failover_after_proof_gives_silence_to_people():
    """A void that is never answered."""
    world = World("failover-after-proof", a=("none/timeout",))
    world.a.deaf = True
    assert world.run().reconcile(GIVEN_UP_S) == 0
    assert world.told == ("REVIEW", "no void was ever answered")


def test_failover_after_proof_has_three_rounds():
    """Each channel is called three times at most, over several reconciliations."""
    world = World("failover-after-proof", a=("none/failed",), b=("none/failed",)).run()
    assert world.told == ("FAILED_DEFINITE", "voided")
    assert [world.reconcile(1) for _ in range(3)] == [1, 1, 0]
    assert Counter(name for name, _ in world.calls) == {"A": 3, "B": 3}
    assert world.told == ("REVIEW", "not paid after 6 calls")


def test_failover_after_proof_counts_no_call_that_was_not_made():
    """A channel that cannot be reached needs no void: nothing was sent, and the next one is asked."""
    world = World("failover-after-proof", a=("none/unreachable",))
    world.a.deaf = True
    assert world.run().told == ("PAID", "")
    assert (world.row.channel, world.row.tries, world.paid) == ("B", 1, 1)


# --- unique-outbox


def test_unique_outbox_uses_one_key_everywhere():
    """On the next channel too; after three rounds people look."""
    world = World("unique-outbox", a=("none/failed",), b=("none/timeout",), terms=Terms(1, 2, 5, False, 0)).run()
    assert world.told == ("UNKNOWN", "timeout")
    assert [world.reconcile(1) for _ in range(2)] == [1, 0]
    assert len(world.calls) == 6
    assert len(set(world.keys)) == 1
    assert world.told == ("REVIEW", "timeout after 3 rounds")


def test_unique_outbox_leaves_an_entered_intent_to_its_worker():
    """A second worker that met the same obligation does nothing, however freshly it has read the row."""
    world = World("unique-outbox").run()
    world.instance()._policy.settle(world.row)
    assert len(world.calls) == 1
    assert world.told == ("PAID", "")


def test_unique_outbox_sends_what_a_dead_worker_entered():
    """Under the same key, so that a channel that has paid says so."""
    world = World("unique-outbox")
    world.a.after = die_once()
    with pytest.raises(Killed):
        world.run()
    assert world.reconcile() == 1
    assert world.reconcile(stale_s([world.a])) == 0
    assert (world.told, world.paid) == (("PAID", ""), 1)


# --- state-machine


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        ("ok", "PAID"),
        ("failed", "UNKNOWN"),
        ("processing", "UNKNOWN"),
        ("timeout", "UNKNOWN"),
    ],
)
def test_state_machine_believes_only_ok(reply, status):
    """Everything else that came from the channel is UNKNOWN, and nobody else is called."""
    world = World("state-machine", a=(f"none/{reply}",)).run()
    assert world.calls == [("A", reply)]
    assert world.told == (status, "" if status == "PAID" else reply)


@pytest.mark.parametrize(("reply", "tries"), [("unreachable", 1), ("mismatch", 2)])
def test_state_machine_goes_on_after_what_is_definite(reply, tries):
    """Where certainly nothing was paid the next channel is asked at once; only calls that were made count."""
    world = World("state-machine", a=(f"none/{reply}",)).run()
    assert (world.told, world.row.channel, world.row.tries) == (("PAID", ""), "B", tries)


def test_state_machine_waits_out_an_outage():
    """As long as no channel can be reached nothing is counted; afterwards it pays."""
    world = World("state-machine", a=("none/unreachable",), b=("none/unreachable",)).run()
    for _ in range(10):
        assert world.reconcile(1) == 1
    assert (world.told, world.row.tries) == (("FAILED_DEFINITE", "unreachable"), 0)
    world.a.script = ("now/ok",)
    assert world.reconcile(1) == 0
    assert world.paid == 1


def test_state_machine_writes_sent_before_it_calls():
    """With the channel and the key of the call that follows."""
    world = World("state-machine")
    seen = []
    world.a.before = lambda ref: seen.append(world.row)
    world.run()
    assert [(row.status, row.channel, [row.key]) for row in seen] == [("SENT", "A", world.keys)]


def test_state_machine_asks_only_when_the_answer_means_something():
    """No query before the visibility lag is over; a success then is PAID."""
    world = World("state-machine", a=("now/failed",)).run()
    world.a.answers = ("not_found",)  # the lie that an early query would meet
    assert world.reconcile(TERMS.visibility_s) == 1
    assert not world.a.queries
    world.a.answers = ()
    assert world.reconcile(MARGIN_S) == 0
    assert (world.told, world.paid) == (("PAID", ""), 1)


@pytest.mark.parametrize("lie", ["failed", "not_found"])
def test_state_machine_believes_no_before_settlement(lie):
    """A late effect may still come, so `failed` and `not_found` count only when none can be on its way."""
    world = World("state-machine", a=("later/failed",), b=("now/ok",)).run()
    world.a.answers = (lie,)
    assert world.reconcile(TERMS.visibility_s + MARGIN_S) == 1
    assert world.told == ("UNKNOWN", "failed")
    assert world.reconcile(TERMS.settle_s) == 0
    assert (world.told, world.calls, world.paid) == (("PAID", ""), [("A", "failed")], 1)


def test_state_machine_calls_again_what_is_certainly_unpaid():
    """On the next channel, under a new key, four calls in all; then people look. A call without an answer takes
    one round more than one that was denied: see the stalled channel."""
    world = World("state-machine", a=("none/failed",), b=("none/timeout",)).run()
    open_ = [world.reconcile(ALL_VISIBLE_S) for _ in range(6)]
    assert open_ == [1, 1, 1, 1, 1, 0]
    assert world.calls == [("A", "failed"), ("B", "timeout")] * 2
    assert len(set(world.keys)) == 4
    assert world.told == ("REVIEW", "not paid after 4 calls")


def test_state_machine_gives_silence_to_people():
    """A channel that answers no query: UNKNOWN as long as there is hope, never another call."""
    world = World("state-machine", a=("now/timeout",))
    world.a.deaf = True
    world.run()
    assert world.reconcile(ALL_VISIBLE_S) == 1
    assert world.reconcile(GIVEN_UP_S) == 0
    assert world.told == ("REVIEW", "timeout, whenever it was queried")
    assert len(world.calls) == 1


def test_state_machine_doubts_a_dead_workers_call():
    """SENT for longer than a call can take: its worker died, and what it sent is UNKNOWN, then found."""
    world = World("state-machine")
    world.a.after = die_once()
    with pytest.raises(Killed):
        world.run()
    assert world.reconcile(TERMS.timeout_s) == 1
    assert world.told == ("SENT", "")
    assert world.reconcile(MARGIN_S) == 1
    assert world.told == ("UNKNOWN", "its worker did not come back")
    assert world.reconcile(TERMS.visibility_s + MARGIN_S) == 0
    assert (world.told, world.paid) == (("PAID", ""), 1)


def test_state_machine_finds_a_false_ok_on_the_statement():
    """What is not on it is doubted, queried and paid again; what is on it is confirmed."""
    world = World("state-machine", a=("none/ok",), count=4)
    second = world.payday.obligations[2].obligation_id
    world.run()
    world.a.calls = [call for call in world.a.calls if call.ref != second]
    world.a._enter(second, 102, None)
    world.a.calls[-1].effect_s = 0.0
    world.reconcile(TERMS.visibility_s)
    assert world.told == ("PAID", "")
    world.reconcile(MARGIN_S)
    assert world.told == ("UNKNOWN", "not on the statement")
    world.reconcile(ALL_VISIBLE_S)
    assert (world.told, world.row.channel, world.paid) == (("PAID", ""), "B", 1)
    states = world.own.state(world.payday.payday_id)
    assert (states[second].status, states[second].reason) == ("PAID", "on the statement")


@pytest.mark.parametrize("policy", composed.POLICIES)
def test_reconciliation_counts_what_is_unfinished(policy):
    """Three that nobody has paid yet; what a state machine has paid, until it is on the statement."""
    world = World(policy, count=6)
    world.reconcile()
    assert world.unfinished == 6
    world.run().reconcile()
    assert world.unfinished == 3 + (3 if policy == "state-machine" else 0)
    world.a.deaf = True
    world.reconcile(ALL_VISIBLE_S)
    assert world.unfinished == 3 + (3 if policy == "state-machine" else 0)
    world.a.deaf = False
    world.reconcile()
    assert world.unfinished == 3


def test_state_machine_does_not_take_silence_for_a_statement():
    """An empty statement of a channel that answers no query says nothing; of one that answers, everything."""
    world = World("state-machine", a=("none/ok",))
    world.a.deaf = True
    world.run().reconcile(ALL_VISIBLE_S)
    assert world.told == ("PAID", "")
    world.a.deaf = False
    world.reconcile()
    assert world.told == ("UNKNOWN", "not on the statement")


@pytest.mark.parametrize("answers", [(), ("processing",)])
def test_state_machine_does_not_take_a_lost_statement_for_an_empty_one(answers):
    """When the query finds a payment, or one on its way, the empty statement beside it was none: all are compared
    again with the next one."""
    world = World("state-machine", count=6).run()
    world.a.answers = answers
    world.a.statement = dict
    world.reconcile(ALL_VISIBLE_S)
    assert [state.status for state in world.own.state(world.payday.payday_id).values()] == ["PAID", "DUE"] * 3
    assert (world.told, world.unfinished) == (("PAID", ""), 3 + 3)
    del world.a.statement
    world.reconcile()
    assert (world.told, world.unfinished) == (("PAID", "on the statement"), 3)


class Stalled(ScriptedChannel):
    """Takes up nothing until `until_s`: queries get no answer, and a payment waits in its socket's buffer."""

    until_s = 20.0

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.waiting = []

    def pay(self, *wish):
        if self.clock.now_s() >= self.until_s:
            return super().pay(*wish)
        self.waiting.append(wish)
        self.clock.sleep(self.terms.timeout_s)
        return "timeout"

    def query(self, ref):
        if self.clock.now_s() < self.until_s:
            return "timeout"
        while self.waiting:
            super().pay(*self.waiting.pop())
        return super().query(ref)


@pytest.mark.parametrize("effect", ["now", "later"])
@pytest.mark.parametrize("dies", [False, True])
@pytest.mark.parametrize(("unheard", "paid"), [(state_machine.UNHEARD, 1), (frozenset(), 2)])
def test_state_machine_waits_for_what_a_stalled_channel_takes_up(effect, dies, unheard, paid, monkeypatch):
    """However old the call is when the channel comes back, the first query after that does not prove it unpaid.
    Planted: believed at once, since the row is old, the `not_found` has it paid twice."""
    monkeypatch.setattr(state_machine, "UNHEARD", unheard)
    world = World("state-machine")
    world.a = Stalled("A", world.clock, (f"{effect}/ok",), TERMS)
    worker = world.instance()
    if dies:
        world.a.clock = Dying(world.clock)
        with pytest.raises(Killed):
            worker.run_job(Job(world.payday.payday_id, "interest", 1, 0, 1))
        world.a.clock = world.clock
    else:
        world.run()
    world.reconcile(2)
    assert world.told == ("UNKNOWN", "its worker did not come back" if dies else "timeout")
    world.reconcile(ALL_VISIBLE_S)
    assert not world.a.calls
    world.reconcile(Stalled.until_s - world.clock.now_s())
    for _ in range(4):
        world.reconcile(ALL_VISIBLE_S)
    assert (world.row.status, world.paid) == ("PAID", paid)


class Dying:
    """Tells the time, and kills who waits."""

    def __init__(self, clock):
        self.now_s = clock.now_s

    def sleep(self, seconds):
        raise Killed


def test_state_machine_pays_what_a_stalled_channel_lost():
    """Two answered queries, as far apart as an effect can be late and unseen, are proof."""
    world = World("state-machine")
    world.a = Stalled("A", world.clock, ("none/ok",), TERMS)
    world.run().reconcile(Stalled.until_s)
    assert world.told == ("UNKNOWN", "not_found at first")
    world.reconcile(ALL_VISIBLE_S - MARGIN_S)
    assert world.told == ("UNKNOWN", "not_found at first")
    assert world.reconcile(MARGIN_S) == 0
    assert (world.told, world.row.channel, world.paid) == (("PAID", ""), "B", 1)


def test_state_machine_does_not_call_late():
    """A worker that was held up between its note and its call does not make it; reconciliation begins anew."""
    world = World("state-machine")
    policy = world.instance()._policy
    real = policy._desk.change

    def held_up(row, status, **values):
        changed = real(row, status, **values)
        if status == "SENT":
            world.clock.sleep(MARGIN_S * 2)
        return changed

    policy._desk.change = held_up
    policy.settle(world.row)
    assert world.told == ("FAILED_DEFINITE", "not sent: too late")
    assert not world.calls
    assert world.reconcile() == 0
    assert world.paid == 1


# --- Slow channels: a worker that waits for an answer is not dead


PATIENT = Terms(timeout_s=8.0, visibility_s=0.0, settle_s=0.0, honours_keys=False, key_retention_s=0.0)


class SlowWorld(World):
    """Every call takes as long as it can without a time-out, and is then watched by reconciliation."""

    def __init__(self, policy):
        super().__init__(policy, a=("none/failed",), b=("none/failed",), terms=PATIENT)
        self.swept = []
        self.watching = False
        for channel in (self.a, self.b):
            channel.before = self.wait
            channel.query = lambda ref, query=channel.query: (self.wait(ref), query(ref))[1]

    def wait(self, ref):
        """Let a connection and an answer take their time, then reconcile, and note who pays meanwhile."""
        if self.watching:
            return
        self.clock.sleep(2 * PATIENT.timeout_s)
        self.watching = True
        called = len(self.calls)
        self.reconcile()
        self.swept += self.calls[called:]
        self.watching = False


@pytest.mark.parametrize("policy", composed.POLICIES)
def test_a_worker_that_waits_is_left_alone(policy):
    """However slow the channel is within its time-out, and however many calls a settlement makes."""
    world = SlowWorld(policy).run()
    assert world.calls
    assert not world.swept


@pytest.mark.parametrize("policy", [policy for policy in composed.POLICIES if policy not in SAFE])
def test_a_sweep_that_ignores_the_time_out_is_found(policy, monkeypatch):
    """Planted: two seconds for every channel, and a worker that does not say that it is alive."""
    with monkeypatch.context() as patched:
        patched.setattr(composed, "stale_s", lambda channels: STALE_S)
        assert SlowWorld(policy).run().swept
    monkeypatch.setattr(Desk, "touch", lambda desk, row: None)
    assert SlowWorld(policy).run().swept


def test_a_claim_is_stale_after_the_slowest_channels_time_out():
    """A connection and an answer may each take it; prompt channels have two seconds."""
    clock = ManualClock()
    prompt = ScriptedChannel("A", clock)
    patient = ScriptedChannel("B", clock, terms=PATIENT)
    assert stale_s([prompt]) == STALE_S
    assert stale_s([prompt, patient]) == 2 * PATIENT.timeout_s + MARGIN_S


# --- What each policy is known to do wrong, and what the state machine makes of the same script


def die_once():
    """Return what kills the first worker that comes."""
    left = [1]

    def die(ref):
        if left:
            left.pop()
            raise Killed

    return die


HOLES = {
    "blind-failover": ({"a": ("now/failed",)}, 2),
    "retry-new-key": ({"a": ("now/timeout", "now/ok")}, 2),
    "retry-same-key": ({"a": ("now/timeout", "now/ok"), "terms": Terms(1.0, 2.0, 5.0, True, 0.5)}, 2),
    "query-then-retry": ({"a": ("now/timeout", "now/ok")}, 2),
    "failover-after-proof": ({"a": ("none/ok",)}, 0),
    "unique-outbox": ({"a": ("now/failed",)}, 2),
}


def settled(policy, **script):
    """Return how often the obligation is paid once everything has been settled."""
    world = World(policy, **script).run()
    for _ in range(10):
        world.reconcile(ALL_VISIBLE_S)
    return world.paid


@pytest.mark.parametrize("policy", HOLES)
def test_the_known_hole(policy):
    """Scripted lies make the policy pay twice, or never."""
    script, paid = HOLES[policy]
    assert settled(policy, **script) == paid


@pytest.mark.parametrize("policy", HOLES)
def test_the_state_machine_stands_the_same_script(policy):
    """It pays once."""
    assert settled("state-machine", **HOLES[policy][0]) == 1


@pytest.mark.parametrize("policy", ["blind-failover", "retry-new-key"])
def test_the_known_hole_of_a_swept_claim(policy):
    """A worker that dies after its call: blind policies pay again, the state machine does not."""
    for name, paid in ((policy, 2), ("state-machine", 1)):
        world = World(name)
        world.a.after = die_once()
        with pytest.raises(Killed):
            world.run()
        for _ in range(3):
            world.reconcile(ALL_VISIBLE_S)
        assert (world.paid, world.row.status) == (paid, "PAID")


@pytest.mark.parametrize("policy", SAFE)
def test_the_known_hole_of_a_pause(policy):
    """A worker that stops just before its call, for longer than everything, pays what was paid meanwhile."""
    world = World(policy)
    paused = []

    def pause(ref):
        if not paused:
            paused.append(ref)
            for _ in range(5):
                world.reconcile(ALL_VISIBLE_S)

    world.a.before = pause
    world.run()
    assert world.paid == 2


# --- An adversary: any effect, any reply, deaf spells, early queries that lie, and workers that die anywhere


EFFECTS = ("now", "none", "later")
REPLIES = ("ok", "failed", "processing", "timeout")
OUTCOMES = (*(f"{effect}/{reply}" for effect in EFFECTS for reply in REPLIES), "none/unreachable", "none/mismatch")
NO = ("failed", "processing", "not_found")
ROUNDS = 40


class Adversary(ScriptedChannel):
    """Keeps its terms, if anything."""

    def __init__(self, name, clock, random, promised):
        script = random.choices(OUTCOMES, k=random.randint(1, 4))
        super().__init__(name, clock, script, promised, keeps=TERMS, before=self.die, after=self.die)
        self.random = random

    def die(self, ref):
        """Kill whoever comes, now and then."""
        if self.random.random() < 0.05:
            raise Killed

    def query(self, ref):
        """Any `no` while a call is too young to be visible, or its money has yet to move; at times no answer."""
        truth = super().query(ref)
        young = any(call.ref == ref and call not in self._visible(ref) for call in self.calls)
        lie = self.random.choice(NO) if young or truth == "processing" else truth
        return "timeout" if self.random.random() < 0.2 else lie

    def void(self, ref):
        """At times no answer, though it was done."""
        done = super().void(ref)
        return "timeout" if self.random.random() < 0.2 else done

    def statement(self):
        """At times none."""
        return {} if self.random.random() < 0.2 else super().statement()


class MortalDesk(Desk):
    """A desk at which a worker dies now and then, just before a change or just after."""

    def __init__(self, context, mortal):
        super().__init__(context)
        self.mortal = mortal

    def change(self, *arguments, **values):
        return self._perhaps(lambda: super(MortalDesk, self).change(*arguments, **values))

    def paid(self, *arguments):
        return self._perhaps(lambda: super(MortalDesk, self).paid(*arguments))

    def _perhaps(self, change):
        luck = self.mortal.random()
        if luck < 0.03:
            raise Killed
        changed = change()
        if luck > 0.97:
            raise Killed
        return changed


class Ordeal(World):
    """Three interest obligations among adversaries, and workers that die anywhere."""

    def __init__(self, policy, seed, promised=TERMS):
        super().__init__(policy, count=6)
        self.random = seeded("ordeal", seed)
        self.a, self.b = (Adversary(name, self.clock, self.random, promised) for name in "AB")

    def mortal(self):
        """Return a worker that may die, under either kind of lock."""
        made = composed.load(f"{self.random.choice(['cas', 'none'])}+{self.policy}")(self.context())
        made._policy._desk = MortalDesk(self.context(), self.random)
        return made

    def endure(self):
        """Run jobs and reconcile at odd moments; return how often the obligations were paid, and their states."""
        for turn in range(ROUNDS):
            worker = self.mortal()
            try:
                if turn % 7 == 0 and turn < ROUNDS / 2:
                    worker.run_job(Job(self.payday.payday_id, "interest", turn + 1, 0, 1))
                else:
                    worker.reconcile(self.payday.payday_id)
            except Killed:
                self.sql.rollback()  # as the server does when a connection is lost
            self.clock.sleep(self.random.uniform(0, TERMS.settle_s))
        for _ in range(10):  # in the end nobody dies any more
            self.a.before = self.a.after = self.b.before = self.b.after = lambda ref: None
            self.run().reconcile(ALL_VISIBLE_S)
        owed = [each.obligation_id for each in self.payday.obligations if each.kind == "interest"]
        states = self.own.state(self.payday.payday_id)
        paid = self.a.paid + self.b.paid
        return [(paid[each], states[each].status) for each in owed]


SEEDS = range(60)


@pytest.mark.slow
def test_a_key_that_lives_long_enough_is_safe():
    """In the same ordeal a channel that honours the key pays under it once."""
    assert max(paid for seed in SEEDS for paid, _ in Ordeal("retry-same-key", seed).endure()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("policy", SAFE)
def test_nobody_is_paid_twice_whatever_happens(policy):
    """While channels keep their terms: whatever they do and say, wherever workers die, at most once."""
    ends = Counter(end for seed in SEEDS for end in Ordeal(policy, seed).endure())
    assert max(paid for paid, _ in ends) == 1
    assert {status for _, status in ends} <= {"PAID", "REVIEW", "FAILED_DEFINITE"}
    assert not ends[1, "FAILED_DEFINITE"]  # what is left of channels that were never reached
    assert ends[1, "PAID"] > len(SEEDS)


@pytest.mark.slow
def test_the_state_machine_says_paid_only_of_what_was_paid():
    """In the end its PAID is true, false oks included; what it cannot mend is with people."""
    ends = Counter(end for seed in SEEDS for end in Ordeal("state-machine", seed).endure())
    assert not ends[0, "PAID"]
    assert ends[0, "REVIEW"]


def test_broken_terms_are_found_out():
    """Planted: the same ordeal with channels that promise to be prompt and are not makes it pay twice."""
    prompt = Terms(0.0, 0.0, 0.0, True, 1000.0)
    assert any(paid > 1 for seed in SEEDS for paid, _ in Ordeal("state-machine", seed, prompt).endure())


@pytest.mark.parametrize("policy", [policy for policy in HOLES if policy not in (*SAFE, "retry-same-key")])
def test_the_ordeal_is_one(policy):
    """Planted: every policy with a hole pays somebody twice in it; only keys that live for ever are no hole."""
    assert any(paid > 1 for seed in SEEDS for paid, _ in Ordeal(policy, seed).endure())
