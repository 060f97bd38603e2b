"""A Docker engine for the tests alone, and images made from this machine's own servers, since none can be pulled.

The images have the names that a run looks for and an entrypoint that keeps to what the official ones promise: the
same first argument, the same variables, the same user change. All are one image under several names.
"""

from __future__ import annotations

import io
import os
import re
import secrets
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.errors import DockerException

from oversold.stores.guard import Guard

START_S = 30.0
STOP_S = 10.0
TOOLS = (
    "sh cat chmod chown find mkdir setpriv sleep tr sed basename dirname touch rm hostname grep readlink awk uname"
)
SERVERS = "redis-server memcached mariadbd mariadb-install-db my_print_defaults resolveip erl epmd"
TREES = (
    "usr/lib/postgresql/*",
    "usr/share/postgresql/*",
    "usr/share/mysql",
    "usr/lib/mysql/plugin",
    "usr/lib/erlang",
    "usr/lib/rabbitmq",
    "usr/lib/locale/C.utf8",
)
# Just-in-time compilation alone would bring half of the bytes.
LEFT_OUT = re.compile(r"/bitcode|llvmjit|/man/|/postgresql/\d+/bin/(?!postgres$|initdb$)")
USERS = {"redis": 999, "memcache": 998, "postgres": 997, "mysql": 996, "rabbitmq": 995}
# Homes of data; in the official images each is a volume.
VOLUMES = ("/data", "/var/lib/postgresql/data", "/var/lib/mysql", "/var/lib/rabbitmq")
ENTRYPOINT = r"""#!/bin/sh
set -e
as() { user=$1; shift; exec setpriv --reuid="$user" --regid="$user" --clear-groups "$@"; }
owned() { mkdir -p "$2"; chown -R "$1:$1" "$2"; chmod 700 "$2"; }
case "$1" in
redis-server) owned redis /data; cd /data; as redis "$@" ;;
-*) as memcache memcached "$@" ;;
memcached) as memcache "$@" ;;
postgres)
  owned postgres "$PGDATA"
  printf %s "${POSTGRES_PASSWORD:-$(cat "$POSTGRES_PASSWORD_FILE")}" >/tmp/password
  setpriv --reuid=postgres --regid=postgres --clear-groups \
    initdb -D "$PGDATA" -U postgres --pwfile=/tmp/password $POSTGRES_INITDB_ARGS >/dev/null
  echo "host all all all ${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >>"$PGDATA/pg_hba.conf"
  mkdir -p /var/run/postgresql; chown postgres /var/run/postgresql
  as postgres "$@" -c listen_addresses='*' ;;
mariadbd)
  owned mysql /var/lib/mysql
  secret=$(cat "$MARIADB_ROOT_PASSWORD_FILE")
  setpriv --reuid=mysql --regid=mysql --clear-groups mariadb-install-db --no-defaults \
    --datadir=/var/lib/mysql --skip-test-db --auth-root-authentication-method=normal >/dev/null
  printf "%s\n" "CREATE USER root@'%' IDENTIFIED BY '$secret';" "GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;" \
    "ALTER USER root@localhost IDENTIFIED BY '$secret';" "CREATE DATABASE IF NOT EXISTS \`$MARIADB_DATABASE\`;" \
    >/tmp/first.sql
  mkdir -p /run/mysqld; chown mysql /run/mysqld /tmp/first.sql
  as mysql "$@" --datadir=/var/lib/mysql --init-file=/tmp/first.sql ;;
rabbitmq-server)
  owned rabbitmq /var/lib/rabbitmq
  export HOME=/var/lib/rabbitmq RABBITMQ_CONFIG_FILES=/etc/rabbitmq/conf.d RABBITMQ_LOG_BASE=/var/lib/rabbitmq
  as rabbitmq /usr/lib/rabbitmq/bin/rabbitmq-server ;;
*) exec "$@" ;;
esac
"""


# Two engines on one bridge would give out the same addresses, so each has its own. Without iptables published
# ports go through docker-proxy alone, and no rule of this machine is changed.
DOCKERD = """
ip link add "$1" type bridge && ip address add "$2" dev "$1" && ip link set "$1" up || exit 1
trap : TERM
dockerd -H "unix://$PWD/docker.sock" --data-root "$PWD/data" --exec-root "$PWD/exec" --pidfile "$PWD/pid" \\
  --bridge "$1" --iptables=false --ip-masq=false --ip-forward=false &
wait $!  # until it ends or we are told to; then it was told as well
wait $!
umount "$PWD"/exec/netns/* 2>/dev/null  # an engine leaves those of containers without a network of their own
ip link delete "$1"
"""


