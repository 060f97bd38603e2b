"""Channel profiles: what they mean, and what is refused before a channel starts."""

import math
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oversold.errors import UsageError
from oversold.platform.channels.profile import ChannelProfile, Profile, parse

BUILT_IN = Path(__file__).parents[3] / "fixtures" / "channels"
OK = {"outcomes": {"applied_ok": 1.0}}


def built_in(name):
    """Return a built-in profile."""
    return parse(name, tomllib.loads((BUILT_IN / f"{name}.toml").read_text(encoding="utf-8")))


def refusal(table, name="p"):
    """Return what a table is refused with."""
    with pytest.raises(UsageError) as refused:
        parse(name, table)
    text = str(refused.value)
    assert "\n" not in text
    assert text.startswith(f"channel profile {name!r}, ")
    return text


@pytest.mark.parametrize("name", ["honest", "seed", "hostile"])
def test_built_in_profiles_are_valid(name):
    """Every built-in profile has the channels A and B in that order and says in a sentence what it is."""
    profile = built_in(name)
    assert list(profile.channels) == ["A", "B"]
    assert profile.about.endswith(".")


def test_honest_channels_never_lie():
    """In `honest`, whatever the congestion, a call is paid exactly when it is answered ok, and always answered."""
    for channel in built_in("honest").channels.values():
        chances = channel.chances(10_000)
        assert chances["applied_ok"] + chances["none_failed"] == pytest.approx(1)
    lying = built_in("seed").channels["A"].chances(10_000)  # planted: the incident's channel fails the same check
    assert lying["applied_ok"] + lying["none_failed"] < 0.5


def test_the_incident_at_its_scale():
    """In `seed`, A lies in about 70 of 1,320 calls with 32 in flight, and in about 7 of 3,500 calls with 16."""
    first, second = built_in("seed").channels.values()
    assert 1_320 * first.chances(32)["applied_failed"] == pytest.approx(70, abs=1)
    assert 3_500 * first.chances(16)["applied_failed"] == pytest.approx(7)
    assert second.chances(32)["applied_ok"] == 1


def test_hostile_channels_do_everything():
    """In `hostile` every outcome happens on both channels, A forgets keys soon and B never knew them."""
    first, second = built_in("hostile").channels.values()
    for channel in (first, second):
        assert all(chance > 0 for chance in channel.chances(1).values())
        assert channel.visibility_s > channel.timeout_s
    assert first.honours_keys
    assert first.cache_errors
    assert first.key_retention_s < first.later_s
    assert not second.honours_keys


@pytest.mark.parametrize(
    ("outcomes", "told"),
    [
        ({"applied_ok": 0.5}, "the chances come to 0.5 and must come to 1: add 0.5"),
        ({"applied_ok": 1.0, "none_ok": 0.25}, "the chances come to 1.25 and must come to 1: take 0.25 away"),
        ({}, "the chances come to 0 and must come to 1: add 1"),
        ({"applied_ok": 1 - 1e-8}, "come to 0.99999999 and must come to 1: add 1e-08"),
    ],
)
def test_chances_that_do_not_come_to_one(outcomes, told):
    """A wrong sum is one sentence that says what it came to and what mends it."""
    text = refusal({"channels": {"A": OK, "B": {"outcomes": outcomes}}})
    assert text.startswith("channel profile 'p', channel B, outcomes: ")
    assert told in text


