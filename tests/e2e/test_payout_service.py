"""Somebody's payout service over HTTP, as a user tests it: one TOML file, and the service knows nothing of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .conftest import REPOSITORY, wait_for

pytest.importorskip("flask")
pytestmark = [pytest.mark.servers, pytest.mark.slow]
Call = Callable[..., Any]
EXAMPLE = REPOSITORY / "docs/examples/payouts"
# The incident at a fifth of its size and time; still 32 calls in flight while the jobs overlap.
SMALL = ["--users", "60", "--set", "obligations=700", "--seed", "1", "--json"]


@contextmanager
def serving(folder: Path, name: str, *words: str) -> Iterator[Path]:
    """Run the example on a free port; yield its TOML file with that port in it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    described = folder / f"{name}.toml"
    described.write_text((EXAMPLE / "pay.toml").read_text(encoding="utf-8").replace("8700", str(port)))
    argv = [sys.executable, str(EXAMPLE / "service.py"), "--port", str(port), *words]
    clean = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "COVERAGE_PROCESS_START")
    }
    process = subprocess.Popen(argv, cwd=folder, env=clean, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: socket.create_connection(("127.0.0.1", port), 1).close() or True, 20)
        yield described
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)


def test_a_service_that_pays_twice_and_its_mended_twin_are_told_apart(oversold: Call, tmp_path: Path) -> None:
    """With nothing but a TOML file: exit 1 with the duplicates, exit 0 for the twin over the same lying channels.
    Calls that do not name their caller are the jobs' all the same."""
    with serving(tmp_path, "broken") as described:
        said = oversold("run", "payout-overlap", "-s", described.name, "--no-canary", *SMALL)
    assert said.code == 1, said.err
    assert said.json["verdict"] == "fail"
    assert said.json["obligations"]["duplicates"] > 0
    by_run = said.json["duplicates_by_run"]
    assert sum(by_run.values()) == said.json["obligations"]["duplicates"]
    assert "other" not in by_run

    with serving(tmp_path, "mended", "--mended") as described:
        said = oversold("run", "payout-overlap", "-s", described.name, *SMALL)
    assert said.code == 0, (said.err, said.json["reasons"])
    assert said.json["verdict"] == "pass"
    assert said.json["rates"] == {"duplicate": 0.0, "overpaid": 0.0, "missed": 0.0}
    assert said.json["lies"]["failed_but_paid"] > 0, "the channels lied to it as well"
    assert said.json["outcomes"]["PAID"] == 700
