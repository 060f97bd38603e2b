"""What is shown of a reply: its beginning, in one line, and nothing of it that is secret."""

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oversold.errors import UsageError
from oversold.services.mapping import Auth, BidRequest, LedgerProbe, OpenRequest, Request, Service
from oversold.services.probes import NotNowError, http, read
from oversold.services.said import SHOWN, hushed, said, secrets_of, shortened
from oversold.services.wire import Reply

TOKEN = 'tok-"SECRET/123"'


def service(**fields):
    """Return a service that has a URL and nothing else of its own."""
    return Service(name="shop", url="http://127.0.0.1:1", **fields)


@pytest.fixture
def shop(monkeypatch):
    """Return a service with a secret wherever its file may have one."""
    monkeypatch.setenv("SHOP_TOKEN", TOKEN)
    monkeypatch.setenv("SHOP_KEY", "k7")
    monkeypatch.setenv("SHOP_DB", "postgresql://reader:db-geheim@localhost/d?sslpassword=pem-geheim")
    return service(
        auth=Auth(env="SHOP_TOKEN"),
        headers={"X-Key": "${SHOP_KEY}", "X-Literal": "Custom lit-geheim", "Accept": "application/json"},
        bid=BidRequest(headers={"X-Bid": "bid-geheim{n}"}, json_={"password": "body-geheim", "fen": "amount"}),
        open=OpenRequest(path="/t?api_key=path-geheim&size=100000"),
        ledger=LedgerProbe(sql="${SHOP_DB}", query="SELECT 1"),
    )


@pytest.mark.parametrize(
    "form",
    [TOKEN, json.dumps(TOKEN)[1:-1], json.dumps(TOKEN)[1:-1].replace("/", "\\/"), quote(TOKEN, safe=""),
     TOKEN.upper(), TOKEN.replace('"', "&quot;"), TOKEN.replace("SEC", "S\0E\x1bC"), "k7", "lit-geheim",
     "Custom lit-geheim", "bid-geheim", "body-geheim", "path-geheim", "db-geheim", "pem-geheim"],
)  # fmt: skip
def test_a_secret_that_a_service_repeats_is_not_shown(shop, form):
    """However it is written, and from wherever in the file it is."""
    text = said(shop, Reply(401, f'{{"error": "invalid token Bearer {form}."}}'.encode(), None))
    assert text.startswith('{"error": "invalid token Bearer ***')
    assert text.endswith('."}')
    for word in ("SECRET", "geheim", "k7"):
        assert word.lower() not in text.lower()


def test_what_is_no_secret_is_shown(shop):
    """Hosts, databases, harmless headers and plain values tell what is wrong."""
    text = "application/json at localhost: reader has no database d, amount 100000"
    assert said(shop, text.encode()) == text
    assert said(service(), b"tok-SECRET") == "tok-SECRET"


def test_half_a_secret_is_none(shop):
    """It is replaced before the text is cut."""
    text = said(shop, "x" * (SHOWN - 5) + TOKEN)
    assert len(text) <= SHOWN
    assert "tok" not in text


@given(st.one_of(st.binary(max_size=400), st.text(max_size=400)))
def test_any_reply_is_one_short_line(body):
    """Also what is no text at all."""
    text = said(service(), body)
    assert len(text) <= SHOWN
    assert text.isprintable()
    assert text == shortened(text, ())


def test_a_large_reply_is_not_read_to_its_end():
    """What is shown is its beginning."""
    assert said(service(), b"a b " * 10_000_000) == ("a b " * SHOWN)[: SHOWN - 3] + "..."


def test_variables_that_are_not_set_hide_nothing(monkeypatch):
    """Such a service was never asked anything with them; its messages are about just that."""
    monkeypatch.delenv("SHOP_TOKEN", raising=False)
    bare = service(
        auth=Auth(env="SHOP_TOKEN"), ledger=LedgerProbe(sql="postgresql://u:${SHOP_TOKEN}@h/d", query="SELECT 1")
    )
    assert secrets_of(bare) == ()
    assert hushed("SHOP_TOKEN is not set", secrets_of(bare)) == "SHOP_TOKEN is not set"


@pytest.mark.parametrize(("status", "kind"), [(200, UsageError), (503, NotNowError)])
def test_a_ledger_that_repeats_a_token_does_not_show_it(monkeypatch, status, kind):
    """Messages about somebody's books show names and values that they hold."""
    monkeypatch.setenv("SHOP_TOKEN", "503" if status == 503 else "tok-SECRET")
    monkeypatch.setattr(http, "ask_once", lambda *_, **__: Reply(status, b'{"tok-SECRET": 1}', None))
    shop = service(auth=Auth(env="SHOP_TOKEN"), ledger=LedgerProbe(http=Request(path="/o"), rows="orders"))
    with pytest.raises(kind) as caught:
        read(shop, {"run_id": "r", "tranche_id": "t", "capacity_fen": 1, "unit_fen": 1})
    assert type(caught.value) is kind
    assert "***" in str(caught.value)
    assert "tok-SECRET" not in str(caught.value)
