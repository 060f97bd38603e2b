"""The seam of psycopg, alone or under SQLAlchemy: one statement with its BEGIN is one step, and so is a COMMIT."""

from __future__ import annotations

import re
import secrets
import select
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from typing import Any, cast

import psycopg
import sqlalchemy as sa
from psycopg import IsolationLevel, pq

from oversold.clock import SystemClock
from oversold.explore.actor import Port
from oversold.explore.escapes import Escape
from oversold.explore.naming import Naming
from oversold.explore.seams.postgres_place import Place
from oversold.explore.seams.sql import PATIENCE_MS, SAVEPOINTS, SqlServer
from oversold.explore.seams.sql_core import Compiled
from oversold.explore.seams.sql_keys import bare
from oversold.explore.seams.sql_session import (
    READ_COMMITTED,
    READ_UNCOMMITTED,
    Answer,
    Session,
    Statement,
    answer_of,
)
from oversold.schedule import Choice
from oversold.stores import postgres as server
from oversold.stores.endpoint import Endpoint

WAITS = "SELECT unnest(pg_blocking_pids(%s))"
# By the same ways in every execution, those of a large table: what SERIALIZABLE takes for a conflict depends on
# them, and the planner would choose others as tables grow. What is off counts as dear, and would be compiled.
WAYS = (
    "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off; "
    "SET plan_cache_mode = force_generic_plan; SET jit = off"
)
FORGET = "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; DISCARD TEMP"
DEADLOCK = "DO $$ BEGIN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'; END $$"
CANCEL = "SELECT pg_cancel_backend(%s)"
# The clocks that are syntax, and those that a schema in front of the server's cannot take the place of.
REAL_CLOCK = re.compile(
    r"\b(?:current_timestamp|current_time|current_date|localtimestamp|localtime|timeofday\s*(?=\()|"
    r"pg_catalog\.\w*(?:now|timestamp)\b)"
)
REAL_NOW = re.compile(
    r"'(?:now|today|tomorrow|yesterday)'(?=\s*::)|\b(?:timestamp|timestamptz|date|time)\s+'(?:now|today|tomorrow|yesterday)'",
    re.IGNORECASE,
)
EVENTS = {1: select.POLLIN, 2: select.POLLOUT, 3: select.POLLIN | select.POLLOUT}


