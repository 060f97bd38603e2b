"""`oversold run` and `compare` on real servers, as a user calls them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

pytestmark = [pytest.mark.servers, pytest.mark.slow]
Call = Callable[..., Any]
LATCHED = ["--set", "full_when=reserved", "--set", "reopen_on_release=false"]
MENDED = ["--set", "full_when=reserved", "--set", "reopen_on_release=true"]


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


def test_the_canary_oversells_and_is_told(oversold: Call) -> None:
    """Strategy none breaks the promise: exit 1, and the ledger holds more than the capacity."""
    said = oversold("run", "bid-burst", "--strategy", "none", "--users", "1000", "--json")
    assert said.code == 1, said.err
    assert said.json["rates"]["oversubscription"] > 0.01
    assert said.json["tranche"]["confirmed_fen"] > said.json["tranche"]["capacity_fen"]
    assert said.json["canary"] is True


@pytest.mark.alone
def test_a_latched_full_mark_undersells_and_reopening_mends_it(oversold: Call) -> None:
    """The incident: marked full when reserved, never reopened. And its fix, on the same bids."""
    load = ["compare", "bid-burst", "-s", "redis-lua,memcached-cas-retry", "--users", "2000", "--json"]
    latched = oversold(*load, *LATCHED)
    assert latched.code == 1, latched.err
    for run in latched.json["runs"]:
        assert run["verdict"] == "fail", run["reasons"]
        assert run["rates"]["undersubscription"] > 0
        assert run["rates"]["oversubscription"] == 0
    mended = oversold(*load, *MENDED)
    assert mended.code == 0, [run["reasons"] for run in mended.json["runs"]]
    assert {run["rates"]["undersubscription"] for run in mended.json["runs"]} == {0}


@pytest.mark.alone
def test_a_hot_progress_row_makes_bids_fail(oversold: Call) -> None:
    """progress=row: the real optimistic lock loses under contention, so more holds are rolled back."""
    load = ["run", "bid-burst", "--strategy", "redis-lua", "--users", "600", "--no-canary", "--json"]
    row = oversold(*load, "--set", "progress=row", "--set", "progress_tries=1").json
    derived = oversold(*load, "--set", "progress=derived").json
    assert row["rates"]["rollback"] > 2 * derived["rates"]["rollback"]


def test_compare_puts_designs_side_by_side(oversold: Call, tmp_path: Path) -> None:
    """One document, the canary first and named, one picture for all; report draws it again from the files."""
    said = oversold("compare", "bid-burst", "--strategies", "redis-queue,row-lock,conditional-update",
                    "--users", "300", "--lanes", "16", "--charts", "--json")  # fmt: skip
    assert said.code in {0, 4}, said.err
    document = said.json
    assert document["schema"] == "oversold/compare/1"
    assert [run["strategy"] for run in document["runs"]] == ["redis-queue", "row-lock", "conditional-update"]
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
    """Without a canary, or with one lane in one process, nothing is proven: exit 4."""
    no_canary = oversold("run", "bid-burst", "-s", "redis-lua", "--users", "300", "--no-canary", "--json")
    assert (no_canary.code, no_canary.json["verdict"]) == (4, "inconclusive")
    alone = oversold(
        "run", "bid-burst", "-s", "redis-lua", "-u", "30", "--processes", "1", "--lanes", "1", "--json"
    )
    assert (alone.code, alone.json["verdict"]) == (4, "inconclusive")
    checks = {finding["check"]: finding["verdict"] for finding in alone.json["findings"]}
    assert checks["overlap"] == checks["canary"] == "inconclusive"


def test_weak_demand_is_inconclusive(oversold: Call) -> None:
    """A tranche that nobody fights over can be neither oversold nor undersold."""
    said = oversold("run", "bid-burst", "-s", "redis-lua", "-u", "300", "--set", "demand=0.5", "--json")
    assert said.code == 4
    assert said.json["rates"]["undersubscription"] == 0
    assert said.json["rates"]["raw_undersubscription"] > 0.4


def test_same_seed_same_bids(oversold: Call, tmp_path: Path) -> None:
    """Two runs of one seed ask for the same amounts; another seed for others."""

    def amounts(seed: str) -> list[Any]:
        oversold("run", "bid-burst", "-s", "none", "-u", "60", "--seed", seed, "--out", seed, "--set", "late=0")
        path = (tmp_path / seed / "bid-burst/latest/history.parquet").resolve()
        return duckdb.sql(f"SELECT DISTINCT bid, amount_fen FROM '{path}' ORDER BY bid").fetchall()

    first = amounts("7")
    assert amounts("7") == first
    assert amounts("8") != first
