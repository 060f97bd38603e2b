"""Replay files: what is written is read again, and whatever is wrong with a file is told in one line."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from oversold.errors import UsageError
from oversold.plan import KINDS
from oversold.schedule import CHOICES, OUTCOMES, Broken, Schedule, Step
from oversold.schedule_file import MAX_BYTES, SCHEMA, read, write

STEPS = (
    Step(1, "bidder 1", "go", "GET left", ("redis/left",), (), "100"),
    Step(2, "time", "expire", "lock expires", (), ("redis/lock",), "", True),
    Step(3, "bidder 1", "lost_reply", "SET left 0", (), ("redis/left",), "OK", True),
)
SCHEDULE = Schedule(
    "bids",
    "none",
    {"bidders": 2, "capacity_bids": 1, "shares": "1"},
    STEPS,
    "VIOLATION",
    Broken("oversubscription", "2 of 1 sold", 3),
    7,
    "0123abcd",
    {"redis": "7.2"},
)

texts = some.text(some.characters(), max_size=12)  # surrogates, line ends and all
names = some.lists(texts, max_size=3).map(tuple)


@some.composite
def schedules(draw):
    """Draw a schedule of any texts."""
    count = draw(some.integers(0, 4))
    steps = tuple(
        Step(
            number,
            draw(texts),
            draw(some.sampled_from(CHOICES)),
            draw(texts),
            draw(names),
            draw(names),
            draw(texts),
            draw(some.booleans()),
        )
        for number in range(1, count + 1)
    )
    return Schedule(
        draw(some.sampled_from(KINDS)),
        draw(texts),
        draw(some.dictionaries(texts, some.integers() | texts, max_size=3)),
        steps,
        draw(some.sampled_from(OUTCOMES)),
        draw(some.none() | some.builds(Broken, texts, texts, some.integers())),
        draw(some.integers()),
        draw(texts),
        draw(some.dictionaries(texts, texts, max_size=3)),
    )


@pytest.fixture
def file(tmp_path):
    """Return the path of a whole replay file."""
    path = tmp_path / "found.jsonl"
    write(SCHEDULE, path)
    return path


def complaint(path):
    """Return the line in which reading a file fails."""
    with pytest.raises(UsageError) as caught:
        read(path)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 400
    return text


def resealed(path, change):
    """Change the rows of a file, and write a checksum that fits."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    change(rows)
    above = "".join(f"{json.dumps(row)}\n" for row in rows[:-1])
    rest = {name: value for name, value in rows[-1].items() if name != "sha256"}
    rows[-1]["sha256"] = sha256(f"{above}{json.dumps(rest)}".encode()).hexdigest()
    path.write_text(above + json.dumps(rows[-1]) + "\n")


@settings(max_examples=40, deadline=None)
@given(schedule=schedules())
def test_what_is_written_is_read_again(schedule, tmp_path_factory):
    """Any schedule, of any texts, comes back as it was."""
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    write(schedule, path)
    assert read(path) == schedule


def test_a_file_is_what_the_documents_say(file):
    """A header with the schema, a line a step, a footer with the outcome and the checksum: all of it ASCII."""
    rows = [json.loads(line) for line in file.read_bytes().decode("ascii").splitlines()]
    assert rows[0]["schema"] == SCHEMA == "oversold/replay/1"
    assert list(rows[2]) == [
        "step",
        "actor",
        "choice",
        "op",
        "reads",
        "writes",
        "reply",
        "changed",
        "reply_digest",
    ]
    assert rows[-1] | {"sha256": ""} == {
        "outcome": "VIOLATION",
        "broken": {"check": "oversubscription", "detail": "2 of 1 sold", "step": 3},
        "steps": 3,
        "sha256": "",
    }
    assert read(file) == SCHEDULE


def test_a_schedule_without_steps_or_finding_is_one(tmp_path):
    """Nothing done and nothing broken is written and read as well."""
    empty = replace(SCHEDULE, steps=(), broken=None, outcome="SAMPLED")
    write(empty, tmp_path / "empty.jsonl")
    assert read(tmp_path / "empty.jsonl") == empty


def test_every_changed_character_is_seen(file):
    """Whatever single character of the file is replaced, it is not read as a whole file any more."""
    whole = file.read_text()
    for place in range(0, len(whole), 11):
        file.write_text(f"{whole[:place]}{'x' if whole[place] != 'x' else 'y'}{whole[place + 1 :]}")
        complaint(file)


def test_a_file_that_is_cut_off_is_seen(file):
    """Wherever a file is cut off, that is said."""
    whole = file.read_bytes()
    for length in range(1, len(whole), 9):
        file.write_bytes(whole[:length])
        assert "cut off" in complaint(file)


