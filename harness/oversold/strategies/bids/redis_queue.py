"""A Redis list in front of one consumer, which alone decides."""

from __future__ import annotations

from typing import Any, cast

from oversold.model import Bid, Hold, HoldVerdict
from oversold.strategies.bids.allocation import allocate
from oversold.strategies.bids.redis_stock import RedisStock
from oversold.strategies.interface import Context, key

BATCH = 64
ANSWER_WAIT_S = 10  # a bidder waits this long for its answer
ANSWER_KEPT_S = 60

Message = tuple[str, str, str, str]  # reserve or release, bid id, amount in fen, request


class RedisQueue(RedisStock):
    """Bidders push their bid to a list and wait on a list of their own; a single process pops and allocates.

    Guarantee: with one consumer there is no race at all; a repeated bid gets its first answer again.

    Known hole: the queue. When the backlog outlasts the bidder's wait, the answer comes too late: the bidder
    has `unknown`, and the stock is held for nobody. A consumer that dies loses what it has popped, up to 64
    bids: their bidders have `unknown` too. A second consumer would bring the race back.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._random = context.random

    def reserve(self, bid: Bid) -> Hold:
        """Queue up, then wait for the consumer's answer."""
        answer = self._ask("reserve", bid)
        return Hold(cast(HoldVerdict, answer) if answer else "unknown")

    def release(self, bid: Bid, hold: Hold) -> bool:
        """Queue up too, since only the consumer may touch the stock."""
        return self._ask("release", bid) == "ok"

    def _ask(self, what: str, bid: Bid) -> str | None:
        # An address for this request alone: a late answer to an earlier one must not be taken for this one's.
        request = f"{self._random.getrandbits(64):016x}"
        answers = key(bid.tranche_id, "answer", request)
        self._redis.rpush(key(bid.tranche_id, "queue"), f"{what} {bid.bid_id} {bid.amount_fen} {request}")
        popped = cast("tuple[bytes, bytes] | None", self._redis.blpop([answers], timeout=ANSWER_WAIT_S))
        return popped[1].decode() if popped else None

    def consume(self, tranche_id: str, wait_s: float) -> int:
        """Pop up to 64 messages and decide them."""
        queue = key(tranche_id, "queue")
        first = cast("tuple[bytes, bytes] | None", self._redis.blpop([queue], timeout=wait_s))
        if first is None:
            return 0
        messages = [first[1], *cast("list[bytes]", self._redis.lpop(queue, BATCH - 1) or [])]
        self._decide(tranche_id, [cast(Message, tuple(message.decode().split(" "))) for message in messages])
        return len(messages)

    def _decide(self, tranche_id: str, messages: list[Message]) -> None:
        """Decide one by one; write stock, decisions and answers in one transaction."""
        stock, decided = key(tranche_id, "left"), key(tranche_id, "decided")
        left = int(self._redis.get(stock) or 0)
        known = self._known(decided, [bid_id for _, bid_id, _, _ in messages])
        states = dict(known)
        requests = [(what, bid_id, int(amount)) for what, bid_id, amount, _ in messages]
        left, told = allocate(left, requests, states, self._has_its_amount)
        transaction = self._redis.pipeline(transaction=True)
        if states != known:
            transaction.hset(decided, mapping=cast("dict[Any, Any]", states))
        for (_, _, _, request), answer in zip(messages, told, strict=True):
            answers = key(tranche_id, "answer", request)
            transaction.rpush(answers, answer)
            transaction.expire(answers, ANSWER_KEPT_S)
        transaction.set(stock, left)
        transaction.execute()

    def _known(self, decided: str, bid_ids: list[str]) -> dict[str, str]:
        values: list[Any] = cast("list[Any]", self._redis.hmget(decided, bid_ids))
        return {bid_id: value.decode() for bid_id, value in zip(bid_ids, values, strict=True) if value}

    def _has_its_amount(self, state: str | None) -> bool:
        """Tell from its decision whether a bid was granted before: a bidder may send it twice."""
        return state == "held"
