"""The bid burst (抢标): 10,000 people fight over a tranche of 10,000,000 yuan that is gone in ten seconds.

What happened. A P2P-lending platform put a tranche (标的) on sale and announced the minute. Thousands sat
ready. Two things went wrong, on different days. First, dozens of buyers read the same last 30,000 yuan of
stock, and all of them bought: the tranche was oversubscribed (超募). Later the share was locked first; a dozen
steps behind the lock could fail and give it back, but the tranche had been marked full (满标) at 9.8 million,
and stayed so: undersubscribed (少募).

What this replays. Bidders park at a gate; it opens for all processes at once. Each hands its bid to a lane,
one of the app server's workers: reserve by the strategy under test, a dozen steps that may fail, confirm,
order row. A bidder told `busy` thinks for a moment and taps again, until served, sold out, or out of patience.
The ledger, not the strategy, says afterwards what was sold.

Run it audited:     oversold run bid-burst --strategy memcached-cas --users 10000
Or as plain Locust: locust -f scenarios/bid_burst.py --headless -u 1000 -r 1000 --processes 2 --strategy none
"""

from locust import task

from oversold.evidence import Outcome
from oversold.load.locustfile import attach
from oversold.load.users import BidderUser

attach("bid-burst")


class Bidder(BidderUser):
    """Somebody who wants a share, and does not wait for ever."""

    @task
    def bid(self) -> None:
        """Tap until it is decided."""
        self.wait_at_gate()
        while self.tap() is Outcome.BUSY and self.patient:
            self.think()
        self.leave()
