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

from oversold.comparison import run_exit

from .conftest import REPOSITORY, wait_for

pytest.importorskip("flask")
pytestmark = [pytest.mark.servers, pytest.mark.slow]
Call = Callable[..., Any]
EXAMPLE = REPOSITORY / "docs/examples/payouts"
# The incident at a fifth of its size and time. Seed 10 has channel A lie about five of the 700 (seed 1: none)
# even on a machine too slow for the congestion that adds lies.
SMALL = ["--users", "60", "--set", "obligations=700", "--seed", "10", "--json"]


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
    with serving(tmp_path, "broken") as broken, serving(tmp_path, "mended", "--mended") as mended:
        names = f"{broken.name},{mended.name}"
        said = oversold("compare", "payout-overlap", "-s", names, *SMALL)
    assert said.code == 1, said.err
    bad, good = said.json["runs"]
    assert (bad["verdict"], run_exit(bad)) == ("fail", 1)
    assert bad["obligations"]["duplicates"] > 0
    by_run = bad["duplicates_by_run"]
    assert sum(by_run.values()) == bad["obligations"]["duplicates"]
    assert "other" not in by_run

    assert (good["verdict"], run_exit(good)) == ("pass", 0), good["reasons"]
    assert good["rates"] == {"duplicate": 0.0, "overpaid": 0.0, "missed": 0.0}
    assert good["lies"]["failed_but_paid"] > 0, "the channels lied to it as well"
    assert good["outcomes"]["PAID"] == 700
