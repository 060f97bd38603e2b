"""The evidence of a payday as Parquet: what is written is read back, and damage is the user's to hear of."""

import tempfile
from dataclasses import fields, replace
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oversold.errors import UsageError
from oversold.evidence import NEVER
from oversold.model import PAY_REPLIES, PAYOUT_STATUSES, PayoutState
from oversold.payout_evidence import BELIEF, PAYMENT, WITHDRAWAL, JobRun, PayoutEvidence
from oversold.report import payout_parquet

S = 10**9
DAY_NS = 86_400 * S
WHEN = st.integers(-DAY_NS, 30 * DAY_NS)
TIMES = st.one_of(st.just(NEVER), WHEN)
FEN = st.integers(0, 10**16)
CHANNELS, RUNS = ("first", "it's 第二"), ("interest#1", "maturity#1", "interest#2")
PAYMENTS = st.tuples(
    st.integers(0, 1),
    st.integers(-1, 10**6),
    st.integers(-1, 2),
    st.integers(-1, 2**15 - 1),
    FEN,
    st.integers(0, len(PAY_REPLIES) - 1),
    st.integers(0, 1),
    TIMES,
    TIMES,
    TIMES,
)
STATES = st.none() | st.builds(
    PayoutState, st.sampled_from(PAYOUT_STATUSES), st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
)
OWED = st.tuples(FEN, st.integers(0, 10**6), TIMES, STATES)
BELIEFS = st.tuples(WHEN, st.lists(st.integers(0, 10**6), min_size=8, max_size=8))
TAKEN = st.tuples(st.integers(0, 1), st.integers(-1, 10**6), FEN, WHEN)


def ints(values):
    """Return int64 values."""
    return np.array(values, np.int64)


def evidence_of(owed=(), payments=(), withdrawals=(), beliefs=(), spells=(), **others):
    """Return the evidence of literal rows."""
    return PayoutEvidence(
        **{
            "due_fen": ints([row[0] for row in owed]),
            "user": ints([row[1] for row in owed]),
            "t_due": ints([row[2] for row in owed]),
            "channels": CHANNELS,
            "runs": tuple(JobRun(run, 0, 0, NEVER) for run in RUNS),
            "payments": np.array(list(payments), PAYMENT),
            "withdrawals": np.array(list(withdrawals), WITHDRAWAL),
            "states": tuple(row[3] for row in owed),
            "beliefs": np.array(list(beliefs), BELIEF),
            "unknown_since": ints([since for since, _ in spells]),
            "unknown_until": ints([until for _, until in spells]),
            "t_end": 5 * S,
        }
        | others
    )


def same(one, other):
    """Tell whether two pieces of evidence hold the same, types included."""
    for field in fields(PayoutEvidence):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if isinstance(mine, np.ndarray):
            if mine.dtype != theirs.dtype or not np.array_equal(mine, theirs):
                return False
        elif type(mine) is not type(theirs) or mine != theirs:
            return False
    return True


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(
    st.lists(OWED, max_size=6),
    st.lists(PAYMENTS, max_size=6),
    st.lists(TAKEN, max_size=4),
    st.lists(BELIEFS, max_size=4),
    st.lists(st.tuples(WHEN, TIMES), max_size=4),
    st.lists(st.tuples(TIMES, TIMES, TIMES, st.booleans()), min_size=3, max_size=3),
    st.integers(0, 2**62),
    st.booleans(),
)
@example([], [], [], [], [], [(0, 0, 0, False)] * 3, 0, True)
def test_what_is_written_is_read_back(owed, payments, taken, beliefs, spells, jobs, t_end, complete):
    """Every column, in order, to the nanosecond; empty tables too, and times that never were."""
    runs = tuple(JobRun(run, *times) for run, times in zip(RUNS, jobs, strict=True))
    evidence = evidence_of(owed, payments, taken, beliefs, spells, runs=runs, t_end=t_end, complete=complete)
    with tempfile.TemporaryDirectory() as folder:
        payout_parquet.write(Path(folder), evidence)
        assert same(payout_parquet.read(Path(folder)), evidence)