def test_a_sum_within_the_tolerance():
    """Decimal fractions, which do not quite add up to 1 in binary, are as good as 1."""
    outcomes = {"applied_ok": 0.7, "applied_failed": 0.2, "applied_timeout": 0.1}
    assert sum(outcomes.values()) != 1
    assert parse("p", {"channels": {"A": {"outcomes": outcomes}}}).channels["A"].outcomes.applied_ok == 0.7


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({}, "channels: it is missing: add it"),
        ({"channels": {}}, "channels: there is no channel: add a table [channels.A]"),
        ({"channels": 3}, "channels: 3 does not fit"),
        ({"channels": {"A": 3}}, "channel A: 3 does not fit"),
        ({"channels": {"A": {}}}, "channel A, outcomes: it is missing: add it"),
        ({"channels": {"A": {"outcomes": {"applied_ok": -0.1}}}}, "channel A, outcomes.applied_ok: -0.1 does not"),
        ({"channels": {"A": {"outcomes": {"applied_ok": 1.1}}}}, "channel A, outcomes.applied_ok: 1.1 does not"),
        ({"channels": {"A": {"outcomes": {"applied_okay": 1}}}}, "did you mean applied_ok"),
        ({"channels": {"A": {**OK, "latency": 1}}}, "channel A, latency: no such key (did you mean latency_s"),
        ({"channels": {"A": {**OK, "latency_s": math.nan}}}, "channel A, latency_s: nan does not fit"),
        ({"channels": {"A": {**OK, "timeout_s": 0}}}, "channel A, timeout_s: 0 does not fit"),
        ({"channels": {"A": {**OK, "key_scope": "both"}}}, "channel A, key_scope: 'both' does not fit"),
        ({"channels": {"A": OK}, "chanels": {}}, "chanels: no such key (did you mean channels?)"),
        ({"channels": {"A": OK}, "name": "q"}, "name: a profile is called as its file is: leave it out"),
        ({"channels": {f"A{i}": OK for i in range(9)}}, "there are more than 8 channels: leave some out"),
    ],
)
def test_what_is_refused(table, told):
    """A table that cannot be used is refused in one line that names the channel, the key and the mend."""
    assert told in refusal(table)


@pytest.mark.parametrize("name", ["", "1", "-A", "A B", "A\n", "Ä", "A" * 21])
def test_names_that_are_refused(name):
    """A channel's name goes into file names and addresses, so it is short and plain."""
    assert "a channel cannot be called" in refusal({"channels": {name: OK}})


def test_a_name_that_is_long_enough():
    """Twenty letters, digits and hyphens are a name."""
    assert list(parse("p", {"channels": {"A" * 19 + "-": OK}}).channels) == ["A" * 19 + "-"]


@given(
    st.floats(0, 1), st.floats(0, 1), st.integers(0, 50), st.floats(0, 1), st.integers(0, 200), st.integers(0, 50)
)
def test_congestion_moves_chance_from_ok_to_the_lie(share, rest, cap, slope, in_flight, more):
    """However many calls are in flight, the chances sum to 1, lies only grow, and no other outcome changes."""
    outcomes = {"applied_ok": 1 - rest, "applied_failed": rest * share, "none_failed": rest - rest * share}
    channel = ChannelProfile(outcomes=outcomes, lie_cap=cap, lie_slope=slope)
    quiet, busy = channel.chances(in_flight), channel.chances(in_flight + more)
    assert sum(busy.values()) == pytest.approx(1)
    assert all(0 <= chance <= 1 + 1e-9 for chance in busy.values())
    assert busy["applied_failed"] >= quiet["applied_failed"]
    assert busy["none_failed"] == outcomes["none_failed"]
    assert channel.chances(cap) == channel.chances(0)


def test_terms_say_when_effects_have_settled():
    """The terms name a settling time only where an effect may come late."""
    assert ChannelProfile(**OK, later_s=3).terms().settle_s == 0
    late = ChannelProfile(outcomes={"applied_ok": 0.9, "later_timeout": 0.1}, later_s=3, visibility_s=2)
    assert (late.terms().settle_s, late.terms().visibility_s) == (3, 2)


def test_the_order_of_the_channels_stays():
    """Jobs try the channels in the order in which the file has them."""
    assert list(parse("p", {"channels": {"z": OK, "B": OK, "a": OK}}).channels) == ["z", "B", "a"]
    assert isinstance(parse("p", {"channels": {"z": OK}}), Profile)
