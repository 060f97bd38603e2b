"""Stores in containers, on a real engine: started like local ones, told by image, gone however the run ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import pytest
from tests import docker_engine

import oversold
from oversold.clock import SystemClock
from oversold.errors import StoreUnavailableError
from oversold.stores import containers, mariadb, memcached, postgres, rabbitmq, recipes, redis, redlock
from oversold.stores.containers import Recipe
from oversold.stores.endpoint import Endpoint
from oversold.stores.guard import Guard
from oversold.stores.providers import SERVERS, StoreChoice, close, connect, describe, stores

# All of them are slow, so that they stay together: each process that has one of them starts an engine.
pytestmark = [pytest.mark.servers, pytest.mark.slow]

Missing = Callable[[str], NoReturn]
Eventually = Callable[[Callable[[], bool], float], bool]
ROOM = 90
GONE_S = 10.0
ASK: Mapping[str, Callable[[Any], Any]] = {
    "redis": lambda client: client.ping(),
    "memcached": lambda client: client.version(),
    "sql": lambda client: client.exec_driver_sql("SELECT 1").scalar_one(),
    "mariadb": lambda client: client.exec_driver_sql("SELECT 1").scalar_one(),
    "rabbitmq": lambda client: client.channel().is_open,
    "redlock": lambda client: all(one.ping() for one in client),
}
SETTINGS = {
    "redis": redis.SETTINGS,
    "memcached": memcached.SETTINGS,
    "sql": postgres.FAST,
    "mariadb": mariadb.FAST,
    "rabbitmq": rabbitmq.SETTINGS,
    "redlock": {"instances": f"{redlock.INSTANCES}", **redis.SETTINGS},
}


@pytest.fixture(scope="session")
def engine(server_missing: Missing) -> Iterator[docker_engine.PrivateEngine]:
    """An engine of this session alone, which has our images; DOCKER_HOST points at it."""
    if reason := docker_engine.absent():
        server_missing(reason)
    with docker_engine.private_engine() as private, pytest.MonkeyPatch.context() as patch:
        private.import_servers(recipes.IMAGES.values())
        patch.setenv("DOCKER_HOST", private.host)
        yield private


@pytest.fixture(scope="module")
def contained(engine: docker_engine.PrivateEngine) -> Iterator[Mapping[str, Endpoint]]:
    """Every store in containers, as a run gets them."""
    choice = StoreChoice("docker", urls={"redis": "redis://127.0.0.1:1/0"})
    with Guard() as guard, stores(frozenset(SERVERS), choice, guard, ROOM, "tword") as endpoints:
        yield endpoints


def rows(engine: docker_engine.PrivateEngine, endpoint: Endpoint) -> list[dict[str, Any]]:
    """Return what the engine knows of the containers of a store."""
    kept = {f"{pid}" for pid in endpoint.pids}
    found = [engine.client.api.inspect_container(name) for name in engine.containers()]
    return [row for row in found if row["Config"]["Labels"].get(containers.KEEPER) in kept]


# --- Started like local ones


# Each of these looks at all stores: starting them anew in several processes would cost more than it tells.


def test_answers_and_is_told_by_its_image(contained: Mapping[str, Endpoint]) -> None:
    """A store in a container answers a lane; the report has its image, its version, a local one's settings."""
    assert set(contained) == set(SERVERS)
    for store, endpoint in contained.items():
        client = connect(endpoint, SystemClock(), 0)
        assert ASK[store](client)
        close(store, client)
        said = endpoint.public()
        assert said["provider"] == "docker"
        assert said["image"] == recipes.images_of({})[store]
        assert said["version"] == SERVERS[store].probe(endpoint.url).version
        assert said["settings"] == SETTINGS[store]
        assert endpoint.url not in json.dumps(said)


def test_admits_what_a_run_needs(contained: Mapping[str, Endpoint]) -> None:
    """A store in a container admits as many clients as it was started for."""
    limits = {store: SERVERS[store].admits(endpoint) for store, endpoint in contained.items()}
    assert limits.pop("rabbitmq") is None
    assert [store for store, limit in limits.items() if not ROOM <= (limit or 0) < 4 * ROOM] == []


