"""What the summaries of the tests of charts and tables are made from."""

from collections.abc import Mapping
from typing import Any

DUE = 301_000_000
# A payday on which everyone was paid once.
OBLIGATIONS: Mapping[str, int] = {
    "count": 3500,
    "due_fen": DUE,
    "paid_fen": DUE,
    "duplicates": 0,
    "overpaid_fen": 0,
    "unrecoverable_fen": 0,
    "users_affected": 0,
    "missed": 0,
    "missed_fen": 0,
    "reviews": 0,
    "reviews_fen": 0,
    "false_terminal": 0,
}


def changed(summary: Mapping[str, Any], parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return a summary with some of its parts replaced; of a part that is a mapping only the keys given."""
    merged = {
        key: {**summary[key], **value} if isinstance(value, Mapping) else value for key, value in parts.items()
    }
    return {**summary, **merged}
