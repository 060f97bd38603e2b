"""Comparisons: the canary first in each load, every run kept, and one exit code for all."""

import json
from itertools import permutations
from types import SimpleNamespace

import pytest

from oversold import comparison
from oversold.bid_plan import BidPlan
from oversold.comparison import compare, comparison_exit, run_exit, run_one
from oversold.errors import Exit, StoreUnavailableError
from oversold.summary import command
from oversold.sweep import Sweep, load, planned
from oversold.telling import Telling

CANARY = "none"


def summary(strategy="redis-lua", verdict="pass", over=0.0, **more):
    """Return what the exit codes look at."""
    rates = {"oversubscription": over}
    return {"strategy": strategy, "verdict": verdict, "canary": strategy == CANARY, "rates": rates, **more}


@pytest.mark.parametrize(
    ("verdict", "code"), [("pass", Exit.PASS), ("fail", Exit.BROKEN), ("inconclusive", Exit.INCONCLUSIVE)]
)
def test_a_run_exits_with_its_verdict(verdict, code):
    """0, 1, 4: also for the canary that somebody runs on its own."""
    assert run_exit(summary(verdict=verdict)) is code
    assert run_exit(summary(CANARY, verdict, over=0.2)) is code


def of(summaries, **more):
    """Return a comparison's document of these runs."""
    return {"runs": summaries, **more}


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ([], Exit.INCONCLUSIVE),
        (["pass", "pass"], Exit.PASS),
        (["pass", "inconclusive"], Exit.INCONCLUSIVE),
        (["pass", "inconclusive", "fail"], Exit.BROKEN),
        (["fail", "fail"], Exit.BROKEN),
    ],
)
def test_a_comparison_exits_with_the_worst_verdict(verdicts, code):
    """In whatever order the runs came: a broken promise is worse than a doubt."""
    for order in permutations(verdicts):
        assert comparison_exit(of([summary(verdict=verdict) for verdict in order])) is code


def test_a_canary_that_oversells_breaks_no_promise():
    """It does its duty; one that does not oversell leaves the others unproven."""
    assert comparison_exit(of([summary(CANARY, "fail", over=0.2), summary()])) is Exit.PASS
    assert comparison_exit(of([summary(CANARY, "fail", over=0.2), summary(verdict="fail")])) is Exit.BROKEN
    assert comparison_exit(of([summary(CANARY, "inconclusive"), summary()])) is Exit.INCONCLUSIVE


def test_another_strategy_that_oversells_is_no_canary():
    """Whatever it is called: the excuse is for `none` alone."""
    assert comparison_exit(of([summary("check-then-decr", "fail", over=0.2)])) is Exit.BROKEN


def test_an_interrupted_comparison_is_no_pass():
    """What was not run is not proven; what was found broken before stays broken."""
    assert comparison_exit(of([summary()], interrupted=True)) is Exit.INCONCLUSIVE
    assert comparison_exit(of([summary(verdict="fail")], interrupted=True)) is Exit.BROKEN
    assert comparison_exit(of([summary(CANARY, "fail", over=0.2)], interrupted=True)) is Exit.INCONCLUSIVE


class Runs:
    """Stands in for `runs.run`: notes what is run where with which canary, and answers a summary."""

    def __init__(self, over=0.2, interrupted_at=None, broken=None):
        self.over, self.interrupted_at, self.broken, self.seen = over, interrupted_at, broken, []

    def __call__(self, session, plan, folder, canary):
        """Run nothing; the folder must be there."""
        assert folder.is_dir()
        self.seen.append((plan.strategy, plan.users, plan.seed, canary, folder.name))
        is_canary = plan.strategy == CANARY
        facts = {"load": {"users": plan.users}, "seed": plan.seed, "settings": {}, "command": command(plan)}
        result = summary(plan.strategy, "fail" if is_canary else "pass", self.over if is_canary else 0.0, **facts)
        if plan.strategy == self.broken:
            raise StoreUnavailableError("the server\nis gone")
        if len(self.seen) == self.interrupted_at:
            result["interrupted"] = True
        (folder / "summary.json").write_text(json.dumps(result))
        return result


@pytest.fixture
def runs(monkeypatch):
    """Replace the real run; runs(...) gives the stand-in."""

    def replaced(**options):
        stand_in = Runs(**options)
        monkeypatch.setattr(comparison, "run", stand_in)
        return stand_in

    return replaced


def plans(*strategies):
    """Return a plan for each strategy."""
    return [BidPlan(scenario="s", strategy=strategy) for strategy in strategies]


def swept(strategies, *loads):
    """Return a sweep of strategies under loads (users, seed)."""
    given = [plan.model_copy(update={"users": n, "seed": k}) for n, k in loads for plan in plans(*strategies)]
    return planned(given, 1)


