"""A project of somebody else's with oversold installed: its entry points, its tests, and pytest-xdist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import REPOSITORY, environment

pytestmark = [pytest.mark.servers, pytest.mark.slow]
EXAMPLE = REPOSITORY / "docs" / "examples" / "pytest-project"
BROKEN = """
[oversold.strategies]
shop-gone = shop_gone:Stock
"""
Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with oversold and the example project installed: both built as wheels, and unpacked there."""
    place = tmp_path_factory.mktemp("site")
    project = tmp_path_factory.mktemp("built") / "project"
    shutil.copytree(EXAMPLE, project)
    for folder in (REPOSITORY, project):
        dist = place / "dist"
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(dist)]
        subprocess.run(build, cwd=folder, check=True, capture_output=True)
        for wheel in dist.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(place)
        shutil.rmtree(dist)
    return place


@pytest.fixture
def call(site: Path, tmp_path: Path) -> Call:
    """Run a module as the project's own Python would: call("pytest", ...), in a copy of the example project."""
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True)

    def run(module: str, *words: str, also: str = "") -> subprocess.CompletedProcess[str]:
        env = {**environment(), "PYTHONPATH": f"{site}{also}"}
        command = [sys.executable, "-m", module, *words]
        return subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=200, check=False
        )

    return run


@pytest.mark.alone
def test_the_example_project(call: Call) -> None:
    """Its tests catch the broken stock in a race, a burst and an order of commands, and pass the mended one."""
    some = "burst or race_sells or fits or stock or every_order"
    done = call("pytest", "-p", "no:cacheprovider", "-rA", "--oversold-users", "300", "-k", some)
    failed = set(re.findall(r"^FAILED (\S+)", done.stdout, re.MULTILINE))
    assert failed == {
        "tests/test_broken.py::TestBroken::test_a_race_sells_no_more_than_there_is",
        "tests/test_broken.py::test_a_burst",
        "tests/test_broken.py::test_every_order",
    }, done.stdout
    assert "PASSED tests/test_mended.py::test_a_burst" in done.stdout
    assert "PASSED tests/test_mended.py::TestMended::test_a_race_sells_no_more_than_there_is" in done.stdout
    assert re.search(r"E +assert oversubscription 0\.\d+ == 0", done.stdout)
    assert re.search(r"E +oversubscription: FAIL: Orders of .* exceed the capacity", done.stdout)
    assert "E         repeat: oversold run bid-burst --strategy shop-broken --users 300 " in done.stdout
    assert "PASSED tests/test_mended.py::test_every_order" in done.stdout
    assert re.search(r"E +(AssertionError: )?assert <shop-broken: VIOLATION: ", done.stdout)
    assert "repeat: oversold explore shop-broken --bidders 2 --capacity-bids 1 " in done.stdout


def test_a_counterexample_becomes_a_regression_test(call: Call, tmp_path: Path) -> None:
    """The replay file of a failing exploration breaks the stock as it was once more, and not the mended one."""
    plain = ("-p", "no:cacheprovider", "-rA")
    found = call("pytest", *plain, "--oversold-out", "kept", "tests/test_broken.py::test_every_order")
    assert "1 failed" in found.stdout, found.stdout
    (file,) = (tmp_path / "kept").rglob("explore/*-1/replay.jsonl")  # below a worker's name under xdist
    file.rename(tmp_path / "tests" / "oversell.jsonl")
    (tmp_path / "tests" / "test_replayed.py").write_text(
        "from shop import Mended\n\n"
        "def test_as_it_was(replay):\n    assert replay('tests/oversell.jsonl')\n\n"
        "def test_mended(replay):\n    assert replay('tests/oversell.jsonl', strategy=Mended)\n"
    )
    done = call("pytest", *plain, "tests/test_replayed.py")
    assert "1 failed, 1 passed" in done.stdout, done.stdout
    assert re.search(r"E +(AssertionError: )?assert <replay of oversell.jsonl: broken: ", done.stdout)
    assert "PASSED tests/test_replayed.py::test_mended" in done.stdout
    assert "repeat: oversold replay tests/oversell.jsonl" in done.stdout


def test_installed_strategies_have_names(call: Call, tmp_path: Path) -> None:
    """`oversold list` shows them; one that cannot be loaded is one line when it is asked for."""
    listed = json.loads(call("oversold", "list", "--json").stdout)
    cards = {row["name"]: row for row in listed["strategies"]}
    assert cards["shop-mended"]["stores"] == ["sql"]
    assert cards["shop-broken"]["algorithm"].startswith("SELECT what is left")
    gone = tmp_path / "gone" / "shop_gone-1.dist-info"
    gone.mkdir(parents=True)
    (gone / "METADATA").write_text("Metadata-Version: 2.1\nName: shop-gone\nVersion: 1\n")
    (gone / "entry_points.txt").write_text(BROKEN)
    for words in (["list"], ["run", "bid-burst", "-s", "shop-gone"]):
        said = call("oversold", *words, also=f":{gone.parent}")
        assert said.returncode == 2
        assert said.stderr.splitlines() == [
            "oversold: strategy 'shop-gone' cannot be loaded: ModuleNotFoundError: No module named 'shop_gone'"
        ]


def test_workers_of_xdist_have_servers_of_their_own(call: Call, tmp_path: Path) -> None:
    """With two of them, each starts its own, and both go with them."""
    (tmp_path / "tests" / "test_servers.py").write_text(
        "import pytest\nfrom pathlib import Path\n\n"
        '@pytest.mark.parametrize("n", [1, 2])\n'
        "def test_server(oversold_stores, n):\n"
        '    Path(f"server-{n}").write_text(str(oversold_stores["redis"].pid))\n'
    )
    done = call("pytest", "-p", "no:cacheprovider", "-n", "2", "tests/test_servers.py")
    assert "2 passed" in done.stdout, done.stdout + done.stderr
    pids = {(tmp_path / f"server-{n}").read_text() for n in (1, 2)}
    assert len(pids) == 2
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
