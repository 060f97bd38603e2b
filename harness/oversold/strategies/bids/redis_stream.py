"""A Redis stream in front of one consumer, which acknowledges what it has decided."""

from __future__ import annotations

from typing import Any, cast

from oversold.model import Bid, Tranche
from oversold.strategies.bids import redis_queue
from oversold.strategies.bids.redis_queue import Message, RedisQueue
from oversold.strategies.interface import Context, key

GROUP = "allocators"
CONSUMER = "allocator"  # the same name after a restart, since Redis keeps what is unacknowledged by name


class RedisStream(RedisQueue):
    """Bidders XADD their bid to a stream; a single process reads it as a group, decides, then acknowledges.

    Guarantee: no bid is lost with the consumer: what it read and did not acknowledge is read again after its
    restart. No bid is charged twice by that: each is looked up before it is decided, and a bid that has its
    amount is told so again.

    Known hole: the queue. When the backlog, or the time until the consumer is back, outlasts the bidder's wait,
    the bidder has `unknown`, and the stock is held for nobody. The stream is as durable as its Redis is.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._caught_up: set[str] = set()

    def open(self, tranche: Tranche) -> None:
        """Set the stock to the capacity; make the stream and its group, which begins at the first entry."""
        super().open(tranche)
        self._redis.xgroup_create(key(tranche.tranche_id, "stream"), GROUP, id="0", mkstream=True)

    def _ask(self, what: str, bid: Bid) -> str | None:
        # An address for this request alone: a late answer to an earlier one must not be taken for this one's.
        request = f"{self._random.getrandbits(64):016x}"
        fields: dict[Any, Any] = {"what": what, "bid": bid.bid_id, "amount": bid.amount_fen, "request": request}
        self._redis.xadd(key(bid.tranche_id, "stream"), fields)
        answers = key(bid.tranche_id, "answer", request)
        popped = self._redis.blpop([answers], timeout=redis_queue.ANSWER_WAIT_S)
        return cast("tuple[bytes, bytes]", popped)[1].decode() if popped else None

    def consume(self, tranche_id: str, wait_s: float) -> int:
        """Read up to 64 entries, decide them, and only then acknowledge them."""
        entries = self._left_behind(tranche_id) or self._read(tranche_id, ">", wait_s)
        if entries:
            self._decide(tranche_id, [message for _, message in entries])
            self._redis.xack(key(tranche_id, "stream"), GROUP, *(entry_id for entry_id, _ in entries))
        return len(entries)

    def _left_behind(self, tranche_id: str) -> list[tuple[bytes, Message]]:
        """Return what this consumer had read, but not acknowledged, when it died; after a restart only."""
        if tranche_id in self._caught_up:
            return []
        entries = self._read(tranche_id, "0", 0)
        if not entries:
            self._caught_up.add(tranche_id)
        return entries

    def _read(self, tranche_id: str, after: str, wait_s: float) -> list[tuple[bytes, Message]]:
        block_ms = max(1, round(wait_s * 1000))  # zero would be for ever
        streams: dict[Any, Any] = {key(tranche_id, "stream"): after}
        read = self._redis.xreadgroup(GROUP, CONSUMER, streams, count=redis_queue.BATCH, block=block_ms)
        entries = cast("list[tuple[bytes, dict[bytes, bytes]]]", cast("list[Any]", read)[0][1] if read else [])
        return [(entry_id, _message(fields)) for entry_id, fields in entries]


def _message(fields: dict[bytes, bytes]) -> Message:
    return cast(Message, tuple(fields[name].decode() for name in (b"what", b"bid", b"amount", b"request")))
