"""The plan: what a seed stands for, what the settings mean, and what is refused before anything starts."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from oversold.assignment import Assignment
from oversold.bid_plan import (
    MAX_CAPACITY_FEN,
    MAX_OFFERED_FEN,
    BidPlan,
    BidSettings,
    bid_id,
    bid_index,
    draw_bids,
)
from oversold.bid_runs import tranche_of
from oversold.errors import UsageError
from oversold.model import Tranche
from oversold.plan import MAX_USERS, duration_s, settings_from

COLUMNS = ("amount_fen", "offset_ns", "failing_step", "steps_s", "fail_s")


def plan(users=1000, bids=None, **fields):
    """Return a plan; `bids` are its bid settings."""
    return BidPlan(scenario="s", strategy="none", users=users, bids=BidSettings(**(bids or {})), **fields)


def same(one, other, columns=COLUMNS):
    """Tell whether two draws agree in these columns."""
    return all(np.array_equal(getattr(one, column), getattr(other, column)) for column in columns)


def test_the_same_seed_draws_the_same_bids():
    """A run can be repeated: amounts, arrivals, failing steps and latencies come from the plan alone."""
    assert same(draw_bids(plan(seed=7)), draw_bids(plan(seed=7)))


@pytest.mark.parametrize("column", COLUMNS)
def test_another_seed_draws_other_bids(column):
    """Every column depends on the seed; seeds that follow one another are no exception."""
    bids = {"arrival_s": 1.0}
    assert not same(draw_bids(plan(seed=1, bids=bids)), draw_bids(plan(seed=2, bids=bids)), [column])


def test_strategies_face_the_same_bids():
    """A comparison is fair: the strategy, the network delay and the marking rules change no bid."""
    base = plan(seed=3)
    other = base.model_copy(update={"strategy": "redis-lua", "rtt_s": 0.01, "scenario": "x"})
    marked = plan(seed=3, bids={"full_when": "confirmed", "reopen_on_release": False, "progress": "row"})
    assert same(draw_bids(base), draw_bids(other))
    assert same(draw_bids(base), draw_bids(marked))


def test_more_lanes_change_neither_amounts_nor_failures():
    """Only the time in which latecomers come depends on how much work the lanes get through."""
    few, many = draw_bids(plan(lanes=1)), draw_bids(plan(lanes=64))
    assert same(few, many, ["amount_fen", "failing_step", "steps_s", "fail_s"])


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("users", [1000, 3000, 10_000])
@pytest.mark.parametrize("demand", [0.5, 1.3, 5.0])
def test_the_bids_add_up_to_the_demand(seed, users, demand):
    """From a thousand bidders on, the sum is within a few per cent of what was asked for."""
    drawn = draw_bids(plan(users, {"demand": demand}, seed=seed))
    assert drawn.amount_fen.sum() / 1_000_000_000 == pytest.approx(demand, rel=0.05)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 200),
    st.integers(1, 10**12),
    st.floats(0.01, 100),
    st.one_of(st.none(), st.integers(1, 10**6)),
    st.integers(0, 2**63 - 1),
)
@example(1, 1, 1.3, None, 1)
@example(200, MAX_CAPACITY_FEN, 1.3, None, 1)
def test_amounts_are_whole_units(users, capacity_fen, demand, unit, seed):
    """Every bid is a positive multiple of the smallest bid, so the stock can reach zero exactly."""
    chosen = plan(users, {"demand": demand, "min_bid_fen": unit}, capacity_fen=capacity_fen, seed=seed)
    amounts = draw_bids(chosen).amount_fen
    assert amounts.shape == (users,)
    assert amounts.dtype == np.int64
    assert (amounts >= chosen.min_bid_fen).all()
    assert (amounts % chosen.min_bid_fen == 0).all()


@settings(max_examples=200)
@given(st.integers(1, MAX_CAPACITY_FEN), st.integers(1, MAX_USERS), st.floats(0.001, 1000))
@example(1, 1, 1.3)
@example(1, MAX_USERS, 0.001)
@example(MAX_CAPACITY_FEN, 1, 1.0)
@example(10**9, 1000, 1.0)
def test_the_unit_is_the_largest_round_amount_below_the_mean_bid(capacity_fen, users, demand):
    """1, 2 or 5 times a power of ten; the next larger one would be above the mean. Never less than a fen."""
    assume(demand * capacity_fen < MAX_OFFERED_FEN)
    chosen = plan(users, {"demand": demand}, capacity_fen=capacity_fen)
    unit, mean = chosen.min_bid_fen, chosen.mean_bid_fen
    leading, zeros = str(unit)[0], str(unit)[1:]
    assert leading in "125"
    assert set(zeros) <= {"0"}
    assert unit <= max(1, mean)
    assert {"1": 2, "2": 2.5, "5": 2}[leading] * unit > mean


def test_a_unit_that_is_set_is_taken():
    """However large: a demand of one bid in ten is the user's business."""
    assert plan(10, {"min_bid_fen": 12_345}, capacity_fen=100).min_bid_fen == 12_345


