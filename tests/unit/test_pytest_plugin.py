"""The pytest plug-in without a single server: what it asks for, what it says, and what it does not import."""

from __future__ import annotations

import copy
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oversold import trials
from oversold.errors import StoreUnavailableError, UsageError
from oversold.plan import Plan
from oversold.result import Number, Result
from oversold.session import Session
from oversold.stores.providers import StoreChoice
from oversold.strategies.bids.none import NoLock
from oversold.strategies.bids.redis_lua import RedisLua
from oversold.trials import Trials, from_here, planned, word_for

pytest_plugins = ["pytester"]
REPOSITORY = Path(__file__).parents[2]
HEAVY = ("locust", "gevent", "numpy", "sqlalchemy", "pydantic", "typer", "matplotlib", "duckdb")

SUMMARY: dict[str, Any] = {
    "scenario": "bid-burst",
    "strategy": "/home/shop/shop.py:Stock",
    "verdict": "fail",
    "reasons": ["Orders exceed the capacity by 17 %."],
    "rates": {"oversubscription": 0.17, "undersubscription": 0.0, "rollback": 0.1, "false_full_s": 0.5},
    "latency_ms": {"service": {"p50": 1.0, "p99": 2.0}, "response": {"p50": 30.0, "p99": 400.0}},
    "outcomes": {"ok": 9, "sold_out": 1},
    "findings": [
        {
            "check": "oversubscription",
            "verdict": "fail",
            "detail": "Orders exceed the capacity by 17 %.",
            "values": {},
        },
        {
            "check": "false_full",
            "verdict": "pass",
            "detail": "Nobody was turned away.",
            "values": {"seconds": 0.5},
        },
        {"check": "canary", "verdict": "inconclusive", "detail": "No canary was run.", "values": {}},
        {"check": "overpaid", "verdict": "fail", "detail": "Two were paid twice.", "values": {}},
    ],
}


def result(verdict: str = "fail", **more: Any) -> Result:
    """Return a result with this verdict."""
    summary = {**copy.deepcopy(SUMMARY), "verdict": verdict, **more}
    if verdict == "pass":
        summary |= {"reasons": [], "findings": [f for f in summary["findings"] if f["verdict"] == "pass"]}
    return Result(summary, Path("/runs/1"), "oversold run bid-burst --seed 1")


# --- A result


@pytest.mark.parametrize("verdict", ["pass", "fail", "inconclusive"])
def test_only_a_pass_is_true(verdict: str) -> None:
    """What proves nothing is neither passed nor failed, and never true."""
    one = result(verdict)
    assert (bool(one), one.passed, one.failed, one.inconclusive) == (
        verdict == "pass",
        verdict == "pass",
        verdict == "fail",
        verdict == "inconclusive",
    )


def test_a_result_has_the_numbers_of_its_summary() -> None:
    """Rates, latencies and outcomes are those of summary.json; one can compare and count with them."""
    one = result()
    assert one.oversubscription == 0.17
    assert one.false_full_s + 1 == 1.5
    assert one.latency["response"]["p99"] == 400
    assert one.outcomes["ok"] == 9
    assert one.findings["canary"].verdict == "inconclusive"
    assert isinstance(one.undersubscription, Number)


def test_a_number_that_a_run_does_not_have() -> None:
    """Asked for a payday's number, a burst says which it has."""
    with pytest.raises(
        AttributeError, match="a run of bid-burst has no duplicate: it has oversubscription, under"
    ):
        _ = result().duplicate
    with pytest.raises(AttributeError, match="this run has no latency_ms"):
        _ = result(latency_ms=None).latency


def found(check: str, verdict: str) -> dict[str, Any]:
    """Return a row of `findings`."""
    return {"check": check, "verdict": verdict, "detail": f"{check}.", "values": {}}


@pytest.mark.parametrize("check", ["complete", "strategy", "ledger", "truth", "oversubscription"])
def test_a_number_that_the_run_cannot_tell_equals_nothing(check: str) -> None:
    """Where something is missing that it was counted from, no assert on it holds, and the story says why."""
    rows = [found("oversubscription", "pass"), found(check, "inconclusive")]
    one = result("inconclusive", rates={"oversubscription": 0.0}, findings=rows)
    assert math.isnan(one.oversubscription)
    assert not any((one.oversubscription == 0, one.oversubscription <= 0.1, one.oversubscription >= 0))
    assert one.story("oversubscription")[1] == "oversubscription: this run cannot tell"
    assert f"{check}: INCONCLUSIVE: {check}." in one.story("oversubscription")


