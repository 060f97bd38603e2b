"""Two kinds of incident in one house: what a scenario is about decides its plan, its strategies and its canary."""

import json
import shlex
import sys
from itertools import permutations
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oversold import bid_runs, comparison, history, options, places, summary
from oversold.assignment import Assignment
from oversold.audit import Circumstances, proof, verdict
from oversold.bid_plan import BidPlan, BidSettings
from oversold.comparison import broken_share, compare, comparison_exit, run_exit, run_one
from oversold.errors import Exit, UsageError
from oversold.options import Typed, plan_of, strategies_of
from oversold.payout_plan import CANARY, CANARY_PROFILE, PayoutPlan, PayoutSettings
from oversold.strategies import registry
from oversold.sweep import planned
from oversold.telling import Telling

DESIGN = "row-lock+state-machine"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Stand in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path, text):
    """Write a file with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def scenario(here):
    """Write a scenario of the user's own; scenario(source) returns its name."""

    def written(source):
        write(here / "scenarios/my_own.py", source)
        return "my-own"

    return written


def refusal(ask, *arguments):
    """Return the one line with which something is refused."""
    with pytest.raises(UsageError) as caught:
        ask(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_scenario_says_what_it_is_about():
    """The two that come with the package."""
    assert (places.kind("bid-burst"), places.kind("payout-overlap")) == ("bids", "payouts")


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ('attach("my-own")', "bids"),
        ('attach("my-own", drives="payouts")', "payouts"),
        ("attach('my-own', drives='bids')", "bids"),
        ('if True:\n    attach("my-own",\n        drives="payouts",\n    )', "payouts"),
        ('Thing("my-own", drives="payouts")\nattach("my-own")', "bids"),
        ('"""attach("my-own", drives="payouts")"""', "bids"),
        ("", "bids"),
    ],
)
def test_the_file_is_read_for_its_word(source, kind, scenario):
    """Bids where it says nothing; a word in a docstring or of another call is none."""
    assert places.kind(scenario(source)) == kind


def test_a_scenario_is_not_imported_to_be_asked(scenario, here):
    """It would import Locust, which patches the process, and run whatever stands in it."""
    before = set(sys.modules)
    name = scenario(
        'open("ran", "w")\nimport locust_is_not_here\nattach("my-own", drives="payouts")\nraise SystemExit'
    )
    assert places.kind(name) == "payouts"
    assert not (here / "ran").exists()
    assert set(sys.modules) == before


@pytest.mark.parametrize("word", ['"payout"', '"Bids"', '""', "None", "5"])
def test_a_wrong_word_is_refused(word, scenario):
    """With the file and the words that there are."""
    said = refusal(places.kind, scenario(f'attach("my-own", drives={word})'))
    assert "my_own.py: write drives= as one of 'bids', 'payouts'" in said


@pytest.mark.parametrize("content", [b"attach(", b"\xff\xfe"], ids=["no Python", "no text"])
def test_a_scenario_that_cannot_be_read_is_named(content, scenario, here):
    """In one line: a mistake in the user's file is told as one."""
    name = scenario("")
    (here / "scenarios/my_own.py").write_bytes(content)
    assert "my_own.py cannot be read" in refusal(places.kind, name)


def test_an_unknown_scenario_has_no_kind():
    """It is refused with the near one, as everywhere."""
    assert "did you mean payout-overlap?" in refusal(places.kind, "payout-overlaps")


PROFILE = 'about = "One channel."\n[channels.only]\noutcomes = { applied_ok = 1.0 }\n'


@pytest.mark.parametrize("name", ["seed", "hostile", "honest"])
def test_the_profiles_of_the_package_are_found_by_name(name):
    """From anywhere; each says what it is about, and has two channels for a job to try."""
    found = places.profile(name)
    assert found.name == name
    assert found.about.endswith(".")
    assert list(found.channels) == ["A", "B"]
    assert name in places.profiles()


