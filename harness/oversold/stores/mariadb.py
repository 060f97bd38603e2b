"""MariaDB: find, start, probe, connect. Strategies over SQL can run here instead of on PostgreSQL."""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pymysql
import sqlalchemy
from pymysql.connections import Connection
from pymysql.constants import CLIENT
from sqlalchemy.pool import StaticPool

from oversold.clock import Clock, SystemClock
from oversold.errors import StoreUnavailableError
from oversold.stores.endpoint import Endpoint, Found, started, unprivileged, version_of
from oversold.stores.guard import Guard

name = "mariadb"
hint = "MariaDB (Debian: apt-get install mariadb-server); there is no wheel of it"

START_S = 30.0
CONNECT_S = 30
SHAPE = "the MariaDB URL cannot be read: it must look like mysql://user:password@host:port/database"
DATABASE = "oversold"
# Compares bytes: no two ids that differ in case, accents or spaces at their end are taken for one. Tables have it
# from their database, and a column's collation has precedence over the connection's.
COLLATION = "utf8mb4_nopad_bin"
# The server is thrown away with the run, so it need not survive a power cut. Reports say so.
FAST = {"innodb_flush_log_at_trx_commit": "0", "sync_binlog": "0", "innodb_doublewrite": "0"}
# Small, since nothing of a run is large, and nothing kept from one start for the next. The performance schema
# alone would take 100 MB. The files of its log are written in full when the server is made.
SMALL = {
    "innodb_buffer_pool_size": "64M",
    "innodb_buffer_pool_dump_at_shutdown": "0",
    "innodb_buffer_pool_load_at_startup": "0",
    "innodb_log_file_size": "32M",
    "aria_pagecache_buffer_size": "8M",
    "aria_log_file_size": "8M",
    "key_buffer_size": "1M",
    "table_open_cache": "400",
    "performance_schema": "OFF",
}


SIZES = [f"--{key.replace('_', '-')}={value}" for key, value in {**FAST, **SMALL}.items()]


def find() -> Found | None:
    """Return mariadbd from PATH or the folders where distributions put servers, else None."""
    for word in ("mariadbd", "mysqld"):
        for folder in (None, "/usr/sbin:/usr/libexec"):
            program = shutil.which(word, path=folder)
            # The mysqld of MySQL does not call itself MariaDB, and is another server.
            version = version_of(Path(program), "--version", r"Ver (\S+?)-MariaDB") if program else None
            if program and version and _installer(Path(program)):
                return Found(Path(program), "local", version)
    return None


def _installer(program: Path) -> str | None:
    """Return the program that makes the data folder of a server: beside it, in its installation, or on PATH."""
    home = program.resolve().parents[1]
    beside = f"{program.parent}:{home / 'scripts'}:{home / 'bin'}"
    for word in ("mariadb-install-db", "mysql_install_db"):
        if path := shutil.which(word, path=beside) or shutil.which(word):
            return path
    return None


def start(found: Found, guard: Guard, connections: int) -> Endpoint:
    """Start a private instance with room for `connections` clients; as root, under another user."""
    folder = guard.folder("oversold-mariadb-")
    user = unprivileged("mysql", "nobody")
    password = secrets.token_hex(16)
    first, log = folder / "first.sql", folder / "mariadb.log"
    # In a file and not in the arguments, since everybody can read the arguments of a process.
    first.touch(mode=0o600)
    first.write_text(
        f"CREATE OR REPLACE USER '{DATABASE}'@'127.0.0.1' IDENTIFIED BY '{password}';\n"
        f"GRANT ALL ON *.* TO '{DATABASE}'@'127.0.0.1' WITH GRANT OPTION;\n"
        # Who came with the installation has no password.
        f"DELETE FROM mysql.global_priv WHERE User NOT IN ('{DATABASE}', 'mariadb.sys');\nFLUSH PRIVILEGES;\n"
        f"CREATE DATABASE IF NOT EXISTS {DATABASE};\n"
    )
    if user:
        os.chown(folder, user.pw_uid, user.pw_gid)
        os.chown(first, user.pw_uid, user.pw_gid)
    common = ["--no-defaults", *SIZES, f"--datadir={folder / 'data'}", f"--tmpdir={folder}"]
    _install(found, common, folder, user, guard)

    def launch(port: int) -> tuple[int, str]:
        argv = [str(found.program), *common, f"--init-file={first}", f"--pid-file={folder / 'pid'}"]
        # Relative to the data folder, since the path of a socket is limited to 107 bytes.
        argv += ["--bind-address=127.0.0.1", f"--port={port}", "--socket=socket", *rules(connections)]
        pid = _spawn(guard, argv, log, folder, user)
        return pid, f"mysql://{DATABASE}:{password}@127.0.0.1:{port}/{DATABASE}"

    try:
        pid, url = started("MariaDB", found, guard, launch, probe, START_S, log)
    except StoreUnavailableError:
        raise StoreUnavailableError(f"MariaDB ({found.program}) did not start: {_reason(log)}") from None
    return Endpoint(name, url, found.provider, found.version, FAST, pid)


