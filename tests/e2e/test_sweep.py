"""`oversold compare` over a grid: swept, interrupted, resumed, reported, as a user calls it."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import wait_for

pytestmark = [pytest.mark.servers, pytest.mark.slow]
Call = Callable[..., Any]
SMALL = ["--users", "150,300", "--processes", "2", "--lanes", "8", "--set", "late_s=0.3", "--set", "p=0.1"]


def cells(document: dict[str, Any]) -> list[tuple[str, int, list[int]]]:
    """Return what was swept: strategy, users, seeds."""
    return [(row["strategy"], row["users"], row["seeds"]) for row in document["cells"]]


def test_a_sweep_interrupted_and_resumed_is_whole(starting: Call, oversold: Call, tmp_path: Path) -> None:
    """Ctrl-C in mid-sweep keeps what is done; --resume runs the rest and nothing twice; one page tells it all."""
    words = ["compare", "bid-burst", "-s", "redis-lua", *SMALL]
    under_way = starting(*words)
    folder = under_way.run_folder()
    # In the middle of the second canary: the first run is on disk.
    wait_for(lambda: (folder / "canary-300-1").exists() or None, 90)
    under_way.process.send_signal(signal.SIGINT)
    cut = under_way.end()
    assert cut.code == 4, cut.err
    assert "1 design x 2 loads: 2 runs and 2 canaries" in cut.err
    assert "--resume" in cut.out
    before = json.loads((folder / "compare.json").read_text())
    assert before["interrupted"] is True
    assert len(before["runs"]) == 1
    kept = (folder / "redis-lua-150-1" / "summary.json").read_text()
    shutil.copytree(folder, tmp_path / "cut")
    said = oversold("compare", "--resume", str(folder), "--json", timeout=300)
    assert said.code in {0, 4}, said.err  # four lanes' worth of bidders may fail to break the canary
    document = said.json
    assert (folder / "redis-lua-150-1" / "summary.json").read_text() == kept, "what was finished is not run again"
    assert "interrupted" not in document
    assert cells(document) == [("redis-lua", users, [1]) for users in (150, 300)]
    assert len(document["canary"]["runs"]) == 2
    assert all(row["oversubscription"]["worst"] == 0 for row in document["cells"])
    page_of_several(oversold, folder, tmp_path)


def page_of_several(oversold: Call, folder: Path, tmp_path: Path) -> None:
    """The same sweep before and after, side by side; a damaged folder is named and left out."""
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "compare.json").write_text("{")
    later = tmp_path / "later"
    later.mkdir()
    (later / "summary.json").write_text('{"schema": "oversold/run/9"}')
    said = oversold("report", str(folder), str(tmp_path / "cut"), str(damaged), str(later), "--json", timeout=200)
    assert "left out" in said.err
    assert "damaged" in said.err
    assert "oversold/run/9" in said.err
    assert said.code == 2, "a folder that was named could not be read"
    assert len(said.json["reports"]) == 2
    together = (tmp_path / "reports/side-by-side/latest").resolve()
    assert {"report.html", "report.md", "compare.json"} <= {path.name for path in together.iterdir()}
    page = (together / "report.html").read_text(encoding="utf-8")
    assert {"cut", folder.name} <= {word for word in ("cut", folder.name) if word in page}
    again = oversold("report", str(together), timeout=120)
    assert again.code == 4, "one of the two was cut off"
    assert "report.html" in again.out
    alone = oversold("report", str(damaged))
    assert (alone.code, len(alone.err.splitlines())) == (2, 1)


def test_a_sql_design_runs_on_both_servers(oversold: Call, tmp_path: Path) -> None:
    """--sql postgres,mariadb puts the servers side by side; the page has a row for each, with its own command."""
    said = oversold(
        "compare", "bid-burst", "-s", "conditional-update", "--sql", "postgres,mariadb", "--users", "400",
        "--set", "late=0", "--charts", "--json",
    )  # fmt: skip
    assert said.code == 0, said.err
    assert [(run["sql"], run["verdict"]) for run in said.json["runs"]] == [
        ("postgres", "pass"),
        ("mariadb", "pass"),
    ]
    assert set(said.json["runs"][1]["stores"]) == {"sql", "mariadb"}
    assert "--sql mariadb" in said.json["runs"][1]["command"]
    folder = tmp_path / "reports/bid-burst/latest"
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "conditional-update on MariaDB" in page
    assert "conditional-update on MariaDB" in (folder / "report.md").read_text(encoding="utf-8")
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert (folder / "frontier.png").exists()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["-s", "redis-lua", "--set", "p=0.1", "--set", "p=0.2"], "given twice"),
        (["-s", "redis-lua", "--repeat", "0"], "--repeat 0: must be from 1"),
        (["-s", "redis-lua", "--users", "100,many"], "--users many"),
        (["-s", "row-lock", "--sql", "oracle"], "--sql oracle"),
        (["-s", "redis-lua", "--set", "p=0.1,1.5"], "p='1.5'"),
        (["--resume", "nowhere"], "holds no sweep"),
        (["--resume", "nowhere", "--users", "5"], "--users contradicts --resume"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_grid_that_makes_no_sense_is_one_line(words: list[str], complaint: str, within: Call) -> None:
    """Exit 2, before anything is started."""
    said = within("compare", "bid-burst", *words)
    assert said.code == 2
    assert len(said.err.splitlines()) == 1
    assert complaint in said.err
