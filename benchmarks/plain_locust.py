"""Contestant (a): what a Locust user would write: one User a bidder, a redis-py pool, `events.request.fire`.

Run by lanes.py. The bidders wait for one another first, so that spawning them is not part of the time.
"""

import json
import os
import sys
import time
from pathlib import Path

import redis
from gevent.event import Event
from locust import User, events, task
from locust.exception import StopUser

sys.path.insert(0, str(Path(__file__).parent))
from script import HOLDS, SCRIPT, STOCK

gate = Event()
state = {"parked": 0, "done": 0, "began": 0.0}
pool = redis.BlockingConnectionPool.from_url(os.environ["BENCH_REDIS"], max_connections=64, timeout=60)
client = redis.Redis(connection_pool=pool)
reserve = client.register_script(SCRIPT)


class Bidder(User):
    """One bid, one call."""

    @task
    def bid(self) -> None:
        """Call the script once, tell Locust, leave."""
        number = state["parked"]
        state["parked"] += 1
        if state["parked"] == self.environment.parsed_options.num_users:
            state["began"] = time.perf_counter()
            gate.set()
        gate.wait()
        began = time.perf_counter()
        error = None
        try:
            reserve(keys=[STOCK, HOLDS], args=[f"a-{number}", 1])
        except redis.RedisError as raised:
            error = raised
        events.request.fire(
            request_type="redis",
            name="reserve",
            response_time=(time.perf_counter() - began) * 1e3,
            response_length=0,
            exception=error,
        )
        state["done"] += 1
        if state["done"] == self.environment.parsed_options.num_users:
            took = time.perf_counter() - state["began"]
            failures = self.environment.stats.total.num_failures
            Path(os.environ["BENCH_RESULT"]).write_text(json.dumps({"seconds": took, "failures": failures}))
            self.environment.runner.quit()
        raise StopUser
