"""MariaDB, RabbitMQ and five Redis: started privately, gone with the run, delayed once a call, cut and closed."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import pika
import pika.exceptions
import psutil
import pymysql
import pytest
import redis
import sqlalchemy.exc

import oversold
from oversold.clock import SystemClock
from oversold.errors import StoreUnavailableError
from oversold.platform.faults import connection_lost
from oversold.stores import mariadb, rabbitmq, redlock
from oversold.stores.endpoint import Endpoint, free_port
from oversold.stores.guard import Guard
from oversold.stores.providers import SERVERS, close, connect, cut

pytestmark = pytest.mark.servers

Missing = Callable[[str], NoReturn]
Eventually = Callable[[Callable[[], bool], float], bool]
Open = Callable[..., Any]
ROOM = 100  # clients that the session's servers were asked to admit
NEW = ("mariadb", "rabbitmq", "redlock")
ASK: Mapping[str, Callable[[Any], Any]] = {
    "mariadb": lambda client: client.exec_driver_sql("SELECT 1").scalar_one(),
    "rabbitmq": lambda client: client.channel().is_open,
    "redlock": lambda client: all(one.ping() for one in client),
}
URLS = {  # where nobody answers; all with a password
    "mariadb": "mysql://me:hunter2@127.0.0.1:{}/x",
    "rabbitmq": "amqp://me:hunter2@127.0.0.1:{}/",
    "redlock": ",".join(
        ["redis://:hunter2@127.0.0.1:{}/0", *(f"redis://:hunter2@127.0.0.{n}:1" for n in range(2, 6))]
    ),
}
every_new = pytest.mark.parametrize("store", NEW)


class CountingClock(SystemClock):
    """A clock that counts sleeps and takes no time."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        """Remember, and go on."""
        self.slept.append(seconds)


@pytest.fixture
def lane(endpoints: Mapping[str, Endpoint]) -> Iterator[Open]:
    """Open one lane's client of a store; all are closed after the test."""
    with ExitStack() as stack:

        def make(store: str, clock: SystemClock | None = None, rtt_s: float = 0.0) -> Any:
            client = connect(endpoints[store], clock or SystemClock(), rtt_s)
            stack.callback(close, store, client)
            return client

        yield make


def processes(endpoint: Endpoint) -> list[psutil.Process]:
    """Return the processes of a store with all that they have started."""
    heads = [psutil.Process(pid) for pid in endpoint.pids]
    return [*heads, *(child for head in heads for child in head.children(recursive=True))]


def alive(process: psutil.Process) -> bool:
    """Return whether a process runs; a dead one that nobody has waited for does not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def folders(endpoint: Endpoint) -> list[Path]:
    """Return the folders of a store's processes: the work of each begins in its own."""
    found = [Path(psutil.Process(pid).cwd()) for pid in endpoint.pids]
    homes = [folder.parent if folder.name == "data" else folder for folder in found]
    return list(dict.fromkeys(homes))  # a node and its name service share one


def passwords(endpoint: Endpoint) -> list[str]:
    """Return the passwords in the URLs of a store."""
    return [password for url in redlock.urls(endpoint.url) if (password := urlsplit(url).password)]


# --- Found, started, gone


@every_new
def test_installed_program(endpoints: Mapping[str, Endpoint], lane: Open, store: str) -> None:
    """What is installed here is started, says its version, answers a lane, and is named with its settings."""
    endpoint = endpoints[store]
    assert endpoint.provider == "local"
    assert endpoint.store == store
    assert endpoint.version == SERVERS[store].probe(endpoint.url).version
    assert endpoint.version[0].isdigit()
    assert endpoint.public()["settings"]
    assert ASK[store](lane(store))


STARTS = [pytest.param(store, marks=[pytest.mark.slow] if store == "rabbitmq" else [], id=store) for store in NEW]


