"""Somebody's shop over HTTP, as a user tests it: one TOML file, and the shop knows nothing of it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from oversold.comparison import run_exit

from .conftest import REPOSITORY, wait_for

pytest.importorskip("flask")
pytestmark = pytest.mark.servers
Call = Callable[..., Any]
EXAMPLE = REPOSITORY / "docs/examples/shop"
# Nobody who comes late adds anything to this race.
SMALL = ["--users", "300", "--set", "late=0", "--json"]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def described(folder: Path, name: str, port: int, *, host: str = "127.0.0.1", truth: bool = True) -> Path:
    """Write the example's TOML file for a shop on another port, with a database of its own."""
    text = (EXAMPLE / "shop.toml").read_text(encoding="utf-8")
    text = text.replace("127.0.0.1:5001", f"{host}:{port}").replace("${SHOP_DATABASE}", f"{name}.sqlite")
    if not truth:
        text, cut, _ = text.partition("[ledger]")
        assert cut
    path = folder / f"{name}{'' if truth else '-claims'}.toml"
    path.write_text(text, encoding="utf-8")
    return path


@contextmanager
def shop(folder: Path, name: str, *words: str) -> Iterator[int]:
    """Run the example on a free port; yield the port."""
    # Its own file alone, in an environment that knows nothing of ours.
    shutil.copy(EXAMPLE / "shop.py", folder / f"{name}.py")
    port = free_port()
    argv = [sys.executable, f"{name}.py", "--port", str(port), "--database", f"{name}.sqlite", *words]
    unknown = ("PYTHONPATH", "COVERAGE_PROCESS_START")
    clean = {key: value for key, value in os.environ.items() if key not in unknown and "OVERSOLD" not in key}
    process = subprocess.Popen(argv, cwd=folder, env=clean, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: socket.create_connection(("127.0.0.1", port), 1).close() or True, 20)
        yield port
    finally:
        process.kill()
        process.wait(30)


def finding(run: Any, check: str) -> Any:
    """Return the finding of a check."""
    (found,) = (one for one in run["findings"] if one["check"] == check)
    return found


@pytest.mark.slow
def test_a_shop_that_oversells_and_its_mended_twin_are_told_apart(oversold: Call, tmp_path: Path) -> None:
    """With nothing but a TOML file each: by the shops' own orders the one breaks its promise (exit 1), the other
    one keeps it (0), and without a ledger the mended shop is inconclusive (4), for that reason alone."""
    with shop(tmp_path, "broken") as broken, shop(tmp_path, "mended", "--mended") as mended:
        files = [
            described(tmp_path, "broken", broken).name,
            described(tmp_path, "mended", mended).name,
            described(tmp_path, "mended", mended, truth=False).name,
        ]
        said = oversold("compare", "bid-burst", "-s", ",".join(files), *SMALL)
    assert said.code == 1, said.err
    assert said.json["canary"]["oversold"] is True
    runs = {run["strategy"]: run for run in said.json["runs"]}
    bad, good, claims = (runs[name] for name in files)

    assert (bad["verdict"], run_exit(bad)) == ("fail", 1)
    assert bad["rates"]["oversubscription"] > 0
    assert finding(bad, "oversubscription")["verdict"] == "fail"
    assert (good["verdict"], run_exit(good)) == ("pass", 0), good["reasons"]
    assert good["rates"]["oversubscription"] == 0
    assert finding(good, "truth")["values"]["orders"] == good["outcomes"]["ok"]
    # Each run put up an offer of its own, whose number the shop chose.
    assert [run["http"]["tranche_id"] for run in (bad, good, claims)] == ["1", "1", "2"]
    assert [run["http"]["ledger"] for run in (bad, good, claims)] == ["sql", "sql", None]

    assert (claims["verdict"], run_exit(claims)) == ("inconclusive", 4)
    assert claims["rates"]["oversubscription"] == 0
    assert claims["reasons"] == [finding(claims, "truth")["detail"]]
    assert claims["reasons"][0].startswith("Claims only: shop has no [ledger]")


def test_a_shop_that_is_not_there_is_told_in_one_line(within: Call, tmp_path: Path) -> None:
    """Exit 2 before any store is started or any folder made."""
    name = described(tmp_path, "gone", free_port()).name
    said = within("compare", "bid-burst", "-s", f"none,{name}")
    assert said.code == 2
    assert said.out == ""
    assert re.fullmatch(r"oversold: the service shop at \S+ does not answer \(.*\): start it, .*\n", said.err)
    assert not (tmp_path / "reports").exists()


def test_another_machine_must_be_allowed_by_name(within: Call, tmp_path: Path) -> None:
    """Exit 2 with the words to type, which are twice the same for what looks like production; with them it is
    planned."""
    name = described(tmp_path, "far", 8080, host="shop.example.com").name
    rehearse, allow = ("run", "bid-burst", "--target", name, "--dry-run"), ("--allow-host", "shop.example.com")
    once = within(*rehearse, *allow)
    assert once.code == 2
    assert once.out == ""
    assert once.err.count("\n") == 1
    assert once.err.endswith(f"if it may be sent load, add {' '.join(allow * 2)}\n")
    twice = within(*rehearse, *allow, *allow)
    assert twice.code == 0, twice.err
    assert " ".join(allow * 2) in twice.out, "the command that repeats it"


def test_a_dry_run_sends_nothing(within: Call, tmp_path: Path) -> None:
    """It shows the requests, and the shop's port sees no connection; a real run would knock at it."""
    knocked = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def count() -> None:
            with suppress(OSError):
                listener.accept()[0].close()
                knocked.set()

        threading.Thread(target=count, daemon=True).start()
        port = int(listener.getsockname()[1])
        name = described(tmp_path, "dry", port).name
        said = within("run", "bid-burst", "--target", name, "--users", "300", "--dry-run")
        assert said.code == 0, said.err
        assert "POST /api/offers/RUN/purchases HTTP/1.1" in said.out
        assert "nothing was started and nothing was sent" in said.out
        assert not knocked.is_set()
        assert not (tmp_path / "reports").exists()
        assert not (tmp_path / "dry.sqlite").exists()
        socket.create_connection(("127.0.0.1", port), 5).close()
        assert knocked.wait(5), "a connection would have been seen"