@pytest.mark.parametrize("check", ["canary", "demand", "overlap", "generator"])
def test_a_load_that_proves_nothing_takes_nothing_from_what_was_counted(check: str) -> None:
    """The number of a whole run is a fact; that the load was too easy is told by the verdict."""
    rows = [found("oversubscription", "pass"), found(check, "inconclusive")]
    one = result("inconclusive", rates={"oversubscription": 0.0}, findings=rows)
    assert one.oversubscription == 0
    assert "oversubscription: this run cannot tell" not in one.story("oversubscription")


def test_a_number_that_nobody_judged_equals_nothing() -> None:
    """A tranche that was never opened, or a lost ledger, has no share oversold; rollbacks need no finding."""
    rates = {"oversubscription": 0.0, "undersubscription": None, "rollback": 0.1, "false_full_s": None}
    one = result("inconclusive", rates=rates, findings=[])
    assert all(math.isnan(each) for each in (one.oversubscription, one.undersubscription, one.false_full_s))
    assert one.rollback == 0.1


def test_a_broken_promise_is_a_number_whatever_is_missing() -> None:
    """An order in the ledger is a fact, though a worker was lost."""
    rows = [found("oversubscription", "fail"), found("complete", "inconclusive")]
    assert result("fail", findings=rows).oversubscription == 0.17


def test_of_two_findings_of_one_name_the_worse_is_told() -> None:
    """Whichever comes first."""
    rows = [{"check": "ledger", "verdict": v, "detail": v, "values": {}} for v in ("pass", "fail", "inconclusive")]
    assert result(findings=rows).findings["ledger"].verdict == "fail"
    assert result(findings=rows[::-1]).findings["ledger"].verdict == "fail"
    assert result(findings=rows[::2]).findings["ledger"].verdict == "inconclusive"


def test_what_a_result_says_of_itself_is_short() -> None:
    """The strategy by its class, the verdict and the reasons: in one line that pytest does not cut."""
    assert repr(result()) == "<Stock: fail: Orders exceed the capacity by 17 %.>"
    assert repr(result("pass")) == "<Stock: pass>"
    assert len(repr(result(reasons=["x" * 999]))) < 230


def test_a_story_begins_with_the_number_it_is_about() -> None:
    """Then come broken promises, doubts, the command and the files; findings that pass are left out."""
    told = result().story("false_full_s")
    assert told[0] == "oversold: Stock: fail"
    assert told[1] == "false_full: pass: Nobody was turned away."
    assert [line.partition(":")[0] for line in told[2:]] == [
        "oversubscription",
        "overpaid",
        "canary",
        "repeat",
        "files",
    ]
    assert result().story("duplicate")[1].startswith("overpaid: FAIL: Two")


def test_a_story_names_the_exploration_that_explains_it() -> None:
    """Where the summary knows one; a run that cannot be explored has none."""
    assert "why: oversold explore none --bidders 2" in result(explain="oversold explore none --bidders 2").story()
    assert not [line for line in result(explain=None).story() if line.startswith("why:")]


# --- Which strategy is meant


class TopLevel(RedisLua):
    """A class that other processes can find."""


class Outer:
    """It has a class inside."""

    class Inner(RedisLua):
        """They cannot find this one."""


