"""What replies mean: the first rule that fits, by status and JSON, and claims that are read or refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oversold.model import Claim
from oversold.services import replies
from oversold.services.mapping import BidRequest, PollRequest, Rule, StatusRequest, served
from oversold.services.replies import at_path, claim_of, unmapped, verdict_of


def rule(verdict, status=None, **wanted):
    """Return a rule: rule("ok", 200, state="sold")."""
    return Rule(status=status, json_=wanted, verdict=verdict)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, "ok"), (201, "ok"), (202, "pending"), (409, "sold_out"), (429, "busy"), (503, "busy"),
        (402, "declined"), (422, "declined"), (204, None), (302, None), (400, None), (404, None),
        (500, "unknown"), (502, "unknown"), (504, "unknown"), (599, "unknown"), (0, None),
    ],
)  # fmt: skip
def test_the_default_rules_of_a_bid(status, verdict):
    """Whatever the body is: a service or a gateway that failed may have failed after the sale."""
    for body in (b"", b"{", b'{"status": "confirmed"}'):
        assert verdict_of(BidRequest().reply, status, body) == verdict


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (200, {"status": "confirmed"}, "ok"),
        (200, {"status": "pending"}, "pending"),
        (200, {"status": "sold_out"}, "sold_out"),
        (200, {"status": "declined"}, "declined"),
        (200, {"status": "error"}, "error"),
        (200, {"status": "weird"}, None),
        (200, {}, None),
        (202, None, "pending"),
        (404, None, "pending"),
        (500, {"status": "confirmed"}, None),
    ],
)
def test_the_default_rules_of_a_poll(status, body, verdict):
    """A bid that is not known yet is still pending."""
    assert verdict_of(PollRequest().reply, status, json.dumps(body).encode()) == verdict


def test_a_served_strategy_knows_what_it_did_not_sell():
    """`oversold serve` answers 500 to a bid that was not sold, and says so in its polls too."""
    service = served("http://127.0.0.1:1", "s")
    found = [verdict_of(service.bid.reply, status, b"") for status in (500, 504, 502, 201, 429)]
    assert found == ["error", "unknown", "unknown", "ok", "busy"]
    assert verdict_of(service.poll.reply, 200, b'{"status": "error"}') == "error"


def test_a_reply_without_a_rule_is_told_by_its_status():
    """Whether it is the status that no rule knows, or the body that fits none."""
    rules = (rule("ok", 200, state="sold"), rule("busy", "4xx", code="BUSY"))
    assert unmapped("bid", rules, 500) == "status 500, which no rule of [bid] names"
    assert unmapped("poll", rules, 404) == "status 404 with a body that no rule of [poll] fits"


def test_the_first_rule_that_fits_decides():
    """Status classes, lists and none at all; all JSON values of a rule must be there."""
    rules = (
        rule("sold_out", ["4xx", 200], code="FULL", **{"data.left": 0}),
        rule("busy", "4xx", code="BUSY"),
        rule("declined", "404"),
        rule("unknown"),
    )
    assert verdict_of(rules, 404, b'{"code": "FULL", "data": {"left": 0}}') == "sold_out"
    assert verdict_of(rules, 200, b'{"code": "FULL", "data": {"left": 0}}') == "sold_out"
    assert verdict_of(rules, 404, b'{"code": "FULL", "data": {"left": 1}}') == "declined"
    assert verdict_of(rules, 404, b'{"code": "BUSY"}') == "busy"
    assert verdict_of(rules, 500, b'{"code": "BUSY"}') == "unknown"
    assert verdict_of((), 200, b"") is None


def test_json_is_read_only_where_a_rule_asks_for_it(monkeypatch):
    """And once a reply, however many rules ask: parsing is most of the work of a reply."""
    read = []
    monkeypatch.setattr(replies.json, "loads", lambda body: read.append(body) or {"a": 3})
    rules = (rule("ok", 200, a=1), rule("busy", 200, a=2), rule("declined", 200, a=3), rule("sold_out", 409))
    assert verdict_of(rules, 409, b"x") == "sold_out"
    assert read == []
    assert verdict_of(rules, 200, b"x") == "declined"
    assert read == [b"x"]


@pytest.mark.parametrize(
    ("wanted", "found", "fits"),
    [
        (1, "1", True), (1, "1.0", True), (1, "true", False), (1, '"1"', False), (True, "true", True),
        (True, "1", False), (False, "0", False), (False, "null", False), ("", "null", False), ("a", '"a"', True),
        (0, "[]", False), (1.5, "1.5", True),
    ],
)  # fmt: skip
def test_values_are_compared_with_their_types(wanted, found, fits):
    """A text is no number and true is no 1, or `sold = 1` would fit `true`."""
    assert (verdict_of((rule("ok", 200, a=wanted),), 200, b'{"a": %s}' % found.encode()) == "ok") is fits


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b"9" * 5000, b'"a"', b"null", b"NaN"])
def test_a_body_that_is_no_table_fits_no_json_rule(body):
    """And breaks nothing: it comes from a service that is being tested."""
    assert verdict_of((rule("ok", 200, a=1), rule("busy", 200)), 200, body) == "busy"


@given(st.binary(), st.integers(0, 999))
def test_any_reply_is_read(body, status):
    """Services under load answer all kinds of things."""
    assert verdict_of(PollRequest().reply, status, body) in ("pending", None)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("", {"a": [{"b": 1}, 2], "0": "zero", "": 3}),
        ("a.0.b", 1),
        ("a.1", 2),
        ("0", "zero"),
        ("a.2", None),
        ("a.-1", None),
        ("a.x", None),
        ("a.0.b.c", None),
        ("b", None),
        ("a.²", None),
        ("a.", None),
    ],
)
def test_a_path_is_followed_as_far_as_it_goes(path, found):
    """Names in tables, places in lists; None where nothing is."""
    assert at_path({"a": [{"b": 1}, 2], "0": "zero", "": 3}, path) == found


@pytest.mark.parametrize(
    ("request_", "body", "claim"),
    [
        ({}, {"status": "open", "remaining_fen": 5}, Claim("open", 5)),
        ({}, {"status": "full", "remaining_fen": 0}, Claim("full", 0)),
        ({}, {"status": "open", "remaining_fen": 0}, Claim("open", 0)),
        ({}, {"remaining_fen": -5}, Claim("open", -5)),
        ({}, {"status": "full", "remaining_fen": "70"}, Claim("full", 70)),
        ({}, {"remaining_fen": 7.0}, Claim("open", 7)),
        ({}, {"remaining_fen": 7.5}, Claim("open", None)),
        ({}, {"remaining_fen": "7.5"}, Claim("open", None)),
        ({}, {"remaining_fen": True}, Claim("open", None)),
        ({}, {"remaining_fen": None}, Claim("open", None)),
        ({}, {"remaining_fen": 1e400}, Claim("open", None)),
        ({}, [], Claim("open", None)),
        ({"full": {}}, {"remaining_fen": 0}, Claim("full", 0)),
        ({"full": {}}, {"remaining_fen": 1}, Claim("open", 1)),
        ({"full": {}}, {}, Claim("open", None)),
        ({"full": {"a.b": True, "c": 1}}, {"a": {"b": True}, "c": 1}, Claim("full", None)),
        ({"full": {"a.b": True, "c": 1}}, {"a": {"b": True}, "c": 2}, Claim("open", None)),
        ({"remaining_fen": "", "full": {}}, 12, Claim("open", 12)),
        ({"remaining_fen": None}, {"remaining_fen": 1}, Claim("open", None)),
    ],
)
def test_a_claim_is_what_the_service_says(request_, body, claim):
    """The number and the word are read apart: that they disagree is what a check is for."""
    assert claim_of(StatusRequest(**request_), json.dumps(body).encode()) == claim


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff"])
def test_a_status_reply_that_is_no_json_claims_nothing(body):
    """It is not taken for `open`."""
    with pytest.raises(ValueError, match="no JSON"):
        claim_of(StatusRequest(), body)
