"""`explore` and `replay` of the pytest plug-in without a single server: what they ask for, and what they say."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from oversold import schedule_file
from oversold.errors import UsageError
from oversold.explorations import answers, replays, trials
from oversold.explorations import servers as searching
from oversold.explorations.options import Typed, exploration_of
from oversold.explorations.replays import Replayed
from oversold.explorations.result import Explored, Repeated
from oversold.explorations.servers import Stores
from oversold.explorations.trials import asked, repeated
from oversold.explore import fingerprint
from oversold.explore.explorer import Aside, Result
from oversold.schedule import Broken, Outcome, Schedule, Step
from oversold.stores.providers import StoreChoice
from oversold.strategies import registry
from oversold.strategies.bids.none import NoLock
from oversold.strategies.bids.redis_lua import RedisLua
from oversold.strategies.payouts.composed import Composed

pytest_plugins = ["pytester"]
LEFT = "redis/left"
STEPS = (
    Step(1, "bidder 1", "go", "GET left", reads=(LEFT,), reply="100"),
    Step(2, "bidder 2", "go", "GET left", reads=(LEFT,), reply="100"),
    Step(3, "bidder 1", "go", "SET left 0", writes=(LEFT,), reply="OK", changed=True),
    Step(4, "bidder 2", "go", "SET left 0", writes=(LEFT,), reply="OK", changed=True),
)
BROKEN = Broken("oversubscription", "2 shares were sold, and there was 1.", 4)
SCHEDULE = Schedule("bids", "none", {"bidders": 2, "capacity_bids": 1, "shares": "1"}, STEPS, "VIOLATION", BROKEN)
WHY = "the budget of time was over"


def explored(outcome: Outcome, folder: Path = Path("/runs/1"), **more: Any) -> Explored:
    """Return what a test gets of `none` with this outcome."""
    found = SCHEDULE if outcome == "VIOLATION" else None
    result = Result(outcome, found, runs=12, searched_s=0.5, why="" if found else WHY, repeated=10, **more)
    question = exploration_of(Typed("none", bidders="2"), "bids")
    document = answers.document(question, result, {})
    return Explored(document, result, folder, document["command"])


# --- A result


@pytest.mark.parametrize("outcome", ["EXHAUSTED", "BOUNDED", "SAMPLED", "VIOLATION", "NONDETERMINISTIC"])
def test_only_a_proof_is_true(outcome: Outcome) -> None:
    """That nothing was found is none."""
    one = explored(outcome)
    assert (bool(one), one.found) == (outcome == "EXHAUSTED", outcome == "VIOLATION")
    assert one.outcome == outcome


def test_a_counterexample_is_told_whole() -> None:
    """Verdict, lanes, cause, and what repeats the search and the schedule."""
    one = explored("VIOLATION")
    told = str(one)
    assert told.startswith("oversold: none: VIOLATION\n")
    assert "bidder 1" in told
    assert "SET left 0 -> OK" in told
    assert "Bidder 2 read left = 100 at step 2; bidder 1 had changed it by step 3" in " ".join(told.split())
    assert told.splitlines()[-3:] == [
        "repeat: oversold explore none --bidders 2 --capacity-bids 1 --faults 0 --budget 30s",
        "replay: oversold replay /runs/1/replay.jsonl",
        "files: /runs/1",
    ]
    assert "\x1b" not in told
    assert one.counterexample == STEPS
    assert one.file == Path("/runs/1/replay.jsonl")
    assert repr(one).startswith("<none: VIOLATION: Bidder 2 read left")
    assert len(repr(one)) < 230


@pytest.mark.parametrize("outcome", ["BOUNDED", "SAMPLED"])
def test_what_is_no_proof_says_so(outcome: Outcome) -> None:
    """In the first words, and why."""
    one = explored(outcome)
    assert repr(one).startswith(f"<none: {outcome}, not a proof: No")
    assert WHY in one.sentence
    assert (one.counterexample, one.file, one.schedule) == ((), None, None)
    assert "replay:" not in str(one)


def test_a_promise_that_was_broken_by_the_way() -> None:
    """`broken` knows it as well as the counterexample's own, and no word that is no promise."""
    found = Broken("undersubscription", "1 share stayed unsold.", 4)
    aside = Aside(3, replace(SCHEDULE, broken=found))
    one = explored("VIOLATION", also={"undersubscription": aside})
    assert one.broken("oversubscription")
    assert one.broken("undersubscription")
    assert not one.broken("duplicate_order")
    assert one.also["undersubscription"]["schedules"] == 3
    assert "Also seen: undersubscription in 3 of 12 schedules" in str(one)
    assert not explored("EXHAUSTED").broken("oversubscription")
    with pytest.raises(UsageError, match=r"no promise oversubscribed \(did you mean oversubscription"):
        one.broken("oversubscribed")


