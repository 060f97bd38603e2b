"""Sockets for lanes, without what gevent's own do for every read: try in vain, then set a timer and cancel it.

A lane that has sent a request has to wait for the answer in any case, so it waits first and reads then. Time-outs
are looked after for all sockets of a process together. That spares a fifth of what a request costs.
"""

from __future__ import annotations

import _socket
import socket
import time
from contextlib import suppress
from typing import Any

import gevent

KEEPER_S = 0.02
READ, WRITE = 1, 2


class LaneSockets:
    """Makes the sockets of one process, and looks after their time-outs while there are any."""

    def __init__(self) -> None:
        self._open: set[LaneSocket] = set()
        self._keeper: Any = None

    def adopt(self, connected: socket.socket) -> LaneSocket:
        """Return a socket that takes over the connection, and the timeout, of one of gevent's."""
        adopted = LaneSocket(connected, self._open)
        if not self._keeper:  # it has ended, or was never needed
            self._keeper = gevent.spawn(self._keep)
        return adopted

    def _keep(self) -> None:
        """Shut down every connection that is waited for too long: so its wait ends."""
        while self._open:
            gevent.sleep(KEEPER_S)
            now_s = time.monotonic()
            for one in self._open:
                one.end_wait(now_s)


class LaneSocket:
    """What `services.wire` needs of a socket, under gevent and for one greenlet at a time.

    A timeout ends up to `KEEPER_S` late, and for good: its connection is of no use afterwards.
    """

    def __init__(self, connected: socket.socket, all_open: set[LaneSocket]) -> None:
        self._timeout_s = connected.gettimeout() or 0.0
        family, kind, protocol = connected.family, connected.type, connected.proto
        self._raw = raw = _socket.socket(family, kind, protocol, connected.detach())
        raw.setblocking(False)
        self._recv, self._send = raw.recv, raw.send
        self._hub = gevent.get_hub()
        self._wait = self._hub.wait
        self._readable = self._hub.loop.io(raw.fileno(), READ)
        self._all_open = all_open
        self._ends_s = 0.0  # when the wait that is under way must end; 0: there is none
        all_open.add(self)

    def settimeout(self, seconds: float) -> None:
        """Set how long one `send` or `recv` may wait; 0: not at all."""
        self._timeout_s = seconds

    def gettimeout(self) -> float:
        """Return what `settimeout` was told."""
        return self._timeout_s

    def recv(self, size: int) -> bytes:
        """Wait, and return what is there; nothing at the end of the connection.

        Raises:
            BlockingIOError: nothing is there and the timeout is 0.
            TimeoutError: nothing came in time.
            OSError: the connection is lost.
        """
        if self._timeout_s == 0.0:
            return self._recv(size)
        ends_s = time.monotonic() + self._timeout_s
        while True:
            self._ends_s = ends_s
            try:
                self._wait(self._readable)
                data = self._recv(size)
            except BlockingIOError:
                continue  # the loop may wake us for nothing
            except OSError as error:
                raise _late(error, ends_s) from None
            finally:
                self._ends_s = 0.0
            if not data and time.monotonic() >= ends_s:
                raise TimeoutError
            return data

    def send(self, data: bytes) -> int:
        """Send as much as fits, waiting where nothing does; return how many bytes. Raises as `recv` does."""
        try:
            return self._send(data)
        except BlockingIOError:
            if self._timeout_s == 0.0:
                raise
        ends_s = self._ends_s = time.monotonic() + self._timeout_s
        writable = self._hub.loop.io(self._raw.fileno(), WRITE)
        try:
            self._wait(writable)
            return self._send(data)
        except OSError as error:
            raise _late(error, ends_s) from None
        finally:
            self._ends_s = 0.0
            writable.close()

    def end_wait(self, now_s: float) -> None:
        """End the wait that is under way, if it is too late for an answer."""
        if 0.0 < self._ends_s <= now_s:
            with suppress(OSError):  # the service has closed it at this very moment
                self._raw.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self._all_open.discard(self)
        self._readable.close()
        self._raw.close()


def _late(error: OSError, ends_s: float) -> OSError:
    """Return what an error means: one that comes with the end of the wait was brought about by `end_wait`."""
    return TimeoutError() if time.monotonic() >= ends_s else error
