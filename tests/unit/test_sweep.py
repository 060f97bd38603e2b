"""Sweeps: which runs a comparison is made of, how they are named, kept and read back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oversold import options, sweep
from oversold.bid_plan import BidPlan, BidSettings
from oversold.errors import StoreUnavailableError, UsageError
from oversold.options import Typed, resumed, sweep_of
from oversold.payout_plan import PayoutPlan
from oversold.summary import command
from oversold.sweep import grid, planned, recorded, spoken


def plan(strategy="redis-lua", users=100, sql="postgres", seed=1, **settings):
    """Return a plan."""
    return BidPlan(
        scenario="bid-burst", strategy=strategy, users=users, sql=sql, seed=seed, bids=BidSettings(**settings)
    )


@pytest.fixture
def everything_here(monkeypatch):
    """Let every server be found; what it returns can be filled with what is lacking."""
    lacks = {}
    monkeypatch.setattr(options, "lacking", lambda _: lacks)
    return lacks


def names(found):
    """Return the folders' names in order."""
    return [cell.folder for cell in found.cells]


def test_every_strategy_meets_every_load(everything_here):
    """The grid is users x settings x seeds, a canary for each; all loads come before the first repeat."""
    found = sweep_of(Typed("bid-burst", settings=["p=0.05,0.2"]), "redis-lua,row-lock", "100,200", "2")
    assert len(found.cells) == 2 * 2 * 2 * 3
    assert names(found)[:7] == [
        "canary-100-p=0.05-1",
        "redis-lua-100-p=0.05-1",
        "row-lock-100-p=0.05-1",
        "canary-100-p=0.2-1",
        "redis-lua-100-p=0.2-1",
        "row-lock-100-p=0.2-1",
        "canary-200-p=0.05-1",
    ]
    assert [cell.plan.seed for cell in found.cells] == [1] * 12 + [2] * 12
    assert {(c.plan.users, c.plan.bids.p) for c in found.cells} == {
        (n, p) for n in (100, 200) for p in (0.05, 0.2)
    }
    assert "2 designs x 4 loads x 2 seeds: 16 runs and 8 canaries, about" in found.describe(found.cells)


def test_each_load_has_its_own_canary(everything_here):
    """A canary proves the load that it ran under and no other; the SQL server is no load."""
    found = sweep_of(Typed("bid-burst", settings=["p=0.05,0.2"], sql="postgres,mariadb"), "row-lock", "100", "1")
    assert names(found) == [
        "canary-100-p=0.05-1",
        "row-lock-100-p=0.05-1",
        "row-lock-mariadb-100-p=0.05-1",
        "canary-100-p=0.2-1",
        "row-lock-100-p=0.2-1",
        "row-lock-mariadb-100-p=0.2-1",
    ]
    assert [cell.load == found.cells[0].load for cell in found.cells] == [True] * 3 + [False] * 3


def test_the_sql_server_means_nothing_to_a_design_without_sql(everything_here):
    """On two servers it runs once; the canary is one of these."""
    found = sweep_of(Typed("bid-burst", sql="mariadb,postgres"), "none,redis-lua,version", None, "1")
    assert names(found) == ["none", "redis-lua", "version-mariadb", "version"]


def test_what_is_not_here_is_left_out_of_all(everything_here):
    """`all` goes on without it and says so; by name it is asked for, and its server must be there."""
    everything_here["rabbitmq"] = "no RabbitMQ here: install it"
    found = sweep_of(Typed("bid-burst"), "all", None, "1")
    assert {row["strategy"] for row in found.left_out} == {
        "rabbitmq-queue", "rabbitmq-queue-ack-first", "rabbitmq-queue-no-dedupe"
    }  # fmt: skip
    assert {row["why"] for row in found.left_out} == {"no RabbitMQ here: install it"}
    assert not any("rabbitmq" in name for name in names(found))
    named = sweep_of(Typed("bid-burst"), "rabbitmq-queue", None, "1")
    assert (names(named), named.left_out) == (["canary", "rabbitmq-queue"], ())


def test_nothing_that_can_run_is_an_error(everything_here):
    """The one line says what to install."""
    everything_here |= dict.fromkeys(
        ("redis", "memcached", "sql", "rabbitmq", "redlock"), "no server here: install it"
    )
    with pytest.raises(StoreUnavailableError, match="install it"):
        sweep_of(Typed("bid-burst"), "all", None, "1")


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        (["p=0.1", "p=0.2"], "given twice: write all its values in one, --set p=a,b"),
        (["p=0.1,,0.2"], "a value between the commas is missing"),
        (["p=0.1,many"], "p='many'"),
        (["q=1,2"], "no such setting"),
        (["p"], "write key=value"),
    ],
)
def test_a_grid_that_contradicts_itself_is_refused(pairs, words, everything_here):
    """In one line, before anything is started."""
    with pytest.raises(UsageError, match=words):
        sweep_of(Typed("bid-burst", settings=pairs), "redis-lua", None, "1")


@given(st.lists(st.integers(1, 4), max_size=4))
def test_a_grid_has_every_combination_once(sizes):
    """As many as the values' product, all different, each with one value of every key."""
    pairs = [f"k{i}={','.join(map(str, range(size)))}" for i, size in enumerate(sizes)]
    found = grid(pairs)
    expected = 1
    for size in sizes:
        expected *= size
    assert len({tuple(each) for each in found}) == len(found) == expected
    assert all([word.partition("=")[0] for word in each] == [f"k{i}" for i in range(len(sizes))] for each in found)


