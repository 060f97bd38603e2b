"""The RabbitMQ queue whose consumer acknowledges before it has decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from oversold.strategies.bids.rabbitmq_queue import Message, RabbitmqQueue

if TYPE_CHECKING:
    from pika.adapters.blocking_connection import BlockingChannel


class RabbitmqQueueAckFirst(RabbitmqQueue):
    """The same queue, but the consumer acknowledges its messages first and commits its decisions then.

    Guarantee: no bid is charged twice, however often a bidder repeats it.

    Known hole: a consumer that dies between the two loses up to 64 messages, since the broker has forgotten them.
    Nobody decides these bids: their bidders wait in vain and have `unknown`. Releases are lost in the same way,
    and then the stock stays held for nobody.
    """

    broken: ClassVar[bool] = True

    def _handle(self, tranche_id: str, channel: BlockingChannel, batch: list[Message]) -> None:
        """Acknowledge, then commit and answer."""
        self._acknowledge(channel, batch)
        answers = self._decide(tranche_id, batch)
        self._answer(channel, batch, answers)
