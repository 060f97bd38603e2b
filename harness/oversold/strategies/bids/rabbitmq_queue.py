"""A RabbitMQ queue in front of one consumer, which keeps its decisions in SQL."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, cast

import sqlalchemy as sa
from pika import BasicProperties
from pika.exceptions import UnroutableError

from oversold.model import Bid, Claim, Hold, HoldVerdict, Tranche
from oversold.strategies.bids import stock_table
from oversold.strategies.bids.allocation import allocate
from oversold.strategies.bids.stock_table import REMAINING, WRITE
from oversold.strategies.dialects import ID
from oversold.strategies.interface import Context, key

if TYPE_CHECKING:
    from pika.adapters.blocking_connection import BlockingChannel
    from pika.spec import Basic

BATCH = 64
ANSWER_WAIT_S = 10.0  # a bidder waits this long for its answer
QUEUE_EXPIRES_MS = 600_000  # a broker that outlives the run forgets a queue that nobody reads
# Answers come straight to the channel that asked, without a queue of their own.
REPLY_TO = "amq.rabbitmq.reply-to"

metadata = sa.MetaData()
decisions = sa.Table(
    "decisions",
    metadata,
    sa.Column("tranche_id", ID, primary_key=True),
    sa.Column("bid_id", ID, primary_key=True),
    sa.Column("state", sa.String(8), nullable=False),
)

# Should a consumer that was thought dead still be at work, the next one waits here and then sees what it wrote.
LOCK = REMAINING.with_for_update()
STATES = sa.select(decisions.c.bid_id, decisions.c.state).where(
    decisions.c.tranche_id == sa.bindparam("tranche"),
    decisions.c.bid_id.in_(sa.bindparam("bids", expanding=True)),
)
ENTER = sa.insert(decisions).values(
    tranche_id=sa.bindparam("tranche"), bid_id=sa.bindparam("bid"), state=sa.bindparam("new")
)
CHANGE = (
    sa.update(decisions)
    .where(decisions.c.tranche_id == sa.bindparam("tranche"), decisions.c.bid_id == sa.bindparam("bid"))
    .values(state=sa.bindparam("new"))
)


@dataclass(frozen=True, slots=True)
class Message:
    """One request as it was delivered: what is asked, for which bid, and where the answer goes."""

    tag: int
    what: str
    bid_id: str
    amount_fen: int
    reply_to: str
    request: str


@dataclass(frozen=True, slots=True)
class Inbox:
    """The consumer's end of one queue: its channel, and what was delivered but is not decided yet."""

    channel: BlockingChannel
    waiting: deque[Message] = field(default_factory=deque)

    def put(self, _: BlockingChannel, how: Basic.Deliver, properties: BasicProperties, body: bytes) -> None:
        """Take one delivery."""
        what, bid_id, amount = body.decode().split(" ")
        reply_to, request = str(properties.reply_to), str(properties.correlation_id)
        self.waiting.append(Message(int(how.delivery_tag or 0), what, bid_id, int(amount), reply_to, request))