@dataclass(frozen=True)
class PrivateEngine:
    """An engine that nobody else uses."""

    host: str
    client: Any

    def containers(self) -> list[str]:
        """Return the names of all containers, running or not."""
        return [row["Names"][0].lstrip("/") for row in self.client.api.containers(all=True)]

    def import_servers(self, images: Iterable[str]) -> None:
        """Make one image of this machine's servers and give it these names."""
        changes = ['ENTRYPOINT ["docker-entrypoint.sh"]', "ENV PGDATA=/var/lib/postgresql/data LANG=C.UTF-8"]
        postgres = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"))), "/usr/bin")
        path = f"/usr/local/bin:/usr/bin:/usr/sbin:{postgres}"
        changes += [f"ENV PATH={path}", *(f"VOLUME {volume}" for volume in VOLUMES)]
        first = "oversold-tests/servers"
        self.client.api.import_image_from_data(_packed(), repository=first, tag="1", changes=changes)
        for name in images:
            self.client.images.get(f"{first}:1").tag(name)


def absent() -> str | None:
    """Return why no engine can be started here; None when one can."""
    if os.geteuid() != 0:
        return "a Docker engine is started by root alone"
    needed = [program for program in ("dockerd", "docker-proxy", "runc", "ip") if shutil.which(program) is None]
    return f"{', '.join(needed)} not installed (Debian: apt-get install docker.io iproute2)" if needed else None


@contextmanager
def private_engine() -> Iterator[PrivateEngine]:
    """Run an engine with its own data, socket and network bridge; all of them go at the end, whatever ends us."""
    with Guard() as guard:
        folder = guard.folder("oversold-docker-")
        host, log = f"unix://{folder}/docker.sock", folder / "log"
        network = f"10.{200 + secrets.randbelow(50)}.{secrets.randbelow(250)}.1/24"
        pid = guard.spawn(
            ["sh", "-c", DOCKERD, folder.name, f"ovs{secrets.token_hex(4)}", network], log=log, cwd=folder
        )
        client = None
        try:
            client = _answering(host, guard, pid, log)
            yield PrivateEngine(host, client)
        finally:
            if client is not None:
                client.close()
            guard.stop(pid, STOP_S)


def _answering(host: str, guard: Guard, pid: int, log: Path) -> Any:
    deadline = time.monotonic() + START_S
    while guard.returncode(pid) is None and time.monotonic() < deadline:
        try:
            return docker.DockerClient(base_url=host, timeout=60)
        except DockerException:
            time.sleep(0.05)
    raise RuntimeError(f"dockerd did not start: {log.read_text()[-2000:]}")


def _packed() -> bytes:
    """Return an archive of the servers, a few tools, all that they are linked with, and the entrypoint."""
    trees = [Path(tree) for pattern in TREES for tree in sorted(Path("/").glob(pattern))]
    programs = [Path(found) for word in f"{TOOLS} {SERVERS}".split() if (found := shutil.which(word))]
    inside = {path for tree in trees for path in tree.rglob("*") if not LEFT_OUT.search(str(path))}
    files = {*programs, *_libraries([*programs, *filter(_linked, inside)])}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        # Links stay links, so what they lead to is packed as well.
        for name, path in sorted({_merged(path): path for path in _closed(files | inside)}.items()):
            archive.add(path, name, recursive=False)
        for path, (text, mode) in _written().items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(text), mode
            archive.addfile(entry, io.BytesIO(text.encode()))
        for folder in ("tmp", "var/lib", "run"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777
            archive.addfile(entry)
        for folder in ("bin", "sbin", "lib", "lib64"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.linkname = tarfile.SYMTYPE, f"usr/{folder}"
            archive.addfile(entry)
    return packed.getvalue()


def _written() -> dict[str, tuple[str, int]]:
    """Return the files that are not this machine's: text and mode by path."""
    users = "".join(f"{user}:x:{number}:{number}::/tmp:/bin/sh\n" for user, number in USERS.items())
    groups = "".join(f"{user}:x:{number}:\n" for user, number in USERS.items())
    return {
        "etc/passwd": (f"root:x:0:0::/root:/bin/sh\n{users}", 0o644),
        "etc/group": (f"root:x:0:\n{groups}", 0o644),
        "etc/nsswitch.conf": ("passwd: files\ngroup: files\nhosts: files dns\n", 0o644),
        "usr/local/bin/docker-entrypoint.sh": (ENTRYPOINT, 0o755),
    }


def _closed(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        yield path
        if path.is_symlink():
            yield path.resolve()


def _linked(path: Path) -> bool:
    """Return whether a file is linked with libraries."""
    if not path.is_file() or path.is_symlink():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _libraries(programs: Iterable[Path]) -> set[Path]:
    said = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False).stdout
    return {Path(path) for path in re.findall(r"(/\S+) \(0x", said)}


def _merged(path: Path) -> str:
    """Return the name of a path in the archive, where /bin, /lib and their like are links to folders of /usr."""
    name = str(path).lstrip("/")
    return f"usr/{name}" if name.partition("/")[0] in {"bin", "sbin", "lib", "lib64"} else name
