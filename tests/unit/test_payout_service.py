"""What stands for a payout service, against a small real HTTP server."""

from __future__ import annotations

import json
import random
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from oversold.errors import UsageError
from oversold.model import Job, Obligation, Payday, PayoutState
from oversold.platform.faults import connection_lost
from oversold.services.mapping import Service
from oversold.strategies.payouts.interface import PayoutContext, PayoutStrategy
from oversold.strategies.payouts.service import ServiceGoneError, StrangeReplyError, bound

DAY = Payday("p1", (Obligation("p1-000000", "p1-u000000", "interest", 150),))


class JobKilledError(BaseException):
    """Stands for the end of a worker's process."""


@dataclass
class Answers:
    """What the server answers: "METHOD path" -> status and body, each once and the last one for good."""

    script: dict[str, list[tuple[int, Any]]] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    url: str = ""

    def next(self, what: str, body: bytes) -> tuple[int, bytes]:
        """Note what was asked; return the answer to it."""
        self.asked.append((what, json.loads(body) if body else None))
        left = self.script.get(what, [(404, "nobody knows")])
        status, answer = left.pop(0) if len(left) > 1 else left[0]
        return status, answer if isinstance(answer, bytes) else json.dumps(answer).encode()

    @property
    def lines(self) -> list[str]:
        """What was asked, in order."""
        return [what for what, _ in self.asked]


@pytest.fixture(scope="module")
def listening():
    """Run one server for the module; `listening.answers` is replaced by each test."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, said = server.answers.next(f"{self.command} {self.path}", body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 - the names that the base class calls

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def answers(listening):
    """Return what the server answers in this test."""
    listening.answers = Answers(url=f"http://127.0.0.1:{listening.server_port}")
    return listening.answers


class Clock:
    """A clock that passes by itself; `at_sleep` is raised by the first sleep, if there is any."""

    def __init__(self, at_sleep=None):
        self.now, self.at_sleep = 0.0, at_sleep

    def now_s(self):
        """Return what the sleeps sum up to."""
        return self.now

    def sleep(self, seconds):
        """Let time pass at once."""
        if self.at_sleep is not None:
            raise self.at_sleep
        self.now += seconds


class Channel:
    """A channel of which only the URL matters."""

    url = "http://127.0.0.1:1001"


def client(answers, clock=None, **sections):
    """Return the strategy that asks the server; `sections` are those of the service's file."""
    table = {"name": "s", "url": answers.url, "obligations": {}, "job": {}, "timeout_s": 2, **sections}
    kind = bound(Service.model_validate(table))
    return kind(PayoutContext({}, clock or Clock(), random.Random(0), {"A": Channel()}))


def job(worker=0, start=1):
    """Return a worker's share of the interest job."""
    return Job("p1", "interest", start, worker, 16)


@contextmanager
def strange(complaint, never="\n"):
    """Expect a reply that does not fit: one line without `never`, and the strategy's fault."""
    with pytest.raises(StrangeReplyError) as caught:
        yield
    assert complaint in str(caught.value)
    assert never not in str(caught.value)
    assert not connection_lost(caught.value)


def test_it_is_a_payout_strategy_without_stores(answers):
    """The platform takes it for one; it needs no server of ours."""
    assert isinstance(client(answers), PayoutStrategy)
    assert client(answers).stores == frozenset()


def test_a_service_that_sells_is_refused():
    """One line says what is missing."""
    with pytest.raises(UsageError, match=r"shop is described as a service for bids.*\[obligations\] and \[job\]"):
        bound(Service(name="shop", url="http://127.0.0.1:1"))


def test_the_service_hears_what_is_due_and_where_to_pay(answers):
    """All in one request, with the channels' own URLs."""
    answers.script = {"POST /paydays": [(201, {})]}
    client(answers).open(DAY)
    due = {"obligation_id": "p1-000000", "user_id": "p1-u000000", "kind": "interest", "amount_fen": 150}
    assert answers.asked == [
        ("POST /paydays", {"payday_id": "p1", "channels": {"A": Channel.url}, "obligations": [due]})
    ]


