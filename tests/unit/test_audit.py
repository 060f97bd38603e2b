"""What a run's folder says, whether the run proves anything, and how findings become a verdict."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oversold import bid_runs, history
from oversold.audit import Circumstances, Raw, generator, proof, read_raw, verdict
from oversold.bid_plan import BidPlan
from oversold.evidence import HISTORY, NEVER, HoldEnd, Outcome
from oversold.history import HistoryWriter, checksum, path_of
from oversold.model import Finding

T0 = 5_000_000_000
OFFERED = 1300


def calls(*spans, workers=(0, 1)):
    """Return a history of strategy calls [sent, reserved], dealt out to the workers in turn."""
    rows = np.zeros(len(spans), HISTORY)
    for index, (sent, reserved) in enumerate(spans):
        rows[index]["bid"] = index
        rows[index]["t_sent"], rows[index]["t_reserved"] = sent, reserved
        rows[index]["worker"] = workers[index % len(workers)]
    return rows


def manifest(**fields):
    """Return what a worker reports when all went well."""
    return {"arrival_lag_ms": {"p99": 3.0}, "wall_s": 2.0, "dropped": 0, "faults": []} | fields


def raw(taps=None, manifests=None):
    """Return what the workers left: by default two calls of two workers that met."""
    return Raw(
        taps=calls((0, 10), (5, 15)) if taps is None else taps,
        manifests={0: manifest(), 1: manifest()} if manifests is None else manifests,
        t0_ns=T0,
        gate_wall_ns=0,
        gate_opened=True,
    )


def circumstances(**fields):
    """Return the circumstances of a run that proves something."""
    good = {
        "plan": BidPlan(scenario="s", strategy="redis-lua", capacity_fen=1000),
        "is_canary": False,
        "canary": 0.2,
        "ended": None,
        "hung": False,
        "lost_workers": (),
        "lost_stores": (),
        "faults": (),
    }
    return Circumstances(**{**good, **fields})


def fault(kind, phase="reserve", text="KeyError: 1", count=1):
    """Return a fault row of a manifest."""
    return {"kind": kind, "phase": phase, "text": text, "count": count}


def doubts(seen, left, offered_fen=OFFERED):
    """Return the findings that say whether a burst proves anything, as `bid_runs.audited` has them."""
    own = [bid_runs._demand(seen.plan, offered_fen), bid_runs._overlap(seen.plan, left), generator(left)]
    return proof(seen) + own


def proven(seen=None, left=None, offered_fen=OFFERED):
    """Return those findings by check."""
    return {f.check: f for f in doubts(seen or circumstances(), left or raw(), offered_fen)}


def verdicts(**planted):
    """Return the verdicts by check of a run with something planted."""
    return {name: finding.verdict for name, finding in proven(**planted).items()}


ALL_PASS = dict.fromkeys(["complete", "strategy", "canary", "demand", "overlap", "generator"], "pass")


def test_a_run_with_nothing_against_it_proves_something():
    """Six findings, all pass, each a sentence."""
    findings = proven()
    assert {name: finding.verdict for name, finding in findings.items()} == ALL_PASS
    assert all(finding.detail.endswith(".") for finding in findings.values())


PLANTED = [
    ("canary", "inconclusive", {"seen": circumstances(canary=0.0)}, "did not oversell"),
    ("canary", "inconclusive", {"seen": circumstances(canary=None)}, "No canary"),
    ("canary", "inconclusive", {"seen": circumstances(canary=0.0, is_canary=True)}, "This canary"),
    ("demand", "inconclusive", {"offered_fen": 1000}, "1.00 of the capacity"),
    ("demand", "inconclusive", {"offered_fen": 10}, "0.01 of the capacity"),
    ("overlap", "inconclusive", {"left": raw(calls((0, 10), (20, 30)))}, "Only 0 %"),
    ("overlap", "inconclusive", {"left": raw(calls())}, "no race to lose"),
    ("generator", "inconclusive", {"left": raw(manifests={0: manifest(dropped=2), 1: manifest(dropped=5)})}, "7"),
    (
        "generator",
        "inconclusive",
        {"left": raw(manifests={0: manifest(), 1: manifest(arrival_lag_ms={"p99": 401.0})})},
        "401 ms late",
    ),
    ("complete", "inconclusive", {"seen": circumstances(lost_workers=[1, 3])}, "worker 1, 3 was lost"),
    ("complete", "inconclusive", {"seen": circumstances(ended="the run was interrupted")}, "interrupted"),
    ("complete", "inconclusive", {"seen": circumstances(damaged=["the history of worker 1 differs"])}, "worker 1"),
    ("strategy", "fail", {"seen": circumstances(faults=[fault("raised")])}, "raised in reserve: KeyError: 1"),
    ("strategy", "fail", {"seen": circumstances(faults=[fault("nonsense", "release")])}, "nonsense in release"),
    ("strategy", "fail", {"seen": circumstances(faults=[fault("hung", "call")])}, "hung in call"),
    ("strategy", "inconclusive", {"seen": circumstances(faults=[fault("store", count=4)])}, "4 times"),
]


@pytest.mark.parametrize(
    ("check", "expected", "planted", "words"), PLANTED, ids=[f"{row[0]}: {row[3]}" for row in PLANTED]
)
def test_each_doubt_is_found_by_its_check_alone(check, expected, planted, words):
    """The planted circumstance changes one finding, whose sentence says what it was."""
    assert verdicts(**planted) == ALL_PASS | {check: expected}
    assert words in proven(**planted)[check].detail


def test_a_strategy_that_hangs_has_failed_and_cut_its_run_short():
    """The hang is a fact about the strategy; what the other bidders would have done, nobody knows."""
    seen = circumstances(hung=True, ended="nothing has moved for 60 s")
    assert verdicts(seen=seen) == ALL_PASS | {"complete": "inconclusive", "strategy": "fail"}
    assert "nothing has moved for 60 s" in proven(seen=seen)["strategy"].detail
    assert verdict(proven(seen=seen).values())[0] == "fail"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"ended": "Redis has ended"},
        {"ended": "nothing has moved for 60 s", "hung": True},
        {"faults": [fault("raised"), fault("hung")]},
    ],
)
def test_a_lost_store_excuses_the_strategy(fields):
    """Without its store even a sound one raises or waits for ever: two doubts, and no fact."""
    seen = circumstances(lost_stores=["Redis"], **fields)
    assert verdicts(seen=seen) == ALL_PASS | {"complete": "inconclusive", "strategy": "inconclusive"}
    assert proven(seen=seen)["complete"].detail == "The run is incomplete: Redis was lost."


def test_demand_must_exceed_the_capacity():
    """A tranche that exactly fits its bidders cannot be oversold either."""
    assert [verdicts(offered_fen=offered)["demand"] for offered in (999, 1000, 1001)] == [
        "inconclusive",
        "inconclusive",
        "pass",
    ]


def test_lateness_is_measured_against_the_length_of_the_burst():
    """A fifth of the run may pass before the last bidder taps, and a quarter of a second in any case."""

    def late(lag_ms, wall_s):
        left = raw(manifests={0: manifest(arrival_lag_ms={"p99": lag_ms}, wall_s=wall_s)})
        return verdicts(left=left)["generator"]

    assert [late(250.0, 0.1), late(251.0, 0.1)] == ["pass", "inconclusive"]
    assert [late(2000.0, 10.0), late(2001.0, 10.0)] == ["pass", "inconclusive"]


def test_calls_of_one_worker_among_several_do_not_meet_themselves():
    """The overlap that counts is that of different processes."""
    alone = calls((0, 10), (5, 15), (100, 110), workers=(0, 0, 1))
    assert verdicts(left=raw(alone))["overlap"] == "inconclusive"


def test_the_strategys_own_faults_come_before_those_of_the_stores():
    """A strategy that raised has failed, whatever else was lost; the number of faults is told."""
    seen = circumstances(faults=[fault("store", count=9), fault("raised", count=2), fault("nonsense")])
    finding = proven(seen=seen)["strategy"]
    assert finding.verdict == "fail"
    assert "(3 faults in all)" in finding.detail
    assert finding.values == {"faults": 3}


@pytest.mark.parametrize(
    ("fields", "complete"),
    [
        ({}, True),
        ({"ended": "the run was interrupted"}, False),
        ({"hung": True, "ended": "nothing has moved"}, False),
        ({"lost_workers": [0]}, False),
        ({"lost_stores": ["Redis"]}, False),
        ({"damaged": ["a history"]}, False),
        ({"faults": [fault("store")]}, False),
        ({"faults": [fault("raised")]}, True),
    ],
)
def test_what_is_missing_makes_a_run_incomplete(fields, complete):
    """A strategy's own fault leaves no gap in the record; everything else does."""
    assert circumstances(**fields).complete is complete