@pytest.mark.parametrize(
    ("users", "capacity_fen", "bids"),
    [
        pytest.param(10, 10**9, {"min_bid_fen": 10**29}, id="a unit beyond 64 bits"),
        pytest.param(1000, 10**9, {"min_bid_fen": 10**18}, id="a unit whose sum wraps round"),
        pytest.param(1000, MAX_CAPACITY_FEN, {"demand": 1000.0}, id="a demand whose sum wraps round"),
        pytest.param(1, MAX_CAPACITY_FEN, {"demand": 1000.0, "min_bid_fen": 1}, id="a mean that cannot be drawn"),
    ],
)
def test_sums_of_bids_fit_into_64_bits_or_are_refused(users, capacity_fen, bids):
    """What the settings admit can be drawn and added up; what cannot is refused before anything starts."""
    try:
        chosen = plan(users, bids, capacity_fen=capacity_fen)
    except ValidationError:
        return
    amounts = draw_bids(chosen).amount_fen
    assert amounts.sum() == sum(map(int, amounts))


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_the_share_of_failing_bids_is_p(p):
    """Never where p is 0, always where it is 1, and about p in between."""
    drawn = draw_bids(plan(20_000, {"p": p}))
    assert (drawn.failing_step > 0).mean() == pytest.approx(p, abs=0 if p in {0.0, 1.0} else 0.015)


def test_a_failing_bid_goes_as_far_as_its_failing_step():
    """Steps are 1-based; the steps walked take their share of the time, and failing takes time besides."""
    drawn = draw_bids(plan(20_000, {"p": 0.5, "steps": 4, "steps_ms": 100, "fail_ms": 10}))
    fails = drawn.failing_step > 0
    assert set(np.unique(drawn.failing_step)) == {0, 1, 2, 3, 4}
    walked = np.where(fails, drawn.failing_step, 4) / 4
    assert (drawn.steps_s >= 0.05 * walked - 1e-12).all()
    assert (drawn.steps_s <= 0.15 * walked + 1e-12).all()
    assert drawn.steps_s[~fails].mean() == pytest.approx(0.1, rel=0.02)
    assert ((drawn.fail_s[fails] >= 0.005) & (drawn.fail_s[fails] <= 0.015)).all()
    assert (drawn.fail_s[~fails] == 0).all()


def test_all_come_at_once_when_nobody_is_late():
    """Without an arrival time and without latecomers everybody taps when the gate opens."""
    assert not draw_bids(plan(bids={"arrival_s": 0, "late": 0})).offset_ns.any()


