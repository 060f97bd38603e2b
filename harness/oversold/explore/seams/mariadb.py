"""The seam of PyMySQL, alone or under SQLAlchemy: one statement is one step, and so is a COMMIT."""

from __future__ import annotations

import re
import secrets
import select
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast
from urllib.parse import urlsplit

import pymysql
import sqlalchemy as sa
from pymysql.connections import Connection
from pymysql.constants import CLIENT, SERVER_STATUS
from pymysql.cursors import Cursor

from oversold.clock import SystemClock
from oversold.explore.actor import Port
from oversold.explore.escapes import Escape
from oversold.explore.naming import Naming
from oversold.explore.seams.mariadb_place import Place
from oversold.explore.seams.sql import PATIENCE_MS, SAVEPOINTS, SqlServer
from oversold.explore.seams.sql_core import Compiled
from oversold.explore.seams.sql_session import READ_UNCOMMITTED, Answer, Session, Statement, answer_of
from oversold.schedule import Choice
from oversold.stores import mariadb as server
from oversold.stores.endpoint import Endpoint

WAITS = """
SELECT holder.trx_mysql_thread_id FROM information_schema.innodb_lock_waits w
JOIN information_schema.innodb_trx waiter ON waiter.trx_id = w.requesting_trx_id
JOIN information_schema.innodb_trx holder ON holder.trx_id = w.blocking_trx_id
WHERE waiter.trx_mysql_thread_id = %s
"""
WAITS_BY_NAME = "SELECT state FROM information_schema.processlist WHERE id = %s"
REPEATABLE_READ = "REPEATABLE READ"
EPOCH_S = 1_704_067_200  # 2024-01-01 00:00:00 UTC
UNDONE = {1213, 1020}  # a deadlock; a row that has changed since the snapshot
LOST = 2013
DEADLOCK = (
    "SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, "
    "MESSAGE_TEXT = 'Deadlock found when trying to get lock; try restarting transaction'"
)
RESET = 31  # COM_RESET_CONNECTION: PyMySQL has no name for it
CACHED_S = 0.11  # the server answers again what it answered, as long as it is asked sooner than after 0.1 s
LONGEST_S = 5.0  # without a reply and without a reason; sooner than whoever runs for long is ended
LITERAL = re.compile(r"""['"]([^'"]*)['"]""")
# It shows the time of day even where the session's is fixed; it is the same as NOW() for whom time stands still.
SYSDATE = re.compile(r"\bSYSDATE\s*\(", re.IGNORECASE)
# Its second argument is a number of seconds: a value, or digits of which one is not 0.
AWHILE = re.compile(
    r"(\bGET_LOCK\s*\((?:%\(\w+\)s|[^()])+,\s*(?:[.0-9]*[1-9][.0-9]*|%s|%\(\w+\)s))\s*\)", re.IGNORECASE
)


