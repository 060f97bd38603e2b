"""What a dry run tells: the requests as they would be sent, and nothing that is secret."""

import pytest

from oversold.errors import UsageError
from oversold.services.dry_run import describe
from oversold.services.mapping import Auth, BidRequest, LedgerProbe, PollRequest, Request, Rule, Service, served
from oversold.services.payout_mapping import (
    DoneRequest,
    JobRequest,
    KillRequest,
    ObligationsRequest,
    ReconcileRequest,
    StateRequest,
)

FIXED = {"run_id": "r1", "tranche_id": "r1", "capacity_fen": 1000, "unit_fen": 10}
TAP = {"bid_id": "r1-0", "user_id": "r1-user-0", "n": 0, "amount_fen": 120, "attempt": 1}


def told(**fields):
    """Return what is told of a service."""
    return "\n".join(describe(Service(name="shop", url="http://127.0.0.1:80", **fields), FIXED, TAP))


def test_every_request_is_shown_as_it_would_be_sent():
    """With the host, how replies are read, the bounds, and that there is no truth."""
    text = "\n".join(describe(served("http://127.0.0.1:80", "shop"), FIXED, TAP))
    for words in (
        "service shop at http://127.0.0.1:80; nothing has been sent",
        "open, once before the load:\n  | POST /tranches HTTP/1.1\n  | Host: 127.0.0.1:80\n",
        '  | {"tranche_id":"r1","capacity_fen":1000,"unit_fen":10}\n',
        "  | POST /tranches/r1/bids HTTP/1.1\n",
        '  | {"bid_id":"r1-0","user_id":"r1-user-0","amount_fen":120}\n  200, 201 -> ok\n  202 -> pending\n',
        "  anything else -> error\n  no whole reply within 10 s -> unknown\n",
        "  202, 404 -> pending\n  anything else -> pending, it says nothing of the bid\n",
        "poll, while a bid is pending, every 50 ms for at most 10 s, then unknown:\n  | GET /tranches/r1/bids/",
        "  200, status = 'confirmed' -> ok\n",
        "  left: remaining_fen; full when status = 'full'\n",
        "truth: no ledger, so every result is claims only and can never be a pass",
        "bounds: at most 20,000 users and 1,000,000 requests",
    ):
        assert words in text
    assert "note:" not in text


@pytest.mark.parametrize(
    ("ledger", "words"),
    [
        (
            LedgerProbe(sql="postgresql://u:geheim@localhost/d", query="SELECT 1\nWHERE :tranche_id = 1"),
            "  postgresql localhost, database d\n  | SELECT 1\n  | WHERE :tranche_id = 1\n",
        ),
        (LedgerProbe(sql="sqlite:////o.db", query="SELECT 1"), "  sqlite on this machine, database /o.db\n"),
        (LedgerProbe(http=Request(path="/o?t={tranche_id}"), rows="a.b"), "| GET /o?t=r1 HTTP/1.1\n"),
        (
            LedgerProbe(csv="/o-{tranche_id}.csv", columns={"at": "when"}),
            "  the file /o-r1.csv\n  columns: at = when\n",
        ),
    ],
)
def test_where_the_truth_is_read_is_told(ledger, words):
    """Without the password that leads there; what is unknown will be looked up in it."""
    text = told(ledger=ledger)
    assert words in text
    assert "geheim" not in text
    assert "-> unknown, looked up in the ledger afterwards" in text


def test_no_secret_is_shown(monkeypatch):
    """Set or not set, of the environment or written in the file."""
    monkeypatch.setenv("SHOP_TOKEN", "geheim1")
    monkeypatch.setenv("SHOP_DB", "postgresql://u:geheim2@localhost/d")
    fields = {
        "auth": Auth(env="SHOP_TOKEN"),
        "headers": {"X-Api-Key": "geheim3", "X-A": "${SHOP_TOKEN}", "Ocp-Apim-Subscription-Key": "geheim5"},
        "bid": BidRequest(json_={"bid": "{bid_id}", "fen": "{amount_fen}", "password": "geheim4"}),
        "ledger": LedgerProbe(sql="${SHOP_DB}", query="SELECT 1 WHERE :tranche_id = 1"),
    }
    text = told(**fields)
    assert "geheim" not in text
    assert "| Authorization: Bearer ***" in text
    assert "| Ocp-Apim-Subscription-Key: ***" in text
    assert "every request has Authorization, from the environment variable SHOP_TOKEN" in text
    assert "postgresql localhost, database d" in text
    assert "note:" not in text
    monkeypatch.delenv("SHOP_TOKEN")
    assert "note: the environment variable SHOP_TOKEN is not set: a run would stop there" in told(**fields)
    monkeypatch.delenv("SHOP_DB")
    with pytest.raises(UsageError, match="SHOP_DB: it is not set"):
        told(**fields)