@pytest.mark.parametrize(("arrival_s", "late", "late_s"), [(2.0, 0.0, 5.0), (0.0, 1.0, 5.0), (1.0, 0.3, 4.0)])
def test_bidders_arrive_within_their_windows(arrival_s, late, late_s):
    """All within the arrival time; latecomers, as many as asked for, up to their time later."""
    drawn = draw_bids(plan(20_000, {"arrival_s": arrival_s, "late": late, "late_s": late_s}))
    seconds = drawn.offset_ns / 1e9
    assert seconds.min() >= 0
    assert seconds.max() <= arrival_s + (late_s if late else 0)
    # Nobody is certain to be seen as late: one who is late by less than the arrival time hides in the crowd.
    beyond = (seconds > arrival_s).mean()
    assert beyond == pytest.approx(late * (1 - arrival_s / late_s / 2), abs=0.015)


def test_latecomers_come_while_the_lanes_still_work():
    """By default they come within 1.75 times what the lanes need, and never in less than 1.5 seconds."""
    work_s = 1.75 * 10_000 * (0.024 + 0.1 * 0.15) / (2 * 4)
    assert plan(10_000, processes=2, lanes=4).late_s == pytest.approx(work_s)
    assert plan(10).late_s == 1.5
    assert plan(10_000, {"late_s": 3.0}).late_s == 3.0


@given(st.text(max_size=20), st.integers(0, 2_000_000), st.integers(1, MAX_USERS))
@example("t-1", 999_999, MAX_USERS)
@example("", 0, 1)
def test_a_bid_id_leads_back_to_its_bid(tranche_id, index, users):
    """For every bid of the plan; an index beyond the plan's users is no bid of it."""
    found = bid_index(tranche_id, bid_id(tranche_id, index), users)
    assert found == (index if index < users else -1)


@given(st.text(max_size=20), st.one_of(st.text(max_size=30), st.from_regex(r"t-?-\d{0,8}", fullmatch=True)))
@example("t", "t-1")
@example("t", "t-0000001")
@example("t", "t--00001")
@example("t", "t-+00001")
@example("t", "t-000 01")
@example("t", "t-٠٠٠٠٠١")  # Arabic digits are decimals too
@example("t", "t-00000²")
@example("t", "other-000001")
@example("t", "000001")
@example("t", "")
def test_no_other_text_leads_to_a_bid(tranche_id, text):
    """A foreign id in the ledger is -1: no text but the bid's own id is taken for it."""
    index = bid_index(tranche_id, text, 1000)
    assert index == -1 or bid_id(tranche_id, index) == text


def test_an_endless_number_is_a_foreign_id():
    """A ledger may hold any text that a strategy wrote into it; the audit must not fall over it."""
    assert bid_index("t", f"t-{'9' * 5000}", 1000) == -1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0.5ms", 0.0005), ("300us", 0.0003), ("2s", 2), ("1", 0.001), ("0", 0), (" 1.5 s ", 1.5), ("10ms", 0.01)],
)
def test_durations_are_read(text, seconds):
    """A number with a unit; a bare one is milliseconds."""
    assert duration_s(text) == pytest.approx(seconds, rel=1e-12)


@given(st.integers(0, 10**9))
def test_units_of_time_agree(number):
    """1000 us are 1 ms, and 1000 ms are 1 s."""
    assert duration_s(f"{number}000us") == pytest.approx(duration_s(f"{number}ms"), rel=1e-12)
    assert duration_s(f"{number}000ms") == pytest.approx(duration_s(f"{number}s"), rel=1e-12)


@pytest.mark.parametrize(
    "text", ["", "ms", "-1ms", "1h", "1e3ms", "1 2ms", ".5ms", "1.ms", "1,5ms", "nan", "inf", "0.5 sec", "1ms2"]
)
def test_what_is_no_duration_is_refused(text):
    """In one line that repeats what was typed and shows what to write."""
    with pytest.raises(UsageError, match="is no duration") as caught:
        duration_s(text)
    assert repr(text) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_settings_overlay_the_preset():
    """What is typed beats the preset, the last one wins, and the rest keeps its default."""
    chosen = settings_from(BidSettings, {"p": 0.5, "steps": 3}, ["p=0.2", "full_when=confirmed", "p=0.3"])
    assert (chosen.p, chosen.steps, chosen.full_when) == (0.3, 3, "confirmed")
    assert chosen.model_copy(update={"p": 0.1, "steps": 12, "full_when": "reserved"}) == BidSettings()


