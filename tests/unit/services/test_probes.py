"""Ledger probes without servers: columns, amounts, times, CSV files, and waiting until nothing changes."""

import os
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oversold.bid_plan import MAX_OFFERED_FEN
from oversold.errors import UsageError
from oversold.services import probes
from oversold.services.mapping import LedgerProbe, Service
from oversold.services.probes import NotNowError, Row, read, settled
from oversold.services.probes.rows import columns_of, rows_of

FIXED = {"run_id": "r1", "tranche_id": "t-7", "capacity_fen": 1000, "unit_fen": 1}
HEADER = ("bid_id", "user_id", "amount_fen", "at")
EPOCH_NS = 1_700_000_000_000_000_000
MOMENT = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)  # the same


def rows(*records, header=HEADER, **names):
    """Read records with a header and a mapping of columns."""
    return rows_of(records, columns_of(header, names, "it"), "it")


def amount(value, name="amount_fen"):
    """Read one amount."""
    return rows(("b", value), header=("bid_id", name))[0].amount_fen


def time(value):
    """Read one time."""
    return rows(("b", 1, value), header=("bid_id", "amount_fen", "at"))[0].at_ns


def service(**ledger):
    """Return a service with a ledger."""
    return Service(name="shop", url="http://127.0.0.1:1", ledger=LedgerProbe(**ledger))


def csv_service(path, **ledger):
    """Return a service whose ledger is a CSV file."""
    return service(csv=str(path), **ledger)


class SteppingClock:
    """A clock that only sleeping moves; what is planned happens on the way."""

    def __init__(self, events=()):
        self.now, self.slept = 0.0, []
        self._events = sorted(events, key=lambda event: event[0])

    def now_s(self):
        """Return the time."""
        return self.now

    def sleep(self, seconds):
        """Let time pass."""
        self.slept.append(seconds)
        self.now += seconds
        while self._events and self._events[0][0] <= self.now:
            self._events.pop(0)[1]()


def test_their_columns_are_found_by_name_or_mapping():
    """The order of columns does not matter, those that nobody asks for neither, and a mapped name comes first."""
    record = ("x", 12.5, "u1", "b1", 3)
    header = ("note", "total", "customer", "bid_id", "amount_fen")
    assert rows(record, header=header, user_id="customer") == [Row("b1", "u1", 3, None)]
    assert rows(record, header=header, amount_yuan="total", bid_id="customer") == [Row("u1", None, 1250, None)]


@pytest.mark.parametrize(
    ("header", "names", "said"),
    [
        (("amount_fen",), {}, "neither bid_id nor user_id"),
        (("id", "amount_fen"), {"bid_id": "idd"}, "did you mean id"),
        (("bid_id",), {}, "neither amount_fen nor amount_yuan"),
        (("bid_id", "bid_id", "amount_fen"), {}, "2 columns called 'bid_id'"),
        ((), {}, "it has none"),
        (("a\nb", "amount_fen"), {}, r"it has 'a\nb', amount_fen"),
        (tuple(f"c{n}" for n in range(1000)), {}, "c19, ..."),
    ],
)
def test_a_header_that_will_not_do_is_told_in_one_line(header, names, said):
    """The line says what is missing and what there is instead."""
    with pytest.raises(UsageError) as caught:
        rows(header=header, **names)
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("value", "fen"),
    [(0, 0), (5, 5), ("5", 5), (" 5 ", 5), (5.0, 5), (Decimal("5.00"), 5), ("1e3", 1000), (10**18, 10**18)],
)
def test_amounts_in_fen_are_whole_numbers_however_written(value, fen):
    """Integers, text, floats and decimals are all read, if they are whole."""
    assert amount(value) == fen


@pytest.mark.parametrize(
    ("value", "fen"),
    [(5, 500), ("5.1", 510), (0.29, 29), (Decimal("19.99"), 1999), ("90071992547409.93", 9007199254740993)],
)
def test_amounts_in_yuan_are_exact(value, fen):
    """No binary fraction gets in between, however large the amount."""
    assert amount(value, "amount_yuan") == fen


@given(st.integers(0, MAX_OFFERED_FEN))
def test_every_fen_survives_the_way_through_yuan(fen):
    """Yuan with two places, as text or decimal, are the same number of fen."""
    text = f"{fen // 100}.{fen % 100:02d}"
    assert amount(text, "amount_yuan") == amount(Decimal(text), "amount_yuan") == fen


@pytest.mark.parametrize("name", ["amount_fen", "amount_yuan"])
@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "abc",
        "1,000",
        True,
        "NaN",
        float("inf"),
        -1,
        "-0.01",
        "0.001",
        10**19,
        "9" * 5000,
        b"5",
        [5],
        "1e99",
    ],
    ids=lambda value: repr(value)[:12],
)
def test_an_amount_that_is_none_names_its_row(name, value):
    """The line has the row's number, the value, and never a whole novel of it."""
    with pytest.raises(UsageError, match=rf"^it, row 2: {name} is ") as caught:
        rows(("b", 1), ("b", value), header=("bid_id", name))
    assert len(str(caught.value)) < 250
    assert str(caught.value).isprintable()


