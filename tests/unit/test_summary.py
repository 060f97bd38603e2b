"""summary.json: complete, plain JSON, without secrets, and with a command that repeats the run."""

import json
import shlex
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from oversold import __version__, bid_runs, bid_summary, summary
from oversold.audit import Circumstances, Raw, generator, proof
from oversold.bid_plan import MAX_OFFERED_FEN, BidPlan, BidSettings
from oversold.checkers import audit
from oversold.evidence import (
    HISTORY,
    NEVER,
    Claims,
    Evidence,
    HoldEnd,
    Ledger,
    Outcome,
    RefusedBy,
    StatusLog,
)
from oversold.model import Claim, Tranche
from oversold.options import Typed, plan_of
from oversold.plan import duration_s
from oversold.stores.endpoint import Endpoint

SECRET = "hunter2"
KEYS = {
    *("schema", "scenario", "strategy", "seed", "verdict", "reasons", "tranche", "rates", "load"),
    *("latency_ms", "outcomes", "findings", "stores", "environment", "command"),
}
RATES = {"oversubscription", "undersubscription", "rollback", "false_full_s"}
LOAD = {
    *("users", "processes", "lanes", "bids", "goodput_per_s"),
    *("arrival_span_s", "peak_in_flight", "overlap", "attempts_per_bid"),
}
NONE = np.zeros(0, np.int64)


def taps(*rows):
    """Return a history of (bid, worker, outcome, hold, sent, done) rows of 500 fen each."""
    history = np.zeros(len(rows), HISTORY)
    for row, (bid, worker, outcome, hold, sent, done) in zip(history, rows, strict=True):
        row["bid"], row["worker"], row["outcome"], row["hold"] = bid, worker, outcome, hold
        row["attempt"], row["final"], row["amount_fen"] = 1, 1, 500
        row["t_admitted"], row["t_sent"], row["t_reserved"], row["t_done"] = sent, sent, done, done
    return history


def some_run():
    """Return the evidence of 2 sold bids of 3, on a tranche that holds exactly two; the calls overlap."""
    ms = 1_000_000
    history = taps(
        (0, 0, Outcome.OK, HoldEnd.CONFIRMED, 0, 10 * ms),
        (1, 1, Outcome.OK, HoldEnd.CONFIRMED, 5 * ms, 15 * ms),
        (2, 0, Outcome.SOLD_OUT, HoldEnd.NONE, 12 * ms, 20 * ms),
    )
    history["refused_by"][2] = RefusedBy.STRATEGY
    return evidence(history, Ledger(np.array([0, 1]), np.array([500, 500]), np.array([10 * ms, 15 * ms])))


def evidence(history, ledger):
    """Return evidence around a history and a ledger."""
    return Evidence(
        tranche=Tranche("t", 1000),
        min_bid_fen=100,
        bid_amount_fen=np.array([500, 500, 500]),
        history=history,
        ledger=ledger,
        status_log=StatusLog(NONE, np.zeros(0, np.bool_)),
        claims=Claims(NONE, NONE, np.zeros(0, np.bool_)),
        final_claim=Claim("full", 0),
        t_end=30_000_000,
    )


def manifest(**fields):
    """Return a worker's report."""
    report = {"arrival_lag_ms": {"p99": 1.0}, "loop_lag_ms": {"p99": 2.0}, "rtt_ms": {"p50": 0.6, "max": 0.9}}
    return report | {"wall_s": 2.0, "cpu_s": 0.2, "dropped": 0, "max_rss_mb": 100.0, "faults": []} | fields


def summarised(seen=None, manifests=None, wall_s=3.0):
    """Summarise a run, by default an honest one."""
    seen = seen or some_run()
    plan = BidPlan(scenario="bid-burst", strategy="redis-lua", capacity_fen=1000, users=3, lanes=1)
    around = Circumstances(plan, False, 0.2, None, False, (), (), ())
    reports = {0: manifest(), 1: manifest()} if manifests is None else manifests
    left = Raw(seen.history, reports, 0, 0, True)
    own = [bid_runs._demand(plan, 1500), bid_runs._overlap(plan, left), generator(left)]
    findings = audit(seen) + proof(around) + own
    url = f"redis://:{SECRET}@127.0.0.1:1/0"
    endpoints = {
        "redis": Endpoint("redis", url, "local", "7.0", {"persistence": "off"}),
        "memcached": Endpoint("memcached", "memcached://127.0.0.1:2", "emulated", "1.6"),
    }
    return summary.framed(bid_summary.summarise(seen, findings, plan), findings, around, left, endpoints, wall_s)


def test_an_honest_run_is_summarised():
    """All keys of the schema; the numbers are those of the evidence."""
    document = summarised()
    assert document["schema"] == "oversold/run/1"
    assert set(document) >= KEYS
    assert set(document["rates"]) >= RATES
    assert set(document["load"]) >= LOAD
    assert (document["verdict"], document["reasons"]) == ("pass", [])
    assert document["tranche"]["capacity_fen"] == document["tranche"]["confirmed_fen"] == 1000
    assert document["tranche"]["offered_fen"] == 1500
    assert document["outcomes"] == {"ok": 2, "sold_out": 1, "busy": 0, "error": 0, "unknown": 0}
    assert document["load"]["wall_s"] == 3.0
    assert document["load"]["bids"] == 3
    assert document["t_end_s"] == 0.03


