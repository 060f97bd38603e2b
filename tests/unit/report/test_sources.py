"""Folders of runs read back: one by one, side by side, damaged ones named and left out."""

import json

import pytest

from oversold.errors import UsageError
from oversold.report import sources


def run(strategy="redis-lua", **more):
    """Return what is looked at in a summary."""
    return {
        "schema": "oversold/run/1",
        "strategy": strategy,
        "seed": 1,
        "verdict": "pass",
        "rates": {"oversubscription": 0.0},
        "load": {"users": 100},
        "tranche": {},
        **more,
    }


def comparison(*runs, oversold=True, share=0.2, **more):
    """Return a compare.json."""
    canary = {"strategy": "none", "oversold": oversold, "oversubscription": share, "runs": [{"users": 100}]}
    return {"schema": "oversold/compare/1", "runs": list(runs), "canary": canary, **more}


def put(folder, name, document):
    """Write a document into a folder, which is made; return the folder."""
    folder.mkdir(parents=True)
    (folder / name).write_text(document if isinstance(document, str) else json.dumps(document))
    return folder


def test_a_canary_that_was_never_judged_has_proven_nothing(tmp_path):
    """Its rate is null: it stands beside its run as one that did not oversell; the planted one did."""
    put(tmp_path / "canary", "summary.json", run("none", rates={"oversubscription": None}))
    assert sources.Source("", tmp_path, run()).comparison["canary"]["oversold"] is False
    other = tmp_path / "other"
    put(other / "canary", "summary.json", run("none", rates={"oversubscription": 0.2}))
    assert sources.Source("", other, run()).comparison["canary"]["oversold"] is True


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("compare.json", "{", "cannot be read"),
        ("compare.json", "[]", "has schema None"),
        ("compare.json", {"schema": "oversold/compare/2"}, "this version reads 'oversold/compare/1'"),
        ("compare.json", {"schema": "oversold/compare/1"}, "is damaged"),
        ("summary.json", {"schema": "oversold/compare/1"}, "this version reads 'oversold/run/1'"),
        ("other.json", {}, "holds no run"),
    ],
)
def test_what_cannot_be_read_is_named_and_left_out(name, text, words, tmp_path):
    """One line each; the others are still there. Alone it is an error."""
    bad = put(tmp_path / "bad", name, text)
    good = put(tmp_path / "good", "summary.json", run())
    found, problems = sources.gathered([bad, good])
    assert [source.folder for source in found] == [good]
    assert len(problems) == 1
    assert str(bad) in problems[0]
    assert words in problems[0]
    with pytest.raises(UsageError, match=words):
        sources.gathered([bad])


def test_folders_are_told_apart_by_as_little_as_it_takes(tmp_path):
    """Their names, where these differ; else with what is above them."""
    a = put(tmp_path / "monday" / "run", "summary.json", run())
    b = put(tmp_path / "tuesday" / "run", "summary.json", run())
    c = put(tmp_path / "tuesday" / "walk", "summary.json", run())
    assert [source.word for source in sources.gathered([a, b])[0]] == ["monday/run", "tuesday/run"]
    assert [source.word for source in sources.gathered([b, c])[0]] == ["run", "walk"]
    (tmp_path / "latest").symlink_to(c)
    assert [source.word for source in sources.gathered([b, tmp_path / "latest"])[0]] == ["run", "walk"]


def test_side_by_side_every_run_says_where_it_is_from(tmp_path):
    """A comparison and a single run; the runs' folders are whole paths, the canary proves what both proved."""
    whole = put(
        tmp_path / "a", "compare.json",
        comparison(run(folder="x", recorded="2026-01-02T00:00:00+00:00"), left_out=[{"why": "z"}]),
    )  # fmt: skip
    single = put(tmp_path / "b", "summary.json", run("row-lock", recorded="2026-01-03T00:00:00+00:00"))
    put(single / "canary", "summary.json", run("none", canary=True, rates={"oversubscription": 0.1}))
    document = sources.side_by_side(sources.gathered([whole, single])[0])
    assert [(each["strategy"], each["source"], each["folder"]) for each in document["runs"]] == [
        ("redis-lua", "a", str(whole / "x")),
        ("row-lock", "b", str(single)),
    ]
    assert (document["canary"]["oversold"], document["canary"]["oversubscription"]) == (True, 0.1)
    assert len(document["canary"]["runs"]) == 2
    assert [row["recorded"] for row in document["sources"]] == [
        "2026-01-02T00:00:00+00:00", "2026-01-03T00:00:00+00:00"
    ]  # fmt: skip
    assert document["left_out"] == [{"why": "z"}]
    assert "failed" not in document


def test_one_source_without_a_proof_takes_it_from_all(tmp_path):
    """Planted: a single run whose canary is gone proves nothing, and so do both together."""
    whole = put(tmp_path / "a", "compare.json", comparison(run(folder="x")))
    single = put(tmp_path / "b", "summary.json", run("row-lock"))
    assert sources.side_by_side(sources.gathered([whole, whole])[0])["canary"]["oversold"] is True
    assert sources.side_by_side(sources.gathered([whole, single])[0])["canary"]["oversold"] is False


def test_bids_and_payouts_do_not_compare(tmp_path):
    """They have no number in common."""
    bids = put(tmp_path / "a", "summary.json", run())
    payouts = put(tmp_path / "b", "summary.json", run(obligations={}, rates={"duplicate": 0.0}))
    with pytest.raises(UsageError, match="folders of one kind"):
        sources.side_by_side(sources.gathered([bids, payouts])[0])
