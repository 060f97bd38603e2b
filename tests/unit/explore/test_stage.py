"""A stage whose server has gone says so, and blames nobody else."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import redis

from oversold.errors import StoreUnavailableError
from oversold.explore.stage import Stage
from oversold.stores.endpoint import Endpoint
from oversold.strategies import registry

NOBODY = Endpoint("redis", "redis://127.0.0.1:1/0", "url", "7")  # nothing listens on that port


def stage(endpoints: Mapping[str, Endpoint]) -> Stage:
    """Return a stage on which nothing was played yet."""
    return Stage("redis-lua", registry.load_bids("redis-lua"), "bids", endpoints, "t1", 1)


def test_a_server_that_has_gone_is_named() -> None:
    """Whatever is raised on a stage whose server does not answer comes of that."""
    with pytest.raises(StoreUnavailableError, match=r"Redis stopped answering .* nothing is proven"):
        stage({"redis": NOBODY}).require_stores()
    with pytest.raises(StoreUnavailableError, match="Redis stopped answering"), stage({"redis": NOBODY}):
        raise AssertionError("what came of it")


def test_connections_that_were_cut_are_named() -> None:
    """A server that answers again has been away; planted: an error of another kind stays as it is."""
    with pytest.raises(StoreUnavailableError, match="cut its connections"), stage({}):
        raise redis.ConnectionError("closed by server")
    with pytest.raises(ValueError, match="a fault of ours"), stage({}):
        raise ValueError("a fault of ours")
