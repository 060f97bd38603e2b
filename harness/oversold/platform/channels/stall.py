"""Notes in a channel's books how long its process stood still: meanwhile its promises in seconds did not hold."""

from __future__ import annotations

import asyncio

from oversold.clock import now_ns
from oversold.platform.channels.books import Books

BEAT_S = 0.02
WORTH_NOTING_NS = 50_000_000  # smaller delays are the scheduler's everyday ones


class StallWatch:
    """A heart that is to beat every `BEAT_S`: what it is late by, the event loop served nobody.

    The books get the longest stall whenever it has grown by more than `WORTH_NOTING_NS`. Times are nanoseconds of
    `oversold.clock.now_ns`, which goes on while a process is stopped.
    """

    def __init__(self, books: Books) -> None:
        self._books = books
        self._longest_ns = books.stall_ns()
        self._due_ns: int | None = None

    def expect(self, due_ns: int) -> None:
        """Say when the next beat is due."""
        self._due_ns = due_ns

    def note(self, at_ns: int) -> None:
        """Note that it is this late now; before the first beat is due there is nothing to note."""
        late_ns = 0 if self._due_ns is None else at_ns - self._due_ns
        if late_ns > self._longest_ns + WORTH_NOTING_NS:
            self._longest_ns = late_ns
            self._books.note_stall(late_ns)

    async def beat(self) -> None:
        """Beat for as long as the event loop runs."""
        while True:
            self.expect(now_ns() + round(BEAT_S * 1e9))
            await asyncio.sleep(BEAT_S)
            self.note(now_ns())
