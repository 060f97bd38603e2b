"""The payday: what a seed stands for, when the jobs start, who plays what, and what is refused beforehand."""

from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from oversold.assignment import Assignment
from oversold.errors import UsageError
from oversold.model import Job
from oversold.payout_plan import (
    CANARY,
    CANARY_PROFILE,
    INTEREST_JOB_MIN,
    LEAST_MINUTE_S,
    PAYMENT_S,
    Part,
    PayoutPlan,
    PayoutSettings,
    Start,
    draw_payday,
    obligation_id,
    obligation_index,
    user_id,
    user_index,
)
from oversold.plan import MAX_USERS, settings_from

MODES = ("overlap", "twice", "killed")


def plan(users=200, payouts=None, **fields):
    """Return a plan; `payouts` are its settings."""
    chosen = PayoutSettings(**(payouts or {}))
    every = {"scenario": "s", "strategy": "lease+state-machine", "users": users, "payouts": chosen, **fields}
    return PayoutPlan(**every)


def refusal(*pairs):
    """Return what is said of settings that are refused."""
    with pytest.raises(UsageError) as caught:
        settings_from(PayoutSettings, {}, list(pairs))
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "fits", "too_much"),
    [
        ("obligations", "1", "0"),
        ("obligations", "1000000", "1000001"),
        ("maturing", "0", "-0.1"),
        ("maturing", "1", "1.1"),
        ("mean_fen", "1", "0"),
        ("mean_fen", str(10**12), str(10**12 + 1)),
        ("jobs", "twice", "thrice"),
        ("minute_s", "60", "61"),
        ("minute_s", "0.001", "0"),
        ("minute_s", "1", "nan"),
        ("maturity_min", "0", "-1"),
        ("again_min", "0", "-1"),
        ("kill_min", "0", "-1"),
        ("horizon_s", "86400", "inf"),
        ("horizon_s", "0.1", "0"),
        ("reconcile_s", "0.1", "0"),
        ("visits", "0", "-1"),
        ("visits", "1000", "1.5"),
        ("withdraw", "1", "1.5"),
    ],
)
def test_a_setting_has_bounds(name, fits, too_much):
    """The last value that fits is taken; the next one is refused in one line with setting and value."""
    settings_from(PayoutSettings, {}, [f"{name}={fits}"])
    said = refusal(f"{name}={too_much}")
    assert said.startswith(f"{name}={too_much!r}: ")
    assert "\n" not in said


def test_an_unknown_setting_suggests_the_near_one():
    """And lists those of the payday, not those of the bids."""
    said = refusal("maturty_min=5")
    assert "did you mean maturity_min" in said
    assert all(name in said for name in PayoutSettings.model_fields)
    assert "full_when" not in said


def test_every_setting_explains_itself():
    """`oversold list` prints these sentences."""
    assert all(field.description for field in PayoutSettings.model_fields.values())


def test_a_job_cannot_start_again_before_it_was_killed():
    """Only in the mode in which it is killed; the line says what to raise."""
    early = ("again_min=5", "kill_min=10")
    assert refusal("jobs=killed", *early) == "again_min=5 is before kill_min=10: raise again_min"
    for mode in ("overlap", "twice"):
        assert settings_from(PayoutSettings, {}, [f"jobs={mode}", *early]).again_min == 5
    assert settings_from(PayoutSettings, {}, ["jobs=killed", "again_min=10", "kill_min=10"]).kill_min == 10