def test_ones_own_profile_is_found_by_path_and_by_name(here):
    """A file of the user's own adds to the package's, and takes the place of one with the same name."""
    write(here / "mine.toml", PROFILE)
    assert list(places.profile("mine.toml").channels) == ["only"]
    assert places.profile(str(here / "mine.toml")).name == "mine"
    write(here / "fixtures/channels/seed.toml", PROFILE)
    assert list(places.profile("seed").channels) == ["only"]
    assert places.profile("honest").about != "One channel."


def test_an_unknown_profile_suggests_the_near_one():
    """And lists what there is, and that a path would do."""
    said = refusal(places.profile, "hostil")
    assert "unknown profile 'hostil' (did you mean hostile" in said
    assert all(name in said for name in ("honest", "seed", ".toml"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "mine.toml cannot be read"),
        ("about = ", "mine.toml cannot be read"),
        (PROFILE.replace("1.0", "0.5"), "mine"),
        (PROFILE.replace("applied_ok", "applied_okay"), "mine"),
    ],
    ids=["missing", "no TOML", "outcomes that are not all", "no such outcome"],
)
def test_a_profile_that_cannot_be_used_is_refused(text, words, here):
    """In one line that names it."""
    if text is not None:
        write(here / "mine.toml", text)
    assert words in refusal(places.profile, "mine.toml")


def payout_plan(strategy=DESIGN, **typed):
    """Return the plan that typed words give."""
    return plan_of(Typed("payout-overlap", **typed), strategy)


def test_nothing_typed_is_a_payday_of_the_defaults():
    """The plan's own, and half a millisecond of network."""
    assert payout_plan() == PayoutPlan(scenario="payout-overlap", strategy=DESIGN, rtt_s=0.0005)


def test_flags_beat_the_preset_of_a_payday(here):
    """Option by option, setting by setting."""
    preset = 'users = 90\nlanes = 3\nprofile = "hostile"\n[set]\njobs = "twice"\nvisits = 2\n'
    write(here / "fixtures/presets/mine.toml", preset)
    plan = payout_plan(preset="mine", lanes="4", settings=["visits=1"])
    assert (plan.users, plan.lanes, plan.profile) == (90, 4, "hostile")
    assert plan.payouts == PayoutSettings(jobs="twice", visits=1)
    assert payout_plan(preset="mine", profile="honest").profile == "honest"


def test_a_profile_of_a_file_stays_a_path_in_the_plan(here):
    """So that the printed command finds it again."""
    write(here / "mine.toml", PROFILE)
    assert payout_plan(profile="mine.toml").profile == "mine.toml"


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({"capacity": "1000"}, "--capacity means nothing to payout-overlap, which is about payouts: leave it out"),
        ({"profile": "hostil"}, "did you mean hostile"),
        ({"profile": "gone.toml"}, "gone.toml cannot be read"),
        ({"settings": ["maturty_min=5"]}, "did you mean maturity_min"),
        ({"settings": ["full_when=reserved"]}, "--set full_when: no such setting"),
        ({"settings": ["jobs=thrice"]}, "jobs='thrice': "),
        (
            {"settings": ["horizon_s=60", "minute_s=1"]},
            "horizon_s=60 ends the payday before its last job starts (after 60 s)",
        ),
        ({"users": "32"}, "32 users are too few: 2 job starts have 16 workers each"),
        ({"users": "48", "settings": ["jobs=twice"]}, "use at least 49, or fewer lanes"),
        ({"users": "x"}, "--users x: "),
        ({"lanes": "1025"}, "--lanes 1025: "),
        ({"rtt": "20s"}, "--rtt 20.0: "),
        ({"preset": "latched-full"}, "preset latched-full is not for payout-overlap, which is about payouts"),
    ],
)
def test_what_does_not_fit_a_payday_is_refused(typed, words):
    """In one line, before anything is started."""
    assert words in refusal(lambda: payout_plan(**typed))


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({"profile": "honest"}, "--profile means nothing to bid-burst, which is about bids: leave it out"),
        ({"settings": ["jobs=twice"]}, "--set jobs: no such setting"),
    ],
)
def test_what_belongs_to_paydays_is_refused_for_bids(typed, words):
    """In one line, before anything is started."""
    assert words in refusal(lambda: plan_of(Typed("bid-burst", **typed), "none"))


