"""Runs that tests ask for one by one, on private stores that stay up between them."""

from __future__ import annotations

import fcntl
import inspect
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from oversold import options, places, sweep
from oversold.comparison import broken_share
from oversold.errors import StoreUnavailableError, UsageError
from oversold.options import Typed
from oversold.plan import Kind, Plan
from oversold.result import Result
from oversold.runs import run
from oversold.session import LEDGER, Session
from oversold.stores.endpoint import Endpoint
from oversold.stores.providers import LABELS, SERVERS, StoreChoice
from oversold.strategies import registry
from oversold.summary import command
from oversold.telling import Telling

WORDS = ("users", "capacity", "seed", "processes", "lanes", "rtt", "profile", "preset", "sql")
BEGINNING = Typed("bid-burst")  # the first servers admit as many connections as this needs


class Trials(Session, Mapping[str, Endpoint]):
    """A session whose runs are not known beforehand: servers are started when first needed, and stay. It begins
    without any.

    As a mapping it gives each server's place by name (`redis`, `memcached`, `sql`, `mariadb`, `rabbitmq`,
    `redlock`); asking for one starts it. A load's canary is run once: what it proved holds for all runs under it.

    Args:
        choice: what the user said of the stores.
        turn: a file that the trials of several processes lock in turn, lest they distort each other's loads.
    """

    def __init__(self, choice: StoreChoice, turn: Path | None = None) -> None:
        beginning = options.plan_of(BEGINNING, "none")
        super().__init__([beginning], choice, Telling())
        self._names = frozenset()
        self._turn = turn
        self._proven: dict[str, float] = {}

    def __getitem__(self, server: str) -> Endpoint:
        if server not in SERVERS:
            raise KeyError(server)
        try:
            self.have(frozenset({server}))
        except StoreUnavailableError as error:
            raise StoreUnavailableError(f"{error}; this test needs {LABELS[server]}") from None
        return self.endpoints[server]

    def __iter__(self) -> Iterator[str]:
        return iter(SERVERS)

    def __len__(self) -> int:
        return len(SERVERS)

    def result_of(self, plan: Plan, folder: Path, *, with_canary: bool = True) -> Result:
        """Run one plan, its canary first unless that has proven this load before.

        Args:
            folder: gets the run's files; those of a canary go to `canary/` below it.

        Raises:
            KeyboardInterrupt: somebody interrupted it; what it has is in the folder.
            StoreUnavailableError, LimitError, UsageError.
        """
        plans = [plan, plan.canary] if with_canary else [plan]
        with self._alone(), _importable():
            self.admit(plans)
            self.have(frozenset({LEDGER}))
            canary = self._canary(plan, folder / "canary") if with_canary and plan != plan.canary else None
            summary = _uninterrupted(run(self, plan, folder, canary))
        shown = plan.model_copy(update={"strategy": from_here(plan.strategy)})
        return Result(summary, folder, command(shown))

    def _canary(self, plan: Plan, folder: Path) -> float:
        """Return how badly the canary broke its promise under this load; one that broke none is tried again."""
        load = sweep.Cell(plan, asked=True, folder="").load
        if load not in self._proven:
            folder.mkdir()
            share = broken_share(_uninterrupted(run(self, plan.canary, folder, None)))
            if share <= 0:
                return share
            self._proven[load] = share
        return self._proven[load]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait until no other process of these tests runs a load."""
        if self._turn is None:
            yield
            return
        with self._turn.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _uninterrupted(summary: dict[str, Any]) -> dict[str, Any]:
    """Return the summary; KeyboardInterrupt when Ctrl-C ended the run, which had put it off."""
    if summary.get("interrupted"):
        raise KeyboardInterrupt
    return summary


@contextmanager
def _importable() -> Iterator[None]:
    """Let the processes of a run import what the tests can: their `sys.path` is ours."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(str(Path(entry).resolve()) for entry in sys.path))
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def word_for(strategy: object, kind: Kind) -> str:
    """Return what `--strategy` would be told: a name, or the absolute path of a file and the class in it.

    `strategy` is a class, a name, "path.py:Class" or "service.toml".

    Raises:
        UsageError: a class that other processes could not find.
    """
    if isinstance(strategy, str | Path):
        path, colon, name = str(strategy).rpartition(":") if ".py:" in str(strategy) else (str(strategy), "", "")
        return f"{Path(path).resolve()}{colon}{name}" if path.endswith((".py", ".toml")) else path
    if not inspect.isclass(strategy):
        raise UsageError(
            f'{strategy!r:.80} is no strategy: give a class, a name, "path.py:Class" or "service.toml"'
        )
    return _installed(strategy, kind) or _in_a_file(strategy)


def _installed(strategy: type[Any], kind: Kind) -> str | None:
    place = f"{strategy.__module__}:{strategy.__qualname__}"
    own = [(name, target) for name, target in registry.BID_STRATEGIES.items() if kind == "bids"]
    others = [(entry.name, entry.value) for entry in entry_points(group=registry.GROUPS[kind])]
    return next((name for name, target in [*own, *others] if target == place), None)


def _in_a_file(strategy: type[Any]) -> str:
    module, name = sys.modules.get(strategy.__module__), strategy.__qualname__
    if getattr(module, name, None) is not strategy:
        raise UsageError(
            f"class {name} cannot be found by the processes of a run: define it at the top level of a .py file"
        )
    path = getattr(module, "__file__", None)
    if path is None or not path.endswith(".py"):
        raise UsageError(
            f"class {name} is in no .py file, so the processes of a run cannot load it: put it in one"
        )
    return f"{Path(path).resolve()}:{name}"


def from_here(strategy: str) -> str:
    """Return a strategy's word for people: a path below the folder that we are in is told from there."""
    path, colon, name = strategy.rpartition(":") if ".py:" in strategy else (strategy, "", "")
    here = Path.cwd()
    if path.startswith("/") and Path(path).is_relative_to(here):
        path = f"./{Path(path).relative_to(here)}"
    return f"{path}{colon}{name}"


def planned(kind: Kind, strategy: object, given: Mapping[str, Any]) -> Plan:
    """Return the plan of what a test asks for; `given` are fields of `options.Typed`, None where not given, and
    `obligations` of payouts. What else is there is left alone.

    Raises:
        UsageError: anything that does not fit.
    """
    scenario = str(given["scenario"])
    if places.kind(scenario) != kind:
        raise UsageError(
            f"scenario {scenario} is about {places.kind(scenario)}, not {kind}: ask the other fixture"
        )
    settings = dict(given.get("settings") or {})
    if given.get("obligations") is not None:
        settings["obligations"] = given["obligations"]
    words: dict[str, Any] = {name: str(given[name]) for name in WORDS if given.get(name) is not None}
    typed = Typed(
        scenario,
        settings=[
            f"{name}={str(value).lower() if isinstance(value, bool) else value}"
            for name, value in settings.items()
        ],
        allow_hosts=tuple(given.get("allow_hosts") or ()),
        **words,
    )
    return options.plan_of(typed, word_for(strategy, kind))
