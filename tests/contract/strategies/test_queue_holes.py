"""The known holes of the queues: consumers that die beside their decision, and answers that come too late."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, cast

import pytest
from pika.exceptions import AMQPError
from tests.sale import VARIANTS, Sale, Sell, variant_id

from oversold.model import Claim, Hold, HoldVerdict
from oversold.plan import Sql
from oversold.strategies.bids import rabbitmq_queue, redis_queue
from oversold.strategies.interface import ConsumerStrategy, key

pytestmark = pytest.mark.servers

Variant = tuple[str, Sql]
Clients = dict[str, Any]
WAIT_S = 5.0  # for a message that will come
SHORT_S = 0.3  # for an answer that will not


def variants(*names: str) -> pytest.MarkDecorator:
    """Run a test for these strategies, on every server that each of them runs on."""
    chosen = [variant for variant in VARIANTS if variant[0] in names]
    return pytest.mark.parametrize("variant", chosen, ids=variant_id)


class DiedError(Exception):
    """What a consumer's process would not even notice."""


def dead(*_: Any, **__: Any) -> Any:
    """Die instead of doing it."""
    raise DiedError


def before_it_writes(clients: Clients) -> None:
    """Let a consumer die with its decisions made and not written."""
    if "sql" in clients:
        clients["sql"].commit = dead
    else:
        clients["redis"].pipeline = dead


def after_it_wrote(clients: Clients) -> None:
    """Let a consumer die with its decisions written and nothing said of them to the queue."""
    if "sql" not in clients:
        clients["redis"].xack = dead
        return
    commit = clients["sql"].commit

    def last_act() -> None:
        commit()
        raise DiedError

    clients["sql"].commit = last_act


def consumer_of(sale: Sale) -> tuple[ConsumerStrategy, Clients]:
    """Return a consumer that starts anew, and its clients."""
    lane, clients = sale.lane_and_clients()
    return cast(ConsumerStrategy, lane), clients


def close(clients: Clients) -> None:
    """Close a consumer's connections, as the operating system does when its process has died."""
    for client in clients.values():
        client.close()


def crash(sale: Sale, moment: Callable[[Clients], None]) -> None:
    """Start a consumer; it takes what is in the queue, dies at a moment of its work, and its connections close."""
    consumer, clients = consumer_of(sale)
    moment(clients)
    with pytest.raises(DiedError):
        consumer.consume(sale.tranche.tranche_id, WAIT_S)
    close(clients)


def restart(sale: Sale, wait_s: float = WAIT_S) -> int:
    """Start the next consumer for one batch; return how many messages it got."""
    consumer, clients = consumer_of(sale)
    handled = consumer.consume(sale.tranche.tranche_id, wait_s)
    close(clients)
    return handled


