"""The RabbitMQ queue whose consumer takes every message for a new bid."""

from typing import ClassVar

from oversold.strategies.bids.rabbitmq_queue import RabbitmqQueue


class RabbitmqQueueNoDedupe(RabbitmqQueue):
    """The same queue, commit before acknowledgement, but nobody looks whether the bid was decided before.

    Guarantee: a bid that the broker has confirmed is decided; no double charge only as long as each message
    comes once.

    Known hole: redelivery. When the consumer dies after its commit and before its acknowledgement, the same bids
    come again and their amounts are taken a second time, up to 64 bids a crash. The second half is held for
    nobody and never comes back, so the tranche undersells and is full too early.
    """

    broken: ClassVar[bool] = True

    def _has_its_amount(self, state: str | None) -> bool:
        """No: each message is a bid of its own."""
        return False
