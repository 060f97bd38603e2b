"""The SQL strategies leave no transaction open and no row locked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import psycopg
import pytest

from oversold.clock import SystemClock, seeded
from oversold.model import Bid, Hold, Tranche
from oversold.platform.ledger import Connection
from oversold.stores.endpoint import Endpoint
from oversold.stores.providers import connect
from oversold.strategies import registry
from oversold.strategies.interface import Context

pytestmark = pytest.mark.servers

HELD = "row-lock-held"  # it is its very design to leave the transaction open
OTHER_ROWS = ("skip-locked", "skip-locked-busy")  # their stock is no row of the table `stock`
LOCK_ONE = "SELECT 1 FROM stock WHERE tranche_id = '{}' FOR UPDATE"
SQL = [name for name in registry.BID_STRATEGIES if registry.load(name).stores == {"sql"} and name != HELD]


def left_open(sql: Connection, lane: Connection, tranche_id: str) -> str:
    """Return what a lane's connection has left behind: a locked row, an open transaction, or nothing."""
    try:
        sql.execute("SELECT 1 FROM stock WHERE tranche_id = %s FOR UPDATE NOWAIT", (tranche_id,))
    except psycopg.errors.LockNotAvailable:
        return "lock"
    query = "SELECT state FROM pg_stat_activity WHERE pid = %s"
    state = sql.execute(query, (lane.info.backend_pid,)).fetchone()
    return "" if state == ("idle",) else "transaction"


@pytest.mark.parametrize("name", SQL)
def test_no_transaction_is_left_open(
    endpoints: Mapping[str, Endpoint],
    new_tranche: Callable[[int], Tranche],
    sql: Connection,
    name: str,
) -> None:
    """After each call a second connection gets the stock row's lock at once, and the lane's is idle."""
    client = connect(endpoints["sql"], SystemClock(), 0)
    lane = client.connection.driver_connection
    strategy = registry.load(name)(Context({"sql": client}, SystemClock(), seeded()))
    tranche = new_tranche(1000)
    bid, big = (Bid(f"{tranche.tranche_id}-{fen}", tranche.tranche_id, "user", fen) for fen in (600, 1001))
    held = Hold("ok")
    calls: Mapping[str, Callable[[], Any]] = {
        "open": lambda: strategy.open(tranche),
        "ok": lambda: strategy.reserve(bid),
        "sold out": lambda: strategy.reserve(big),
        "confirm": lambda: strategy.confirm(bid, held),
        "release": lambda: strategy.release(bid, held),
        "released before": lambda: strategy.release(bid, held),
        "status": lambda: strategy.status(tranche.tranche_id),
    }
    left = {}
    for what, call in calls.items():
        call()
        left[what] = left_open(sql, lane, tranche.tranche_id)
    assert left == dict.fromkeys(calls, "")
    if name in OTHER_ROWS:
        client.close()
        return
    for statement, found in (("SELECT 1", "transaction"), (LOCK_ONE.format(tranche.tranche_id), "lock")):
        client.execution_options(isolation_level="READ COMMITTED").exec_driver_sql(statement)  # planted
        assert left_open(sql, lane, tranche.tranche_id) == found
        client.rollback()
    client.close()
