"""The scenario is an ordinary locustfile: `locust -f` works, headless and with the web UI."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest

from oversold.stores.endpoint import free_port

from .conftest import REPOSITORY, all_gone, environment, wait_for

pytestmark = [pytest.mark.servers, pytest.mark.slow]
LOCUST = [sys.executable, "-m", "locust", "-f", str(REPOSITORY / "scenarios/bid_burst.py")]


@pytest.mark.parametrize("processes", [1, 2])
def test_headless(tmp_path: Path, processes: int) -> None:
    """It runs to its end by itself, shows the bids by outcome, audits, and exits with the verdict's code."""
    port = str(free_port())
    words = ["--headless", "-u", "300", "-r", "300", "--strategy", "none"]
    words += ["--set", "late=0", "--csv", "stats"]
    words += ["--processes", "2", "--master-bind-port", port, "--master-port", port] if processes == 2 else []
    done = subprocess.run(
        [*LOCUST, *words], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 1, done.stderr[-3000:]
    with (tmp_path / "stats_stats.csv").open() as file:
        rows = {row["Name"]: int(row["Request Count"]) for row in csv.DictReader(file)}
    summary = json.loads((tmp_path / "reports/bid-burst/latest/summary.json").read_text())
    assert rows["ok"] == summary["outcomes"]["ok"] > 0
    assert rows["Aggregated"] == 300
    assert summary["rates"]["oversubscription"] > 0
    assert "oversubscription" in done.stderr


def test_a_run_that_is_stopped_early_proves_nothing(tmp_path: Path) -> None:
    """Locust's own --run-time ends the burst in the middle: exit 4, and nobody is blamed."""
    words = ["--headless", "-u", "1000", "-r", "1000", "--strategy", "redis-lua", "--run-time", "14s"]
    words += ["--set", "steps_ms=2000"]
    done = subprocess.run(
        [*LOCUST, *words], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=90, check=False
    )
    summary = json.loads((tmp_path / "reports/bid-burst/latest/summary.json").read_text())
    assert done.returncode == 4, done.stderr[-3000:]
    assert summary["verdict"] == "inconclusive"
    assert any("stopped before all users had left" in reason for reason in summary["reasons"])


def test_a_run_that_never_began_proves_nothing(tmp_path: Path) -> None:
    """Ended before the stores were up: no summary, and exit 4, not 0."""
    words = ["--headless", "-u", "1000", "-r", "1000", "--run-time", "1s", "--set", "steps_ms=2000"]
    done = subprocess.run(
        [*LOCUST, *words], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 4, done.stderr[-3000:]


def test_web_ui(tmp_path: Path) -> None:
    """Started from the web page: the statistics show outcomes, the page listens on loopback only."""
    port = free_port()
    master = str(free_port())
    process = subprocess.Popen(
        [
            *LOCUST,
            "--web-port",
            str(port),
            "--processes",
            "2",
            "--master-bind-port",
            master,
            "--master-port",
            master,
        ],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        page = f"http://127.0.0.1:{port}"
        wait_for(lambda: _get(f"{page}/stats/requests"), 30)
        wait_for(lambda: True if len(_get(f"{page}/stats/requests")["workers"]) == 2 else None, 30)
        hosts = {c.laddr.ip for c in psutil.Process(process.pid).net_connections("tcp") if c.laddr.port == port}
        assert hosts == {"127.0.0.1"}
        form = b"user_count=300&spawn_rate=300&strategy=redis-lua&seed=3"
        urllib.request.urlopen(f"{page}/swarm", form, timeout=30).read()
        wait_for(lambda: next(iter(tmp_path.glob("reports/bid-burst/*/summary.json")), None), 60)
        names = {row["name"]: row["num_requests"] for row in _get(f"{page}/stats/requests")["stats"]}
        summary = json.loads((tmp_path / "reports/bid-burst/latest/summary.json").read_text())
        assert names["ok"] == summary["outcomes"]["ok"] > 0
        assert summary["seed"] == 3
    finally:
        below = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        process.wait(timeout=30)
    assert all_gone(below) == []


def _get(url: str) -> dict[str, object]:
    with urllib.request.urlopen(url, timeout=5) as answer:
        loaded: dict[str, object] = json.load(answer)
        return loaded