def service(*faults, **fields):
    """Return the circumstances of a burst against somebody's service with these faults."""
    plan = BidPlan(scenario="s", strategy="shop.toml", capacity_fen=1000)
    return circumstances(plan=plan, faults=faults, **fields)


NO_RULE = "status 404, which no rule of [bid] names"


def test_a_service_that_was_never_understood_is_not_judged():
    """Where no answer at all is one that the file names, the file is to blame: a doubt."""
    seen = service(fault("unmapped", "bid", NO_RULE, 150), fault("store", "bid", "refused", 2), answers=152)
    found = proven(seen=seen)["strategy"]
    assert found.verdict == "inconclusive"
    assert found.detail == (
        "The service answered nothing that [bid] names: status 404 (150 times): mend path, auth or the reply "
        "rules."
    )
    assert seen.complete is False


def test_a_service_whose_polls_were_never_understood_is_not_judged():
    """Every bid was pending for good: nobody had an answer. One answer among them, and the polls are only told."""
    row = fault("unmapped", "poll", "status 200 with a body that no rule of [poll] fits", 150)
    nobody, somebody = (proven(seen=service(row, answers=answers))["strategy"] for answers in (0, 1))
    assert (nobody.verdict, somebody.verdict) == ("inconclusive", "pass")
    assert (
        "nothing that [poll] names: status 200 with a body that no rule of [poll] fits (150 times)"
        in nobody.detail
    )


