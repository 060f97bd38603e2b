"""A stage over real servers leaves nothing open: a test session may set hundreds of them on the same servers."""

import signal
import subprocess

import pytest

from oversold.clock import SystemClock
from oversold.errors import StoreUnavailableError
from oversold.explorations.options import Typed, exploration_of
from oversold.explorations.servers import Stores, explored
from oversold.explore.execution import Pruned
from oversold.explore.search import DepthFirst
from oversold.explore.stage import Stage
from oversold.stores import postgres, redis
from oversold.stores.endpoint import free_port
from oversold.stores.providers import StoreChoice
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


@pytest.fixture
def mortal(eventually):
    """Start a Redis that may be killed; return its process and URL."""
    found = redis.find()
    if found is None:
        pytest.skip("no redis-server here")
    port = free_port()
    argv = [str(found.program), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as process:
        url = f"redis://127.0.0.1:{port}/0"
        assert eventually(lambda: answers(url), 10)
        yield process, url
        process.kill()


def answers(url):
    """Tell whether a server answers."""
    try:
        return bool(redis.probe(url).version)
    except StoreUnavailableError:
        return False


def test_a_server_that_dies_is_told_as_that(mortal):
    """A store that is killed in the middle of a search is no verdict over the strategy."""
    process, url = mortal

    def killing(result):
        if result.runs == 20:
            process.send_signal(signal.SIGKILL)
            process.wait()

    asked = exploration_of(Typed("redis-watch", bidders="3"), "bids")
    with (
        pytest.raises(StoreUnavailableError, match="Redis stopped answering"),
        Stores(StoreChoice(urls={"redis": url})) as servers,
    ):
        explored(asked, servers, killing)
