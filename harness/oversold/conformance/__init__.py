"""Contracts that every strategy must keep, as test classes: subclass one, name your strategy, run pytest."""

from oversold.conformance.bids import BidStrategyContract
from oversold.conformance.payouts import PayoutStrategyContract

__all__ = ["BidStrategyContract", "PayoutStrategyContract"]