@pytest.mark.parametrize(
    ("pair", "near"),
    [("reopen_on_relase=true", "reopen_on_release"), ("thinkms=1", "think_ms"), ("full_wen=x", "full_when")],
)
def test_an_unknown_setting_suggests_the_near_one(pair, near):
    """And lists all there are."""
    with pytest.raises(UsageError, match=f"did you mean .*{near}") as caught:
        settings_from(BidSettings, {}, [pair])
    assert all(name in str(caught.value) for name in BidSettings.model_fields)


@pytest.mark.parametrize(
    "pair",
    [
        "p=1.5",
        "p=nan",
        "p=",
        "demand=0",
        "demand=inf",
        "demand=many",
        "steps=0",
        "steps=1.5",
        "min_bid_fen=0",
        "reopen_on_release=perhaps",
        "full_when=never",
        "progress=ROW",
        "hang_s=-1",
        "limit_s=1e9",
        "p=0.1\nsteps=1",
    ],
)
def test_a_value_that_does_not_fit_is_refused_in_one_line(pair):
    """The line names setting and value."""
    name, _, value = pair.partition("=")
    with pytest.raises(UsageError) as caught:
        settings_from(BidSettings, {}, [pair])
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(f"{name}={value!r}")


@pytest.mark.parametrize("pair", ["p", "", "p:0.1"])
def test_a_word_without_an_equals_sign_is_refused(pair):
    """It says how settings are written."""
    with pytest.raises(UsageError, match="write key=value"):
        settings_from(BidSettings, {}, [pair])


def test_an_unknown_key_of_a_preset_is_refused():
    """Presets are checked as strictly as what is typed."""
    with pytest.raises(UsageError, match="reopen"):
        settings_from(BidSettings, {"reopen": True}, [])


def test_every_setting_explains_itself():
    """`oversold list` prints these sentences."""
    assert all(field.description for field in BidSettings.model_fields.values())


@pytest.mark.parametrize(
    "fields",
    [
        {"users": 0},
        {"users": MAX_USERS + 1},
        {"capacity_fen": 0},
        {"capacity_fen": MAX_CAPACITY_FEN + 1},
        {"seed": -1},
        {"seed": 2**63},
        {"processes": 0},
        {"lanes": 0},
        {"rtt_s": -0.1},
        {"rtt_s": float("inf")},
        {"userz": 1},
    ],
)
def test_a_plan_has_limits(fields):
    """Nonsense is refused when the plan is made, not in the middle of a burst."""
    with pytest.raises(ValidationError):
        BidPlan(**{"scenario": "s", "strategy": "none", **fields})


@given(st.integers(1, MAX_USERS), st.integers(0, 2**63 - 1), st.floats(0, 10), st.floats(0, 1))
def test_an_assignment_survives_the_way_to_another_process(users, seed, rtt_s, p):
    """The plan that a worker reads equals the one that was written, to the last digit."""
    given_plan = plan(users, {"p": p}, seed=seed, rtt_s=rtt_s)
    endpoints = {"sql": {"store": "sql", "url": "postgresql://x", "settings": {"fsync": "off"}}}
    assignment = Assignment(given_plan, "t1-1", endpoints, Path("raw"))
    text = assignment.to_json()
    assert Assignment.from_json(text) == assignment
    assert json.loads(text)["run_id"] == "t1-1"
    assert tranche_of(assignment) == Tranche("t1-1", given_plan.capacity_fen, given_plan.min_bid_fen)
