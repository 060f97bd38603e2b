"""An HTTP service that does what a test tells it, byte by byte: one thread a connection, on a free port."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress

Act = bytes | Callable[[socket.socket], None] | None
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def answer(status: int, body: bytes = b"{}", *headers: str) -> bytes:
    """Return a whole answer with its Content-Length."""
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 {status} Told\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


class ScriptedService:
    """Answers request after request with `acts`, the last one for ever: bytes are sent, a function gets the
    connection, None closes it. `requests` are those that came, whole; `connections` counts those accepted."""

    def __init__(self, *acts: Act, tls: ssl.SSLContext | None = None) -> None:
        self._acts = list(acts)
        self._tls = tls
        self.requests: list[bytes] = []
        self.connections = 0
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        self._porter = threading.Thread(target=self._accept, daemon=True)
        self._porter.start()

    def __enter__(self) -> ScriptedService:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let nobody in any more, and close all connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._porter.join()  # so that nobody is let in behind our back
        self.hang_up()

    def hang_up(self) -> None:
        """Close all connections."""
        while self._open:
            client = self._open.pop()
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def say(self, data: bytes) -> None:
        """Send something over all connections that nobody asked for."""
        for client in self._open:
            client.sendall(data)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                self._open.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), self._tls.wrap_socket(client, server_side=True) if self._tls else client as ready:
            if self._tls:
                self._open.append(ready)
            while request := _request(ready):
                with self._lock:
                    self.requests.append(request)
                    act = self._acts.pop(0) if len(self._acts) > 1 else self._acts[0]
                if act is None:
                    return
                if callable(act):
                    act(ready)
                else:
                    ready.sendall(act)


def _request(client: socket.socket) -> bytes:
    """Read one whole request; nothing when the connection ends first."""
    data = b""
    while True:
        head, found, body = data.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if found and len(body) >= (int(length[1]) if length else 0):
            return data
        more = client.recv(65536)
        if not more:
            return b""
        data += more
