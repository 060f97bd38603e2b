"""The explorer over a real memcached: known holes are found, sound designs exhausted, the emulator agrees."""

import pytest

from oversold.explore.actor import Port
from oversold.explore.bidding import SAFETY, Sale
from oversold.explore.crowd import Crowd
from oversold.explore.execution import Pruned
from oversold.explore.naming import Naming
from oversold.explore.seams.fake_memcached import FakeMemcached
from oversold.explore.seams.memcached import MemcachedServer
from oversold.explore.search import DepthFirst
from oversold.explore.subject import Code
from oversold.explore.world import World
from oversold.strategies import registry

pytestmark = pytest.mark.servers


@pytest.fixture
def naming(new_tranche):
    """The names of a tranche of its own, so that what others have stored does not matter."""
    return Naming(new_tranche(100).tranche_id, "tranche")


@pytest.fixture
def desk(endpoints, naming, server_missing):
    """The seam of a real server, which the emulator cannot stand in for."""
    if endpoints["memcached"].provider == "emulated":
        server_missing("no memcached here, and the emulator knows no meta commands")
    seam = MemcachedServer(endpoints["memcached"], naming)
    yield seam
    seam.close()


@pytest.fixture
def explored(endpoints, naming):
    """Walk the schedules of a strategy, until what one broke is enough; return each with what it broke."""

    def explore(name, crowd, faults=0, *, fake=False, until=lambda broken: False):
        world = World(naming, crowd.bidders + 1)
        world.add("memcached", FakeMemcached(naming) if fake else MemcachedServer(endpoints["memcached"], naming))
        world.sit()
        subject = naming.prefix.removeprefix("oversold:")
        sale = Sale(registry.load_bids(name), world, subject, crowd, 1, Code(name))
        search, walked = DepthFirst(), []
        while not search.exhausted:
            search.begin()
            try:
                steps = sale.play(search, faults).steps
                walked.append((steps, {finding.check for finding in sale.broken()}))
                if until(walked[-1][1]):
                    break
            except Pruned:
                pass
            search.end()
        world.close()
        return walked

    return explore


def oversold(broken):
    """Tell whether a promise of safety is among what was broken."""
    return not broken.isdisjoint(SAFETY)


@pytest.mark.parametrize(
    ("name", "bidders", "capacity", "faults", "count"),
    [
        ("memcached-cas", 2, 1, 1, 143),
        ("memcached-cas", 3, 2, 0, 36),
        ("memcached-cas-retry", 2, 1, 0, 4),
        ("memcached-lock-fenced", 2, 1, 0, 6),
        ("memcached-decr-offset", 2, 1, 0, 4),
    ],
)
def test_sound_designs_are_walked_to_the_end(explored, name, bidders, capacity, faults, count):
    """No order of their commands oversells, and the number of schedules is the same each time."""
    walked = explored(name, Crowd(bidders, capacity), faults)
    assert len(walked) == count
    assert not any(oversold(broken) for _, broken in walked)


@pytest.mark.parametrize(
    ("name", "faults", "cause"),
    [
        ("memcached-decr", 0, "go"),
        ("memcached-cas-readd", 1, "evict"),
        ("memcached-lock", 1, "expire"),
    ],
)
def test_the_known_holes_are_found(explored, name, faults, cause):
    """The broken designs oversell, by the very fault that their description names."""
    hole = explored(name, Crowd(2, 1), faults, until=oversold)[-1]
    assert oversold(hole[1])
    assert cause in {step.choice for step in hole[0]}


def test_the_emulator_takes_the_very_same_steps(explored):
    """Every schedule with a fault has the same steps, replies and end on the server and in this process."""
    real, fake = (explored("memcached-cas-readd", Crowd(2, 1), 1, fake=each) for each in (False, True))
    assert len(real) == 276
    assert real == fake
    assert len({str(steps) for steps, _ in real}) == len(real)


def test_only_the_explorer_ends_a_lease(desk, naming):
    """The server itself would keep a lock of one second for a day, until the explorer lets it expire."""
    client, lock = desk.connect(Port()), f"{naming.prefix}:lock"
    client.add(lock, "me", expire=1)
    kept = desk.admin.raw_command(f"mg {lock} t")
    _, token = client.gets(lock)
    desk.disappear("memcached/lock")
    assert int(kept.split()[1][1:]) > 3600
    assert client.cas(lock, "you", token) is None
    client.close()


def test_meta_commands_are_served_and_reset(desk, naming):
    """They are steps that touch everything, quiet ones too; what they store does not outlive the execution."""
    client, key = desk.connect(Port()), f"{naming.prefix}:left"
    desk.remember()
    assert client.raw_command(f"ms {key} 3\r\n100") == b"HD"
    client._misc_cmd([f"ms {key} 2 q\r\n50\r\n".encode()], b"ms", noreply=True)
    assert client.get(key) == b"50"
    desk.reset()
    assert client.get(key) is None
    client.close()