def test_a_payday_that_is_refused_is_the_services_fault(answers):
    """The status and the beginning of the reply are told."""
    answers.script = {"POST /paydays": [(500, "no such table")]}
    with strange('[obligations] was answered with status 500: "no such table"'):
        client(answers).open(DAY)


def test_only_the_first_worker_asks(answers):
    """The service has workers of its own."""
    answers.script = {"POST /paydays/p1/jobs": [(200, {})]}
    for worker in range(4):
        client(answers).run_job(job(worker))
    assert [body["run"] for _, body in answers.asked] == ["interest#1"]


def test_a_job_that_is_answered_when_it_is_done_is_not_asked_about(answers):
    """A 200 is the end of the job."""
    answers.script = {"POST /paydays/p1/jobs": [(200, {})]}
    client(answers).run_job(job())
    assert answers.lines == ["POST /paydays/p1/jobs"]


def test_a_job_that_is_accepted_is_asked_about_until_it_is_done(answers):
    """Every `every_ms`, by the service's own id for it."""
    answers.script = {
        "POST /paydays/p1/jobs": [(202, {"id": 7})],
        "GET /jobs/7": [(200, {"status": "running"}), (200, {"status": "running"}), (200, {"status": "done"})],
    }
    clock = Clock()
    client(answers, clock, job={"job_id": "id", "done": {"path": "/jobs/{job_id}", "every_ms": 250}}).run_job(
        job()
    )
    assert answers.lines == ["POST /paydays/p1/jobs", "GET /jobs/7", "GET /jobs/7", "GET /jobs/7"]
    assert clock.now == 0.75


def test_a_job_that_cannot_start_yet_is_started_again(answers):
    """A service that lets no two starts run side by side says 409, and is asked until the other one is over."""
    answers.script = {"POST /paydays/p1/jobs": [(409, {}), (409, {}), (200, {})]}
    client(answers).run_job(job(start=2))
    assert answers.lines == ["POST /paydays/p1/jobs"] * 3


def test_a_job_that_never_ends_is_given_up(answers):
    """After `for_s` it is unknown what became of it, so the run proves nothing."""
    answers.script = {"POST /paydays/p1/jobs": [(202, {})], "GET /paydays/p1/jobs/interest%231": [(202, {})]}
    with pytest.raises(ServiceGoneError, match=r"interest#1 is not done after 3 s") as caught:
        client(answers, job={"done": {"for_s": 3, "every_ms": 1000}}).run_job(job())
    assert connection_lost(caught.value)


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ({"POST /paydays/p1/jobs": [(500, {})]}, "[job] was answered with status 500"),
        ({"POST /paydays/p1/jobs": [(202, {})]}, "[job.done] was answered with status 404"),
    ],
)
def test_a_job_that_fails_is_the_services_fault(answers, script, complaint):
    """Whatever no rule fits is an error."""
    answers.script = script
    with strange(complaint):
        client(answers).run_job(job())


RUNNING = {"POST /paydays/p1/jobs": [(202, {})]}
DONE = "GET /paydays/p1/jobs/interest%231"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_question_that_fails_says_nothing_of_the_job(answers, status):
    """It is asked again, and the job is done in the end."""
    answers.script = {**RUNNING, DONE: [(status, {}), (200, {"status": "running"}), (200, {"status": "done"})]}
    client(answers).run_job(job())
    assert answers.lines[1:] == [DONE] * 3


def test_questions_that_fail_for_ever_prove_nothing(answers):
    """After ten seconds the run goes on without the job, and its end is nobody's fault."""
    passing = [(500, {})] * 9 + [(200, {"status": "running"})]  # the time begins again
    answers.script = {**RUNNING, DONE: [*passing, (500, "down")]}
    clock = Clock()
    with pytest.raises(ServiceGoneError, match=r'\[job.done\] was answered with status 500: "down"') as caught:
        client(answers, clock, job={"done": {"every_ms": 1000}}).run_job(job())
    assert clock.now == 10 + 1 + 10
    assert connection_lost(caught.value)


