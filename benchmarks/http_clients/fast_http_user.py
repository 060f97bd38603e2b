"""Contestant: Locust's own fast HTTP client, as its users write it: one request a task, no pause."""

import os

import gevent
from locust import FastHttpUser, constant, events, task
from locust.exception import StopUser

REQUESTS = int(os.environ["BENCH_REQUESTS"])
BODY = os.environ["BENCH_BODY"]
HEADERS = {"Content-Type": "application/json", "Idempotency-Key": "benchmark-000001"}
PATH = os.environ["BENCH_PATH"]
count = {"sent": 0, "answered": 0}


class Bidder(FastHttpUser):
    """Posts the same bid again and again until all of them together have sent enough."""

    wait_time = constant(0)

    @task
    def bid(self) -> None:
        """Post once; whoever gets the last answer ends the test."""
        if count["sent"] == REQUESTS:
            raise StopUser
        count["sent"] += 1
        self.client.post(PATH, data=BODY, headers=HEADERS, name="bid")
        count["answered"] += 1
        if count["answered"] == REQUESTS:
            gevent.spawn(self.environment.runner.quit)  # which stops this very user


@events.quitting.add_listener
def check(environment, **_) -> None:
    """A run that failed must not be measured."""
    environment.process_exit_code = 1 if environment.stats.total.num_failures else 0