# --- What is asked for


class TopLevel(RedisLua):
    """A strategy in a file."""


class Other(RedisLua):
    """Another one in the same file."""


class Payroll(registry.load_payouts("cas+state-machine")):  # type: ignore[misc]
    """Payouts in a file."""


class Half:
    """It has one method of the five."""

    def reserve(self) -> None:
        """Do nothing."""


def test_a_class_is_explored_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not loaded from its file again; its methods say what it is about, and its file gives the name."""
    one = asked(TopLevel, {})
    assert (one.code, one.loaded, one.kind) == (TopLevel, TopLevel, "bids")
    assert one.strategy.endswith("test_plugin_explorations.py:TopLevel")
    assert asked(NoLock, {}).strategy == "none"
    payroll = asked(Payroll, {})
    assert issubclass(payroll.loaded, Composed)
    assert (payroll.kind, payroll.limits.faults, payroll.scenario["workers"]) == ("payouts", 1, 2)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.py").write_text("from oversold.strategies.bids.none import NoLock as Stock\n")
    assert asked("shop.py:Stock", {}).strategy == "./shop.py:Stock"


def test_numbers_and_words_reach_the_search() -> None:
    """One or several shares and checks, a budget in words or in seconds."""
    given = {"bidders": 4, "shares": (1, 2), "faults": 2, "budget": 5, "mode": "hunt", "seed": 9, "store": "fake"}
    one = asked("none", {**given, "check": "undersubscription", "sql": None})
    assert one.scenario == {"bidders": 4, "capacity_bids": 3, "shares": "1,2"}
    limits = one.limits
    assert (limits.faults, limits.budget_s, limits.mode, limits.seed) == (2, 5.0, "hunt", 9)
    assert (limits.checks, one.store, one.sql) == (("undersubscription",), "fake", "postgres")
    assert asked("none", {"shares": 2, "check": ["leak", "claim_gap"]}).limits.checks == ("leak", "claim_gap")


@pytest.mark.parametrize(
    ("strategy", "given", "told"),
    [
        ("none", {"bidders": 0}, "--bidders 0: must be from 1"),
        ("none", {"bidders": "many"}, "--bidders many: write a whole number"),
        ("none", {"faults": 3}, "--faults 3: must be from 0 to 2"),
        ("none", {"budget": "soon"}, "--budget soon: write a time"),
        ("none", {"mode": "all"}, "--mode all: use exhaustive or hunt"),
        ("none", {"store": "paper"}, "--store paper: use real or fake"),
        ("none", {"sql": "mysql"}, "--sql mysql: use postgres or mariadb"),
        ("none", {"check": "undersold"}, "did you mean undersubscription"),
        ("none", {"bidders": 2, "workers": 2}, "two words for one number"),
        ("nonne", {}, "did you mean none"),
        ("shop.toml", {}, "describes a running service"),
        ("cas+state-machine", {"shares": 2}, "--shares means nothing to payouts"),
        ("none", {"pauses": False}, "--no-pauses means nothing to bids"),
        (Half, {}, "lacks open, confirm, release, status for bids"),
        (42, {}, "42 is no strategy"),
    ],
)
def test_what_cannot_be_explored_is_refused_in_one_line(strategy: Any, given: dict[str, Any], told: str) -> None:
    """Before any server starts."""
    with pytest.raises(UsageError, match=told) as refused:
        asked(strategy, given)
    assert "\n" not in str(refused.value)


def test_a_process_that_gevent_has_patched_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing gevent alone is no harm; replacing sockets or threads is."""
    patched: set[str] = set()
    monkeypatch.setitem(sys.modules, "gevent.monkey", SimpleNamespace(is_module_patched=patched.__contains__))
    question = asked("none", {"store": "fake"})
    for what in ("socket", "threading"):
        patched.add(what)
        with Stores(StoreChoice()) as servers, pytest.raises(UsageError, match="import Locust in another process"):
            servers.stage(question)
        patched.clear()
    monkeypatch.setattr(searching, "Stage", lambda *words: Stores(StoreChoice()))
    with Stores(StoreChoice()) as servers:
        assert servers.stage(question)


def test_servers_of_somebody_else_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """None is started, and none that the strategy does not use is asked for."""
    stages: list[tuple[Any, ...]] = []
    monkeypatch.setattr(searching, "Stage", lambda *words: stages.append(words))
    monkeypatch.setattr(searching, "stores", None)
    given: Any = {"mariadb": "the MariaDB of the session", "redis": "its Redis"}
    with Stores(StoreChoice(), given, "t-3") as servers:
        servers.stage(asked("row-lock", {"sql": "mariadb"}))
        servers.stage(asked("redis-lua", {}))
    assert [words[3] for words in stages] == [{"sql": given["mariadb"]}, {"redis": given["redis"]}]
    assert all(words[4].startswith("t-3") for words in stages)