def test_a_sweep_survives_the_way_through_its_file(tmp_path):
    """Read back it is the same, and no address is in it."""
    found = planned([plan(), plan("row-lock", sql="mariadb", p=0.3)], 3, [{"strategy": "x", "why": "not here"}])
    found.save(tmp_path)
    assert sweep.load(tmp_path) == found
    assert "://" not in (tmp_path / "sweep.json").read_text()
    payouts = planned([PayoutPlan(scenario="payout-overlap", strategy="cas+state-machine", profile="honest")], 2)
    payouts.save(tmp_path)
    assert sweep.load(tmp_path) == payouts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "holds no sweep"),
        ("{", "cannot be read"),
        ("[]", "has schema None"),
        (json.dumps({"schema": "oversold/sweep/9"}), "this version reads 'oversold/sweep/1'"),
        (json.dumps({"schema": sweep.SCHEMA}), "is damaged"),
        (json.dumps({"schema": sweep.SCHEMA, "cells": [], "left_out": []}), "has no runs"),
        (json.dumps({"schema": sweep.SCHEMA, "cells": [{"plan": {}}], "left_out": []}), "is damaged"),
    ],
)
def test_what_cannot_be_gone_on_with_is_named(text, words, tmp_path):
    """One line each, with the file's name."""
    if text is not None:
        (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(UsageError, match=words):
        sweep.load(tmp_path)


def test_a_sweep_of_another_scenario_is_not_gone_on_with(tmp_path):
    """What is typed beside --resume must not contradict it."""
    planned([plan()], 1).save(tmp_path)
    assert resumed(tmp_path, "bid-burst") == resumed(tmp_path, None)
    with pytest.raises(UsageError, match="of bid-burst, not of payout-overlap"):
        resumed(tmp_path, "payout-overlap")


def test_a_cells_folder_stays_below_the_sweeps(tmp_path):
    """Planted: a path in the file cannot lead elsewhere."""
    planned([plan()], 1).save(tmp_path)
    path = tmp_path / "sweep.json"
    whole = path.read_text()
    for name in ("../../elsewhere", "..", ".", "", "/tmp", ".hidden"):
        path.write_text(whole.replace('"folder": "redis-lua"', f'"folder": "{name}"'))
        with pytest.raises(UsageError, match="damaged"):
            sweep.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, True),
        ({"interrupted": True}, False),
        ({"findings": [{"check": "complete", "verdict": "inconclusive"}]}, False),
        ({"findings": [{"check": "complete", "verdict": "pass"}]}, True),
        (
            {
                "findings": [
                    {"check": c, "verdict": v} for c, v in (("complete", "inconclusive"), ("strategy", "fail"))
                ]
            },
            True,
        ),
        ({"command": "oversold run bid-burst --strategy redis-lua --users 101"}, False),
    ],
    ids=["finished", "interrupted", "a worker lost", "complete", "a strategy that hung", "another plan"],
)
def test_only_a_finished_run_of_the_same_plan_counts(changes, found, tmp_path):
    """All else is run again."""
    cell = planned([plan()], 1).cells[1]
    (tmp_path / cell.folder).mkdir()
    summary = {"command": command(cell.plan), "verdict": "pass", **changes}
    (tmp_path / cell.folder / "summary.json").write_text(json.dumps(summary))
    assert (recorded(cell, tmp_path) is not None) == found


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_damaged_summary_counts_as_none(text, tmp_path):
    """Its run is made again."""
    cell = planned([plan()], 1).cells[0]
    (tmp_path / cell.folder).mkdir()
    (tmp_path / cell.folder / "summary.json").write_text(text)
    assert recorded(cell, tmp_path) is None


def test_a_long_sweep_is_known_to_be_long():
    """The estimate grows with every factor of the grid."""

    def expected_s(*plans, repeat=1):
        return sum(cell.plan.expected_s for cell in planned(plans, repeat).cells)

    small = expected_s(plan())
    assert expected_s(plan(), repeat=10) == pytest.approx(10 * small)
    assert expected_s(plan(users=100_000)) > 2 * small
    assert expected_s(PayoutPlan(scenario="payout-overlap", strategy="cas+state-machine")) > 10
    assert spoken(3 * 3600 + 59 * 60 + 50) == "4 h 00 min"


def test_what_a_canary_that_runs_anew_has_judged_is_run_again(tmp_path):
    """A load is proven as a whole: with its canary gone, only those that were proven before stay."""
    found = planned([plan(), plan("row-lock"), plan("version")], 1)
    for cell, verdict in zip(found.cells, ("pass", "pass", "inconclusive", "inconclusive"), strict=True):
        (tmp_path / cell.folder).mkdir()
        findings = [{"check": "canary", "verdict": verdict}, {"check": "complete", "verdict": "pass"}]
        summary = {"command": command(cell.plan), "findings": findings}
        (tmp_path / cell.folder / "summary.json").write_text(json.dumps(summary))
    assert [cell.folder for cell in sweep.finished(found, tmp_path)] == [
        "canary",
        "redis-lua",
        "row-lock",
        "version",
    ]
    (tmp_path / "canary" / "summary.json").unlink()
    assert [cell.folder for cell in sweep.finished(found, tmp_path)] == ["redis-lua"]


def test_a_sweep_belongs_to_one_at_a_time(tmp_path):
    """A second one is refused in one line; when the first is over it may."""
    planned([plan()], 1).save(tmp_path)
    with sweep.held(tmp_path), pytest.raises(UsageError, match="by another oversold"), sweep.held(tmp_path):
        pass
    with sweep.held(tmp_path):
        pass


def test_seeds_do_not_run_out_in_mid_sweep():
    """The last seed is checked before the first run."""
    assert planned([plan(seed=2**63 - 2)], 2).cells[-1].plan.seed == 2**63 - 1
    with pytest.raises(UsageError, match="too large"):
        planned([plan(seed=2**63 - 2)], 3)
