"""RabbitMQ: find, start, probe, connect."""

from __future__ import annotations

import logging
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pika
from pika.adapters.select_connection import SelectConnection
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError

from oversold.clock import Clock
from oversold.errors import StoreUnavailableError
from oversold.stores.endpoint import Endpoint, Found, free_port, started, unprivileged
from oversold.stores.guard import Guard

name = "rabbitmq"
hint = "RabbitMQ (Debian: apt-get install rabbitmq-server); there is no wheel of it"

START_S = 90.0  # Erlang takes its time: 3 s on a quiet machine, several times that on one that is not
CONNECT_S = 30.0
SHAPE = "the RabbitMQ URL cannot be read: it must look like amqp://user:password@host:port/vhost"
# Two schedulers that sleep when there is nothing to do: the load generators need the same cores.
SCHEDULERS = "+S 2:2 +A 8 +sbwt none +sbwtdcpu none +sbwtdio none"
ERLANG = f"-noinput {SCHEDULERS} -kernel inet_dist_use_interface {{127,0,0,1}}"
SETTINGS = {"queues": "on one node"}
USER = "oversold"

# What pika finds worth a log is raised as an exception too; without a handler it would go to the terminal.
logging.getLogger("pika").setLevel(logging.CRITICAL + 1)


def find() -> Found | None:
    """Return rabbitmq-server where Debian has it, else from PATH, else None."""
    # Debian's program on PATH changes to another user, and so would not die with the guard.
    for folder in ("/usr/lib/rabbitmq/bin", None):
        on_path = shutil.which("rabbitmq-server", path=folder)
        if on_path and shutil.which("erl") and shutil.which("epmd") and (version := _version(Path(on_path))):
            return Found(Path(on_path), "local", version)
    return None


def _version(program: Path) -> str | None:
    """Return a program's version by the name of its main plugin: asking the program would start Erlang."""
    for plugin in (program.resolve().parents[1] / "plugins").glob("rabbit-*"):
        if match := re.fullmatch(r"rabbit-(\d[\w.-]*?)(\.ez)?", plugin.name):
            return match.group(1)
    return None


def start(found: Found, guard: Guard, connections: int) -> Endpoint:
    """Start a private node on loopback; as root, under another user.

    A broker has no limit of `connections` but that of open files, which the guard hands on.
    """
    folder = guard.folder("oversold-rabbitmq-")
    user = unprivileged("rabbitmq", "nobody")
    if user:
        os.chown(folder, user.pw_uid, user.pw_gid)
    log = folder / "rabbitmq.log"
    mappers: list[int] = []

    def launch(port: int) -> tuple[int, str]:
        password, names = secrets.token_hex(16), free_port()
        _private(folder / "rabbitmq.conf", config(f"127.0.0.1:{port}", password), user)
        _private(folder / ".erlang.cookie", secrets.token_hex(16), user)
        # Erlang finds its nodes by a name service of its own. The node looks every minute whether that still runs,
        # and would start one that outlives us.
        mappers.append(_spawn(guard, _mapper(names), _environment(folder, names), folder, user))
        pid = _spawn(guard, [str(found.program)], _environment(folder, names), folder, user)
        return pid, f"amqp://{USER}:{password}@127.0.0.1:{port}/"

    pid, url = started("RabbitMQ", found, guard, launch, probe, START_S, log)
    for mapper in mappers[:-1]:  # of ports that were taken
        guard.stop(mapper, 0)
    return Endpoint(name, url, found.provider, found.version, SETTINGS, pid, (mappers[-1],))


def config(listener: str, password: str) -> str:
    """Return the configuration of a private node, wherever it runs."""
    # In a file and not in the arguments, since everybody can read the arguments of a process.
    return (
        f"listeners.tcp.local = {listener}\ndefault_user = {USER}\ndefault_pass = {password}\n"
        # By default a broker stops all publishers when less than 50 MB of the disk are free.
        "disk_free_limit.absolute = 1MB\nlog.console = true\nlog.console.level = error\nlog.file = false\n"
    )


def _private(path: Path, text: str, user: pwd.struct_passwd | None) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
    path.chmod(0o400)  # Erlang refuses a cookie that others can read
    if user:
        os.chown(path, user.pw_uid, user.pw_gid)


def _mapper(port: int) -> list[str]:
    return [shutil.which("epmd") or "epmd", "-port", f"{port}", "-address", "127.0.0.1"]