def test_the_least_number_of_users_is_enough():
    """As many as the refusal asks for."""
    assert payout_plan(users="33").users == 33
    assert payout_plan(users="49", settings=["jobs=twice"]).users == 49


def test_a_strategy_is_for_one_kind_of_incident():
    """The other kind's is named as such, an unknown one with the near ones."""
    assert "'redis-lua' is for bids, and this scenario is about payouts" in refusal(
        lambda: payout_plan("redis-lua")
    )
    bid = refusal(lambda: plan_of(Typed("bid-burst"), DESIGN))
    assert f"{DESIGN!r} is for payouts, and this scenario is about bids" in bid
    assert "blind-failover" in refusal(lambda: payout_plan("none+blind-failovr"))


def test_all_strategies_are_those_of_the_kind():
    """Locks for bids, pairs of lock and policy for payouts; the canary is among them."""
    assert strategies_of("all", "payouts") == registry.names("payouts")
    assert not set(strategies_of("all", "payouts")) & set(strategies_of("all", "bids"))
    assert CANARY in strategies_of("all", "payouts")
    assert "redis-lua" in refusal(strategies_of, f"{CANARY},redis-lua", "payouts")


def typed_from(command):
    """Read a command line as `oversold run` would."""
    words = shlex.split(command)
    pairs = list(zip(words[3::2], words[4::2], strict=True))
    flags = {name.removeprefix("--"): value for name, value in pairs if name != "--set"}
    strategy = flags.pop("strategy")
    return Typed(words[2], settings=[value for name, value in pairs if name == "--set"], **flags), strategy


@settings(max_examples=40, deadline=None)
@given(
    st.fixed_dictionaries(
        {
            "seed": st.integers(0, 2**63 - 1),
            "users": st.integers(3 * 4 * 8 + 1, 10**6),
            "processes": st.integers(1, 4),
            "lanes": st.integers(1, 8),
            "profile": st.sampled_from(["seed", "honest", "hostile"]),
        }
    ),
    st.fixed_dictionaries(
        {},
        optional={
            "obligations": st.integers(1, 80_000),
            "maturing": st.floats(0, 1),
            "jobs": st.sampled_from(["overlap", "twice", "killed"]),
            "minute_s": st.floats(0.001, 60),
            "maturity_min": st.floats(0, 200),
            "horizon_s": st.floats(12_001, 86_400),
            "visits": st.integers(0, 1000),
        },
    ),
)
def test_the_command_repeats_the_payday(fields, payouts):
    """Read back as a command line, it gives the same plan, to the last digit of every setting; a minute of the
    default's length is then one that was set."""
    chosen = PayoutSettings(**{"horizon_s": 86_400, **payouts})
    plan = PayoutPlan(scenario="payout-overlap", strategy=DESIGN, payouts=chosen, **fields)
    again = plan_of(*typed_from(summary.command(plan)))
    assert again == plan.model_copy(update={"payouts": plan.settings})
    assert (again.starts, again.settings) == (plan.starts, plan.settings)


def test_the_command_has_the_options_of_its_kind():
    """Those of the other kind would be refused."""
    payday, burst = payout_plan(), plan_of(Typed("bid-burst"), "none")
    assert ("--profile" in summary.command(payday), "--capacity" in summary.command(payday)) == (True, False)
    assert ("--profile" in summary.command(burst), "--capacity" in summary.command(burst)) == (False, True)


def judged(canary, **fields):
    """Return the finding on the canary of a payday."""
    plan = PayoutPlan(scenario="s", strategy=DESIGN)
    good = {"ended": None, "hung": False, "lost_workers": (), "lost_stores": (), "faults": ()}
    seen = Circumstances(**{"plan": plan, "is_canary": False, "canary": canary, **good, **fields})
    return next(finding for finding in proof(seen) if finding.check == "canary"), verdict(proof(seen))[0]


