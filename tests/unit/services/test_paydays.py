"""The requests of a payday, as the service will read them."""

import json

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oversold.errors import UsageError
from oversold.model import Job, Obligation, Payday
from oversold.services.mapping import Service
from oversold.services.paydays import PaydayRequests

URLS = {"A": "http://127.0.0.1:1001", "our-bank": "http://127.0.0.1:1002"}
DUE = tuple(Obligation(f"p1-{n:06d}", f"p1-u{n:06d}", "interest", 150 + n) for n in range(5))
JOB = Job("p1", "interest", 2, 0, 16)


class Parsed:
    """A request as a server reads it; exactly one must be in the bytes."""

    def __init__(self, raw):
        self.url, self.headers, self.body, self.whole = b"", {}, b"", 0
        parser = httptools.HttpRequestParser(self)
        parser.feed_data(raw)
        assert self.whole == 1
        self.method = parser.get_method().decode()
        self.path = self.url.decode()

    def on_url(self, url):
        """Called by the parser."""
        self.url += url

    def on_header(self, name, value):
        """Called by the parser."""
        self.headers[name.decode().lower()] = value.decode()

    def on_body(self, body):
        """Called by the parser."""
        self.body += body

    def on_message_complete(self):
        """Called by the parser."""
        self.whole += 1

    @property
    def json(self):
        """The body as JSON."""
        return json.loads(self.body)


def requests(payday_id="p1", **sections):
    """Return the requests of a service with these sections."""
    table = {"name": "s", "url": "http://127.0.0.1:8700/api", "obligations": {}, "job": {}, **sections}
    service = Service.model_validate(table)
    return PaydayRequests(service, service.payout, payday_id)


def entered(due=DUE, urls=URLS, **obligations):
    """Return what enters these obligations."""
    payday = Payday("p1", tuple(due))
    return [Parsed(raw) for raw in requests(obligations=obligations).obligations(payday, urls)]


def test_the_obligations_and_the_channels_are_whole_values():
    """One request has all obligations, in order and with their types, and the channels' URLs in their order."""
    (one,) = entered()
    assert (one.method, one.path) == ("POST", "/api/paydays")
    assert one.json["payday_id"] == "p1"
    assert list(one.json["channels"].items()) == list(URLS.items())
    assert one.json["obligations"][1] == {
        "obligation_id": "p1-000001",
        "user_id": "p1-u000001",
        "kind": "interest",
        "amount_fen": 151,
    }
    assert len(one.json["obligations"]) == 5


@pytest.mark.parametrize(("batch", "sizes"), [(None, [5]), (1, [1] * 5), (2, [2, 2, 1]), (5, [5]), (9, [5])])
def test_batches_lose_nothing(batch, sizes):
    """All obligations arrive once, in order, however many there are in one request."""
    parts = [part.json["obligations"] for part in entered(batch=batch)]
    assert [len(part) for part in parts] == sizes
    assert [each["obligation_id"] for part in parts for each in part] == [each.obligation_id for each in DUE]


def test_a_payday_without_obligations_is_entered_too():
    """The service hears of it all the same."""
    assert [one.json["obligations"] for one in entered(due=())] == [[]]


def test_an_item_takes_any_shape():
    """Amounts in yuan are numbers where they stand alone and text where they are told to be; fixed values stay."""
    item = {
        "pay": {"ref": "{obligation_id}"},
        "yuan": "{amount_yuan}",
        "text": "{amount_yuan:text}",
        "currency": "CNY",
    }
    first = entered(item=item, json={"list": ["{obligations}"]})[0].json["list"][0][0]
    assert first == {"pay": {"ref": "p1-000000"}, "yuan": 1.5, "text": "1.50", "currency": "CNY"}


