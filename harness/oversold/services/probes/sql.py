"""The ledger as a SQL query: PostgreSQL, MariaDB, MySQL or an SQLite file, only ever read."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from oversold.clock import now_ns
from oversold.errors import UsageError
from oversold.services.mapping import LedgerProbe
from oversold.services.placeholders import expand
from oversold.services.probes.rows import NotNowError, Row, columns_of, rows_of

WHERE = "the ledger's query"
# Options that choose another server than the one which the URL names, and which was checked.
ELSEWHERE = ("hostaddr", "service", "servicefile", "read_default_file", "read_default_group")
DETOURS = ("PGHOSTADDR", "PGSERVICE")  # the environment's words for some of the same
SHAPE = "postgresql://user:password@host/database, mysql://..., mariadb://... or sqlite:///file"
DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",  # SQLAlchemy's own word for MariaDB refuses MySQL; this one finds out which it is
    "sqlite": "sqlite",
}
CONNECT_S = 5
QUERY_S = 30
PROGRESS_STEPS = 10_000  # of SQLite's machine between two looks at the time: some tenths of a millisecond


def read(probe: LedgerProbe, tranche_id: str) -> list[Row]:
    """Return the orders that the query yields, in a read-only transaction of its own.

    Raises:
        UsageError: the URL, the query or what it yields cannot be used; no text shows a password.
        NotNowError: the server does not answer, or not in time.
    """
    url = url_of(expand(probe.sql or ""))
    refuse_detours(url)
    statement = sa.text(probe.query or "")
    wanted = set(statement.compile().params)
    if unknown := sorted(wanted - {"tranche_id"}):
        raise UsageError(
            f"ledger.query binds :{unknown[0]}, which nothing fills: only :tranche_id is known "
            "(a colon that binds nothing is written \\\\:)"
        )
    with _connected(url) as connection:
        try:
            _prepare(connection)
            result = connection.execute(statement, {"tranche_id": tranche_id} if wanted else {})
            if not result.returns_rows:
                raise UsageError("ledger.query yields no rows: it must be a SELECT")
            header, records = list(result.keys()), result.fetchall()
        except SQLAlchemyError as error:
            raise _failed(error, url) from None
    return rows_of(records, columns_of(header, probe.columns, WHERE), WHERE)


def url_of(text: str) -> sa.URL:
    """Return the URL of a ledger with the driver that is installed here, whichever it names.

    Raises:
        UsageError: it cannot be read, or is of a database that is not known here; its text is never shown.
    """
    try:
        url = sa.make_url(text.strip())
    except (ArgumentError, ValueError):
        raise UsageError(f"ledger.sql cannot be read: it must look like {SHAPE}") from None
    backend = url.drivername.partition("+")[0]
    if backend not in DRIVERS:
        raise UsageError(f"ledger.sql is of a database called {backend!r}, which is not known here: use {SHAPE}")
    if backend == "sqlite" and url.database in (None, "", ":memory:"):
        raise UsageError(
            "ledger.sql is an SQLite database in memory, which only its own process can read: give a file"
        )
    if "@" in (url.host or ""):
        raise UsageError("ledger.sql has two @: write the one in the user's name or password as %40")
    host = str(url.query.get("host", "/"))
    if not host.startswith("/") or any(name in ELSEWHERE for name in url.query):
        raise UsageError(
            "ledger.sql names a server behind the ?: name it before the database, where it can be checked"
        )
    if backend != "sqlite" and not url.host and not {"host", "unix_socket"} & set(url.query):
        # Left to the driver, the environment would choose a server.
        url = url.set(host="127.0.0.1")
    return url.set(drivername=DRIVERS[backend])


def refuse_detours(url: sa.URL) -> None:
    """Refuse an environment by which PostgreSQL's library would ask another server than the URL's.

    Raises:
        UsageError: which variable leads elsewhere.
    """
    for name in DETOURS if url.get_backend_name() == "postgresql" else ():
        if os.environ.get(name):
            raise UsageError(
                f"the environment variable {name} leads past the host of ledger.sql, which is the one that was "
                "checked: unset it"
            )


@contextmanager
def _connected(url: sa.URL) -> Iterator[sa.Connection]:
    """Lend a connection that can only read. PostgreSQL and MariaDB are told so by `_prepare`."""
    backend = url.get_backend_name()
    options: dict[str, Any] = {"poolclass": NullPool}
    if backend == "sqlite":
        options["creator"] = _sqlite(str(url.database))
    else:
        options["connect_args"] = {"connect_timeout": CONNECT_S}
    if backend in ("mysql", "mariadb"):
        # A server that no longer answers must not hold up the audit; the query has a limit of its own.
        options["connect_args"] |= {"read_timeout": QUERY_S + CONNECT_S, "write_timeout": CONNECT_S}
    if backend == "postgresql":
        options["execution_options"] = {"postgresql_readonly": True}
    try:
        engine = sa.create_engine(url, **options)
        connection = engine.connect()
    except SQLAlchemyError as error:
        raise _failed(error, url) from None
    except (TypeError, ValueError):
        # A driver that is given options which it does not know; its words may show their values.
        raise UsageError(
            "ledger.sql has options behind the ? that its driver does not take: leave them out"
        ) from None
    try:
        yield connection
    finally:
        connection.invalidate()  # closes at once, whatever state the server is in
        connection.close()
        engine.dispose()


def _sqlite(database: str) -> Callable[[], sqlite3.Connection]:
    """Return what opens an SQLite file to be read; the shop may go on writing."""
    if database.startswith("file:"):
        raise UsageError("ledger.sql is an SQLite URI: give the file itself, sqlite:///shop.db")
    path = Path(database).expanduser()
    if not path.is_file():
        raise UsageError(f"ledger.sql: there is no SQLite file {path}: give the one that the service writes")

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, timeout=CONNECT_S)
        deadline = now_ns() + QUERY_S * 10**9
        connection.set_progress_handler(lambda: now_ns() > deadline, PROGRESS_STEPS)
        return connection

    return connect


def _prepare(connection: sa.Connection) -> None:
    """Let the server refuse to write and give the query a limit of time; times without a zone are UTC."""
    name = connection.dialect.name
    if name == "postgresql":
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {QUERY_S * 1000}")
        connection.exec_driver_sql("SET LOCAL TIME ZONE 'UTC'")
    elif name in ("mysql", "mariadb"):
        if getattr(connection.dialect, "is_mariadb", False):
            connection.exec_driver_sql(f"SET SESSION max_statement_time = {QUERY_S}")
        else:
            connection.exec_driver_sql(f"SET SESSION max_execution_time = {QUERY_S * 1000}")
        connection.exec_driver_sql("SET SESSION time_zone = '+00:00'")
        connection.rollback()  # the next transaction is the one that only reads
        connection.exec_driver_sql("START TRANSACTION READ ONLY")


def _failed(error: Exception, url: sa.URL) -> UsageError:
    """Return an error for what a driver said: its first line, without the query and without passwords."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    said = cause.args[-1] if isinstance(cause.args, tuple) and cause.args else cause
    lines = [line.strip() for line in str(said).splitlines() if line.strip()]
    reason = _without_secrets(lines[0] if lines else type(cause).__name__, url)
    where = url.database if url.get_backend_name() == "sqlite" else f"{url.host or 'localhost'}"
    if isinstance(error, DBAPIError) and _passes(error, cause):
        return NotNowError(
            f"the ledger's database ({where}) cannot be read ({reason}): see that it runs, or mend ledger.sql"
        )
    return UsageError(f"the ledger's query failed ({where}: {reason}): mend ledger.query or ledger.sql")


def _passes(error: DBAPIError, cause: BaseException) -> bool:
    """Return whether a failure may be over when somebody asks again: no server, a lock, a limit of time."""
    if error.connection_invalidated:
        return True
    if isinstance(cause, sqlite3.Error):
        return str(cause) in ("database is locked", "interrupted")
    if isinstance(cause, psycopg.Error):
        # 08: connection; 40: serialisation; 53: no room; 55P03: locked; 57: stopped, starting, or out of time.
        state = cause.sqlstate
        if state is None:  # no server has said anything
            return isinstance(cause, psycopg.OperationalError)
        return state[:2] in ("08", "40", "53", "57") or state == "55P03"
    # PyMySQL: too many connections, locks, out of time, none, lost.
    return bool(cause.args) and cause.args[0] in (1040, 1205, 1213, 1969, 2003, 2006, 2013, 3024)


def _without_secrets(text: str, url: sa.URL) -> str:
    """Return a text with the passwords of a URL replaced."""
    secrets = [url.password, *(value for name, value in url.query.items() if "pass" in name)]
    for secret in secrets:
        if secret:
            text = text.replace(str(secret), "***")
    return text
