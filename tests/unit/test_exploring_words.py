"""What `oversold explore` and `replay` say: lines that fit, what to do next, whose file it is, step by step."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.unit.report_schedule import schedules

from oversold import terminal
from oversold.commands import exploring
from oversold.errors import UsageError
from oversold.explorations import answers, questions, replays
from oversold.explorations.options import Typed, exploration_of
from oversold.explorations.questions import Exploration
from oversold.explorations.replays import Replayed
from oversold.explore.explorer import Limits, Result

CROWD = {"bidders": 3, "capacity_bids": 2, "shares": "1"}
COMMAND = "oversold explore row-lock --bidders 3 --capacity-bids 2 --faults 1"


def asked(**limits: Any) -> Exploration:
    """Return a question about three bidders and one fault."""
    return Exploration("row-lock", "bids", CROWD, Limits(**{"faults": 1, "budget_s": 30, **limits}))


@pytest.mark.parametrize(("columns", "width"), [("", 80), ("120", 120), ("0", 80), ("-5", 80), ("wide", 80)])
def test_a_pipe_is_as_wide_as_columns_says(monkeypatch: pytest.MonkeyPatch, columns: str, width: int) -> None:
    """What is no width counts as nothing."""
    monkeypatch.setenv("COLUMNS", columns)
    assert terminal.piped_width(80) == width


def said(part: str, width: int = 40, **more: Any) -> list[str]:
    """Return the lines in which a part of an answer is printed."""
    out = io.StringIO()
    exploring._say(Console(file=out, width=width), part, **more)
    return out.getvalue().splitlines()


def test_sentences_fit_and_commands_stay_whole() -> None:
    """Lines break between words; a path that is longer than a line, or what is to be copied, never breaks."""
    sentence = "Bidder 1 read left = 100 at step 1; bidder 2 had changed it by step 3."
    assert said(sentence) == ["Bidder 1 read left = 100 at step 1;", "bidder 2 had changed it by step 3."]
    path = f"/{'a-long-folder/' * 5}replay.jsonl"
    assert said(f"see {path}") == ["see", path]
    assert said(f"again: oversold replay {path}", whole=True) == [f"again: oversold replay {path}"]
    assert said("[bold]x[/bold]") == ["[bold]x[/bold]"]


def test_who_never_pauses_is_named_in_proof_and_command() -> None:
    """A proof about workers who never stop says so, and so does the command that repeats it."""
    question = exploration_of(Typed("cas+state-machine", bidders="1", pauses=False), "payouts")
    assert question.scenario["pauses"] == 0
    assert "--workers 1 --no-pauses" in questions.command(question)
    assert "of 1 worker who never pauses pays too much" in answers.said(question, Result("EXHAUSTED"))
    question = exploration_of(Typed("cas+state-machine"), "payouts")
    assert "--no-pauses" not in questions.command(question)
    assert "of 2 workers pays too much" in answers.said(question, Result("EXHAUSTED"))


def test_several_bids_each_are_told_in_proof_and_command() -> None:
    """By default one share fewer than there are bids is for sale; one bid each is not worth a word."""
    question = exploration_of(Typed("row-lock", bidders="2", bids_each="2"), "bids")
    assert question.scenario == {"bidders": 2, "capacity_bids": 3, "shares": "1", "bids_each": 2}
    assert "--bidders 2 --capacity-bids 3 --bids-each 2 --faults 0" in questions.command(question)
    assert "of 2 bidders with 2 bids each for 3 shares oversells" in answers.said(question, Result("EXHAUSTED"))
    question = exploration_of(Typed("row-lock", bidders="2", bids_each="1"), "bids")
    assert "bids_each" not in question.scenario
    assert "--bids-each" not in questions.command(question)


@pytest.mark.parametrize("word", ["0", "17", "two", "-1", "1.5"])
def test_bids_each_that_cannot_be(word: str) -> None:
    """It is named, with the way out."""
    with pytest.raises(UsageError, match="--bids-each"):
        exploration_of(Typed("row-lock", bids_each=word), "bids")


def test_a_sale_of_one_share_is_walked_as_well_unless_its_size_was_given() -> None:
    """Where nothing can be oversold there, or what is asked for is something else, it is no matter."""
    assert exploration_of(Typed("row-lock"), "bids").smaller == {"bidders": 3, "capacity_bids": 1, "shares": "1"}
    for typed in (
        Typed("row-lock", capacity_bids="2"),
        Typed("row-lock", bidders="2"),
        Typed("row-lock", mode="hunt"),
        Typed("row-lock", checks=("leak",)),
    ):
        assert exploration_of(typed, "bids").smaller is None
    assert exploration_of(Typed("cas+state-machine"), "payouts").smaller is None


def test_workers_make_no_bids() -> None:
    """Payouts have no bids."""
    with pytest.raises(UsageError, match="--bids-each means nothing to payouts"):
        exploration_of(Typed("cas+state-machine", bids_each="2"), "payouts")


def test_a_counterexample_is_followed_by_its_replay() -> None:
    """The command as a shell takes it, blanks and all."""
    files = [Path("my reports/schedule.html"), Path("my reports/replay.jsonl")]
    found = Result("VIOLATION", schedules.lost_update())
    assert answers.following(asked(), found, files) == ["again: oversold replay 'my reports/replay.jsonl'"]


def test_after_a_proof_there_is_nothing_to_do() -> None:
    """An exhausted search asks for nothing more, nor does one that escaped."""
    assert answers.following(asked(), Result("EXHAUSTED", bound=1), [Path("explore.json")]) == []
    assert answers.following(asked(), Result("NONDETERMINISTIC"), [Path("explore.json")]) == []


def test_a_search_that_was_too_short_is_followed_by_a_longer_one() -> None:
    """The same command with four times the budget; a hunt is told that it can prove nothing."""
    command, other = answers.following(asked(), Result("BOUNDED", bound=0), [])
    assert command == f"next: {COMMAND} --budget 120s"
    assert "fewer --bidders or --faults" in other
    command, other = answers.following(asked(faults=0, mode="hunt"), Result("SAMPLED"), [])
    assert command.endswith("--faults 0 --budget 120s --mode hunt")
    assert other.startswith("Or: --mode exhaustive with fewer --bidders, ")


def test_a_search_that_walked_all_and_is_no_proof_needs_no_more_time() -> None:
    """Where a statement's wait could hide an order, a hunt walks the same orders: a burst is what is left."""
    doubtful = Result("SAMPLED", bound=1, why="a statement waited", moved=True)
    assert answers.following(asked(), doubtful, []) == ["next: oversold run bid-burst --strategy row-lock"]
    payouts = replace(asked(), strategy="cas+state-machine", kind="payouts", sql="mariadb")
    assert answers.following(payouts, doubtful, []) == [
        "next: oversold run payout-overlap --strategy cas+state-machine --sql mariadb"
    ]
    assert answers.following(asked(), Result("SAMPLED", bound=1, why="nobody bought anything"), []) == []