@pytest.mark.parametrize("store", STARTS)
def test_gone_with_the_guard(store: str, server_missing: Missing, eventually: Eventually) -> None:
    """When the guard ends no process and no folder of the server is left; before, all of them are there."""
    server = SERVERS[store]
    found = server.find() or server_missing(f"{store} is not installed")
    with Guard() as guard:
        endpoint = server.start(found, guard, 5)
        family, homes = processes(endpoint), folders(endpoint)
        # Nothing else runs beside it: no second name service, no shell, no program that made its folder.
        children = psutil.Process(guard.pid).children(recursive=True)
        assert {child.pid for child in children if alive(child)} <= {process.pid for process in family}
        assert len(homes) == len(set(homes)) == (redlock.INSTANCES if store == "redlock" else 1)
        assert all(alive(process) for process in family)  # planted: what is to be gone is found while it is there
        assert all(home.is_dir() for home in homes)
    assert eventually(lambda: not any(map(alive, family)), 10)
    assert not [home for home in homes if home.exists()]


def loopback_only(addresses: set[str]) -> bool:
    """Return whether somebody listens, and nobody on an address that other machines reach."""
    return bool(addresses) and addresses <= {"127.0.0.1", "::1"}


@every_new
def test_listens_on_loopback_alone(endpoints: Mapping[str, Endpoint], store: str) -> None:
    """No process of a server listens on an address that other machines can reach."""
    listening = {
        connection.laddr.ip
        for process in processes(endpoints[store])
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert loopback_only(listening)
    assert not loopback_only(listening | {"0.0.0.0"})  # planted
    assert not loopback_only(listening | {"::"})


@pytest.mark.skipif(os.geteuid() != 0, reason="not root")
@pytest.mark.parametrize("store", ["mariadb", "rabbitmq"])
def test_root_starts_it_under_another_user(endpoints: Mapping[str, Endpoint], store: str) -> None:
    """Started by root, no process of the server is root's; planted: this one is."""
    assert {process.uids().effective for process in processes(endpoints[store])} & {0} == set()
    assert psutil.Process().uids().effective == 0


def test_mysqld_of_another_make_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mysqld that does not call itself MariaDB is passed over; planted: one that does is taken."""
    program = tmp_path / "mysqld"
    (tmp_path / "mariadb-install-db").touch(mode=0o755)
    real = shutil.which

    def which(word: str, path: str | None = None) -> str | None:
        return None if path == "/usr/sbin:/usr/libexec" else real(word, path=path or str(tmp_path))

    monkeypatch.setattr(shutil, "which", which)
    for says, taken in (("Ver 8.0.36 for Linux", False), ("Ver 11.4.2-MariaDB for Linux", True)):
        program.write_text(f"#!/bin/sh\necho 'mysqld  {says} on x86_64'\n")
        program.chmod(0o755)
        found = mariadb.find()
        assert (found is not None) == taken
    assert found is not None
    assert (found.program, found.version) == (program, "11.4.2")


def test_version_of_rabbitmq_without_erlang(monkeypatch: pytest.MonkeyPatch, server_missing: Missing) -> None:
    """RabbitMQ is found without a program being run, and never as the wrapper that changes to another user."""

    def refused(*_: Any, **__: Any) -> NoReturn:
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "run", refused)
    monkeypatch.setattr(subprocess, "Popen", refused)
    found = rabbitmq.find() or server_missing("RabbitMQ is not installed")
    assert found.program.resolve().name == "rabbitmq-server"
    with pytest.raises(AssertionError):  # planted: MariaDB has to be asked
        mariadb.find()


# --- Secrets


@every_new
def test_password_is_needed(endpoints: Mapping[str, Endpoint], store: str) -> None:
    """Other users of this machine get in neither without a password nor with a wrong one, and none is shown."""
    endpoint = endpoints[store]
    refusals = (sqlalchemy.exc.OperationalError, pika.exceptions.AMQPConnectionError, redis.RedisError)
    assert min(map(len, passwords(endpoint))) >= 16
    for password in (passwords(endpoint)[0], passwords(endpoint)[-1]):
        for wrong in (password[::-1], ""):
            url = endpoint.url.replace(password, wrong)
            with pytest.raises(StoreUnavailableError) as refusal:
                SERVERS[store].probe(url)
            assert len(str(refusal.value).splitlines()) == 1
            assert not [secret for secret in (password, password[::-1]) if secret in str(refusal.value)]
            with pytest.raises(refusals):
                connect(replace(endpoint, url=url), SystemClock(), 0)
    SERVERS[store].probe(endpoint.url)  # planted: the right one works


@every_new
def test_password_is_in_private_files_alone(endpoints: Mapping[str, Endpoint], store: str) -> None:
    """The password stands in no argument, no report and no file that others can read."""
    endpoint = endpoints[store]
    assert "pid" not in json.dumps(endpoint.public())
    holding = 0
    for password in passwords(endpoint):
        assert password not in json.dumps(endpoint.public())
        assert not [process for process in processes(endpoint) if password in " ".join(process.cmdline())]
        for folder in folders(endpoint):
            assert folder.stat().st_mode & 0o077 == 0
            for path in folder.iterdir():
                if path.is_file() and path.stat().st_size < 1 << 20 and password.encode() in path.read_bytes():
                    holding += 1
                    assert path.stat().st_mode & 0o077 == 0
    assert holding == len(passwords(endpoint))  # planted: where it has to stand, the search finds it


@pytest.mark.parametrize("store", ["mariadb", "redlock"])
def test_nobody_else_has_an_account(endpoints: Mapping[str, Endpoint], store: str, lane: Open) -> None:
    """The accounts without a password that come with an installation are gone."""
    if store == "mariadb":
        rows = lane("mariadb").exec_driver_sql("SELECT user, is_role FROM mysql.user").all()
        assert {user for user, _ in rows} <= {"oversold", "mariadb.sys"}
        with pytest.raises(pymysql.OperationalError):
            pymysql.connect(host="127.0.0.1", port=urlsplit(endpoints[store].url).port or 0, user="root")
    else:
        assert all(one.acl_users() == ["default"] for one in lane("redlock"))


@every_new
def test_dead_url(store: str) -> None:
    """A URL where nobody answers is one line that names the address, without the password."""
    port = free_port()
    with pytest.raises(StoreUnavailableError, match=f"127.0.0.1:{port} does not answer") as refusal:
        SERVERS[store].probe(URLS[store].format(port))
    assert len(str(refusal.value).splitlines()) == 1
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    ("store", "rest"),
    [
        ("mariadb", "hunter2"),
        ("rabbitmq", "hunter2"),
        ("redlock", "hunter2"),
        ("mariadb", "1/x?ssl=hunter2"),
        ("rabbitmq", "1/?heartbeat=hunter2"),
    ],
)
def test_unreadable_url(store: str, rest: str) -> None:
    """A URL that cannot be read, or asks for what nobody would obey, is one line without the password."""
    with pytest.raises(StoreUnavailableError, match="cannot be read") as refusal:
        SERVERS[store].probe(URLS[store].format(rest))
    assert len(str(refusal.value).splitlines()) == 1
    assert "hunter2" not in str(refusal.value)


def test_server_of_another_make(endpoints: Mapping[str, Endpoint], monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL of MySQL or of another broker is refused by name, since reports would call it what it is not."""
    monkeypatch.setattr(pymysql.connections.Connection, "get_server_info", lambda _: "8.0.36")
    with pytest.raises(StoreUnavailableError, match=r"says that it is 8\.0\.36, which is no MariaDB"):
        mariadb.probe(endpoints["mariadb"].url)
    monkeypatch.undo()
    assert mariadb.probe(endpoints["mariadb"].url).version  # planted: the real one is not refused
    real = pika.BlockingConnection

    def other(parameters: pika.ConnectionParameters) -> Any:
        connection = real(parameters)
        connection._impl.server_properties["product"] = b"LavinMQ"
        return connection

    monkeypatch.setattr(pika, "BlockingConnection", other)
    with pytest.raises(StoreUnavailableError, match="says that it is LavinMQ"):
        rabbitmq.probe(endpoints["rabbitmq"].url)


def test_five_means_five_different_servers(endpoints: Mapping[str, Endpoint]) -> None:
    """Redlock takes neither four servers nor one of them twice, since they would fail together."""
    given = redlock.urls(endpoints["redlock"].url)
    assert len(set(given)) == redlock.INSTANCES
    twice = [*given[:4], given[0].replace("/0", "/1")]
    for wrong in (given[:4], twice, [*given, given[0]]):
        with pytest.raises(StoreUnavailableError, match="5 different Redis servers"):
            redlock.probe(",".join(wrong))
    for between in (",", " ", ", "):  # planted: five are taken, with any mark between them
        probed = redlock.probe(between.join(given))
        assert redlock.urls(probed.url) == given
        assert probed.settings["instances"] == "5"


def test_pika_is_silent(endpoints: Mapping[str, Endpoint], caplog: pytest.LogCaptureFixture) -> None:
    """A refused connection is told once, by the error: pika writes nothing; planted: at its own level it does."""
    url = endpoints["rabbitmq"].url.replace(passwords(endpoints["rabbitmq"])[0], "wrong")

    def refused() -> list[logging.LogRecord]:
        caplog.clear()
        with pytest.raises(StoreUnavailableError):
            rabbitmq.probe(url)
        return [record for record in caplog.records if record.name.startswith("pika")]

    assert not refused()
    with caplog.at_level(logging.ERROR, "pika"):
        assert refused()


# --- Room


def test_room_for_as_many_clients_as_asked(endpoints: Mapping[str, Endpoint], lane: Open) -> None:
    """MariaDB and Redis admit what they were started for, and the lowest limit that applies is what is told."""
    assert ROOM <= (mariadb.admits(endpoints["mariadb"]) or 0) < 2 * ROOM
    assert (redlock.admits(endpoints["redlock"]) or 0) >= ROOM
    assert rabbitmq.admits(endpoints["rabbitmq"]) is None
    root, last = lane("mariadb"), lane("redlock")[-1]
    limit = last.config_get("maxclients")["maxclients"]
    try:
        root.exec_driver_sql("CREATE USER few@'127.0.0.1' IDENTIFIED BY 'sesame' WITH MAX_USER_CONNECTIONS 7")
        address = f"few:sesame@{mariadb.address(endpoints['mariadb'].url)}"
        few = urlsplit(endpoints["mariadb"].url)._replace(netloc=address, path="")
        assert mariadb.admits(replace(endpoints["mariadb"], url=few.geturl())) == 7
        last.config_set("maxclients", 64)
        assert redlock.admits(endpoints["redlock"]) == 64
    finally:
        last.config_set("maxclients", limit)
        root.exec_driver_sql("DROP USER few@'127.0.0.1'")


@every_new
def test_lanes_have_connections_of_their_own(endpoints: Mapping[str, Endpoint], lane: Open, store: str) -> None:
    """Two lanes in two threads work at a time, each over its own connection."""
    clients = [lane(store) for _ in range(2)]
    both = threading.Barrier(2)
    seen: list[Any] = []

    def work(client: Any) -> None:
        both.wait(10)
        for _ in range(20):
            assert ASK[store](client)
        seen.append(WHO[store](client))

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(seen) == 2
    assert seen[0] != seen[1]
    assert WHO[store](clients[0]) in seen  # planted: the same one is recognised


def _socket(client: Any) -> Any:
    return client._impl._transport._sock.getsockname()


WHO: Mapping[str, Callable[[Any], Any]] = {
    "mariadb": lambda client: client.exec_driver_sql("SELECT CONNECTION_ID()").scalar_one(),
    "rabbitmq": _socket,
    "redlock": lambda client: tuple(one.client_id() for one in client),
}


def test_five_servers_know_nothing_of_one_another(lane: Open) -> None:
    """A key that is set on one of the five is on none of the others."""
    one, *others = lane("redlock")
    one.set("mine", "1", px=10_000)
    assert one.get("mine") == b"1"
    assert [other.get("mine") for other in others] == [None] * 4
    one.delete("mine")


# --- Delay


@every_new
def test_each_command_is_delayed_once(lane: Open, store: str) -> None:
    """A command waits one round trip, five to five servers; planted: at no round trip there is no wait."""
    clock = CountingClock()
    for rtt_s, times in ((0.25, 5 if store == "redlock" else 1), (0.0, 0)):
        client = lane(store, clock, rtt_s)
        clock.slept.clear()
        for _ in range(2):
            assert ASK[store](client)
        assert clock.slept == [rtt_s] * times * 2


def test_transaction_of_mariadb_pays_for_each_round_trip(lane: Open) -> None:
    """Two statements and a commit are three delays, however many rows come back; a rollback is one."""
    clock = CountingClock()
    client = lane("mariadb", clock, 0.25)
    clock.slept.clear()
    client.exec_driver_sql("SELECT 1")
    assert len(client.exec_driver_sql("SELECT help_keyword_id FROM mysql.help_keyword LIMIT 500").all()) > 100
    client.commit()
    assert clock.slept == [0.25] * 3
    client.exec_driver_sql("SELECT 1")
    clock.slept.clear()
    client.rollback()
    assert clock.slept == [0.25]


def test_what_costs_a_round_trip_to_rabbitmq(lane: Open) -> None:
    """A call that is answered costs one delay, and so does a message on a channel that confirms; what nobody waits
    for costs none: an unconfirmed message, acknowledging, waiting."""
    clock = CountingClock()
    client = lane("rabbitmq", clock, 0.25)

    def cost(call: Callable[[], Any]) -> int:
        clock.slept.clear()
        call()
        return len(clock.slept)

    channel = client.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    assert cost(lambda: channel.queue_declare(queue, passive=True)) == 1
    assert cost(lambda: channel.basic_publish("", queue, b"one")) == 0
    assert cost(channel.confirm_delivery) == 1
    assert cost(lambda: channel.basic_publish("", queue, b"two")) == 1
    method, _, body = channel.basic_get(queue)
    assert body == b"one"
    assert cost(lambda: channel.basic_ack(method.delivery_tag)) == 0
    came: list[bytes] = []

    def answer(at: Any, method: Any, _: Any, body: bytes) -> None:
        came.append(body)
        at.basic_ack(method.delivery_tag)
        if body == b"two":  # what is sent from within a delivery costs as much as elsewhere
            at.basic_publish("", queue, b"three")

    def wait() -> None:
        while b"three" not in came:
            client.process_data_events(time_limit=5)

    assert cost(lambda: channel.basic_consume(queue, answer)) == 1
    assert cost(wait) == 1
    assert came == [b"two", b"three"]


# --- Cut and closed


@every_new
def test_cut_client_reaches_nobody(lane: Open, store: str) -> None:
    """What a cut client tries raises, and leaves nothing at the server; planted: before the cut it does."""

    class Cut(BaseException):
        pass

    client, truth = lane(store), lane(store)
    write = _mark(store, client)[0]
    _, read, clean = _mark(store, truth)
    write()
    assert read() == 1
    cut(store, client, Cut())
    with pytest.raises(Cut):
        write()
    for again in (write, lambda: ASK[store](client)):
        # SQLAlchemy has lost faith in the connection by now, and wants to be told before it tries another one.
        with pytest.raises((Cut, sqlalchemy.exc.PendingRollbackError)):
            again()
    assert read() == 1
    clean()


def _mark(store: str, client: Any) -> tuple[Callable[[], Any], Callable[[], int], Callable[[], Any]]:
    """Return how a client of a store leaves a mark, counts the marks that are there, and takes them away."""
    if store == "mariadb":
        client = client.execution_options(isolation_level="AUTOCOMMIT")
        client.exec_driver_sql("CREATE TABLE IF NOT EXISTS marks (number int AUTO_INCREMENT PRIMARY KEY)")
        return (
            lambda: client.exec_driver_sql("INSERT INTO marks VALUES ()"),
            lambda: client.exec_driver_sql("SELECT count(*) FROM marks").scalar_one(),
            lambda: client.exec_driver_sql("DROP TABLE marks"),
        )
    if store == "rabbitmq":
        channel = client.channel()
        channel.confirm_delivery()
        channel.queue_declare("marks")
        return (
            lambda: channel.basic_publish("", "marks", b"x"),
            lambda: channel.queue_declare("marks", passive=True).method.message_count,
            lambda: channel.queue_delete("marks"),
        )
    return (
        lambda: [one.incr("marks") for one in client],
        lambda: max(int(one.get("marks") or 0) for one in client),
        lambda: [one.delete("marks") for one in client],
    )


@every_new
def test_closed_client_leaves_no_connection(
    endpoints: Mapping[str, Endpoint], lane: Open, store: str, eventually: Eventually
) -> None:
    """Closing takes the connection away at both ends, also of a client that was cut or closed before."""
    lane(store)
    here = psutil.Process().num_fds()
    for ended in (
        lambda _: None,
        lambda client: cut(store, client, OSError()),
        lambda client: close(store, client),
    ):
        client = connect(endpoints[store], SystemClock(), 0)
        assert ASK[store](client)
        ports = sockets(endpoints[store])
        assert psutil.Process().num_fds() > here  # planted: an open one is counted
        ended(client)
        close(store, client)
        assert psutil.Process().num_fds() == here
        assert eventually(lambda before=ports: len(sockets(endpoints[store])) < len(before), 10)


def sockets(endpoint: Endpoint) -> list[int]:
    """Return the ports of this process's connections that the servers hold open."""
    mine = {
        connection.laddr.port for connection in psutil.Process().net_connections(kind="inet") if connection.raddr
    }
    return [
        connection.raddr.port
        for process in processes(endpoint)
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_ESTABLISHED and connection.raddr and connection.raddr.port in mine
    ]


# --- MariaDB


def test_mariadb_as_strategies_find_it(lane: Open) -> None:
    """Lanes are at REPEATABLE READ, need a commit, tell every id from every other, and count rows as found."""
    one, other = lane("mariadb"), lane("mariadb")
    run = one.exec_driver_sql
    ids = ["b1", "B1", "b1 ", "b\u00e91", "be1"]
    try:
        run("CREATE TABLE bids (bid_id varchar(64) PRIMARY KEY, state varchar(8))")
        run("CREATE TABLE loose (bid_id varchar(64) COLLATE utf8mb4_general_ci PRIMARY KEY)")
        for bid_id in ids:
            one.execute(sqlalchemy.text("INSERT INTO bids VALUES (:id, 'held')"), {"id": bid_id})
        count = "SELECT count(*) FROM bids"
        assert other.exec_driver_sql(count).scalar_one() == 0
        one.commit()
        assert other.exec_driver_sql(count).scalar_one() == 0  # the snapshot of its first look
        other.rollback()
        assert other.exec_driver_sql(count).scalar_one() == len(ids)
        for bid_id in ids:
            found = one.execute(sqlalchemy.text("SELECT bid_id FROM bids WHERE bid_id = :id"), {"id": bid_id})
            assert found.scalars().all() == [bid_id]
        assert run("UPDATE bids SET state = 'held'").rowcount == len(ids)  # nothing changes, and all are found
        assert run("UPDATE bids SET state = 'done' WHERE state = 'open'").rowcount == 0
        with pytest.raises(sqlalchemy.exc.IntegrityError):  # planted: as MariaDB comes, two of them are the same
            run("INSERT INTO loose VALUES ('b1'), ('B1')")
    finally:
        for client in (one, other):
            client.rollback()
        run("DROP TABLE IF EXISTS bids, loose")


def test_deadlock_is_definite_and_a_lost_connection_is_not(lane: Open) -> None:
    """A deadlock has a code of the server's and leaves the connection; a killed one is called lost."""
    one, other = lane("mariadb"), lane("mariadb")
    one.exec_driver_sql("CREATE TABLE two_rows (id int PRIMARY KEY)")
    one.exec_driver_sql("INSERT INTO two_rows VALUES (1), (2)")
    one.commit()
    lock = "SELECT id FROM two_rows WHERE id = {} FOR UPDATE"
    one.exec_driver_sql(lock.format(1))
    other.exec_driver_sql(lock.format(2))
    errors: list[BaseException] = []

    def cross(client: Any, row: int) -> None:
        try:
            client.exec_driver_sql(lock.format(row))
        except sqlalchemy.exc.OperationalError as error:
            errors.append(error)
        client.rollback()

    thread = threading.Thread(target=cross, args=(one, 2))
    thread.start()
    cross(other, 1)
    thread.join(30)
    (deadlock,) = errors
    assert not connection_lost(deadlock)
    assert not deadlock.connection_invalidated  # type: ignore[attr-defined]
    other.exec_driver_sql(f"KILL {WHO['mariadb'](one)}")
    with pytest.raises(sqlalchemy.exc.DBAPIError) as lost:
        one.exec_driver_sql("SELECT 1")
    assert connection_lost(lost.value)
    other.exec_driver_sql("DROP TABLE two_rows")


def databases(endpoint: Endpoint) -> set[str]:
    """Return the names of all databases of a server."""
    with mariadb.connect_raw(endpoint, SystemClock(), 0, autocommit=True) as connection:
        cursor = connection.cursor()
        cursor.execute("SHOW DATABASES")
        return {row[0] for row in cursor.fetchall()}


def test_runs_on_one_given_mariadb_are_kept_apart(endpoints: Mapping[str, Endpoint], lane: Open) -> None:
    """Each run has a database of its own, which compares exactly whatever the server does, and it alone goes."""
    given = replace(endpoints["mariadb"], provider="url", settings={}, pid=None)
    root = lane("mariadb")
    root.exec_driver_sql("SET GLOBAL collation_server = 'utf8mb4_general_ci'")
    try:
        before = databases(given)
        one, other = mariadb.own_schema(given), mariadb.own_schema(given)
    finally:
        root.exec_driver_sql(f"SET GLOBAL collation_server = '{mariadb.COLLATION}'")
    for run in (one, other):
        client = connect(run, SystemClock(), 0)
        client.exec_driver_sql("CREATE TABLE stock (id varchar(64) PRIMARY KEY)")
        client.exec_driver_sql("INSERT INTO stock VALUES ('a'), ('A'), ('a ')")
        client.commit()
        close("mariadb", client)
    assert len(databases(given) - before) == 2  # planted: what is to go is found while it is there
    mariadb.forget(one, "oversold:t")
    assert databases(given) - before == {other.settings["database"]}
    mariadb.forget(other, "oversold:t")
    assert databases(given) == before


def test_given_user_who_may_not_make_a_database(endpoints: Mapping[str, Endpoint], lane: Open) -> None:
    """A user without the right is told so in one line, without the password."""
    root = lane("mariadb")
    root.exec_driver_sql("CREATE USER guest@'127.0.0.1' IDENTIFIED BY 'sesame'")
    address = f"guest:sesame@{mariadb.address(endpoints['mariadb'].url)}"
    given = mariadb.probe(urlsplit(endpoints["mariadb"].url)._replace(netloc=address, path="").geturl())
    try:
        with pytest.raises(StoreUnavailableError, match="cannot make a database") as refusal:
            mariadb.own_schema(given)
    finally:
        root.exec_driver_sql("DROP USER guest@'127.0.0.1'")
    assert len(str(refusal.value).splitlines()) == 1
    assert "sesame" not in str(refusal.value)


# --- Five Redis


def test_run_is_forgotten_on_all_five(endpoints: Mapping[str, Endpoint], lane: Open) -> None:
    """A run's keys go from each of the five servers; what others have there stays."""
    clients = lane("redlock")
    for client in clients:
        client.mset({"oversold:gone-1:lock": "1", "oversold:stays-1:lock": "1"})
    redlock.forget(endpoints["redlock"], "oversold:gone")
    for client in clients:
        assert client.keys("oversold:gone*") == []
        assert client.keys("oversold:stays*") == [b"oversold:stays-1:lock"]
        client.delete("oversold:stays-1:lock")


# --- Under gevent, as in a load generator

GREENLETS = """
import gevent.monkey
import sys
if sys.argv[1] == "patched":
    gevent.monkey.patch_all()
import gevent, json, signal
from oversold.clock import SystemClock
from oversold.stores.endpoint import Endpoint
from oversold.stores.providers import connect

servers = {name: Endpoint(**fields) for name, fields in json.loads(sys.stdin.read()).items()}
waiter, waker = ({name: connect(each, SystemClock(), 0.001) for name, each in servers.items()} for _ in range(2))
order = []
place = f"greenlets_{sys.argv[1]}"

sql = waker["mariadb"]
sql.exec_driver_sql(f"CREATE OR REPLACE TABLE {place} (id int PRIMARY KEY)")
sql.exec_driver_sql(f"INSERT INTO {place} VALUES (1)")
sql.commit()
sql.exec_driver_sql(f"SELECT * FROM {place} FOR UPDATE")
queue = waiter["rabbitmq"].channel()
queue.queue_declare(place, exclusive=True)

def wait_mariadb():
    waiter["mariadb"].exec_driver_sql(f"SELECT * FROM {place} FOR UPDATE").all()
    waiter["mariadb"].rollback()

def wait_rabbitmq():
    next(iter(queue.consume(place, auto_ack=True)))

def wait_redlock():
    waiter["redlock"][2].blpop([place])

def wake_mariadb():
    sql.commit()

def wake_rabbitmq():
    waker["rabbitmq"].channel().basic_publish("", place, b"x")

def wake_redlock():
    waker["redlock"][2].rpush(place, "x")

signal.alarm(int(sys.argv[2]))
for name in ("redlock", "rabbitmq", "mariadb"):
    def wait(name=name):
        order.append("waits")
        globals()["wait_" + name]()
        order.append("has")
    def wake(name=name):
        gevent.sleep(0.02)
        order.append("wakes")
        globals()["wake_" + name]()
    gevent.joinall([gevent.spawn(wait), gevent.spawn(wake)], raise_error=True)
sql.exec_driver_sql(f"DROP TABLE {place}")
print(" ".join(order))
"""


@contextmanager
def greenlets(endpoints: Mapping[str, Endpoint], mode: str, seconds: int) -> Iterator[subprocess.Popen[str]]:
    """Run the program above on the session's servers; it is ended after so many seconds of waiting."""
    environment = {**os.environ, "PYTHONPATH": str(Path(oversold.__file__).parents[1])}
    argv = [sys.executable, "-c", GREENLETS, mode, str(seconds)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(argv, env=environment, text=True, **pipes) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps({name: endpoints[name].to_json() for name in NEW}))
        process.stdin.close()
        yield process


def test_waiting_lane_lets_others_run(endpoints: Mapping[str, Endpoint]) -> None:
    """In a patched process a lane that waits for a lock, a message or a list is woken by another lane of it.

    Planted: without the patching the one that waits stops the whole process.
    """
    with greenlets(endpoints, "patched", 30) as patched, greenlets(endpoints, "plain", 1) as plain:
        assert patched.wait(60) == 0, patched.stderr and patched.stderr.read()
        assert patched.stdout is not None
        assert patched.stdout.read().split() == ["waits", "wakes", "has"] * 3
        assert plain.wait(60) == -signal.SIGALRM
