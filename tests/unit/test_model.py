"""The nouns and the errors: money is printed to the fen, nouns do not change, errors know their exit code."""

from dataclasses import FrozenInstanceError
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from oversold import errors
from oversold.errors import Exit, OversoldError, near
from oversold.model import HOLD_VERDICTS, Bid, Claim, Finding, Hold, Tranche, yuan

LARGEST_FEN = 10**16


def fen_of(text):
    """Read what `yuan` wrote."""
    return int(Decimal(text.removesuffix(" yuan").replace(",", "")) * 100)


@pytest.mark.parametrize(
    ("fen", "text"),
    [
        (0, "0 yuan"),
        (1, "0.01 yuan"),
        (150, "1.50 yuan"),
        (100_000_000, "1,000,000 yuan"),
        (-250, "-2.50 yuan"),
        (-168_300_000, "-1,683,000 yuan"),
        (100.0, "1 yuan"),
    ],
)
def test_yuan_is_whole_where_it_is_whole(fen, text):
    """Decimals appear only for a remainder; thousands are separated."""
    assert yuan(fen) == text


@given(st.integers(-(10**15), 10**15))
@example(10**15 + 1)
def test_yuan_loses_no_fen(fen):
    """Every amount up to ten trillion yuan can be read back from its text."""
    assert fen_of(yuan(fen)) == fen


def test_yuan_loses_no_fen_of_the_largest_tranche():
    """Sums of bids go beyond the largest capacity, and must be told to the fen as well."""
    assert fen_of(yuan(LARGEST_FEN + 1)) == LARGEST_FEN + 1


@pytest.mark.parametrize(
    "noun", [Tranche("t", 1), Bid("b", "t", "u", 1), Hold("ok"), Claim("open", None), Finding("c", "pass", "d")]
)
def test_nouns_do_not_change(noun):
    """Nobody can edit a noun that somebody else holds."""
    field = next(iter(noun.__dataclass_fields__))
    with pytest.raises((FrozenInstanceError, AttributeError)):
        setattr(noun, field, "other")


def test_hold_verdicts_are_those_that_the_pipeline_knows():
    """The tuple that code checks against is the type that people read."""
    assert HOLD_VERDICTS == ("ok", "sold_out", "busy", "error", "unknown")


def test_exit_codes_are_those_that_scripts_depend_on():
    """0 pass, 1 broken, 2 usage, 3 threshold, 4 inconclusive."""
    codes = {code.name: int(code) for code in Exit}
    assert codes == {"PASS": 0, "BROKEN": 1, "USAGE": 2, "THRESHOLD": 3, "INCONCLUSIVE": 4}


@pytest.mark.parametrize("name", ["UsageError", "StoreUnavailableError", "LimitError", "HarnessError"])
def test_an_expected_error_is_no_verdict_of_a_run(name):
    """Whatever keeps a run from happening exits with 2, never with the code of a broken promise."""
    kind = getattr(errors, name)
    assert issubclass(kind, OversoldError)
    assert kind("what and why").exit_code is Exit.USAGE


def test_near_words_are_offered():
    """The closest come first; nothing is offered for a word that is like no other."""
    assert near("redis-lau", ["redis-lua", "row-lock"]) == " (did you mean redis-lua?)"
    assert near("xyzzy", ["redis-lua", "row-lock"]) == ""
    assert near("row", []) == ""