def test_a_strategy_is_named_so_that_other_processes_find_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Built-in classes by their name, others by file and class; paths count from where we are."""
    monkeypatch.chdir(tmp_path)
    assert word_for(NoLock, "bids") == "none"
    assert word_for("redis-lua", "bids") == "redis-lua"
    assert word_for(TopLevel, "bids") == f"{Path(__file__).resolve()}:TopLevel"
    assert word_for("shop.py:Stock", "bids") == f"{tmp_path}/shop.py:Stock"
    assert word_for(Path("shop.toml"), "bids") == f"{tmp_path}/shop.toml"
    assert word_for("cas+retry-same-key", "payouts") == "cas+retry-same-key"


def test_a_class_that_nobody_else_can_find_is_refused() -> None:
    """Defined in a function or a class, made by `type`, or no class at all: one line says what to do."""

    class Local(RedisLua):
        """Only this function knows it."""

    for strange in (Local, Outer.Inner, type("Made", (RedisLua,), {})):
        with pytest.raises(UsageError, match=r"define it at the top level of a \.py file"):
            word_for(strange, "bids")
    with pytest.raises(UsageError, match="42 is no strategy: give a class"):
        word_for(42, "bids")
    with pytest.raises(UsageError, match=r"is in no \.py file"):
        word_for(type, "bids")


def test_a_command_names_a_file_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the folder where we are it is short; elsewhere, and for names, nothing changes."""
    monkeypatch.chdir(tmp_path)
    assert from_here(f"{tmp_path}/a/shop.py:Stock") == "./a/shop.py:Stock"
    assert from_here("/elsewhere/shop.toml") == "/elsewhere/shop.toml"
    assert from_here("redis-lua") == "redis-lua"


def test_a_plan_is_what_the_test_asks_for() -> None:
    """Numbers, settings and obligations reach the plan as the command line's words would."""
    given = {
        "scenario": "bid-burst",
        "users": 300,
        "seed": 7,
        "rtt": "1ms",
        "settings": {"reopen_on_release": False},
    }
    plan = planned("bids", "redis-lua", given)
    assert (plan.users, plan.seed, plan.rtt_s, plan.strategy) == (300, 7, 0.001, "redis-lua")
    assert plan.settings.model_dump()["reopen_on_release"] is False
    payday = planned(
        "payouts", "cas+state-machine", {"scenario": "payout-overlap", "obligations": 70, "users": 50}
    )
    assert payday.settings.model_dump()["obligations"] == 70


