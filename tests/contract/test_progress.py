"""Progress of a tranche over a real PostgreSQL: the hot row under its optimistic lock, and the derived sum."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from oversold.model import Bid, Tranche
from oversold.platform.ledger import Connection, LedgerPool
from oversold.platform.progress import READ, DerivedProgress, ProgressRow

pytestmark = pytest.mark.servers

LANES = 8
EACH = 15
AMOUNT_FEN = 3


class StandingClock:
    """Time that goes on only when it is told to."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def now_s(self) -> float:
        """Return the time as it was set."""
        return self.seconds

    def sleep(self, seconds: float) -> None:
        """Go on."""
        self.seconds += seconds


def row(sql: Connection, tranche: Tranche) -> tuple[int, int]:
    """Return the tranche's progress row: fen confirmed, version."""
    found = sql.execute(
        "SELECT confirmed_fen, version FROM progress WHERE tranche_id = %s", (tranche.tranche_id,)
    ).fetchone()
    assert found is not None
    return found[0], found[1]


def crowd(add: Callable[[int], bool]) -> int:
    """Let eight lanes add fifteen times each; return how often they were told it is counted."""
    with ThreadPoolExecutor(LANES) as lanes:
        lane = [lanes.submit(lambda: sum(add(AMOUNT_FEN) for _ in range(EACH))) for _ in range(LANES)]
        return sum(one.result() for one in lane)


def test_row_loses_no_update(sql: Connection, tranche: Tranche, new_pool: Callable[[int], LedgerPool]) -> None:
    """Of concurrent adds exactly those that returned true are in the row."""
    progress = ProgressRow(new_pool(LANES), tranche.tranche_id, tries=2)
    counted = crowd(progress.add)
    assert 0 < counted <= LANES * EACH
    assert row(sql, tranche) == (counted * AMOUNT_FEN, counted)
    assert progress.confirmed_fen() == counted * AMOUNT_FEN


class CarelessRow(ProgressRow):
    """Writes back what it read and added, without asking whether the row has changed."""

    def add(self, amount_fen: int) -> bool:
        """Read, write."""
        with self._pool.connection() as connection:
            found = connection.execute(READ, (self._tranche_id,)).fetchone()
            assert found is not None
            write = "UPDATE progress SET confirmed_fen = %s, version = %s WHERE tranche_id = %s"
            connection.execute(write, (found[0] + amount_fen, found[1] + 1, self._tranche_id))
        return True


def test_row_that_loses_updates_is_found(
    sql: Connection,
    tranche: Tranche,
    new_pool: Callable[[int], LedgerPool],
    interposed_pool: Callable[[str, Callable[[], None]], LedgerPool],
) -> None:
    """Planted: without the version check an overtaken add undoes the other one, and the row shows it."""
    other = ProgressRow(new_pool(1), tranche.tranche_id, tries=1)
    overtaken: list[bool] = []
    pool = interposed_pool("UPDATE progress", lambda: overtaken.append(other.add(AMOUNT_FEN)))
    counted = CarelessRow(pool, tranche.tranche_id, tries=1).add(AMOUNT_FEN) + sum(overtaken)
    assert counted == 2
    assert row(sql, tranche) == (AMOUNT_FEN, 1)


def test_row_in_conflict(
    sql: Connection,
    tranche: Tranche,
    new_pool: Callable[[int], LedgerPool],
    interposed_pool: Callable[[str, Callable[[], None]], LedgerPool],
) -> None:
    """An add that somebody else overtakes between its read and its update, at every try, counts nothing."""
    other = ProgressRow(new_pool(1), tranche.tranche_id, tries=1)
    overtaken: list[bool] = []
    pool = interposed_pool("UPDATE progress", lambda: overtaken.append(other.add(100)))
    assert ProgressRow(pool, tranche.tranche_id, tries=3).add(AMOUNT_FEN) is False
    assert overtaken == [True] * 3
    assert row(sql, tranche) == (300, 3)


def test_row_in_conflict_once(
    sql: Connection,
    tranche: Tranche,
    new_pool: Callable[[int], LedgerPool],
    interposed_pool: Callable[[str, Callable[[], None]], LedgerPool],
) -> None:
    """An add that was overtaken once reads again, and succeeds at its second try."""
    other = ProgressRow(new_pool(1), tranche.tranche_id, tries=1)
    overtaken: list[bool] = []
    pool = interposed_pool("UPDATE progress", lambda: None if overtaken else overtaken.append(other.add(100)))
    assert ProgressRow(pool, tranche.tranche_id, tries=2).add(AMOUNT_FEN) is True
    assert row(sql, tranche) == (100 + AMOUNT_FEN, 2)


def test_row_takes_back(
    sql: Connection,
    tranche: Tranche,
    new_pool: Callable[[int], LedgerPool],
    interposed_pool: Callable[[str, Callable[[], None]], LedgerPool],
) -> None:
    """A subtraction counts whatever happens meanwhile, and an add that read before it is in conflict."""
    other = ProgressRow(new_pool(1), tranche.tranche_id, tries=1)
    assert other.add(500)
    pool = interposed_pool("UPDATE progress", lambda: other.take_back(200))
    assert ProgressRow(pool, tranche.tranche_id, tries=1).add(AMOUNT_FEN) is False
    assert row(sql, tranche) == (300, 2)
    ProgressRow(pool, tranche.tranche_id, tries=1).take_back(AMOUNT_FEN)
    assert row(sql, tranche) == (100 - AMOUNT_FEN, 4)


def test_derived_sums_the_orders(tranche: Tranche, new_pool: Callable[[int], LedgerPool]) -> None:
    """Progress is the sum of the tranche's orders, whatever was added or taken back, in every process."""
    pool, clock = new_pool(1), StandingClock()
    progress = DerivedProgress(pool, tranche.tranche_id, clock)
    assert progress.confirmed_fen() == 0
    for number, amount_fen in enumerate([10**16, 1]):
        pool.write(Bid(f"{tranche.tranche_id}-{number}", tranche.tranche_id, "user", amount_fen))
    pool.write(Bid(f"{tranche.tranche_id}-other", "another tranche", "user", 5))
    assert progress.add(1_000) is True
    progress.take_back(50)
    clock.sleep(1)
    assert progress.confirmed_fen() == 10**16 + 1
    assert DerivedProgress(new_pool(1), tranche.tranche_id, clock).confirmed_fen() == 10**16 + 1


def test_derived_remembers_for_a_moment(
    tranche: Tranche, interposed_pool: Callable[[str, Callable[[], None]], LedgerPool]
) -> None:
    """Within 20 ms the sum is not asked for again, later it is."""
    asked: list[float] = []
    clock = StandingClock()
    pool = interposed_pool("SELECT coalesce(sum", lambda: asked.append(clock.seconds))
    progress = DerivedProgress(pool, tranche.tranche_id, clock)
    assert progress.confirmed_fen() == 0
    pool.write(Bid(f"{tranche.tranche_id}-0", tranche.tranche_id, "user", 7))
    clock.sleep(0.015)
    assert (progress.confirmed_fen(), len(asked)) == (0, 1)
    clock.sleep(0.010)
    assert (progress.confirmed_fen(), len(asked)) == (7, 2)
    assert (progress.confirmed_fen(), len(asked)) == (7, 2)
