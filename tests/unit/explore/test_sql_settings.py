"""What an SQL statement sets: which isolation level, for how long, and what else outlives its transaction."""

from __future__ import annotations

import pytest

from oversold.explore.seams.sql_settings import level_of, outlives


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", ("REPEATABLE READ", False)),
        ("set session transaction isolation level read  uncommitted", ("READ UNCOMMITTED", True)),
        ("BEGIN ISOLATION LEVEL SERIALIZABLE", ("SERIALIZABLE", False)),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED", ("READ COMMITTED", True)),
        ("SET default_transaction_isolation TO 'repeatable read'", ("REPEATABLE READ", True)),
        ("SET @@session.tx_isolation = 'READ-UNCOMMITTED'", ("READ UNCOMMITTED", True)),
        ("SET lock_timeout = 9", None),
        ("SELECT rest FROM stock", None),
    ],
)
def test_isolation_levels(sql: str, found: tuple[str, bool] | None) -> None:
    """The level is found in all spellings, and whether it lasts; planted: other words set none."""
    assert level_of(sql) == found


@pytest.mark.parametrize(
    ("sql", "lasts"),
    [
        ("SET lock_timeout = 9", True),
        ("SELECT 1; SET search_path = shop", True),
        ("SELECT set_config('lock_timeout', '9', false)", True),
        ("SELECT @mine := 1", True),
        ("CREATE TEMPORARY TABLE mine (id int)", True),
        ("SET LOCAL lock_timeout = 9", False),
        ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", False),
        ("SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE", False),
        ("UPDATE stock SET rest = 1", False),
        ("SELECT rest FROM stock WHERE id = 'set'", False),
    ],
)
def test_what_outlives_a_transaction(sql: str, lasts: bool) -> None:
    """What a statement sets for its connection is told apart from what ends with the transaction, and levels."""
    assert outlives(sql) is lasts
