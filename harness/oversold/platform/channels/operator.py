"""Start the payment channels of a run, one process each, and bring one up again that was killed."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from oversold import __version__
from oversold.errors import StoreUnavailableError, UsageError, near
from oversold.platform.channels import client
from oversold.platform.channels.profile import Profile
from oversold.stores.endpoint import Endpoint, Found, started
from oversold.stores.guard import Guard, package_environment

SERVICE = "oversold.platform.channels.service"  # by name: the parent need not load a web framework
START_S = 30.0
NO_PORTS: Mapping[str, int] = {}


@dataclass(frozen=True)
class ChannelEndpoint:
    """A running channel: where it answers, its process, its books and its log."""

    name: str
    url: str
    pid: int
    books: Path
    log: Path

    def to_json(self) -> dict[str, Any]:
        """Return all fields, as `from_json` takes them."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> ChannelEndpoint:
        """Read what `to_json` returned."""
        paths = {name: Path(fields[name]) for name in ("books", "log")}
        return cls(**{**fields, **paths})


def start(
    profile: Profile,
    seed: int,
    guard: Guard,
    folder: Path,
    ports: Mapping[str, int] | None = None,
    namespace: str = "",
) -> dict[str, ChannelEndpoint]:
    """Start every channel of a profile and wait until they answer; return them by name, in the profile's order.

    Args:
        folder: gets each channel's books, log and private file.
        ports: fixed ports by channel name; the others get free ones.
        namespace: what all refs begin with; it does not count in what the seed decides.

    Raises:
        UsageError: a fixed port is taken, or given to a channel that is not there; the folder holds books.
        StoreUnavailableError: a channel did not start.
    """
    fixed = ports or NO_PORTS
    for name in fixed:
        if name not in profile.channels:
            known = list(profile.channels)
            raise UsageError(
                f"no channel {name!r} to give a port to{near(name, known)}: there are {', '.join(known)}"
            )
    for name, port in fixed.items():
        _require_free(name, port)
    if len(set(fixed.values())) < len(fixed):
        raise UsageError(f"one port for two channels: {', '.join(f'{n} {p}' for n, p in fixed.items())}")

    def start_one(name: str) -> ChannelEndpoint:
        books = folder / f"channel-{name}.sqlite"
        if books.exists():
            raise UsageError(f"{books} holds the books of another run: choose another folder")
        plan = _plan(books)
        behaviour = profile.channels[name].model_dump(mode="json")
        fields = {"name": name, "profile": behaviour, "seed": seed, "namespace": namespace}
        plan.write_text(json.dumps({**fields, "books": str(books.resolve())}))
        plan.chmod(0o600)
        return _launch(name, books, guard, fixed.get(name))

    with ThreadPoolExecutor(len(profile.channels)) as pool:
        return dict(zip(profile.channels, pool.map(start_one, profile.channels), strict=True))


def restart(endpoint: ChannelEndpoint, guard: Guard) -> ChannelEndpoint:
    """Bring a channel whose process has ended up again, on the same port and over the same books.

    Raises:
        UsageError: the port is taken, for instance because the channel still runs.
        StoreUnavailableError: it did not start.
    """
    port = urlsplit(endpoint.url).port or 0
    _require_free(endpoint.name, port)
    return _launch(endpoint.name, endpoint.books, guard, port)


def _plan(books: Path) -> Path:
    """Return the private file from which the process over these books reads what it is."""
    return books.with_suffix(".json")


def _launch(name: str, books: Path, guard: Guard, port: int | None) -> ChannelEndpoint:
    plan, log = _plan(books), books.with_suffix(".log")

    def launch(free: int) -> tuple[int, str]:
        chosen = port or free
        plan.write_text(json.dumps({**json.loads(plan.read_text()), "port": chosen}))
        argv = [sys.executable, "-m", SERVICE, str(plan.resolve())]
        pid = guard.spawn(argv, log=log.resolve(), cwd=plan.parent, env=package_environment())
        return pid, f"http://127.0.0.1:{chosen}"

    def probe(url: str) -> Endpoint:
        if client.fetch(url, "/health").get("name") != name:
            raise StoreUnavailableError(f"what answers at {url} is not channel {name}")
        return Endpoint("channel", url, "local", __version__)

    found = Found(Path(sys.executable), "local", __version__)
    pid, url = started(f"payment channel {name}", found, guard, launch, probe, START_S, log)
    return ChannelEndpoint(name, url, pid, books, log)


def _require_free(name: str, port: int) -> None:
    with socket.socket() as probe:
        # What a closed connection leaves behind on a port does not keep a server from it.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise UsageError(
                f"channel {name} cannot have port {port} ({error}): choose another, or stop what listens there"
            ) from error
