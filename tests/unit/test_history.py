"""The history file: what is written is read, whatever happens to the writer, and damage is noticed."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oversold import history
from oversold.errors import HarnessError
from oversold.evidence import NEVER, TAP, HoldEnd, Outcome, RefusedBy
from oversold.history import HEADER_SIZE, NOT_BEGUN, HistoryWriter, Progress

ROW_SIZE = 64
TIMES = st.one_of(st.just(NEVER), st.integers(-(2**62), 2**63 - 1))

TAPS = st.lists(
    st.fixed_dictionaries(
        {
            "bid": st.integers(0, 2**32 - 1),
            "attempt": st.integers(1, 2**16 - 1),
            "lane": st.integers(0, 2**16 - 1),
            "outcome": st.sampled_from(Outcome),
            "hold": st.sampled_from(HoldEnd),
            "refused_by": st.sampled_from(RefusedBy),
            "failed_step": st.integers(0, 255),
            "amount_fen": st.integers(0, 2**63 - 1),
            **dict.fromkeys(("t_intended", "t_admitted", "t_sent", "t_reserved", "t_done"), TIMES),
            "completed": st.booleans(),
            "left": st.booleans(),
        }
    ),
    max_size=20,
)


def invoke(writer, tap):
    """Write the beginning of a tap."""
    names = ("bid", "attempt", "lane", "amount_fen", "t_intended", "t_admitted")
    return writer.invoke(*(tap[name] for name in names))


def complete(writer, row, tap):
    """Write the end of a tap."""
    names = ("outcome", "hold", "refused_by", "failed_step", "amount_fen")
    times = ("t_intended", "t_admitted", "t_sent", "t_reserved", "t_done")
    writer.complete(row, *(tap[name] for name in (*names, *times)))


def some_tap(bid=1):
    """Return a tap that ended well."""
    tap = {"bid": bid, "attempt": 1, "lane": 2, "amount_fen": 100, "failed_step": 0}
    tap |= {"outcome": Outcome.OK, "hold": HoldEnd.CONFIRMED, "refused_by": RefusedBy.NOBODY}
    return tap | {"t_intended": 1, "t_admitted": 2, "t_sent": 3, "t_reserved": 4, "t_done": 5}


def recorded(path, bids, rows=10):
    """Write completed taps of these bids and close."""
    writer = HistoryWriter(path, rows)
    for bid in bids:
        row = invoke(writer, some_tap(bid))
        complete(writer, row, some_tap(bid))
        writer.leave(row)
    writer.close()
    return path


@settings(max_examples=60, deadline=None)
@given(TAPS, st.booleans())
def test_what_is_written_is_read_back(taps, closed):
    """All columns of all taps, in order, whether the writer closed the file or never came to it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "worker-0.taps"
        writer = HistoryWriter(path, len(taps) + 3)
        for tap in taps:
            row = invoke(writer, tap)
            if tap["completed"]:
                complete(writer, row, tap)
            if tap["left"]:
                writer.leave(row)
        if closed:
            writer.close()
        rows = history.read(path)
        finished = sum(tap["left"] for tap in taps)
        assert history.progress(path) == Progress(len(taps), finished, 0, 0)
        writer.close()
    assert rows.dtype == TAP
    assert len(rows) == len(taps)
    for row, tap in zip(rows, taps, strict=True):
        assert row["final"] == (tap["left"] or (tap["completed"] and tap["outcome"] != Outcome.BUSY))
        for name in ("bid", "attempt", "lane", "amount_fen", "t_intended", "t_admitted"):
            assert row[name] == tap[name]
        for name in ("outcome", "hold", "refused_by", "failed_step"):
            assert row[name] == (tap[name] if tap["completed"] else 0)
        for name in ("t_sent", "t_reserved", "t_done"):
            assert row[name] == (tap[name] if tap["completed"] else NEVER)


def test_a_tap_that_never_completed_is_unknown(tmp_path):
    """Not failed: nobody knows what the store did with it."""
    writer = HistoryWriter(tmp_path / "a.taps", 2)
    invoke(writer, some_tap())
    writer.close()
    [row] = history.read(tmp_path / "a.taps")
    assert row["outcome"] == Outcome.UNKNOWN
    assert row["hold"] == HoldEnd.NONE
    assert [row[name] for name in ("t_sent", "t_reserved", "t_done")] == [NEVER] * 3


@pytest.mark.parametrize("outcome", Outcome)
def test_all_but_busy_is_the_last_word(outcome, tmp_path):
    """Only a bidder told busy may tap again; whether that was the last tap, leaving says."""
    writer = HistoryWriter(tmp_path / "a.taps", 2)
    for _ in range(2):
        row = invoke(writer, some_tap())
        complete(writer, row, some_tap() | {"outcome": outcome})
    writer.leave(row)
    writer.close()
    assert history.read(tmp_path / "a.taps")["final"].tolist() == [outcome != Outcome.BUSY, 1]


