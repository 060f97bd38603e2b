"""The pytest plug-in: fixtures that load or explore your design, and return a result to assert on.

It is loaded into every pytest of a project that has oversold installed, so it imports nothing but pytest and the
standard library until a fixture is asked for. Load runs in processes of its own: this one is never patched.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar, Unpack

import pytest

from oversold.errors import OversoldError, UsageError, near
from oversold.result import Answer, Number, Result

if TYPE_CHECKING:
    from oversold.explorations.result import Explored, Repeated
    from oversold.explore.stage import Store
    from oversold.plan import Kind, Sql
    from oversold.trials import Trials

NUMBERS = {
    "users": "bidders of a burst whose test does not say (default: 2000)",
    "seed": "seed of a run whose test does not say (default: 1)",
    "processes": "app-server processes where the test does not say (default: 2)",
    "lanes": "lanes in each process where the test does not say (default: 64; of payouts 8)",
}
WORDS = {
    "out": "keep the runs' files below this folder (default: with pytest's temporary folders)",
    "stores": "where the servers come from, as --stores of `oversold run` (default: auto)",
}
MADE = pytest.StashKey[list[Answer]]()  # by the test that runs now
Given = TypeVar("Given", bound=Answer)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, and an ini key for each that has a value."""
    group = parser.getgroup("oversold", "oversold: does it oversell, undersell or pay twice?")
    for name, text in {**NUMBERS, **WORDS}.items():
        group.addoption(f"--oversold-{name}", metavar="N" if name in NUMBERS else name.upper(), help=text)
        parser.addini(f"oversold_{name}", text)
    group.addoption(
        "--oversold-no-canary",
        action="store_true",
        help="leave the canaries out: quicker, but then no run can pass",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse, before any test runs, a number that is none."""
    for name in NUMBERS:
        given = _option(config, name)
        if given is not None and not given.isdecimal():
            raise pytest.UsageError(f"--oversold-{name} {given}: write a whole number")


def _option(config: pytest.Config, name: str) -> str | None:
    """Return what the command line says, else the ini file, else None."""
    given = config.getoption(f"oversold_{name}")
    return str(given if given is not None else config.getini(f"oversold_{name}")) or None


class RunOptions(TypedDict, total=False):
    """What `burst` and `payouts` take besides the strategy: the options of `oversold run`.

    `settings` is what `--set` takes. `canary=False` leaves out the proof that the load finds races: such a run
    can fail, but not pass.
    """

    users: int
    seed: int
    processes: int
    lanes: int
    rtt: str
    sql: str
    preset: str
    settings: Mapping[str, object]
    allow_hosts: Sequence[str]
    scenario: str
    canary: bool


class BurstOptions(RunOptions, total=False):
    """What `burst` takes; the capacity is in fen."""

    capacity: int


class PayoutOptions(RunOptions, total=False):
    """What `payouts` takes; `profile` says how the channels behave."""

    obligations: int
    profile: str


class ExploreOptions(TypedDict, total=False):
    """What `explore` takes besides the strategy: the options of `oversold explore`.

    `bidders` are three where nothing is said; payouts have two `workers` instead. `budget` is a time such as
    "30s". `check` names the promise to search for, or several.
    """

    bidders: int
    workers: int
    capacity_bids: int
    bids_each: int
    shares: int | str | Sequence[int]
    faults: int
    budget: str | float
    mode: Literal["exhaustive", "hunt"]
    check: str | Sequence[str]
    seed: int
    sql: str
    store: Literal["real", "fake"]
    pauses: bool


class Runner:
    """Runs what the tests ask for. `stores` opens them when it is first called; `folder` makes the folder of a run
    of some scenario and seed."""

    def __init__(
        self, config: pytest.Config, stores: Callable[[], Trials], folder: Callable[[str, int], Path]
    ) -> None:
        self._config, self._stores, self._folder = config, stores, folder

    def burst(self, strategy: object, **options: Unpack[BurstOptions]) -> Result:
        """Replay a burst of bids against a class, a name of `oversold list`, "path.py:Class" or "service.toml".

        Raises:
            UsageError, StoreUnavailableError, LimitError: in one line.
        """
        __tracebackhide__ = True
        return self._shortly(lambda: self._run("bids", strategy, {"scenario": "bid-burst", **options}))

    def payouts(self, strategy: object, **options: Unpack[PayoutOptions]) -> Result:
        """Replay a payday over channels that lie; for the strategy and what is raised see `burst`."""
        __tracebackhide__ = True
        return self._shortly(lambda: self._run("payouts", strategy, {"scenario": "payout-overlap", **options}))

    def explore(self, strategy: object, **options: Unpack[ExploreOptions]) -> Explored:
        """Search the orders of store commands of a class, a name of `oversold list`, or "path.py:Class".

        Raises:
            UsageError, StoreUnavailableError: in one line.
        """
        __tracebackhide__ = True
        return self._shortly(lambda: self._explore(strategy, dict(options)))

    def replay(
        self, file: str | Path, *, strategy: object = None, sql: Sql | None = None, store: Store = "real"
    ) -> Repeated:
        """Repeat the schedule of a replay file, with the strategy that it names or with another one.

        Raises:
            UsageError, StoreUnavailableError: in one line.
        """
        __tracebackhide__ = True
        return self._shortly(lambda: self._replay(Path(file), strategy, sql, store))

    def _shortly(self, work: Callable[[], Given]) -> Given:
        """Do it; expected errors come without the way that they took through oversold."""
        __tracebackhide__ = True
        try:
            answer = work()
        except OversoldError as error:
            raise type(error)(str(error)) from None
        self._config.stash[MADE].append(answer)
        return answer

    def _run(self, kind: Kind, strategy: object, options: dict[str, Any]) -> Result:
        from oversold import trials

        _known(options, BurstOptions if kind == "bids" else PayoutOptions)
        defaults = ("seed", "processes", "lanes", *(("users",) if kind == "bids" else ()))
        given = {name: _option(self._config, name) for name in defaults} | options
        canary = options.get("canary", True) and not self._config.getoption("oversold_no_canary")
        plan = trials.planned(kind, strategy, given)
        return self._stores().result_of(plan, self._folder(plan.scenario, plan.seed), with_canary=canary)

    def _explore(self, strategy: object, options: dict[str, Any]) -> Explored:
        from oversold.explorations import trials

        _known(options, ExploreOptions)
        asked = trials.asked(strategy, {"seed": _option(self._config, "seed")} | options)
        return trials.explored(self._stores(), asked, self._folder("explore", asked.limits.seed))

    def _replay(self, file: Path, strategy: object, sql: Sql | None, store: Store) -> Repeated:
        from oversold.explorations import trials

        roots = (Path.cwd(), self._config.rootpath)
        return trials.repeated(self._stores(), file, roots, strategy, sql, store)


def _known(options: Mapping[str, Any], taken: type[Any]) -> None:
    """Refuse what a fixture does not take."""
    known = taken.__annotations__
    for name in options:
        if name not in known:
            raise UsageError(f"there is no option {name}{near(name, [*known])}: use {', '.join(known)}")


@pytest.fixture(scope="session")
def oversold_stores(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trials]:
    """Private servers of this test session by name (redis, memcached, sql, mariadb, rabbitmq, redlock), each
    started when it is first asked for: `oversold_stores["redis"].url`."""
    from oversold.stores.providers import SERVERS, StoreChoice
    from oversold.trials import Trials

    urls = {name: os.environ.get(f"OVERSOLD_{name.upper()}_URL") for name in SERVERS}
    given = {name: url for name, url in urls.items() if url}
    shared = tmp_path_factory.getbasetemp().parent / "oversold-turn" if _worker() else None
    trials = Trials(StoreChoice(_option(request.config, "stores") or "auto", given), shared)
    with trials:
        yield trials


@pytest.fixture(scope="session")
def oversold_runner(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """What `burst`, `payouts`, `explore` and `replay` belong to."""
    out = _option(request.config, "out")

    def folder(scenario: str, seed: int) -> Path:
        if out is None:
            return tmp_path_factory.mktemp(f"oversold-{scenario}-")
        from oversold import places

        # Two workers may come in the same second.
        return places.new_run_folder(request.config.invocation_params.dir / out / _worker(), scenario, seed)

    return Runner(request.config, lambda: request.getfixturevalue("oversold_stores"), folder)


def _worker() -> str:
    """Return the name of this process among those of pytest-xdist, "" when there are no others."""
    return os.environ.get("PYTEST_XDIST_WORKER", "")


@pytest.fixture(scope="session")
def burst(oversold_runner: Runner) -> Callable[..., Result]:
    """Replay a burst of bids against a strategy or a service: burst(strategy, users=..., capacity=..., seed=...,
    settings={...}) returns a result, to `assert result` or `assert result.oversubscription == 0`."""
    return oversold_runner.burst


@pytest.fixture(scope="session")
def payouts(oversold_runner: Runner) -> Callable[..., Result]:
    """Replay a payday over channels that lie: payouts(strategy, obligations=..., profile=...) returns a result, to
    `assert result` or `assert result.duplicate == 0`."""
    return oversold_runner.payouts


@pytest.fixture(scope="session")
def explore(oversold_runner: Runner) -> Callable[..., Explored]:
    """Search the orders of store commands of a strategy: explore(strategy, bidders=3, faults=..., budget="30s")
    returns a result; `assert result`: every order was tried, and none breaks a promise."""
    return oversold_runner.explore


@pytest.fixture(scope="session")
def replay(oversold_runner: Runner) -> Callable[..., Repeated]:
    """Repeat a counterexample: `assert replay("tests/oversell.jsonl")` says that its promise is kept there now."""
    return oversold_runner.replay


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Let a failing comparison with a number of a run tell the finding, and how to repeat the run."""
    number = next((each for each in (left, right) if isinstance(each, Number)), None)
    if number is None:
        return None
    words = [f"{each.name} {float(each):g}" if isinstance(each, Number) else repr(each) for each in (left, right)]
    return [f" {op} ".join(words), *number.result.story(number.name)]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin a new list of the runs that a test makes."""
    item.config.stash[MADE] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to the report of a failing test what its runs found, unless the assert has told it."""
    report = yield
    if report.failed:
        made = [*item.config.stash.get(MADE, []), *_handed(item)]
        for answer in {id(answer): answer for answer in made}.values():
            if answer.command not in report.longreprtext:
                report.sections.append(("oversold", "\n".join(answer.story())))
    return report


def _handed(item: pytest.Item) -> list[Answer]:
    """Return the results that a test has from fixtures, which may have been made for an earlier test."""
    return [value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Answer)]
