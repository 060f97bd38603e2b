"""memcached: find (or emulate), start, probe, connect."""

from __future__ import annotations

import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pymemcache.client.base import Client
from pymemcache.exceptions import MemcacheError

from oversold.clock import Clock, SystemClock
from oversold.errors import StoreUnavailableError, UsageError
from oversold.stores.endpoint import Endpoint, Found, started, unprivileged, version_of
from oversold.stores.guard import Guard, package_environment

name = "memcached"
hint = "memcached (Debian: apt-get install memcached); there is no wheel of it, so an emulator stands in"

TIMEOUT_S = 30.0
START_S = 10.0
MEMORY_MB = 64
SETTINGS = {"memory": f"{MEMORY_MB} MiB"}


def find() -> Found | None:
    """Return memcached from PATH, else the emulator that is part of this package."""
    on_path = shutil.which("memcached")
    if on_path and (version := version_of(Path(on_path), "-V", r"memcached (\S+)")):
        return Found(Path(on_path), "local", version)
    from oversold.stores import memcached_emulator

    return Found(Path(memcached_emulator.__file__), "emulated", memcached_emulator.VERSION)


def start(found: Found, guard: Guard, connections: int) -> Endpoint:
    """Start a private instance on loopback with room for `connections` clients."""
    folder = guard.folder("oversold-memcached-")
    log = folder / "memcached.log"

    def launch(port: int) -> tuple[int, str]:
        if found.provider == "emulated":
            argv = [sys.executable, "-m", "oversold.stores.memcached_emulator", "--port", str(port)]
            argv += ["--memory-mb", str(MEMORY_MB)]
        else:
            argv = [str(found.program), "-l", "127.0.0.1", "-p", str(port), *limits(connections)]
        # Not by its own -u, which would undo that it dies with the guard.
        user = unprivileged("memcache", "nobody") if found.provider != "emulated" else None
        pid = guard.spawn(
            argv,
            log=log,
            cwd=folder,
            env=package_environment(),
            uid=user.pw_uid if user else None,
            gid=user.pw_gid if user else None,
        )
        return pid, f"memcached://127.0.0.1:{port}"

    pid, url = started("memcached", found, guard, launch, probe, START_S, log)
    return Endpoint(name, url, found.provider, found.version, SETTINGS, pid)


def limits(connections: int) -> list[str]:
    """Return the arguments of a private server, wherever it runs: no UDP, so much memory, so many clients."""
    return ["-U", "0", "-m", str(MEMORY_MB), "-c", str(connections + 64)]


def host_port(url: str) -> tuple[str, int]:
    """Split `memcached://host:port` or `host:port`."""
    try:
        parts = urlsplit(url if "://" in url else f"memcached://{url}")
        return parts.hostname or "127.0.0.1", parts.port or 11211
    except ValueError as error:
        raise UsageError(f"memcached URL {url!r} is not memcached://host:port: {error}") from error


def address(url: str) -> str:
    """Return host:port of a URL."""
    return "{}:{}".format(*host_port(url))


def probe(url: str) -> Endpoint:
    """Ask the server behind `url` for its version."""
    client = Client(host_port(url), connect_timeout=2, timeout=2)
    try:
        version = client.version().decode()
    except (OSError, MemcacheError) as error:
        raise StoreUnavailableError(
            f"memcached at {address(url)} does not answer ({error}): start it, or leave the URL out"
        ) from error
    finally:
        client.close()
    return Endpoint(name, url, "emulated" if "emulated" in version else "url", version)


def connect(endpoint: Endpoint, clock: Clock, rtt_s: float) -> Client:
    """Return a client with one connection of its own; writes wait for the server's answer."""
    return connect_by(endpoint, Sockets(_delayed(clock, rtt_s)) if rtt_s else socket)


def connect_by(endpoint: Endpoint, socket_module: Any) -> Client:
    """Return a client whose sockets come from a module: `socket`, or what stands in for it."""
    client = Client(
        host_port(endpoint.url),
        connect_timeout=TIMEOUT_S,
        timeout=TIMEOUT_S,
        no_delay=True,
        default_noreply=False,
        socket_module=socket_module,
    )
    client.version()
    return client


def close(client: Any) -> None:
    """Close a client's connections without another word to the server."""
    client.close()


def cut(client: Any, dead: Callable[..., Any]) -> None:
    """Let `dead`, which raises, take the place of every way by which the client reaches its server."""
    client._connect = dead
    client.sock = None


def admits(endpoint: Endpoint) -> int | None:
    """Return how many clients a server given by URL admits; None when it does not say (the emulator)."""
    client = connect(endpoint, SystemClock(), 0)
    try:
        return int(client.stats("settings")[b"maxconns"])
    except (MemcacheError, KeyError, ValueError):
        return None
    finally:
        client.close()


def forget(endpoint: Endpoint, prefix: str) -> None:
    """memcached cannot list its keys; a run's keys carry an expiry instead, so there is nothing to do."""


class Sockets:
    """Stands in for the `socket` module in pymemcache: `make` takes a socket's arguments and returns its like."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self.socket = make

    def __getattr__(self, attribute: str) -> Any:
        return getattr(socket, attribute)


def _delayed(clock: Clock, rtt_s: float) -> type[socket.socket]:
    class DelayedSocket(socket.socket):
        """Waits one round trip before each write."""

        def sendall(self, *arguments: Any) -> None:
            clock.sleep(rtt_s)
            super().sendall(*arguments)

    return DelayedSocket