@pytest.fixture
def aside() -> Iterator[Callable[..., Future[Any]]]:
    """Call something in a thread of its own, so that a bidder can wait while the test plays the consumer."""
    with ThreadPoolExecutor(2) as pool:
        yield pool.submit


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Set how long bidders wait for their answer, in seconds."""

    def wait(seconds: float) -> None:
        for module in (redis_queue, rabbitmq_queue):
            monkeypatch.setattr(module, "ANSWER_WAIT_S", seconds)

    return wait


# --- The consumer dies between its decision and its acknowledgement: the message comes again


@variants("redis-stream", "rabbitmq-queue")
def test_redelivered_bid_is_charged_once(open_sale: Sell, aside: Callable[..., Any], variant: Variant) -> None:
    """A bid whose consumer died after deciding it comes again, takes nothing more, and its bidder is told ok."""
    sale = open_sale(variant[0], 1000, variant[1])
    bid = sale.bid(400)
    told = aside(sale.own.reserve, bid)
    crash(sale, after_it_wrote)
    assert restart(sale) == 1
    assert told.result() == Hold("ok")
    assert sale.claim == Claim("open", 600)
    sale.consume()
    assert sale.own.release(bid, Hold("ok"))
    assert sale.claim == Claim("open", 1000)


@variants("redis-stream-no-dedupe", "rabbitmq-queue-no-dedupe")
def test_redelivered_bid_is_charged_twice(open_sale: Sell, aside: Callable[..., Any], variant: Variant) -> None:
    """The known hole: without a look at the decisions the bid takes its amount twice, and half of it for ever."""
    sale = open_sale(variant[0], 1000, variant[1])
    bid = sale.bid(400)
    told = aside(sale.own.reserve, bid)
    crash(sale, after_it_wrote)
    assert restart(sale) == 1
    assert told.result() == Hold("ok")
    assert sale.claim == Claim("open", 200)
    sale.consume()
    assert sale.own.release(bid, Hold("ok"))
    assert sale.claim == Claim("open", 600)


@variants("redis-stream", "redis-stream-no-dedupe", "rabbitmq-queue", "rabbitmq-queue-no-dedupe")
def test_redelivered_release_gives_back_once(open_sale: Sell, aside: Callable[..., Any], variant: Variant) -> None:
    """A release whose consumer died after it was done comes again and gives nothing more back."""
    sale = open_sale(variant[0], 1000, variant[1])
    first, second = sale.bid(400), sale.bid(300)
    for bid in (first, second):
        told = aside(sale.own.reserve, bid)
        assert restart(sale) == 1
        assert told.result() == Hold("ok")
    released = aside(sale.own.release, first, Hold("ok"))
    crash(sale, after_it_wrote)
    assert restart(sale) == 1
    assert released.result() is True
    assert sale.claim == Claim("open", 700)


# --- The consumer dies before its decision is written


@variants("redis-stream", "redis-stream-no-dedupe", "rabbitmq-queue", "rabbitmq-queue-no-dedupe")
def test_undecided_bid_comes_again(open_sale: Sell, aside: Callable[..., Any], variant: Variant) -> None:
    """A bid whose consumer died before deciding it is decided by the next one, once."""
    sale = open_sale(variant[0], 1000, variant[1])
    told = aside(sale.own.reserve, sale.bid(400))
    crash(sale, before_it_writes)
    assert restart(sale) == 1
    assert told.result() == Hold("ok")
    assert sale.claim == Claim("open", 600)


@variants("redis-queue", "rabbitmq-queue-ack-first")
def test_undecided_bid_is_lost(
    open_sale: Sell, aside: Callable[..., Any], patience: Callable[[float], None], variant: Variant
) -> None:
    """The known hole: a bid that left the queue before it was decided is decided by nobody."""
    sale = open_sale(variant[0], 1000, variant[1])
    patience(SHORT_S)
    told = aside(sale.own.reserve, sale.bid(400))
    crash(sale, before_it_writes)
    assert told.result() == Hold("unknown")
    later = aside(sale.own.reserve, sale.bid(500))
    assert restart(sale) == 1  # the later one only: what comes again would come first
    later.result()
    assert restart(sale, SHORT_S) == 0
    assert sale.claim == Claim("open", 500)


@variants("redis-queue", "rabbitmq-queue-ack-first")
def test_undecided_release_is_lost(
    open_sale: Sell, aside: Callable[..., Any], patience: Callable[[float], None], variant: Variant
) -> None:
    """The known hole: a release that is lost in this way leaves the stock held until it is asked for again."""
    sale = open_sale(variant[0], 1000, variant[1])
    bid = sale.bid(400)
    told = aside(sale.own.reserve, bid)
    assert restart(sale) == 1
    assert told.result() == Hold("ok")
    patience(SHORT_S)
    released = aside(sale.own.release, bid, Hold("ok"))
    crash(sale, before_it_writes)
    assert released.result() is False
    assert restart(sale, SHORT_S) == 0
    assert sale.claim == Claim("open", 600)
    sale.consume()
    patience(WAIT_S)
    assert sale.own.release(bid, Hold("ok")) is True
    assert sale.claim == Claim("open", 1000)


@variants("rabbitmq-queue-ack-first")
def test_decided_bid_without_an_answer(
    open_sale: Sell, aside: Callable[..., Any], patience: Callable[[float], None], variant: Variant
) -> None:
    """The known hole: acknowledged, decided, but not answered, a bid holds stock and its bidder knows nothing."""
    sale = open_sale(variant[0], 1000, variant[1])
    patience(SHORT_S)
    told = aside(sale.own.reserve, sale.bid(400))
    crash(sale, after_it_wrote)
    assert restart(sale, SHORT_S) == 0
    assert told.result() == Hold("unknown")
    assert sale.claim == Claim("open", 600)


# --- The bidder does not wait long enough


@variants("redis-queue", "redis-stream", "rabbitmq-queue")
def test_answer_that_comes_too_late(open_sale: Sell, patience: Callable[[float], None], variant: Variant) -> None:
    """The known hole: a bidder who has given up holds stock all the same, once the backlog is worked off."""
    sale = open_sale(variant[0], 1000, variant[1])
    patience(0.05)
    bid, held = sale.reserve(400)
    assert held == Hold("unknown")
    assert sale.own.release(bid, held) is False
    other, _ = sale.reserve(300)
    assert sale.claim == Claim("open", 1000)
    sale.consume()
    patience(WAIT_S)
    assert sale.own.reserve(other) == Hold("ok")  # decided before it was sent again, so it is not charged again
    assert sale.claim == Claim("open", 700)


def gives_late_answers_to_nobody(sale: Sale, patience: Callable[[float], None]) -> None:
    """An answer that came too late is not taken for the answer to a later request."""
    patience(0.05)
    assert sale.reserve(400)[1] == Hold("unknown")
    assert restart(sale) == 1
    patience(SHORT_S)
    assert sale.reserve(500)[1] == Hold("unknown")


@variants("redis-queue", "redis-stream", "rabbitmq-queue")
def test_late_answers(open_sale: Sell, patience: Callable[[float], None], variant: Variant) -> None:
    """Each request has an address or a word of its own."""
    gives_late_answers_to_nobody(open_sale(variant[0], 1000, variant[1]), patience)


@variants("redis-queue", "redis-stream", "rabbitmq-queue")
def test_late_answers_are_found(
    open_sale: Sell, patience: Callable[[float], None], monkeypatch: pytest.MonkeyPatch, variant: Variant
) -> None:
    """Planted: when all requests have the same, the check finds it."""
    sale = open_sale(variant[0], 1000, variant[1])
    monkeypatch.setattr(cast(Any, sale.own)._random, "getrandbits", lambda _: 7)
    with pytest.raises(AssertionError):
        gives_late_answers_to_nobody(sale, patience)


# --- Batches, and who may consume


@variants("redis-stream", "rabbitmq-queue")
def test_consumer_dies_in_the_middle_of_a_backlog(
    open_sale: Sell, patience: Callable[[float], None], monkeypatch: pytest.MonkeyPatch, variant: Variant
) -> None:
    """Of five bids in batches of two each is decided once, although a consumer dies over the first batch."""
    for module in (redis_queue, rabbitmq_queue):
        monkeypatch.setattr(module, "BATCH", 2)
    patience(0.01)
    sale = open_sale(variant[0], 1000, variant[1])
    for _ in range(5):
        assert sale.reserve(100)[1] == Hold("unknown")
    crash(sale, after_it_wrote)
    consumer, clients = consumer_of(sale)
    batches: list[int] = []
    while sum(batches) < 5:
        batches.append(consumer.consume(sale.tranche.tranche_id, WAIT_S))
        assert 0 < batches[-1] <= 2
    assert sale.claim == Claim("open", 500)
    close(clients)
    assert restart(sale, SHORT_S) == 0  # all of each batch was acknowledged


@variants("redis-queue")
@pytest.mark.parametrize(("consumers", "verdict"), [(1, "sold_out"), (2, "ok")])
def test_second_consumer_brings_the_race_back(
    open_sale: Sell,
    aside: Callable[..., Any],
    eventually: Callable[[Callable[[], bool], float], bool],
    monkeypatch: pytest.MonkeyPatch,
    variant: Variant,
    consumers: int,
    verdict: HoldVerdict,
) -> None:
    """The known hole: a second consumer decides between the first one's read and its write: 1300 of 1000."""
    monkeypatch.setattr(redis_queue, "BATCH", 1)
    sale = open_sale(variant[0], 1000, variant[1])
    watch = sale.lane_and_clients()[1]["redis"]
    queue = key(sale.tranche.tranche_id, "queue")
    told = []
    for waiting, amount_fen in enumerate((700, 600), 1):
        told.append(aside(sale.lane().reserve, sale.bid(amount_fen)))
        assert eventually(lambda length=waiting: watch.llen(queue) == length, WAIT_S)
    (first, clients), (second, _) = consumer_of(sale), consumer_of(sale)
    read = clients["redis"].get

    def overtaken(name: str) -> Any:
        value = read(name)
        clients["redis"].get = read
        second.consume(sale.tranche.tranche_id, WAIT_S)
        return value

    if consumers == 2:
        clients["redis"].get = overtaken
    for _ in range(3 - consumers):
        assert first.consume(sale.tranche.tranche_id, WAIT_S) == 1
    assert [one.result() for one in told] == [Hold("ok"), Hold(verdict)]
    assert sale.claim == Claim("open", 300)  # with two, a sale of 600 is forgotten