def session(lines=None):
    """Return what a comparison needs of a session when nothing is run; `lines` gets what it says."""
    return SimpleNamespace(telling=Telling(line=(lines if lines is not None else []).append))


def compared(tmp_path, strategies, *loads):
    """Compare without stores, for nothing is run."""
    return compare(session(), swept(strategies, *loads), tmp_path)


def test_the_canary_runs_first_in_each_load(runs, tmp_path):
    """Whether it was asked for or not; its rate goes to the runs of the same load."""
    seen = runs().seen
    document = compared(tmp_path, ["a", "b"], (100, 1), (100, 2))
    assert seen == [
        ("none", 100, 1, None, "canary-100-1"),
        ("a", 100, 1, 0.2, "a-100-1"),
        ("b", 100, 1, 0.2, "b-100-1"),
        ("none", 100, 2, None, "canary-100-2"),
        ("a", 100, 2, 0.2, "a-100-2"),
        ("b", 100, 2, 0.2, "b-100-2"),
    ]
    assert [run["strategy"] for run in document["runs"]] == ["a", "b", "a", "b"]
    assert [run["folder"] for run in document["runs"]] == ["a-100-1", "b-100-1", "a-100-2", "b-100-2"]


def test_a_canary_that_was_asked_for_runs_once(runs, tmp_path):
    """First, wherever it stood in the list, and it is among the runs that are shown."""
    seen = runs().seen
    document = compared(tmp_path, ["a", "none"], (100, 1))
    assert [row[0] for row in seen] == ["none", "a"]
    assert [run["strategy"] for run in document["runs"]] == ["none", "a"]


def test_the_document_is_written_after_each_run(runs, tmp_path):
    """What is returned is what is on disk, with a canary for each load."""
    runs(over=0.5)
    document = compared(tmp_path, ["a"], (100, 1), (200, 1))
    assert json.loads((tmp_path / "compare.json").read_text()) == document
    assert document["schema"] == "oversold/compare/1"
    canary = document["canary"]
    assert (canary["strategy"], canary["oversold"], canary["oversubscription"]) == ("none", True, 0.5)
    assert [(row["users"], row["seed"]) for row in canary["runs"]] == [(100, 1), (200, 1)]


def test_a_canary_that_never_oversold_is_told(runs, tmp_path):
    """One load without a race is enough for the whole page to say so."""
    runs(over=0.0)
    document = compared(tmp_path, ["a"], (100, 1))
    assert document["canary"]["oversold"] is False


@pytest.mark.parametrize(("at", "kept"), [(1, []), (2, ["a"]), (3, ["a", "b"])])
def test_an_interrupted_comparison_keeps_what_it_has(at, kept, runs, tmp_path):
    """Nothing is run after it; what is there is on disk."""
    seen = runs(interrupted_at=at).seen
    document = compared(tmp_path, ["a", "b"], (100, 1), (100, 2))
    assert len(seen) == at
    assert [run["strategy"] for run in document["runs"]] == kept
    assert json.loads((tmp_path / "compare.json").read_text()) == document


def test_a_strategy_of_a_file_has_its_class_as_folder(runs, tmp_path):
    """A path is no name for a folder."""
    seen = runs().seen
    compared(tmp_path, ["locks/mine.py:Mine"], (100, 1))
    assert [row[4] for row in seen] == ["canary", "Mine"]


@pytest.mark.parametrize(
    ("strategies", "loads"),
    [
        pytest.param(["a.py:Lock", "b.py:Lock"], [(100, 1)], id="two files, one class name"),
        pytest.param(["a.py:Lock", "b.py:Lock"], [(100, 1), (100, 2)], id="under two loads"),
    ],
)
def test_every_run_has_a_folder_of_its_own(strategies, loads, runs, tmp_path):
    """Else the comparison ends half-way, after minutes of bidding."""
    seen = runs().seen
    compared(tmp_path, strategies, *loads)
    assert len({row[4] for row in seen}) == len(seen)


def test_one_run_is_preceded_by_its_canary(runs, tmp_path):
    """In a folder below; its rate is handed on."""
    seen = runs(over=0.3).seen
    run_one(None, plans("a")[0], tmp_path, with_canary=True)
    assert seen == [("none", 2000, 1, None, "canary"), ("a", 2000, 1, 0.3, tmp_path.name)]


def test_one_run_without_canary_has_none(runs, tmp_path):
    """It cannot pass then, but it can fail; the canary itself needs no other."""
    seen = runs().seen
    run_one(None, plans("a")[0], tmp_path, with_canary=False)
    run_one(None, plans("none")[0], tmp_path, with_canary=True)
    assert [(row[0], row[3]) for row in seen] == [("a", None), ("none", None)]


