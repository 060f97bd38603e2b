"""The order of the house: which room may import which, and what every module owes its readers."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "harness" / "oversold"
MAX_LINES = 400
SCENARIOS = PACKAGE.parents[1] / "scenarios"
MAX_SCENARIO_LINES = 150

# Imports point downwards: to a room of the same or of a lower number.
GROUND = (
    "model",
    "errors",
    "clock",
    "evidence",
    "payout_evidence",
    "history",
    "plan",
    "bid_plan",
    "payout_plan",
    "assignment",
    "schedule",
    "schedule_file",
    "telling",
)
DESK = (
    "shell",
    "showing",
    "sweep",
    "runs",
    "bid_runs",
    "bid_summary",
    "payout_runs",
    "payout_books",
    "payout_summary",
    "service_runs",
    "dry_run",
    "scaffold",
    "trials",
    "result",
    "standalone",
    "session",
    "audit",
    "summary",
    "comparison",
    "options",
    "places",
    "terminal",
    "catalogue",
)
FLOOR = {
    **dict.fromkeys(("__init__", *GROUND), 0),
    "stores": 1,
    "services": 1,
    "strategies": 2,
    "platform": 3,
    "targets": 4,
    "serving": 4,
    **dict.fromkeys(("load", "explore", "drill", "faults"), 5),
    **dict.fromkeys(DESK, 6),
    "ci": 6,
    "explorations": 6,
    **dict.fromkeys(("cli", "commands", "__main__", "pytest_plugin", "conformance"), 7),
}
# Rooms of pure functions: they know nothing of the house but its nouns, and only the upper floors use them.
PURE = {"checkers": {"numpy"}, "report": {"numpy", "matplotlib", "rich", "duckdb", "jinja2"}}
PURE_MAY_USE = {"__init__", "model", "errors", "evidence", "payout_evidence", "schedule", "schedule_file"}
PURE_USED_FROM = {"checkers": 5, "report": 6}
# What runs in a process that gevent has not patched, and `attendant`, which keeps the audit out of one that is.
UNPATCHED = ("load.launch", "load.attendant", "platform.consumer", "cli", "pytest_plugin", "serving.worker")
GREEN = {"locust", "gevent"}
FORBIDDEN_TO_STRATEGIES = {"time", "random", "threading"}
INTERFACE = "strategies.payouts.interface"  # names the type of the generator that a context hands out


@dataclass(frozen=True)
class Module:
    """One file: its dotted name below the package, its room, what it imports."""

    name: str
    room: str
    own: frozenset[str]  # modules of the package, as dotted names below it
    foreign: frozenset[str]  # top-level names of everything else
    relative: bool
    lines: int
    documented: bool


def modules(package: Path) -> list[Module]:
    """Read every module below `package`; imports inside functions count as well."""
    paths = sorted(package.rglob("*.py"))
    names = frozenset(_name(path, package) for path in paths)
    return [_module(path, package, path.read_text(encoding="utf-8"), names) for path in paths]


def _name(path: Path, package: Path) -> str:
    parts = path.relative_to(package).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


@cache
def _module(path: Path, package: Path, text: str, names: frozenset[str]) -> Module:
    tree = ast.parse(text)
    own, foreign, relative = set(), set(), False
    for node in ast.walk(tree):
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            relative = True
        elif isinstance(node, ast.ImportFrom):
            targets = [f"{node.module}.{alias.name}" for alias in node.names]
        for target in targets:
            top, _, rest = target.partition(".")
            if top == package.name:
                own.add(_nearest(rest, names))
            else:
                foreign.add(top)
    name = _name(path, package)
    return Module(
        name=name,
        room=name.partition(".")[0],
        own=frozenset(own),
        foreign=frozenset(foreign),
        relative=relative,
        lines=len(text.splitlines()),
        documented=bool(ast.get_docstring(tree)),
    )


def _nearest(dotted: str, names: frozenset[str]) -> str:
    """Return the module that `from package import dotted` reads: `model.Bid` is in `model`."""
    while dotted and dotted not in names:
        dotted = dotted.rpartition(".")[0]
    return dotted or "__init__"


def direction(package: Path) -> Iterator[str]:
    """Yield every import that points upwards, and every module that has no floor."""
    for module in modules(package):
        if module.relative:
            yield f"{module.name}: a relative import hides its room"
        if "scenarios" in module.foreign:
            yield f"{module.name} imports scenarios"
        if module.room not in FLOOR and module.room not in PURE:
            yield f"{module.name}: belongs to no room; give it a floor in tests/test_tidy.py"
            continue
        for target in sorted(module.own):
            room = target.partition(".")[0]
            if not _allowed(module.room, room):
                yield f"{module.name} imports {target}"


def _allowed(room: str, target: str) -> bool:
    if room == target:
        return True
    if room in PURE:
        return target in PURE_MAY_USE
    return FLOOR[room] >= (PURE_USED_FROM[target] if target in PURE else FLOOR.get(target, 0))


def drawers(package: Path) -> Iterator[str]:
    """Yield imports of matplotlib outside `report`, and of anything but their few libraries in the pure rooms."""
    for module in modules(package):
        if "matplotlib" in module.foreign and module.room != "report":
            yield f"{module.name} imports matplotlib"
        if module.room in PURE:
            for name in sorted(module.foreign - sys.stdlib_module_names - PURE[module.room]):
                yield f"{module.name} imports {name}"


def green(package: Path) -> Iterator[str]:
    """Yield imports of locust and gevent where they do not belong, directly or by way of another module."""
    house = {module.name: module for module in modules(package)}
    for module in house.values():
        for name in sorted(GREEN & module.foreign):
            if module.room != "load":
                yield f"{module.name} imports {name}"
    for start in UNPATCHED:
        for way in _ways_to_green(house, start):
            yield " -> ".join(way)


def _ways_to_green(house: dict[str, Module], start: str) -> Iterator[list[str]]:
    """Yield one way from `start` to every module it reaches that imports locust or gevent."""
    ways = {start: [start]} if start in house else {}
    pending = list(ways)
    while pending:
        name = pending.pop()
        module, way = house[name], ways[name]
        if found := sorted(GREEN & module.foreign):
            yield [*way, found[0]]
        above = {name.rpartition(".")[0]} & house.keys()  # importing a module runs its package as well
        for target in sorted((module.own | above) & house.keys() - ways.keys()):
            ways[target] = [*way, target]
            pending.append(target)


def strategies(package: Path) -> Iterator[str]:
    """Yield what a lock strategy imports past its context."""
    for module in modules(package):
        if module.name.startswith(("strategies.bids", "strategies.payouts")) and module.name != INTERFACE:
            for name in sorted(module.foreign & FORBIDDEN_TO_STRATEGIES):
                yield f"{module.name} imports {name}"


def sizes(package: Path) -> Iterator[str]:
    """Yield modules that are too long to be about one thing."""
    for module in modules(package):
        if module.lines > MAX_LINES:
            yield f"{module.name} has {module.lines} lines"


def docstrings(package: Path) -> Iterator[str]:
    """Yield modules whose first line does not say what they are for."""
    for module in modules(package):
        if not module.documented:
            yield f"{module.name} has no docstring"


def scenarios(folder: Path) -> Iterator[str]:
    """Yield scenarios that are more than an ordinary locustfile: long, silent, or built on something else."""
    for path in sorted(folder.glob("*.py")):
        module = _module(path, folder, path.read_text(encoding="utf-8"), frozenset())
        if module.lines > MAX_SCENARIO_LINES:
            yield f"{module.name} has {module.lines} lines"
        if not module.documented:
            yield f"{module.name} has no docstring"
        for name in sorted(module.foreign - sys.stdlib_module_names - {"locust", "oversold"}):
            yield f"{module.name} imports {name}"


RULES = (direction, drawers, green, strategies, sizes, docstrings)
CLEAN = '"""What it is for."""\n'


@pytest.fixture
def planted(tmp_path):
    """Make a small house: planted({path: source below the docstring}) returns its folder."""

    def plant(files):
        package = tmp_path / "oversold"
        for path, source in {"__init__.py": "", "model.py": "", **files}.items():
            place = package / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(CLEAN + source)
        return package

    return plant


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_is_in_order(rule):
    """No module of the package breaks the rule."""
    assert list(rule(PACKAGE)) == []


def test_the_whole_package_is_looked_at():
    """The walk finds the rooms that the rules are about, so an empty result means order and not an empty walk."""
    found = {module.name for module in modules(PACKAGE)}
    assert {"model", "checkers", "load.launch", "strategies.bids.none", "report.charts", "cli"} <= found
    house = {module.name: module for module in modules(PACKAGE)}
    assert house["load.lanes"].foreign >= {"gevent"}
    assert house["platform.ledger"].own >= {"evidence", "bid_plan", "stores.postgres"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_tidy_house_passes(rule, planted):
    """No rule objects to imports that point downwards."""
    package = planted(
        {
            "clock.py": "from oversold.history import read\n",  # the ground floor is one floor
            "history.py": "import numpy\n",
            "stores/redis.py": "import redis\nfrom oversold import model\n",
            "strategies/bids/good.py": "from oversold.model import Bid\nfrom oversold.stores import redis\n",
            "load/lanes.py": "import gevent\nimport locust\n",
            "load/launch.py": "import time\nfrom oversold.model import Bid\n",
            "checkers/leak.py": "import json\nimport numpy as np\nfrom oversold.model import Finding\n",
            "report/charts.py": "import matplotlib\nfrom oversold.report import tables\n",
            "report/tables.py": "from rich.table import Table\n",
            "runs.py": "from oversold.checkers import leak\nfrom oversold.load.launch import drive\n",
            "cli.py": "from oversold import __version__\ndef run():\n    from oversold import runs\n",
        }
    )
    assert list(rule(package)) == []


@pytest.mark.parametrize(
    ("path", "source", "complaint"),
    [
        ("stores/a.py", "from oversold.strategies import b\n", "stores.a imports strategies.b"),
        ("strategies/b.py", "from oversold.platform.c import X\n", "strategies.b imports platform.c"),
        ("platform/c.py", "from oversold import load\n", "platform.c imports load"),
        ("load/d.py", "def f():\n    from oversold import runs\n", "load.d imports runs"),
        ("runs.py", "import oversold.cli\n", "runs imports cli"),
        ("checkers/e.py", "from oversold.plan import Plan\n", "checkers.e imports plan"),
        ("report/f.py", "from oversold.checkers import e\n", "report.f imports checkers.e"),
        ("strategies/b.py", "from oversold.checkers import e\n", "strategies.b imports checkers.e"),
        ("load/d.py", "from oversold.report import f\n", "load.d imports report.f"),
        ("runs.py", "from scenarios import bid_burst\n", "runs imports scenarios"),
        ("stores/a.py", "from . import other\n", "stores.a: a relative import hides its room"),
        ("attic.py", "", "attic: belongs to no room; give it a floor in tests/test_tidy.py"),
    ],
)
def test_an_import_that_points_upwards_is_found(path, source, complaint, planted):
    """A single wrong line is named with both ends, wherever in the file it is."""
    others = dict.fromkeys(("strategies/b.py", "platform/c.py", "load/__init__.py", "runs.py", "cli.py"), "")
    others |= {"checkers/e.py": "", "report/f.py": "", "plan.py": ""}
    assert list(direction(planted({**others, path: source}))) == [complaint]


@pytest.mark.parametrize(
    ("path", "source", "complaint"),
    [
        ("summary.py", "import matplotlib.pyplot as plt\n", "summary imports matplotlib"),
        ("checkers/a.py", "from rich.table import Table\n", "checkers.a imports rich"),
        ("checkers/a.py", "def f():\n    import duckdb\n", "checkers.a imports duckdb"),
        ("report/b.py", "import psycopg\n", "report.b imports psycopg"),
    ],
)
def test_a_library_outside_its_room_is_found(path, source, complaint, planted):
    """Charts are drawn in `report`, and the pure rooms depend on nothing that talks to the world."""
    assert list(drawers(planted({path: source}))) == [complaint]


@pytest.mark.parametrize(
    ("files", "complaints"),
    [
        ({"targets/a.py": "import gevent\n"}, ["targets.a imports gevent"]),
        ({"runs.py": "def f():\n    from locust import User\n"}, ["runs imports locust"]),
        ({"load/launch.py": "from gevent import sleep\n"}, ["load.launch -> gevent"]),
        ({"load/attendant.py": "import locust.env\n"}, ["load.attendant -> locust"]),
        (
            {"load/launch.py": "from oversold.load.lanes import X\n", "load/lanes.py": "import gevent\n"},
            ["load.launch -> load.lanes -> gevent"],
        ),
        (
            {"load/launch.py": "import json\n", "load/__init__.py": "import gevent\n"},
            ["load.launch -> load -> gevent"],
        ),
        (
            {
                "cli.py": "from oversold import runs\n",
                "runs.py": "from oversold.load import lanes\n",
                "load/lanes.py": "import gevent\n",
            },
            ["cli -> runs -> load.lanes -> gevent"],
        ),
    ],
)
def test_gevent_and_locust_are_found_wherever_they_get_in(files, complaints, planted):
    """Also where an unpatched process would import them by way of a module that looks harmless."""
    assert list(green(planted(files))) == complaints


@pytest.mark.parametrize("line", ["import time", "from random import random", "import threading as th"])
def test_a_strategy_that_goes_past_its_context_is_found(line, planted):
    """Time, randomness and threads come from the context, or the explorer could not decide them."""
    name = line.split()[1]
    bad = ("strategies/bids/bad.py", "strategies/payouts/desk.py", "strategies/payouts/locks/bad.py")
    allowed = ("strategies/calling.py", "strategies/payouts/interface.py")
    package = planted(dict.fromkeys((*bad, *allowed), f"{line}\n"))
    assert list(strategies(package)) == [
        f"{module} imports {name}"
        for module in ("strategies.bids.bad", "strategies.payouts.desk", "strategies.payouts.locks.bad")
    ]


def test_a_long_module_is_found(planted):
    """One line too many is one too many."""
    fits = planted({"runs.py": "x = 1\n" * (MAX_LINES - 1)})
    assert list(sizes(fits)) == []
    assert list(sizes(planted({"runs.py": "x = 1\n" * MAX_LINES}))) == [f"runs has {MAX_LINES + 1} lines"]


def test_a_module_without_a_docstring_is_found(planted):
    """A comment is no docstring."""
    package = planted({"runs.py": ""})
    (package / "runs.py").write_text("# What it is for.\nx = 1\n")
    assert list(docstrings(package)) == ["runs has no docstring"]


def test_scenarios_are_short_ordinary_locustfiles():
    """Each tells its incident first and imports nothing but Locust and this package."""
    assert (SCENARIOS / "bid_burst.py").is_file()
    assert list(scenarios(SCENARIOS)) == []


def test_a_scenario_that_is_more_than_that_is_found(tmp_path):
    """Too long, without its story, and with a library of its own."""
    lines = ["from locust import task", "from oversold.load.locustfile import attach", "import redis"]
    (tmp_path / "bad.py").write_text("\n".join(lines + ["x = 1"] * MAX_SCENARIO_LINES))
    assert list(scenarios(tmp_path)) == ["bad has 153 lines", "bad has no docstring", "bad imports redis"]