@pytest.mark.parametrize(
    ("kind", "given", "told"),
    [
        ("bids", {"scenario": "bid-burst", "users": 0}, "--users 0"),
        ("bids", {"scenario": "bid-burst", "users": -5}, "--users -5"),
        ("bids", {"scenario": "bid-burst", "capacity": 10**30}, "--capacity 1000000"),
        ("bids", {"scenario": "bid-burst", "rtt": "soon"}, "is no duration"),
        ("bids", {"scenario": "bid-burst", "settings": {"stepps": 3}}, "did you mean steps"),
        ("bids", {"scenario": "bid-brust"}, "did you mean bid-burst"),
        ("bids", {"scenario": "payout-overlap"}, "is about payouts, not bids"),
        ("payouts", {"scenario": "payout-overlap", "obligations": "many"}, "obligations"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_line(kind: Any, given: dict[str, Any], told: str) -> None:
    """Bad numbers, settings and scenarios are told before anything starts."""
    with pytest.raises(UsageError, match=told) as refused:
        planned(kind, "redis-lua" if kind == "bids" else "cas+state-machine", given)
    assert "\n" not in str(refused.value)


# --- Runs one after the other


class Ran:
    """Stands in for `runs.run`: notes each plan and canary share, and gives canaries these shares in turn."""

    def __init__(self, *shares: float) -> None:
        self.plans: list[tuple[str, float | None]] = []
        self.python_path = ""
        self._shares = list(shares)

    def __call__(self, session: Any, plan: Plan, folder: Path, canary: float | None) -> dict[str, Any]:
        self.plans.append((plan.strategy, canary))
        self.python_path = os.environ["PYTHONPATH"]
        share = self._shares.pop(0) if plan == plan.canary else 0.0
        return {**SUMMARY, "verdict": "pass", "rates": {"oversubscription": share}}


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., list[tuple[str, float | None]]]:
    """Run plans one after the other without servers: tried(ran, plan, ...) returns what was run."""
    monkeypatch.setattr(Trials, "have", lambda self, names: None)

    def go(ran: Ran, *plans: Plan, canary: bool = True) -> list[tuple[str, float | None]]:
        monkeypatch.setattr(trials, "run", ran)
        session = Trials(StoreChoice(), tmp_path / "turn")
        for number, plan in enumerate(plans):
            folder = tmp_path / str(number)
            folder.mkdir()
            session.result_of(plan, folder, with_canary=canary)
        return ran.plans

    return go


def burst_of(strategy: str, users: int = 300) -> Plan:
    """Return a plan."""
    return planned("bids", strategy, {"scenario": "bid-burst", "users": users})


def test_a_canary_is_run_once_a_load(tried: Any) -> None:
    """Its proof holds for the next strategy under the same load, and not for another load."""
    plans = [burst_of("redis-lua"), burst_of("row-lock"), burst_of("redis-lua", 400)]
    assert tried(Ran(0.3, 0.2), *plans) == [
        ("none", None),
        ("redis-lua", 0.3),
        ("row-lock", 0.3),
        ("none", None),
        ("redis-lua", 0.2),
    ]


def test_a_canary_that_proved_nothing_is_run_again(tried: Any) -> None:
    """Planted: the first one sold no more than there was; its run is judged by it, the next one gets a new try."""
    assert tried(Ran(0.0, 0.4), burst_of("redis-lua"), burst_of("redis-lua")) == [
        ("none", None),
        ("redis-lua", 0.0),
        ("none", None),
        ("redis-lua", 0.4),
    ]


def test_the_canary_itself_and_a_run_without_one(tried: Any) -> None:
    """`none` needs no other canary, and where none is wanted none is run."""
    assert tried(Ran(0.5), burst_of("none")) == [("none", None)]
    with pytest.raises(FileExistsError):
        tried(Ran(), burst_of("redis-lua"), canary=False)


def test_without_a_canary_nothing_is_proven(tried: Any) -> None:
    """The run is told that there was none."""
    assert tried(Ran(), burst_of("redis-lua"), canary=False) == [("redis-lua", None)]


def test_the_processes_of_a_run_can_import_what_the_tests_can(
    tried: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They get our `sys.path`; afterwards the environment is as it was."""
    monkeypatch.syspath_prepend(tmp_path / "shop")
    for before in ("/before", None):
        monkeypatch.setenv("PYTHONPATH", before) if before else monkeypatch.delenv("PYTHONPATH", raising=False)
        ran = Ran()
        monkeypatch.setattr(trials, "run", ran)
        Trials(StoreChoice()).result_of(burst_of("redis-lua"), tmp_path, with_canary=False)
        assert str(tmp_path / "shop") in ran.python_path.split(os.pathsep)
        assert os.environ.get("PYTHONPATH") == before


def test_an_interrupted_run_interrupts_the_tests(
    tried: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A run puts Ctrl-C off until it has written itself down; then pytest has to stop."""
    monkeypatch.setattr(trials, "run", lambda *_: {**SUMMARY, "interrupted": True})
    with pytest.raises(KeyboardInterrupt):
        Trials(StoreChoice()).result_of(burst_of("redis-lua"), tmp_path, with_canary=False)


def test_servers_are_started_when_they_are_needed(
    tried: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A session begins without any, so that an exploration has its own alone; a burst has the ledger's as well."""
    started: list[set[str]] = []
    monkeypatch.setattr(Session, "_open", lambda self: started.append(set(self._names)))
    monkeypatch.setattr(Trials, "have", lambda self, names: started.append(set(names)))
    monkeypatch.setattr(trials, "run", Ran())
    with Trials(StoreChoice()) as session:
        assert started == [set()]
        session.result_of(burst_of("memcached-cas"), tmp_path, with_canary=False)
    assert set().union(*started) == {"memcached", "sql"}


def test_a_load_that_needs_more_connections_gets_new_servers(
    tried: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They are started anew once, with room for it; a smaller load leaves them alone."""
    opened: list[int] = []
    monkeypatch.setattr(Trials, "_open", lambda self: opened.append(self._connections))
    monkeypatch.setattr(trials, "run", Ran())
    session = Trials(StoreChoice())
    for lanes in (10, 200, 20):
        plan = planned("bids", "redis-lua", {"scenario": "bid-burst", "users": 300, "lanes": lanes})
        session.result_of(plan, tmp_path, with_canary=False)
    (connections,) = opened
    assert connections > 400


def test_a_server_that_is_not_here_is_told() -> None:
    """Asking for it says what to install; an unknown name is a KeyError, as in any mapping."""
    session = Trials(StoreChoice(mode="local"))
    session.endpoints = {}
    assert set(session) >= {"redis", "sql"}
    assert "elastic" not in list(session)
    with pytest.raises(KeyError):
        session["elastic"]


def test_a_server_that_cannot_start_is_told_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line ends with what the test wanted."""

    def gone(self: Trials, names: frozenset[str]) -> None:
        raise StoreUnavailableError("no memcached here: install memcached")

    monkeypatch.setattr(Trials, "have", gone)
    with pytest.raises(StoreUnavailableError, match="install memcached; this test needs memcached"):
        Trials(StoreChoice())["memcached"]


# --- In a pytest of its own


def test_the_plugin_is_light() -> None:
    """Loaded, it has imported neither Locust nor gevent nor anything heavy. Planted: `trials` does import some,
    but not those two."""
    script = f"""
import sys
heavy = lambda: ",".join(name for name in {HEAVY} if name in sys.modules)
import oversold.pytest_plugin
print(heavy())
import oversold.trials
print(heavy())
"""
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY / "harness")}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=env)
    first, second = done.stdout.splitlines()
    assert first == ""
    assert "numpy" in second
    assert "locust" not in second
    assert "gevent" not in second


CONFTEST = """
import pytest
from pathlib import Path
from oversold.result import Result

class Stores:
    def result_of(self, plan, folder, *, with_canary):
        print("ASKED", plan.strategy, plan.users, plan.seed, plan.lanes, plan.kind, with_canary, folder)
        verdict = {{"redis-lua": "pass", "row-lock": "inconclusive"}}.get(plan.strategy, "fail")
        return Result({{**{summary!r}, "verdict": verdict}}, folder, f"oversold run --seed {{plan.seed}}")

@pytest.fixture(scope="session")
def oversold_stores():
    return Stores()
"""
PLUGIN = ("-p", "no:locust", "-p", "oversold.pytest_plugin", "-p", "no:xdist")
Project = Callable[..., pytest.RunResult]


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Run pytest in a small project whose stores are played: project(test source, option, ..., ini=...)."""
    # In CI pytest says the whole of a failure twice: its summary is not cut there.
    for name in ("PYTEST_XDIST_WORKER", "CI", "BUILD_NUMBER"):
        monkeypatch.delenv(name, raising=False)
    pytester.makeconftest(CONFTEST.format(summary=SUMMARY))

    def run(source: str, *options: str, ini: str = "") -> pytest.RunResult:
        pytester.makepyfile(source)
        pytester.makeini(f"[pytest]\n{ini}\n")
        return pytester.runpytest_inprocess(*PLUGIN, *options)

    return run


def asked(done: pytest.RunResult) -> list[list[str]]:
    """Return what the stores were asked for: strategy, users, seed, lanes, kind, canary, folder."""
    return [line.split() for line in re.findall(r"ASKED (.*)", done.stdout.str())]


def test_a_failing_comparison_tells_the_finding(project: Project) -> None:
    """The number's finding, the other broken promises and the command come with the assert, whatever the side."""
    done = project("def test_it(burst):\n    assert 0.001 >= burst('none', seed=9).oversubscription\n")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        [
            "*assert 0.001 >= oversubscription 0.17",
            "*oversubscription: FAIL: Orders exceed the capacity by 17 %.",
            "*repeat: oversold run --seed 9",
        ]
    )
    assert done.stdout.str().count("repeat: oversold run --seed 9") == 1  # the section would say the same again


@pytest.mark.parametrize("claim", ["result", "result.passed", "result.verdict == 'pass'"])
def test_a_failing_test_tells_what_its_run_found(project: Project, claim: str) -> None:
    """However the result was asked, the report has a section with the findings and the command."""
    done = project(f"def test_it(burst):\n    result = burst('none', seed=9)\n    assert {claim}\n")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        ["*-- oversold --*", "oversubscription: FAIL: Orders*", "repeat: oversold run --seed 9"]
    )