@pytest.mark.parametrize("name", ["X-Shop-Key", "X-Region", "x-functions-key"])
def test_a_header_of_ones_own_is_not_shown(name):
    """Nobody knows what is in it; harmless ones and those that change with the requests are shown."""
    text = told(headers={name: "geheim", "Accept-Language": "zh", "X-Who": "run {run_id}"})
    assert f"| {name}: ***" in text
    assert "| Accept-Language: zh" in text
    assert "| X-Who: run r1" in text
    assert "| Idempotency-Key: r1-0" in text
    assert "geheim" not in text


def test_an_item_of_a_payday_is_masked_too(monkeypatch):
    """A dry run needs no token that is set, and shows no password in an obligation."""
    monkeypatch.delenv("PAY_TOKEN", raising=False)
    item = {"ref": "{obligation_id}", "password": "geheim"}
    text = told(auth=Auth(env="PAY_TOKEN"), obligations=ObligationsRequest(item=item), job=JobRequest())
    assert '{"ref":"r1-0","password":"***"}' in text
    assert "note: the environment variable PAY_TOKEN is not set" in text
    for words in (
        "  409, 429, 503 -> busy\n  anything else -> error, but 408, 425, 429 and 502 to 504 -> unknown\n",
        "  202 -> pending\n  anything else -> error, but 408, 425, 429 and 5xx -> pending, for 10 s at most\n",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"bid": BidRequest(headers={}, json_={"fen": "{amount_yuan}"})}, "all bidders send the same request"),
        ({"bid": BidRequest(json_={"bid": "{bid_id}"})}, "the ledger's amounts may not be ours"),
        ({"ledger": LedgerProbe(sql="sqlite:////o.db", query="SELECT 1")}, "does not bind :tranche_id"),
        ({"ledger": LedgerProbe(csv="/o.csv")}, "has no {tranche_id} in its name"),
        ({"auth": Auth(env="PATH"), "url": "http://shop.test"}, "unencrypted: take https"),
    ],
)
def test_what_may_be_a_mistake_is_noted(fields, words):
    """It is no error: there are services that want it so."""
    one = Service(**{"name": "shop", "url": "http://127.0.0.1", **fields})
    notes = [line for line in describe(one, FIXED, TAP) if line.startswith("note:")]
    assert len(notes) == 1
    assert words in notes[0]


def test_a_poll_by_location_says_so_and_one_that_never_happens_is_left_out():
    """The path is whatever the reply will say."""
    assert "| GET /LOCATION-OF-THE-REPLY HTTP/1.1" in told(poll=PollRequest(path="location"))
    assert "poll" not in told(bid=BidRequest(reply=(Rule(status="2xx", verdict="ok"),)))


def test_a_database_that_is_not_known_is_an_error():
    """A run would stop there too."""
    with pytest.raises(UsageError, match=r"ledger\.sql"):
        told(ledger=LedgerProbe(sql="oracle://h/d", query="SELECT 1"))


def test_a_payday_is_told_by_its_own_requests(monkeypatch):
    """Obligations, jobs, and what is asked meanwhile; there are no bids in it, and the channels have the truth."""
    monkeypatch.setenv("PAY_TOKEN", "geheim")
    text = told(
        auth=Auth(env="PAY_TOKEN"),
        obligations=ObligationsRequest(json_={"to": "{channel_B}", "due": "{obligations}"}),
        job=JobRequest(job_id="id", done=DoneRequest(path="/jobs/{job_id}"), kill=KillRequest()),
        reconcile=ReconcileRequest(),
        state=StateRequest(),
    )
    for words in (
        '{"to":"http://127.0.0.1:PORT","due":[{"obligation_id":"r1-0","user_id":"user-0","kind":"interest",',
        "job, each time that one starts:\n  | POST /paydays/r1/jobs HTTP/1.1\n",
        "  | GET /jobs/JOB-ID HTTP/1.1\n",
        "  | DELETE /paydays/r1/jobs/interest%231 HTTP/1.1\n",
        "  | POST /paydays/r1/reconcile HTTP/1.1\n",
        "  | GET /paydays/r1 HTTP/1.1\n",
        "  | Authorization: Bearer ***\n",
        "truth: the books of our own payment channels",
        "every request has Authorization, from the environment variable PAY_TOKEN",
    ):
        assert words in text
    assert "bid" not in text
    assert "geheim" not in text
    bare = told(obligations=ObligationsRequest(), job=JobRequest(reply=(Rule(status=200, verdict="ok"),)))
    for word in ("\ndone", "\nkill", "\nreconcile", "\nstate"):
        assert word in text
        assert word not in bare
    assert '"channels":{"A":"http://127.0.0.1:PORT"}' in bare


def test_a_payday_by_location_asks_whatever_the_reply_says():
    """As with bids."""
    job = JobRequest(done=DoneRequest(path="location"))
    assert "| GET /LOCATION-OF-THE-REPLY HTTP/1.1" in told(obligations=ObligationsRequest(), job=job)
