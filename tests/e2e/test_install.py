"""What is installed is complete: the wheel carries scenarios and presets, and works from any folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from .conftest import REPOSITORY

pytestmark = pytest.mark.slow


def test_the_wheel_works_from_an_empty_folder(tmp_path: Path) -> None:
    """Built, unpacked elsewhere and run there, it lists its scenario and its presets."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    wheel = next((tmp_path / "dist").glob("oversold-*.whl"))
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    said = subprocess.run(
        [
            sys.executable,
            "-c",
            "import oversold.cli; print(oversold.__file__); oversold.cli.main()",
            "list",
            "--json",
        ],
        cwd=empty,
        env={**os.environ, "PYTHONPATH": str(site)},
        check=True,
        capture_output=True,
        text=True,
    )
    place, _, document = said.stdout.partition("\n")
    assert place.startswith(str(site))
    listed = json.loads(document)
    assert [row["name"] for row in listed["scenarios"]] == ["bid-burst", "payout-overlap"]
    assert {row["name"] for row in listed["presets"]} == {"seed", "latched-full", "hot-row"}
    assert {row["name"] for row in listed["profiles"]} == {"honest", "seed", "hostile"}
    assert (site / "oversold/py.typed").exists()
