"""Requests as bytes: what a server reads is what the service file says, whatever the values are."""

import json
from urllib.parse import parse_qsl, unquote, urlsplit

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oversold.errors import UsageError
from oversold.services.mapping import Auth, BidRequest, OpenRequest, PollRequest, Request, Service, served
from oversold.services.templates import Prepared, place_of

FIXED = {"run_id": "r1", "tranche_id": "r1", "capacity_fen": 1000, "unit_fen": 10}
TAP = {"bid_id": "r1-7", "user_id": "r1-user-7", "n": 7, "amount_fen": 123, "attempt": 1}
# Control characters are refused in headers; all else may be an id, but for surrogates, which no file can hold.
NO_CONTROL = st.characters(exclude_categories=["Cs"], exclude_characters=[chr(c) for c in [*range(32), 127]])


class Seen:
    """What a server sees of one request: httptools is the parser of uvicorn."""

    def __init__(self, raw):
        self.headers, self.body, self.ends, self.url = {}, b"", 0, b""
        parser = httptools.HttpRequestParser(self)
        parser.feed_data(raw)
        self.method = parser.get_method().decode()
        self.keeps = parser.should_keep_alive()
        self.path = self.url.decode("ascii")
        assert self.ends == 1, "not exactly one request"

    def on_url(self, url):
        self.url += url

    def on_header(self, name, value):
        assert name.decode().lower() not in self.headers, f"{name} is there twice"
        self.headers[name.decode().lower()] = value.decode()

    def on_body(self, body):
        self.body += body

    def on_message_complete(self):
        self.ends += 1


def service(**fields):
    """Return a service that may be asked."""
    return Service(**{"name": "shop", "url": "http://127.0.0.1:8080", **fields})


def seen(request, values=TAP, fixed=FIXED, **fields):
    """Return what a server sees of a request."""
    return Seen(Prepared(service(**fields), request, fixed).render(values))


def test_a_default_bid_is_what_the_api_of_serve_expects():
    """Method, path, idempotency key, and amounts as numbers."""
    one = seen(BidRequest())
    assert (one.method, one.path, one.keeps) == ("POST", "/tranches/r1/bids", True)
    assert one.headers == {
        "host": "127.0.0.1:8080",
        "user-agent": "oversold",
        "accept": "application/json",
        "content-type": "application/json",
        "idempotency-key": "r1-7",
        "content-length": str(len(one.body)),
    }
    assert json.loads(one.body) == {"bid_id": "r1-7", "user_id": "r1-user-7", "amount_fen": 123}


IDS = st.text(NO_CONTROL, min_size=1)


@given(
    values=st.fixed_dictionaries(
        {
            "bid_id": IDS,
            "user_id": IDS,
            "n": st.integers(0),
            "amount_fen": st.integers(),
            "attempt": st.integers(1),
        }
    ),
    tranche=IDS,
)
def test_a_server_reads_back_whatever_the_values_are(values, tranche):
    """Path, query, headers, JSON: each is encoded for its own place, and nothing gets out of it."""
    request = BidRequest(
        path="/t/{tranche_id}/{user_id}?b={bid_id}&n={n}",
        headers={"X-Bid": "<{bid_id}>", "X-n": "{n}"},
        json_={
            "id": "{bid_id}",
            "both": "«{user_id}» {amount_fen}",
            "fen": "{amount_fen}",
            "text": "{n:text}",
            "é{n}": [],
        },
    )
    one = seen(request, values, {**FIXED, "tranche_id": tranche})
    parts = urlsplit(one.path)
    assert [unquote(part) for part in parts.path.split("/")] == ["", "t", tranche, values["user_id"]]
    assert parse_qsl(parts.query) == [("b", values["bid_id"]), ("n", str(values["n"]))]
    assert one.headers["x-bid"] == f"<{values['bid_id']}>"
    assert int(one.headers["content-length"]) == len(one.body)
    assert json.loads(one.body) == {
        "id": values["bid_id"],
        "both": f"«{values['user_id']}» {values['amount_fen']}",
        "fen": values["amount_fen"],
        "text": str(values["n"]),
        f"é{values['n']}": [],
    }