def test_a_canary_that_pays_twice_proves_the_load():
    """In the words of a payday, with its rate."""
    finding, worst = judged(0.02)
    assert (finding.verdict, finding.values, worst) == ("pass", {"duplicate": 0.02}, "pass")
    assert "blind failover these jobs pay" in finding.detail
    assert "of the obligations twice" in finding.detail


@pytest.mark.parametrize(
    ("canary", "fields", "words"),
    [
        (None, {}, "No canary was run, so nothing shows that this load finds double payments."),
        (0.0, {}, f"The canary (strategy {CANARY}) did not pay twice under this load"),
        (0.0, {"is_canary": True}, "This canary did not pay twice under this load"),
    ],
)
def test_a_canary_that_pays_nobody_twice_proves_nothing(canary, fields, words):
    """A design that was not tempted cannot be praised; the sentence says what to raise."""
    finding, worst = judged(canary, **fields)
    assert (finding.verdict, worst) == ("inconclusive", "inconclusive")
    assert words in finding.detail
    assert canary is None or "raise obligations or lanes" in finding.detail


def paid(strategy=DESIGN, verdict="pass", duplicate=0.0, canary=False, profile="seed"):
    """Return what a comparison looks at in the summary of a payday."""
    count = round(3500 * duplicate)
    return {
        "strategy": strategy,
        "profile": profile,
        "verdict": verdict,
        "canary": canary,
        "rates": {"duplicate": duplicate, "overpaid": duplicate, "missed": 0.0},
        "obligations": {"duplicates": count, "overpaid_fen": count * 86_000, "users_affected": count},
    }


GUILTY = paid(CANARY, "fail", 0.02, canary=True)


def test_a_run_is_measured_by_its_own_promise():
    """Paydays by what was paid twice, bursts of bids by what was sold too much."""
    assert broken_share(paid(duplicate=0.02)) == 0.02
    assert broken_share({"rates": {"oversubscription": 0.3}, "tranche": {}}) == 0.3


@pytest.mark.parametrize(
    ("runs", "code"),
    [
        ([GUILTY, paid()], Exit.PASS),
        ([GUILTY, paid(verdict="fail", duplicate=0.001)], Exit.BROKEN),
        ([GUILTY, paid(verdict="fail")], Exit.BROKEN),
        ([GUILTY, paid(verdict="inconclusive")], Exit.INCONCLUSIVE),
        ([paid(CANARY, "inconclusive", canary=True), paid()], Exit.INCONCLUSIVE),
        ([GUILTY, paid(CANARY, "fail", 0.02, profile="hostile")], Exit.BROKEN),
        ([GUILTY], Exit.PASS),
        ([], Exit.INCONCLUSIVE),
    ],
    ids=[
        "all well",
        "paid twice",
        "missed",
        "unproven",
        "a canary that paid nobody twice",
        "the canary's design over other channels",
        "the canary alone",
        "nothing",
    ],
)
def test_a_comparison_of_paydays_exits_with_the_worst_verdict(runs, code):
    """In whatever order they came: the canary that pays twice does its duty, and nobody else is excused."""
    for order in permutations(runs):
        assert comparison_exit({"runs": list(order)}) is code


class Runs:
    """Stands in for `runs.run`: notes what is run where with which canary, and answers a payday's summary."""

    def __init__(self, duplicate=0.02, interrupted_at=None):
        self.duplicate, self.interrupted_at, self.seen = duplicate, interrupted_at, []

    def __call__(self, session, plan, folder, canary):
        """Run nothing; the folder must be there."""
        assert folder.is_dir()
        self.seen.append((plan.strategy, plan.profile, canary, folder.name))
        guilty = plan == plan.canary
        share = self.duplicate if guilty else 0.0
        result = paid(plan.strategy, "fail" if share else "pass", share, guilty, plan.profile)
        result |= {"load": {"users": plan.users}, "seed": plan.seed, "settings": {}}
        if len(self.seen) == self.interrupted_at:
            result["interrupted"] = True
        return result


