"""Faults of a run: counted by kind without end in sight, and a lost connection told from a strategy's bug."""

import socket

import psycopg
import pytest
import redis
import sqlalchemy.exc
from hypothesis import given
from hypothesis import strategies as st
from psycopg import errors as pg
from pymemcache import exceptions as memcache

from oversold.platform.faults import MAX_KINDS, TEXT, Faults, connection_lost


def wrapped(error):
    """Return what SQLAlchemy makes of a driver's error."""
    return sqlalchemy.exc.DBAPIError("SELECT 1", {}, error)


def row(kind, phase, text, count):
    """Return a row as the manifest has it."""
    return {"kind": kind, "phase": phase, "text": text, "count": count}


def test_equal_faults_are_counted_together():
    """By kind, phase and text; the most frequent comes first."""
    faults = Faults()
    faults.add("raised", "reserve", "KeyError: 1")
    for _ in range(3):
        faults.add("raised", "release", "KeyError: 1")
    faults.add("store", "reserve", "KeyError: 1")
    faults.add("store", "reserve", "KeyError: 1")
    assert faults.rows() == [
        row("raised", "release", "KeyError: 1", 3),
        row("store", "reserve", "KeyError: 1", 2),
        row("raised", "reserve", "KeyError: 1", 1),
    ]


def test_no_faults_are_no_rows():
    """A run without faults has an empty list, not a missing one."""
    assert Faults().rows() == []


def test_a_text_is_one_short_line():
    """The first line, cut; an error without a text is counted all the same."""
    faults = Faults()
    faults.add("raised", "reserve", f"{'x' * 500}\nsecond line")
    faults.add("raised", "reserve", "")
    faults.add("raised", "reserve", "\n")
    assert faults.rows() == [row("raised", "reserve", "", 2), row("raised", "reserve", "x" * TEXT, 1)]


def test_different_texts_do_not_grow_without_bound():
    """A strategy that puts the bid into its message makes fifty rows and one for the others, not ten thousand."""
    faults = Faults()
    for number in range(10_000):
        faults.add("raised", "reserve", f"no stock for bid {number}")
    rows = faults.rows()
    assert len(rows) == MAX_KINDS + 1
    assert rows[0] == row("raised", "reserve", "others", 10_000 - MAX_KINDS)


def test_known_faults_are_still_counted_when_the_kinds_are_used_up():
    """Only new ones go to the others."""
    faults = Faults()
    for number in range(MAX_KINDS + 5):
        faults.add("raised", "reserve", f"{number}")
    faults.add("raised", "reserve", "0")
    assert row("raised", "reserve", "0", 2) in faults.rows()
    assert row("raised", "reserve", "others", 5) in faults.rows()


@given(
    st.lists(
        st.tuples(st.sampled_from(["raised", "nonsense", "hung", "store"]), st.text(max_size=3), st.text()),
        max_size=200,
    )
)
def test_no_fault_is_lost(events):
    """Whatever the texts, the counts add up."""
    faults = Faults()
    for event in events:
        faults.add(*event)
    assert sum(each["count"] for each in faults.rows()) == len(events)


LOST = [
    redis.ConnectionError("Connection closed by server."),
    redis.TimeoutError("Timeout reading from socket"),
    redis.exceptions.BusyLoadingError("loading"),
    memcache.MemcacheUnexpectedCloseError(),
    ConnectionRefusedError(111, "refused"),
    ConnectionResetError(104, "reset"),
    BrokenPipeError(32, "pipe"),
    TimeoutError("timed out"),
    socket.timeout("timed out"),  # noqa: UP041 - the name that pymemcache's documentation uses
    psycopg.OperationalError("server closed the connection unexpectedly"),
    pg.AdminShutdown("terminating connection"),
    pg.CrashShutdown("terminating connection"),
    pg.ConnectionFailure("gone"),
]
NOT_LOST = [
    redis.ResponseError("WRONGTYPE"),
    redis.WatchError("changed"),
    redis.exceptions.NoScriptError("no script"),
    memcache.MemcacheServerError("out of memory"),
    memcache.MemcacheClientError("bad data chunk"),
    memcache.MemcacheIllegalInputError("key is too long"),
    pg.DeadlockDetected("deadlock"),
    pg.SerializationFailure("could not serialize"),
    pg.LockNotAvailable("lock"),
    pg.UniqueViolation("twice"),
    pg.UndefinedTable("no such table"),
    psycopg.ProgrammingError("not a query"),
    KeyError("stock"),
    ValueError("invalid literal"),
    ZeroDivisionError(),
    AssertionError(),
]


def name(error):
    """Name a case by its class."""
    return type(error).__name__


@pytest.mark.parametrize("error", LOST, ids=name)
def test_a_dead_connection_is_a_lost_store(error):
    """Whatever the driver: nobody knows whether the operation happened."""
    assert connection_lost(error)


@pytest.mark.parametrize("error", NOT_LOST, ids=name)
def test_an_answer_of_the_store_is_no_lost_store(error):
    """The server answered, or the strategy's own code raised: the end is definite."""
    assert not connection_lost(error)


@pytest.mark.parametrize("error", [e for e in LOST + NOT_LOST if isinstance(e, psycopg.Error)], ids=name)
def test_sqlalchemys_wrapping_changes_nothing(error):
    """A deadlock that SQLAlchemy wraps is still one, and a lost connection too."""
    assert connection_lost(wrapped(error)) == connection_lost(error)
    assert connection_lost(sqlalchemy.exc.OperationalError("x", {}, error)) == connection_lost(error)


@pytest.mark.parametrize(
    "error", [sqlalchemy.exc.NoResultFound(), sqlalchemy.exc.InvalidRequestError("x")], ids=name
)
def test_sqlalchemys_own_errors_are_the_strategys_bugs(error):
    """They have no driver's error below them."""
    assert not connection_lost(error)


def test_the_classes_of_the_postgres_codes_decide():
    """08 is a connection exception, 57 an operator's intervention; the first two characters of the code count."""
    for code in ("08006", "57P01"):
        assert connection_lost(pg.lookup(code)("x"))
    for code in ("40P01", "40001", "55P03", "53100"):
        assert issubclass(pg.lookup(code), psycopg.OperationalError)
        assert not connection_lost(pg.lookup(code)("x"))
