"""The baseline: what got worse is found, noise is not, and what cannot be compared is said."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import pytest
from tests.unit.ci.recorded import broken, changed, comparison, several, single

from oversold.ci.baseline import allowed, caveats, compared, load
from oversold.ci.exits import exit_with
from oversold.ci.metrics import BY_NAME, METRICS, Tolerance
from oversold.errors import Exit, UsageError

P99, GOODPUT = "latency_ms.response.p99", "load.goodput_per_s"


def worse(now, before):
    """Return the names of the metrics that got worse."""
    return [row["metric"] for row in compared(now, before) if row["worse"]]


def test_a_run_is_not_worse_than_itself():
    """Every number is compared, none is worse, nothing is to be told; a comparison with a single run too."""
    for document in (single(), comparison(), comparison("payout-overlap")):
        assert worse(document, document) == []
        assert caveats(document, document) == []
        assert len(compared(document, document)) > 5
    assert worse(single(), comparison("bid-burst", "redis-lua")) == []


def test_two_recorded_seeds_differ_by_noise_alone():
    """Seed 2 of every design is not worse than its seed 1, nor the other way round."""
    runs = comparison()["runs"]
    one, two = ({**comparison(), "runs": [run for run in runs if run["seed"] == seed]} for seed in (1, 2))
    assert worse(one, two) == worse(two, one) == []


@pytest.mark.parametrize(
    ("place", "factor", "metric"),
    [
        (P99, 2.1, "p99_ms"),
        (GOODPUT, 0.45, "goodput_per_s"),
        ("load.attempts_per_bid", 1.6, "attempts_per_bid"),
        ("outcomes.error", 2.5, "error_rate"),
    ],
)
def test_a_large_change_of_a_single_run_is_found(place, factor, metric):
    """Twice the time, half the pace, half as many taps again: found, and only in the bad direction."""
    before = single()
    number = BY_NAME[metric].of(before) * (before["load"]["bids"] if metric == "error_rate" else 1)
    after = changed(before, place, number * factor)
    assert worse(after, before) == [metric]
    assert worse(before, after) == []
    assert worse(changed(before, place, number * (1 + (factor - 1) / 3)), before) == []


def test_the_seeds_of_a_comparison_tell_their_own_noise():
    """Three steady runs make 40 % more worth telling; three that range as widely do not."""

    def runs(*values):
        return several(*(changed(single(), P99, value) for value in values))

    steady, slower = runs(500.0, 505.0, 510.0), runs(700.0, 705.0, 710.0)
    assert worse(slower, steady) == ["p99_ms"]
    assert worse(runs(700.0, 710.0), steady) == []  # two runs do not tell their noise
    assert worse(runs(600.0, 705.0, 900.0), steady) == []
    assert worse(slower, runs(300.0, 505.0, 700.0)) == []


def test_of_many_runs_one_that_went_astray_hides_nothing():
    """From eight runs on the middle half is the noise."""
    tolerance = Tolerance(1.0, 0.25, 0.0)
    calm = [100.0, 101.0, 102.0, 103.0, 104.0, 105.0, 106.0]
    assert allowed(tolerance, [*calm, 900.0], [*calm, 107.0]) < 30
    assert allowed(tolerance, [*calm[:6], 900.0], calm) > 700
    assert allowed(tolerance, [100.0], [100.0]) == 100.0


def test_a_promise_has_no_tolerance():
    """The least new breach is worse, whatever the numbers are; one that was there before is not new."""
    before, after = single(), changed(single(), "rates.oversubscription", 1e-9)
    (row,) = [row for row in compared(after, before) if row["metric"] == "oversubscription"]
    assert (row["worse"], row["why"]) == (True, "Newly broken.")
    (row,) = [row for row in compared(after, after) if row["metric"] == "oversubscription"]
    assert (row["worse"], row["why"]) == (False, "Broken before already.")


def test_a_verdict_that_got_worse_is_told():
    """A check that fails now, or a pass that is none any more; not a failure that was there."""
    before, failing = single(), broken(single(), "lost_order")
    (row,) = [row for row in compared(failing, before) if row["worse"]]
    assert row == {
        "strategy": "redis-lua", "load": "300 users", "metric": "verdict", "before": "pass", "now": "fail",
        "worse": True, "why": "Now fails lost order.",
    }  # fmt: skip
    assert worse(broken(before, "overlap", "inconclusive"), before) == ["verdict"]
    assert worse(failing, failing) == worse(before, failing) == []
    assert worse(broken(failing, "leak"), failing) == ["verdict"]


def test_another_load_is_not_compared():
    """Users, capacity, lanes or a setting make another load: it is said which, and that nothing was compared."""
    before = single()
    for place, value, said in (
        ("load.users", 500, "users 300 instead of 500"),
        ("load.lanes", 8, "lanes 64 instead of 8"),
        ("tranche.capacity_fen", 7, "capacity_fen 1000000000 instead of 7"),
        ("settings.p", 0.5, "p 0.1 instead of 0.5"),
        ("scenario", "my-burst", "scenario bid-burst instead of my-burst"),
    ):
        now = changed(before, place, value)
        assert compared(now, before) == []
        lines = caveats(now, before)
        assert lines[0] == "Nothing could be compared: make a new baseline."
        assert lines[1].endswith(f"not compared, the baseline has {said}.")
    newer = changed(before, "settings.not_known_before", 1)
    assert compared(newer, before)


def test_a_design_without_a_partner_is_told():
    """New ones and those that are gone; of a single run nobody expects the others."""
    both, one = comparison("bid-burst", "redis-lua", "row-lock"), comparison("bid-burst", "redis-lua")
    assert caveats(both, one) == ["row-lock: the baseline does not have it."]
    assert caveats(one, both) == ["row-lock: only the baseline has it."]
    assert caveats(single(), both) == []
    assert caveats(single(), comparison("payout-overlap"))[0].startswith("Nothing could be compared")


def test_times_of_another_machine_are_not_judged():
    """More CPUs or another kind of server make other times, but no excuse for a broken promise."""
    slow = changed(changed(single(), P99, 9e4), "rates.oversubscription", 0.1)
    for place, value, said in (
        ("environment.cpu", 64, "CPUs was 2, is 64: times are not judged."),
        ("stores.redis.provider", "docker", "server redis was local"),
    ):
        now = changed(slow, place, value)
        assert worse(now, single()) == ["oversubscription"]
        assert any(line.startswith(said) for line in caveats(now, single()))
    (row,) = [row for row in compared(now, single()) if row["metric"] == "p99_ms"]
    assert row["why"].startswith("Not judged")


def test_other_versions_are_told_and_judged():
    """A new version of a library or of a server is what a baseline is there for."""
    now = changed(changed(single(), "environment.redis", "99.0"), "stores.redis.version", "8.0")
    now = changed(now, P99, 9e4)
    assert worse(now, single()) == ["p99_ms"]
    (line,) = caveats(now, single())
    assert line.startswith("Versions changed: redis ")
    assert "server redis 7.0.15 -> 8.0" in line


def test_a_number_that_is_gone_is_told():
    """A run without a latency is not faster for it; what neither has gets no row."""
    gone = changed(single(), P99, 0.0)
    (row,) = [row for row in compared(gone, single()) if row["metric"] == "p99_ms"]
    assert (row["now"], row["worse"], row["why"]) == (None, False, "The run has no such number now.")
    assert not [row for row in compared(gone, gone) if row["metric"] == "p99_ms"]


def test_runs_that_were_interrupted_are_no_baseline():
    """Half a run has half the numbers."""
    half = {**changed(single(), P99, 1.0), "interrupted": True}
    document = several(single(), half)
    document["runs"][1]["interrupted"] = True
    assert worse(single(), document) == []
    assert compared(single(), half) == []


def test_payouts_are_compared_by_their_own_numbers():
    """More people to pay by hand and a later payday are found."""
    before = single("row-lock+state-machine", "payout-overlap")
    after = changed(changed(before, "obligations.reviews", 40), "time_to_paid_s.p95", 60.0)
    assert worse(after, before) == ["reviews", "time_to_paid_p95_s"]


def test_worse_than_the_baseline_is_a_missed_threshold():
    """Exit 3 if all passed, else what the verdict says."""
    before, now = single(), changed(single(), P99, 9e4)
    document = {**now, "baseline": {"rows": compared(now, before), "caveats": []}}
    same = {**before, "baseline": {"rows": compared(before, before), "caveats": []}}
    assert exit_with(document, Exit.PASS) == Exit.THRESHOLD
    assert exit_with(document, Exit.BROKEN) == Exit.BROKEN
    assert exit_with(same, Exit.PASS) == Exit.PASS


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "holds no run, neither summary.json nor compare.json"),
        ("{", "cannot be read"),
        ('{"schema": "other"}', "has schema 'other'"),
        ('{"schema": "oversold/run/1"}', "a run in it has no strategy or no verdict"),
    ],
)
def test_a_folder_that_is_no_baseline_is_refused(tmp_path, content, says):
    """Before the run, in one line that names the option."""
    if content is not None:
        (tmp_path / "summary.json").write_text(content)
    with pytest.raises(UsageError) as raised:
        load(tmp_path)
    assert str(raised.value).startswith("--baseline: ")
    assert says in str(raised.value)


def test_a_baseline_needs_a_finished_run(tmp_path):
    """A comparison that was interrupted in its first run has nothing to compare with."""
    document = several({**single(), "interrupted": True})
    (tmp_path / "compare.json").write_text(json.dumps(document))
    with pytest.raises(UsageError, match="has no finished run"):
        load(tmp_path)
    (tmp_path / "compare.json").write_text(json.dumps(comparison()))
    assert load(tmp_path) == comparison()


def test_the_tolerances_are_documented():
    """docs/ci.md names each number that a baseline compares, with its shares; promises in the sentence above."""
    text = (Path(__file__).parents[3] / "docs" / "ci.md").read_text(encoding="utf-8")
    section = text.partition("What counts as worse")[2].partition("## JUnit")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    named = []
    for metric in METRICS:
        if metric.tolerance is None:
            continue
        if metric.promise:
            assert f"`{metric.name}`" in section.partition("**other numbers**")[0]
            continue
        (row,) = [row for row in rows if f"`{metric.name}`" in row]
        said = metric.tolerance
        assert f"| {said.single:.0%} | {said.steady:.0%} | {said.floor:g}".replace("%", " %") in row
        named.append(metric.name)
    assert re.findall(r"`(\w+)`", "".join(rows)) == sorted(named, key=named.index)


def test_nothing_that_is_read_is_changed():
    """Both documents are as they were."""
    now, before = comparison(), changed(comparison(), "planned", 3)
    copies = copy.deepcopy((now, before))
    compared(now, before)
    caveats(now, before)
    assert (now, before) == copies
