"""The FULL mark over a real PostgreSQL: every process follows it, and the log has each change once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from oversold.model import Tranche
from oversold.platform import ledger
from oversold.platform.ledger import Connection, LedgerPool
from oversold.platform.tranche_status import TrancheStatus

pytestmark = [
    pytest.mark.servers,
    # A follower must not end with a traceback when its connection is closed under it.
    pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning"),
]

Eventually = Callable[[Callable[[], bool], float], bool]
Follow = Callable[[LedgerPool | None], TrancheStatus]


@pytest.fixture
def follow(
    tranche: Tranche, new_pool: Callable[[int], LedgerPool], open_sql: Callable[[], Connection]
) -> Iterator[Follow]:
    """Start one more process's view of the tranche's mark, over a pool of its own unless one is given."""
    with ExitStack() as stack:

        def start(pool: LedgerPool | None = None) -> TrancheStatus:
            view = TrancheStatus(pool or new_pool(2), open_sql(), tranche.tranche_id)
            stack.callback(view.close)
            return view

        yield start


def logged(sql: Connection, tranche: Tranche) -> list[bool]:
    """Return the mark's changes in order: true for full."""
    return [bool(full) for full in ledger.read(sql, tranche.tranche_id, 1, 0)[1].full]


def marked(sql: Connection, tranche: Tranche) -> bool:
    """Return what the row says."""
    row = sql.execute("SELECT status FROM tranches WHERE tranche_id = %s", (tranche.tranche_id,)).fetchone()
    assert row is not None
    return bool(row[0] == "full")


def test_processes_follow_each_other(follow: Follow, eventually: Eventually) -> None:
    """What one process marks, the other sees within a second, to and fro."""
    one, other = follow(None), follow(None)
    assert not one.full
    assert not other.full
    one.set(full=True)
    assert eventually(lambda: one.full and other.full, 1.0)
    other.set(full=False)
    assert eventually(lambda: not other.full, 1.0)
    assert eventually(lambda: not one.full, 1.0)


def test_process_that_does_not_follow_is_found(follow: Follow, eventually: Eventually) -> None:
    """Planted: a view whose connection is gone stays behind, and the same wait notices."""
    one, deaf = follow(None), follow(None)
    deaf.close()
    one.set(full=True)
    assert not eventually(lambda: deaf.full, 1.0)


def test_tranches_do_not_mix(
    sql: Connection,
    follow: Follow,
    tranche: Tranche,
    new_tranche: Callable[[int], Tranche],
    new_pool: Callable[[int], LedgerPool],
    open_sql: Callable[[], Connection],
    eventually: Eventually,
) -> None:
    """A mark on one tranche is none on another."""
    neighbour = new_tranche(1)
    ledger.create(sql, neighbour)
    one, other = follow(None), follow(None)
    elsewhere = TrancheStatus(new_pool(1), open_sql(), neighbour.tranche_id)
    elsewhere.set(full=True)
    assert eventually(lambda: elsewhere.full, 1.0)
    one.set(full=True)  # comes after the neighbour's, so that one has been delivered if it is delivered at all
    one.set(full=False)
    one.set(full=True)
    assert eventually(lambda: one.full and other.full, 1.0)
    elsewhere.set(full=False)
    assert eventually(lambda: not elsewhere.full, 1.0)
    assert one.full
    assert other.full
    assert logged(sql, tranche) == [True, False, True]
    elsewhere.close()


def test_log_has_one_row_a_change(sql: Connection, tranche: Tranche, follow: Follow) -> None:
    """Setting what is set already logs nothing, by whichever process."""
    one, other = follow(None), follow(None)
    other.set(full=False)
    assert logged(sql, tranche) == []
    one.set(full=True)
    one.set(full=True)
    other.set(full=True)
    assert logged(sql, tranche) == [True]
    assert marked(sql, tranche)
    other.set(full=False)
    one.set(full=False)
    assert logged(sql, tranche) == [True, False]
    assert not marked(sql, tranche)


def test_log_has_one_row_though_many_set_it(
    sql: Connection, tranche: Tranche, follow: Follow, new_pool: Callable[[int], LedgerPool]
) -> None:
    """Eight lanes that find the tranche full at once log one change."""
    view = follow(new_pool(8))
    with ThreadPoolExecutor(8) as lanes:
        for lane in [lanes.submit(view.set, full=True) for _ in range(8)]:
            lane.result()
    assert logged(sql, tranche) == [True]


def test_views_agree_with_the_row(
    sql: Connection,
    tranche: Tranche,
    follow: Follow,
    interposed_pool: Callable[[str, Callable[[], None]], LedgerPool],
    eventually: Eventually,
) -> None:
    """A process that reopens just after another one marked leaves all views as the row is.

    Otherwise the views stay full for good: reopening once more changes no row, and so tells nobody.
    """
    reopener = follow(None)
    marker = follow(interposed_pool("pg_notify", lambda: reopener.set(full=False)))
    marker.set(full=True)
    reopener.set(full=False)
    views = (marker, reopener)
    assert eventually(lambda: [view.full for view in views] == [marked(sql, tranche)] * 2, 1.0)
