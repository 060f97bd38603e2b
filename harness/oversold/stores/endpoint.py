"""Where a store answers and what stands behind it; what every server file offers."""

from __future__ import annotations

import ipaddress
import os
import pwd
import re
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from oversold.clock import Clock
from oversold.errors import StoreUnavailableError, UsageError
from oversold.stores.guard import Guard

Provider = Literal["url", "local", "wheel", "emulated", "docker"]


@dataclass(frozen=True)
class Endpoint:
    """A running store. `url` may hold a password: it never goes into a report; `public` does."""

    store: str
    url: str
    provider: Provider
    version: str
    settings: Mapping[str, str] = field(default_factory=dict)
    pid: int | None = None
    others: tuple[int, ...] = ()  # further processes that must live as long
    image: str | None = None  # of the container that it runs in

    @property
    def pids(self) -> tuple[int, ...]:
        """All processes of a store that was started for the run; none where it was given by URL."""
        return () if self.pid is None else (self.pid, *self.others)

    def public(self) -> dict[str, Any]:
        """What a report says of the store: provider, version, settings; no address, no secret."""
        row: dict[str, Any] = {"provider": self.provider, "version": self.version}
        if self.provider == "emulated":
            row["name"] = f"{self.store} (emulated)"
        if self.image:
            row["image"] = self.image
        if self.settings:
            row["settings"] = dict(self.settings)
        return row

    def to_json(self) -> dict[str, Any]:
        """Return all fields, for the private plan file."""
        return asdict(self)


@dataclass(frozen=True)
class Found:
    """A server program that could be started: its path, where it came from, its version."""

    program: Path
    provider: Provider
    version: str


class Server(Protocol):
    """One kind of store. Each file of this room that is named after a server has these as functions."""

    name: str
    hint: str  # what to install to get the real one

    def find(self) -> Found | None:
        """Look for a program: PATH first, then a Python wheel, then (memcached) the emulator."""

    def start(self, found: Found, guard: Guard, connections: int) -> Endpoint:
        """Start a private instance on a free loopback port and wait until it answers."""

    def probe(self, url: str) -> Endpoint:
        """Ask a given URL for its version; StoreUnavailableError when it does not answer."""

    def admits(self, endpoint: Endpoint) -> int | None:
        """Return how many clients a server given by URL admits; None when it does not say."""

    def connect(self, endpoint: Endpoint, clock: Clock, rtt_s: float) -> Any:
        """Open one private connection; `rtt_s` of delay goes before every command."""

    def close(self, client: Any) -> None:
        """Close a client's connections without another word to the server."""

    def cut(self, client: Any, dead: Callable[..., Any]) -> None:
        """Let `dead`, which raises, take the place of every way by which the client reaches its server."""


def version_of(program: Path, flag: str, pattern: str) -> str | None:
    """Ask a program for its version; None when it does not run here or says nothing that `pattern` finds."""
    try:
        text = subprocess.run([program, flag], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(pattern, text)
    return match.group(1) if match else None


def free_port() -> int:
    """Return a loopback port that is free now. It may be taken a moment later: starting retries."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def started(
    label: str,
    found: Found,
    guard: Guard,
    launch: Callable[[int], tuple[int, str]],
    probe: Callable[[str], Endpoint],
    seconds: float,
    log: Path,
) -> tuple[int, str]:
    """Launch a server on a free port until it answers; return its process id and URL.

    Args:
        launch: starts the server on a port; returns its process id and URL.
        probe: raises StoreUnavailableError while the URL does not answer.
        seconds: how long it may take to answer.
        log: where the server writes; its last line is the reason told.

    Raises:
        StoreUnavailableError: three ports were tried in vain.
    """
    for _ in range(3):
        pid, url = launch(free_port())
        deadline = time.monotonic() + seconds
        while guard.returncode(pid) is None and time.monotonic() < deadline:
            try:
                probe(url)
            except StoreUnavailableError:
                time.sleep(0.01)
                continue
            return pid, url
        guard.stop(pid)
    lines = log.read_text(errors="replace").strip().splitlines()
    raise StoreUnavailableError(f"{label} ({found.program}) did not start: {lines[-1] if lines else 'no output'}")


def unprivileged(*names: str) -> pwd.struct_passwd | None:
    """Return the first user of `names` that exists, when we are root, since servers refuse root; else None.

    Raises:
        StoreUnavailableError: we are root and none of them exists.
    """
    if os.geteuid() != 0:
        return None
    for user in names:
        try:
            return pwd.getpwnam(user)
        except KeyError:
            continue
    raise StoreUnavailableError(
        f"servers do not run as root, and there is no user {' or '.join(names)}: use another user"
    )


def require_loopback(host: str | None, url_name: str, *, allow_remote: bool) -> None:
    """Refuse to send load to another machine unless the user said so.

    Raises:
        UsageError: `host` is not a loopback address and remote stores were not allowed.
    """
    if not allow_remote and not _is_loopback(host or "localhost"):
        raise UsageError(
            f"{url_name} points at {host}, which is not this machine: load goes to loopback only, "
            "unless you add --allow-remote"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"  # any other name is whatever a name server says it is
