"""Payout strategies: a claim lock and a settlement policy, put together by `+`."""