def test_an_oversold_run_says_so_everywhere():
    """Verdict, rate, finding and reason agree."""
    honest = some_run()
    ledger = Ledger(np.array([0, 1, 2]), np.array([500, 500, 500]), honest.ledger.t[[0, 1, 1]])
    document = summarised(replace(honest, ledger=ledger))
    assert document["verdict"] == "fail"
    assert document["rates"]["oversubscription"] == 0.5
    assert {f["check"]: f["verdict"] for f in document["findings"]}["oversubscription"] == "fail"
    assert any("500" in reason or "5 yuan" in reason for reason in document["reasons"])


def test_a_summary_says_how_fair_the_run_was():
    """Who came together has no order; a bidder who was served before an earlier one is an inversion."""
    seen = some_run()
    level = {"inversions": None, "gini": 0.0, "cohorts": pytest.approx([2 / 3] * 10)}
    assert summarised(seen)["fairness"] == level
    seen.history["t_intended"][:] = 10, 20, 15
    early = {
        "inversions": 0.5,
        "gini": pytest.approx(0.32),
        "cohorts": pytest.approx([1] * 3 + [1 / 3, 0, 0, 1 / 3, 1, 1, 1]),
    }
    assert summarised(seen)["fairness"] == early


def test_a_summary_without_bidders_says_nothing_of_fairness():
    """Where nobody contended there is no number, also not zero; two who won have equal chances."""
    ledger = Ledger(np.array([], np.int64), np.array([], np.int64), np.array([], np.int64))
    assert summarised(evidence(taps(), ledger))["fairness"] == {"inversions": None, "gini": None, "cohorts": []}
    assert summarised()["fairness"]["gini"] == 0.0


def test_a_summary_is_plain_json():
    """No numpy number, no NaN, no infinity: any reader of JSON can read it, and gets the same."""
    document = summarised()
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_a_run_without_a_single_tap_can_be_summarised():
    """The strategy could not be opened, or nobody came."""
    nothing = evidence(np.zeros(0, HISTORY), Ledger(NONE, NONE, NONE))
    document = summarised(replace(nothing, final_claim=None), manifests={})
    json.dumps(document, allow_nan=False)
    assert document["load"]["taps"] == 0
    assert document["verdict"] == "inconclusive"


def test_no_secret_gets_into_a_summary():
    """Endpoints are named by provider and version; an emulator is called one."""
    document = summarised()
    text = json.dumps(document)
    assert SECRET not in text
    assert "127.0.0.1" not in text
    assert document["stores"]["redis"] == {
        "provider": "local",
        "version": "7.0",
        "settings": {"persistence": "off"},
    }
    assert document["stores"]["memcached"]["name"] == "memcached (emulated)"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"cpu_s": 1.8}, "the load generator's CPU (90% of a core in the busiest process)"),
        ({}, "the bidders' own arrival and think times"),
    ],
)
def test_what_set_the_pace_is_said(fields, words):
    """By the busiest worker."""
    seen = some_run()
    seen.history["t_done"][:] = seen.history["t_admitted"] + 1_000  # lanes that are hardly used
    seen.history["t_intended"][:] = seen.history["t_admitted"]  # and that nobody waits for
    limits = summarised(seen, manifests={0: manifest(), 1: manifest(**fields)})["limits"]
    assert limits["limited_by"] == words


def test_waiting_for_a_lane_sets_the_pace():
    """However idle the lanes are on average: most bids waited longer for one than they were served."""
    seen = some_run()
    seen.history["t_done"][:] = seen.history["t_admitted"] + 1_000
    seen.history["t_intended"][:] = seen.history["t_admitted"] - 7_000_000
    assert "the lanes (half of the bids waited 7 ms" in summarised(seen)["limits"]["limited_by"]


def test_busy_lanes_set_the_pace():
    """Where two lanes were in use nearly all of the time, more of them would have helped."""
    seen = some_run()
    seen.history["t_admitted"][:2], seen.history["t_admitted"][2] = 0, 10_000_000
    seen.history["t_done"][:2], seen.history["t_done"][2] = 10_000_000, 18_000_000
    assert "the lanes (78% busy)" not in summarised(seen)["limits"]["limited_by"]
    seen.history["t_done"][:] = 10_000_000, 18_000_000, 18_000_000
    assert "the lanes (100% busy)" in summarised(seen)["limits"]["limited_by"]


