"""A session without servers: whose fault what is, and which servers a run is judged by."""

from types import SimpleNamespace

import pytest

from oversold import session
from oversold.bid_plan import BidPlan
from oversold.errors import LimitError, UsageError
from oversold.session import Burst, Session, opened, server_of, servers_of
from oversold.stores.providers import StoreChoice
from oversold.telling import Telling


def plan(strategy="redis-lua", sql="postgres"):
    """Return a plan."""
    return BidPlan(scenario="bid-burst", strategy=strategy, sql=sql)


class Opens:
    """A strategy whose `open` raises something."""

    def __init__(self, error):
        self.error = error

    def open(self, _):
        """Raise it."""
        raise self.error


def test_more_than_a_strategy_is_made_for_is_bad_input():
    """The run ends with the reason, and no promise was broken; any other error is the strategy's own."""
    burst = Burst()
    with pytest.raises(LimitError, match="a million"):
        opened(lambda: Opens(LimitError("a million tokens at most")), lambda it: it.open(None), burst)
    assert burst.faults == []
    assert opened(lambda: Opens(UsageError("not named")), lambda it: it.open(None), burst) is None
    assert [fault["kind"] for fault in burst.faults] == ["raised"]


def test_a_plan_says_which_servers_it_needs():
    """`sql` is whichever server the plan names; what a strategy does not use is none of its servers."""
    assert servers_of(plan("redis-lua")) == {"redis"}
    assert servers_of(plan("row-lock")) == {"sql"}
    assert servers_of(plan("row-lock", "mariadb")) == {"mariadb"}
    assert servers_of(plan("rabbitmq-queue", "mariadb")) == {"rabbitmq", "mariadb"}
    assert server_of("redis", plan("redlock", "mariadb")) == "redis"


@pytest.fixture
def broken(monkeypatch):
    """A session of two plans whose RabbitMQ has died; nothing was started."""
    found = Session([plan("redis-lua"), plan("rabbitmq-queue")], StoreChoice(), Telling())
    dead = {"rabbitmq": [3]}
    found.endpoints = {
        name: SimpleNamespace(pids=tuple(dead.get(name, [1])), store=name, url="") for name in found._names
    }
    found.guard = SimpleNamespace(returncode=lambda pid: 9 if pid == 3 else None)
    monkeypatch.setattr(session, "_answers", lambda endpoint: True)
    return found


def test_a_run_is_judged_by_its_own_servers(broken):
    """Another design's broker that dies is replaced before the next run; it says nothing of this one."""
    assert broken.lost_stores(plan("redis-lua")) == []
    assert broken.lost_stores(plan("rabbitmq-queue")) == ["RabbitMQ"]
    assert broken.lost_stores() == ["RabbitMQ"]
    assert 3 in broken.servers(plan("rabbitmq-queue"))
    assert 3 not in broken.servers(plan("redis-lua"))


def test_servers_that_could_not_be_started_anew_are_started_by_the_next_run(broken, monkeypatch):
    """One failed start is not the end of all later runs."""
    started = []

    def start():
        started.append(len(started))
        if len(started) == 1:
            raise OSError("no port")

    monkeypatch.setattr(broken, "_open", start)
    broken._runs = 1
    with pytest.raises(OSError, match="no port"):
        broken.new_run()

    def gone(_):
        raise OSError("the guard process that keeps the servers has died")

    broken.guard = SimpleNamespace(returncode=gone)
    assert broken.new_run().endswith("-2")
    assert started == [0, 1]
