"""What strategies promise without a server: their form, their private world, their manner of trying again."""

import inspect
import random
import threading

import pytest

from oversold.clock import Clock, SystemClock, seeded
from oversold.errors import UsageError
from oversold.model import HOLD_VERDICTS, Bid, Hold
from oversold.strategies.bids import memcached_cas_retry, redis_lua
from oversold.strategies.bids.memcached_cas import MemcachedCas
from oversold.strategies.bids.memcached_cas_retry import FIRST_WAIT_S, TRIES, MemcachedCasRetry
from oversold.strategies.calling import within
from oversold.strategies.interface import BidStrategy, ConsumerStrategy, Context, key
from oversold.strategies.registry import BID_STRATEGIES, load

BID = Bid("t-000001", "t", "user-1", 100)


@pytest.mark.parametrize("name", BID_STRATEGIES)
@pytest.mark.parametrize("method", ["__init__", "open", "reserve", "confirm", "release", "status"])
def test_a_strategy_takes_what_the_interface_says(name, method):
    """The pipeline calls by position: the same number of arguments, under the same names."""
    wanted = inspect.signature(getattr(BidStrategy, method)).parameters
    found = inspect.signature(getattr(load(name), method)).parameters
    assert list(found) == list(wanted)


@pytest.mark.parametrize("name", BID_STRATEGIES)
def test_a_strategy_keeps_no_state_between_its_instances(name):
    """Class attributes are constants: what is shared lives in a store only."""
    values = {k: v for k, v in vars(load(name)).items() if not k.startswith("__") and not callable(v)}
    assert all(isinstance(value, frozenset | str | int | float | tuple) for value in values.values())


def test_a_strategy_that_decides_elsewhere_says_so():
    """The run starts one process more for those that consume, and calls them as the interface says."""
    consumers = {name: load(name).consume for name in BID_STRATEGIES if hasattr(load(name), "consume")}
    assert "redis-queue" in consumers
    wanted = list(inspect.signature(ConsumerStrategy.consume).parameters)
    assert all(list(inspect.signature(consume).parameters) == wanted for consume in consumers.values())


class StoppedClock:
    """A clock on which sleeping is only noted."""

    def __init__(self):
        self.slept = []

    def now_s(self):
        """Return always the same."""
        return 0.0

    def sleep(self, seconds):
        """Note it."""
        self.slept.append(seconds)


def context(clock=None, **clients):
    """Return a context over these clients."""
    return Context(clients, clock or StoppedClock(), random.Random(1))


def test_a_context_hands_out_the_stores_that_were_named():
    """One client each, the same every time."""
    redis, memcached, sql = object(), object(), object()
    world = context(redis=redis, memcached=memcached, sql=sql)
    assert world.redis is redis
    assert world.memcached is memcached
    assert world.sql is sql


@pytest.mark.parametrize("store", ["redis", "memcached", "sql"])
def test_a_store_that_was_not_named_is_not_there(store):
    """The message says what to add, and where."""
    with pytest.raises(UsageError, match=f'add "{store}" to its `stores`'):
        getattr(context(), store)


@pytest.mark.parametrize("name", BID_STRATEGIES)
def test_a_strategy_needs_only_the_stores_it_names(name):
    """Without them it cannot be made, which shows that the list is needed at all."""
    with pytest.raises(UsageError):
        load(name)(context())


def test_keys_of_a_tranche_share_a_prefix():
    """So that a run can find and delete its own, and nobody else's."""
    assert key("t1-2", "left") == "oversold:t1-2:left"
    assert key("t1-2", "answer", "reserve", "t1-2-000001").startswith("oversold:t1-2:")


def test_randomness_depends_on_its_parts_alone():
    """The same in every process; another lane has another sequence."""
    assert seeded(1, 0, 3).random() == seeded(1, 0, 3).random()
    assert seeded(1, 0, 3).random() != seeded(1, 0, 4).random()
    assert seeded(1, 23).random() != seeded(12, 3).random()


