"""The stock as it was. Three of these tests are meant to fail: run them to see what oversold says."""

from shop import Broken

from oversold.conformance import BidStrategyContract


class TestBroken(BidStrategyContract):
    """One test for each rule that a strategy must keep."""

    strategy = Broken


def test_a_burst(burst):
    """400 bidders at once, audited from the ledger."""
    result = burst(Broken)
    assert result.oversubscription == 0


def test_every_order(explore):
    """Two bidders for one share, one store command at a time."""
    assert explore(Broken, bidders=2)
