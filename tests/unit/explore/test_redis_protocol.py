"""What is known of Redis commands without a server."""

from __future__ import annotations

import pytest

from oversold.explore.naming import Naming
from oversold.explore.operation import EVERYTHING
from oversold.explore.seams.redis_protocol import by_pattern


@pytest.mark.parametrize(
    ("words", "elsewhere"),
    [
        ("SORT bids BY rank:*", True),
        ("SORT bids LIMIT 0 1 get stock:*", True),
        ("SORT_RO bids GET #", True),
        ("SORT bids LIMIT 0 1 ALPHA DESC", False),
        ("GET BY", False),
    ],
)
def test_a_sort_by_a_pattern_reads_other_keys(words: str, elsewhere: bool) -> None:
    """SORT with BY or GET reads keys that it does not name; planted: without them it reads its own."""
    name, *arguments = words.encode().split()
    assert by_pattern(name.decode(), arguments) is elsewhere


def test_a_sort_by_a_pattern_touches_everything() -> None:
    """Nobody knows its keys, so it is independent of nothing."""
    pytest.importorskip("fakeredis")
    from oversold.explore.seams.fake_redis import FakeRedis

    seam = FakeRedis(Naming("t-1", "tranche"))
    operation = seam.operation([("SORT", [b"bids", b"BY", b"nosort", b"GET", b"stock:*"])], ())
    assert EVERYTHING in operation.keys
    assert EVERYTHING not in seam.operation([("GET", [b"bids"])], ()).keys
