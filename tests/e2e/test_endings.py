"""However a run ends, nothing of it stays behind, and what was recorded can be read."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import psutil
import pytest

from .conftest import all_gone, wait_for

pytestmark = [pytest.mark.servers, pytest.mark.slow]
Start = Callable[..., Any]
BURST = ["run", "bid-burst", "-s", "redis-lua", "-u", "2000", "--no-canary", "--json"]
LONG = ["--set", "steps_ms=300"]
PROMPT = ["--set", "late=0"]


def private_folders(processes: list[psutil.Process]) -> set[Path]:
    """Return the private folders that the run's processes work in."""
    places = [part for process in processes for part in (Path(process.cwd()), *Path(process.cwd()).parents)]
    found = {place for place in places if place.name.startswith("oversold-")}
    assert len(found) >= 2, "each server works in one of its own"
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_the_data_and_cleans_up(starting: Start, number: signal.Signals) -> None:
    """The run ends inconclusive with exit 4, its history is readable, no process or folder is left."""
    running = starting(*BURST, *LONG)
    running.bidding()
    below = running.descendants()
    folders = private_folders(below)
    assert len(below) >= 6, "guard, two servers, Locust master and workers"
    running.process.send_signal(number)
    said = running.end()
    assert said.code == 4, said.err
    assert said.json["verdict"] == "inconclusive"
    assert any("interrupted" in reason for reason in said.json["reasons"])
    history = running.run_folder() / "history.parquet"
    told = duckdb.sql(f"SELECT count(*) FROM '{history}' WHERE outcome = 'ok'").fetchall()[0][0]
    assert told == said.json["outcomes"]["ok"] > 0
    assert all_gone(below) == []
    assert not any(folder.exists() for folder in folders)


def test_ctrl_c_in_the_canary_proves_nothing(starting: Start) -> None:
    """Interrupted before the strategy was tried: exit 4, and the summary says so."""
    running = starting("run", "bid-burst", "-s", "redis-lua", "-u", "1000", "--json", *LONG)
    wait_for(lambda: next(iter(running.run_folder().glob("canary/raw/gate.json")), None), 60)
    running.process.send_signal(signal.SIGINT)
    said = running.end()
    assert said.code == 4, said.err
    assert "redis-lua was not tried" in said.json["reasons"][0]


def test_ctrl_c_in_a_comparison_keeps_what_is_done(starting: Start) -> None:
    """Interrupted in the second run: exit 4, the first run is in the document and on disk."""
    running = starting("compare", "bid-burst", "-s", "none,redis-lua", "-u", "200", "--json", *LONG, *PROMPT)
    wait_for(lambda: next(iter(running.run_folder().glob("redis-lua/raw/gate.json")), None), 60)
    running.process.send_signal(signal.SIGINT)
    said = running.end()
    assert said.code == 4, said.err
    assert said.json["interrupted"] is True
    assert said.json["runs"][0]["strategy"] == "none"
    assert (running.run_folder() / "none/history.parquet").exists()


def test_sigkill_leaves_no_process_behind(starting: Start) -> None:
    """SIGKILL of the command: the guard notices, and takes servers, load generators and folders away."""
    running = starting(*BURST, *LONG)
    raw = running.bidding()
    below = running.descendants()
    folders = private_folders(below)
    ports = {c.laddr.port for p in below for c in p.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    assert ports, "servers listen"
    running.process.kill()
    running.process.communicate(timeout=20)
    assert all_gone(below) == []
    wait_for(lambda: None if any(folder.exists() for folder in folders) else True, 10)
    assert list(raw.glob("worker-*.taps")), "what was recorded stays"


def test_a_killed_worker_makes_the_run_inconclusive(starting: Start) -> None:
    """One of the two workers is killed in mid-run: exit 4, its taps still count, the other one finishes."""
    running = starting(*BURST, "-u", "800", *LONG, *PROMPT)
    raw = running.bidding()
    victim = json.loads((raw / "gate.json").read_text())["pids"]["1"]
    os.kill(victim, signal.SIGKILL)
    said = running.end()
    assert said.code == 4, said.err
    assert said.json["verdict"] == "inconclusive"
    assert any("worker 1 was lost" in reason for reason in said.json["reasons"])
    history = running.run_folder() / "history.parquet"
    workers = dict(duckdb.sql(f"SELECT worker, count(*) FROM '{history}' GROUP BY worker").fetchall())
    assert workers[0] >= 400
    assert workers[1] > 0


@pytest.mark.parametrize(("program", "label"), [("redis-server", "Redis"), ("postgres", "PostgreSQL")])
def test_a_killed_store_makes_the_run_inconclusive(starting: Start, program: str, label: str) -> None:
    """A server dies in mid-run: exit 4, the store is named, the history is there."""
    running = starting(*BURST, *LONG, "--set", "hang_s=3")
    running.bidding()
    server = next(p for p in running.descendants() if p.name() == program)
    server.kill()
    said = running.end(timeout=100)
    assert said.code == 4, said.err
    assert any(f"{label} was lost" in reason for reason in said.json["reasons"])
    assert (running.run_folder() / "history.parquet").exists()


def test_a_worker_that_dies_with_the_canary_still_shows_the_oversale(starting: Start) -> None:
    """A fact beats a doubt: an oversold ledger stays a broken promise in an incomplete run."""
    running = starting(
        "run", "bid-burst", "-s", "none", "-u", "1200", "--json", "--set", "demand=8", *LONG, *PROMPT
    )
    raw = running.bidding()
    wait_for(lambda: True if _sold(raw) > 400 else None, 60)
    os.kill(json.loads((raw / "gate.json").read_text())["pids"]["1"], signal.SIGKILL)
    said = running.end()
    assert said.json["rates"]["oversubscription"] > 0
    assert said.code == 1


def _sold(raw: Path) -> int:
    from oversold import history

    return sum(history.progress(history.path_of(raw, worker)).bids_finished for worker in (0, 1))