def test_a_file_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    """No file, a folder, a pipe, no permission, no path at all: each is said with the path."""
    assert complaint(tmp_path / "no.jsonl").startswith(f"there is no replay {tmp_path}/no.jsonl: ")
    assert "is a folder" in complaint(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "is no ordinary file" in complaint(tmp_path / "pipe")
    assert "cannot be read: it is no path" in complaint(tmp_path / "a\0b")
    assert "\\n" in complaint(tmp_path / "a\nb")
    assert "cannot be read: Not a directory" in complaint(tmp_path / "pipe" / "in it")
    secret = tmp_path / "secret.jsonl"
    write(SCHEDULE, secret)

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(secret), "read_bytes", refuse)  # root may read whatever the mode says
    assert "cannot be read: Permission denied" in complaint(secret)


def test_a_file_that_is_far_too_large_is_not_read(tmp_path):
    """More than ten megabytes are refused before they are read."""
    path = tmp_path / "large.jsonl"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert "has 10 MB, a replay at most 10" in complaint(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\xff\xfe\n", "byte 1 is not UTF-8"),
        (b"not json\n", "line 1 is not JSON"),
        (b"[" * 100_000 + b"\n", "line 1 is not JSON"),
        (b'{"seed": ' + b"9" * 5000 + b"}\n", "line 1 is not JSON"),
        (b'{}\n{"a": 1}\n\n', "line 3 is not JSON"),
        (b"[]\n", "line 1 is not an object"),
        (b"{}\n", "has no schema oversold/replay/1"),
        (b'{"schema": 1}\n', "has no schema oversold/replay/1"),
        (b'{"schema": "other/1"}\n', "has no schema oversold/replay/1"),
        (b'{"schema": "oversold/replay/0"}\n', "has no schema oversold/replay/1"),
        (b'{"schema": "oversold/replay/2"}\n', "written by a newer oversold (oversold/replay/2): update"),
        (b'{"schema": "oversold/replay/1"}\n', "cut off after line 1"),
    ],
)
def test_what_is_no_replay_is_told(content, words, tmp_path):
    """Another kind of file is told by what it lacks, and the line where that is."""
    path = tmp_path / "other.jsonl"
    path.write_bytes(content)
    assert words in complaint(path)


def dropped(row, name):
    """Return a change that leaves out a key."""
    return lambda rows: rows[row].pop(name)


def put(row, **values):
    """Return a change of some values."""
    return lambda rows: rows[row].update(values)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dropped(0, "kind"), "line 1 has no kind"),
        (dropped(2, "changed"), "line 3 has no changed"),
        (dropped(-1, "outcome"), "line 5 has no outcome"),
        (dropped(-1, "broken"), "line 5 has no broken"),
        (put(0, kind="coupons"), "line 1: kind is not one of bids, payouts"),
        (put(0, seed="7"), "line 1: seed is not a whole number"),
        (put(0, seed=True), "line 1: seed is not a whole number"),
        (put(0, strategy=None), "line 1: strategy is not a text"),
        (put(0, scenario={"bidders": 2.5}), "line 1: scenario is not an object of whole numbers and texts"),
        (put(0, scenario={"bidders": True}), "line 1: scenario is not an object of whole numbers and texts"),
        (put(0, scenario=[]), "line 1: scenario is not an object"),
        (put(0, versions={"redis": 7}), "line 1: versions is not an object of texts"),
        (put(1, choice="explode"), "line 2: choice is not one of go, "),
        (put(1, reads="redis/left"), "line 2: reads is not a list of texts"),
        (put(1, reads=[1]), "line 2: reads is not a list of texts"),
        (put(1, changed=1), "line 2: changed is not true or false"),
        (put(1, reply="99"), "line 2: reply and reply_digest do not belong together"),
        (put(2, step=3), "line 3 has step 3 where step 2 belongs"),
        (put(2, step=0), "line 3 has step 0 where step 2 belongs"),
        (put(-1, outcome="FINE"), "line 5: outcome is not one of EXHAUSTED"),
        (put(-1, broken={"check": "x"}), "line 5, broken has no detail"),
        (put(-1, broken=[]), "line 5: broken is not an object"),
        (put(-1, steps=4), "is damaged"),
        (lambda rows: rows.pop(2), "is damaged"),
    ],
)
def test_what_is_wrong_in_a_line_is_told(change, words, file):
    """A file whose checksum fits, but whose values do not, is told by the line and the key."""
    resealed(file, change)
    assert words in complaint(file)


def test_a_changed_line_is_told_as_damage(file):
    """A step that was edited is not replayed as if it had been found."""
    file.write_text(file.read_text().replace("SET left 0", "SET left 1"))
    assert "is damaged: it does not match the checksum" in complaint(file)


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    """A folder that is not there, a folder in the file's place: one line, with the path."""
    for path in (tmp_path, tmp_path / "no" / "where.jsonl", tmp_path / "a\0b"):
        with pytest.raises(UsageError, match=r"cannot be written to .*: choose another file") as caught:
            write(SCHEDULE, path)
        assert "\n" not in str(caught.value)