@pytest.mark.parametrize("status", [408, 425, 429, 502, 503, 504])
def test_what_may_be_a_gateways_word_proves_nothing(answers, status):
    """Nobody knows whether the service heard of it, unless a rule of the file says so."""
    lines = ("POST /paydays", "POST /paydays/p1/jobs", "POST /paydays/p1/reconcile", "GET /paydays/p1")
    answers.script = {line: [(status, "no upstream")] for line in lines}
    rules = [{"status": 200, "verdict": "ok"}]
    one = client(answers, job={"reply": rules}, state={}, reconcile={})
    calls = {
        "obligations": lambda: one.open(DAY),
        "job": lambda: one.run_job(job()),
        "reconcile": lambda: one.reconcile("p1"),
        "state": lambda: one.state("p1"),
    }
    for section, call in calls.items():
        with pytest.raises(ServiceGoneError, match=rf'\[{section}\] .* {status}: "no upstream"') as caught:
            call()
        assert connection_lost(caught.value)
    rules.append({"status": status, "verdict": "error"})
    with strange(f"[job] was answered with status {status}"):
        client(answers, job={"reply": rules}).run_job(job())


def test_a_token_that_the_service_repeats_is_not_shown(answers, monkeypatch):
    """Neither in what is wrong with a reply nor in the reasons that it gives."""
    monkeypatch.setenv("PAY_TOKEN", "tok-SECRET-123")
    row = {"obligation_id": "p1-0", "status": "PAID", "reason": "by tok-SECRET-123"}
    odd = {"obligation_id": "p1-0", "status": "tok-SECRET-123\n"}
    bad = (401, {"error": "invalid token Bearer tok-SECRET-123"})
    answers.script = {
        "POST /paydays": [bad],
        "POST /paydays/p1/jobs": [bad, (202, bad[1])],
        "POST /paydays/p1/reconcile": [bad, (200, bad[1])],
        "GET /paydays/p1": [bad, (200, bad[1]), *rows({"x": "tok-SECRET-123"}), *rows(odd), *rows(row)],
    }
    one = client(answers, auth={"env": "PAY_TOKEN"}, job={"job_id": "id"}, state={}, reconcile={})
    calls = [lambda: one.open(DAY), *[lambda: one.run_job(job())] * 2]
    calls += [*[lambda: one.reconcile("p1")] * 2, *[lambda: one.state("p1")] * 4]
    for call in calls:
        with strange("***", never="SECRET"):
            call()
    assert one.state("p1") == {"p1-0": PayoutState("PAID", "by ***")}


def test_beliefs_may_be_longer_than_other_replies(answers):
    """A payday of 10,000 obligations may have more than a MiB of them."""
    many = [{"obligation_id": f"p1-{n:06d}", "status": "PAID", "reason": "x" * 60} for n in range(10_000)]
    answers.script = {"GET /paydays/p1": rows(*many)}
    assert len(client(answers, state={}).state("p1")) == 10_000


@pytest.mark.parametrize("reply", [{}, {"id": None}, {"id": ""}, {"id": True}, {"id": [1]}, b"no JSON"])
def test_a_start_without_an_id_is_strange(answers, reply):
    """Only text and whole numbers can be put into a path."""
    answers.script = {"POST /paydays/p1/jobs": [(202, reply)]}
    with strange("has no id at job_id = 'id'"):
        client(answers, job={"job_id": "id"}).run_job(job())


KILLING = {"job_id": "id", "done": {"path": "/jobs/{job_id}"}, "kill": {"path": "/jobs/{job_id}"}}


def test_a_killed_worker_kills_the_job(answers):
    """What throws the worker out goes on, after the service was told."""
    answers.script = {"POST /paydays/p1/jobs": [(202, {"id": 7})], "DELETE /jobs/7": [(500, {})]}
    with pytest.raises(JobKilledError):
        client(answers, Clock(at_sleep=JobKilledError()), job=KILLING).run_job(job())
    assert answers.lines == ["POST /paydays/p1/jobs", "DELETE /jobs/7"]


