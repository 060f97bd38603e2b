"""Somebody's HTTP service: a lane is one kept-alive connection, and a tap is one request (and perhaps polls)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from oversold.assignment import Assignment
from oversold.bid_plan import BidPlan
from oversold.clock import SystemClock, now_ns
from oversold.errors import StoreUnavailableError
from oversold.evidence import HoldEnd, Outcome, RefusedBy
from oversold.platform.faults import Faults
from oversold.platform.pipeline import Tap
from oversold.services.mapping import Service
from oversold.services.placeholders import Gap, parse
from oversold.services.replies import unmapped, verdict_of
from oversold.services.requests import Answer
from oversold.services.templates import Prepared, place_of
from oversold.services.wire import Adopt, Connection, NoAnswerError, NotHttpError, NotSentError, Reply, address_of

NO_PLACE = "it answered pending, with no Location at the service itself that could be asked"


class End(NamedTuple):
    """How a tap is recorded. `answered`: the service said for sure at which moment it knew."""

    outcome: Outcome
    hold: HoldEnd
    refused_by: RefusedBy
    answered: bool
    failed_step: int = 0


# Whoever was not told for sure may have held stock, and even bought, at any moment since the request was sent.
ENDS: Mapping[Answer, End] = {
    "ok": End(Outcome.OK, HoldEnd.CONFIRMED, RefusedBy.NOBODY, answered=True),
    "sold_out": End(Outcome.SOLD_OUT, HoldEnd.NONE, RefusedBy.STRATEGY, answered=True),
    "busy": End(Outcome.BUSY, HoldEnd.NONE, RefusedBy.STRATEGY, answered=True),
    "declined": End(Outcome.ERROR, HoldEnd.RELEASED, RefusedBy.STEP, answered=False, failed_step=1),
    "error": End(Outcome.ERROR, HoldEnd.RELEASED, RefusedBy.STRATEGY, answered=False),
    "unknown": End(Outcome.UNKNOWN, HoldEnd.RELEASED, RefusedBy.NOBODY, answered=False),
}


class ServiceTarget:
    """The client side of one worker process. `--rtt` has no meaning here: the network is a real one.

    `longest_s` is how long a tap may take without anything being wrong with the harness. `adopt` makes the lanes'
    sockets out of connected ones.

    Raises:
        UsageError: an environment variable that the service's file names is not set, or `ca_file` is of no use.
    """

    def __init__(self, assignment: Assignment[BidPlan], worker: int, adopt: Adopt | None = None) -> None:
        plan = assignment.plan
        self.service = Service.model_validate(assignment.service["service"])
        self.clock = SystemClock()
        self.faults = Faults()
        self._address = address_of(self.service)
        self._adopt = adopt
        fixed: dict[str, str | int] = {
            "run_id": assignment.run_id,
            "tranche_id": assignment.service["tranche_id"],
            "capacity_fen": plan.capacity_fen,
            "unit_fen": plan.min_bid_fen,
        }
        self.bid = Prepared(self.service, self.service.bid, fixed)
        self.poll = Prepared(self.service, self.service.poll, fixed)
        self.user_pattern = _pattern(self.service.user_id, assignment.run_id)
        share, rest = divmod(self.service.bounds.requests, plan.processes)
        self._left = share + (worker < rest)
        self.longest_s = self.service.longest_s

    def connection(self) -> Connection:
        """Return a lane's connection, not opened yet."""
        return Connection(self._address, self._adopt)

    def may_send(self) -> bool:
        """Count one more request; false when this process's share of `bounds.requests` is used up."""
        self._left -= 1
        if self._left >= 0:
            return True
        bound = self.service.bounds.requests
        self.faults.add("limit", "bid", f"the service file's bound of {bound:,} requests was reached")
        return False

    def lane(self, number: int) -> ServiceLane:
        """Open lane `number`.

        Raises:
            StoreUnavailableError: the service does not take a connection.
        """
        return ServiceLane(self)

    def close(self) -> None:
        """Nothing is shared but numbers."""