def test_a_few_strange_replies_are_only_told():
    """One answer that a rule names, and the others count as errors; also where nobody counted answers."""
    rows = (fault("unmapped", "bid", NO_RULE, 3), fault("unmapped", "bid", NO_RULE.replace("404", "500"), 1))
    for answers in (5, None):
        seen = service(*rows, answers=answers)
        found = proven(seen=seen)["strategy"]
        assert (found.verdict, seen.complete) == ("pass", True)
        assert found.detail.startswith(f"The service answered every call; 3 replies had {NO_RULE}; 1 reply had")
    assert proven(seen=service(*rows, answers=4))["strategy"].verdict == "inconclusive"


def test_a_service_that_does_not_open_is_told_without_our_words():
    """It did not "raise in open"; a strategy's class does."""
    row = fault("raised", "open", "it answered 500 to [open]: boom")
    assert proven(seen=service(row))["strategy"].detail == (
        "The service did not open what was to be tried: it answered 500 to [open]: boom."
    )
    assert proven(seen=circumstances(faults=[row]))["strategy"].detail.startswith("The strategy raised in open")


def finding(verdict_, detail="d"):
    """Return a finding with this verdict."""
    return Finding("c", verdict_, detail)


def test_a_fact_beats_a_doubt():
    """A broken promise is one even where the run as a whole proves nothing; the facts are told first."""
    findings = [finding("pass", "a"), finding("inconclusive", "b"), finding("fail", "c"), finding("fail", "d")]
    assert verdict(findings) == ("fail", ["c", "d", "b"])
    assert verdict(findings[:2]) == ("inconclusive", ["b"])
    assert verdict(findings[:1]) == ("pass", [])


@given(st.lists(st.sampled_from(["pass", "fail", "inconclusive"]), min_size=1))
def test_the_verdict_is_the_worst_of_the_findings(given_verdicts):
    """In any order, and with a reason for each that is not pass."""
    worst, reasons = verdict([finding(each) for each in given_verdicts])
    by_badness = ["fail", "inconclusive", "pass"]
    assert worst == min(given_verdicts, key=by_badness.index)
    assert len(reasons) == sum(each != "pass" for each in given_verdicts)


def test_findings_may_come_from_anywhere():
    """A generator's doubts count as a list's do: an unproven pass is never called pass."""
    assert verdict(finding(each) for each in ("pass", "inconclusive"))[0] == "inconclusive"


@pytest.fixture
def folder(tmp_path):
    """A run's raw folder: two workers, three taps, the second worker's last one never completed."""
    (tmp_path / "gate.json").write_text(json.dumps({"t0_ns": T0, "wall_offset_ns": 7, "workers": {}}))
    for worker in (0, 1):
        writer = HistoryWriter(path_of(tmp_path, worker), 10)
        row = writer.invoke(worker, 1, 4, 100, T0 + 1, T0 + 2)
        times = (T0 + 1, T0 + 2, T0 + 3, T0 + 4, T0 + 5)
        writer.complete(row, Outcome.OK, HoldEnd.CONFIRMED, 0, 0, 100, *times)
        writer.leave(row)
        if worker == 1:
            writer.invoke(2, 3, 5, 200, T0 - 10, T0 + 20)
        writer.close()
        crc = checksum(path_of(tmp_path, worker))
        (tmp_path / f"manifest-{worker}.json").write_text(json.dumps(manifest(crc32=crc)))
    return tmp_path