@pytest.mark.parametrize(
    ("changed", "written_for", "begins"),
    [
        (False, "", "It happened again"),
        (True, "", "The strategy's text has changed since the file was written. It happened again"),
        (True, "./shop.py:Shop", "The file was written for ./shop.py:Shop; this is none. It happened again"),
        (False, "./moved.py:NoLock", "It happened again"),
    ],
    ids=["same", "changed", "another", "moved"],
)
def test_a_replay_says_whose_file_it_was(changed: bool, written_for: str, begins: str) -> None:
    """Another strategy is not called a change of the file's own, and one that has only moved is the same."""
    found = Replayed("broken", changed, schedules.lost_update(), written_for=written_for)
    assert replays.told(found).startswith(begins)


def refused(strategy: str, file: Path) -> str:
    """Return why a replay file is refused; nothing where it is not."""
    try:
        replays.require_strategy(replace(schedules.lost_update(), strategy=strategy), file)
    except UsageError as error:
        return str(error)
    return ""


def test_a_strategy_that_is_not_here_is_looked_for_where_the_file_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its path counted from a folder above the replay file; where it is there it is named, else how to name it."""
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    file = project / "reports/explore/1/replay.jsonl"
    for folder in (file.parent, elsewhere):
        folder.mkdir(parents=True)
    (project / "shop.py").write_text("")
    monkeypatch.chdir(elsewhere)
    assert refused("shop.py:Shop", file).endswith(f"in {project}: add --strategy {project}/shop.py:Shop")
    gone = refused("./stall.py:Stall", file)
    assert gone.endswith("there is no such file here: add --strategy ./path.py:Stall")
    assert refused("none", file) == ""
    monkeypatch.chdir(project)
    assert refused("shop.py:Shop", file) == ""


def stepped(monkeypatch: pytest.MonkeyPatch, *typed: str) -> tuple[list[str], bool]:
    """Return what stepping through a schedule of six steps prints, and whether it came to the end."""
    keys = iter(typed)
    out = io.StringIO()
    console = Console(file=out, width=80)

    def typing(_: object = "") -> str:
        console.print("?")
        try:
            return next(keys)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr(console, "input", typing)
    ended = exploring._stepped(console, schedules.lost_update())
    return out.getvalue().splitlines(), ended


def test_each_step_waits_for_enter_and_shows_its_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one too; `q` and the end of the input end it."""
    lines, ended = stepped(monkeypatch, *[""] * 6)
    assert (ended, lines.count("?")) == (True, 6)
    assert lines[:3] == ["?", "   1 | bidder 1: GET left -> 100", "?"]
    assert "     | ~ stale: changed at 3" in lines
    assert lines[-1] == "     | X oversells"
    assert stepped(monkeypatch, "", "Q") == (["?", "   1 | bidder 1: GET left -> 100", "?"], False)
    assert stepped(monkeypatch) == (["?", ""], False)


def test_in_a_pipe_nobody_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--step` shows the lanes at once where nobody can press Enter."""
    monkeypatch.setattr(exploring, "_stepped", lambda *_: pytest.fail("it would hang"))
    out = io.StringIO()
    exploring._walk(Console(file=out, width=80), schedules.lost_update(), slowly=True)
    assert " X 6 |" in out.getvalue()
