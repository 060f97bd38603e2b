"""Histories and ledgers as Parquet: what is written is read back, and damage is the user's to hear of."""

import tempfile
import tracemalloc
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oversold.errors import UsageError
from oversold.evidence import HISTORY, NEVER, Claims, HoldEnd, Ledger, Outcome, RefusedBy, StatusLog
from oversold.report import columns, parquet

DAY_NS = 86_400 * 10**9
TIMES = st.one_of(st.just(NEVER), st.integers(-DAY_NS, 30 * DAY_NS))
FEN = st.integers(0, 10**16)
COLUMNS = {
    "bid": st.integers(0, 2**32 - 1),
    "attempt": st.integers(1, 2**16 - 1),
    "lane": st.integers(0, 4095),
    "outcome": st.sampled_from(Outcome),
    "hold": st.sampled_from(HoldEnd),
    "refused_by": st.sampled_from(RefusedBy),
    "final": st.integers(0, 1),
    "failed_step": st.integers(0, 255),
    "amount_fen": FEN,
    "worker": st.integers(0, 255),
    **dict.fromkeys(parquet.TIMES, TIMES),
}


def ints(values):
    """Return int64 values."""
    return np.array(values, np.int64)


def nth(rows, index):
    """Return one column of a list of tuples."""
    return [row[index] for row in rows]


def history_of(rows):
    """Return a history of literal rows."""
    history = np.zeros(len(rows), HISTORY)
    for index, row in enumerate(rows):
        for name, value in row.items():
            history[name][index] = value
    return history


def same(one, other):
    """Tell whether two dataclasses of arrays hold the same, types included."""
    return all(
        getattr(one, name).dtype == getattr(other, name).dtype
        and np.array_equal(getattr(one, name), getattr(other, name))
        for name in one.__dataclass_fields__
    )


BIDS = st.integers(-1, 10**6)
WHEN = st.integers(-DAY_NS, 30 * DAY_NS)


@pytest.mark.slow
@settings(max_examples=5, deadline=None)
@given(
    st.lists(st.fixed_dictionaries(COLUMNS), max_size=8),
    st.lists(st.tuples(BIDS, FEN, WHEN), max_size=8),
    st.lists(BIDS, max_size=4),
    st.lists(st.tuples(WHEN, st.booleans()), max_size=4),
    st.lists(st.tuples(WHEN, st.integers(-1, 10**16), st.booleans()), max_size=4),
)
@example([], [], [], [], [])
def test_what_is_written_is_read_back(rows, orders, refused, changes, claimed):
    """Every column, in order, to the nanosecond; empty tables too, and times that never were."""
    history = history_of(rows)
    ledger = Ledger(*(ints(nth(orders, index)) for index in range(3)), ints(refused))
    log = StatusLog(ints(nth(changes, 0)), np.array(nth(changes, 1), np.bool_))
    claims = Claims(ints(nth(claimed, 0)), ints(nth(claimed, 1)), np.array(nth(claimed, 2), np.bool_))
    with tempfile.TemporaryDirectory() as folder:
        parquet.write(Path(folder), history, ledger, log, claims)
        history_again, ledger_again, log_again, claims_again = parquet.read(Path(folder))
    assert history_again.dtype == HISTORY
    assert np.array_equal(history_again, history)
    assert same(ledger_again, ledger)
    assert same(log_again, log)
    assert same(claims_again, claims)


def empty():
    """Return the tables of a run in which nothing happened."""
    none, never = ints([]), np.zeros(0, np.bool_)
    return np.zeros(0, HISTORY), Ledger(none, none, none), StatusLog(none, never), Claims(none, none, never)


@pytest.fixture
def folder(tmp_path):
    """A run's folder with one tap, and one order besides a refused one."""
    row = {"bid": 7, "attempt": 1, "outcome": Outcome.OK, "hold": HoldEnd.CONFIRMED, "final": 1}
    history = history_of([row | dict.fromkeys(parquet.TIMES, NEVER) | {"t_done": 1_500_000_000}])
    _, _, log, claims = empty()
    parquet.write(tmp_path, history, Ledger(ints([7]), ints([500]), ints([10**9]), ints([7])), log, claims)
    return tmp_path


def test_other_programs_read_words_and_seconds(folder):
    """Outcomes are words, times seconds since the gate, and what never happened is no number."""
    with duckdb.connect() as connection:
        columns = "outcome, hold, refused_by, final, t_done_s, t_sent_s IS NULL OR isnan(t_sent_s)"
        query = f"SELECT {columns} FROM read_parquet(?)"
        [row] = connection.execute(query, [str(folder / "history.parquet")]).fetchall()
    assert row == ("ok", "confirmed", "nobody", True, 1.5, True)


