"""A Redis list in front of one consumer, which alone decides."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from oversold.model import Bid, Claim, Hold, HoldVerdict, Tranche
from oversold.strategies.interface import Context, key

BATCH = 64
ANSWER_WAIT_S = 10  # a bidder waits this long for its answer
ANSWER_KEPT_S = 60


class RedisQueue:
    """Bidders push their bid to a list and wait on a list of their own; a single process pops and allocates.

    Guarantee: with one consumer there is no race at all; a repeated bid gets its first answer again.

    Known hole: the queue. When the backlog outlasts the bidder's wait, the answer comes too late: the bidder
    has `unknown`, and the stock is held for nobody. A second consumer would bring the race back.
    """

    stores: ClassVar[frozenset[str]] = frozenset({"redis"})

    def __init__(self, context: Context) -> None:
        self._redis = context.redis
        self._random = context.random

    def open(self, tranche: Tranche) -> None:
        """Set the stock to the capacity."""
        self._redis.set(key(tranche.tranche_id, "left"), tranche.capacity_fen)

    def reserve(self, bid: Bid) -> Hold:
        """Queue up, then wait for the consumer's answer."""
        answer = self._ask("reserve", bid)
        return Hold(cast(HoldVerdict, answer) if answer else "unknown")

    def confirm(self, bid: Bid, hold: Hold) -> bool:
        """Nothing to do: the consumer took the stock."""
        return True

    def release(self, bid: Bid, hold: Hold) -> bool:
        """Queue up too, since only the consumer may touch the stock."""
        return self._ask("release", bid) == "ok"

    def status(self, tranche_id: str) -> Claim:
        """Report the stock as the consumer last wrote it."""
        left = int(self._redis.get(key(tranche_id, "left")) or 0)
        return Claim("open" if left > 0 else "full", left)

    def _ask(self, what: str, bid: Bid) -> str | None:
        # An address for this request alone: a late answer to an earlier one must not be taken for this one's.
        request = f"{self._random.getrandbits(64):016x}"
        answers = key(bid.tranche_id, "answer", request)
        self._redis.rpush(key(bid.tranche_id, "queue"), f"{what} {bid.bid_id} {bid.amount_fen} {request}")
        popped = cast("tuple[bytes, bytes] | None", self._redis.blpop([answers], timeout=ANSWER_WAIT_S))
        return popped[1].decode() if popped else None

    def consume(self, tranche_id: str, wait_s: float) -> int:
        """Pop up to 64 messages, decide them one by one, write stock and answers in one transaction."""
        queue, stock, decided = (key(tranche_id, part) for part in ("queue", "left", "decided"))
        first = cast("tuple[bytes, bytes] | None", self._redis.blpop([queue], timeout=wait_s))
        if first is None:
            return 0
        messages = [first[1], *cast("list[bytes]", self._redis.lpop(queue, BATCH - 1) or [])]
        left = int(self._redis.get(stock) or 0)
        requests = [message.decode().split(" ") for message in messages]
        held = self._held(decided, [bid_id for _, bid_id, _, _ in requests])
        transaction = self._redis.pipeline(transaction=True)
        for what, bid_id, amount_text, request in requests:
            amount = int(amount_text)
            if what == "reserve":
                fits = held.get(bid_id) == "held" or left >= amount
                if fits and held.get(bid_id) != "held":
                    left -= amount
                    held[bid_id] = "held"
                    transaction.hset(decided, bid_id, "held")
                answer = "ok" if fits else "sold_out"
            else:
                if held.get(bid_id) == "held":
                    left += amount
                    held[bid_id] = "released"
                    transaction.hset(decided, bid_id, "released")
                answer = "ok"
            answers = key(tranche_id, "answer", request)
            transaction.rpush(answers, answer)
            transaction.expire(answers, ANSWER_KEPT_S)
        transaction.set(stock, left)
        transaction.execute()
        return len(messages)

    def _held(self, decided: str, bid_ids: list[str]) -> dict[str, str]:
        values: list[Any] = cast("list[Any]", self._redis.hmget(decided, bid_ids))
        return {bid_id: value.decode() for bid_id, value in zip(bid_ids, values, strict=True) if value}
