"""Makes answers of the bytes that come over one HTTP/1.1 connection; knows nothing of sockets."""

from __future__ import annotations

from typing import NamedTuple

import httptools

MAX_REPLY_BYTES = 1 << 20
MAX_LIST_BYTES = 1 << 26  # of a reply that lists all orders or obligations
# The same cause has always the same text, so that faults can be counted by it.
CLOSED = "the service closed the connection after the request was sent, and did not answer all of it"
NOT_HTTP = "what the service answered is not HTTP/1.1"
# What tells where a body ends, besides the end of the connection.
SIZED = {b"content-length", b"transfer-encoding"}


class Reply(NamedTuple):
    """What the service answered. `location` is the header of that name, None where there is none."""

    status: int
    body: bytes
    location: str | None


class NoAnswerError(Exception):
    """The request was sent at least in part and no whole answer came: nobody knows what became of it."""


class NotHttpError(NoAnswerError):
    """As `NoAnswerError`, and by the service's own fault: what it sent is no answer, or one beyond all measure."""


class Reader:
    """Makes replies of what one connection receives, each of `most_bytes` at most; 1xx are passed over."""

    def __init__(self, most_bytes: int = MAX_REPLY_BYTES) -> None:
        self._most_bytes = most_bytes
        self.reply: Reply | None = None
        self.keeps_open = False
        self._headers: dict[bytes, bytes] = {}
        self._chunks: list[bytes] = []
        self._in_body = False
        self._size = 0
        self._parser = httptools.HttpResponseParser(self)

    def begin(self) -> None:
        """Expect the answer to a request that is about to be sent."""
        self.reply = None
        self._size = 0

    def feed(self, data: bytes) -> Reply | None:
        """Take what was received; return the answer once it is whole.

        Raises:
            NotHttpError: it is larger than `most_bytes`, or no HTTP/1.1.
        """
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.keeps_open = False
            if self.reply is None:  # else it is what follows a whole answer that makes no sense
                raise NotHttpError(NOT_HTTP) from error
        if self.reply is None:
            self._size += len(data)
            if self._size > self._most_bytes:
                raise NotHttpError(f"the service's answer is larger than {self._most_bytes:,} bytes")
        return self.reply

    def on_message_begin(self) -> None:
        """Called by the parser. Bytes after an answer that was whole belong to no request of ours."""
        self.keeps_open = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        self._in_body = True

    def on_body(self, chunk: bytes) -> None:
        """Called by the parser."""
        self._chunks.append(chunk)

    def on_message_complete(self) -> None:
        """Called by the parser, while it still knows what the headers said of the connection."""
        if self._parser.get_status_code() >= 200 and self.reply is None:
            self.reply = self._made()
            self.keeps_open = self._parser.should_keep_alive()
        self._headers.clear()
        self._chunks.clear()
        self._in_body = False

    def at_end(self) -> Reply:
        """Return the answer that the end of the connection ends.

        Raises:
            NoAnswerError: it says how long it is, so this is not its end.
        """
        if not self._in_body or SIZED & self._headers.keys() or self._parser.get_status_code() < 200:
            raise NoAnswerError(CLOSED)
        self.keeps_open = False
        return self._made()

    def _made(self) -> Reply:
        location = self._headers.get(b"location")
        return Reply(
            self._parser.get_status_code(),
            b"".join(self._chunks),
            None if location is None else location.decode("latin-1"),
        )