@given(st.dictionaries(st.text(NO_CONTROL), st.text(), min_size=1), st.text())
def test_a_form_is_read_back_too(form, user):
    """With any letters in the file and in the values."""
    doubled = {key.replace("{", "{{").replace("}", "}}"): "{user_id}!" for key in form if "$" not in key}
    one = seen(BidRequest(form=doubled), {**TAP, "user_id": user})
    assert parse_qsl(one.body.decode(), keep_blank_values=True) == [(k, f"{user}!") for k in form if "$" not in k]


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="$"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def doubled(value):
    """Return a JSON document with its braces doubled."""
    if isinstance(value, str):
        return value.replace("{", "{{").replace("}", "}}")
    if isinstance(value, list):
        return [doubled(item) for item in value]
    return {doubled(key): doubled(item) for key, item in value.items()} if isinstance(value, dict) else value


@given(JSON)
def test_a_json_body_without_gaps_is_sent_as_it_is(document):
    """Types, order and nesting kept: true is no 1, 1.0 is no 1, null is null."""
    body = seen(BidRequest(json_={"a": doubled(document)})).body
    assert repr(json.loads(body)) == repr({"a": document})


def test_yuan_are_numbers_where_they_stand_alone():
    """As text with :text, and exact in paths."""
    one = seen(
        BidRequest(
            path="/{amount_yuan}", json_={"a": "{amount_yuan}", "b": "{amount_yuan:text}", "c": "{capacity_yuan}"}
        )
    )
    assert one.path == "/1.23"
    assert one.body == b'{"a":1.23,"b":"1.23","c":10.00}'


@pytest.mark.parametrize(
    ("request_", "head"),
    [
        (Request(path="/a"), b"GET /a HTTP/1.1\r\n"),
        (Request(path="/a", method="DELETE"), b"DELETE /a HTTP/1.1\r\n"),
        (Request(path="/a", method="POST"), b"Content-Length: 0\r\n\r\n"),
        (Request(path="/a", json_={}), b"Content-Length: 2\r\n\r\n{}"),
        (Request(path="/100%25?q=é%d&r={n}"), b"GET /100%25?q=%C3%A9%d&r=7 HTTP/1.1\r\n"),
    ],
)
def test_bodies_have_their_length_and_paths_stay_as_written(request_, head):
    """A percent sign is a letter to whoever writes a path, and none of ours."""
    raw = Prepared(service(), request_, FIXED).render(TAP)
    assert head in raw
    assert (b"Content-Length" in raw) == (b"Content-Length" in head)


def test_the_services_path_stands_before_every_request():
    """And a Host header is the service's, unless the file has one."""
    one = seen(BidRequest(), url="http://[::1]:81/api%20v1/")
    assert (one.path, one.headers["host"]) == ("/api%20v1/tranches/r1/bids", "[::1]:81")
    assert seen(BidRequest(headers={"host": "a.test"})).headers["host"] == "a.test"


def test_a_requests_header_comes_before_the_services():
    """Whatever their case; each is sent once."""
    one = seen(BidRequest(headers={"x-a": "2", "ACCEPT": "text/plain"}), headers={"X-A": "1", "X-B": "{run_id}"})
    assert (one.headers["x-a"], one.headers["x-b"], one.headers["accept"]) == ("2", "r1", "text/plain")


@pytest.mark.parametrize(
    ("scheme", "sent"), [("Bearer", "Bearer s3cret"), ("", "s3cret"), ("Token", "Token s3cret")]
)
def test_the_token_comes_from_the_environment_when_a_request_is_made(monkeypatch, scheme, sent):
    """Not before, and without it nothing is made."""
    with_token = {"auth": Auth(env="SHOP_TOKEN", scheme=scheme), "headers": {"X-Key": "k-${SHOP_KEY}"}}
    monkeypatch.setenv("SHOP_TOKEN", "s3cret")
    monkeypatch.setenv("SHOP_KEY", "k3y")
    one = seen(BidRequest(), **with_token)
    assert (one.headers["authorization"], one.headers["x-key"]) == (sent, "k-k3y")
    monkeypatch.delenv("SHOP_TOKEN")
    with pytest.raises(UsageError, match="SHOP_TOKEN: it is not set"):
        seen(BidRequest(), **with_token)