def test_parts_of_a_fen_are_refused_exactly():
    """What a default decimal context would round away is seen."""
    for value in ("1.5", 1.5, "1.0000000000000000000000000000000001"):
        with pytest.raises(UsageError, match="whole number of fen"):
            amount(value)
    with pytest.raises(UsageError, match="more than two places"):
        amount("12.340000000000000000000000000000000001", "amount_yuan")


def test_more_than_64_bits_together_are_refused():
    """Each order may fit and the sum may not."""
    with pytest.raises(UsageError, match="all orders together"):
        rows(("a", 10**18), ("b", 1), header=("bid_id", "amount_fen"))


@pytest.mark.parametrize(
    "value",
    [
        MOMENT,
        MOMENT.replace(tzinfo=None),
        MOMENT.astimezone(timezone(timedelta(hours=8))),
        "2023-11-14T22:13:20Z",
        "2023-11-14 22:13:20",
        "Tue, 14 Nov 2023 22:13:20 GMT",
        "2023-11-15T06:13:20.000000+08:00",
        1_700_000_000,
        1_700_000_000.0,
        "1700000000",
        Decimal("1700000000.000"),
        1_700_000_000_000,
        "1700000000000000",
        EPOCH_NS,
    ],
    ids=repr,
)
def test_times_are_read_however_written(value):
    """Datetimes, ISO text and Unix time in four units are the same moment; without a zone it is UTC."""
    assert time(value) == EPOCH_NS


def test_parts_of_a_second_are_kept():
    """Down to what the source can say."""
    assert time("1700000000.123456789") == EPOCH_NS + 123_456_789
    assert time(MOMENT.replace(microsecond=7)) == EPOCH_NS + 7_000
    assert time(1_700_000_000.25) == EPOCH_NS + 250_000_000


@pytest.mark.parametrize("value", [None, "", " ", datetime(9999, 12, 31, tzinfo=UTC), datetime(1, 1, 1), 10**30])
def test_no_time_and_a_placeholder_are_the_same(value):
    """What is centuries away is no time of an order."""
    assert time(value) is None


@pytest.mark.parametrize(
    "value", ["soon", "0000-00-00 00:00:00", True, float("nan"), "Infinity", date(2023, 1, 1), timedelta(1), b"1"]
)
def test_a_time_that_is_none_names_its_row(value):
    """It is not taken for missing."""
    with pytest.raises(UsageError, match=r"^it, row 1: at is .* no time"):
        time(value)


def test_ids_are_text_without_a_columns_padding():
    """Numbers and bytes become text; spaces that a CHAR column adds go; an empty id is none."""
    header = ("bid_id", "user_id", "amount_fen")
    found = rows((7, b"u1", 1), ("b1   ", "", 1), (None, "王", 1), (None, None, 1), header=header)
    assert [row[:2] for row in found] == [("7", "u1"), ("b1", None), (None, "王"), (None, None)]


def test_a_csv_file_is_read(tmp_path):
    """By its header, in any of the usual shapes, with the tranche's id in its name."""
    path = tmp_path / "orders-t-7.csv"
    there = csv_service(tmp_path / "orders-{tranche_id}.csv", columns={"amount_yuan": "yuan"})
    wanted = [Row("b,1", "u1", 150, EPOCH_NS), Row("b2", "顾客", 200, None)]
    for mark, ending, comma in (("", "\n", ","), ("\ufeff", "\r\n", ";"), ("", "\r", "\t")):
        lines = (
            ["user_id", "bid_id", "at", "yuan"],
            ["u1", '"b,1"', "1700000000", "1.50"],
            ["顾客", "b2", "", "2"],
        )
        path.write_bytes((mark + ending.join(comma.join(line) for line in lines) + ending * 2).encode())
        assert read(there, FIXED) == wanted


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (None, NotNowError, "there is no file"),
        (b"", NotNowError, "is empty"),
        (b"\n\n", NotNowError, "is empty"),
        (b"bid_id,amount_fen\nb1,1\nb2", NotNowError, "row 2 has 1 fields"),
        (b"bid_id,amount_fen\nb1,1\nb2,", NotNowError, "row 2: amount_fen is ''"),
        (b'bid_id,amount_fen\nb1,1\n"b2', NotNowError, "no CSV"),
        ("bid_id,amount_fen\nb1,1\n顾".encode()[:-1], NotNowError, "not UTF-8 in line 3"),
        (b"bid_id,amount_fen\nb1,1\nb2\n", UsageError, "row 2 has 1 fields"),
        (b"bid_id,amount_fen\nb1,x\nb2,", UsageError, "row 1: amount_fen is 'x'"),
        (b"bid_id,amount_fen\nb1,1,5\nb2", UsageError, "row 1 has 3 fields"),
        ("bid_id,amount_fen\n顾,1\n".encode("gbk"), UsageError, "not UTF-8 in line 2"),
        (b"b1,1\n", UsageError, "neither bid_id nor user_id"),
        (b'bid_id,amount_fen\n"b"1,1\n', UsageError, "no CSV"),
        (b"\xff\xfe\x00", UsageError, "not UTF-8 in line 1"),
    ],
)
def test_a_csv_file_that_cannot_be_read_says_why(tmp_path, content, kind, said):
    """Half of a last line may be whole in a moment; anything else stays as it is."""
    path = tmp_path / "orders.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=said) as caught:
        read(csv_service(path), FIXED)
    assert type(caught.value) is kind
    assert str(path) in str(caught.value)