def test_container_is_private(engine: docker_engine.PrivateEngine, contained: Mapping[str, Endpoint]) -> None:
    """Each server has a container of its own, with labels, on loopback only, with nothing of it on a disk and no
    password in what the engine tells of it."""
    for store, endpoint in contained.items():
        found = rows(engine, endpoint)
        urls = redlock.urls(endpoint.url)
        passwords = [secret for url in urls if (secret := urlsplit(url).password)]
        assert bool(passwords) == (store != "memcached")
        assert len(found) == len(urls) == (redlock.INSTANCES if store == "redlock" else 1)
        for row in found:
            assert row["Config"]["Labels"][containers.SESSION] == "tword"
            bindings = [each for ports in row["NetworkSettings"]["Ports"].values() for each in ports or ()]
            assert [binding["HostIp"] for binding in bindings] == ["127.0.0.1"]
            assert not row["Mounts"]  # a volume would stay
            assert set(row["HostConfig"]["Tmpfs"]) == set(docker_engine.VOLUMES)
            assert not [secret for secret in passwords if secret in json.dumps(row)]
    plain = engine.client.api.create_container("redis:7.4-alpine", "redis-server")["Id"]
    assert engine.client.api.inspect_container(plain)["Mounts"]  # planted: without our care there is a volume
    engine.client.api.remove_container(plain, v=True)


def test_wrong_password(contained: Mapping[str, Endpoint]) -> None:
    """Other users of this machine do not get in without the password of a container's server."""
    for store in ("redis", "sql", "mariadb", "rabbitmq"):
        password = urlsplit(contained[store].url).password or ""
        assert len(password) >= 16
        with pytest.raises(StoreUnavailableError):
            SERVERS[store].probe(contained[store].url.replace(password, password[::-1]))


# --- Gone, however it ends

OWNER = """
import sys
from oversold.stores.guard import Guard
from oversold.stores.providers import StoreChoice, stores
with Guard() as guard, stores(frozenset({"redis"}), StoreChoice("docker"), guard, 5, sys.argv[1]) as endpoints:
    print(guard.pid, endpoints["redis"].pid, flush=True)
    sys.stdin.readline()
"""


def named(engine: docker_engine.PrivateEngine, session: str) -> list[str]:
    """Return the containers of one session."""
    return [name for name in engine.containers() if name.startswith(f"oversold-{session}-")]


@dataclass
class Owned:
    """A run in a process of its own, with one container, and what was done to it."""

    owner: subprocess.Popen[str]
    before: list[str]  # its containers while it ran


ENDS = ("nobody", "owner", "guard", "keeper")


@pytest.fixture(scope="module")
def ended(
    engine: docker_engine.PrivateEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Owned]]:
    """Runs that were ended in different ways: nobody was killed, or one of the processes by SIGKILL."""
    # A guard that is killed leaves its folders, so they are made where pytest tidies up.
    homes = {killed: tmp_path_factory.mktemp(killed) for killed in ENDS}
    package = str(Path(oversold.__file__).parents[1])
    owners = {
        killed: subprocess.Popen(
            [sys.executable, "-c", OWNER, killed],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=home,
            env={**os.environ, "PYTHONPATH": package, "TMPDIR": str(home)},
        )
        for killed, home in homes.items()
    }
    runs: dict[str, Owned] = {}
    try:
        for killed, owner in owners.items():
            assert owner.stdin
            assert owner.stdout
            guard, keeper = map(int, owner.stdout.readline().split())
            runs[killed] = Owned(owner, named(engine, killed))
            if killed == "nobody":
                owner.stdin.close()
            else:
                os.kill({"owner": owner.pid, "guard": guard, "keeper": keeper}[killed], signal.SIGKILL)
        yield runs
    finally:
        for owner in owners.values():
            owner.kill()
            owner.wait()


@pytest.mark.parametrize("killed", ENDS)
def test_gone_however_it_ends(
    engine: docker_engine.PrivateEngine, ended: Mapping[str, Owned], eventually: Eventually, killed: str
) -> None:
    """A container goes when its run ends, and when its run, its guard or its keeper is killed by SIGKILL."""
    assert len(ended[killed].before) == 1  # planted: what is to be gone was found while it was there
    assert eventually(lambda: not named(engine, killed), GONE_S)