def _environment(folder: Path, names: int) -> dict[str, str]:
    """Return all that a node is told; nothing of this machine's own RabbitMQ, which may run beside it."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "ERL_EPMD_PORT": f"{names}",
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_CRASH_DUMP_SECONDS": "0",
        "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "none.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(folder),
        "RABBITMQ_LOG_BASE": str(folder),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_NODENAME": f"oversold-{secrets.token_hex(4)}@localhost",
        "RABBITMQ_DIST_PORT": f"{free_port()}",
        "RABBITMQ_SCHEDULER_BIND_TYPE": "u",
        # The shell that starts Erlang becomes it, so that the guard's child is the node.
        "RABBITMQ_ALLOW_INPUT": "1",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{ERLANG} -start_epmd false",
    }


def _spawn(
    guard: Guard, argv: list[str], environment: dict[str, str], folder: Path, user: pwd.struct_passwd | None
) -> int:
    return guard.spawn(
        argv,
        log=folder / "rabbitmq.log",
        cwd=folder,
        env=environment,
        uid=user.pw_uid if user else None,
        gid=user.pw_gid if user else None,
        stop_signal=signal.SIGKILL,  # an orderly end takes seconds, to save what goes with the folder
    )


def address(url: str) -> str:
    """Return host:port of a URL, without its password."""
    parts = urlsplit(url)
    return f"{parts.hostname or '127.0.0.1'}:{parts.port or 5672}"


def probe(url: str) -> Endpoint:
    """Ask the server behind `url` for its version."""
    try:
        parameters = _parameters(url, 2)
    except ValueError:
        raise StoreUnavailableError(SHAPE) from None  # the reason would show the password
    try:
        # pika takes a hundred times as long to find out that nobody listens, and says it worse.
        socket.create_connection((parameters.host, parameters.port), timeout=2).close()
        connection = pika.BlockingConnection(parameters)
    except (AMQPError, AMQPConnectorException, OSError) as error:
        reason = str(error).strip().splitlines()
        raise StoreUnavailableError(
            f"RabbitMQ at {address(url)} does not answer ({reason[-1] if reason else type(error).__name__}): "
            "start it, or leave the URL out"
        ) from error
    properties = connection._impl.server_properties or {}
    connection.close()
    product, version = (_text(properties.get(word)) for word in ("product", "version"))
    if product != "RabbitMQ":
        raise StoreUnavailableError(
            f"the server at {address(url)} says that it is {product}, not RabbitMQ: give the URL of one"
        )
    return Endpoint(name, url, "url", version)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _parameters(url: str, seconds: float) -> pika.ConnectionParameters:
    """Return pika's parameters for a URL; `seconds` is how long connecting may take.

    Raises:
        ValueError: the URL cannot be read, or has a query, which nothing here would obey.
    """
    parts = urlsplit(url)
    if parts.query or parts.fragment:
        raise ValueError("query")
    return pika.ConnectionParameters(
        host=parts.hostname or "127.0.0.1",
        port=parts.port or 5672,
        # As in pika, amqp://host/ is the vhost named "/".
        virtual_host=unquote(parts.path[1:]) or "/",
        credentials=pika.PlainCredentials(unquote(parts.username or "guest"), unquote(parts.password or "guest")),
        connection_attempts=1,
        socket_timeout=seconds,
        stack_timeout=seconds,
        heartbeat=0,  # a lane answers none while its bidder thinks
    )


def connect(endpoint: Endpoint, clock: Clock, rtt_s: float) -> pika.BlockingConnection:
    """Return a pika connection of its own. It waits for a reply as long as the server lives.

    `rtt_s` of delay goes before every call that the server answers, and before every message published on a
    channel that confirms. What nobody waits for costs none: an acknowledgement, an unconfirmed message, and
    waiting for messages.
    """
    parameters = _parameters(endpoint.url, CONNECT_S)
    return pika.BlockingConnection(parameters, _impl_class=_delayed(clock, rtt_s) if rtt_s else None)


def admits(endpoint: Endpoint) -> int | None:
    """Return None: over AMQP a server does not say how many clients it admits."""


def forget(endpoint: Endpoint, prefix: str) -> None:
    """AMQP cannot list queues; a run's queues delete themselves instead, so there is nothing to do."""


def close(client: Any) -> None:
    """Close a client's connections without another word to the server."""
    try:
        client._impl._transport._sock.close()  # closing the client would say so, and wait for the answer
    finally:
        client._cleanup()


def cut(client: Any, dead: Callable[..., Any]) -> None:
    """Let `dead`, which raises, take the place of every way by which the client reaches its server."""
    client._flush_output = client._impl._send_method = dead


def _delayed(clock: Clock, rtt_s: float) -> type[SelectConnection]:
    """Return a class for what is below a connection that waits one round trip before it sends."""

    class DelayedConnection(SelectConnection):  # type: ignore[misc]  # pika has no types
        def __init__(self, *arguments: Any, **options: Any) -> None:
            self._confirming: set[int] = set()
            super().__init__(*arguments, **options)

        def _send_method(self, channel_number: int, method: Any, content: Any = None) -> None:
            if isinstance(method, pika.spec.Confirm.Select):
                self._confirming.add(channel_number)
            waited_for = channel_number in self._confirming and isinstance(method, pika.spec.Basic.Publish)
            if method.synchronous or waited_for:
                clock.sleep(rtt_s)
            super()._send_method(channel_number, method, content)

    return DelayedConnection
