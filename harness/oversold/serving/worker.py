"""One process of `oversold serve`: `python -m oversold.serving.worker FILE`; several of them share a port."""

from __future__ import annotations

import gc
import json
import os
import socket
import sys
from pathlib import Path
from types import FrameType

import uvicorn

from oversold.assignment import Assignment
from oversold.serving.app import create_app
from oversold.serving.shop import Shop

BACKLOG = 4096


def shared_socket(port: int) -> socket.socket:
    """Return a loopback socket on a port that several processes bind; Linux spreads connections over them.

    Raises:
        OSError, OverflowError: the port cannot be had.
    """
    # By this protocol asyncio knows that it may switch Nagle's algorithm off, which costs 40 ms a request.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(("127.0.0.1", port))
    except BaseException:
        bound.close()
        raise
    return bound


class _Server(uvicorn.Server):
    """Says when it listens, and ends at once when told to: all that counts is in the stores."""

    def __init__(self, config: uvicorn.Config, ready: Path) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        gc.freeze()  # what is there now stays, so the collector need not look at it again
        self._ready.touch()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        os._exit(0)


def main() -> None:
    """Serve what the private file describes until SIGTERM."""
    fields = json.loads(Path(sys.argv[1]).read_text())
    assignment = Assignment.from_json(fields["assignment"])
    shop = Shop(assignment, fields["process"])
    config = uvicorn.Config(
        create_app(shop, fields["process"], later=fields["answers"] == "async"),
        backlog=BACKLOG,
        loop="asyncio",
        http="auto",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        # A connection that the service closes for being idle looks like a lost bid to its caller.
        timeout_keep_alive=86_400,
        proxy_headers=False,
        server_header=False,
        date_header=False,
    )
    _Server(config, Path(fields["ready"])).run([shared_socket(fields["port"])])


if __name__ == "__main__":
    main()
