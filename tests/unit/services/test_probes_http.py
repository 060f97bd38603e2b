"""The ledger over HTTP: the list in the reply, whatever shape it has, and replies that are none."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from oversold.errors import UsageError
from oversold.services.mapping import Auth, LedgerProbe, Request, Service
from oversold.services.probes import NotNowError, Row, http, read
from oversold.services.reader import MAX_LIST_BYTES
from oversold.services.wire import NoAnswerError, NotHttpError, NotSentError, Reply

FIXED = {"run_id": "r1", "tranche_id": "t 7", "capacity_fen": 1000, "unit_fen": 1}


def service(rows="", **columns):
    """Return a service that lists its orders."""
    probe = LedgerProbe(http=Request(path="/tranches/{tranche_id}/orders"), rows=rows, columns=columns)
    return Service(name="shop", url="http://127.0.0.1:1/api", ledger=probe)


@pytest.fixture
def answer(monkeypatch):
    """Let the service answer with a body and a status, or raise; return the requests that it got."""

    def prepare(body=b"", status=200, raises=None):
        asked = []

        def ask_once(_, request, *, most_bytes):
            assert most_bytes == MAX_LIST_BYTES
            asked.append(request)
            if raises is not None:
                raise raises
            return Reply(status, body if isinstance(body, bytes) else json.dumps(body).encode(), None)

        monkeypatch.setattr(http, "ask_once", ask_once)
        return asked

    return prepare


def test_the_list_is_found_and_read(answer):
    """At the top or below a path; the request is the one of the file."""
    asked = answer([{"bid_id": "b1", "user_id": "u1", "amount_fen": 5, "at": "2023-11-14T22:13:20Z"}])
    assert read(service(), FIXED) == [Row("b1", "u1", 5, 1_700_000_000_000_000_000)]
    assert asked[0].startswith(b"GET /api/tranches/t%207/orders HTTP/1.1\r\n")
    answer({"data": {"items": [{"bid_id": 7, "amount_fen": 5, "tags": ["x"]}, {"amount_fen": 6}]}})
    assert read(service(rows="data.items"), FIXED) == [Row("7", None, 5, None), Row(None, None, 6, None)]


def test_a_service_is_really_asked(monkeypatch):
    """Over a connection, with the token that its file names."""
    monkeypatch.setenv("SHOP_TOKEN", "hunter2")

    class Orders(BaseHTTPRequestHandler):
        def do_GET(self):
            allowed = self.headers["Authorization"] == "Bearer hunter2"
            body = b'[{"bid_id": "b1", "amount_fen": 5}]' if allowed else b"hunter2"
            self.send_response(200 if allowed else 403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Orders) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        try:
            there = service().model_copy(update={"url": f"http://127.0.0.1:{server.server_port}"})
            with pytest.raises(UsageError, match="answered with 403") as caught:
                read(there, FIXED)
            assert "hunter2" not in str(caught.value)
            assert read(there.model_copy(update={"auth": Auth(env="SHOP_TOKEN")}), FIXED) == [
                Row("b1", None, 5, None)
            ]
        finally:
            server.shutdown()
            thread.join()
    with pytest.raises(NotNowError, match="had no answer"):
        read(there, FIXED)


def test_fields_may_lie_deep(answer):
    """A column may be a JSON path; a name that has dots itself comes first."""
    answer([{"customer": {"id": "u1"}, "price.total": 3, "price": {"total": 4}}])
    assert read(service(user_id="customer.id", amount_fen="price.total"), FIXED) == [Row(None, "u1", 3, None)]


def test_yuan_are_never_binary_fractions(answer):
    """A number with a point is read as it is written."""
    answer(b'[{"bid_id": "b", "amount_yuan": 90071992547409.93}]')
    assert read(service(), FIXED)[0].amount_fen == 9007199254740993


def test_no_orders_are_no_orders(answer):
    """An empty list has no columns to complain of."""
    answer([])
    assert read(service(bid_id="id"), FIXED) == []


@pytest.mark.parametrize(
    ("body", "status", "kind", "said"),
    [
        (b"", 404, UsageError, "answered with 404"),
        (b"", 301, UsageError, "answered with 301"),
        (b"", 503, NotNowError, "answered with 503"),
        (b"", 429, NotNowError, "answered with 429"),
        (b"<html>", 200, UsageError, "is no JSON"),
        (b'[{"amount_fen": NaN}]', 200, UsageError, "is no JSON"),
        (b"[" * 100_000, 200, UsageError, "is no JSON"),
        ({"orders": []}, 200, UsageError, "has no list but something else .it has orders."),
        (b"null", 200, UsageError, "has no list"),
        ([5], 200, UsageError, "row 1 is a int"),
        ([{"amount_fen": 5}], 200, UsageError, "neither bid_id nor user_id"),
        ([{"bid_id": "b", "amount_fen": 5}, {"bid_id": "b"}], 200, UsageError, "row 2: amount_fen is None"),
        ([{"bid_id": "b", "amount_fen": 5, "at": {}}], 200, UsageError, "row 1: at is {}"),
    ],
)
def test_a_reply_that_is_no_ledger_says_why(answer, body, status, kind, said):
    """In one line; only what may pass is worth another try."""
    answer(body, status)
    with pytest.raises(UsageError, match=said) as caught:
        read(service(), FIXED)
    assert type(caught.value) is kind
    assert str(caught.value).isprintable()


def test_a_path_that_leads_nowhere_is_named(answer):
    """With what there is instead."""
    answer({"data": {"rows": []}})
    with pytest.raises(UsageError, match=r"no list at 'data.items' \(it has data\)"):
        read(service(rows="data.items"), FIXED)


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (NotSentError("refused"), NotNowError),
        (NoAnswerError("late"), NotNowError),
        (NotHttpError("odd"), UsageError),
    ],
)
def test_no_reply_at_all_says_why(answer, raised, kind):
    """A service that is away may come back; one that does not speak HTTP will not learn it."""
    answer(raises=raised)
    with pytest.raises(UsageError, match=str(raised)) as caught:
        read(service(), FIXED)
    assert type(caught.value) is kind