@pytest.mark.parametrize(("mode", "last"), [("overlap", 30), ("twice", 45), ("killed", 45)])
def test_the_payday_lasts_beyond_its_last_job(mode, last):
    """Whichever job that is; the line says when it starts."""
    chosen = {"jobs": mode, "again_min": 90, "minute_s": 0.5}
    assert plan(payouts={**chosen, "horizon_s": last + 0.1}).payouts.horizon_s == last + 0.1
    with pytest.raises(ValidationError) as caught:
        plan(payouts={**chosen, "horizon_s": last})
    said = f"horizon_s={last} ends the payday before its last job starts (after {last} s): raise horizon_s"
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("payouts", "starts"),
    [
        ({"jobs": "overlap"}, [Start("interest", 1, 0), Start("maturity", 1, 60)]),
        ({"jobs": "twice"}, [Start("interest", 1, 0), Start("interest", 2, 20), Start("maturity", 1, 60)]),
        ({"jobs": "killed"}, [Start("interest", 1, 0, 10), Start("interest", 2, 20), Start("maturity", 1, 60)]),
        (
            {"jobs": "killed", "again_min": 90, "kill_min": 80},
            [Start("interest", 1, 0, 80), Start("maturity", 1, 60), Start("interest", 2, 90)],
        ),
        (
            {"jobs": "twice", "again_min": 0, "maturity_min": 0},
            [Start("interest", 1, 0), Start("maturity", 1, 0), Start("interest", 2, 0)],
        ),
    ],
    ids=["overlap", "twice", "killed", "again after the maturity job", "all at once"],
)
def test_the_jobs_start_as_the_mode_says(payouts, starts):
    """In order of their time; only the first interest job is ever killed."""
    assert list(plan(payouts={**payouts, "minute_s": 1, "horizon_s": 100}).starts) == starts


def test_minutes_are_as_long_as_the_run_makes_them():
    """Starts and kills shrink together; the horizon is in seconds and stays."""
    whole, tenth = (
        plan(payouts={"jobs": "killed", "minute_s": minute_s, "horizon_s": 99}) for minute_s in (1, 0.1)
    )
    assert [start.at_s for start in tenth.starts] == pytest.approx([start.at_s / 10 for start in whole.starts])
    assert tenth.starts[0].kill_s == pytest.approx(1)
    assert whole.payouts.horizon_s == tenth.payouts.horizon_s


def test_a_minute_lasts_so_long_that_the_jobs_meet():
    """By default the interest job takes its 90 minutes: the more is owed to the fewer payers, the longer."""
    base = {"obligations": 1600, "maturing": 0.1}
    as_long = plan(payouts=base).minute_s
    assert as_long * INTEREST_JOB_MIN == pytest.approx(1440 / 16 * PAYMENT_S, rel=0.01)
    assert plan(payouts={**base, "obligations": 3200}).minute_s == pytest.approx(2 * as_long, rel=0.01)
    assert plan(payouts=base, lanes=16).minute_s == pytest.approx(as_long / 2, rel=0.01)
    assert plan(payouts={**base, "maturing": 1}).minute_s == LEAST_MINUTE_S
    assert plan(payouts={**base, "minute_s": 0.7}).minute_s == 0.7
    assert plan(payouts=base).starts[1].at_s == pytest.approx(60 * as_long)


def test_the_settings_of_a_plan_say_how_long_its_times_are():
    """So that a run can be repeated with them, whatever the defaults may become."""
    base = plan(payouts={"visits": 1})
    times = {"minute_s": base.minute_s, "horizon_s": base.horizon_s}
    assert base.settings == base.payouts.model_copy(update=times)
    again = base.model_copy(update={"payouts": base.settings})
    assert (again.starts, again.settings) == (base.starts, base.settings)


def test_derived_times_fit_every_payday():
    """The horizon covers the jobs of a payday that one worker pays; what is derived can be typed in again."""
    assert (plan().horizon_s, plan(payouts={"horizon_s": 7}).horizon_s) == (60, 7)
    alone = plan(lanes=1, processes=1)
    assert alone.horizon_s == pytest.approx(360 * alone.minute_s, abs=0.1)
    huge = plan(lanes=1, processes=1, payouts={"obligations": 1_000_000, "maturity_min": 0})
    assert PayoutSettings.model_validate(huge.settings.model_dump()) == huge.settings


def test_a_start_and_its_jobs_have_one_name():
    """The name under which the channels' books know a worker is that of the plan's start."""
    twice = plan(payouts={"jobs": "twice"}, lanes=2)
    for part in twice.parts():
        if part.role == "worker":
            job = twice.job("p1", part)
            assert job.run == part.start.run
            assert (job.payday_id, job.worker, job.workers) == ("p1", part.worker, 4)
    assert Start("interest", 2, 0).run == Job("p1", "interest", 2, 0, 1).run == "interest#2"


