"""`oversold explore` and `oversold replay` as a user meets them: real servers, files, exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import COMMAND, environment

Call = Callable[..., Any]

SHOP = '''
"""A shop of somebody who has never heard of schedules."""

from oversold.model import Claim, Hold


class Shop:
    """Reads the stock, and writes what is left of it."""

    stores = frozenset({"redis"})

    def __init__(self, context):
        self.redis = context.redis

    def open(self, tranche):
        self.redis.set("stock", tranche.capacity_fen)

    def reserve(self, bid):
        left = int(self.redis.get("stock"))
        if left < bid.amount_fen:
            return Hold("sold_out")
        BODY
        return Hold("ok")

    def confirm(self, bid, hold):
        return True

    def release(self, bid, hold):
        self.redis.incrby("stock", bid.amount_fen)
        return True

    def status(self, tranche_id):
        left = int(self.redis.get("stock"))
        return Claim("open" if left else "full", left)
'''
CARELESS = 'self.redis.set("stock", left - bid.amount_fen)'
CAREFUL = """if self.redis.decrby("stock", bid.amount_fen) < 0:
            self.redis.incrby("stock", bid.amount_fen)
            return Hold("sold_out")"""


def test_the_canary_breaks_in_six_steps_and_again_from_its_file(oversold: Call, tmp_path: Path) -> None:
    """A counterexample of six steps, exit code 1, files beside it; its replay breaks the design again."""
    found = oversold("explore", "none", "--bidders", "2", "--json")
    assert found.code == 1
    document = found.json
    assert (document["outcome"], document["verdict"]) == ("VIOLATION", "fail")
    assert document["counterexample"]["repeated"] == 10
    assert len(document["counterexample"]["steps"]) <= 6
    folder = tmp_path / document["folder"]
    names = {path.name for path in folder.iterdir()}
    assert {"explore.json", "replay.jsonl", "schedule.html", "schedule.mmd"} <= names
    assert json.loads((folder / "explore.json").read_text())["schema"] == "oversold/explore/1"
    again = oversold("replay", str(folder / "replay.jsonl"))
    assert again.code == 1
    assert "It happened again" in again.out


def test_text_fits_the_columns_that_were_asked_for(oversold: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pipe COLUMNS says how wide lanes and sentences are; the command to copy stays in one line."""
    for columns in (72, 120):
        monkeypatch.setenv("COLUMNS", str(columns))
        lines = oversold("explore", "none", "--bidders", "2").out.splitlines()
        again = next(line for line in lines if line.startswith("again: oversold replay "))
        assert again.endswith("replay.jsonl")
        widths = [len(line) for line in lines[: lines.index(again)]]
        assert columns - 20 < max(widths) <= columns


def test_a_sound_design_is_exhausted(oversold: Call) -> None:
    """A proof for three bidders on a real SQL server: exit code 0, and what was proven in words."""
    found = oversold("explore", "row-lock", "--bidders", "3", "--json")
    assert found.code == 0
    assert found.json["outcome"] == "EXHAUSTED"
    assert found.json["bound"] == 0
    assert "No order of the store commands of 3 bidders" in found.json["said"]


def test_paid_twice_over_two_channels(oversold: Call) -> None:
    """The outbox that is unique for one intent pays it through both channels when a reply is lost."""
    found = oversold("explore", "row-lock+unique-outbox", "--json")
    assert found.code == 1
    example = found.json["counterexample"]
    assert (example["check"], example["faults"]) == ("overpaid", 1)
    payments = [step for step in example["steps"] if step["op"].startswith("pay ")]
    assert len(payments) == 2


def test_a_shop_is_broken_mended_and_its_replay_says_so(oversold: Call, tmp_path: Path) -> None:
    """Somebody's own class breaks; mended, it holds in the replay file's schedule, and in all others."""
    shop = tmp_path / "shop.py"
    shop.write_text(SHOP.replace("BODY", CARELESS))
    broken = oversold("explore", "shop.py:Shop", "--bidders", "2", "--json").json
    assert broken["outcome"] == "VIOLATION"
    replay = str(tmp_path / broken["folder"] / "replay.jsonl")
    shop.write_text(SHOP.replace("BODY", CAREFUL))
    mended = oversold("replay", replay)
    assert mended.code == 0, mended.out
    assert "The promise is kept in this schedule" in " ".join(mended.out.split())
    other = oversold("replay", replay, "-s", "redis-lua")
    assert "The file was written for shop.py:Shop; this is redis-lua." in " ".join(other.out.split())
    assert oversold("explore", "shop.py:Shop", "--bidders", "2").code == 0
    shop.rename(tmp_path / "moved.py")
    gone = oversold("replay", replay)
    assert (gone.code, "add --strategy ./path.py:Shop" in gone.err) == (2, True)


def test_a_clock_of_its_own_is_no_proof(oversold: Call, tmp_path: Path) -> None:
    """A strategy that looks at the wall clock is told what to use instead; nothing is proven of it."""
    (tmp_path / "shop.py").write_text("import time\n" + SHOP.replace("BODY", f"time.time(); {CARELESS}"))
    found = oversold("explore", "shop.py:Shop", "--json")
    assert (found.code, found.json["outcome"]) == (4, "NONDETERMINISTIC")
    assert "context.clock" in found.json["why"]


def test_a_hunt_among_many(oversold: Call) -> None:
    """Among twelve bidders a hunt finds the race, and makes it small."""
    found = oversold(
        "explore", "check-then-decr", "--bidders", "12", "--mode", "hunt", "--budget", "20s", "--json"
    )
    assert found.json["outcome"] == "VIOLATION"
    assert len(found.json["counterexample"]["steps"]) <= 8


def test_interrupted_it_keeps_what_it_has(tmp_path: Path) -> None:
    """Ctrl-C ends a search with what was found so far: nothing proven, exit code 4, the document written."""
    words = [*COMMAND, "explore", "redis-watch", "--bidders", "5", "--budget", "5m", "--json"]
    process = subprocess.Popen(
        words, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 4, err
    assert json.loads(out)["why"] == "interrupted"
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("explore", "none", "--bidders", "0"), "--bidders 0"),
        (("explore", "none", "--faults", "3"), "--faults 3"),
        (("explore", "none", "--budget", "soon"), "--budget soon"),
        (("explore", "none", "--check", "overpaid"), "--check overpaid"),
        (("explore", "none", "--mode", "deep"), "--mode deep"),
        (("explore", "unique-outbox"), "one half of a payout strategy"),
        (("explore", "rabbitmq-queue"), "RabbitMQ has no seam"),
        (("explore", "row-lock", "--store", "fake"), "no fake"),
        (("explore", "shop.toml"), "running service"),
        (("explore", "cas+state-machine", "--shares", "2"), "--shares means nothing"),
        (("replay", "nothing.jsonl"), "nothing.jsonl"),
        (("replay", "."), "is a folder"),
    ],
)
def test_bad_input_is_one_line(within: Call, words: tuple[str, ...], says: str) -> None:
    """What cannot be explored or repeated is told in one line, exit code 2, before anything is started."""
    answer = within(*words)
    assert answer.code == 2
    assert says in answer.err
    assert len(answer.err.strip().splitlines()) == 1
