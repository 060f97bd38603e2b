"""Ask the channel what became of a call before calling again."""

from typing import ClassVar

from oversold.model import Payday, QueryReply
from oversold.strategies.payouts.desk import Desk, Row
from oversold.strategies.payouts.interface import PayoutContext
from oversold.strategies.payouts.patience import overdue

CALLS = 3
ASKS = 5
WAIT_S = 0.05


class QueryThenRetry:
    """Pay on the first channel; after any answer but ok, query. Only what it does not find is paid again, thrice.

    Guarantee: a payment that the query can see is never repeated.

    Known hole: the visibility lag. Right after a call not_found means nothing yet, and a payment that is still on
    its way looks failed; the next call, under a new key, pays it again. So does a worker that pauses between its
    query and its call while another one pays.
    """

    stores: ClassVar[frozenset[str]] = frozenset({"sql"})

    def __init__(self, context: PayoutContext) -> None:
        self._desk = Desk(context)
        self._clock = context.clock
        self._channel = next(iter(context.channels.values()))

    def open(self, payday: Payday) -> None:
        """Nothing of its own."""

    def settle(self, row: Row) -> None:
        """Call, query, call again; REVIEW after three calls, UNKNOWN when the query does not decide."""
        for calls in range(row.tries + 1, CALLS + 1):
            key = self._desk.fresh_key()
            if self._channel.pay(row.obligation_id, row.user_id, row.amount_fen, key) == "ok":
                self._desk.paid(row, self._channel.name)
                return
            if self._decided(row, self._ask(row), calls):
                return
        self._desk.change(row, "REVIEW", reason=f"not found after {CALLS} calls", tries=CALLS)

    def recover(self, row: Row) -> None:
        """Query first: there may have been a call."""
        if not self._decided(row, self._ask(row), row.tries):
            self.settle(row)

    def reconcile(self, payday_id: str) -> int:
        """Query what is UNKNOWN; pay again what is not found; leave to people what is never decided."""
        for row in self._desk.in_status(payday_id, "UNKNOWN"):
            answer = self._channel.query(row.obligation_id)
            if answer == "success":
                self._desk.paid(row, self._channel.name)
            elif answer in {"failed", "not_found"}:
                claimed = self._desk.change(row, "CLAIMED")
                if claimed is not None:
                    self.settle(claimed)
            elif overdue(row, self._channel.terms):
                self._desk.change(row, "REVIEW", reason=f"{answer}, whenever it was queried")
        return 0

    def _ask(self, row: Row) -> QueryReply:
        """Query until the answer is not `processing`, five times at most."""
        answer: QueryReply = "processing"
        for turn in range(ASKS):
            if turn:
                self._clock.sleep(WAIT_S)
            self._desk.touch(row)
            answer = self._channel.query(row.obligation_id)
            if answer != "processing":
                break
        self._desk.touch(row)  # the next call may be a payment
        return answer

    def _decided(self, row: Row, answer: QueryReply, calls: int) -> bool:
        """Write down what the answer says; false when it says that nothing was paid."""
        if answer == "success":
            self._desk.paid(row, self._channel.name)
        elif answer in {"processing", "timeout"}:
            self._desk.change(row, "UNKNOWN", reason=answer, tries=calls)
        return answer not in {"failed", "not_found"}