KILLED = """
import os, signal, sys
from pathlib import Path
from oversold.history import HistoryWriter
writer = HistoryWriter(Path(sys.argv[1]), 1000)
for bid in range(3):
    row = writer.invoke(bid, 1, 0, 100, 1, 2)
    if bid < 2:
        writer.complete(row, 1, 2, 0, 0, 100, 1, 2, 3, 4, 5)
        writer.leave(row)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_worker_loses_no_tap(tmp_path):
    """SIGKILL right after a write: what was written is there, the last tap is unknown."""
    path = tmp_path / "worker-0.taps"
    environment = {"PYTHONPATH": str(Path(history.__file__).parents[1])}
    ended = subprocess.run([sys.executable, "-c", KILLED, path], env=environment, check=False, timeout=60)
    assert ended.returncode == -9
    assert history.progress(path) == Progress(rows=3, bids_finished=2, dropped=0, hung=0)
    rows = history.read(path)
    assert rows["bid"].tolist() == [0, 1, 2]
    assert rows["outcome"].tolist() == [Outcome.OK, Outcome.OK, Outcome.UNKNOWN]
    assert rows["final"].tolist() == [1, 1, 0]


def test_a_full_file_counts_what_it_drops(tmp_path):
    """The rows that fit stay as they are; the others have no row, and completing or leaving them is harmless."""
    path = tmp_path / "a.taps"
    writer = HistoryWriter(path, 2)
    rows = [invoke(writer, some_tap(bid)) for bid in range(5)]
    for row in rows:
        complete(writer, row, some_tap(9))
        writer.leave(row)
    assert rows == [0, 1, -1, -1, -1]
    assert (writer.used, writer.dropped, writer.finished) == (2, 3, 5)
    assert history.progress(path) == Progress(2, 5, 3, 0)
    writer.close()
    assert history.read(path)["bid"].tolist() == [0, 1]


def test_a_file_shrinks_to_what_was_used(tmp_path):
    """Room for all taps that could come is reserved, and given back; closing twice is closing once."""
    path = tmp_path / "a.taps"
    writer = HistoryWriter(path, 1000)
    assert path.stat().st_size == HEADER_SIZE + 1000 * ROW_SIZE
    invoke(writer, some_tap())
    writer.close()
    writer.close()
    assert path.stat().st_size == HEADER_SIZE + ROW_SIZE


def test_hung_calls_are_seen_from_outside(tmp_path):
    """While the worker still runs, for it will not end by itself."""
    writer = HistoryWriter(tmp_path / "a.taps", 1)
    writer.hang()
    writer.hang()
    assert history.progress(tmp_path / "a.taps").hung == 2
    writer.close()


@pytest.mark.parametrize("content", [None, b"", b"short", b"x" * 39, b"\0" * 64, b"garbage " * 100])
def test_a_worker_that_has_not_begun_shows_no_progress(content, tmp_path):
    """A file that is missing, half made, or something else altogether counts as nothing."""
    path = tmp_path / "a.taps"
    if content is not None:
        path.write_bytes(content)
    assert history.progress(path) == NOT_BEGUN


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 3 * ROW_SIZE - 1), st.integers(1, 255))
def test_the_checksum_changes_with_every_byte(position, flip):
    """Any one byte of the rows, wherever it is."""
    with tempfile.TemporaryDirectory() as folder:
        path = recorded(Path(folder) / "a.taps", [1, 2, 3])
        before = history.checksum(path)
        data = bytearray(path.read_bytes())
        data[HEADER_SIZE + position] ^= flip
        path.write_bytes(data)
        assert history.checksum(path) != before


def test_the_checksum_is_of_the_rows_alone(tmp_path):
    """Two files with the same rows agree, however much room they had."""
    one = recorded(tmp_path / "a.taps", [1, 2], rows=2)
    other = recorded(tmp_path / "b.taps", [1, 2], rows=50)
    assert history.checksum(one) == history.checksum(other)
    assert history.checksum(one) != history.checksum(recorded(tmp_path / "c.taps", [2, 1]))


@pytest.mark.parametrize("missing", [1, ROW_SIZE, 2 * ROW_SIZE, 3 * ROW_SIZE, 3 * ROW_SIZE + 10])
def test_a_file_that_is_cut_short_is_refused(missing, tmp_path):
    """Wherever the cut is; fewer taps than the header says must not pass for all there were."""
    path = recorded(tmp_path / "a.taps", [1, 2, 3])
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(HarnessError, match="cut short"):
        history.read(path)


def test_an_empty_history_is_a_history(tmp_path):
    """A worker whose bidders never tapped."""
    rows = history.read(recorded(tmp_path / "a.taps", []))
    assert rows.dtype == TAP
    assert len(rows) == 0


@pytest.mark.parametrize("planted", ["garbage", "damaged magic"])
def test_a_file_that_is_no_history_is_refused(planted, tmp_path):
    """As the docstring says; read as empty, all taps of a worker would be lost without a word."""
    path = tmp_path / "a.taps"
    if planted == "garbage":
        path.write_bytes(b"garbage " * 100)
    else:
        data = bytearray(recorded(path, [1, 2, 3]).read_bytes())
        data[0] ^= 1
        path.write_bytes(data)
    with pytest.raises(HarnessError):
        history.read(path)


def test_workers_write_side_by_side(tmp_path):
    """Each worker has a file of its own in the run's raw folder."""
    assert history.path_of(tmp_path, 3) == tmp_path / "worker-3.taps"
    one, other = (HistoryWriter(history.path_of(tmp_path, n), 2) for n in (0, 1))
    invoke(one, some_tap(7))
    one.close()
    other.close()
    assert history.read(history.path_of(tmp_path, 0))["bid"].tolist() == [7]
    assert np.array_equal(history.read(history.path_of(tmp_path, 1)), np.zeros(0, TAP))