def test_an_interrupted_canary_ends_the_run(runs, tmp_path):
    """Its summary is all there is: it proves nothing about the strategy, and says so."""
    seen = runs(interrupted_at=1).seen
    result, place = run_one(None, plans("a")[0], tmp_path, with_canary=True)
    assert result["interrupted"]
    assert run_exit(result) is Exit.INCONCLUSIVE
    assert "a was not tried" in result["reasons"][0]
    assert place == tmp_path / "canary"
    assert len(seen) == 1


def test_a_cell_that_fails_does_not_stop_the_others(runs, tmp_path):
    """Its cause is in the document, in one line, and the exit code is that of a harness error."""
    runs(broken="a")
    lines = []
    document = compare(session(lines), swept(["a", "b"], (100, 1), (200, 1)), tmp_path)
    assert [run["strategy"] for run in document["runs"]] == ["b", "b"]
    assert [(row["strategy"], row["users"], row["why"]) for row in document["failed"]] == [
        ("a", 100, "the server is gone"),
        ("a", 200, "the server is gone"),
    ]
    assert comparison_exit(document) is Exit.USAGE
    assert comparison_exit({**document, "runs": [*document["runs"], summary("c", "fail", 0.1)]}) is Exit.BROKEN
    assert "  2/6 a-100-1: FAILED: the server is gone" in lines


@pytest.mark.parametrize("at", range(1, 7))
def test_a_resumed_sweep_equals_an_uninterrupted_one(at, runs, tmp_path):
    """Wherever it was cut off: the same runs in the same order, none twice, and none that was cut off itself."""
    sweep = swept(["a", "b"], (100, 1), (100, 2))
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    runs()
    expected = compare(session(), sweep, whole)
    runs(interrupted_at=at)
    assert compare(session(), sweep, parts)["interrupted"]
    rest = runs().seen
    assert compare(session(), load(parts), parts) == expected
    assert len(rest) == 6 - at + 1
    assert compare(session(), load(parts), parts) == expected  # nothing is left to do
    assert len(rest) == 7 - at
    kept = {path.name for path in parts.iterdir()} - {path.name for path in whole.iterdir()}
    assert kept == {"unfinished"}
    assert [path.name for path in (parts / "unfinished").iterdir()] == [f"{expected_name(sweep, at)}-1"]


def expected_name(sweep: Sweep, at: int) -> str:
    """Return the folder of the cell that was cut off."""
    return sweep.cells[at - 1].folder


def test_a_summary_that_was_tampered_with_is_run_again(runs, tmp_path):
    """Planted: another seed's summary in a cell's folder is not taken for the cell's."""
    sweep = swept(["a"], (100, 1))
    runs()
    compare(session(), sweep, tmp_path)
    path = tmp_path / "a" / "summary.json"
    path.write_text(path.read_text().replace("--seed 1", "--seed 2"))
    again = runs().seen
    compare(session(), sweep, tmp_path)
    assert [row[0] for row in again] == ["a"]


def test_a_sweep_that_was_killed_is_not_a_whole_one(runs, tmp_path, monkeypatch):
    """Planted: a process that dies between two runs leaves a compare.json that says so, and exits with 4."""

    def killed(*_):
        raise SystemExit

    runs()
    stand_in = comparison.run
    calls = iter([stand_in, stand_in, killed])
    monkeypatch.setattr(comparison, "run", lambda *given: next(calls)(*given))  # noqa: PLW0108
    with pytest.raises(SystemExit):
        compare(session(), swept(["a", "b"], (100, 1)), tmp_path)
    left = json.loads((tmp_path / "compare.json").read_text())
    assert ([run["strategy"] for run in left["runs"]], left["planned"]) == (["a"], 2)
    assert left["interrupted"] is True
    assert comparison_exit(left) is Exit.INCONCLUSIVE


def test_nothing_is_run_under_a_load_whose_canary_failed(runs, tmp_path):
    """It would prove nothing; other loads go on, and what the canary proves is said of all loads or of none."""
    seen = runs(broken="none").seen
    document = compared(tmp_path, ["a"], (100, 1))
    assert [row[0] for row in seen] == ["none"]
    assert [row["why"] for row in document["failed"]] == [
        "the server is gone", "its canary could not be run, so nothing would be proven"
    ]  # fmt: skip
    assert document["canary"]["oversold"] is False
    assert comparison_exit(document) is Exit.USAGE


def test_the_lines_tell_how_far_it_is(runs, tmp_path):
    """One line a run, with the canary's duty in words."""
    runs()
    lines = []
    compare(session(lines), swept(["a"], (100, 1)), tmp_path)
    assert lines == ["  1/2 canary: breaks its promise, as it must", "  2/2 a: pass"]
