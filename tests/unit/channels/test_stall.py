"""How long a channel stood still: what is entered in its books, and what is not worth it."""

import sqlite3
from contextlib import closing

import pytest

from oversold.platform.channels.books import Books, read_stall_ns
from oversold.platform.channels.stall import StallWatch

MS = 1_000_000


def beats(books, *late_ms):
    """Watch over books while beats come so many milliseconds late; return what is entered after each one."""
    watch = StallWatch(books)
    entered = []
    for late in late_ms:
        watch.expect(1_000 * MS)
        watch.note((1_000 + late) * MS)
        entered.append(books.stall_ns() / MS)
    return entered


def test_the_longest_stall_is_entered():
    """A stall counts when it is more than 50 ms longer than the longest so far; shorter ones change nothing."""
    assert beats(Books(":memory:"), 0, 50, 51, 101, 102, 30, 2_000, 60) == [0, 0, 51, 51, 102, 102, 2_000, 2_000]


def test_nothing_is_late_before_the_first_beat_is_due():
    """A channel that is told to end while it starts has not stood still."""
    books = Books(":memory:")
    StallWatch(books).note(10**18)
    assert books.stall_ns() == 0


def test_a_stall_outlives_the_process(tmp_path):
    """Books that are continued keep the longest stall; it is read from the file, beside whoever writes it."""
    path = tmp_path / "channel-A.sqlite"
    books = Books(path)
    assert read_stall_ns(path) == 0
    beats(books, 300)
    assert read_stall_ns(path) == 300 * MS
    books.close()
    assert beats(Books(path), 100, 400) == [300, 400]
    assert read_stall_ns(path) == 400 * MS


def test_books_that_say_nothing_of_stalls(tmp_path):
    """Books of older versions have no such table: 0. No books at all are an error."""
    path = tmp_path / "channel-A.sqlite"
    with closing(Books(path)) as books:
        books.note_stall(300 * MS)
    with closing(sqlite3.connect(path)) as sql:
        sql.execute("DROP TABLE meta")
    assert read_stall_ns(path) == 0
    with pytest.raises(sqlite3.OperationalError):
        read_stall_ns(tmp_path / "channel-B.sqlite")
