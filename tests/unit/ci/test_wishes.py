"""What a pipeline asks for, from the options to files and an exit code."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.unit.ci.recorded import broken, changed, single

from oversold.ci.files import check_writable
from oversold.ci.wishes import Wishes
from oversold.errors import Exit, UsageError

P99 = "latency_ms.response.p99"


@pytest.fixture
def before(tmp_path):
    """The folder of an earlier run."""
    folder = tmp_path / "before"
    folder.mkdir()
    (folder / "summary.json").write_text(json.dumps(single()))
    return folder


def test_nothing_asked_is_nothing_done(capsys):
    """Without options and variables the document and the exit codes stay as they are."""
    wishes = Wishes.read(environ={})
    assert wishes.judged(single()) == single()
    assert wishes.report([single()], [Exit.INCONCLUSIVE], stdout_is_json=False) == Exit.INCONCLUSIVE
    assert capsys.readouterr() == ("", "")


def test_everything_asked_is_written(tmp_path, before, capsys):
    """Thresholds and baseline go into the document, JUnit and Markdown to their files, the rest to GitHub."""
    environ = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(tmp_path / "step.md")}
    junit, markdown = tmp_path / "a" / "junit.xml", tmp_path / "b" / "run.md"
    wishes = Wishes.read(
        environ=environ, most=["p99_ms=200"], least=["goodput_per_s=1"], baseline=before, junit=junit,
        markdown=markdown, kind="bids",
    )  # fmt: skip
    assert not junit.parent.exists()
    document = wishes.judged(changed(single(), P99, 9e4))
    assert [row["held"] for row in document["thresholds"]] == [False, True]
    assert document["baseline"]["folder"] == str(before)
    assert document["baseline"]["recorded"] == single()["recorded"]
    assert json.loads(json.dumps(document)) == document
    assert wishes.report([document], [Exit.PASS], stdout_is_json=False) == Exit.THRESHOLD
    assert 'name="bid-burst.thresholds"' in junit.read_text()
    text = markdown.read_text(encoding="utf-8")
    assert text.startswith("## ✗ oversold: pass, but 1 of 2 thresholds missed")
    assert (tmp_path / "step.md").read_text(encoding="utf-8") == text + "\n"
    out, err = capsys.readouterr()
    assert [line.partition(" ")[0] for line in out.splitlines()] == ["::error", "::error"]
    assert err == ""


def test_stdout_stays_one_json_document(capsys):
    """With --json the annotations go to stderr, where GitHub reads them as well."""
    wishes = Wishes.read(environ={"GITHUB_ACTIONS": "true"})
    assert wishes.report([broken(single())], [Exit.BROKEN], stdout_is_json=True) == Exit.BROKEN
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("::error title=bid-burst%2C redis-lua%3A oversubscription::")


def test_several_documents_make_one_file_and_the_worst_code(tmp_path):
    """`report` of many folders: all suites and texts together."""
    wishes = Wishes.read(environ={}, most=["p99_ms=1"], junit=tmp_path / "j.xml", markdown=tmp_path / "m.md")
    documents = [wishes.judged(single()), wishes.judged(broken(single("row-lock")))]
    assert wishes.report(documents, [Exit.PASS, Exit.BROKEN], stdout_is_json=True) == Exit.BROKEN
    assert wishes.report(documents[:1], [Exit.PASS], stdout_is_json=True) == Exit.THRESHOLD
    wishes.report(documents, [Exit.PASS, Exit.BROKEN], stdout_is_json=True)
    assert (tmp_path / "j.xml").read_text().count("<testsuite ") == 4
    assert (tmp_path / "m.md").read_text(encoding="utf-8").count("## ✗ oversold") == 2


@pytest.mark.parametrize(("base", "code"), [(Exit.PASS, Exit.USAGE), (Exit.BROKEN, Exit.BROKEN)])
def test_what_cannot_be_written_is_said_and_all_else_is_written(tmp_path, capsys, base, code):
    """One line a file; a broken promise stays what the exit code tells."""
    wishes = Wishes.read(environ={}, junit=Path("/dev/full"), markdown=tmp_path / "run.md")
    assert wishes.report([single()], [base], stdout_is_json=False) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("oversold: --junit /dev/full cannot be written (No space left on device)")
    assert (tmp_path / "run.md").exists()


def test_mistakes_are_found_before_the_run(tmp_path):
    """A wrong threshold, a baseline that is none, one file for two things."""
    for asked, says in (
        ({"most": ["p99=1"]}, "--max p99=1: unknown metric"),
        ({"least": ["duplicate=0"], "kind": "bids"}, "--min duplicate=0: bids have no duplicate"),
        ({"most": ["gini=0"], "least": ["gini=0.1"]}, "nothing is within both"),
        ({"baseline": tmp_path}, "--baseline: .* holds no run"),
        ({"junit": tmp_path}, "is a folder: name a file in it"),
        ({"junit": tmp_path / "x", "markdown": tmp_path / "x"}, "give each a file of its own"),
    ):
        with pytest.raises(UsageError, match=says):
            Wishes.read(environ={}, **asked)


def test_thresholds_of_a_config_file_are_for_every_scenario():
    """Those of the other kind of incident are left out; unknown ones are mistakes all the same."""
    wishes = Wishes.read(environ={}, most=["duplicate=0", "p99_ms=1", "wall_s=9"], kind="bids", typed=False)
    assert [each.metric.name for each in wishes.thresholds] == ["p99_ms", "wall_s"]
    with pytest.raises(UsageError, match="unknown metric 'p98_ms'"):
        Wishes.read(environ={}, most=["p98_ms=0"], kind="bids", typed=False)


def test_a_place_that_cannot_be_written_is_found_without_touching_it(tmp_path, monkeypatch):
    """A folder, a file on the way, no permission; what can be written stays as it was, or absent."""
    file = tmp_path / "file"
    file.write_text("mine")
    check_writable(file, "--junit")
    check_writable(tmp_path / "new" / "deep" / "x.xml", "--junit")
    check_writable(Path("in-this-folder.xml"), "--junit")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
    assert file.read_text() == "mine"
    with pytest.raises(UsageError, match=r"--junit .*/file/x.xml: .*/file is not a folder"):
        check_writable(file / "x.xml", "--junit")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UsageError, match=r"--markdown .*/file cannot be written \(permission denied\)"):
        check_writable(file, "--markdown")
    with pytest.raises(UsageError, match=r"nothing can be written to .* \(permission denied\)"):
        check_writable(tmp_path / "new", "--markdown")
