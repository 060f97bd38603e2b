"""What an SQL statement sets: an isolation level, a time-out of the server's, or something that stays."""

from __future__ import annotations

import re

LEVEL = re.compile(
    r"(?:\bisolation\s+level\s+|(?:\btransaction|\bdefault_transaction|\btx)_isolation\s*(?:=|:=|\bto\b)\s*['\"]?)"
    r"(read[\s-]+(?:un)?committed|repeatable[\s-]+read|serializable)",
    re.IGNORECASE,
)
LASTING = re.compile(r"\bsession\b|\bdefault_transaction_isolation\b|\bset\s+t\w+_isolation\b", re.IGNORECASE)
# Isolation levels are kept apart: they are cheaper to set again.
SETS = re.compile(
    r"(?:^|;)\s*(?:set(?!\s+(?:local|transaction|constraints|session\s+transaction)\b)|use|prepare)\b|"
    r"\bset_config\s*\(|@\w+\s*:=|\btemp(?:orary)?\s+(?:table|sequence|view)\b",
    re.IGNORECASE,
)
TIMEOUTS = re.compile(
    r"\b(?:lock_timeout|statement_timeout|transaction_timeout|innodb_lock_wait_timeout|lock_wait_timeout|"
    r"max_statement_time)\b",
    re.IGNORECASE,
)


def level_of(sql: str) -> tuple[str, bool] | None:
    """Return the isolation level that a statement sets, and whether for all transactions to come; None if none.

    >>> level_of("SET TRANSACTION ISOLATION LEVEL serializable"), level_of("SET tx_isolation = 'READ-UNCOMMITTED'")
    (('SERIALIZABLE', False), ('READ UNCOMMITTED', True))
    """
    named = LEVEL.search(sql)
    if named is None:
        return None
    return " ".join(re.split(r"[\s-]+", named.group(1).upper())), LASTING.search(sql) is not None


def outlives(sql: str) -> bool:
    """Tell whether a statement sets something of its connection that outlives the transaction.

    >>> outlives("SET search_path = shop"), outlives("SET LOCAL lock_timeout = 9"), outlives("UPDATE a SET b = 1")
    (True, False, False)
    """
    return SETS.search(sql) is not None