def test_the_system_clock_is_a_clock():
    """It goes forward, by at least what was slept."""
    clock: Clock = SystemClock()
    before = clock.now_s()
    clock.sleep(0.01)
    assert clock.now_s() - before >= 0.01


class Answers:
    """What the first `busy` tries of a fail-fast strategy answer, and what the next one does."""

    def __init__(self, busy, then):
        self.left, self.then, self.asked = busy, then, 0

    def __call__(self, bid):
        """Answer one try."""
        assert bid == BID
        self.asked += 1
        self.left -= 1
        return Hold("busy") if self.left >= 0 else Hold(self.then)


@pytest.fixture
def retried(monkeypatch):
    """Run the retrying strategy over scripted answers; return the verdict, the tries, and the pauses."""

    def run(busy, then="ok", seed=1):
        answers = Answers(busy, then)
        monkeypatch.setattr(MemcachedCas, "reserve", answers)
        clock = StoppedClock()
        strategy = MemcachedCasRetry(Context({"memcached": object()}, clock, random.Random(seed)))
        return strategy.reserve(BID).verdict, answers.asked, clock.slept

    return run


@pytest.mark.parametrize("then", [verdict for verdict in HOLD_VERDICTS if verdict != "busy"])
def test_a_decided_answer_is_passed_on_at_once(then, retried):
    """Only busy is worth another try."""
    assert retried(0, then) == (then, 1, [])


@pytest.mark.parametrize("conflicts", range(TRIES))
def test_conflicts_are_tried_again(conflicts, retried):
    """As long as there are tries, with one pause before each."""
    verdict, tries, pauses = retried(conflicts)
    assert (verdict, tries, len(pauses)) == ("ok", conflicts + 1, conflicts)


def test_tries_are_bounded(retried):
    """A bidder is told busy in the end, and the last answer is not waited upon."""
    verdict, tries, pauses = retried(1000)
    assert (verdict, tries, len(pauses)) == ("busy", TRIES, TRIES - 1)


def test_pauses_double_and_are_jittered(retried):
    """Up to 1, 2, 4 ... ms: drawn from the context's generator, so two lanes do not collide in step."""
    pauses = [retried(1000, seed=seed)[2] for seed in range(50)]
    for turn, column in enumerate(zip(*pauses, strict=True)):
        most = FIRST_WAIT_S * 2**turn
        assert min(column) >= 0
        assert most / 2 < max(column) <= most
        assert len(set(column)) == len(column)
    assert retried(1000, seed=3)[2] == pauses[3]


def test_the_retrying_strategy_is_the_fail_fast_one_otherwise():
    """Only `reserve` differs, so the two can be compared."""
    own = {name for name in vars(MemcachedCasRetry) if not name.startswith("__")}
    assert own == {"reserve"}
    assert memcached_cas_retry.TRIES == 8


def test_the_scripts_answers_are_holds():
    """Every number that the script returns has a meaning."""
    returned = {
        int(line.rsplit("return ", 1)[1].split()[0])
        for line in redis_lua.RESERVE.splitlines()
        if "return " in line
    }
    assert returned == set(redis_lua.ANSWERS)
    assert {hold.verdict for hold in redis_lua.ANSWERS.values()} == {"ok", "sold_out", "error"}


def test_a_call_within_its_time_is_answered():
    """With what it returns, None included, or with what it raises."""
    assert within(5, lambda: 7) == 7
    assert within(5, lambda: None) is None
    with pytest.raises(KeyError, match="stock"):
        within(5, lambda: {}["stock"])


def test_a_call_that_never_returns_is_given_up():
    """After the time, whatever the strategy's code waits for."""
    never = threading.Event()
    with pytest.raises(TimeoutError, match=r"no answer within 0\.01 s"):
        within(0.01, never.wait)
    never.set()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_call_that_exits_is_not_called_hung():
    """It answered at once, by ending its thread: `no answer within 30 s` would be untrue."""

    def leave():
        raise SystemExit(3)

    with pytest.raises((SystemExit, RuntimeError)):
        within(5, leave)
