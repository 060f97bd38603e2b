"""The Redis stream whose consumer takes every message for a new bid."""

from typing import ClassVar

from oversold.strategies.bids.redis_stream import RedisStream


class RedisStreamNoDedupe(RedisStream):
    """The same stream, but the consumer does not look whether the bid was decided before.

    Guarantee: no bid is lost with the consumer; no double charge only as long as each message comes once.

    Known hole: redelivery. A consumer that dies after it has written its decisions and before it acknowledges
    reads the same bids again and takes their amounts a second time, up to 64 bids a crash. The second half is
    held for nobody and never comes back, so the tranche undersells and is full too early.
    """

    broken: ClassVar[bool] = True

    def _has_its_amount(self, state: str | None) -> bool:
        """No: each message is a bid of its own."""
        return False
