"""The mended stock keeps every rule, its burst is a pass, and no order of its commands oversells."""

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


def test_every_order(explore):
    """Three bidders for two shares, one store command at a time, in all orders that differ."""
    assert explore(Mended)