@pytest.fixture
def runs(monkeypatch):
    """Replace the real run; runs(...) gives the stand-in."""

    def replaced(**chosen):
        stand_in = Runs(**chosen)
        monkeypatch.setattr(comparison, "run", stand_in)
        return stand_in

    return replaced


def plans(*strategies, **fields):
    """Return a payout plan for each strategy."""
    return [PayoutPlan(scenario="s", strategy=strategy, **fields) for strategy in strategies]


def compared(asked, *loads, here):
    """Compare plans under loads (users, seed) without stores, for nothing is run."""
    each = [plan.model_copy(update={"users": n, "seed": k}) for n, k in loads for plan in asked]
    return compare(SimpleNamespace(telling=Telling()), planned(each, 1), here)


def test_the_canary_of_a_comparison_runs_first(runs, here):
    """Whether it was asked for or not; its rate goes to the others."""
    seen = runs().seen
    document = compared(plans("cas+state-machine", DESIGN), (200, 1), here=here)
    assert seen == [
        (CANARY, "seed", None, "canary"),
        ("cas+state-machine", "seed", 0.02, "cas+state-machine"),
        (DESIGN, "seed", 0.02, DESIGN),
    ]
    assert [run["strategy"] for run in document["runs"]] == ["cas+state-machine", DESIGN]


def test_the_canary_runs_over_the_incidents_channels_whatever_the_plans_have(runs, here):
    """Honest channels tempt nobody: the same jobs must be shown to pay twice over those of the incident."""
    seen = runs().seen
    compared(plans(DESIGN, profile="honest"), (200, 1), here=here)
    assert seen == [(CANARY, CANARY_PROFILE, None, "canary"), (DESIGN, "honest", 0.02, DESIGN)]


def test_the_canarys_design_over_other_channels_is_a_run_like_any(runs, here):
    """It was asked for, so it is shown; the canary comes first all the same, in a folder of its own."""
    seen = runs().seen
    document = compared(plans(CANARY, DESIGN, profile="honest"), (200, 1), here=here)
    assert [row[:3] for row in seen] == [
        (CANARY, CANARY_PROFILE, None),
        (CANARY, "honest", 0.02),
        (DESIGN, "honest", 0.02),
    ]
    assert len({row[3] for row in seen}) == 3
    assert [run["canary"] for run in document["runs"]] == [False, False]


def test_a_canary_that_was_asked_for_runs_once(runs, here):
    """First, wherever it stood in the list, under its own name."""
    seen = runs().seen
    document = compared(plans(DESIGN, CANARY), (200, 1), here=here)
    assert [(row[0], row[3]) for row in seen] == [(CANARY, CANARY), (DESIGN, DESIGN)]
    assert [run["canary"] for run in document["runs"]] == [True, False]
    assert comparison_exit(document) is Exit.PASS


def test_a_comparison_of_paydays_says_what_its_canaries_did(runs, here):
    """One row a load, with how many were paid twice; what is returned is what is on disk."""
    runs()
    document = compared(plans(DESIGN), (200, 1), (300, 2), here=here)
    assert json.loads((here / "compare.json").read_text()) == document
    canary = document["canary"]
    assert (canary["strategy"], canary["paid_twice"], canary["duplicate"]) == (CANARY, True, 0.02)
    assert canary["profile"] == "seed"
    told = {"verdict": "fail", "duplicate": 0.02, "duplicates": 70, "overpaid_fen": 6_020_000}
    assert [row.items() >= told.items() for row in canary["runs"]] == [True, True]
    assert [(row["users"], row["seed"]) for row in canary["runs"]] == [(200, 1), (300, 2)]


def test_a_canary_that_paid_nobody_twice_is_told(runs, here):
    """One load without a lie is enough for the whole page to say so."""
    runs(duplicate=0.0)
    assert compared(plans(DESIGN), (200, 1), here=here)["canary"]["paid_twice"] is False


