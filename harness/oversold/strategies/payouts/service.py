"""Stands for somebody's payout service: the same jobs and the same audit, but it asks over HTTP and pays nothing.

The service is told where our channels are, and pays through them. Their books are the truth, as ever.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Protocol, cast

from oversold.clock import Clock
from oversold.errors import UsageError
from oversold.model import Job, Payday, PayoutState
from oversold.services.mapping import Service
from oversold.services.paydays import PaydayRequests
from oversold.services.payout_mapping import JobRequest, PayoutService, StateRequest
from oversold.services.reader import MAX_LIST_BYTES
from oversold.services.replies import at_path, document_of, verdict_of
from oversold.services.requests import Answer
from oversold.services.said import hushed, said, secrets_of, shortened
from oversold.services.wire import Address, Connection, NoAnswerError, NotSentError, Reply, address_of
from oversold.strategies.payouts.desk import END_STATUSES
from oversold.strategies.payouts.interface import PayoutContext, PayoutStrategy

KILL_S = 1.5  # whoever kills a job waits for two seconds
PASSING_S = 10  # for so long a start may be asked about in vain
# They say nothing of what was asked: too much, not now, or a gateway that heard nothing.
PASSING = (408, 425, 429, 502, 503, 504)


class ServiceGoneError(ConnectionError):
    """The payout service does not answer: nothing is known of it, so the run proves nothing."""


class StrangeReplyError(Exception):
    """The payout service answered otherwise than its file says."""


class Reached(Protocol):
    """A channel that another process can reach."""

    url: str


class ServiceClient:
    """Asks a payout service; `bound` makes the classes with a service in them.

    Its own workers pay. So of all the workers of a start only the first one asks, and waits for the job's end.
    """

    stores: ClassVar[frozenset[str]] = frozenset()
    service: ClassVar[Service]
    payout: ClassVar[PayoutService]
    claims: ClassVar[bool]  # whether it says what it believes; else its beliefs are not judged

    def __init__(self, context: PayoutContext) -> None:
        self._channels, self._clock = context.channels, context.clock
        self._line = _Line(self.service)

    def open(self, payday: Payday) -> None:
        """Tell the service what is due, and where the channels are."""
        urls = {name: cast(Reached, channel).url for name, channel in self._channels.items()}
        for request in self._requests(payday.payday_id).obligations(payday, urls):
            self._line.document("[obligations]", request)

    def run_job(self, job: Job) -> None:
        """Start the job and wait until it is done. Whoever kills this worker kills the service's job as well,
        where the file says how."""
        if job.worker > 0:
            return
        start = _Start(self._line, self.payout.job, self._requests(job.payday_id), job, self._clock)
        try:
            start.follow()
        except Exception:
            raise
        except BaseException:
            start.kill()
            raise

    def reconcile(self, payday_id: str) -> int:
        """Let the service settle what is open; return how much it, or else its state, says is open still."""
        request = self.payout.reconcile
        if request is None:
            return sum(state.status not in END_STATUSES for state in self.state(payday_id).values())
        document, reply = self._line.document("[reconcile]", self._requests(payday_id).once(request))
        found = at_path(document, request.open)
        if isinstance(found, bool) or not isinstance(found, int) or found < 0:
            raise StrangeReplyError(
                f"[reconcile] has no number at open = {request.open!r}: {said(self.service, reply)}"
            )
        return found

    def state(self, payday_id: str) -> Mapping[str, PayoutState]:
        """Ask what the service believes; empty where it does not say."""
        request = self.payout.state
        if request is None:
            return {}
        document, reply = self._line.document("[state]", self._requests(payday_id).once(request))
        rows = at_path(document, request.rows)
        if not isinstance(rows, list):
            raise StrangeReplyError(f"[state] has no list at rows = {request.rows!r}: {said(self.service, reply)}")
        secrets = secrets_of(self.service)
        states = (_state(request, row, secrets) for row in rows)
        # A service may keep the paydays of earlier runs, and list them too.
        return {name: state for name, state in states if name.startswith(f"{payday_id}-")}

    def _requests(self, payday_id: str) -> PaydayRequests:
        return PaydayRequests(self.service, self.payout, payday_id)


class _Line:
    """Asks one service, each time over a connection of its own: so no answer is taken for another one's, whoever
    was thrown out while waiting."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._address: Address | None = None  # made when it is needed: most workers never ask

    def ask(self, request: bytes, timeout_s: float | None = None) -> Reply:
        """Return the answer; `timeout_s` is the service's own unless given.

        Raises:
            ServiceGoneError: there is none.
        """
        if self._address is None:
            self._address = address_of(self.service)
        address = self._address._replace(timeout_s=timeout_s or self.service.timeout_s)
        connection = Connection(address, most_bytes=MAX_LIST_BYTES)
        try:
            return connection.ask(request)
        except (NotSentError, NoAnswerError) as error:
            where = f"the service {self.service.name} at {self.service.url}"
            raise ServiceGoneError(f"{where} does not answer: {error}") from error
        finally:
            connection.close()

    def document(self, section: str, request: bytes) -> tuple[Any, Reply]:
        """Return the JSON of a good answer, None where there is none in it, and the answer itself.

        Raises:
            ServiceGoneError: there is no answer, or one that says nothing.
            StrangeReplyError: it is a bad one.
        """
        reply = self.ask(request)
        if reply.status >= 300:
            raise self.unfit(section, reply, PASSING)
        return document_of(reply.body), reply

    def unfit(self, section: str, reply: Reply, passing: Collection[int]) -> ServiceGoneError | StrangeReplyError:
        """Return the error for an answer that fits nothing: one of the statuses `passing` tells nothing."""
        text = f"{section} was answered with status {reply.status}: {said(self.service, reply)}"
        return ServiceGoneError(text) if reply.status in passing else StrangeReplyError(text)


