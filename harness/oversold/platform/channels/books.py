"""A channel's own books: every call and every withdrawal, in one SQLite file. They are the truth of a payday.

An effect that comes later is a row whose `t_effect` lies in the future: so no timer is needed, and whatever kills
the channel's process loses nothing. Every row is committed before its caller is answered. `synchronous` is OFF,
since what must be survived is SIGKILL of the process, not a power cut: what is written stays in the page cache.

All times are nanoseconds of `oversold.clock.now_ns`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from oversold.evidence import NEVER
from oversold.model import PAY_REPLIES, PayReply

SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
    id INTEGER PRIMARY KEY,
    ref TEXT NOT NULL,
    user_id TEXT NOT NULL,
    amount_fen INTEGER NOT NULL CHECK (amount_fen > 0),
    key TEXT,
    caller TEXT NOT NULL,
    reply TEXT NOT NULL,
    replay_of INTEGER,
    t_arrived INTEGER NOT NULL,
    t_replied INTEGER NOT NULL,
    t_effect INTEGER,
    voided INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS calls_by_ref ON calls (ref);
CREATE INDEX IF NOT EXISTS calls_by_key ON calls (key) WHERE key IS NOT NULL;
CREATE INDEX IF NOT EXISTS calls_by_user ON calls (user_id);
CREATE TABLE IF NOT EXISTS withdrawals (
    id INTEGER PRIMARY KEY,
    user_id TEXT NOT NULL,
    amount_fen INTEGER NOT NULL CHECK (amount_fen > 0),
    t INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS withdrawals_by_user ON withdrawals (user_id);
CREATE TABLE IF NOT EXISTS meta (
    key TEXT PRIMARY KEY,
    value INTEGER NOT NULL
);
"""
COLUMNS = "id, ref, user_id, amount_fen, key, caller, reply, replay_of, t_arrived, t_replied, t_effect, voided"
STALL = "SELECT coalesce(max(value), 0) FROM meta WHERE key = 'stall_ns'"
HAPPENED = "t_effect IS NOT NULL AND t_effect <= ? AND NOT voided"