class ServiceLane:
    """One lane: `run(tap)` sends the bid and records what the service said."""

    def __init__(self, target: ServiceTarget) -> None:
        self._target = target
        self._bid, self._poll = target.bid, target.poll
        self._user_pattern = target.user_pattern
        self._bid_rules = target.service.bid.reply
        self._poll_rules = target.service.poll.reply
        self._by_location = target.service.poll.by_location
        self._connection = target.connection()
        self.pipeline = self
        try:
            self._connection.open()
        except NotSentError as error:
            service = target.service
            raise StoreUnavailableError(
                f"the service {service.name} at {service.url} took no connection of a lane ({error}): start it, "
                "or use fewer --lanes"
            ) from error

    def run(self, tap: Tap) -> None:
        """Take one tap through; its outcome, hold and times are set as they become known."""
        target, bid = self._target, tap.bid
        if not target.may_send():
            tap.outcome = Outcome.ERROR
            return
        values: dict[str, str | int] = {
            "bid_id": bid.bid_id,
            "n": tap.index,
            "amount_fen": bid.amount_fen,
            "attempt": tap.attempt,
        }
        values["user_id"] = self._user_pattern % values
        request = self._bid.render(values)
        # Until more is known. A lane that is interrupted leaves it at that.
        tap.hold = HoldEnd.RELEASED
        tap.t_sent = tap.t_reserved = now_ns()
        try:
            reply = self._connection.ask(request)
        except NotSentError as error:
            target.faults.add("store", "bid", f"the service did not take a connection: {error}")
            tap.outcome, tap.hold, tap.refused_by = Outcome.ERROR, HoldEnd.NONE, RefusedBy.STRATEGY
            return
        except NoAnswerError as error:
            if isinstance(error, NotHttpError):
                target.faults.add("nonsense", "bid", str(error))
            return
        answer = verdict_of(self._bid_rules, reply.status, reply.body)
        if answer is None:
            target.faults.add("unmapped", "bid", unmapped("bid", self._bid_rules, reply.status))
            answer = "error"
        if answer == "pending":
            answer = self._settled(request, reply, values)
        end = ENDS[answer]
        tap.outcome, tap.hold, tap.refused_by = end.outcome, end.hold, end.refused_by
        tap.failed_step = end.failed_step
        if end.answered:
            tap.t_reserved = now_ns()

    def _settled(self, request: bytes, reply: Reply, values: dict[str, str | int]) -> Answer:
        """Ask what became of a pending bid until it is known or the time is over.

        A poll changes nothing at the service, so one that is lost is sent again; so is one whose reply no rule
        fits, which says nothing of the bid. If that was the last word, it is noted.
        """
        target = self._target
        manners, clock = target.service.poll, target.clock
        ends_s = clock.now_s() + manners.for_s
        if self._by_location:
            asked = request.split(b" ", 2)[1].decode("ascii")
            place = place_of(target.service, asked, reply.location or "") if reply.location else None
            if place is None:
                target.faults.add("nonsense", "bid", NO_PLACE)
                return "unknown"
            values["location"] = place
        question = self._poll.render(values)
        strange: int | None = None
        while clock.now_s() < ends_s:
            clock.sleep(manners.every_ms / 1e3)
            if not target.may_send():
                return "unknown"
            try:
                reply = self._connection.ask(question)
            except (NoAnswerError, NotSentError):
                continue
            answer = verdict_of(self._poll_rules, reply.status, reply.body)
            if answer is not None and answer != "pending":
                return answer
            strange = reply.status if answer is None else None
        if strange is not None:
            target.faults.add("unmapped", "poll", unmapped("poll", self._poll_rules, strange))
        return "unknown"

    def reset(self) -> None:
        """Leave an answer that is still to come behind, with its connection."""
        self._connection.close()

    def renew(self) -> None:
        """Throw the connection away; the next tap opens another."""
        self._connection.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _pattern(user_id: str, run_id: str) -> str:
    """Return the template of user ids for `%` and a mapping with `n`."""
    written = []
    for piece in parse(user_id):
        if isinstance(piece, Gap):
            written.append("%(n)d" if piece.name == "n" else run_id.replace("%", "%%"))
        else:
            written.append(str(piece).replace("%", "%%"))
    return "".join(written)
