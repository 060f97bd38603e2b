"""A stage over real servers leaves nothing open: a test session may set hundreds of them on the same servers."""

import pytest

from oversold.clock import SystemClock
from oversold.explore.execution import Pruned
from oversold.explore.search import DepthFirst
from oversold.explore.stage import Stage
from oversold.stores import postgres, redis
from oversold.strategies import registry

pytestmark = pytest.mark.servers
CASES = {"redis-lua": "redis", "row-lock": "sql"}


@pytest.fixture
def connections(endpoints):
    """Count the clients that a server has, besides the one that asks: connections(store)."""

    def count(store):
        if store == "redis":
            client = redis.connect(endpoints["redis"], SystemClock(), 0)
            found = len(client.client_list()) - 1
            redis.close(client)
            return found
        with postgres.connect_raw(endpoints["sql"], SystemClock(), 0, autocommit=True) as connection:
            text = "SELECT count(*) - 1 FROM pg_stat_activity WHERE backend_type = 'client backend'"
            return connection.execute(text).fetchone()[0]

    return count


@pytest.mark.parametrize("name", CASES)
def test_a_stage_closes_its_clients(endpoints, connections, new_tranche, eventually, name):
    """Also those of bidders that were cut off in the middle."""
    store, code = CASES[name], registry.load_bids(name)
    before = connections(store)
    word = new_tranche(100).tranche_id
    with Stage(name, code, "bids", {store: endpoints[store]}, word, 1) as stage:
        subject = stage.subject({"bidders": 2, "capacity_bids": 1, "shares": "1"})
        search = DepthFirst()
        search.begin()
        subject.play(search, 0)
        assert connections(store) >= before + 3
        with pytest.raises(Pruned):
            subject.play(CutOff(), 0)
    # A process of PostgreSQL takes its time to go.
    assert eventually(lambda: connections(store) <= before, 10)


class CutOff:
    """Chooses two steps, and then that this execution is not worth going on with."""

    def choose(self, options, execution):
        """Return the first option."""
        if len(execution.steps) == 2:
            raise Pruned
        return options[0]

    def finish(self, execution):
        """Nothing is kept."""
