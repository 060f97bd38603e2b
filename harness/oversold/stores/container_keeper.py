"""Keep one container: create it, start it, hand on what it writes, and remove it at the end. A child of the guard.

The container ends when this process does, even by SIGKILL, and with it its server: the shell that is the first
process in the container waits for the end of its standard input, whose other end is held here. The engine then
removes it by itself.
"""

from __future__ import annotations

import io
import json
import signal
import sys
import tarfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import docker
from docker.errors import APIError, DockerException, NotFound
from docker.types import LogConfig, Ulimit
from docker.utils.socket import frames_iter

from oversold.stores.containers import labels

# Runs the image's own entrypoint with its arguments, and ends it when standard input does. A program that is put
# into the background would get an empty one, hence the third descriptor.
LIFELINE = 'exec 3<&0; "$@" 3<&- & server=$!; (cat <&3 >/dev/null; kill -9 $server) & wait $server'
GONE_S = 2.0
SHARED_MEMORY = "256m"


def keep(client: Any, orders: Mapping[str, Any]) -> None:
    """Run a container until it ends, or until SIGTERM; whatever happens, remove it."""
    try:
        container = client.containers.create(**_arguments(client, orders))
        container.put_archive("/", _archive(orders["files"]))
        lifeline = container.attach_socket(params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
        container.start()
        for _, chunk in frames_iter(lifeline, tty=False):
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _remove(client, orders["name"])


def _arguments(client: Any, orders: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the SDK is told of the container."""
    image = client.images.get(orders["image"]).attrs["Config"]
    files = 2 * orders["clients"] + 4096
    return {
        "image": orders["image"],
        "name": orders["name"],
        "entrypoint": ["sh", "-c", LIFELINE, "oversold", *(image.get("Entrypoint") or ())],
        "command": list(orders["argv"]),
        "environment": dict(orders["environment"]),
        "labels": labels(orders["session"]),
        "ports": {f"{orders['port']}/tcp": ("127.0.0.1", orders["host_port"])},
        # What the image would keep on a volume goes with the container.
        "tmpfs": dict.fromkeys(image.get("Volumes") or (), ""),
        "shm_size": SHARED_MEMORY,
        "ulimits": [Ulimit(name="nofile", soft=files, hard=files)],
        "log_config": LogConfig(type="none"),
        "stdin_open": True,
        "auto_remove": True,
    }


def _archive(files: Mapping[str, str]) -> bytes:
    """Pack files for the engine. Inside, the server's own user must be able to read them."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, text in files.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode, entry.mtime = len(text.encode()), 0o444, int(time.time())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


def _remove(client: Any, name: str) -> None:
    """Remove a container, and wait until it is gone where the engine is removing it already."""
    deadline = time.monotonic() + GONE_S
    with suppress(NotFound):
        while time.monotonic() < deadline:
            with suppress(APIError):
                client.api.remove_container(name, v=True, force=True)
            client.api.inspect_container(name)
            time.sleep(0.02)


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def main() -> None:
    """Read the orders from the file that the first argument names, and keep that container."""
    signal.signal(signal.SIGTERM, _leave)
    orders = json.loads(Path(sys.argv[1]).read_text())
    try:
        keep(docker.from_env(), orders)
    except (DockerException, OSError) as error:
        print(" ".join(str(getattr(error, "explanation", None) or error).split()), flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