def test_a_payday_without_channels_and_jobs_is_read_back(tmp_path):
    """Nothing at all is a table as well."""
    evidence = evidence_of(channels=(), runs=())
    payout_parquet.write(tmp_path, evidence)
    assert same(payout_parquet.read(tmp_path), evidence)


def test_the_comparison_of_these_tests_sees_a_difference():
    """One nanosecond, one type, one flag, one reason."""
    evidence = evidence_of([(1, 0, 0, PayoutState("REVIEW", "a"))])
    assert same(evidence, replace(evidence))
    for other in (
        replace(evidence, t_due=ints([1])),
        replace(evidence, due_fen=np.array([1.0])),
        replace(evidence, complete=False),
        replace(evidence, states=(PayoutState("REVIEW", "b"),)),
    ):
        assert not same(evidence, other)


@pytest.fixture
def folder(tmp_path):
    """A folder with two obligations, a payment of a job, one of somebody else, and one of everything else."""
    payments = [
        (1, 0, 1, 3, 500, PAY_REPLIES.index("failed"), 0, S, 2 * S, 3 * S // 2),
        (0, -1, -1, -1, 70, PAY_REPLIES.index("ok"), 1, S, 2 * S, NEVER),
    ]
    evidence = evidence_of(
        [(500, 3, 0, PayoutState("REVIEW", "two answers")), (600, 4, 0, None)],
        payments,
        [(1, 3, 500, 4 * S)],
        [(S, range(8))],
        [(S, NEVER)],
    )
    payout_parquet.write(tmp_path, evidence)
    return tmp_path


def rows(folder, name, columns):
    """Return columns of a table as another program reads them."""
    with duckdb.connect() as connection:
        return connection.execute(f"SELECT {columns} FROM '{folder / name}.parquet'").fetchall()


def never(column):
    """Return the SQL that tells whether a time never was: DuckDB may take a NaN for NULL."""
    return f"{column} IS NULL OR isnan({column})"


def test_other_programs_read_words_and_seconds(folder):
    """Channels, runs and replies are words, times seconds, and what never happened is no number."""
    assert rows(folder, "payments", f"channel, run, reply, replay, t_arrived_s, {never('t_effect_s')}") == [
        (CHANNELS[1], "maturity#1", "failed", False, 1.0, False),
        (CHANNELS[0], "other", "ok", True, 1.0, True),
    ]
    assert rows(folder, "obligations", "obligation, status, reason") == [
        (0, "REVIEW", "two answers"),
        (1, "unstated", ""),
    ]
    assert rows(folder, "beliefs", "t_s, due, failed_definite, review") == [(1.0, 0, 5, 7)]
    assert rows(folder, "withdrawals", "channel, amount_fen, t_s") == [(CHANNELS[1], 500, 4.0)]
    assert rows(folder, "unknown", f"since_s, {never('until_s')}") == [(1.0, True)]
    assert rows(folder, "jobs", f"run, {never('t_end_s')}") == [(run, True) for run in RUNS]


def test_what_the_checkers_ask_can_be_asked_in_sql(folder):
    """The books join with what is due by the obligation."""
    with duckdb.connect() as connection:
        query = (
            f"SELECT sum(amount_fen), any_value(due_fen) FROM '{folder}/payments.parquet' JOIN "
            f"'{folder}/obligations.parquet' USING (obligation) WHERE NOT isnan(t_effect_s) GROUP BY obligation"
        )
        assert connection.execute(query).fetchall() == [(500, 500)]


@pytest.mark.parametrize("name", tuple(payout_parquet.COLUMNS))
def test_a_missing_file_is_no_finished_run(name, folder):
    """The message names the file."""
    (folder / f"{name}.parquet").unlink()
    with pytest.raises(UsageError, match=f"{name}.parquet is missing"):
        payout_parquet.read(folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", tuple(payout_parquet.COLUMNS))
@pytest.mark.parametrize("content", [b"", b"garbage " * 100, b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_a_damaged_file_is_refused(name, content, folder):
    """In one line that names the file; no driver's traceback."""
    (folder / f"{name}.parquet").write_bytes(content)
    with pytest.raises(UsageError, match=f"{name}.parquet is damaged") as caught:
        payout_parquet.read(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", tuple(payout_parquet.COLUMNS))
def test_a_file_that_is_cut_short_is_refused(name, folder):
    """As after a full disk."""
    path = folder / f"{name}.parquet"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UsageError, match="damaged"):
        payout_parquet.read(folder)


def rewrite(folder, name, select, options="FORMAT parquet"):
    """Replace a table by a query over it, as another program would: its notes are gone."""
    path = folder / f"{name}.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE rows AS SELECT * FROM '{path}'")
        connection.execute(f"COPY (SELECT {select} FROM rows) TO '{path}' ({options})")


@pytest.mark.parametrize("name", tuple(payout_parquet.COLUMNS))
def test_a_table_of_something_else_is_refused(name, folder):
    """A sound Parquet file with other columns is as good as a damaged one."""
    rewrite(folder, name, "1 AS x")
    with pytest.raises(UsageError, match=rf"{name}\.parquet is a table of something else"):
        payout_parquet.read(folder)


@pytest.mark.parametrize(
    ("name", "select"),
    [
        ("payments", "* REPLACE ('perhaps' AS reply)"),
        ("payments", "* REPLACE ('nobody#1' AS run)"),
        ("payments", "* REPLACE (NULL::VARCHAR AS channel)"),
        ("withdrawals", "* REPLACE ('third' AS channel)"),
        ("obligations", "* REPLACE ('LOST' AS status)"),
    ],
)
def test_a_word_that_nobody_knows_is_refused(name, select, folder):
    """A file of another version, or of another run."""
    rewrite(folder, name, select)
    with pytest.raises(UsageError, match=rf"{name}\.parquet is damaged: it says"):
        payout_parquet.read(folder)


@pytest.mark.parametrize(
    ("notes", "complaint"),
    [
        ("{channels: '[]', complete: 'true'}", "no note of t_end_ns"),
        ("{channels: '[', t_end_ns: '1', complete: 'true'}", "its notes on the run cannot be read"),
        ("{channels: '1', t_end_ns: '1', complete: 'true'}", "its notes on the run cannot be read"),
        ("{channels: '[]', t_end_ns: 'null', complete: 'true'}", "its notes on the run cannot be read"),
    ],
)
def test_jobs_without_the_notes_on_the_run_are_refused(notes, complaint, folder):
    """Where the run ended, and whether it is complete, is not guessed."""
    rewrite(folder, "jobs", "*", f"FORMAT parquet, KV_METADATA {notes}")
    with pytest.raises(UsageError, match=complaint):
        payout_parquet.read(folder)


@pytest.mark.parametrize("name", ['it\'s; a "b"', "满标 100%"])
def test_a_folder_may_have_any_name(name, tmp_path):
    """Quotes and other signs that mean something in SQL included."""
    place = tmp_path / name
    place.mkdir()
    payout_parquet.write(place, evidence_of())
    assert len(payout_parquet.read(place).payments) == 0


@pytest.mark.parametrize(("name", "neighbour"), [("a[1]", "a1"), ("a*", "ab")])
def test_a_folder_is_no_pattern(name, neighbour, tmp_path):
    """What is read is this run's, rows and notes, not that of another folder whose name fits."""
    for each, t_end in ((name, 1), (neighbour, 2)):
        (tmp_path / each).mkdir()
        payout_parquet.write(tmp_path / each, evidence_of([(t_end, 0, 0, None)] * t_end, t_end=t_end))
    again = payout_parquet.read(tmp_path / name)
    assert (again.due_fen.tolist(), again.t_end) == ([1], 1)
