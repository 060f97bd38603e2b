"""Stock that is split, so that not everybody meets at one key."""

from collections.abc import Iterable
from typing import ClassVar, cast
from zlib import crc32

from oversold.model import Bid, Claim, Hold, Tranche
from oversold.strategies.interface import Context, key

BUCKETS = 16

# A hold is the number of its bucket, with a c before it once it is confirmed.
# KEYS: stock of a bucket, holds. ARGV: bid_id, amount, bucket. Returns the bucket that the bid's hold is in.
RESERVE = """
local held = redis.call('HGET', KEYS[2], ARGV[1])
if held then return string.match(held, '%d+') end
if redis.call('DECRBY', KEYS[1], ARGV[2]) < 0 then
    redis.call('INCRBY', KEYS[1], ARGV[2])
    return false
end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
return ARGV[3]
"""
# KEYS: holds. ARGV: bid_id.
CONFIRM = """
local held = redis.call('HGET', KEYS[1], ARGV[1])
if not held then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], 'c' .. string.match(held, '%d+'))
return 1
"""
# KEYS: stock of a bucket, holds. ARGV: bid_id, amount, bucket.
RELEASE = """
if redis.call('HGET', KEYS[2], ARGV[1]) == ARGV[3] then
    redis.call('HDEL', KEYS[2], ARGV[1])
    redis.call('INCRBY', KEYS[1], ARGV[2])
end
return 1
"""


class Buckets:
    """Split the stock into 16 buckets; a bid goes to the one of its user's hash, and a script takes it there.

    Guarantee: never more than the capacity is held; a repeated bid is not charged twice. Each bucket could be
    on a server of its own.

    Known hole: stranded stock. Who comes to an empty bucket is told sold out while the others have enough: the
    tranche ends undersold by what chance has left in them, and no bid can be larger than a bucket.
    """

    stores: ClassVar[frozenset[str]] = frozenset({"redis"})

    def __init__(self, context: Context) -> None:
        self._redis = context.redis
        self._reserve = context.redis.register_script(RESERVE)
        self._confirm = context.redis.register_script(CONFIRM)
        self._release = context.redis.register_script(RELEASE)

    def open(self, tranche: Tranche) -> None:
        """Share the units out; the first buckets get one more, and the first one what is less than a unit."""
        units, rest = divmod(tranche.capacity_fen, tranche.unit_fen)
        share, more = divmod(units, BUCKETS)
        fen = [(share + (bucket < more)) * tranche.unit_fen for bucket in range(BUCKETS)]
        fen[0] += rest
        self._redis.mset(dict(zip(_stocks(tranche.tranche_id), fen, strict=True)))

    def reserve(self, bid: Bid) -> Hold:
        """One round trip for each bucket that is tried; the hold's token is the bucket that had enough."""
        for bucket in self._tried(crc32(bid.user_id.encode()) % BUCKETS):
            keys = [key(bid.tranche_id, "left", str(bucket)), key(bid.tranche_id, "holds")]
            held = cast("bytes | None", self._reserve(keys=keys, args=[bid.bid_id, bid.amount_fen, bucket]))
            if held is not None:
                return Hold("ok", held.decode())
        return Hold("sold_out")

    def _tried(self, own: int) -> Iterable[int]:
        """Return the buckets that a bid may be held in, by its user's own one: that one alone."""
        return (own,)

    def confirm(self, bid: Bid, hold: Hold) -> bool:
        """Mark the hold: a late release finds nothing to give back, false when it was released before."""
        return bool(self._confirm(keys=[key(bid.tranche_id, "holds")], args=[bid.bid_id]))

    def release(self, bid: Bid, hold: Hold) -> bool:
        """Give back to the bucket that the hold is in, once."""
        bucket = str(hold.token)
        keys = [key(bid.tranche_id, "left", bucket), key(bid.tranche_id, "holds")]
        self._release(keys=keys, args=[bid.bid_id, bid.amount_fen, bucket])
        return True

    def status(self, tranche_id: str) -> Claim:
        """Report the sum of the buckets."""
        values = cast("list[bytes | None]", self._redis.mget(_stocks(tranche_id)))
        left = sum(int(value or 0) for value in values)
        return Claim("open" if left > 0 else "full", left)


def _stocks(tranche_id: str) -> list[str]:
    return [key(tranche_id, "left", str(bucket)) for bucket in range(BUCKETS)]
