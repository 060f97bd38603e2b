"""What replies mean where a service file has no rules of its own."""

from __future__ import annotations

from oversold.services.requests import Answer, Rule, Scalar


def _rules(*pairs: tuple[int | str | tuple[int, ...], dict[str, Scalar], Answer]) -> tuple[Rule, ...]:
    return tuple(Rule(status=status, json_=wanted, verdict=verdict) for status, wanted, verdict in pairs)


BID_RULES = _rules(
    ((200, 201), {}, "ok"),
    (202, {}, "pending"),
    (409, {}, "sold_out"),
    ((429, 503), {}, "busy"),
    ((402, 422), {}, "declined"),
    # A gateway, or a step after the sale, may have failed: nobody knows whether the bid was taken.
    ("5xx", {}, "unknown"),
)
# `oversold serve` answers 500 only if it did not sell, and 504 where it does not know.
SERVED_RULES = (*BID_RULES[:-1], Rule(status=500, verdict="error"), BID_RULES[-1])
POLL_RULES = _rules(
    (200, {"status": "confirmed"}, "ok"),
    (200, {"status": "pending"}, "pending"),
    (200, {"status": "sold_out"}, "sold_out"),
    (200, {"status": "declined"}, "declined"),
    (200, {"status": "busy"}, "busy"),
    (200, {"status": "error"}, "error"),
    (200, {"status": "unknown"}, "unknown"),
    ((202, 404), {}, "pending"),
)
