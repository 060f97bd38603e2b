"""The one HTTP server that all contestants of over_http.py talk to: it answers every request with the same 201.

One process, one epoll loop, no framework: it has to be faster than any client. It reads whole requests (the body
by its Content-Length) and keeps connections open. Prints its port, ends when its standard input closes.
"""

from __future__ import annotations

import re
import select
import socket
import sys

CONTENT = b'{"bid_id": "benchmark", "status": "confirmed"}'
REPLY = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(CONTENT),
    CONTENT,
)
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
HEAD_END = b"\r\n\r\n"


def whole(data: bytes) -> int:
    """Return how many bytes of `data` the first request takes; 0 when it is not all there."""
    end = data.find(HEAD_END)
    if end < 0:
        return 0
    found = LENGTH.search(data, 0, end)
    size = end + len(HEAD_END) + (int(found[1]) if found else 0)
    return size if len(data) >= size else 0


def serve(listener: socket.socket) -> None:
    """Answer until standard input closes."""
    poll = select.epoll()
    door, leash = listener.fileno(), sys.stdin.fileno()
    poll.register(door, select.EPOLLIN)
    poll.register(leash, select.EPOLLIN | select.EPOLLHUP)
    clients: dict[int, socket.socket] = {}
    begun: dict[int, bytes] = {}
    while True:
        for number, _ in poll.poll():
            client = clients.get(number)
            if client is None:
                if number == leash:
                    return
                client, _ = listener.accept()
                client.setblocking(False)
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                clients[client.fileno()] = client
                poll.register(client.fileno(), select.EPOLLIN)
                continue
            try:
                data = client.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                poll.unregister(number)
                clients.pop(number).close()
                begun.pop(number, None)
                continue
            if begun:
                data = begun.pop(number, b"") + data
            size = whole(data)
            if size:
                client.send(REPLY)  # nobody asks twice at once
            else:
                begun[number] = data


def main() -> None:
    """Listen on a free loopback port."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        print(listener.getsockname()[1], flush=True)
        serve(listener)


if __name__ == "__main__":
    main()