def test_over_http_the_lanes_are_connections_that_wait_for_the_service():
    """It is the service that sets the pace, by how long its connections were busy or were waited for."""
    plan = BidPlan(scenario="s", strategy="shop.toml", capacity_fen=1000, users=3, lanes=64, http=True)
    assert plan.http
    seen = some_run()
    assert bid_summary._limits(seen.history, plan)["causes"] == []
    one = plan.model_copy(update={"lanes": 1, "processes": 1})
    assert bid_summary._limits(seen.history, one)["causes"] == ["the service (its one connection was 140% busy)"]
    seen.history["t_intended"] = seen.history["t_admitted"] - 20_000_000
    causes = ["the service (half of the bids waited 20 ms or more for one of its 128 connections)"]
    assert bid_summary._limits(seen.history, plan)["causes"] == causes


def test_what_was_not_judged_has_no_rate():
    """Without a ledger nobody knows what was sold: null, and not the zero that a clean run has."""
    plan = BidPlan(scenario="bid-burst", strategy="redis-lua", capacity_fen=1000, users=3)
    rates = bid_summary.summarise(some_run(), [], plan)["rates"]
    judged = (
        "oversubscription",
        "undersubscription",
        "raw_undersubscription",
        "false_full_s",
        "false_full_lost_s",
    )
    assert {name: rates[name] for name in judged} == dict.fromkeys(judged)
    assert rates["rollback"] == 0.0
    known = bid_summary.summarise(some_run(), audit(some_run()), plan)["rates"]
    assert {name: known[name] for name in judged} == dict.fromkeys(judged, 0.0)


def test_the_environment_names_what_makes_runs_comparable():
    """Machine, Python, and the versions of everything between bidder and store."""
    document = summary.environment()
    assert document["oversold"] == __version__
    assert document["locust"] == version("locust")
    assert set(document) >= {"cpu", "python", "redis", "pymemcache", "sqlalchemy", "psycopg", "gevent"}


def test_the_environment_needs_no_installation(monkeypatch):
    """A bare checkout has no metadata of this package; the summary of a run must not fail for that."""

    def lacking(name):
        if name == "oversold":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(summary, "version", lacking)
    assert summary.environment()["oversold"] == __version__


def typed_from(command):
    """Read a command line as `oversold run` would."""
    words = shlex.split(command)
    assert words[:2] == ["oversold", "run"]
    pairs = list(zip(words[3::2], words[4::2], strict=True))
    options = {name.removeprefix("--"): value for name, value in pairs if name != "--set"}
    strategy = options.pop("strategy")
    return Typed(words[2], settings=[value for name, value in pairs if name == "--set"], **options), strategy


@settings(max_examples=60, deadline=None)
@given(
    st.fixed_dictionaries(
        {
            "users": st.integers(1, 10**6),
            "capacity_fen": st.integers(1, 10**16),
            "seed": st.integers(0, 2**63 - 1),
            "processes": st.integers(1, 64),
            "lanes": st.integers(1, 4096),
            "rtt_s": st.integers(0, 999_999).map(lambda us: us / 1e6),
        }
    ),
    st.fixed_dictionaries(
        {},
        optional={
            "demand": st.floats(0.001, 1000),
            "min_bid_fen": st.integers(1, 10**9),
            "late_s": st.floats(0, 3600),
            "p": st.floats(0, 1),
            "steps": st.integers(1, 100),
            "full_when": st.sampled_from(["reserved", "confirmed"]),
            "reopen_on_release": st.booleans(),
            "progress": st.sampled_from(["row", "derived"]),
        },
    ),
)
def test_the_command_repeats_the_run(fields, bids):
    """Read back as a command line, it gives the same plan, to the last digit of every setting."""
    assume(bids.get("demand", 1.3) * fields["capacity_fen"] < MAX_OFFERED_FEN)
    plan = BidPlan(scenario="bid-burst", strategy="redis-lua", bids=BidSettings(**bids), **fields)
    again = plan_of(*typed_from(summary.command(plan)))
    assert again.rtt_s == pytest.approx(plan.rtt_s, rel=1e-12)
    assert again.model_copy(update={"rtt_s": plan.rtt_s}) == plan


@pytest.mark.parametrize("rtt", ["0.05us", "1.2345678ms", "1234.567ms"])
def test_the_command_repeats_every_delay(rtt):
    """Whatever --rtt takes, the command that is printed takes and means as well."""
    plan = BidPlan(scenario="bid-burst", strategy="none", rtt_s=duration_s(rtt))
    words = shlex.split(summary.command(plan))
    try:
        again = duration_s(words[words.index("--rtt") + 1])
    except Exception as error:  # noqa: BLE001 - any refusal is the failure that is looked for
        pytest.fail(f"the printed command is refused: {error}")
    assert again == pytest.approx(plan.rtt_s, rel=1e-9)


def test_a_command_survives_the_shell():
    """A path with blanks stays one word."""
    plan = BidPlan(scenario="bid-burst", strategy="my locks/it's.py:Mine")
    assert shlex.split(summary.command(plan))[4] == "my locks/it's.py:Mine"


def test_the_evidence_of_this_file_is_what_it_says():
    """The rows that the tests above rest on: two served, one turned away, times that happened."""
    seen = some_run()
    assert (seen.history["t_done"] != NEVER).all()
    assert seen.ledger.confirmed_fen == seen.tranche.capacity_fen
