"""The known holes that open when a server itself fails: a failover that forgets, a broker that restarts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, NoReturn
from urllib.parse import urlsplit

import pytest
from pika import BasicProperties
from pika.spec import PERSISTENT_DELIVERY_MODE
from tests.sale import Sale

from oversold.clock import SystemClock
from oversold.errors import StoreUnavailableError
from oversold.model import Claim, Hold, HoldVerdict, Tranche
from oversold.stores import rabbitmq, redis
from oversold.stores.endpoint import Endpoint, free_port
from oversold.stores.guard import Guard
from oversold.strategies.bids import rabbitmq_queue
from oversold.strategies.bids.rabbitmq_queue import RabbitmqQueue
from oversold.strategies.bids.redis_lua import RedisLua
from oversold.strategies.interface import key, open_context

pytestmark = pytest.mark.servers

Eventually = Callable[[Callable[[], bool], float], bool]
Missing = Callable[[str], NoReturn]
NewTranche = Callable[[int], Tranche]


class Remembering(Guard):
    """A guard that can start the program again that it started last, in its folder as that was left."""

    last: tuple[Sequence[str], dict[str, Any]]

    def spawn(self, argv: Sequence[str], **options: Any) -> int:
        self.last = argv, options
        return super().spawn(argv, **options)

    def restart(self, pid: int) -> None:
        """Kill the program and start it again."""
        self.stop(pid, 0)
        argv, options = self.last
        super().spawn(argv, **options)


@pytest.fixture
def keeper() -> Iterator[Remembering]:
    """A guard of the test's own, for servers that are to fail."""
    with Remembering() as guard:
        yield guard


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What closes the lanes after the test."""
    with ExitStack() as closing:
        yield closing


# --- Redis: a failover


def follow(replica: Any, leader: Endpoint) -> None:
    """Let one Redis copy another."""
    url = urlsplit(leader.url)
    replica.config_set("masterauth", url.password)
    replica.replicaof(url.hostname, url.port)


@pytest.mark.parametrize(("lags", "verdict", "left"), [(True, "ok", 100), (False, "sold_out", 300)])
def test_failover_forgets_what_the_replica_had_not_got(
    keeper: Remembering,
    stack: ExitStack,
    eventually: Eventually,
    server_missing: Missing,
    new_tranche: NewTranche,
    lags: bool,
    verdict: HoldVerdict,
    left: int,
) -> None:
    """The known hole: a replica that lags is promoted and sells again what it had not heard of, 1300 of 1000."""
    found = redis.find() or server_missing("redis-server is not installed")
    leader, follower = (redis.start(found, keeper, 10) for _ in range(2))
    replica = redis.connect(follower, SystemClock(), 0)
    stack.callback(replica.close)
    sale = Sale(RedisLua, new_tranche(1000), {"redis": leader}, stack)
    sale.lane_and_clients()[1]["redis"].config_set("repl-diskless-sync-delay", 0)
    follow(replica, leader)
    assert sale.reserve(300)[1] == Hold("ok")
    stock = key(sale.tranche.tranche_id, "left")
    assert eventually(lambda: replica.get(stock) == b"700", 30)
    if lags:
        replica.replicaof("127.0.0.1", free_port())  # it hears nothing more
    assert sale.reserve(400)[1] == Hold("ok")
    assert lags or eventually(lambda: replica.get(stock) == b"300", 30)
    keeper.stop(leader.pid or 0, 0)
    replica.replicaof("NO", "ONE")
    context, clients = open_context({"redis": follower}, RedisLua.stores, SystemClock(), 0, "lane")
    stack.callback(clients["redis"].close)
    promoted = RedisLua(context)
    assert promoted.reserve(sale.bid(600)) == Hold(verdict)
    assert promoted.status(sale.tranche.tranche_id) == Claim("open", left)


# --- RabbitMQ: a restart


def answers(broker: Endpoint) -> bool:
    """Return whether the broker lets anybody in."""
    try:
        rabbitmq.probe(broker.url)
    except StoreUnavailableError:
        return False
    return True


@pytest.mark.slow
def test_restarted_broker_forgets_undecided_bids(
    endpoints: Mapping[str, Endpoint],
    keeper: Remembering,
    stack: ExitStack,
    eventually: Eventually,
    server_missing: Missing,
    new_tranche: NewTranche,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The known hole: a restart forgets a bid that was in memory. Mended by a persistent message."""
    found = rabbitmq.find() or server_missing("RabbitMQ is not installed")
    broker = rabbitmq.start(found, keeper, 10)
    monkeypatch.setattr(rabbitmq_queue, "ANSWER_WAIT_S", 0.05)
    sale = Sale(RabbitmqQueue, new_tranche(1000), {"rabbitmq": broker, "sql": endpoints["sql"]}, stack)
    assert sale.reserve(400)[1] == Hold("unknown")
    with monkeypatch.context() as mended:
        persistent = partial(BasicProperties, delivery_mode=PERSISTENT_DELIVERY_MODE)
        mended.setattr(rabbitmq_queue, "BasicProperties", persistent)
        assert sale.reserve(500)[1] == Hold("unknown")
    keeper.restart(broker.pid or 0)
    assert eventually(lambda: answers(broker), rabbitmq.START_S)
    consumer, _ = sale.lane_and_clients()
    assert isinstance(consumer, RabbitmqQueue)
    assert consumer.consume(sale.tranche.tranche_id, 10) == 1
    assert consumer.consume(sale.tranche.tranche_id, 0.3) == 0
    assert consumer.status(sale.tranche.tranche_id) == Claim("open", 500)