class RabbitmqQueue:
    """Bidders publish their bid; a single active consumer commits its decisions to SQL, then acknowledges.

    Guarantee: a bid that the broker has confirmed is decided, whenever the consumer dies: what was not
    acknowledged is delivered again. No bid is charged twice by that: each is looked up before it is decided, and
    a bid that has its amount is told so again.

    Known hole: the queue. When the backlog, or the time until the consumer is back, outlasts the bidder's wait,
    the bidder has `unknown`, and the stock is held for nobody. Messages are kept in the broker's memory: a broker
    that restarts forgets the bids that nobody has decided.
    """

    stores: ClassVar[frozenset[str]] = frozenset({"rabbitmq", "sql"})

    def __init__(self, context: Context) -> None:
        self._connection = context.rabbitmq
        self._sql = context.sql
        self._clock = context.clock
        self._random = context.random
        self._inboxes: dict[str, Inbox] = {}
        self._answers: dict[str, str] = {}
        # Opened here, so that the first bid of the burst does not pay for it.
        self._channel = self._connection.channel()
        self._channel.confirm_delivery()
        self._channel.basic_consume(REPLY_TO, self._take_answer, auto_ack=True)

    def open(self, tranche: Tranche) -> None:
        """Insert the stock row, make the table of decisions and the queue."""
        metadata.create_all(self._sql)
        stock_table.put_stock(self._sql, tranche)
        arguments = {"x-single-active-consumer": True, "x-expires": QUEUE_EXPIRES_MS}
        self._channel.queue_declare(_queue(tranche.tranche_id), durable=True, arguments=arguments)

    def reserve(self, bid: Bid) -> Hold:
        """Publish the bid, then wait for the consumer's answer."""
        answer = self._ask("reserve", bid)
        return Hold(cast(HoldVerdict, answer) if answer else "unknown")

    def confirm(self, bid: Bid, hold: Hold) -> bool:
        """Nothing to do: the consumer took the stock."""
        return True

    def release(self, bid: Bid, hold: Hold) -> bool:
        """Publish that too, since only the consumer may touch the stock."""
        return self._ask("release", bid) == "ok"

    def status(self, tranche_id: str) -> Claim:
        """Report the stock row as the consumer last wrote it."""
        return stock_table.claim(self._sql, tranche_id)

    def _ask(self, what: str, bid: Bid) -> str | None:
        """Return the consumer's answer, `error` when there is no queue, None when no answer came in time."""
        # A word for this request alone: a late answer to an earlier one must not be taken for this one's.
        request = f"{self._random.getrandbits(64):016x}"
        until_s = self._clock.now_s() + ANSWER_WAIT_S
        self._answers.clear()
        body = f"{what} {bid.bid_id} {bid.amount_fen}".encode()
        properties = BasicProperties(reply_to=REPLY_TO, correlation_id=request)
        try:
            self._channel.basic_publish("", _queue(bid.tranche_id), body, properties, mandatory=True)
        except UnroutableError:
            return "error"  # the broker gave it back: there is no such queue, so nobody will decide
        while request not in self._answers:
            rest_s = until_s - self._clock.now_s()
            if rest_s <= 0:
                return None
            self._connection.process_data_events(rest_s)
        return self._answers.pop(request)

    def _take_answer(
        self, _: BlockingChannel, _how: Basic.Deliver, properties: BasicProperties, body: bytes
    ) -> None:
        self._answers[str(properties.correlation_id)] = body.decode()

    def consume(self, tranche_id: str, wait_s: float) -> int:
        """Take up to 64 messages that were delivered, decide and answer them."""
        inbox = self._inboxes.get(tranche_id) or self._subscribe(tranche_id)
        self._connection.process_data_events(0 if inbox.waiting else wait_s)
        batch = [inbox.waiting.popleft() for _ in range(min(BATCH, len(inbox.waiting)))]
        if batch:
            self._handle(tranche_id, inbox.channel, batch)
        return len(batch)

    def _subscribe(self, tranche_id: str) -> Inbox:
        """Ask for the queue's messages, on a channel whose acknowledgements are this queue's alone."""
        inbox = self._inboxes[tranche_id] = Inbox(self._connection.channel())
        inbox.channel.basic_qos(prefetch_count=BATCH)
        inbox.channel.basic_consume(_queue(tranche_id), inbox.put)
        return inbox

    def _handle(self, tranche_id: str, channel: BlockingChannel, batch: list[Message]) -> None:
        """Commit, answer, acknowledge: after a crash anywhere in between the messages come again."""
        answers = self._decide(tranche_id, batch)
        self._answer(channel, batch, answers)
        self._acknowledge(channel, batch)

    def _decide(self, tranche_id: str, batch: list[Message]) -> list[str]:
        """Decide one by one; commit stock and decisions together; return the answers."""
        before = self._sql.execute(LOCK, {"tranche": tranche_id}).scalar_one()
        bids = sorted({message.bid_id for message in batch})
        known = {row.bid_id: row.state for row in self._sql.execute(STATES, {"tranche": tranche_id, "bids": bids})}
        states = dict(known)
        requests = [(message.what, message.bid_id, message.amount_fen) for message in batch]
        left, answers = allocate(before, requests, states, self._has_its_amount)
        self._write(tranche_id, known, states)
        if left != before:
            self._sql.execute(WRITE, {"tranche": tranche_id, "rest": left})
        self._sql.commit()
        return answers

    def _write(self, tranche_id: str, known: dict[str, str], states: dict[str, str]) -> None:
        """Enter the decisions on new bids, and change those of others."""
        changed = [bid for bid, state in states.items() if known.get(bid) != state]
        for statement, bids in (
            (ENTER, [bid for bid in changed if bid not in known]),
            (CHANGE, [bid for bid in changed if bid in known]),
        ):
            if bids:
                rows = [{"tranche": tranche_id, "bid": bid, "new": states[bid]} for bid in bids]
                self._sql.execute(statement, rows)

    def _answer(self, channel: BlockingChannel, batch: list[Message], answers: list[str]) -> None:
        for message, answer in zip(batch, answers, strict=True):
            properties = BasicProperties(correlation_id=message.request)
            channel.basic_publish("", message.reply_to, answer.encode(), properties)

    def _acknowledge(self, channel: BlockingChannel, batch: list[Message]) -> None:
        channel.basic_ack(batch[-1].tag, multiple=True)

    def _has_its_amount(self, state: str | None) -> bool:
        """Tell from its decision whether a bid was granted before: a message may come twice."""
        return state == "held"


def _queue(tranche_id: str) -> str:
    return key(tranche_id, "queue")
