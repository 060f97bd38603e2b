"""One HTTP/1.1 connection, kept open between requests: the only way by which a service is asked anything.

What must never be mixed up is whether a request can have reached the service. `NotSentError`: not one byte of it
did. `NoAnswerError`: some did, and no whole answer came back, so nobody knows. Nothing is ever sent twice.

Plain sockets and httptools: gevent's patching makes them yield in load processes, and they work without it.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from oversold.errors import UsageError
from oversold.services.mapping import Service
from oversold.services.reader import MAX_REPLY_BYTES, NoAnswerError, NotHttpError, Reader, Reply

__all__ = [
    "Address",
    "Connection",
    "NoAnswerError",
    "NotHttpError",
    "NotSentError",
    "Reply",
    "address_of",
    "ask_once",
]
CHUNK_BYTES = 16_384
PORTS = {"http": 80, "https": 443}
# The same cause has always the same text, so that faults can be counted by it.
LATE = "the service did not answer in time"
LOST = "the connection was lost after the request was sent"


class NotSentError(Exception):
    """No byte of the request reached the service; the text says why, and is the same for the same cause."""


class Line(Protocol):
    """What is needed of a connected socket. Errors are those of Python's own sockets."""

    def send(self, data: bytes, /) -> int:
        """Send what fits; return how many bytes did."""

    def recv(self, size: int, /) -> bytes:
        """Wait for something and return it; nothing at the end."""

    def settimeout(self, seconds: float, /) -> None:
        """Bound each of these waits; 0: do not wait."""

    def close(self) -> None:
        """Close it."""


# Lets something of one's own take over a connected plain socket; see `load.sockets`.
Adopt = Callable[[socket.socket], Line]


class Address(NamedTuple):
    """Where a service listens. `tls` is None for plain http; times in seconds.

    `timeout_s` is for a whole answer, from the first byte sent to the last byte received.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None
    timeout_s: float
    connect_timeout_s: float


def address_of(service: Service) -> Address:
    """Return where a service listens; with https this loads the certificates, so ask once a process.

    Raises:
        UsageError: `ca_file` cannot be read or holds no certificate.
    """
    parts = urlsplit(service.url)
    tls = _tls(service.ca_file) if parts.scheme == "https" else None
    return Address(
        parts.hostname or "127.0.0.1",
        parts.port or PORTS[parts.scheme],
        tls,
        service.timeout_s,
        service.connect_timeout_s,
    )


def _tls(ca_file: str | None) -> ssl.SSLContext:
    if ca_file is not None and not Path(ca_file).is_file():
        raise UsageError(f"ca_file {ca_file}: no such file; give a file of PEM certificates")
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # an SSLError is one too
        raise UsageError(f"ca_file {ca_file} cannot be used ({error}): give PEM certificates") from error


def ask_once(service: Service, request: bytes, *, most_bytes: int = MAX_REPLY_BYTES) -> Reply:
    """Ask one thing over a connection of its own; an answer may have `most_bytes`.

    Raises:
        UsageError, NotSentError, NoAnswerError: see `address_of` and `Connection.ask`.
    """
    connection = Connection(address_of(service), most_bytes=most_bytes)
    try:
        return connection.ask(request)
    finally:
        connection.close()


class Connection:
    """A connection to a service, opened by the first request and opened again when the service has closed it.

    Not for several callers at once. Redirects are answers like others, and nobody follows them. `adopt` is for
    plain http only: TLS has buffers of its own. An answer may have `most_bytes`.
    """

    def __init__(self, address: Address, adopt: Adopt | None = None, *, most_bytes: int = MAX_REPLY_BYTES) -> None:
        self._address = address
        self._adopt = None if address.tls else adopt
        self._most_bytes = most_bytes
        self._line: Line | None = None
        self._reader = Reader(most_bytes)

    def ask(self, request: bytes) -> Reply:
        """Send a whole request and return the answer to it.

        Raises:
            NotSentError: no connection could be had, or it was lost before the first byte.
            NoAnswerError: it was lost later, or the answer took too long.
            NotHttpError: the answer is larger than `most_bytes` or is not HTTP/1.1.
        """
        line = self._line
        if line is None or _spent(line, self._address.timeout_s):
            line = self.open()
        deadline_s = time.monotonic() + self._address.timeout_s
        keeps_open = False
        try:
            line, sent = self._begin(line, request)
            if sent < len(request):
                _send(line, request[sent:], deadline_s)
            reply = self._receive(line, deadline_s)
            keeps_open = self._reader.keeps_open
            return reply
        except TimeoutError as error:
            raise NoAnswerError(LATE) from error
        except OSError as error:
            raise NoAnswerError(LOST) from error
        finally:
            # Whatever ends the wait, a late answer must not be taken for that to the next request.
            if not keeps_open:
                self.close()

    def open(self) -> Line:
        """Connect, so that the first request need not.

        Raises:
            NotSentError: no connection could be had.
        """
        self.close()
        self._reader = Reader(self._most_bytes)
        connected = _connected(self._address)
        self._line = connected if self._adopt is None else self._adopt(connected)
        return self._line

    def close(self) -> None:
        """Close it; the next request opens it again."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def _begin(self, line: Line, request: bytes) -> tuple[Line, int]:
        """Send the first bytes, over a new connection if the old one turns out to be gone; return how many."""
        try:
            return line, line.send(request)
        except OSError as error:
            if self._address.tls is not None:  # it may have sent a part of a record
                raise NoAnswerError(LOST) from error
        line = self.open()
        try:
            return line, line.send(request)
        except OSError as error:
            raise NotSentError("the service closed the connection before the request was sent") from error

    def _receive(self, line: Line, deadline_s: float) -> Reply:
        reader = self._reader
        reader.begin()
        data = line.recv(CHUNK_BYTES)
        reply = reader.feed(data) if data else reader.at_end()
        if reply is not None:
            return reply
        while reply is None:
            _limit(line, deadline_s)
            data = line.recv(CHUNK_BYTES)
            reply = reader.feed(data) if data else reader.at_end()
        line.settimeout(self._address.timeout_s)
        return reply


def _connected(address: Address) -> socket.socket:
    plain: socket.socket | None = None
    try:
        plain = socket.create_connection((address.host, address.port), address.connect_timeout_s)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ready = plain if address.tls is None else address.tls.wrap_socket(plain, server_hostname=address.host)
        ready.settimeout(address.timeout_s)
        return ready
    except (OSError, UnicodeError) as error:
        if plain is not None:
            plain.close()
        raise NotSentError(_why_not(error)) from error


def _why_not(error: OSError | UnicodeError) -> str:
    if isinstance(error, UnicodeError | socket.gaierror):
        return "its host name is not known"
    if isinstance(error, TimeoutError):
        return "it did not take the connection in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}): name its issuer's ca_file"
    if isinstance(error, ssl.SSLError):
        return f"it does not speak TLS as we do ({error.reason})"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    return f"the connection failed ({error.strerror or error})"


def _spent(line: Line, timeout_s: float) -> bool:
    """Tell whether the service has closed an idle connection, or sent what nobody asked for."""
    line.settimeout(0.0)
    try:
        line.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        line.settimeout(timeout_s)
        return False
    except OSError:
        return True
    return True


def _send(line: Line, rest: bytes, deadline_s: float) -> None:
    while rest:
        _limit(line, deadline_s)
        rest = rest[line.send(rest) :]


def _limit(line: Line, deadline_s: float) -> None:
    """Let the next wait end when the whole answer must be there."""
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    line.settimeout(left_s)