def test_refused_orders_are_told_from_orders(folder):
    """They are rows of the same file, without an amount: summing them changes nothing."""
    with duckdb.connect() as connection:
        query = "SELECT count(*), sum(amount_fen), sum(refused::int) FROM read_parquet(?)"
        assert connection.execute(query, [str(folder / "orders.parquet")]).fetchone() == (2, 500, 1)


@pytest.mark.parametrize("name", tuple(parquet.COLUMNS))
def test_a_missing_file_is_no_finished_run(name, folder):
    """The message names the file."""
    (folder / f"{name}.parquet").unlink()
    with pytest.raises(UsageError, match=f"{name}.parquet is missing"):
        parquet.read(folder)


@pytest.mark.parametrize("name", tuple(parquet.COLUMNS))
@pytest.mark.parametrize("content", [b"", b"garbage " * 100, b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_a_damaged_file_is_refused(name, content, folder):
    """In one line that names the file; no driver's traceback."""
    (folder / f"{name}.parquet").write_bytes(content)
    with pytest.raises(UsageError, match=f"{name}.parquet is damaged") as caught:
        parquet.read(folder)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_cut_short_is_refused(folder):
    """As after a full disk."""
    path = folder / "history.parquet"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UsageError, match="damaged"):
        parquet.read(folder)


@pytest.mark.parametrize(
    ("column", "value", "complaint"),
    [
        ("outcome", "'perhaps'", "it says perhaps, which is none of unknown, ok, sold_out, busy, error"),
        ("hold", "NULL", "it says nothing, which is none of none, live"),
        ("bid", "-1", "out of range"),
        ("worker", "256", "out of range"),
        ("amount_fen", "NULL", "a value of amount_fen is missing"),
        ("t_done_s", "'infinity'::DOUBLE", "damaged"),
    ],
)
def test_a_history_that_says_what_none_can_is_refused(column, value, complaint, folder):
    """An unknown word, a number that no history has room for, a gap: one line with the file, not a wrong run."""
    path = folder / "history.parquet"
    with duckdb.connect() as connection:
        query = f"CREATE TABLE taps AS SELECT * REPLACE ({value} AS {column}) FROM read_parquet(?)"
        connection.execute(query, [str(path)])
        connection.execute(f"COPY taps TO '{path}' (FORMAT parquet)")
    with pytest.raises(UsageError, match=f"history.parquet is damaged: .*{complaint}|{complaint}") as caught:
        parquet.read(folder)
    assert "\n" not in str(caught.value)


def peak_bytes(act):
    """Return the most memory that numpy and Python held beyond what there was before `act`."""
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_a_large_history_is_never_in_memory_several_times(tmp_path):
    """Writing takes one copy of it at most, reading one besides the result: no Python object a row."""
    rows = 100_000
    history = np.zeros(rows, HISTORY)
    history["bid"], history["outcome"] = np.arange(rows), np.arange(rows) % len(Outcome)
    _, *others = empty()
    assert peak_bytes(lambda: parquet.write(tmp_path, history, *others)) < 1.5 * history.nbytes
    assert peak_bytes(lambda: parquet.read(tmp_path)) < 1.5 * history.nbytes
    assert np.array_equal(parquet.read(tmp_path)[0], history)
    at_once = peak_bytes(lambda: columns.load(tmp_path / "history.parquet", parquet.COLUMNS["history"]))
    assert at_once > 2 * history.nbytes  # so a reader of the whole table would be found


def test_a_table_of_something_else_is_refused(folder):
    """A sound Parquet file with other columns is as good as a damaged one."""
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT 1 AS x) TO '{folder / 'claims.parquet'}' (FORMAT parquet)")
    with pytest.raises(UsageError, match=r"claims\.parquet"):
        parquet.read(folder)


@pytest.mark.parametrize("name", ['it\'s; a "b"', "满标 100%"])
def test_a_folder_may_have_any_name(name, tmp_path):
    """Quotes and other signs that mean something in SQL included."""
    place = tmp_path / name
    place.mkdir()
    parquet.write(place, *empty())
    assert len(parquet.read(place)[0]) == 0


@pytest.mark.parametrize(("name", "neighbour"), [("a[1]", "a1"), ("a*", "ab")])
def test_a_folder_is_no_pattern(name, neighbour, tmp_path):
    """What is read is this run's, not that of another folder whose name fits."""
    for each, taps in ((name, 1), (neighbour, 2)):
        (tmp_path / each).mkdir()
        _, *others = empty()
        parquet.write(tmp_path / each, history_of([{"bid": taps}] * taps), *others)
    assert parquet.read(tmp_path / name)[0]["bid"].tolist() == [1]