class MariadbServer(SqlServer):
    """A MariaDB server. All tables of the exploration are in a database of its own, which `close` drops.

    Its clock stands still but for `pass_time`. Whoever waits by GET_LOCK waits until nobody else can go on, or,
    where faults are explored, for a shorter time; then the answer is 0.
    """

    def __init__(
        self, endpoint: Endpoint, naming: Naming, looked_at_clock: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(endpoint, naming, looked_at_clock, reading_locks=True)
        flags = CLIENT.MULTI_STATEMENTS
        self.admin = server.connect_raw(endpoint, SystemClock(), 0, autocommit=True, flags=flags)
        self.place = Place(self.admin, f"explore_{secrets.token_hex(4)}")
        url = urlsplit(endpoint.url)._replace(path=f"/{self.place.database}").geturl()
        self._own = replace(endpoint, url=url)
        self.now_s = self._asked_s = 0.0

    def connect(self, port: Port) -> sa.Connection:
        """Return an actor's SQLAlchemy connection, whose every exchange waits for its turn at `port`."""
        session = Session(self, port)
        self.sessions.append(session)
        connection = cast(
            WatchedConnection,
            server.connect_raw(self._own, SystemClock(), 0, autocommit=False, kind=WatchedConnection),
        )
        connection.session, connection.cursorclass = session, WatchedCursor
        session.connection, session.backend = connection, connection.thread_id()
        connection.pass_time(self.now_s)
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
        """Return a statement as a step. InnoDB locks what lies between rows too, so its locks are tables'."""
        found = super().statement(sql, parameters, core)
        tables = {
            lock if lock.startswith("sql-lock/advisory/") or lock.count("/") < 2 else f"{lock.rsplit('/', 1)[0]}/*"
            for lock in found.touched.locks
        }
        return replace(found, touched=replace(found.touched, locks=frozenset(tables)))

    def level(self, name: str) -> str:
        """Return what an isolation level is here.

        Raises:
            Escape: at that level writes are seen before they are committed, which no key here tells.
        """
        if name == READ_UNCOMMITTED:
            raise Escape(f"{READ_UNCOMMITTED} is not explored: use READ COMMITTED, or hunt for it with a burst")
        return name

    # Who waits for whom

    def gives_up(self, statement: Statement) -> bool:
        """Tell whether it is a GET_LOCK that waits for a while."""
        return AWHILE.search(statement.sql) is not None

    def sees_circle(self, statement: Statement) -> bool:
        """Tell whether InnoDB finds a circle of waits: not where one waits for a lock by GET_LOCK."""
        return not statement.touched.held

    def _ask(self, sql: str, values: list[Any]) -> list[Any]:
        with self.admin.cursor() as cursor:
            cursor.execute(sql, values)
            return [row[0] for row in cursor.fetchall()]

    def blocking(self, session: Session) -> list[int]:
        """Return the connections for which a session waits now."""
        if time.monotonic() - self._asked_s < CACHED_S:
            return []
        found = self._ask(WAITS, [session.backend])
        self._asked_s = time.monotonic()
        if not found and self._ask(WAITS_BY_NAME, [session.backend]) == ["User lock"]:
            values = session.values.values() if isinstance(session.values, dict) else session.values or ()
            names = [*map(str, values), *LITERAL.findall(session.sql)]
            holders = [self._ask("SELECT IS_USED_LOCK(%s)", [name[:64]]) for name in names]
            found = [holder for (holder,) in holders if holder is not None]
        return found

    def cancel(self, session: Session) -> None:
        """End the statement for whose answer a session waits."""
        with self.admin.cursor() as cursor:
            cursor.execute("KILL QUERY %s", [session.backend])
        session.connection.drain()

    def is_error(self, error: Exception) -> bool:
        """Tell whether an exception is the server's answer."""
        return isinstance(error, pymysql.err.MySQLError) and error.args[:1] not in {(0,), (LOST,), ()}

    def told(self, error: Exception) -> str:
        """Return an error of the server's in one line."""
        return self.naming.of(str(error.args[-1]).partition(";")[0])

    # Between two executions

    def remember(self) -> None:
        """Keep what is stored now as that from which every execution begins."""
        self.remembered(self.place.remember())

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
        if now_s != self.now_s:
            self.now_s = now_s
            for session in self.sessions:
                session.connection.pass_time(now_s)

    def close(self) -> None:
        """Close the explorer's connections, and drop what it made."""
        for client, session in zip(self.clients, self.sessions, strict=True):
            server.close(client)
            Connection.close(session.connection)
        self.place.drop()
        self.admin.close()


def at_once(sql: str) -> str:
    """Return a statement whose GET_LOCK does not wait; it takes the same values.

    >>> at_once("SELECT GET_LOCK(%s, %s)"), at_once("SELECT GET_LOCK('a', 0)")
    ('SELECT GET_LOCK(%s, %s * 0)', "SELECT GET_LOCK('a', 0)")
    """
    return AWHILE.sub(r"\1 * 0)", sql)


class WatchedCursor(Cursor):
    """Announces what it executes."""

    def execute(self, query: str | bytes, args: Any = None) -> int:
        """Take the step of a statement; many rows of an INSERT come as one, with their values in it, as bytes."""
        connection = cast(WatchedConnection, self.connection)
        text = query if isinstance(query, str) else bytes(query).decode(errors="replace")
        text = SYSDATE.sub("NOW(", text)

        def send() -> int:
            sent = text if isinstance(query, str) else query
            if connection.session.in_vain and isinstance(sent, str):
                sent = at_once(sent)
            return super(WatchedCursor, self).execute(sent, args)  # type: ignore[arg-type]

        if connection.session.within:
            return send()
        connection.cursor_under_way = self
        rows: int = connection.session.execute(text, args, connection.level(), send, connection)
        return rows


class WatchedConnection(Connection):
    """Waits for its turn before each exchange. It outlives its client's belief that it is dead: see `revived`."""

    session: Session
    server_status: int
    usual_level = first_level = REPEATABLE_READ  # of transactions that name none
    cursor_under_way: Cursor

    def _read_query_result(self, unbuffered: bool = False) -> Any:
        session = getattr(self, "session", None)
        if session is not None and session.within and session.server.others_busy(session):
            self._wait(session)
        return super()._read_query_result(unbuffered)  # type: ignore[misc]  # they leave it out

    def _wait(self, session: Session) -> None:
        """Wait for a reply; whenever none comes for a while, look why."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)  # type: ignore[attr-defined]  # they leave it out
        until = time.monotonic() + LONGEST_S
        while not poll.poll(PATIENCE_MS):
            session.waiting()
            if time.monotonic() > until:
                session.server.cancel(session)
                raise Escape(
                    f"a statement had no answer for {LONGEST_S:.0f} s, and waits for no explored connection: keep "
                    "to rows and to locks whose names are values, and take all connections from the context"
                )

    def drain(self) -> None:
        """Read the answer of a statement that was killed."""
        try:
            super()._read_query_result()  # type: ignore[misc]
        except pymysql.err.MySQLError:
            return

    def commit(self) -> None:
        """Take the step of a COMMIT."""
        self.session.end("COMMIT", super().commit, self)

    def rollback(self) -> None:
        """Take the step of a ROLLBACK."""
        self.session.end("ROLLBACK", super().rollback, self)

    def pass_time(self, now_s: float) -> None:
        """Let NOW() and its like show this many seconds since the execution began."""
        super().query(f"SET timestamp = {EPOCH_S + now_s:.6f}")

    # As the session sees it

    def level(self) -> str:
        """Return the isolation level of the transaction; empty where each statement commits itself."""
        return self.usual_level if self.in_transaction() else ""

    def in_transaction(self) -> bool:
        """Tell whether statements are in a transaction."""
        return not self.get_autocommit() or bool(self.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS)

    def failed(self) -> bool:
        """Here a transaction goes on after a statement that failed, or is undone with it."""
        return False

    def undone(self, error: Exception) -> bool:
        """Tell whether the server has undone the whole transaction."""
        return error.args[0] in UNDONE

    def answer(self, result: Any) -> Answer:
        """Return what came back."""
        cursor = self.cursor_under_way
        rows = cursor._rows if cursor.description else None  # type: ignore[attr-defined]  # they leave it out
        return answer_of(None if rows is None else list(rows), cursor.rowcount, self.session.server.naming)

    def sacrifice(self) -> Any:
        """Have the server undo the transaction, and raise what it raises in a deadlock."""
        super().rollback()
        super().query(DEADLOCK)

    def lose(self, what: str) -> Exception:
        """Die: the server undoes what was open, and the client hears nothing more."""
        self.undo()
        return pymysql.err.OperationalError(
            LOST, f"Lost connection to MySQL server during query (the {what} was lost)"
        )

    # Dying without being closed, since connecting takes longer than all the rest

    def close(self) -> None:
        """End as far as the client can see."""
        with suppress(pymysql.err.MySQLError):  # of a server that has gone there is nothing to undo
            self.undo()

    def undo(self) -> None:
        """Do what the server does when a connection ends."""
        outside = bool(self.session.outside)
        if self.session.transaction.said or self.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS:
            super().rollback()
        if outside:
            super().query("SELECT RELEASE_ALL_LOCKS()")
        if self.session.settings:
            self._forget_settings()
        if self.usual_level != self.first_level:
            super().query(f"SET SESSION TRANSACTION ISOLATION LEVEL {self.first_level}")
            self.usual_level = self.first_level
        self.session.ended()

    def _forget_settings(self) -> None:
        """Undo all that was set, and set again what every connection begins with."""
        self._execute_command(RESET, "")  # type: ignore[attr-defined]  # they leave it out
        self._read_ok_packet()  # type: ignore[attr-defined]  # they leave it out
        self.set_character_set(self.charset, self.collation)
        self.select_db(self.db)
        self.autocommit(False)
        self.usual_level = REPEATABLE_READ
        self.pass_time(cast(MariadbServer, self.session.server).now_s)
        self.session.settings = False

    def keep(self) -> None:
        """Take the level that is set now for that with which every execution begins."""
        self.first_level = self.usual_level

    def revived(self) -> WatchedConnection:
        """Return it as a new connection: with nothing open, and everything as it is at first."""
        self.undo()
        if self.get_autocommit():
            self.autocommit(False)
        return self
