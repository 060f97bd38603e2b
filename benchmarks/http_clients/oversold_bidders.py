"""Contestant: oversold's bidders, gate, lanes, recorder and service target, as in a run against a service.

Each bidder taps BENCH_TAPS times and leaves.
"""

import os

from locust import task

from oversold.load.locustfile import attach
from oversold.load.users import BidderUser

TAPS = int(os.environ["BENCH_TAPS"])

attach("benchmark")


class Bidder(BidderUser):
    """One bid, many taps."""

    @task
    def bid(self) -> None:
        """Tap without a pause, and leave."""
        self.wait_at_gate()
        for _ in range(TAPS):
            self.tap()
        self.leave()
