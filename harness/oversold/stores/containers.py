"""Servers in containers: the engine, its images, how one is started, and what a killed run left behind."""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import psutil

from oversold.errors import StoreUnavailableError, UsageError
from oversold.stores.endpoint import Endpoint, Found, started
from oversold.stores.guard import Guard, package_environment

SESSION = "oversold.session"  # labels of a container: the run's word,
KEEPER = "oversold.pid"  # the process that keeps it,
BORN = "oversold.born"  # when that was born, since process ids come again,
MACHINE = "oversold.machine"  # and which processes are meant by that
TIMEOUT_S = 120.0
NAME = re.compile(r"[a-z0-9][\w./-]*(:\d+/[\w./-]+)?(:\w[\w.-]*)?(@sha256:[0-9a-f]{64})?", re.ASCII)
PASSWORD = re.compile(r"//[^@/\s]*@")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Recipe:
    """How one server runs in a container.

    Args:
        image: what the engine calls the image.
        port: where the server listens inside.
        url: for clients on this machine; `{port}` stands for the port there.
        argv: follows the image's own entrypoint.
        environment: what the entrypoint is told.
        files: text by path, put into the container before it starts; it goes with the container.
        settings: what a report says of it.
        clients: how many connections it must hold.
        start_s: how long it may take to answer.
    """

    image: str
    port: int
    url: str
    argv: Sequence[str]
    clients: int
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    start_s: float = 60.0


def start(recipe: Recipe, probe: Callable[[str], Endpoint], guard: Guard, session: str) -> Endpoint:
    """Start a container on a free loopback port and wait until its server answers; it goes with the guard.

    The process id of the endpoint is that of the container's keeper, which ends when the container does.

    Raises:
        StoreUnavailableError: it does not answer in time; the text has the last line that it wrote.
    """
    folder = guard.folder("oversold-container-")
    orders, log = folder / "orders.json", folder / "container.log"
    orders.touch(mode=0o600)  # passwords are in it

    def launch(port: int) -> tuple[int, str]:
        name = f"oversold-{session}-{secrets.token_hex(4)}"
        orders.write_text(json.dumps({**asdict(recipe), "name": name, "session": session, "host_port": port}))
        argv = [sys.executable, "-m", "oversold.stores.container_keeper", str(orders)]
        return guard.spawn(argv, log=log, cwd=folder, env=package_environment()), recipe.url.format(port=port)

    found = Found(Path(recipe.image), "docker", "")
    pid, url = started("the container", found, guard, launch, probe, recipe.start_s, log)
    return replace(probe(url), provider="docker", image=recipe.image, settings=recipe.settings, pid=pid, others=())


def labels(session: str) -> dict[str, str]:
    """Return the labels of a container that this process keeps."""
    born = psutil.Process().create_time()
    return {SESSION: session, KEEPER: f"{os.getpid()}", BORN: f"{born:.2f}", MACHINE: _machine()}


def _machine() -> str:
    """Return what tells one set of process ids from another: this machine, and on Linux the namespace."""
    with suppress(OSError):
        return f"{socket.gethostname()} {Path('/proc/self/ns/pid').readlink()}"
    return socket.gethostname()


def check_name(image: str) -> None:
    """Raise UsageError when `image` cannot be the name of one."""
    if not NAME.fullmatch(image):
        raise UsageError(f"image {image!r} cannot be read: write it as in redis:7.4-alpine, with its tag")