def test_a_container_that_dies_is_noticed(
    engine: docker_engine.PrivateEngine, guard: Guard, eventually: Eventually
) -> None:
    """The process that a run watches in place of the server ends when the container does."""
    with stores(frozenset({"memcached"}), StoreChoice("docker"), guard, 5, "dying") as endpoints:
        pid = endpoints["memcached"].pid
        assert pid is not None
        assert guard.returncode(pid) is None
        engine.client.api.kill(named(engine, "dying")[0])
        assert eventually(lambda: guard.returncode(pid) is not None, GONE_S)
    assert not named(engine, "dying")


def test_leftovers_of_killed_runs_are_removed(engine: docker_engine.PrivateEngine) -> None:
    """What a keeper that is gone has created goes at the next run; others' containers stay."""
    mine = containers.labels("left")
    gone = subprocess.Popen(["true"])
    gone.wait()
    several = {
        "left-dead": {**mine, containers.KEEPER: f"{gone.pid}"},
        "left-reborn": {**mine, containers.BORN: "1.00"},  # our process id, of another time
        "left-alive": mine,
        "left-elsewhere": {**mine, containers.KEEPER: f"{gone.pid}", containers.MACHINE: "another"},
        "left-foreign": {"somebody": "else"},
    }
    for name, labels in several.items():
        engine.client.api.create_container("redis:7.4-alpine", "redis-server", name=name, labels=labels)
    containers.prepare(["redis:7.4-alpine"], lambda text: None)
    left = {name for name in engine.containers() if name.startswith("left-")}
    for name in left:
        engine.client.api.remove_container(name, v=True)
    assert left == {"left-alive", "left-elsewhere", "left-foreign"}


# --- What cannot be


def one_line(refusal: pytest.ExceptionInfo[Exception]) -> str:
    """Return an error's text, which is one line."""
    assert len(str(refusal.value).splitlines()) == 1
    return str(refusal.value)


def test_container_that_ends_at_once(engine: docker_engine.PrivateEngine, guard: Guard) -> None:
    """A server that does not start is one line with its image and the last line that it wrote; none is left."""
    # Both go to one stream: the engine promises no order between two.
    argv = ["sh", "-c", "(echo first; echo the last word) >&2; exit 3"]
    recipe = Recipe("redis:7.4-alpine", 6379, "redis://127.0.0.1:{port}/0", argv, 5)
    with pytest.raises(StoreUnavailableError) as refusal:
        containers.start(recipe, redis.probe, guard, "ending")
    assert "redis:7.4-alpine" in one_line(refusal)
    assert "the last word" in str(refusal.value)
    assert not named(engine, "ending")


def test_image_that_cannot_be_had(engine: docker_engine.PrivateEngine, guard: Guard) -> None:
    """An image that is not here and cannot be pulled is named, with how to use another."""
    choice = StoreChoice("docker", images={"redis": "localhost:1/shop/redis:7"})
    assert not describe(choice)["redis"]["here"]
    assert describe(choice)["sql"]["here"]  # planted: the others are here
    with (
        pytest.raises(StoreUnavailableError) as refusal,
        stores(frozenset({"redis"}), choice, guard, 5, "none"),
    ):
        pass
    assert "localhost:1/shop/redis:7" in one_line(refusal)
    assert "--image" in str(refusal.value)


# --- The whole of it


def test_comparison_in_containers(engine: docker_engine.PrivateEngine, tmp_path: Path) -> None:
    """A comparison runs on servers in containers, tells broken from sound, names images, and leaves nothing."""
    words = ["compare", "bid-burst", "-s", "none,redis-lua", "--users", "300", "--set", "late=0"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OVERSOLD_")}
    environment |= {"PYTHONPATH": str(Path(oversold.__file__).parents[1]), "OVERSOLD_CHARTS": "false"}
    environment["OVERSOLD_EXPLAIN"] = "0"
    done = subprocess.run(
        [sys.executable, "-m", "oversold", *words, "--stores", "docker", "--json"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    summaries = {summary["strategy"]: summary for summary in json.loads(done.stdout)["runs"]}
    assert {name: summary["verdict"] for name, summary in summaries.items()} == {
        "none": "fail",
        "redis-lua": "pass",
    }
    assert summaries["redis-lua"]["stores"]["redis"]["image"] == recipes.IMAGES["redis"]
    assert {store["provider"] for each in summaries.values() for store in each["stores"].values()} == {"docker"}
    assert not [name for name in engine.containers() if "tword" not in name]
