"""One Locust master and workers that somebody else started: separate processes and folders, one verdict."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from oversold.stores.endpoint import free_port

from .conftest import REPOSITORY, environment

pytestmark = [pytest.mark.servers, pytest.mark.slow]
LOCUST = [sys.executable, "-m", "locust", "-f", str(REPOSITORY / "scenarios/bid_burst.py")]
EXAMPLE = REPOSITORY / "docs/examples/distributed/compose.yaml"
USERS = 200


def test_one_verdict(tmp_path: Path) -> None:
    """The master audits what two workers in folders of their own did."""
    port = str(free_port())
    processes: list[subprocess.Popen[str]] = []

    def start(name: str, *words: str) -> subprocess.Popen[str]:
        (tmp_path / name).mkdir()
        process = subprocess.Popen(
            [*LOCUST, *words],
            cwd=tmp_path / name,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    try:
        words = [
            "--headless",
            "--expect-workers",
            "2",
            "-u",
            f"{USERS}",
            "-r",
            f"{USERS}",
            "--strategy",
            "none",
            "--set",
            "late=0",
        ]
        master = start("master", "--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port, *words)
        for name in ("one", "two"):
            start(name, "--worker", "--master-port", port)
        _, said = master.communicate(timeout=90)
        assert master.returncode == 1, said[-3000:]
        summary = json.loads((tmp_path / "master/reports/bid-burst/latest/summary.json").read_text())
        assert summary["verdict"] == "fail"
        assert summary["load"]["processes"] == 2
        assert summary["load"]["bids"] == USERS
        assert summary["rates"]["oversubscription"] > 0
        assert not list((tmp_path / "one").iterdir())  # all that is known came to the master's folder
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_example_shares_what_a_worker_needs() -> None:
    """The example's workers share network, process ids and reports with the master, who expects as many."""
    text = EXAMPLE.read_text(encoding="utf-8")
    worker = text[text.index("\n  worker:") : text.index("\nvolumes:")]
    assert "network_mode: service:master" in worker
    assert "pid: service:master" in worker
    assert re.search(r"<<: \*oversold\n", worker)
    assert "reports:/work/reports" in text[: text.index("\nservices:")]
    assert re.findall(r"\$\{WORKERS:-(\d+)\}", text) == ["2", "2"]
