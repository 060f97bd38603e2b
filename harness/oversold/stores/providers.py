"""Decide what each store will be (URL, program, wheel, emulator, container), and start what is needed."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

from oversold.clock import Clock, SystemClock
from oversold.errors import LimitError, StoreUnavailableError, UsageError
from oversold.stores.endpoint import Endpoint, Server, require_loopback
from oversold.stores.guard import Guard

MODULES = {
    "redis": "redis",
    "memcached": "memcached",
    "sql": "postgres",
    "mariadb": "mariadb",
    "rabbitmq": "rabbitmq",
    "redlock": "redlock",
}


class Servers(Mapping[str, Server]):
    """The files of this room that are named after a server. Each is imported when it is first asked for: all
    drivers together take longer than many a command."""

    def __getitem__(self, name: str) -> Server:
        return cast(Server, import_module(f"oversold.stores.{MODULES[name]}"))

    def __iter__(self) -> Iterator[str]:
        return iter(MODULES)

    def __len__(self) -> int:
        return len(MODULES)


SERVERS: Mapping[str, Server] = Servers()
# What a strategy may name. It says `sql` and gets whichever SQL server the run was told to use.
STORES = ("redis", "memcached", "sql", "rabbitmq", "redlock")
LABELS = {
    "redis": "Redis",
    "memcached": "memcached",
    "sql": "PostgreSQL",
    "mariadb": "MariaDB",
    "rabbitmq": "RabbitMQ",
    "redlock": "five Redis",
}
SCHEMES = {
    "redis": ("redis",),
    "memcached": ("memcached", ""),
    "sql": ("postgresql", "postgres"),
    "mariadb": ("mariadb", "mysql"),
    "rabbitmq": ("amqp",),
    "redlock": ("redis",),
}


@dataclass(frozen=True)
class StoreChoice:
    """What the user said of the stores.

    `urls` maps store names to URLs. `mode` is `auto` (URL, program on PATH, wheel), `local` (never a URL) or
    `docker` (containers, never a URL). `images` maps store names to images other than our own choice.
    """

    mode: str = "auto"
    urls: Mapping[str, str] = field(default_factory=dict)
    allow_remote: bool = False
    images: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.mode not in {"auto", "local", "docker"}:
            raise UsageError(f"--stores {self.mode} is unknown: use auto, local or docker")
        if self.images:
            from oversold.stores import recipes

            recipes.images_of(self.images)
        for store, url in self.urls.items():
            self._check(store, url)

    def _check(self, store: str, url: str) -> None:
        """Refuse what cannot be read or leads elsewhere. No message shows the URL: it may hold a password."""
        if store == "redlock":
            from oversold.stores import redlock

            urls = redlock.urls(url)
            if len(urls) != redlock.INSTANCES:
                raise UsageError(f"redlock needs {redlock.INSTANCES} URLs with commas between, not {len(urls)}")
            for one in urls:
                self._check("redis", one)
            return
        wanted = f"the {LABELS[store]} URL must look like {SCHEMES[store][0]}://host:port"
        try:
            parts = urlsplit(url if "://" in url or store != "memcached" else f"memcached://{url}")
            parts.port  # noqa: B018 - reading it is what validates it
        except ValueError as error:
            raise UsageError(wanted) from error
        if parts.scheme not in SCHEMES[store] or ("://" not in url and store != "memcached"):
            raise UsageError(wanted)
        # The drivers take other hosts from the query, and several from a list.
        if "," in parts.netloc or {"host", "hostaddr"} & {name.lower() for name, _ in parse_qsl(parts.query)}:
            raise UsageError(f"{wanted}, with one host and none in the query")
        require_loopback(parts.hostname, f"the {LABELS[store]} URL", allow_remote=self.allow_remote)


def describe(choice: StoreChoice) -> dict[str, dict[str, Any]]:
    """Return, for each store, what a run would use now; nothing is started. For `oversold doctor`."""
    if choice.mode == "docker":
        return _contained(choice)
    rows: dict[str, dict[str, Any]] = {}
    for name, server in SERVERS.items():
        row: dict[str, Any] = {"label": LABELS[name], "hint": server.hint}
        url = choice.urls.get(name) if choice.mode == "auto" else None
        if url:
            try:
                row |= {"provider": "url", "version": server.probe(url).version, "ready": True}
            except StoreUnavailableError as error:
                row |= {"provider": "url", "ready": False, "problem": str(error)}
        elif found := server.find():
            row |= {
                "provider": found.provider,
                "version": found.version,
                "ready": True,
                "program": str(found.program),
            }
        else:
            row |= {"provider": None, "ready": False, "problem": f"not found: install {server.hint}"}
        rows[name] = row
    return rows


def _contained(choice: StoreChoice) -> dict[str, dict[str, Any]]:
    """Describe the containers that a run would start."""
    from oversold.stores import containers, recipes

    images = recipes.images_of(choice.images)
    rows: dict[str, dict[str, Any]] = {
        name: {"label": LABELS[name], "hint": "Docker", "provider": "docker", "image": images[name]}
        for name in SERVERS
    }
    try:
        with containers.Engine() as engine:
            for row in rows.values():
                here = engine.has(row["image"])
                row |= {"version": row["image"], "ready": True, "here": here}
                row["note"] = "image is here" if here else "image is not here: the first run pulls it"
    except (StoreUnavailableError, UsageError) as error:
        return {
            name: {**row, "provider": None, "ready": False, "problem": str(error)} for name, row in rows.items()
        }
    return rows


@contextmanager
def stores(
    names: frozenset[str],
    choice: StoreChoice,
    guard: Guard,
    connections: int,
    session: str,
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[dict[str, Endpoint]]:
    """Start or find the named stores side by side; what was made on a server given by URL is removed after.

    Args:
        names: stores needed, keys of `SERVERS`.
        choice: what the user said.
        guard: parent of the servers; stops them when the run ends.
        connections: how many clients each server must admit.
        session: a word that all tranche ids of this run begin with, and so all of its keys.
        say: hears how far an image is that has to be pulled first.

    Raises:
        StoreUnavailableError: a store is not there or did not start.
    """
    images: Mapping[str, str] = {}
    if choice.mode == "docker":
        from oversold.stores import containers, recipes

        images = recipes.images_of(choice.images)
        containers.prepare(sorted({images[name] for name in names}), say)

    def one(name: str) -> Endpoint:
        if choice.mode == "docker":
            from oversold.stores import recipes

            return recipes.contained(name, images[name], guard, connections, session)
        server = SERVERS[name]
        url = choice.urls.get(name) if choice.mode == "auto" else None
        if url:
            endpoint = server.probe(url)
            limit = server.admits(endpoint)
            if limit is not None and limit < connections:
                raise LimitError(
                    f"this load needs {connections} connections to a server, but the {LABELS[name]} of the URL "
                    f"admits {limit}: use fewer --lanes or --processes, or raise its limit"
                )
            return _own_place(endpoint)
        found = server.find()
        if found is None:
            raise StoreUnavailableError(f"no {LABELS[name]} here: install {server.hint}")
        return server.start(found, guard, connections)

    endpoints: dict[str, Endpoint] = {}
    try:
        with ThreadPoolExecutor(len(names) or 1) as pool:
            starting = {name: pool.submit(one, name) for name in sorted(names)}
        # What came up is noted first, so that it is taken down when another one failed.
        endpoints |= {name: future.result() for name, future in starting.items() if not future.exception()}
        for future in starting.values():
            future.result()
        yield endpoints
    finally:
        for endpoint in endpoints.values():
            if endpoint.provider == "url":
                _forget(endpoint, session)


def lacking(choice: StoreChoice) -> dict[str, str]:
    """Return the servers that a run could not have now, each with what to do about it; nothing is started."""
    if choice.mode == "docker":
        return {name: row["problem"] for name, row in _contained(choice).items() if not row["ready"]}
    return {
        name: f"no {LABELS[name]} here: install {server.hint}"
        for name, server in SERVERS.items()
        if not (choice.mode == "auto" and choice.urls.get(name)) and server.find() is None
    }


def _own_place(endpoint: Endpoint) -> Endpoint:
    """Give the run a place of its own on a server that is not ours, where servers have places."""
    if endpoint.store == "sql":
        return _own_schema(endpoint)
    if endpoint.store == "mariadb":
        from oversold.stores import mariadb

        return mariadb.own_schema(endpoint)
    return endpoint


def _own_schema(endpoint: Endpoint) -> Endpoint:
    """Give the run a schema of its own on a PostgreSQL server that is not ours."""
    import psycopg

    from oversold.stores import postgres

    schema = f"oversold_{secrets.token_hex(6)}"
    try:
        with postgres.connect_raw(endpoint, SystemClock(), 0, autocommit=True) as connection:
            connection.execute(f'CREATE SCHEMA "{schema}"')
    except psycopg.Error as error:
        raise StoreUnavailableError(
            f"the PostgreSQL user of the URL cannot make a schema for the run ({str(error).splitlines()[0]}): "
            "let it, or leave the URL out"
        ) from error
    return replace(endpoint, settings={**endpoint.settings, "search_path": schema})


def _forget(endpoint: Endpoint, session: str) -> None:
    try:
        if endpoint.store == "sql":
            from oversold.stores import postgres

            with postgres.connect_raw(endpoint, SystemClock(), 0, autocommit=True) as connection:
                connection.execute(f'DROP SCHEMA "{endpoint.settings["search_path"]}" CASCADE')
        else:
            cast(Any, SERVERS[endpoint.store]).forget(endpoint, f"oversold:{session}")
    except Exception:  # noqa: BLE001 - a server that died has nothing left to clean, and the verdict stands
        return


def cut(server: str, client: Any, error: BaseException) -> None:
    """Let a client reach its server no more, as when its process has died: whatever still tries raises `error`."""

    def dead(*_: Any, **__: Any) -> Any:
        raise error

    with suppress(Exception):  # a connection that is gone already reaches nobody either
        SERVERS[server].cut(client, dead)


def connect(endpoint: Endpoint, clock: Clock, rtt_s: float) -> Any:
    """Open one private connection to a store; see the server files for its type."""
    return SERVERS[endpoint.store].connect(endpoint, clock, rtt_s)


def close(server: str, client: Any) -> None:
    """Close a client's connections, whatever state they are in."""
    with suppress(BaseException):  # of one that was cut, each word to its server raises
        SERVERS[server].close(client)
