"""From a failed run to its cause: what is explored for it, what is kept, and that it cannot spoil the run."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from tests.unit.report_schedule.schedules import OVERSOLD, lost_update, paid_twice, tapped_again

from oversold import schedule_file
from oversold.errors import StoreUnavailableError
from oversold.explorations import answers, causes, questions, servers
from oversold.explore.explorer import Result
from oversold.report.explained import read
from oversold.schedule import Broken
from oversold.stores.providers import StoreChoice
from oversold.telling import Telling


def run(strategy="check-then-decr", *failed, verdict="fail", **more):
    """Return what the causes look at in a summary of bids."""
    findings = [{"check": check, "verdict": "fail", "detail": "So it is."} for check in failed]
    findings.append({"check": "complete", "verdict": "pass", "detail": ""})
    return {
        "strategy": strategy,
        "sql": "postgres",
        "verdict": verdict,
        "findings": findings,
        "settings": {},
        **more,
    }


def payday(strategy="row-lock+unique-outbox", *failed, **more):
    """Return the same of payouts."""
    return run(strategy, *failed, obligations={"count": 1}, **more)


@pytest.mark.parametrize(
    ("summary", "checks", "numbers"),
    [
        (run("check-then-decr", "oversubscription"), (), {"bidders": 2, "capacity_bids": 1, "shares": "1"}),
        (run("check-then-decr", "leak", "duplicate_order"), (), None),
        (run("redis-decr", "leak", "undersubscription"), ("undersubscription",), None),
        (run("redis-decr", "claim_gap"), ("claim_gap",), None),
        (run("redis-decr", "false_full", "undersubscription"), ("undersubscription",), None),
        (payday("row-lock+unique-outbox", "overpaid", "missed"), (), {"workers": 2, "obligations": 1}),
        (payday("row-lock+unique-outbox", "missed", "unresolved"), ("missed",), None),
        (payday("row-lock+unique-outbox", "false_terminal"), ("false_terminal",), None),
    ],
)
def test_what_lost_money_is_explored_first_and_the_rest_by_name(summary, checks, numbers):
    """Two bidders and one share, or two workers and one payout, without a fault first and then with one."""
    found = causes.asked(summary)
    assert (found.strategy, found.limits.checks, found.limits.faults) == (summary["strategy"], checks, 1)
    assert numbers is None or found.scenario == numbers
    assert causes.command(summary) == questions.command(found)


LATCHED = {"full_when": "reserved", "reopen_on_release": False}


@pytest.mark.parametrize(
    "summary",
    [
        run("redis-lua", verdict="pass"),
        run("redis-lua", "oversubscription", verdict="inconclusive"),
        run("redis-lua", "false_full"),
        run("redis-lua", "false_full", "undersubscription", settings=LATCHED),
        run("redis-lua", "strategy"),
        run("shop.toml", "oversubscription"),
        run("check-then-decr", "oversubscription", http={"served_by": "oversold serve"}),
        run("rabbitmq-queue-ack-first", "oversubscription"),
        run("./gone.py:Shop", "oversubscription"),
    ],
    ids=["passed", "unproven", "full-mark", "undersold-by-it", "hung", "service", "http", "no-seam", "gone"],
)
def test_what_cannot_be_explored_has_no_command(summary):
    """No command that would find nothing, or could not run, is given."""
    assert causes.asked(summary) is None
    assert causes.command(summary) is None


def passed(strategy="redis-lua", **more):
    """Return a summary of a run that passed."""
    return run(strategy, **{"verdict": "pass", "canary": False, **more})


def test_a_pass_names_what_proves_more():
    """One line for all runs together, with the first design that passed and can be explored."""
    told = causes.after_pass([run("none", canary=True), passed("rabbitmq-queue"), passed(), passed("row-lock")])
    assert told.startswith("A burst proves no absence: `oversold explore redis-lua --bidders 3` ")
    assert "\n" not in told
    paid = causes.after_pass([passed("row-lock+state-machine", obligations={}, sql="mariadb")])
    assert "`oversold explore row-lock+state-machine --workers 2 --sql mariadb`" in paid


@pytest.mark.parametrize(
    "summary",
    [
        passed(canary=True),
        passed(verdict="fail"),
        passed(verdict="inconclusive"),
        passed("rabbitmq-queue"),
        passed("shop.toml"),
        passed(http={"served_by": "oversold serve"}),
        passed("./gone.py:Shop"),
    ],
    ids=["canary", "failed", "unproven", "no-seam", "service", "http", "gone"],
)
def test_what_did_not_pass_or_cannot_be_explored_names_nothing(summary):
    """No command is given that could not run, or that nobody needs."""
    assert causes.after_pass([summary]) is None


def test_the_command_names_a_server_only_where_the_design_uses_it():
    """A design over Redis alone is the same on any SQL server."""
    assert "--sql mariadb" in causes.command(run("version", "oversubscription", sql="mariadb"))
    assert "--sql" not in causes.command(run("none", "oversubscription", sql="mariadb"))


class Searching:
    """Stands for the search: what it finds by strategy, and what it was asked."""

    def __init__(self, monkeypatch, **found):
        self.found = {name.replace("_", "-"): result for name, result in found.items()}
        self.asked = []
        self.lines = []
        self.telling = Telling(line=self.lines.append)
        monkeypatch.setattr(servers, "explored", self)
        monkeypatch.setattr(servers, "Stores", lambda choice: self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __call__(self, asked, servers, tell):
        self.asked.append(asked)
        tell(SimpleNamespace(runs=3))
        found = self.found[asked.strategy]
        if isinstance(found, BaseException):
            raise found
        return found

    def explain(self, document, folder, budget_s=2.0):
        """Explain a document."""
        return causes.explain(document, folder, StoreChoice(), budget_s, self.telling)


def found(schedule, strategy):
    """Return what a search has found."""
    return Result("VIOLATION", replace(schedule, strategy=strategy), runs=2, repeated=10)


def test_what_is_found_is_kept_and_told(tmp_path, monkeypatch):
    """Replay file and diagram lie in the folder, sentence and exact command in summary.json; verdict as before."""
    search = Searching(monkeypatch, none=found(lost_update(), "none"))
    summary = run("none", "oversubscription", explain="oversold explore none --faults 1")
    told = search.explain(summary, tmp_path)
    assert [(one.limits.budget_s, one.limits.faults) for one in search.asked] == [(2.0, 1)]
    assert schedule_file.read(tmp_path / "explain/none/replay.jsonl") == lost_update()
    assert (tmp_path / "explain/none/schedule.mmd").read_text().startswith("sequenceDiagram")
    assert "--faults 0" in told["explain"]
    assert (told["cause"]["steps"], told["cause"]["faults"], told["cause"]["check"]) == (6, 0, "oversubscription")
    assert told["cause"]["folder"] == "explain/none"
    assert {**told, "explain": summary["explain"], "cause": None} == {**summary, "cause": None}
    assert json.loads((tmp_path / "summary.json").read_text()) == told
    assert search.lines == ["explained: none oversells in 6 steps"]


def test_each_design_is_searched_once_and_the_canary_too(tmp_path, monkeypatch):
    """Under two loads, on two servers: what loses money first; what has its schedule already is not searched."""
    search = Searching(
        monkeypatch, none=Result("SAMPLED"), version=Result("SAMPLED"), redis_decr=Result("BOUNDED")
    )
    runs = [
        run("redis-decr", "leak"),
        run("version", "undersubscription"),
        run("version", "oversubscription"),
        run("version", "oversubscription", sql="mariadb"),
        run("redis-lua", verdict="pass"),
    ]
    document = {"runs": runs, "canary": {"strategy": "none", "oversold": True}}
    assert search.explain(document, tmp_path) == document
    designs = [(one.strategy, one.sql, one.limits.checks) for one in search.asked]
    assert sorted(designs) == [
        ("none", "postgres", ()),
        ("redis-decr", "postgres", ("leak",)),
        ("version", "mariadb", ()),
        ("version", "postgres", ()),
    ]
    assert not (tmp_path / "compare.json").exists()
    search.asked.clear()
    (tmp_path / "explain/none").mkdir(parents=True)
    schedule_file.write(lost_update(), tmp_path / "explain/none/replay.jsonl")
    search.explain(document, tmp_path)
    assert "none" not in {one.strategy for one in search.asked}
    search.asked.clear()
    search.explain({"runs": [], "canary": {"strategy": "none", "oversold": False}}, tmp_path)
    search.explain({**document, "interrupted": True}, tmp_path)
    search.explain(document, tmp_path, 0)
    assert search.asked == []


def test_two_designs_of_one_name_get_a_folder_each(tmp_path, monkeypatch):
    """Classes of the same name in two files; and a damaged replay file is written anew."""
    files = [tmp_path / f"{word}.py" for word in "ab"]
    for path in files:
        path.write_text(
            "from oversold.strategies.bids.none import NoLock\nclass Shop(NoLock):\n    '''A. B. C.'''\n"
        )
    names = [f"{path}:Shop" for path in files]
    search = Searching(monkeypatch)
    search.found = {name: found(lost_update(), name) for name in names}
    (tmp_path / "explain/Shop").mkdir(parents=True)
    (tmp_path / "explain/Shop/replay.jsonl").write_text("damaged")
    document = {"runs": [run(name, "oversubscription") for name in names], "canary": {"strategy": "none"}}
    told = search.explain(document, tmp_path)
    assert [each["cause"]["folder"] for each in told["runs"]] == ["explain/Shop", "explain/Shop.2"]
    assert {each.schedule.strategy for each in read(tmp_path)[0]} == set(names)


@pytest.mark.parametrize(
    ("error", "says", "goes_on"),
    [
        (StoreUnavailableError("no Redis here: install redis-server"), "no Redis here", True),
        (RuntimeError("anything"), "anything", True),
        (PermissionError(13, "Permission denied"), "Permission denied", True),
        (KeyboardInterrupt(), "interrupted while explaining", False),
    ],
)
def test_whatever_goes_wrong_is_one_line(tmp_path, monkeypatch, capsys, error, says, goes_on):
    """The run has come to its end: its document stays, and the next design is explained after an error."""
    monkeypatch.delenv("OVERSOLD_DEBUG", raising=False)
    search = Searching(monkeypatch, none=error, check_then_decr=found(lost_update(), "check-then-decr"))
    runs = [run("none", "oversubscription"), run("check-then-decr", "oversubscription")]
    told = search.explain({"runs": runs, "canary": {"strategy": "none"}}, tmp_path)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert says in lines[0]
    assert "cause" not in told["runs"][0]
    assert ("cause" in told["runs"][1]) is goes_on


def test_a_search_that_was_interrupted_ends_the_search(tmp_path, monkeypatch, capsys):
    """The explorer keeps what it had; unproven, it explains nothing here."""
    half = replace(found(lost_update(), "none"), interrupted=True)
    search = Searching(monkeypatch, none=half, check_then_decr=half)
    runs = [run("none", "oversubscription"), run("check-then-decr", "oversubscription")]
    document = {"runs": runs, "canary": {"strategy": "none"}}
    assert search.explain(document, tmp_path) == document
    assert len(search.asked) == 1
    assert "interrupted" in capsys.readouterr().err


def test_a_schedule_explains_only_what_it_breaks(tmp_path):
    """A run that undersold is not explained by a schedule that oversells, nor one that passed by any."""
    for schedule in (lost_update(), tapped_again(), paid_twice()):
        place = tmp_path / "explain" / schedule.strategy
        place.mkdir(parents=True)
        schedule_file.write(schedule, place / "replay.jsonl")

    def causes_of(*summaries):
        told = causes.told({"runs": summaries, "canary": {}}, tmp_path)
        return [each.get("cause", {}).get("check") for each in told["runs"]]

    assert causes_of(
        run("none", "oversubscription"),
        run("none", "undersubscription"),
        run("none", verdict="pass"),
        run("redis-decr", "undersubscription"),
        run("redis-decr", "oversubscription"),
    ) == ["oversubscription", None, None, "undersubscription", None]
    assert causes.told(payday("row-lock+unique-outbox", "overpaid"), tmp_path)["cause"]["faults"] == 1


def test_a_full_disk_is_one_line(tmp_path, monkeypatch, capsys):
    """The causes are told all the same, and the verdict stands."""
    search = Searching(monkeypatch, none=found(lost_update(), "none"))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("oversold.places.write_json", full)
    assert search.explain(run("none", "oversubscription"), tmp_path)["cause"]["steps"] == 6
    assert capsys.readouterr().err.count("\n") == 1


def test_what_was_not_found_is_said(tmp_path, monkeypatch):
    """In one line, in the explorer's own words; nothing is written."""
    search = Searching(monkeypatch, redis_lua=Result("EXHAUSTED", runs=24))
    summary = run("redis-lua", "oversubscription")
    told = search.explain(summary, tmp_path)
    said = answers.said(search.asked[0], Result("EXHAUSTED", runs=24))
    assert search.lines == [f"not explained: redis-lua: {said}"]
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]
    assert "--bidders 3 --capacity-bids 2" in told["explain"]  # two were tried in vain
    assert {**told, "explain": None} == {**summary, "explain": None}


def test_a_deadlock_explains_a_run_that_lost_money(tmp_path, monkeypatch):
    """What nobody asked for and the explorer finds is told as what it is."""
    stuck = replace(lost_update(), outcome="DEADLOCK", broken=Broken("deadlock", OVERSOLD.detail, 6))
    search = Searching(monkeypatch, none=found(stuck, "none"))
    assert search.explain(run("none", "lost_order"), tmp_path)["cause"]["check"] == "deadlock"