def test_a_passing_test_tells_nothing(project: Project) -> None:
    """Also when the run before it failed."""
    source = "def test_it(burst):\n    assert burst('{}'){}\n"
    done = project(source.format("none", ".failed") + source.replace("it", "other").format("redis-lua", ""), "-rA")
    done.assert_outcomes(passed=2)
    assert "-- oversold --" not in done.stdout.str()


def test_a_result_that_several_tests_share_is_told_by_each(project: Project) -> None:
    """A module's own fixture may run the burst once."""
    done = project(
        """
        import pytest
        @pytest.fixture(scope="module")
        def shared(burst):
            return burst("row-lock", seed=9)
        def test_one(shared):
            assert shared.outcomes["ok"] == 9
        def test_two(shared):
            assert shared
        """
    )
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(["*test_two*", "*-- oversold --*", "oversold: Stock: inconclusive"])


def test_options_and_their_ini_keys(project: Project) -> None:
    """What a test says beats the command line, which beats the ini file; payouts have users of their own."""
    source = """
        def test_it(burst, payouts):
            burst("none")
            burst("none", users=70)
            payouts("cas+state-machine")
    """
    ini = "oversold_users = 300\noversold_seed = 4\noversold_lanes=3"
    assert [each[:6] for each in asked(project(source, "-s", "--oversold-seed", "5", ini=ini))] == [
        ["none", "300", "5", "3", "bids", "True"],
        ["none", "70", "5", "3", "bids", "True"],
        ["cas+state-machine", "400", "5", "3", "payouts", "True"],
    ]