@pytest.mark.parametrize("evil", ["a\r\nX-Evil: 1", "a\nb", "a\rb", "a\0", "a\x7f"])
def test_no_value_ends_a_header(evil):
    """An id with a line break would be a second header, or a second request."""
    with pytest.raises(UsageError, match="stands in a header: take it out"):
        seen(BidRequest(), {**TAP, "bid_id": evil})
    with pytest.raises(UsageError, match="stands in a header"):
        Prepared(service(), OpenRequest(headers={"A": "{run_id}"}), {**FIXED, "run_id": evil})
    one = seen(BidRequest(path="/{bid_id}", headers={}), {**TAP, "bid_id": evil})
    assert (unquote(one.path), json.loads(one.body)["bid_id"]) == (f"/{evil}", evil)


def test_a_value_that_is_missing_is_noticed():
    """Nothing is sent with a gap in it."""
    with pytest.raises(KeyError):
        seen(BidRequest(), {})


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("/bids/7", "/bids/7"),
        ("/bids/7?a=b c", "/bids/7?a=b%20c"),
        ("7", "/tranches/t/7"),
        ("?x", "/tranches/t/bids?x"),
        ("http://127.0.0.1:80/bids/é%20", "/bids/%C3%A9%20"),
        ("http://127.0.0.1", "/"),
        (" /a\r\nX: y ", "/aX:%20y"),
        ("http://evil.test/bids/7", None),
        ("//evil.test/x", None),
        ("https://127.0.0.1/x", None),
        ("http://127.0.0.1:81/x", None),
        ("http://me@127.0.0.1/x", None),
        ("http://127.0.0.1:x/", None),
        ("http://[/", None),
        ("mailto:a@b", None),
        ("javascript:1", None),
    ],
)
def test_a_location_is_followed_within_the_service_only(location, path):
    """The token goes to the service and to nobody else."""
    one = service(url="http://127.0.0.1/")
    assert place_of(one, "/tranches/t/bids", location) == path
    if path is not None:
        raw = Prepared(one, PollRequest(path="location"), FIXED).render({**TAP, "location": path})
        assert Seen(raw).path == path


def test_masked_requests_show_no_secret_and_need_none(monkeypatch):
    """Those of --dry-run: tokens, variables, and whatever is called like a secret, in all places."""
    monkeypatch.delenv("SHOP_TOKEN", raising=False)
    one = service(auth=Auth(env="SHOP_TOKEN"), headers={"X-Api-Key": "geheim1", "X-Other": "a-${SHOP_TOKEN}"})
    request = BidRequest(
        path="/bids?n={n}&access_token=geheim2&x=1",
        json_={"a": [{"password": "geheim3"}], "token": {"x": "geheim4"}},
    )
    raw = Prepared(one, request, FIXED, masked=True).render(TAP).decode()
    assert "geheim" not in raw
    assert raw.count("***") == 6
    assert "/bids?n=7&access_token=***&x=1 HTTP" in raw
    form = Prepared(one, BidRequest(form={"client_secret": "geheim5", "a": "b"}), FIXED, masked=True).render(TAP)
    assert form.endswith(b"client_secret=%2A%2A%2A&a=b")


def test_requests_of_a_served_strategy_need_only_what_a_run_knows():
    """Open and status are made of the run's values, poll of the bid's id besides."""
    one = served("http://127.0.0.1:1", "x")
    assert json.loads(Seen(Prepared(one, one.open, FIXED).render({})).body) == {
        "tranche_id": "r1",
        "capacity_fen": 1000,
        "unit_fen": 10,
    }
    assert Seen(Prepared(one, one.status, FIXED).render({})).path == "/tranches/r1"
    assert Seen(Prepared(one, one.poll, FIXED).render({"bid_id": "b/1"})).path == "/tranches/r1/bids/b%2F1"