def test_a_last_line_without_an_end_counts(tmp_path):
    """Many programs write none, and settling waits for those that are not done."""
    path = tmp_path / "orders.csv"
    path.write_text("bid_id,amount_fen\nb1,12")
    assert read(csv_service(path), FIXED) == [Row("b1", None, 12, None)]


def test_what_is_no_readable_file_is_refused(tmp_path):
    """A folder, a pipe that nobody writes to, and somebody else's file."""
    os.mkfifo(tmp_path / "pipe")
    for name in (".", "pipe"):
        with pytest.raises(UsageError, match="is no file"):
            read(csv_service(tmp_path / name), FIXED)
    path = tmp_path / "closed.csv"
    path.write_text("x")
    path.chmod(0)
    if os.geteuid() != 0:
        with pytest.raises(UsageError, match="cannot be read"):
            read(csv_service(path), FIXED)


def test_a_service_without_a_ledger_is_told_so():
    """There is nothing to read."""
    with pytest.raises(UsageError, match=r"add \[ledger\]"):
        read(Service(name="shop", url="http://127.0.0.1:1"), FIXED)


def orders_file(path, count):
    """Write so many orders, in an order that changes."""
    lines = [f"b{n},{n}" for n in range(count)]
    path.write_text("\n".join(["bid_id,amount_fen", *(lines if count % 2 else reversed(lines))]) + "\n")


def test_a_ledger_is_believed_when_it_rests(tmp_path):
    """Late orders are waited for, and from the last one on nothing may change for settle_s."""
    path = tmp_path / "orders.csv"
    orders_file(path, 1)
    clock = SteppingClock([(0.5, lambda: orders_file(path, 2)), (1.4, lambda: orders_file(path, 3))])
    reading = settled(csv_service(path, settle_s=1.0, wait_s=30), FIXED, clock)
    assert (len(reading.rows), reading.settled) == (3, True)
    assert 2.4 <= reading.waited_s <= 3.0


def test_a_ledger_that_goes_on_changing_is_not_believed(tmp_path):
    """After wait_s the newest orders are returned with a mark that they may not be all."""
    path = tmp_path / "orders.csv"
    orders_file(path, 1)
    events = [(tenth / 10, lambda n=tenth: orders_file(path, n)) for tenth in range(1, 100)]
    reading = settled(csv_service(path, settle_s=1.0, wait_s=3.0), FIXED, SteppingClock(events))
    assert (reading.settled, reading.waited_s) == (False, 3.0)
    assert len(reading.rows) >= 29


def test_the_same_orders_in_another_sequence_are_no_change(monkeypatch):
    """A query without ORDER BY may yield them as it likes; the same order once more is a change."""
    one, two = Row("a", None, 1, None), Row("b", None, 2, None)
    answers = [[one, two], [two, one], [one, two], [two, one], [one, two]]
    monkeypatch.setattr(probes, "read", lambda *_: answers.pop(0))
    assert settled(csv_service("x", settle_s=1.0), FIXED, SteppingClock()).waited_s == 1.0
    answers[:] = [[one], [one, one]] + [[one, one]] * 4
    assert settled(csv_service("x", settle_s=1.0), FIXED, SteppingClock()).waited_s == 1.25


def test_one_reading_is_enough_for_whoever_wants_no_wait(tmp_path):
    """settle_s = 0: the ledger is written before the answer."""
    path = tmp_path / "orders.csv"
    orders_file(path, 2)
    clock = SteppingClock()
    reading = settled(csv_service(path, settle_s=0), FIXED, clock)
    assert (len(reading.rows), reading.settled, clock.slept) == (2, True, [])


def test_a_ledger_that_is_away_is_asked_again(tmp_path):
    """Until it is there; if it never is, the reason is told; what was read before is not forgotten."""
    path = tmp_path / "orders.csv"
    there = csv_service(path, settle_s=0.5, wait_s=2)
    reading = settled(there, FIXED, SteppingClock([(1.0, lambda: orders_file(path, 2))]))
    assert (len(reading.rows), reading.settled) == (2, True)
    path.unlink()
    with pytest.raises(NotNowError, match="there is no file"):
        settled(there, FIXED, SteppingClock())
    orders_file(path, 3)
    reading = settled(there, FIXED, SteppingClock([(0.1, path.unlink)]))
    assert (len(reading.rows), reading.settled) == (3, False)


def test_what_waiting_cannot_mend_is_told_at_once(tmp_path):
    """A file without the right columns stays one."""
    path = tmp_path / "orders.csv"
    path.write_text("a,b\n")
    clock = SteppingClock()
    with pytest.raises(UsageError, match="neither bid_id"):
        settled(csv_service(path), FIXED, clock)
    assert clock.slept == []