def test_the_canary_can_be_left_out(project: Project) -> None:
    """By the test, or for all of them by the option."""
    source = "def test_it(burst):\n    burst('none', canary=False)\n    burst('none')\n"
    for option, wanted in (((), ["False", "True"]), (("--oversold-no-canary",), ["False", "False"])):
        assert [each[5] for each in asked(project(source, "-s", *option))] == wanted


def test_where_the_files_go(project: Project, pytester: pytest.Pytester) -> None:
    """With pytest's own temporary folders, or below the folder that is asked for."""
    source = "def test_it(burst):\n    burst('none', seed=9)\n"
    ((*_, folder),) = asked(project(source, "-s"))
    assert Path(folder).name == "oversold-bid-burst-0"
    ((*_, folder),) = asked(project(source, "-s", "--oversold-out", "kept"))
    assert Path(folder).parent == pytester.path / "kept/bid-burst"
    assert folder.endswith("-9")


@pytest.mark.parametrize("given", ["many", "-1", "1.5", ""])
def test_a_number_that_is_none_is_refused_at_once(project: Project, given: str) -> None:
    """Before any test runs, in one line."""
    done = project("def test_it(burst):\n    burst('none')\n", f"--oversold-users={given}")
    if given:
        assert done.ret == pytest.ExitCode.USAGE_ERROR
        assert f"ERROR: --oversold-users {given}: write a whole number" in done.stderr.str() + done.stdout.str()
    else:
        done.assert_outcomes(passed=1)


def test_a_mistake_is_told_without_our_own_frames(project: Project) -> None:
    """An unknown option names the near ones, a strange class says what to do; the trace is the test's own line."""
    done = project(
        """
        def test_option(burst):
            burst("none", user=3)
        def test_local(burst):
            class Mine: pass
            burst(Mine)
        def test_of_the_other_kind(payouts):
            payouts("cas+state-machine", capacity=3)
        """
    )
    done.assert_outcomes(failed=3)
    done.stdout.fnmatch_lines(
        [
            "E*UsageError: there is no option user (did you mean users*",
            "E*UsageError: class test_local.<locals>.Mine cannot be found*",
            "E*UsageError: there is no option capacity*",
        ]
    )
    assert "pytest_plugin.py" not in done.stdout.str().partition("short test summary")[0]


def test_the_fixtures_describe_themselves(project: Project) -> None:
    """`pytest --fixtures` says what they take and give."""
    project("", "--fixtures").stdout.fnmatch_lines(
        [
            "oversold_stores*",
            "*Private servers*",
            "burst*",
            "*a burst of bids*",
            "payouts*",
            "*a payday over channels*",
        ]
    )
