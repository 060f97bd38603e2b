"""Who may be sent load: this machine, and those who were named; production only when spelled out twice."""

import pytest

from oversold.errors import UsageError
from oversold.services.hosts import check, is_loopback, production
from oversold.services.mapping import (
    BidRequest,
    LedgerProbe,
    OpenRequest,
    PollRequest,
    Request,
    Service,
    StatusRequest,
)
from oversold.services.payout_mapping import JobRequest, KillRequest


def service(host="127.0.0.1", **fields):
    """Return a service at a host."""
    return Service(name="shop", url=f"http://{host}:8080/api", **fields)


def ledger(url):
    """Return a ledger at a database's address."""
    return LedgerProbe(sql=url, query="SELECT 1")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "localhost.", "127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]"]
)
def test_this_machine_is_always_allowed(host):
    """However it is written."""
    check(service(host), [])
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["shop", "shop.test", "127.0.0.1.evil.test", "localhost.evil.test", "0.0.0.0", "[::]", "10.0.0.1",
     "2130706433",     "local", "[fe80::1]", "192.168.1.1"],
)  # fmt: skip
def test_other_hosts_are_named_once(host):
    """The error says what to type, and typing it is enough."""
    bare = host.strip("[]")
    with pytest.raises(UsageError) as caught:
        check(service(host), ["other.test", "*", ""])
    assert str(caught.value).endswith(f"is not this machine: if it may be sent load, add --allow-host {bare}")
    check(service(host), ["other.test", bare])
    check(service(host), [f" {bare.upper()}. "])


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("prod", "'prod' in its name"),
        ("shop-prod", "'prod' in its name"),
        ("shop-prod2.test", "'prod' in its name"),
        ("shop_PRD.dev.example.com", "'prd' in its name"),
        ("www.shop.test", "'www' in its name"),
        ("live.staging.example.com", "'live' in its name"),
        ("production.internal", "'production' in its name"),
        ("shop.example.com", "nothing in its name says dev, test or staging"),
        ("cityshop.com", "nothing in its name says"),
        ("latest.com", "nothing in its name says"),
        ("0x7f.1", "nothing in its name says"),
        ("127.1", "nothing in its name says"),
        ("shop.dev", "nothing in its name says"),
        ("myshop.demo", "nothing in its name says"),
        ("8.8.8.8", "a public address"),
        ("[2001:4860:4860::8888]", "a public address"),
    ],
)
def test_what_looks_like_production_is_named_twice(host, reason):
    """Once is an error that says so."""
    bare = host.strip("[]").lower()
    for allowed in ([], [bare]):
        with pytest.raises(UsageError) as caught:
            check(service(host), allowed)
        assert f"{bare} looks like production ({reason}" in str(caught.value)
        assert str(caught.value).endswith(f"add --allow-host {bare} --allow-host {bare}")
    check(service(host), [bare, bare])


@pytest.mark.parametrize(
    "host",
    [
        "shop",
        "staging.example.com",
        "shop-dev.example.com",
        "qa2.example.com",
        "dev.shop.dev",
        "shop.local",
        "shop.localhost",
        "db.internal",
        "s.test",
        "10.1.2.3",
    ],
)
def test_a_trial_host_is_no_production(host):
    """By a part of its name, or for want of a domain."""
    assert production(host) == ""


def test_a_product_is_no_production():
    """Parts are compared as a whole."""
    assert production("products.staging.example.com") == ""
    assert production("delivery-test") == ""


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"ledger": ledger("postgresql://u:geheim@db.test/d")}, "ledger.sql"),
        ({"ledger": ledger("mysql+pymysql://u:geheim@db.test:3306/d")}, "ledger.sql"),
        ({"ledger": ledger("${SHOP_DB}")}, "ledger.sql"),
        ({"headers": {"host": "db.test:80"}}, "headers.host"),
        ({"bid": BidRequest(headers={"Host": "db.test"})}, "bid.headers.Host"),
        ({"open": OpenRequest(headers={"Host": "db.test"})}, "open.headers.Host"),
        ({"poll": PollRequest(headers={"Host": "db.test"})}, "poll.headers.Host"),
        ({"status": StatusRequest(headers={"Host": "db.test"})}, "status.headers.Host"),
        ({"job": JobRequest(kill=KillRequest(headers={"Host": "db.test"}))}, "job.kill.headers.Host"),
        ({"ledger": LedgerProbe(http=Request(path="/", headers={"Host": "db.test"}))}, "ledger.http.headers.Host"),
    ],
)
def test_every_host_that_the_file_names_is_looked_at(monkeypatch, fields, key):
    """Also those that a proxy on this machine would pass the load on to."""
    monkeypatch.setenv("SHOP_DB", "postgresql://u:geheim@db.test/d")
    with pytest.raises(UsageError, match=f"^{key}: db.test is not this machine") as caught:
        check(service(**fields), [])
    assert "geheim" not in str(caught.value)
    check(service(**fields), ["db.test"])


@pytest.mark.parametrize(
    "url", ["sqlite:////tmp/shop.db", "postgresql://u@localhost/d", "postgresql:///d", "mysql://127.0.0.1/d"]
)
def test_a_ledger_of_this_machine_is_allowed(url):
    """A file, loopback, or no host at all."""
    check(service(ledger=ledger(url)), [])


@pytest.mark.parametrize("value", ["{run_id}.test", "${HOST}"])
def test_a_host_has_no_placeholders(value):
    """What it is must be known before anything is sent."""
    with pytest.raises(UsageError, match=r"headers.Host: a host has no placeholders: write it out"):
        check(service(headers={"Host": value}), [])


@pytest.mark.parametrize("host", ["127.0.0.1%x.shop.example.com", "127.0.0.1%25eth0", "localhost%x.example.com"])
def test_a_name_behind_an_address_is_no_zone(host):
    """Such a text would be looked up as a name, wherever that leads; in a url it cannot even be written."""
    assert not is_loopback(host)
    with pytest.raises(ValueError, match=r"it has a % in its host"):
        service(host)
    with pytest.raises(UsageError, match=r"ledger\.sql: 127"):
        check(service(ledger=ledger("postgresql://u@127.0.0.1%x.shop.example.com/d")), [])
    assert is_loopback("::1%lo")


@pytest.mark.parametrize("name", ["PGHOSTADDR", "PGSERVICE"])
def test_an_environment_that_leads_past_the_checked_host_is_refused(monkeypatch, name):
    """PostgreSQL's library would ask another server than the one in the file; other databases do not mind."""
    monkeypatch.setenv(name, "10.9.8.7")
    with pytest.raises(UsageError, match=f"{name} leads past the host of ledger.sql.*unset it") as caught:
        check(service(ledger=ledger("postgresql://u@localhost/d")), [])
    assert "10.9.8.7" not in str(caught.value)
    check(service(ledger=ledger("mysql://u@localhost/d")), [])


def test_a_ledger_whose_variable_is_not_set_is_refused(monkeypatch):
    """Its host is not known."""
    monkeypatch.delenv("SHOP_DB", raising=False)
    with pytest.raises(UsageError, match="SHOP_DB: it is not set"):
        check(service(ledger=ledger("${SHOP_DB}")), [])