class _Start:
    """One start of a job at the service, from the request that starts it to its end."""

    def __init__(self, line: _Line, asked: JobRequest, requests: PaydayRequests, job: Job, clock: Clock) -> None:
        self._line, self._asked, self._requests, self._job, self._clock = line, asked, requests, job, clock
        self._until_s = clock.now_s() + asked.done.for_s
        self._job_id: str | int | None = None
        self._location: str | None = None
        self._vain_since_s: float | None = None

    def follow(self) -> None:
        """Start the job, again as long as the service is busy, and wait until it is done.

        Raises:
            ServiceGoneError: the service does not answer, or the job takes too long.
            StrangeReplyError: it says that the job cannot be done.
        """
        verdict = self._start()
        while verdict == "busy":
            self._wait()
            verdict = self._start()
        while verdict != "ok":
            self._wait()
            verdict = self._asked_again()

    def kill(self) -> None:
        """Tell the service to kill the job, if its file says how; what it answers changes nothing any more."""
        if self._asked.kill is None:
            return
        try:
            self._line.ask(self._requests.kill(self._asked.kill, self._job, self._job_id), KILL_S)
        except (ServiceGoneError, UsageError):
            return

    def _start(self) -> Answer:
        reply = self._line.ask(self._requests.job(self._job), max(0.001, self._until_s - self._clock.now_s()))
        verdict = verdict_of(self._asked.reply, reply.status, reply.body)
        if verdict is None or verdict == "error":
            # A rule of the file that says error is believed whatever the status.
            raise self._line.unfit("[job]", reply, PASSING if verdict is None else ())
        if verdict == "pending":
            self._note(reply)
        return verdict

    def _asked_again(self) -> Answer:
        """Ask whether the job is done. A failure of the question says nothing of the job, unless it lasts."""
        reply = self._line.ask(self._requests.done(self._job, self._job_id, self._location))
        verdict = verdict_of(self._asked.done.reply, reply.status, reply.body)
        if verdict is None and (reply.status >= 500 or reply.status in PASSING):
            now_s = self._clock.now_s()
            self._vain_since_s = now_s if self._vain_since_s is None else self._vain_since_s
            if now_s - self._vain_since_s >= PASSING_S:
                raise self._line.unfit("[job.done]", reply, (reply.status,))
            return "pending"
        self._vain_since_s = None
        if verdict is None or verdict == "error":
            raise self._line.unfit("[job.done]", reply, ())
        return verdict

    def _wait(self) -> None:
        done = self._asked.done
        if self._clock.now_s() > self._until_s:
            raise ServiceGoneError(
                f"{self._job.run} is not done after {done.for_s:g} s: raise for_s of [job.done]"
            )
        self._clock.sleep(done.every_ms / 1e3)

    def _note(self, reply: Reply) -> None:
        """Note what the service calls this start."""
        self._location = reply.location
        path = self._asked.job_id
        if path is None:
            return
        found = at_path(document_of(reply.body), path)
        if isinstance(found, bool) or not isinstance(found, str | int) or found == "":
            raise StrangeReplyError(
                f"the reply to [job] has no id at job_id = {path!r}: {said(self._line.service, reply)}"
            )
        self._job_id = found


def bound(service: Service) -> type[PayoutStrategy]:
    """Return a payout strategy that asks this service.

    Raises:
        UsageError: the service sells and does not pay.
    """
    payout = service.payout
    if payout is None:
        raise UsageError(
            f"{service.name} is described as a service for bids, and this scenario is about payouts: "
            "give a file with [obligations] and [job]"
        )
    body = {
        "__doc__": f"{service.name}, a payout service at {service.url}.",
        "__module__": __name__,
        "service": service,
        "payout": payout,
        "claims": payout.state is not None,
    }
    return type("PayoutServiceClient", (ServiceClient,), body)


def _state(request: StateRequest, row: Any, secrets: Sequence[str]) -> tuple[str, PayoutState]:
    name, theirs = at_path(row, request.id), at_path(row, request.status)
    if name is None:
        text = shortened(str(row), secrets)
        raise StrangeReplyError(f"[state] has a row with nothing at id = {request.id!r}: {text}")
    ours = request.statuses.get(str(theirs))
    if ours is None:
        what, whose = shortened(repr(theirs), secrets), shortened(str(name), secrets)
        raise StrangeReplyError(f"[state] says {what} of {whose}, and statuses does not say what that is")
    return str(name), PayoutState(ours, hushed(str(at_path(row, request.reason) or ""), secrets))
