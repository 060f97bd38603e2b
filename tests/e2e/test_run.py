"""`oversold run` and `compare` on real servers, as a user calls them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from oversold.comparison import run_exit

pytestmark = [pytest.mark.servers, pytest.mark.slow]
Call = Callable[..., Any]


@pytest.mark.alone
def test_a_sound_strategy_passes_and_leaves_its_files(oversold: Call, tmp_path: Path) -> None:
    """redis-lua passes with exit 0, stdout is one JSON document, and all that the docs name is in the folder."""
    said = oversold("run", "bid-burst", "--strategy", "redis-lua", "--users", "1000", "--charts", "--json")
    assert said.code == 0, said.err
    summary = said.json
    assert summary["schema"] == "oversold/run/1"
    assert summary["verdict"] == "pass"
    assert summary["reasons"] == []
    assert summary["tranche"]["confirmed_fen"] <= summary["tranche"]["capacity_fen"] == 1_000_000_000
    assert sum(summary["outcomes"].values()) == 1000
    assert summary["load"]["overlap"] > 0.01
    assert 0.03 < summary["rates"]["rollback"] < 0.2, "the tenth whose steps fail"
    assert summary["load"]["processes"] == 2
    assert {f["check"]: f["verdict"] for f in summary["findings"]}["canary"] == "pass"
    assert summary["stores"]["redis"]["provider"] == "local"
    folder = (tmp_path / "reports/bid-burst/latest").resolve()
    names = {path.name for path in folder.iterdir()}
    assert {"summary.json", "history.parquet", "orders.parquet", "claims.parquet", "canary"} <= names
    assert {
        f"{chart}.{kind}" for chart in ("subscription", "over-time", "response") for kind in ("png", "svg")
    } <= names
    assert json.loads((folder / "summary.json").read_text()) == summary
    query = f"SELECT count(DISTINCT bid), sum(amount_fen) FILTER (outcome = 'ok') FROM '{folder}/history.parquet'"
    assert duckdb.sql(query).fetchall()[0] == (1000, summary["tranche"]["confirmed_fen"])
    assert "127.0.0.1" not in said.out, "addresses and passwords stay out of reports"


@pytest.mark.alone
def test_a_latched_full_mark_undersells_and_reopening_mends_it(oversold: Call) -> None:
    """The incident: marked full when reserved, never reopened. And its fix, on the same bids."""
    said = oversold(
        "compare", "bid-burst", "-s", "redis-lua", "--users", "1500", "--json",
        "--set", "full_when=reserved", "--set", "reopen_on_release=false,true",
    )  # fmt: skip
    assert said.code == 1, said.err
    latched, mended = said.json["runs"]
    assert latched["settings"]["reopen_on_release"] is False
    assert latched["verdict"] == "fail", latched["reasons"]
    assert latched["rates"]["undersubscription"] > 0
    assert latched["rates"]["oversubscription"] == 0
    assert run_exit(mended) == 0, mended["reasons"]
    assert mended["rates"]["undersubscription"] == 0


@pytest.mark.alone
def test_a_hot_progress_row_makes_bids_fail(oversold: Call) -> None:
    """progress=row: the real optimistic lock loses under contention, so far more holds are rolled back than the
    tenth that the sound run above rolls back."""
    row = ["--users", "600", "--set", "progress=row", "--set", "progress_tries=1", "--set", "late=0"]
    said = oversold("run", "bid-burst", "--strategy", "redis-lua", *row, "--no-canary", "--json")
    assert said.json["rates"]["rollback"] > 0.3


def test_compare_puts_designs_side_by_side(oversold: Call, tmp_path: Path) -> None:
    """One document, the canary first and named, one picture for all; report draws it again from the files."""
    said = oversold("compare", "bid-burst", "--strategies", "redis-queue,row-lock", "--users", "300",
                    "--lanes", "16", "--set", "late=0", "--charts", "--json")  # fmt: skip
    assert said.code in {0, 4}, said.err
    document = said.json
    assert document["schema"] == "oversold/compare/1"
    assert [run["strategy"] for run in document["runs"]] == ["redis-queue", "row-lock"]
    assert all(run["rates"]["oversubscription"] == 0 for run in document["runs"])
    assert document["canary"]["strategy"] == "none"
    assert document["canary"]["oversold"] is True
    folder = (tmp_path / "reports/bid-burst/latest").resolve()
    picture = folder / "subscription.svg"
    first = picture.read_bytes()
    picture.unlink()
    again = oversold("report", str(folder), "--json")
    assert again.code == said.code, again.err
    assert again.json == document
    assert picture.read_bytes() == first


def test_a_run_without_proof_never_passes(oversold: Call) -> None:
    """Where nobody fights over the tranche, without a canary, with one lane in one process: exit 4 for each."""
    weak = oversold(
        "run", "bid-burst", "-s", "redis-lua", "-u", "300", "--no-canary",
        "--set", "demand=0.5", "--set", "late=0", "--json",
    )  # fmt: skip
    assert (weak.code, weak.json["verdict"]) == (4, "inconclusive")
    assert weak.json["rates"]["undersubscription"] == 0
    assert weak.json["rates"]["raw_undersubscription"] > 0.4
    alone = oversold(
        "run", "bid-burst", "-s", "redis-lua", "-u", "30", "--processes", "1", "--lanes", "1",
        "--set", "late=0", "--json",
    )  # fmt: skip
    assert (alone.code, alone.json["verdict"]) == (4, "inconclusive")
    for said, checks in ((weak, {"demand", "canary"}), (alone, {"overlap", "canary"})):
        verdicts = {finding["check"]: finding["verdict"] for finding in said.json["findings"]}
        assert {verdicts[check] for check in checks} == {"inconclusive"}, verdicts


def test_same_seed_same_bids_and_the_canary_oversells(oversold: Call, tmp_path: Path) -> None:
    """Two runs of one seed ask for the same amounts; another seed for others. Strategy none breaks the promise
    each time: exit 1, and the ledger holds more than the capacity."""
    same = ["-s", "none", "-u", "600", "--seed", "7", "--set", "late=0", "--json"]

    def amounts(*folders: str) -> list[Any]:
        path = tmp_path.joinpath(*folders, "history.parquet").resolve()
        return duckdb.sql(f"SELECT DISTINCT bid, amount_fen FROM '{path}' ORDER BY bid").fetchall()

    once = oversold("run", "bid-burst", *same)
    assert once.code == 1, once.err
    twice = oversold("compare", "bid-burst", *same, "--repeat", "2", "--out", "twice")
    for run in (once.json, *twice.json["runs"]):
        assert run["rates"]["oversubscription"] > 0.01
        assert run["tranche"]["confirmed_fen"] > run["tranche"]["capacity_fen"]
        assert run["canary"] is True
    first = amounts("reports/bid-burst/latest")
    assert amounts("twice/bid-burst/latest", "none-600-7") == first
    assert amounts("twice/bid-burst/latest", "none-600-8") != first


def test_a_failed_run_is_explained(oversold: Call, tmp_path: Path) -> None:
    """The shortest schedule is in the folder, on the page and below the table; verdict and exit code stay."""
    said = oversold(
        "run", "bid-burst", "-s", "none", "-u", "200", "--set", "late=0", "--explain", "20s", "--charts"
    )  # fmt: skip
    assert said.code == 1, said.err
    folder = (tmp_path / "reports/bid-burst/latest").resolve()
    why = "why: oversold explore none --bidders 2 --capacity-bids 1 --faults 0 --budget 30s"
    assert said.out.splitlines()[-1] == why
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["explain"] == why.removeprefix("why: ")
    assert (summary["cause"]["check"], summary["cause"]["steps"]) == ("oversubscription", 6)
    assert summary["cause"]["sentence"] in said.out
    assert (folder / "explain/none/replay.jsonl").is_file()
    assert (folder / "explain/none/schedule.mmd").read_text().startswith("sequenceDiagram")
    assert "Why it oversells: the shortest schedule" in (folder / "report.html").read_text()
    (folder / "explain/none/replay.jsonl").write_text("damaged")
    again = oversold("report", str(folder))
    assert again.code == 1
    assert "no schedule of none is shown" in again.out
    assert "Traceback" not in again.err


def test_a_comparison_explains_its_failures_and_its_canary(oversold: Call, tmp_path: Path) -> None:
    """Each design that failed has its schedule, the canary too, which gets no line; Markdown has the sentence."""
    own = ["from oversold.strategies.bids.none import NoLock", "class Shop(NoLock):", "    'No lock. None. All.'"]
    (tmp_path / "shop.py").write_text("\n".join(own))
    said = oversold(
        "compare", "bid-burst", "-s", "redis-lua,./shop.py:Shop", "-u", "200", "--set", "late=0",
        "--explain", "20s", "--markdown", "pull.md", "--json",
    )  # fmt: skip
    assert said.code == 1, said.err
    sound, broken = said.json["runs"]
    assert (sound["explain"], "cause" in sound) == (None, False)
    assert broken["cause"]["check"] == "oversubscription"
    folder = (tmp_path / "reports/bid-burst/latest").resolve()
    assert {path.parent.name for path in folder.glob("explain/*/replay.jsonl")} == {"none", "Shop"}
    assert f"why: {broken['explain']}" in said.err
    assert "why: oversold explore none" not in said.err
    assert broken["explain"] in (tmp_path / "pull.md").read_text()
    assert json.loads((folder / "compare.json").read_text()) == said.json