def rules(connections: int) -> list[str]:
    """Return the arguments of a private server, wherever it runs, besides those by which its data was made."""
    argv = ["--skip-name-resolve", f"--max-connections={connections + 20}", f"--back-log={connections + 20}"]
    return [*argv, "--character-set-server=utf8mb4", f"--collation-server={COLLATION}"]


def _install(found: Found, common: list[str], folder: Path, user: pwd.struct_passwd | None, guard: Guard) -> None:
    """Make the data folder.

    Raises:
        StoreUnavailableError: the program that makes it failed, or took too long.
    """
    argv = [str(_installer(found.program)), *common]
    argv += ["--skip-test-db", "--auth-root-authentication-method=normal"]
    log = folder / "install.log"
    pid = _spawn(guard, argv, log, folder, user)
    deadline = time.monotonic() + START_S
    while (code := guard.returncode(pid)) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    if code != 0:
        raise StoreUnavailableError(f"{Path(argv[0]).name} ({argv[0]}) failed: {_reason(log)}")


def _reason(log: Path) -> str:
    """Return the line of a log that says what went wrong: the last ones say only that something did."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return next((line for line in lines if "ERROR" in line), lines[-1] if lines else "no answer in time")


def _spawn(guard: Guard, argv: list[str], log: Path, folder: Path, user: pwd.struct_passwd | None) -> int:
    return guard.spawn(
        argv, log=log, cwd=folder, uid=user.pw_uid if user else None, gid=user.pw_gid if user else None
    )


def address(url: str) -> str:
    """Return host:port of a URL, without its password."""
    parts = urlsplit(url)
    return f"{parts.hostname or '127.0.0.1'}:{parts.port or 3306}"


def probe(url: str) -> Endpoint:
    """Ask the server behind `url` for its version."""
    try:
        options = _options(url)
    except ValueError:
        raise StoreUnavailableError(SHAPE) from None  # the reason would show the password
    try:
        with closing(Connection(**options, connect_timeout=2, read_timeout=2)) as connection:
            version = str(connection.get_server_info())
    except pymysql.Error as error:
        reason = str(error.args[-1] if error.args else error).strip().splitlines()
        raise StoreUnavailableError(
            f"MariaDB at {address(url)} does not answer ({reason[-1] if reason else type(error).__name__}): "
            "start it, or leave the URL out"
        ) from error
    number = re.search(r"(\d+(?:\.\d+)+)-MariaDB", version)
    if not number:
        raise StoreUnavailableError(
            f"the server at {address(url)} says that it is {version}, which is no MariaDB: give the URL of one"
        )
    return Endpoint(name, url, "url", number.group(1))


def _options(url: str) -> dict[str, Any]:
    """Return the arguments of PyMySQL's connection for a URL.

    Raises:
        ValueError: the URL cannot be read, or has a query, which nothing here would obey.
    """
    parts = urlsplit(url)
    if parts.query or parts.fragment:
        raise ValueError("query")
    return {
        "host": parts.hostname or "127.0.0.1",
        "port": parts.port or 3306,
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "database": unquote(parts.path.lstrip("/")) or None,
        "charset": "utf8mb4",
    }


def admits(endpoint: Endpoint) -> int | None:
    """Return how many clients a server given by URL admits: the server's limit, or the user's if that is lower."""
    with closing(connect_raw(endpoint, SystemClock(), 0, autocommit=True)) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT @@max_connections, @@max_user_connections")
        server, user = cursor.fetchone() or (0, 0)
    return min(int(server), int(user) or int(server)) or None


def connect(endpoint: Endpoint, clock: Clock, rtt_s: float) -> sqlalchemy.Connection:
    """Return a SQLAlchemy connection over one PyMySQL connection of its own, at REPEATABLE READ as it comes."""
    return connect_by(lambda: connect_raw(endpoint, clock, rtt_s, autocommit=False))


def connect_by(creator: Callable[[], Connection[Any]]) -> sqlalchemy.Connection:
    """Return a SQLAlchemy connection over a PyMySQL connection that somebody else makes, and makes again."""
    engine = sqlalchemy.create_engine("mariadb+pymysql://", creator=creator, poolclass=StaticPool)
    return engine.connect()


def connect_raw(
    endpoint: Endpoint,
    clock: Clock,
    rtt_s: float,
    *,
    autocommit: bool,
    kind: type[Connection[Any]] = Connection,
    flags: int = 0,
) -> Connection[Any]:
    """Return a PyMySQL connection; every exchange with the server waits `rtt_s`.

    It counts the rows that a statement found rather than those it changed, as PostgreSQL does: setting a column
    to the value that it has already is a row, too. It waits for an answer as long as the server lives.
    """
    kind = _delayed(clock, rtt_s) if rtt_s else kind
    return kind(
        **_options(endpoint.url),
        autocommit=autocommit,
        connect_timeout=CONNECT_S,
        client_flag=CLIENT.FOUND_ROWS | flags,
        # Making ready to encrypt costs twenty times what connecting does, and a private server is on loopback.
        ssl_disabled=endpoint.provider != "url",
    )


def own_schema(endpoint: Endpoint) -> Endpoint:
    """Give the run a database of its own on a server that is not ours; `forget` takes it away.

    Raises:
        StoreUnavailableError: the user of the URL may not make one.
    """
    database = f"oversold_{secrets.token_hex(6)}"
    try:
        _execute(endpoint, f"CREATE DATABASE `{database}` CHARACTER SET utf8mb4 COLLATE {COLLATION}")
    except pymysql.Error as error:
        raise StoreUnavailableError(
            f"the MariaDB user of the URL cannot make a database for the run ({error.args[-1]}): "
            "let it, or leave the URL out"
        ) from error
    url = urlsplit(endpoint.url)._replace(path=f"/{database}").geturl()
    return replace(endpoint, url=url, settings={**endpoint.settings, "database": database})


def forget(endpoint: Endpoint, prefix: str) -> None:
    """Delete the run's own database from a server that was given by URL and goes on living."""
    _execute(endpoint, f"DROP DATABASE IF EXISTS `{endpoint.settings['database']}`")


def _execute(endpoint: Endpoint, statement: str) -> None:
    with closing(connect_raw(endpoint, SystemClock(), 0, autocommit=True)) as connection:
        connection.cursor().execute(statement)


def close(client: Any) -> None:
    """Close a client's connections without another word to the server."""
    client.invalidate()  # closes the driver's connection; closing the client would put it back into the pool first
    client.engine.dispose()


def cut(client: Any, dead: Callable[..., Any]) -> None:
    """Let `dead`, which raises, take the place of every way by which the client reaches its server."""
    pool = client.engine.pool
    pool._creator = pool._invoke_creator = dead
    client.connection.driver_connection._execute_command = dead


def _delayed(clock: Clock, rtt_s: float) -> type[Connection[Any]]:
    """Return a connection class that waits one round trip before each exchange with the server."""

    class DelayedConnection(Connection):
        def _execute_command(self, command: Any, sql: Any) -> None:
            clock.sleep(rtt_s)
            super()._execute_command(command, sql)  # type: ignore[misc]  # they leave it out

    return DelayedConnection