def miscast(chosen, parts):
    """Yield what is wrong with the parts of a plan as a whole."""
    if len(parts) != chosen.users:
        yield f"{len(parts)} parts for {chosen.users} users"
    workers = [(start, worker) for start in chosen.starts for worker in range(chosen.workers)]
    if Counter((part.start, part.worker) for part in parts if part.role == "worker") != Counter(workers):
        yield "not every worker of every start once"
    if sum(part.role == "reconciler" for part in parts) != 1:
        yield "not one reconciler"
    investors = [part.investor for part in parts if part.role == "investor"]
    if sorted(investors) != list(range(len(investors))):
        yield "not every investor once"


def uneven(chosen, parts, shares):
    """Yield what is wrong with the parts of single processes; `shares` are how many users each of them has, in
    the order in which the gate hands out indices."""
    first = 0
    for process, share in enumerate(shares):
        mine, first = parts[first : first + share], first + share
        for start in chosen.starts:
            count = sum(part.role == "worker" and part.start == start for part in mine)
            if abs(count - chosen.lanes) > 1:
                yield f"process {process} has {count} workers of {start.run}"
        hands = sum(part.role != "investor" for part in mine)
        if hands > chosen.connections:
            yield f"process {process} needs {hands} hands"


def every_share(users, processes):
    """Yield how Locust may spread the users over the processes: evenly, and some get one more."""
    each, more = divmod(users, processes)
    for lucky in combinations(range(processes), more):
        yield [each + (process in lucky) for process in range(processes)]


def needed(processes, lanes, mode="overlap"):
    """Return the least number of users."""
    return (2 if mode == "overlap" else 3) * processes * lanes + 1


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 6), st.integers(1, 5), st.sampled_from(MODES), st.integers(0, 60))
def test_every_process_plays_its_share_of_each_part(processes, lanes, mode, online):
    """Every user has one part, and every process as many workers of each start as it has lanes, give or take one:
    no process lacks connections, whatever way Locust spreads the users."""
    users = needed(processes, lanes, mode) + online
    chosen = plan(users, {"jobs": mode, "obligations": 30}, processes=processes, lanes=lanes)
    parts = chosen.parts()
    assert list(miscast(chosen, parts)) == []
    for shares in every_share(users, processes):
        assert list(uneven(chosen, parts, shares)) == []


@pytest.mark.parametrize(
    ("planted", "complaint"),
    [
        (lambda parts: parts[:-1], "32 parts for 33 users"),
        (lambda parts: [parts[1], *parts[1:]], "not every worker of every start once"),
        (lambda parts: [p for p in parts if p.role != "reconciler"] + [Part("investor")], "not one reconciler"),
        (lambda parts: [*parts, Part("investor", investor=1)], "not every investor once"),
    ],
)
def test_a_wrong_cast_is_found(planted, complaint):
    """A part that nobody plays, or two play."""
    chosen = plan(33)
    assert complaint in list(miscast(chosen, planted(chosen.parts())))


def test_parts_in_plain_order_are_found_uneven():
    """Handed out as they come, one process would do all the work."""
    chosen = plan(40)
    roles = sorted(chosen.parts(), key=lambda part: part.role == "investor")
    assert "process 0 needs 20 hands" in list(uneven(chosen, roles, [20, 20]))
    by_start = sorted(chosen.parts(), key=lambda part: (part.start is None, str(part.start)))
    assert "process 0 has 16 workers of interest#1" in list(uneven(chosen, by_start, [20, 20]))


@pytest.mark.parametrize("mode", MODES)
def test_too_few_users_are_refused(mode):
    """Each worker of each start is a user, and so is the one that reconciles; the line says how many."""
    starts, least = (2, 33) if mode == "overlap" else (3, 49)
    assert plan(least, {"jobs": mode}).users == least
    with pytest.raises(ValidationError) as caught:
        plan(least - 1, {"jobs": mode})
    assert (
        f"{least - 1} users are too few: {starts} job starts have 16 workers each, and one more reconciles: "
        f"use at least {least}, or fewer lanes"
    ) in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"users": 0},
        {"users": MAX_USERS + 1},
        {"seed": -1},
        {"processes": 0},
        {"lanes": 0},
        {"lanes": 1025},
        {"rtt_s": float("inf")},
        {"capacity_fen": 1},
        {"kind": "bids"},
    ],
)
def test_a_plan_has_limits(fields):
    """Nonsense, and what belongs to the bids, is refused when the plan is made."""
    with pytest.raises(ValidationError):
        PayoutPlan(**{"scenario": "s", "strategy": "none+blind-failover", **fields})


