"""The fakes of the explorer touch the keys that the real servers touch: a key too few would be a false proof."""

from __future__ import annotations

import pytest

from oversold.explore.naming import Naming
from oversold.explore.seams.fake_redis import FakeRedis
from oversold.explore.seams.redis import RedisServer

pytest.importorskip("fakeredis")
pytestmark = pytest.mark.servers
NAMING = Naming("t-1", "tranche")
ARGUMENTS = 7
# Which take a number of keys, a word before the keys, or no keys by name.
WRITTEN = (
    "EVAL code 2 a b x; EVALSHA digest 1 a b x; ZUNIONSTORE all 2 a b WEIGHTS 1 2; ZDIFFSTORE all 2 a b; "
    "ZINTER 2 a b; ZDIFF 1 a b; XREADGROUP GROUP g c COUNT 1 STREAMS a b > >; XREAD BLOCK 5 STREAMS a b 0 0; "
    "SORT a STORE b; LMPOP 2 a b LEFT; BLMPOP 5 2 a b LEFT; ZMPOP 1 a MIN; SINTERCARD 2 a b LIMIT 5; PUBLISH a b"
)


@pytest.fixture
def seams(endpoints):
    """Return the real seam and the fake one."""
    real, fake = RedisServer(endpoints["redis"], NAMING), FakeRedis(NAMING)
    yield real, fake
    real.close()


def missed(real, fake, name, arguments):
    """Return the keys that the fake does not know of; none where it says that everything is touched."""
    words = [each.encode() for each in arguments]
    ours, theirs = fake.operation([(name, words)], ()), real.operation([(name, words)], ())
    written = theirs.writes - ours.writes if "*" not in ours.writes else set()
    return written | (theirs.reads - ours.keys if "*" not in ours.keys else set())


def several(real):
    """Return the commands whose keys have fixed places."""
    return [
        name for name, row in real._table.items() if row["first_key_pos"] and "movablekeys" not in row["flags"]
    ]


def test_no_key_is_missed(seams):
    """Each command of the real server's own table, and those whose keys have no fixed places."""
    real, fake = seams
    commands = [(name, [f"k{place}" for place in range(ARGUMENTS)]) for name in several(real)]
    commands += [(name, words) for name, *words in map(str.split, WRITTEN.split(";"))]
    assert len(commands) > 100
    assert {name: keys for name, words in commands if (keys := missed(real, fake, name, words))} == {}


def test_a_missed_key_would_be_seen(seams):
    """Planted: fakeredis's own word for DEL, which is its first key."""
    real, fake = seams
    fake._table["DEL"].update(last_key_pos=1)
    assert missed(real, fake, "DEL", ["a", "b"]) == {"redis/b"}
