"""A worker's history file: preallocated rows in shared memory pages, so that even SIGKILL loses no tap.

Layout: a header of 64 bytes (magic, rows used, bids finished,
rows dropped, calls hung: five little-endian 64-bit words),
then rows of 64 bytes as `evidence.TAP` describes them, with absolute monotonic times. The file is sparse: what
is not written takes no space. `read` is how the audit gets it, `progress` how the terminal follows it.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from oversold.errors import HarnessError
from oversold.evidence import NEVER, TAP, Outcome

MAGIC = int.from_bytes(b"OVERSOLD", "little")
HEADER = struct.Struct("<5Q")
HEADER_SIZE = 64
ROW = struct.Struct("<IHHBBBBB3xqqqqqq")
FINAL_OFFSET = 11
TIMES_AND_END = struct.Struct("<BBBBB3xqqqqqq")  # from `outcome` on
END_OFFSET = 8
MOST_ATTEMPTS = 0xFFFF  # the column has 16 bits
BUSY = int(Outcome.BUSY)
assert ROW.size == TAP.itemsize == 64


@dataclass(frozen=True)
class Progress:
    """How far a worker has come."""

    rows: int
    bids_finished: int
    dropped: int
    hung: int


NOT_BEGUN = Progress(0, 0, 0, 0)


def path_of(raw: Path, worker: int) -> Path:
    """Return where worker `worker` writes its history."""
    return raw / f"worker-{worker}.taps"


class HistoryWriter:
    """One worker's recorder. `invoke` before the call, `complete` after it: what never completes is unknown."""

    def __init__(self, path: Path, rows: int) -> None:
        self._rows = rows
        with path.open("wb") as file:
            file.truncate(HEADER_SIZE + rows * ROW.size)
        self._file = path.open("r+b")
        self._memory = mmap.mmap(self._file.fileno(), 0)
        self._used = self._finished = self._dropped = self._hung = 0
        self._write_header()

    @property
    def used(self) -> int:
        """Rows written so far."""
        return self._used

    @property
    def finished(self) -> int:
        """Bids whose bidder has left."""
        return self._finished

    @property
    def dropped(self) -> int:
        """Taps for which there was no row left."""
        return self._dropped

    def invoke(
        self, index: int, attempt: int, lane: int, amount_fen: int, t_intended: int, t_admitted: int
    ) -> int:
        """Write down that a tap begins; return its row, -1 when the file is full."""
        row = self._used
        attempt = min(attempt, MOST_ATTEMPTS)
        if row == self._rows:
            self._dropped += 1
            self._write_header()
            return -1
        ROW.pack_into(
            self._memory,
            HEADER_SIZE + row * 64,
            index,
            attempt,
            lane,
            0,
            0,
            0,
            0,
            0,
            amount_fen,
            t_intended,
            t_admitted,
            NEVER,
            NEVER,
            NEVER,
        )
        self._used = row + 1
        self._write_header()
        return row

    def complete(
        self,
        row: int,
        outcome: int,
        hold: int,
        refused_by: int,
        failed_step: int,
        amount_fen: int,
        t_intended: int,
        t_admitted: int,
        t_sent: int,
        t_reserved: int,
        t_done: int,
    ) -> None:
        """Write down how the tap of `row` ended."""
        if row >= 0:
            TIMES_AND_END.pack_into(
                self._memory,
                HEADER_SIZE + row * 64 + END_OFFSET,
                outcome,
                hold,
                refused_by,
                outcome != BUSY,  # told busy, the bidder may tap again; all else is the last word
                failed_step,
                amount_fen,
                t_intended,
                t_admitted,
                t_sent,
                t_reserved,
                t_done,
            )

    def leave(self, row: int) -> None:
        """Write down that the bidder left after the tap of `row`, served or not."""
        if row >= 0:
            self._memory[HEADER_SIZE + row * 64 + FINAL_OFFSET] = 1
        self._finished += 1
        self._write_header()

    def hang(self) -> None:
        """Write down that a strategy call was interrupted because it took too long."""
        self._hung += 1
        self._write_header()

    def close(self) -> None:
        """Close; the file shrinks to what was used. Nothing is flushed: that can take seconds."""
        if self._file.closed:
            return
        size = HEADER_SIZE + self._used * ROW.size
        self._memory.close()
        self._file.truncate(size)
        self._file.close()

    def _write_header(self) -> None:
        HEADER.pack_into(self._memory, 0, MAGIC, self._used, self._finished, self._dropped, self._hung)


def progress(path: Path) -> Progress:
    """Return how far the worker that writes `path` has come; zeros when it has not begun."""
    try:
        with path.open("rb") as file:
            magic, rows, finished, dropped, hung = HEADER.unpack(file.read(HEADER.size))
    except (OSError, struct.error):
        return NOT_BEGUN
    return Progress(rows, finished, dropped, hung) if magic == MAGIC else NOT_BEGUN


def read(path: Path) -> npt.NDArray[np.void]:
    """Return a worker's rows as `evidence.TAP`; times are absolute monotonic ns.

    Raises:
        HarnessError: the file is no history or is cut short.
    """
    with path.open("rb") as file:
        header = file.read(HEADER_SIZE)
    if header.strip(b"\0") and not header.startswith(MAGIC.to_bytes(8, "little")):
        raise HarnessError(f"the history {path} is damaged: it does not begin like one")
    state = progress(path)
    data = np.fromfile(path, np.uint8, HEADER_SIZE + state.rows * ROW.size)
    if len(data) != HEADER_SIZE + state.rows * ROW.size:
        raise HarnessError(f"the history {path} is damaged: it is cut short")
    return data[HEADER_SIZE:].view(TAP)


def checksum(path: Path) -> int:
    """Return the CRC-32 of a history file's rows (without its header)."""
    value = 0
    with path.open("rb") as file:
        file.seek(HEADER_SIZE)
        while chunk := file.read(1 << 20):
            value = zlib.crc32(chunk, value)
    return value