@variants("rabbitmq-queue")
def test_single_active_consumer(open_sale: Sell, patience: Callable[[float], None], variant: Variant) -> None:
    """Of two consumers the first gets everything; the second gets the rest when the first is gone."""
    sale = open_sale(variant[0], 1000, variant[1])
    (first, clients), (second, _) = consumer_of(sale), consumer_of(sale)
    assert [one.consume(sale.tranche.tranche_id, 0.05) for one in (first, second)] == [0, 0]
    patience(0.01)
    for _ in range(4):
        sale.reserve(100)
    assert second.consume(sale.tranche.tranche_id, SHORT_S) == 0
    handled = 0
    while handled < 4:
        handled += first.consume(sale.tranche.tranche_id, WAIT_S)
    sale.reserve(100)
    close(clients)
    assert second.consume(sale.tranche.tranche_id, WAIT_S) == 1
    assert sale.claim == Claim("open", 500)


@variants("rabbitmq-queue")
def test_consumer_that_is_thought_dead(open_sale: Sell, aside: Callable[..., Any], variant: Variant) -> None:
    """A consumer that lost the broker while it decides commits all the same, and the next one waits for that."""
    sale = open_sale(variant[0], 1000, variant[1])
    told = aside(sale.own.reserve, sale.bid(400))
    (first, clients), (second, others) = consumer_of(sale), consumer_of(sale)
    commit, execute = clients["sql"].commit, others["sql"].execute
    has_read = threading.Event()
    overtaken: list[bool] = []
    handled: list[Future[int]] = []

    def late_commit() -> None:
        clients["rabbitmq"].close()
        handled.append(aside(second.consume, sale.tranche.tranche_id, WAIT_S))
        overtaken.append(has_read.wait(SHORT_S))
        commit()

    def noticed(*arguments: Any) -> Any:
        found = execute(*arguments)
        has_read.set()
        return found

    clients["sql"].commit, others["sql"].execute = late_commit, noticed
    with pytest.raises(AMQPError):
        first.consume(sale.tranche.tranche_id, WAIT_S)
    assert overtaken == [False]
    assert handled[0].result() == 1
    assert told.result() == Hold("ok")
    assert sale.claim == Claim("open", 600)


@variants("rabbitmq-queue")
def test_lost_queue(open_sale: Sell, variant: Variant) -> None:
    """A bid for which the broker has no queue is an error at once, and nothing was given back."""
    sale = open_sale(variant[0], 1000, variant[1])
    _, clients = sale.lane_and_clients()
    clients["rabbitmq"].channel().queue_delete(key(sale.tranche.tranche_id, "queue"))
    bid, held = sale.reserve(400)
    assert held == Hold("error")
    assert sale.own.release(bid, held) is False
    assert sale.claim == Claim("open", 1000)
