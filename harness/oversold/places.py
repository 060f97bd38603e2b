"""Where scenarios, presets and channels' profiles are found, and where runs are written."""

from __future__ import annotations

import ast
import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, cast

from oversold.errors import UsageError, near
from oversold.plan import KINDS, Kind
from oversold.platform.channels import profile as channel_profile
from oversold.platform.channels.profile import Profile

PACKAGE = Path(__file__).parent


def _folders(kind: str) -> Iterator[Path]:
    """Yield the user's own folder, then the one in the installed package or in the checkout."""
    yield Path.cwd() / kind
    installed = PACKAGE / kind
    yield installed if installed.is_dir() else PACKAGE.parents[1] / kind


def scenarios() -> dict[str, Path]:
    """Return the locustfile of each scenario, by name (`bid_burst.py` is `bid-burst`)."""
    found: dict[str, Path] = {}
    for folder in _folders("scenarios"):
        for path in sorted(folder.glob("*.py")) if folder.is_dir() else []:
            if not path.stem.startswith("_"):
                found.setdefault(path.stem.replace("_", "-"), path)
    return found


def scenario(name: str) -> Path:
    """Return the locustfile of one scenario; UsageError with the near ones when there is none."""
    found = scenarios()
    if name not in found:
        raise UsageError(f"unknown scenario {name!r}{near(name, list(found))}: there are {', '.join(found)}")
    return found[name]


def kind(name: str) -> Kind:
    """Return what a scenario is about, as its file says: `attach("name", drives="payouts")`; bids by default.

    The file is only parsed: importing it would import Locust, which patches this process.

    Raises:
        UsageError: unknown scenario, or a file that cannot be read.
    """
    path = scenario(name)
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError) as error:
        raise UsageError(f"scenario {path} cannot be read: {error}") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "attach":
            for keyword in node.keywords:
                if keyword.arg == "drives":
                    word = getattr(keyword.value, "value", None)
                    if word not in KINDS:
                        raise UsageError(f"scenario {path}: write drives= as one of {', '.join(map(repr, KINDS))}")
                    return cast(Kind, word)
    return "bids"


def _fixtures(kind: str, *, shipped: bool = False) -> dict[str, Path]:
    """Return the TOML files of one kind of fixture, by name; `shipped`: our own, and no user's."""
    found: dict[str, Path] = {}
    for folder in list(_folders("fixtures"))[1 if shipped else 0 :]:
        for path in sorted((folder / kind).glob("*.toml")) if (folder / kind).is_dir() else []:
            found.setdefault(path.stem, path)
    return found


def profiles(*, shipped: bool = False) -> dict[str, Path]:
    """Return the files of the payment channels' profiles, by name; `shipped`: our own, and no user's."""
    return _fixtures("channels", shipped=shipped)


def profile(name: str, *, shipped: bool = False) -> Profile:
    """Return a profile of payment channels, by name or by the path of a TOML file; `shipped`: one of our own only.

    A file is read once: what is edited in mid-run counts in the next one.

    Raises:
        UsageError: there is none of that name, or it cannot be used as it is.
    """
    if name.endswith(".toml"):
        return _profile_at(Path(name).resolve())
    found = profiles(shipped=shipped)
    if name not in found:
        raise UsageError(
            f"unknown profile {name!r}{near(name, list(found))}: there are {', '.join(found)}; or give a path to "
            "a .toml file"
        )
    return _profile_at(found[name].resolve())


@cache
def _profile_at(path: Path) -> Profile:
    return channel_profile.parse(path.stem, _toml(path))


def presets() -> dict[str, dict[str, Any]]:
    """Return the presets by name: tables of run options and, under `set`, of pipeline settings."""
    return {name: _toml(path) for name, path in _fixtures("presets").items()}


def preset(name: str | None) -> dict[str, Any]:
    """Return one preset's table, an empty one for None."""
    if name is None:
        return {}
    found = presets()
    if name not in found:
        raise UsageError(f"unknown preset {name!r}{near(name, list(found))}: there are {', '.join(found)}")
    return found[name]


def configuration() -> dict[str, Any]:
    """Return `[tool.oversold]` of ./pyproject.toml, overlaid with ./oversold.toml."""
    merged: dict[str, Any] = {}
    project = Path("pyproject.toml")
    if project.is_file():
        table = _toml(project).get("tool", {}).get("oversold", {})
        if not isinstance(table, dict):
            raise UsageError("[tool.oversold] in pyproject.toml must be a table")
        merged |= table
    own = Path("oversold.toml")
    if own.is_file():
        merged |= _toml(own)
    return merged


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a document at once: whoever reads it, and whatever ends us, finds the old one or the new one."""
    beside = path.with_name(f".{path.name}-{os.getpid()}")
    beside.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    beside.replace(path)


def new_run_folder(out: Path, scenario_name: str, seed: int) -> Path:
    """Make `<out>/<scenario>/<time>-<seed>` and point `latest` at it.

    Raises:
        UsageError: the folder cannot be made or written.
    """
    base = out / scenario_name
    stem = f"{datetime.now():%Y%m%d-%H%M%S}-{seed}"
    try:
        base.mkdir(parents=True, exist_ok=True)
        folder = next(p for n in range(1, 1000) if not (p := base / (stem if n == 1 else f"{stem}.{n}")).exists())
        folder.mkdir()
        latest = base / "latest"
        if latest.is_symlink() or not latest.exists():  # somebody's own folder of that name stays
            swap = base / f".latest-{os.getpid()}-{folder.name}"
            swap.symlink_to(folder.name)
            swap.replace(latest)
    except OSError as error:
        raise UsageError(f"the run cannot be written to {out}: {error.strerror}: choose another --out") from error
    return folder