def test_every_worker_of_a_process_has_a_connection():
    """One a lane of each start, and one to reconcile."""
    assert [plan(payouts={"jobs": mode}, lanes=5).connections for mode in MODES] == [11, 16, 16]


def owed(drawn):
    """Return the obligations without the payday's id."""
    return [(each.kind, each.amount_fen, each.user_id.rpartition("-")[2]) for each in drawn.payday.obligations]


def test_the_same_seed_draws_the_same_payday():
    """A run can be repeated: who is owed what comes from the plan alone."""
    one, other = (draw_payday(plan(seed=7), "p1") for _ in range(2))
    assert one.payday == other.payday
    assert np.array_equal(one.due_fen, other.due_fen)
    assert np.array_equal(one.user, other.user)


def test_another_seed_draws_another_payday():
    """Seeds that follow one another are no exception."""
    assert not np.array_equal(draw_payday(plan(seed=1), "p1").due_fen, draw_payday(plan(seed=2), "p1").due_fen)


@pytest.mark.parametrize(
    "change",
    [
        {"strategy": "none+blind-failover"},
        {"profile": "hostile"},
        {"lanes": 3},
        {"processes": 1},
        {"rtt_s": 0.01},
        {"payouts": PayoutSettings(jobs="killed", minute_s=0.01, maturity_min=5, visits=9, horizon_s=9)},
    ],
    ids=", ".join,
)
def test_strategies_face_the_same_payday(change):
    """A comparison is fair: neither the design nor the jobs, channels and workers change what is owed."""
    base = plan(seed=3)
    assert draw_payday(base, "p1").payday == draw_payday(base.model_copy(update=change), "p1").payday


def test_the_id_of_the_payday_is_that_of_its_rows_alone():
    """Two runs of one plan owe the same to the same people, under names that do not meet."""
    one, other = (draw_payday(plan(), name) for name in ("p1", "p2"))
    assert owed(one) == owed(other)
    names = [{each.obligation_id for each in drawn.payday.obligations} for drawn in (one, other)]
    assert not names[0] & names[1]


def inconsistencies(chosen, drawn):
    """Yield what is wrong with a payday that was drawn."""
    payday_id, obligations, count = drawn.payday.payday_id, drawn.payday.obligations, chosen.payouts.obligations
    if not len(obligations) == len(drawn.due_fen) == len(drawn.user) == count:
        yield "the number of obligations"
    if [each.amount_fen for each in obligations] != drawn.due_fen.tolist() or drawn.due_fen.min() < 1:
        yield "the amounts"
    if [each.user_id for each in obligations] != [user_id(payday_id, index) for index in drawn.user.tolist()]:
        yield "the investors"
    if [each.obligation_id for each in obligations] != [obligation_id(payday_id, i) for i in range(count)]:
        yield "the ids"
    if sum(each.kind == "principal" for each in obligations) != round(count * chosen.payouts.maturing):
        yield "the share of principal"
    if set(drawn.user.tolist()) != set(range(drawn.users)):
        yield "an investor whom nothing is owed to"
    if len({(each.user_id, each.kind) for each in obligations}) != count:
        yield "interest or principal owed twice to one investor"


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.floats(0, 1), st.integers(1, 10**12), st.integers(0, 2**63 - 1))
def test_a_payday_is_consistent(obligations, maturing, mean_fen, seed):
    """Arrays, obligations and ids say the same; everybody is owed interest or principal once, at least one fen."""
    chosen = plan(payouts={"obligations": obligations, "maturing": maturing, "mean_fen": mean_fen}, seed=seed)
    assert list(inconsistencies(chosen, draw_payday(chosen, "p-1"))) == []


@pytest.mark.parametrize(
    ("planted", "complaint"),
    [
        (lambda drawn: replace(drawn, due_fen=drawn.due_fen[:-1]), "the number of obligations"),
        (lambda drawn: replace(drawn, due_fen=drawn.due_fen + 1), "the amounts"),
        (lambda drawn: replace(drawn, user=drawn.user[::-1]), "the investors"),
        (lambda drawn: replace(drawn, payday=replace(drawn.payday, payday_id="p2")), "the ids"),
        (lambda drawn: replace(drawn, users=drawn.users + 1), "an investor whom nothing is owed to"),
    ],
)
def test_an_inconsistent_payday_is_found(planted, complaint):
    """One array that says something else is enough."""
    chosen = plan(payouts={"obligations": 30})
    assert complaint in list(inconsistencies(chosen, planted(draw_payday(chosen, "p1"))))


