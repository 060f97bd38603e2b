"""Run the installed command as a user would: in a subprocess, from an empty folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

COMMAND = [sys.executable, "-m", "oversold"]
REPOSITORY = Path(__file__).parents[2]
NEEDED = ("redis-server", "memcached")


@dataclass
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout as JSON; fails when anything else is on it."""
        return json.loads(self.out)


def environment() -> dict[str, str]:
    """Return an environment in which the package is importable and nothing of ours is configured."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OVERSOLD_")}
    # Drawing takes as long as many a run here, and so does the search for causes: tests that are about them ask.
    quick = {"OVERSOLD_CHARTS": "false", "OVERSOLD_EXPLAIN": "0"}
    return {**clean, "PYTHONPATH": str(REPOSITORY / "harness"), **quick}


@pytest.fixture(autouse=True, scope="session")
def servers() -> None:
    """Skip without servers locally; fail in CI."""
    for program in NEEDED:
        if shutil.which(program) is None:
            message = f"{program} is not installed"
            if os.environ.get("CI"):
                pytest.fail(message)
            pytest.skip(message)


@pytest.fixture
def oversold(tmp_path: Path) -> Callable[..., Said]:
    """Return a function that runs `oversold` with the given words in an empty folder."""

    def call(*words: str, timeout: float = 120, env: dict[str, str] | None = None) -> Said:
        done = subprocess.run(
            [*COMMAND, *words],
            cwd=tmp_path,
            env={**environment(), **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def within(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Said]]:
    """Return what does as `oversold` does, in this process: for commands that end before anything is started,
    since a Python of its own takes most of their time."""
    from oversold.cli import main

    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}

    def call(*words: str, env: dict[str, str] | None = None) -> Said:
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            for name in [name for name in os.environ if name.startswith("OVERSOLD_")]:
                patch.delenv(name)
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["oversold", *words])
            with pytest.raises(SystemExit) as left:
                main()
        told = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return Said(left.value.code, told.out, told.err)

    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)


@dataclass
class Running:
    """A command under way."""

    process: subprocess.Popen[str]
    folder: Path
    scenario: str = "bid-burst"

    def run_folder(self) -> Path:
        """Return the folder of the run, once there is one."""
        return wait_for(lambda: next(iter(sorted(self.folder.glob(f"reports/{self.scenario}/2*"))), None), 30)

    def bidding(self) -> Path:
        """Wait until bids are being served; return the raw folder."""
        from oversold import history

        raw = self.run_folder() / "raw"
        wait_for(lambda: history.progress(history.path_of(raw, 0)).bids_finished > 20 or None, 60)
        return raw

    def descendants(self) -> list[psutil.Process]:
        """Return all processes below the command, the guard's children included."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, timeout: float = 60) -> Said:
        """Wait for the end."""
        out, err = self.process.communicate(timeout=timeout)
        return Said(self.process.returncode, out, err)


@pytest.fixture
def starting(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Return a function that starts `oversold` and does not wait."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> Running:
        process = subprocess.Popen(
            [*COMMAND, *words],
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return Running(process, tmp_path)

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.communicate(timeout=30)


def wait_for(probe: Callable[[], Any], seconds: float) -> Any:
    """Poll until `probe` returns something; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            found = probe()
        except OSError:
            found = None
        if found is not None:
            return found
        time.sleep(0.02)
    pytest.fail("waited in vain")


def all_gone(processes: list[psutil.Process], seconds: float = 10) -> list[psutil.Process]:
    """Return those of `processes` that still run after `seconds` at the most."""
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