@pytest.mark.parametrize(
    ("asked", "name", "broken"),
    [
        (plans(DESIGN), CANARY, "paid_twice"),
        ([BidPlan(scenario="s", strategy="redis-lua")], "none", "oversold"),
    ],
    ids=["payouts", "bids"],
)
def test_a_comparison_that_was_cut_off_at_once_still_names_its_canary(asked, name, broken, here, monkeypatch):
    """Nothing was proven, and nothing passes."""

    def cut(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(comparison, "run", cut)
    document = compared(asked, (200, 1), here=here)
    assert (document["canary"]["strategy"], document["canary"][broken]) == (name, False)
    assert document["interrupted"]
    assert comparison_exit(document) is Exit.INCONCLUSIVE


def test_one_payday_is_preceded_by_its_canary(runs, here):
    """In a folder below, over the incident's channels; its rate is handed on."""
    seen = runs(duplicate=0.03).seen
    run_one(None, plans(DESIGN, profile="honest")[0], here, with_canary=True)
    assert seen == [(CANARY, CANARY_PROFILE, None, "canary"), (DESIGN, "honest", 0.03, here.name)]


def test_the_canary_itself_needs_no_other(runs, here):
    """Over the incident's channels it is one; over others it is a design like any, and needs one."""
    seen = runs().seen
    run_one(None, plans(CANARY)[0], here, with_canary=True)
    assert seen == [(CANARY, CANARY_PROFILE, None, here.name)]
    run_one(None, plans(CANARY, profile="honest")[0], here, with_canary=True)
    assert [row[1] for row in seen[1:]] == [CANARY_PROFILE, "honest"]


def test_an_interrupted_canary_of_a_payday_ends_the_run(runs, here):
    """Its summary proves nothing about the design, and says so."""
    seen = runs(interrupted_at=1).seen
    result, place = run_one(None, plans(DESIGN)[0], here, with_canary=True)
    assert run_exit(result) is Exit.INCONCLUSIVE
    assert f"{DESIGN} was not tried" in result["reasons"][0]
    assert (place, len(seen)) == (here / "canary", 1)


@pytest.fixture
def following(here):
    """Follow a burst of two bidders in one process; following(finished) has seen so many leave."""

    def follow(finished):
        plan = BidPlan(scenario="s", strategy="none", users=2, processes=1, bids=BidSettings(limit_s=5, hang_s=1))
        writer = history.HistoryWriter(history.path_of(here, 0), 4)
        for bid in range(finished):
            writer.leave(writer.invoke(bid, 1, 0, 100, 1, 2))
        writer.close()
        followed = bid_runs.Following(None, Assignment(plan, "t1", {}, here), bid_runs.BidBurst())
        assert (followed.total, followed.beat().finished) == (2, finished)
        return followed

    return follow


def test_a_burst_that_takes_too_long_is_ended(following):
    """At its limit, or when nothing moves for longer than a call may hang; not a moment before."""
    followed = following(1)
    assert followed.overdue(5.0, 0.1) is None
    assert "limit_s=5" in followed.overdue(5.1, 0.1).reason
    still = followed.overdue(4.9, 3600.0)
    assert still.hung
    assert "nothing has moved" in still.reason


def test_a_burst_whose_bidders_have_all_left_is_not_overdue(following):
    """What is still being written down takes its time, and the burst was over before."""
    assert following(2).overdue(5.1, 3600.0) is None


def test_every_kind_has_its_options_and_its_settings():
    """An option of a kind is a field of its plan, or becomes one."""
    for kind, model in options.PLANS.items():
        fields = {options.NAMES.get(option, option) for option in options.PLAN_OPTIONS[kind]}
        assert fields <= set(model.model_fields)
        assert model.model_fields["kind"].default == kind
        assert type(model(scenario="s", strategy="s").settings) is options.SETTINGS[kind]