def test_what_is_owed_comes_to_the_mean():
    """The sum of the seed's scale: 3,500 payouts of 860 yuan, give or take a twentieth; they differ in size."""
    drawn = draw_payday(plan(), "p1")
    assert drawn.due_fen.sum() == pytest.approx(3_500 * 86_000, rel=0.05)
    assert drawn.due_fen.max() > 4 * drawn.due_fen.min()


@given(st.sampled_from(["p1", "t0-1", "日"]), st.integers(0, 10**7), st.integers(1, 10**7))
def test_an_id_leads_back_to_its_index(payday_id, index, count):
    """Of obligations and of investors; what lies beyond the payday is unknown."""
    expected = index if index < count else -1
    assert obligation_index(payday_id, obligation_id(payday_id, index), count) == expected
    assert user_index(payday_id, user_id(payday_id, index), count) == expected
    # An investor is no obligation, nor the other way round.
    assert obligation_index(payday_id, user_id(payday_id, index), count) == -1
    assert user_index(payday_id, obligation_id(payday_id, index), count) == -1


@pytest.mark.parametrize(
    "text",
    [
        *("", "p1", "p1-", "p1-u", "000001", "-000001", "p1-1", "p1-u1", "p1-0000001", "p1-00001x", "p1--00001"),
        *("p2-000001", "p11-000001", "p1-000005", "p1-u000005", "p1-uu000001", "p1-+00001", "p1- 000001"),
        *("p1-٠٠٠٠٠١", "p1-00000²", f"p1-{10**12}", "p1-000001 ", "P1-000001"),
    ],
)
def test_a_foreign_id_is_nobodys(text):
    """Another payday's, a misspelt one, or one that only looks like ours."""
    assert obligation_index("p1", text, 5) == user_index("p1", text, 5) == -1


@settings(max_examples=200)
@given(st.text("p1-u0٠² ", max_size=10))
def test_only_our_own_ids_are_ours(text):
    """Whatever stands in the books, it is taken for ours only if it is letter by letter what we write."""
    for index_of, id_of in ((obligation_index, obligation_id), (user_index, user_id)):
        index = index_of("p1", text, 5)
        assert index == -1 or text == id_of("p1", index)


def test_the_canary_is_the_same_payday_on_the_incidents_own_design():
    """No claim lock, blind failover, the channels of the incident; nothing else changes. It is its own canary."""
    honest = plan(seed=9, profile="honest", payouts={"obligations": 50})
    twin = honest.canary
    assert (twin.strategy, twin.profile) == (CANARY, CANARY_PROFILE) == ("none+blind-failover", "seed")
    changed = {"strategy": honest.strategy, "profile": honest.profile}
    assert twin.model_copy(update=changed) == honest
    assert twin.canary == twin
    assert owed(draw_payday(twin, "p1")) == owed(draw_payday(honest, "p1"))


@pytest.mark.parametrize(
    "fields",
    [{"strategy": CANARY, "profile": "honest"}, {"strategy": "cas+blind-failover"}],
    ids=["its design over honest channels", "its channels under another design"],
)
def test_half_a_canary_is_none(fields):
    """Over honest channels blind failover pays nobody twice; that must not count as the proof of a load."""
    assert plan(**fields) != plan(**fields).canary


@given(st.sampled_from(MODES), st.integers(0, 2**63 - 1), st.floats(0, 10), st.floats(0, 1))
def test_a_payout_assignment_survives_the_way_to_another_process(mode, seed, rtt_s, withdraw):
    """The plan that a worker reads is a payout plan and equals the one that was written; so do the channels."""
    given_plan = plan(payouts={"jobs": mode, "withdraw": withdraw}, seed=seed, rtt_s=rtt_s)
    channels = {"B": "http://127.0.0.1:2", "A": "http://127.0.0.1:1"}
    assignment = Assignment(given_plan, "p1", {"sql": {"url": "postgresql://x"}}, Path("raw"), channels)
    again = Assignment.from_json(assignment.to_json())
    assert again == assignment
    assert isinstance(again.plan, PayoutPlan)
    assert list(again.channels) == ["B", "A"]