def test_the_text_of_a_strategy_is_the_same_under_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Imported by a test, or loaded by its path from a replay file. Planted: one more line, and another
    class of the same file."""
    (tmp_path / "beta_base.py").write_text(
        "from oversold.strategies.bids.none import NoLock\n\nclass Base(NoLock): pass\n"
    )
    shop = tmp_path / "alpha_shop.py"
    shop.write_text("from beta_base import Base\n\nclass Stock(Base): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    from alpha_shop import Stock  # type: ignore[import-not-found]

    before = fingerprint.of(Stock)
    assert before == fingerprint.of(registry.load(f"{shop}:Stock"))
    shop.write_text("from beta_base import Base\n\nclass Stock(Base):\n    broken = True\n")
    assert fingerprint.of(Stock) != before
    assert fingerprint.of(TopLevel) != fingerprint.of(Other)


# --- A replay


class Walked:
    """Stands in for `replays.replayed`: notes what it was asked, and says what came of it."""

    def __init__(self, outcome: str = "mended") -> None:
        self.outcome = outcome
        self.asked: list[tuple[str, str, str, Any]] = []

    def __call__(self, schedule: Schedule, servers: Stores, store: str, sql: str, code: Any) -> Replayed:
        self.asked.append((schedule.strategy, store, sql, code))
        why = "step 2 is SET left 0, and was GET left" if self.outcome == "diverged" else ""
        return Replayed(self.outcome, False, None if why else SCHEDULE, why)


Walk = Callable[..., Repeated]


@pytest.fixture
def walked(monkeypatch: pytest.MonkeyPatch) -> Walked:
    """What is played instead of replays."""
    found = Walked()
    monkeypatch.setattr(replays, "replayed", found)
    return found


@pytest.fixture
def walk(walked: Walked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Walk:
    """Write a replay file into a folder `tests` and repeat it: walk(strategy, schedule)."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tests").mkdir()
    trials: Any = SimpleNamespace(new_run=lambda: "t-1")

    def go(strategy: object = None, schedule: Schedule = SCHEDULE, *roots: Path) -> Repeated:
        schedule_file.write(schedule, tmp_path / "tests/oversell.jsonl")
        return repeated(trials, Path("tests/oversell.jsonl"), roots or (tmp_path,), strategy, None, "real")

    return go


@pytest.mark.parametrize("outcome", ["mended", "broken", "diverged"])
def test_only_a_kept_promise_is_true(walk: Walk, walked: Walked, outcome: str) -> None:
    """A schedule that breaks the design again is false, and so is one that could not be repeated."""
    walked.outcome = outcome
    one = walk()
    assert (bool(one), one.outcome) == (outcome == "mended", outcome)
    assert one.command == "oversold replay tests/oversell.jsonl"
    told = str(one)
    assert f"oversell.jsonl: {outcome}\n" in told
    assert ("SET left 0 -> OK" in told) is (outcome != "diverged")
    assert told.endswith("\nrepeat: oversold replay tests/oversell.jsonl")
    assert ("step 2 is SET left 0, and was GET left" in repr(one)) is (outcome == "diverged")


def test_a_replay_is_of_the_strategy_as_it_is_now(walk: Walk, walked: Walked, tmp_path: Path) -> None:
    """Of the one that the file names, found from where we are or from the project's root; or of the test's own."""
    assert walk().schedule.steps == STEPS
    walk(TopLevel)
    walk("redis-lua")
    (tmp_path / "shop.py").write_text("from oversold.strategies.bids.none import NoLock as Stock\n")
    walk(None, replace(SCHEDULE, strategy="./shop.py:Stock"), tmp_path / "nowhere", tmp_path)
    assert [each[0] for each in walked.asked] == ["none", "TopLevel", "redis-lua", "./shop.py:Stock"]
    assert [each[3] for each in walked.asked][:3] == [NoLock, TopLevel, RedisLua]


def test_a_replay_takes_place_on_the_server_of_the_file(walk: Walk, walked: Walked) -> None:
    """What was found on MariaDB is repeated there."""
    walk(None, replace(SCHEDULE, versions={"sql": "MariaDB 10.11"}))
    walk(None, replace(SCHEDULE, versions={"sql": "PostgreSQL 15.3"}))
    assert [each[2] for each in walked.asked] == ["mariadb", "postgres"]