@dataclass(frozen=True, slots=True)
class Call:
    """One pay call as the channel knows it.

    `reply` is what it said, or would have said to a caller who waited, at `t_replied`. `replay_of` is the id of
    the earlier call whose key decided the answer: such a call has no effect of its own. `t_effect` is when its
    money moves, None for never. `voided` calls were cancelled before that: theirs does not move.
    """

    id: int
    ref: str
    user_id: str
    amount_fen: int
    key: str | None
    caller: str
    reply: PayReply
    replay_of: int | None
    t_arrived: int
    t_replied: int
    t_effect: int | None
    voided: bool

    def moves(self) -> bool:
        """Tell whether its money moves at all, now or later."""
        return self.t_effect is not None and not self.voided

    def applied(self, now_ns: int) -> bool:
        """Tell whether its money has moved by then."""
        return self.t_effect is not None and not self.voided and self.t_effect <= now_ns

    def to_come(self, now_ns: int) -> bool:
        """Tell whether its money is going to move after then, unless it is voided."""
        return self.t_effect is not None and not self.voided and self.t_effect > now_ns


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Money that an investor took out of an account at the channel at time `t`."""

    id: int
    user_id: str
    amount_fen: int
    t: int


class Books:
    """The books of one channel, written by one process. A `path` of ":memory:" keeps them there."""

    def __init__(self, path: Path | str) -> None:
        # Threads may share the books; the kernel lets one in at a time.
        self._sql = sqlite3.connect(str(path), isolation_level=None, check_same_thread=False)
        self._sql.execute("PRAGMA journal_mode = WAL")
        self._sql.execute("PRAGMA synchronous = OFF")
        self._sql.executescript(SCHEMA)

    def add(
        self,
        ref: str,
        user_id: str,
        amount_fen: int,
        key: str | None,
        caller: str,
        reply: PayReply,
        replay_of: int | None,
        t_arrived: int,
        t_replied: int,
        t_effect: int | None,
    ) -> int:
        """Enter a call, commit, return its id."""
        row = (ref, user_id, amount_fen, key, caller, reply, replay_of, t_arrived, t_replied, t_effect)
        cursor = self._sql.execute(f"INSERT INTO calls ({COLUMNS}) VALUES (NULL, {'?, ' * len(row)}0)", row)
        return int(cursor.lastrowid or 0)

    def of_ref(self, ref: str) -> list[Call]:
        """Return all calls for a ref, in order of arrival."""
        return _calls(self._sql, "WHERE ref = ? ORDER BY id", (ref,))

    def latest_of_key(self, key: str, user_id: str | None) -> Call | None:
        """Return the latest call with a key (of one user, if given) that was not answered from memory."""
        condition = "WHERE key = ? AND replay_of IS NULL AND coalesce(user_id = ?, 1) ORDER BY id DESC LIMIT 1"
        found = _calls(self._sql, condition, (key, user_id))
        return found[0] if found else None

    def calls(self) -> list[Call]:
        """Return all calls, in order of arrival."""
        return _calls(self._sql, "ORDER BY id", ())

    def void(self, ref: str, now_ns: int) -> None:
        """Cancel every call for a ref that has had no effect by now; commit."""
        self._sql.execute(
            "UPDATE calls SET voided = 1 WHERE ref = ? AND (t_effect IS NULL OR t_effect > ?)", (ref, now_ns)
        )

    def paid(self, now_ns: int, arrived_by_ns: int) -> dict[str, int]:
        """Return the fen paid by now, by ref, of the calls that had arrived by a time."""
        rows = self._sql.execute(
            f"SELECT ref, sum(amount_fen) FROM calls WHERE {HAPPENED} AND t_arrived <= ? GROUP BY ref",
            (now_ns, arrived_by_ns),
        )
        return dict(rows.fetchall())

    def received_fen(self, user_id: str, now_ns: int) -> int:
        """Return what a user has been paid by now."""
        condition = f"calls WHERE {HAPPENED} AND user_id = ?"
        return self._sum(condition, (now_ns, user_id))

    def withdrawn_fen(self, user_id: str) -> int:
        """Return what a user has withdrawn."""
        return self._sum("withdrawals WHERE user_id = ?", (user_id,))

    def withdraw(self, user_id: str, amount_fen: int, now_ns: int) -> None:
        """Enter a withdrawal; commit."""
        row = (user_id, amount_fen, now_ns)
        self._sql.execute("INSERT INTO withdrawals (user_id, amount_fen, t) VALUES (?, ?, ?)", row)

    def note_stall(self, stall_ns: int) -> None:
        """Enter for how long the channel stood still, in place of what was entered before; commit."""
        self._sql.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('stall_ns', ?)", (stall_ns,))

    def stall_ns(self) -> int:
        """Return for how long the channel stood still at most, as far as it is entered."""
        return int(self._sql.execute(STALL).fetchone()[0])

    def clear(self) -> None:
        """Forget all calls and withdrawals, and count from 1 again; commit."""
        self._sql.execute("DELETE FROM calls")
        self._sql.execute("DELETE FROM withdrawals")

    def close(self) -> None:
        """Close the file."""
        self._sql.close()

    def _sum(self, condition: str, values: Sequence[Any]) -> int:
        row = self._sql.execute(f"SELECT coalesce(sum(amount_fen), 0) FROM {condition}", values).fetchone()
        return int(row[0])


def payment(call: Call, channel: int, obligation: int, run: int, worker: int, t0_ns: int) -> tuple[int, ...]:
    """Return a call as a row of `payout_evidence.PAYMENT`; times are counted from `t0_ns`."""
    return (
        channel,
        obligation,
        run,
        worker,
        call.amount_fen,
        PAY_REPLIES.index(call.reply),
        call.replay_of is not None,
        call.t_arrived - t0_ns,
        call.t_replied - t0_ns,
        NEVER if call.t_effect is None or call.voided else call.t_effect - t0_ns,
    )


def read_calls(path: Path) -> list[Call]:
    """Return all calls in the books of a channel, alive or killed, in order of arrival.

    Raises:
        sqlite3.OperationalError: there are no such books.
    """
    with closing(_reader(path)) as sql:
        return _calls(sql, "ORDER BY id", ())


def read_withdrawals(path: Path) -> list[Withdrawal]:
    """Return all withdrawals in the books of a channel, alive or killed, in order of time.

    Raises:
        sqlite3.OperationalError: there are no such books.
    """
    with closing(_reader(path)) as sql:
        rows = sql.execute("SELECT id, user_id, amount_fen, t FROM withdrawals ORDER BY id")
        return [Withdrawal(*row) for row in rows]


def read_stall_ns(path: Path) -> int:
    """Return for how many nanoseconds a channel, alive or killed, stood still at a time at most.

    Stalls of up to 50 ms are not entered. 0 where the books say nothing of it: those of older versions do not.

    Raises:
        sqlite3.OperationalError: there are no such books.
    """
    with closing(_reader(path)) as sql:
        kept = sql.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'meta'").fetchone()
        return int(sql.execute(STALL).fetchone()[0]) if kept else 0


def _reader(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None)


def _calls(sql: sqlite3.Connection, condition: str, values: Sequence[Any]) -> list[Call]:
    rows = sql.execute(f"SELECT {COLUMNS} FROM calls {condition}", values).fetchall()
    return [Call(*(*row[:-1], bool(row[-1]))) for row in rows]