class PostgresServer(SqlServer):
    """A PostgreSQL server. All tables of the exploration are in a schema of its own, which `close` drops.

    Its clock stands still but for `pass_time`: functions of that schema take the place of now() and its like,
    though not of CURRENT_TIMESTAMP, which is syntax.
    """

    def __init__(
        self, endpoint: Endpoint, naming: Naming, looked_at_clock: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(endpoint, naming, looked_at_clock)
        self.admin = server.connect_raw(endpoint, SystemClock(), 0, autocommit=True)
        self.place = Place(self.admin, f"explore_{secrets.token_hex(4)}")

    def connect(self, port: Port) -> sa.Connection:
        """Return an actor's SQLAlchemy connection, whose every exchange waits for its turn at `port`."""
        session = Session(self, port)
        self.sessions.append(session)
        connection = cast(
            WatchedConnection,
            server.connect_raw(self.endpoint, SystemClock(), 0, autocommit=True, kind=WatchedConnection),
        )
        connection.begin_with = f'SET search_path TO "{self.place.schema}", pg_catalog; {WAYS}'
        connection.execute(connection.begin_with, prepare=False)
        row = connection.execute("SHOW default_transaction_isolation").fetchone()
        connection.usual_level = self.level(str(row[0]).upper()) if row else READ_COMMITTED
        connection.first = connection.usual_level, False, None
        connection.session, connection.cursor_factory = session, WatchedCursor
        session.connection, session.backend = connection, connection.info.backend_pid
        client = server.connect_by(connection.revived)
        self.watch(client, session)
        return client

    def clean(self, client: sa.Connection) -> None:
        """End what an actor has left open: transactions, locks, and what it had set."""
        client.rollback()
        connection = cast(WatchedConnection, client.connection.driver_connection)
        connection.undo()
        setattr(client, SAVEPOINTS, 0)

    def statement(self, sql: str, parameters: Any, core: Compiled | None) -> Statement:
        """Return a statement as a step.

        Raises:
            Escape: it looks at a clock that does not stand still.
        """
        clock = REAL_CLOCK.search(bare(sql) or sql.lower()) or REAL_NOW.search(sql)
        if clock:
            raise Escape(f"a statement uses {clock.group()}, the real time, which no replay repeats: write now()")
        return super().statement(sql, parameters, core)

    def level(self, name: str) -> str:
        """Return what an isolation level is here: nobody reads what is not committed."""
        return READ_COMMITTED if name == READ_UNCOMMITTED else name

    # Who waits for whom

    def blocking(self, session: Session) -> list[int]:
        """Return the connections for which a session waits now."""
        return [row[0] for row in self.admin.execute(WAITS, [session.backend]).fetchall()]

    def cancel(self, session: Session) -> None:
        """End the statement for whose answer a session waits."""
        self.admin.execute(CANCEL, [session.backend])

    def is_error(self, error: Exception) -> bool:
        """Tell whether an exception is the server's answer."""
        return isinstance(error, psycopg.Error) and error.sqlstate is not None

    def told(self, error: Exception) -> str:
        """Return an error of the server's in one line."""
        assert isinstance(error, psycopg.Error)
        return self.naming.of(error.diag.message_primary or type(error).__name__)

    # Between two executions

    def remember(self) -> None:
        """Keep what is stored now as that from which every execution begins."""
        self.remembered(self.place.remember())
        self.functions = self.place.functions()

    def reset(self) -> None:
        """Store again what was remembered, and nothing else."""
        self.place.reset(self.stained)
        self.fresh()

    def expiring(self) -> Iterable[tuple[Choice, str]]:
        """Rows have no lease."""
        return ()

    def disappear(self, key: str) -> None:
        """Rows stay."""

    def pass_time(self, now_s: float) -> None:
        """Let the server's clock show this many seconds since the execution began."""
        self.place.pass_time(now_s)

    def close(self) -> None:
        """Close the explorer's connections, and drop what it made."""
        for client, session in zip(self.clients, self.sessions, strict=True):
            server.close(client)
            session.connection.pgconn.finish()  # whatever its client believes
        self.place.drop()
        self.admin.close()


class WatchedCursor(psycopg.Cursor[Any]):
    """Announces what it executes."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        """Take the step of a statement."""
        return self._watched(query, params, lambda: super(WatchedCursor, self).execute(query, params, **options))

    def executemany(self, query: Any, params_seq: Iterable[Any], **options: Any) -> None:
        """Take a step for each row of values, since others may come between; with `returning`, one for all."""
        rows = list(params_seq)
        if options.get("returning"):
            self._watched(
                query, rows, lambda: super(WatchedCursor, self).executemany(query, rows, **options) or self
            )
            return
        counts = [self.execute(query, row).rowcount for row in rows]
        self._rowcount = sum(counts)

    def _watched(self, query: Any, params: Any, send: Callable[[], Any]) -> Any:
        connection = self.connection
        if not isinstance(connection, WatchedConnection) or connection.session.within:
            return send()
        text = (
            query.decode() if isinstance(query, bytes) else query if isinstance(query, str) else query.as_string()
        )
        return connection.session.execute(text, params, connection.level(), send, connection)


class WatchedConnection(psycopg.Connection[Any]):
    """Waits for its turn before each exchange. It outlives its client's belief that it is dead: see `revived`."""

    session: Session
    begin_with: str  # what it has set from the start
    usual_level = READ_COMMITTED  # of transactions that name none
    # With what every execution begins: the usual level, whether each statement commits itself, another level.
    first: tuple[str, bool, IsolationLevel | None] = READ_COMMITTED, False, None
    _gone = False

    def wait(self, gen: Generator[Any, Any, Any], *arguments: Any, **options: Any) -> Any:
        """Run one exchange with the server."""
        session = getattr(self, "session", None)
        if session is None or session.port.actor is None or getattr(gen, "__name__", "").startswith("_set_"):
            return super().wait(gen, *arguments, **options)
        if not session.within:
            return session.execute("SQL", None, self.level(), lambda: self._run(gen), self)
        return self._run(gen)

    def _run(self, gen: Generator[Any, Any, Any]) -> Any:
        session = self.session
        if not session.server.others_busy(session):
            return super().wait(gen)
        return driven(gen, self.pgconn.socket, session.waiting)

    def commit(self) -> None:
        """Take the step of a COMMIT."""
        self.session.end("COMMIT", super().commit, self)

    def rollback(self) -> None:
        """Take the step of a ROLLBACK."""
        self.session.end("ROLLBACK", super().rollback, self)

    # As the session sees it

    def level(self) -> str:
        """Return the isolation level of the transaction; empty where each statement commits itself."""
        if self.autocommit and not self.in_transaction():
            return ""
        level = self.isolation_level
        return self.session.server.level(level.name.replace("_", " ")) if level is not None else self.usual_level

    def in_transaction(self) -> bool:
        """Tell whether the server says that a transaction is open."""
        return self.pgconn.transaction_status != pq.TransactionStatus.IDLE

    def failed(self) -> bool:
        """Tell whether the transaction can only be rolled back."""
        return self.pgconn.transaction_status == pq.TransactionStatus.INERROR

    def undone(self, error: Exception) -> bool:
        """Tell whether the locks of the transaction are gone: all but those from before a savepoint."""
        marks = [mark.lstrip().upper() for mark, _, _ in self.session.transaction.said]
        return self.failed() and not any(mark.startswith("SAVEPOINT") for mark in marks)

    def answer(self, result: Any) -> Answer:
        """Return what came back, of a cursor; without one, nobody knows."""
        naming = self.session.server.naming
        found = getattr(result, "pgresult", None)
        if found is None:
            return Answer("done", "", 1)
        if found.status != pq.ExecStatus.TUPLES_OK:
            return answer_of(None, result.rowcount, naming)
        rows = [
            tuple(found.get_value(row, column) for column in range(found.nfields)) for row in range(found.ntuples)
        ]
        return answer_of(rows, len(rows), naming)

    def sacrifice(self) -> Any:
        """Have the server undo the transaction, and raise what it raises in a deadlock."""
        return self.execute(DEADLOCK, prepare=False)

    def lose(self, what: str) -> Exception:
        """Die: the server undoes what was open, and the client hears nothing more."""
        self.undo()
        self._gone = True
        return psycopg.OperationalError(
            f"consuming input failed: could not receive data from server: timeout (the {what} was lost)"
        )

    # Dying without being closed, since connecting takes longer than all the rest

    @property
    def closed(self) -> bool:
        """True for a client that lost it."""
        return self._gone or super().closed

    def close(self) -> None:
        """End as far as the client can see."""
        with suppress(psycopg.OperationalError):  # of a server that has gone there is nothing to undo
            self.undo()
        self._gone = True

    def undo(self) -> None:
        """Do what the server does when a connection ends."""
        outside = bool(self.session.outside)
        if self.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
            _drain(self)
        if self.in_transaction():
            super().wait(self._rollback_gen())
        if outside:
            self.pgconn.exec_(b"SELECT pg_advisory_unlock_all()")
        if self.session.settings:
            self.pgconn.exec_(f"{FORGET}; {self.begin_with}".encode())
            self.session.settings = False
        self.usual_level, autocommit, level = self.first
        if self.autocommit != autocommit:
            super().wait(self._set_autocommit_gen(autocommit))
        if self.isolation_level != level:
            super().wait(self._set_isolation_level_gen(level))
        self.session.ended()

    def keep(self) -> None:
        """Take what is set now for that with which every execution begins."""
        self.first = self.usual_level, self.autocommit, self.isolation_level

    def revived(self) -> WatchedConnection:
        """Return it as a new connection: with nothing open, and everything as it is at first."""
        self.undo()
        self._gone = False
        return self


def driven(gen: Generator[Any, Any, Any], socket: int, waiting: Callable[[], None]) -> Any:
    """Run an exchange to its end; whenever nothing comes for a while, `waiting` looks why."""
    poll = select.poll()
    try:
        wanted = next(gen)
        poll.register(socket, EVENTS[wanted])
        while True:
            found = poll.poll(PATIENCE_MS)
            if not found:
                waiting()
                continue
            happened = found[0][1]
            ready = (1 if happened & ~select.POLLOUT else 0) | (2 if happened & select.POLLOUT else 0)
            wanted = gen.send(ready)
            poll.modify(socket, EVENTS[wanted])
    except StopIteration as end:
        return end.value


def _drain(connection: psycopg.Connection[Any]) -> None:
    """Read the answer of a statement that was cancelled."""
    while connection.pgconn.get_result() is not None:
        continue
