"""The mended stock keeps every rule, and its burst is a pass."""

from shop import Mended

from oversold.conformance import BidStrategyContract


class TestMended(BidStrategyContract):
    """One test for each rule that a strategy must keep."""

    strategy = Mended


def test_a_burst(burst):
    """400 bidders at once, audited from the ledger."""
    result = burst(Mended)
    assert result.oversubscription == 0
    assert result.undersubscription < 0.001
    assert result
