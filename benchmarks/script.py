"""The one Redis call that all three contestants make: check and decrement, as strategy redis-lua does."""

from oversold.strategies.bids.redis_lua import RESERVE

SCRIPT = RESERVE
STOCK, HOLDS = "oversold:bench:left", "oversold:bench:holds"
CAPACITY = 10**12
