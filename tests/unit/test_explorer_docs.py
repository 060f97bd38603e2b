"""docs/explorer.md and docs/explored.md say what the explorer does, and what it found in every strategy."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import typer

from oversold.cli import app
from oversold.errors import UsageError
from oversold.explorations.questions import Exploration
from oversold.explore.execution import STEPS
from oversold.schedule import CHOICES, OUTCOMES
from oversold.strategies import registry
from oversold.strategies.payouts import composed

ROOT = Path(__file__).parents[2]
EXPLORER, EXPLORED = (ROOT / "docs" / name for name in ("explorer.md", "explored.md"))


def benchmark(name: str) -> ModuleType:
    """Return a module of benchmarks/, whose modules find one another as in a script's folder."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


def without_row(document: str, names: list[str]) -> list[str]:
    """Return the names that begin no row of a document's tables."""
    return [name for name in names if f"\n| `{name}` |" not in document]


def test_every_strategy_was_explored() -> None:
    """docs/explored.md has a row for each strategy of the registry, bids and payouts; a missing one is found."""
    document = EXPLORED.read_text(encoding="utf-8")
    assert without_row(document, [*registry.names("bids"), *registry.names("payouts")]) == []
    assert without_row("\n| `a` | `b` |\n", ["a", "b"]) == ["b"]


def test_every_hole_is_looked_for_or_named_as_outside() -> None:
    """Each strategy, lock and policy has its hole in the table, and each has words that find it or a reason."""
    holes = benchmark("holes")
    assert list(holes.BIDS) == list(registry.BID_STRATEGIES)
    assert (list(holes.CLAIMS), list(holes.POLICIES)) == (list(composed.LOCKS), list(composed.POLICIES))
    every = {**holes.BIDS, **holes.CLAIMS, **holes.POLICIES}
    assert [name for name, hole in every.items() if not (hole.words or hole.beyond)] == []
    assert holes.Hole().words == holes.Hole().beyond == ""


def test_strategies_that_are_broken_on_purpose_are_searched() -> None:
    """What is marked as broken has words that find its hole, unless its store has no seam."""
    holes = benchmark("holes").BIDS
    broken = [
        name for name in holes if registry.card(name).broken and "rabbitmq" not in registry.card(name).stores
    ]
    assert "none" in broken
    assert [name for name in broken if not holes[name].words] == []


def test_the_words_of_every_hole_are_accepted() -> None:
    """They mean an exploration, as on the command line; wrong ones are refused."""
    holes = benchmark("holes")
    asked = [holes.asked(name, "bids", hole.words) for name, hole in holes.BIDS.items() if hole.words]
    asked += [holes.asked(name, "payouts", words) for name, words in holes.broken_payouts()]
    assert all(isinstance(each, Exploration) for each in asked)
    assert holes.asked("row-lock+state-machine", "payouts", "--no-pauses").scenario["pauses"] == 0
    with pytest.raises(UsageError, match="--check"):
        holes.asked("none", "bids", "--check nothing")


def test_what_was_found_is_told_in_few_words() -> None:
    """A proof, a counterexample, a search that was cut short and a store without a seam read differently."""
    cell = benchmark("explored").cell
    row: dict[str, Any] = {"schedules": 1234, "seconds": 1.23, "steps": None, "why": "x", "bound": None}
    found = {**row, "check": "leak", "steps": 6, "faults": ["lie"], "first_s": 0.5}
    assert cell({**row, "outcome": "EXHAUSTED"}) == "EXHAUSTED: 1,234 schedules, 1.2 s"
    assert cell({**found, "outcome": "VIOLATION"}) == "**leak**: 6 steps with a lie, after 0.50 s"
    assert cell({**found, "outcome": "DEADLOCK", "faults": [], "steps": 1}) == "**DEADLOCK**: 1 step, after 0.50 s"
    assert "not all walked" in cell({**row, "outcome": "SAMPLED"})
    assert "all without faults walked" in cell({**row, "outcome": "BOUNDED", "bound": 0})
    assert cell({**row, "outcome": "NONDETERMINISTIC"}) == "NONDETERMINISTIC: x"
    assert cell({"outcome": "no seam", "why": "y"}) == "no seam"
    assert list(benchmark("explored").FAULTS) == [choice for choice in CHOICES if choice != "go"]


def test_frontrun_is_no_dependency(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is not installed, the benchmark says so and measures the rest."""
    explorer = benchmark("explorer")
    monkeypatch.setattr(explorer, "find_spec", lambda name: None)
    rows = explorer.beside(None, SimpleNamespace(rounds=1, budget="1s"))
    assert "not installed" in "".join(explorer.beside_table(rows))


def test_options_and_verdicts_are_documented() -> None:
    """docs/explorer.md names the options of `explore` and `replay` alone, and has a row for each verdict."""
    document = EXPLORER.read_text(encoding="utf-8")
    assert without_row(document, list(OUTCOMES)) == []
    assert f"more than {STEPS:,} steps" in document
    group: Any = typer.main.get_command(app)
    common = {each for parameter in group.commands["run"].params for each in parameter.opts}
    own = {
        each
        for name in ("explore", "replay")
        for parameter in group.commands[name].params
        for each in (*parameter.opts, *parameter.secondary_opts)
        if each.startswith("--")
    } - common
    assert {"--bidders", "--faults", "--html"} <= own
    assert sorted(each for each in own - {"--run"} if each not in document) == []