def test_the_taps_of_all_workers_are_read(folder):
    """With the worker that wrote them, and with times that count from the gate."""
    left = read_raw(folder)
    taps = left.taps
    assert taps.dtype == HISTORY
    assert taps["bid"].tolist() == [0, 1, 2]
    assert taps["worker"].tolist() == [0, 1, 1]
    assert taps["lane"].tolist() == [4, 4, 5]
    assert taps["t_intended"].tolist() == [1, 1, -10]
    assert taps["t_done"].tolist() == [5, 5, NEVER]
    assert taps["outcome"].tolist() == [Outcome.OK, Outcome.OK, Outcome.UNKNOWN]
    assert set(left.manifests) == {0, 1}
    assert (left.t0_ns, left.gate_wall_ns, left.gate_opened) == (T0, T0 + 7, True)
    assert left.damaged == ()


def test_the_taps_of_a_lost_worker_still_count(folder):
    """It has no manifest; what it recorded happened all the same."""
    (folder / "manifest-1.json").unlink()
    left = read_raw(folder)
    assert left.taps["bid"].tolist() == [0, 1, 2]
    assert set(left.manifests) == {0}
    assert left.damaged == ()


def test_a_history_that_differs_from_its_report_is_damaged(folder):
    """One byte is enough; the run is then incomplete, and it says which worker."""
    path = path_of(folder, 1)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    [damage] = read_raw(folder).damaged
    assert "worker 1" in damage


def test_a_history_that_is_cut_short_is_damaged(folder):
    """None of its taps counts, the other worker's still do, and the run says which file is to blame."""
    path = path_of(folder, 0)
    path.write_bytes(path.read_bytes()[:-1])
    left = read_raw(folder)
    [damage] = left.damaged
    assert path.name in damage
    assert "cut short" in damage
    assert left.taps["worker"].tolist() == [1, 1]
    findings = doubts(circumstances(damaged=left.damaged), left)
    assert verdict(findings)[0] == "inconclusive"


def test_a_lost_worker_may_still_be_writing(folder, monkeypatch):
    """A tap that it adds while the others are read is left out, and takes nobody's place."""
    read = history.read

    def late(path):
        return np.concatenate([read(path), read(path)[:1]])

    monkeypatch.setattr(history, "read", late)
    taps = read_raw(folder).taps
    assert taps["bid"].tolist() == [0, 1, 2]
    assert taps["worker"].tolist() == [0, 1, 1]


def test_a_history_that_is_gone_is_damaged(folder):
    """Its worker reported one: without it nobody knows what that worker's bidders did."""
    path_of(folder, 1).unlink()
    [damage] = read_raw(folder).damaged
    assert "worker 1" in damage


def test_a_payday_has_no_histories(tmp_path):
    """Its workers report jobs and no history, so none can be missing."""
    (tmp_path / "gate.json").write_text(json.dumps({"t0_ns": T0, "wall_offset_ns": 7}))
    (tmp_path / "manifest-0.json").write_text(json.dumps({"jobs": [], "faults": []}))
    left = read_raw(tmp_path)
    assert (len(left.taps), set(left.manifests), left.damaged) == (0, {0}, ())
    assert generator(Raw(left.taps, {0: manifest()}, T0, 0, True)).verdict == "pass"


def test_a_gate_that_never_opened_is_told(tmp_path):
    """A burst that did not begin leaves no taps and no gate."""
    left = read_raw(tmp_path)
    assert not left.gate_opened
    assert len(left.taps) == 0
    assert left.taps.dtype == HISTORY
    assert not left.manifests
    findings = doubts(replace(circumstances(), ended="the bidders were not at the gate"), left)
    assert verdict(findings)[0] == "inconclusive"


@pytest.mark.parametrize("text", ["", '{"worker": 1, "dropped'])
def test_a_worker_that_died_over_its_manifest_is_a_lost_worker(text, folder):
    """It was killed in mid-write; its taps count, as those of any lost worker."""
    (folder / "manifest-1.json").write_text(text)
    left = read_raw(folder)
    assert left.taps["bid"].tolist() == [0, 1, 2]
    assert set(left.manifests) == {0}