def test_a_job_is_not_killed_for_an_error(answers):
    """A strange reply is told; nobody asked for the job's death."""
    answers.script = {"POST /paydays/p1/jobs": [(202, {"id": 7})]}
    with strange("[job.done]"):
        client(answers, job=KILLING).run_job(job())
    assert answers.lines == ["POST /paydays/p1/jobs", "GET /jobs/7"]


def test_without_a_way_to_kill_nothing_is_sent(answers):
    """The worker ends, and the service's job goes on."""
    answers.script = {"POST /paydays/p1/jobs": [(202, {})]}
    with pytest.raises(JobKilledError):
        client(answers, Clock(at_sleep=JobKilledError())).run_job(job())
    assert answers.lines == ["POST /paydays/p1/jobs"]


def rows(*rows):
    """Return the reply to [state] with these rows."""
    return [(200, {"obligations": list(rows)})]


def test_beliefs_are_translated(answers):
    """Words by the table of the file, the reason as it is; paydays of earlier runs are left out."""
    answers.script = {
        "GET /paydays/p1": rows(
            {"obligation_id": "p1-000000", "status": "sent off", "reason": None},
            {"obligation_id": "p1-000001", "status": 3, "reason": "was not there"},
            {"obligation_id": "p11-000000", "status": 3},
        )
    }
    statuses = {"sent off": "SENT", "3": "REVIEW"}
    assert client(answers, state={"statuses": statuses}).state("p1") == {
        "p1-000000": PayoutState("SENT", ""),
        "p1-000001": PayoutState("REVIEW", "was not there"),
    }


@pytest.mark.parametrize(
    ("reply", "complaint"),
    [
        ((200, {"payouts": []}), "[state] has no list at rows = 'obligations'"),
        ((200, b"<html>"), "[state] has no list"),
        ((200, {"obligations": [{"id": 1}]}), "nothing at id = 'obligation_id'"),
        ((200, {"obligations": [{"obligation_id": "p1-0", "status": "gone"}]}), "says 'gone' of p1-0"),
        ((302, {}), "[state] was answered with status 302"),
    ],
)
def test_beliefs_that_cannot_be_read_are_strange(answers, reply, complaint):
    """Nothing is guessed."""
    answers.script = {"GET /paydays/p1": [reply]}
    with strange(complaint):
        client(answers, state={}).state("p1")


def test_a_service_without_state_makes_no_claims(answers):
    """It is not asked, and the audit can see that it need not tell."""
    silent, telling = client(answers), client(answers, state={})
    assert (silent.state("p1"), silent.claims, telling.claims) == ({}, False, True)
    assert answers.asked == []


def test_reconciliation_says_how_many_are_open(answers):
    """By the number in the reply, wherever it is."""
    answers.script = {"POST /settle": [(200, {"left": {"all": 3}})]}
    assert client(answers, reconcile={"path": "/settle", "open": "left.all"}).reconcile("p1") == 3


@pytest.mark.parametrize("found", [None, "3", 1.5, True, -1, [1]])
def test_reconciliation_needs_a_whole_number(answers, found):
    """Zero by mistake would end the payday."""
    answers.script = {"POST /paydays/p1/reconcile": [(200, {"open": found})]}
    with strange("[reconcile] has no number at open = 'open'"):
        client(answers, reconcile={}).reconcile("p1")


def test_without_reconciliation_the_state_says_what_is_open(answers):
    """All that is in no end state; nothing where the service says nothing."""
    answers.script = {
        "GET /paydays/p1": rows(
            *(
                {"obligation_id": f"p1-{n}", "status": status}
                for n, status in enumerate(("paid", "due", "unknown"))
            )
        )
    }
    assert client(answers, state={}).reconcile("p1") == 2
    assert client(answers).reconcile("p1") == 0


def test_a_service_that_is_gone_proves_nothing(answers):
    """Refused or silent: one line that names it, told as a lost store and not as a fault of the design."""
    answers.url = "http://127.0.0.1:1"
    with pytest.raises(
        ServiceGoneError, match=r"the service s at http://127\.0\.0\.1:1 does not answer"
    ) as caught:
        client(answers).open(DAY)
    assert connection_lost(caught.value)
