"""How much of the tranche is confirmed: a hot row under an optimistic lock, or derived from the orders."""

from __future__ import annotations

from typing import Protocol

from oversold.clock import Clock
from oversold.platform.ledger import LedgerPool

READ = "SELECT confirmed_fen, version FROM progress WHERE tranche_id = %s"
ADD = """
UPDATE progress SET confirmed_fen = confirmed_fen + %s, version = version + 1
WHERE tranche_id = %s AND version = %s
"""
TAKE_BACK = "UPDATE progress SET confirmed_fen = confirmed_fen - %s, version = version + 1 WHERE tranche_id = %s"


class Progress(Protocol):
    """What the pipeline's progress step does."""

    def add(self, amount_fen: int) -> bool:
        """Count a bid; false when the optimistic lock was lost, so the bid's step fails."""

    def take_back(self, amount_fen: int) -> None:
        """Uncount a bid whose later step failed."""

    def confirmed_fen(self) -> int:
        """Return the sum confirmed so far, in fen."""


class ProgressRow:
    """The incident's design: one row that every bid reads and writes under a version check."""

    def __init__(self, pool: LedgerPool, tranche_id: str, tries: int) -> None:
        self._pool, self._tranche_id, self._tries = pool, tranche_id, tries

    def add(self, amount_fen: int) -> bool:
        """Read the version, update if it still stands; a few tries."""
        with self._pool.connection() as connection:
            for _ in range(self._tries):
                row = connection.execute(READ, (self._tranche_id,)).fetchone()
                assert row is not None
                if connection.execute(ADD, (amount_fen, self._tranche_id, row[1])).rowcount == 1:
                    return True
        return False

    def take_back(self, amount_fen: int) -> None:
        """Subtract without a version check: a lost subtraction would be one fault more."""
        with self._pool.connection() as connection:
            connection.execute(TAKE_BACK, (amount_fen, self._tranche_id))

    def confirmed_fen(self) -> int:
        """Return what the row says."""
        with self._pool.connection() as connection:
            row = connection.execute(READ, (self._tranche_id,)).fetchone()
        assert row is not None
        return int(row[0])


class DerivedProgress:
    """The fix: no row; progress is the sum of the orders, remembered for a moment."""

    FRESH_S = 0.02

    def __init__(self, pool: LedgerPool, tranche_id: str, clock: Clock) -> None:
        self._pool, self._tranche_id, self._clock = pool, tranche_id, clock
        self._read_at = float("-inf")
        self._sum = 0

    def add(self, amount_fen: int) -> bool:
        """Nothing to do."""
        return True

    def take_back(self, amount_fen: int) -> None:
        """Nothing to do."""

    def confirmed_fen(self) -> int:
        """Return the sum of the orders; at most 20 ms old, so that a crowd does not ask at once."""
        now = self._clock.now_s()
        if now - self._read_at > self.FRESH_S:
            self._read_at = now  # before the query: the others take the old sum meanwhile
            self._sum = self._pool.sold_fen(self._tranche_id)
        return self._sum