@pytest.mark.parametrize(
    ("strategy", "schedule", "told"),
    [
        (None, replace(SCHEDULE, strategy="./gone.py:Stock"), "does not exist; if it has moved, say .* strategy="),
        (Payroll, SCHEDULE, "lacks reserve, confirm, release, status for bids"),
        ("shop.toml", SCHEDULE, "describes a running service"),
        (None, replace(SCHEDULE, broken=None), "breaks no promise, so there is nothing to repeat"),
    ],
)
def test_what_cannot_be_repeated_is_refused(walk: Walk, strategy: Any, schedule: Schedule, told: str) -> None:
    """In one line that says what to do."""
    with pytest.raises(UsageError, match=told) as refused:
        walk(strategy, schedule)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_told(walk: Walk) -> None:
    """With its name."""
    trials: Any = SimpleNamespace(new_run=lambda: "t-1")
    with pytest.raises(UsageError, match=r"gone\.jsonl"):
        repeated(trials, Path("gone.jsonl"), (Path.cwd(),), None, None, "real")


# --- In a pytest of its own

PLUGIN = ("-p", "no:locust", "-p", "oversold.pytest_plugin", "-p", "no:xdist")
CONFTEST = """
import pytest

@pytest.fixture(scope="session")
def oversold_stores():
    return None
"""
Project = Callable[..., pytest.RunResult]
OUTCOMES: dict[str, Outcome] = {"redis-lua": "EXHAUSTED", "row-lock": "BOUNDED"}


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Run pytest in a small project whose explorations are played: project(test source, option, ...)."""
    for name in ("PYTEST_XDIST_WORKER", "CI", "BUILD_NUMBER"):
        monkeypatch.delenv(name, raising=False)
    pytester.makeconftest(CONFTEST)

    def played(trials: Any, question: Any, folder: Path) -> Explored:
        print("ASKED", question.strategy, question.limits.seed, folder)
        return explored(OUTCOMES.get(question.strategy, "VIOLATION"), folder)

    def replayed(trials: Any, file: Path, *words: Any) -> Repeated:
        return Repeated(file, SCHEDULE, Replayed("broken", True, SCHEDULE), f"oversold replay {file}")

    monkeypatch.setattr(trials, "explored", played)
    monkeypatch.setattr(trials, "repeated", replayed)

    def run(source: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(source)
        return pytester.runpytest_inprocess(*PLUGIN, *options)

    return run


def test_a_failing_exploration_shows_the_schedule(project: Project) -> None:
    """The assert has the outcome and the cause, the section below it the lanes and the commands."""
    done = project("def test_it(explore):\n    assert explore('none', bidders=2)\n")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        [
            "E*assert <none: VIOLATION: Bidder 2 read left = 100 at step 2*",
            "*-- oversold --*",
            "oversold: none: VIOLATION",
            "*step*bidder 1*bidder 2*",
            "repeat: oversold explore none --bidders 2 *",
            "replay: oversold replay */replay.jsonl",
        ]
    )


def test_a_hunt_and_a_proof(project: Project) -> None:
    """A bounded search found nothing, and is no proof; an exhausted one is."""
    done = project(
        """
        def test_hunt(explore):
            assert not explore("row-lock").found
        def test_proof(explore):
            assert explore("redis-lua")
        def test_no_proof(explore):
            assert explore("row-lock")
        def test_found(explore):
            assert not explore("none").found
        """
    )
    done.assert_outcomes(passed=2, failed=2)
    done.stdout.fnmatch_lines(["E*assert <none: BOUNDED, not a proof: No*", "E*<none: VIOLATION: *>.found"])


def test_a_replay_file_is_a_regression_test_in_one_line(project: Project) -> None:
    """Where the schedule breaks the design again, the assert says so and shows it."""
    done = project("def test_it(replay):\n    assert replay('tests/oversell.jsonl')\n")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        [
            "E*assert <replay of oversell.jsonl: broken: Bidder 2 read left*",
            "*step*bidder 1*bidder 2*",
            "The strategy's text has changed since the file was written. It happened again*",
            "repeat: oversold replay tests/oversell.jsonl",
        ]
    )


def test_options_of_explorations(project: Project, pytester: pytest.Pytester) -> None:
    """The seed is the session's where the test does not say, files go where they are asked for, slips are told."""
    source = """
        def test_it(explore):
            explore("none")
            explore("none", seed=7)
        def test_slip(explore):
            explore("none", bidder=3)
    """
    done = project(source, "-s", "--oversold-seed", "5", "--oversold-out", "kept")
    done.assert_outcomes(passed=1, failed=1)
    asked = [line.split() for line in done.outlines if "ASKED" in line]
    assert [words[-2] for words in asked] == ["5", "7"]
    assert Path(asked[0][-1]).parent == pytester.path / "kept/explore"
    done.stdout.fnmatch_lines(["E*UsageError: there is no option bidder (did you mean bidders*"])


def test_explorations_describe_themselves(project: Project) -> None:
    """`pytest --fixtures` says what they take and give."""
    project("", "--fixtures").stdout.fnmatch_lines(
        ["explore*", "*orders of store commands*", "replay*", "*counterexample*"]
    )