def test_single_channels_may_stand_anywhere():
    """A hyphen in a channel's name is an underscore in its gap."""
    (one,) = entered(
        path="/in?via={channel_A}", headers={"X-Bank": "{channel_our_bank}"}, json={"list": "{obligations}"}
    )
    assert one.path == "/api/in?via=http%3A%2F%2F127.0.0.1%3A1001"
    assert one.headers["x-bank"] == URLS["our-bank"]


def test_a_channel_that_is_not_there_is_named():
    """One line says which, and which there are."""
    with pytest.raises(UsageError, match=r"\{channel_B\}.*there are \{channel_A\}, \{channel_our_bank\}"):
        entered(json={"list": "{obligations}", "second": "{channel_B}"})


@given(st.text(max_size=20), st.text(max_size=20), st.integers(1, 10**16))
def test_any_text_arrives_as_it_is(obligation, user, fen):
    """Braces, quotes, dollars and letters of any script in ids are data and no gaps."""
    due = Obligation(obligation, user + "${HOME}{channels}", "principal", fen)
    found = entered(due=(due,))[0].json["obligations"][0]
    assert (found["obligation_id"], found["user_id"], found["amount_fen"]) == (obligation, due.user_id, fen)


def test_a_job_has_its_names_and_numbers():
    """The # of a start's own name is escaped in a path, and data in JSON."""
    one = Parsed(requests().job(JOB))
    assert (one.path, one.json) == (
        "/api/paydays/p1/jobs",
        {"run": "interest#2", "job": "interest", "start": 2, "workers": 16},
    )
    assert Parsed(requests().done(JOB, None, None)).path == "/api/paydays/p1/jobs/interest%232"


def test_a_start_is_asked_about_by_the_services_own_id():
    """In `done` and in `kill`; where the reply had none, one line says so."""
    job = {"job_id": "id", "done": {"path": "/jobs/{job_id}"}, "kill": {"path": "/jobs/{job_id}/kill"}}
    asking = requests(job=job)
    kill = Service.model_validate({"name": "s", "url": "http://h", "obligations": {}, "job": job}).payout.job.kill
    assert Parsed(asking.done(JOB, 7, None)).path == "/api/jobs/7"
    assert Parsed(asking.done(JOB, "a/b", None)).path == "/api/jobs/a%2Fb"
    assert Parsed(asking.kill(kill, JOB, 7)).path == "/api/jobs/7/kill"
    with pytest.raises(UsageError, match=r"no id for \[job\.kill\] at job_id"):
        asking.kill(kill, JOB, None)


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("/jobs/7", "/jobs/7"),
        ("7?full=1", "/api/paydays/p1/7?full=1"),
        ("http://127.0.0.1:8700/api/jobs/{7}", "/api/jobs/%7B7%7D"),
    ],
)
def test_a_start_is_asked_about_at_its_location(location, path):
    """The Location header is a whole path, or one from where the job was started."""
    assert Parsed(requests(job={"done": {"path": "location"}}).done(JOB, None, location)).path == path


@pytest.mark.parametrize("location", [None, "http://elsewhere/jobs/7"])
def test_a_location_elsewhere_is_not_followed(location):
    """The token of the service is for nobody else."""
    with pytest.raises(UsageError, match="no Location at the service"):
        requests(job={"done": {"path": "location"}}).done(JOB, None, location)


def test_the_token_is_sent_and_can_be_masked(monkeypatch):
    """It is in every request, and in none that people read."""
    monkeypatch.setenv("PAY_TOKEN", "s3cret")
    table = {"name": "s", "url": "http://h", "auth": {"env": "PAY_TOKEN"}, "obligations": {}, "job": {}}
    service = Service.model_validate(table)
    payday = Payday("p1", DUE)
    for masked, there in ((False, True), (True, False)):
        asking = PaydayRequests(service, service.payout, "p1", masked=masked)
        for raw in (*asking.obligations(payday, URLS), asking.job(JOB), asking.done(JOB, None, None)):
            assert (b"Bearer s3cret" in raw) is there