class Engine:
    """A Docker engine of this machine. Use as a context manager.

    Raises:
        StoreUnavailableError: there is none, it does not answer, or this user may not use it.
        UsageError: the one that is configured is on another machine.
    """

    def __init__(self) -> None:
        self._client = _connected()
        self.version = str(self._client.version()["Version"])

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def has(self, image: str) -> bool:
        """Return whether an image is here, so that nothing has to be pulled."""
        from docker.errors import DockerException, ImageNotFound

        try:
            self._client.images.get(image)
        except ImageNotFound:
            return False
        except DockerException as error:
            raise StoreUnavailableError(f"the Docker engine cannot look for {image}: {_said(error)}") from error
        return True

    def pull(self, image: str, say: Say) -> None:
        """Get an image from where its name points; `say` hears how far it is.

        Raises:
            StoreUnavailableError: it cannot be had.
        """
        from docker.errors import DockerException

        say(f"pulling {image}")
        layers: dict[str, tuple[int, int]] = {}
        try:
            for row in self._client.api.pull(image, stream=True, decode=True):
                if "error" in row:
                    raise DockerException(row["error"])
                detail = row.get("progressDetail") or {}
                if detail.get("total") and row.get("status") == "Downloading":
                    layers[row["id"]] = (detail["current"], detail["total"])
                    here, whole = (sum(sizes) / 1e6 for sizes in zip(*layers.values(), strict=True))
                    say(f"pulling {image}: {here:.0f} of {whole:.0f} MB")
        except (DockerException, OSError) as error:
            raise StoreUnavailableError(
                f"image {image} is not here and cannot be pulled ({_said(error)}): `docker pull {image}` or "
                "`docker load` it yourself, or name one that is here with --image"
            ) from error

    def clear(self) -> None:
        """Remove containers of runs that were killed: those whose keeper is no longer there."""
        from docker.errors import DockerException

        with suppress(DockerException, OSError):  # whatever else is wrong will be told by who needs it
            mine = {"label": [KEEPER, f"{MACHINE}={_machine()}"]}
            for row in self._client.api.containers(all=True, filters=mine):
                if not _kept(row["Labels"]):
                    with suppress(DockerException):  # the engine may be at it
                        self._client.api.remove_container(row["Id"], v=True, force=True)


def prepare(images: Sequence[str], say: Say) -> None:
    """Find the engine, remove what killed runs left in it, and pull the images that are not here.

    Raises:
        StoreUnavailableError, UsageError: as `Engine` and its `pull`.
    """
    with Engine() as engine:
        engine.clear()
        for image in images:
            if not engine.has(image):
                engine.pull(image, say)


def _kept(marks: Mapping[str, str]) -> bool:
    """Return whether the process that keeps a container lives."""
    try:
        born = psutil.Process(int(marks[KEEPER])).create_time()
        return bool(abs(born - float(marks[BORN])) < 1)
    except (psutil.NoSuchProcess, ValueError, KeyError):
        return False


def _connected() -> Any:
    """Return the SDK's client, with the engine's answer to a first question behind it."""
    import docker
    from docker.errors import DockerException

    given = os.environ.get("DOCKER_HOST", "")
    _require_local(given)
    try:
        client = docker.from_env(timeout=TIMEOUT_S)
    except (DockerException, OSError, ValueError) as error:
        raise StoreUnavailableError(_refusal(given, error)) from error
    _require_local(client.api.base_url.replace("http+docker://localhost", "unix://"))
    return client


def _require_local(address: str) -> None:
    """Raise UsageError for an engine elsewhere: its containers would listen on the loopback of that machine."""
    parts = urlsplit(address)
    here = parts.hostname in {None, "localhost", "127.0.0.1", "::1"} and parts.scheme != "ssh"
    if address and parts.scheme not in {"unix", "npipe"} and not here:
        raise UsageError(
            f"--stores docker needs an engine on this machine, and the one configured is {parts.scheme} to "
            f"{parts.hostname}: set DOCKER_HOST=unix:///var/run/docker.sock, or give the stores by URL"
        )


def _refusal(given: str, error: BaseException) -> str:
    """Say in one line why an engine cannot be used, and what to do."""
    place = f"DOCKER_HOST={PASSWORD.sub('//', given)}" if given else "its usual socket"
    reason: BaseException | None = error
    # urllib3 wraps the reason as an argument, others as a context.
    while reason is not None and not isinstance(
        reason, FileNotFoundError | PermissionError | ConnectionRefusedError
    ):
        inner = [each for each in _flat(reason.args) if isinstance(each, BaseException)]
        reason = inner[0] if inner else reason.__context__
    if isinstance(reason, PermissionError):
        return f"this user may not use the Docker engine at {place}: add it to the group docker and log in again"
    if isinstance(reason, FileNotFoundError | ConnectionRefusedError):
        return (
            f"no Docker engine answers at {place}: start it (Debian: apt-get install docker.io), point "
            "DOCKER_HOST at it, or use --stores auto"
        )
    return f"the Docker engine at {place} cannot be used: {_said(error)}"


def _flat(values: Sequence[Any]) -> list[Any]:
    return [inner for value in values for inner in (value if isinstance(value, tuple) else (value,))]


def _said(error: BaseException) -> str:
    """Return the first line of what an engine said of an error, without the SDK's wrapping."""
    text = str(getattr(error, "explanation", None) or error).strip()
    return PASSWORD.sub("//", (text.splitlines() or [type(error).__name__])[0])[:200]
