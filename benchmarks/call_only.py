"""Contestant (b): oversold's bidders, gate, lanes and recorder, with nothing behind a lane but the Redis call."""

import sys
from pathlib import Path

from locust import task

from oversold.assignment import Assignment
from oversold.bid_plan import BidPlan
from oversold.clock import SystemClock, now_ns
from oversold.evidence import Outcome
from oversold.load.locustfile import attach
from oversold.load.users import BidderUser
from oversold.platform.faults import Faults
from oversold.platform.pipeline import Tap
from oversold.stores.endpoint import Endpoint
from oversold.stores.providers import connect

sys.path.insert(0, str(Path(__file__).parent))
from script import HOLDS, SCRIPT, STOCK


class CallOnly:
    """A target whose lanes make one script call a tap."""

    def __init__(self, assignment: Assignment[BidPlan], worker: int) -> None:
        self.faults = Faults()
        self._endpoint = Endpoint(**assignment.endpoints["redis"])

    def lane(self, number: int) -> "Lane":
        """Open a lane."""
        return Lane(self._endpoint)

    def close(self) -> None:
        """Nothing is shared."""


class Lane:
    """One connection."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._client = connect(endpoint, SystemClock(), 0)
        self._reserve = self._client.register_script(SCRIPT)
        self.pipeline = self

    def run(self, tap: Tap) -> None:
        """Make the call."""
        tap.t_sent = now_ns()
        self._reserve(keys=[STOCK, HOLDS], args=[tap.bid.bid_id, 1])
        tap.t_reserved = now_ns()
        tap.outcome = Outcome.OK

    def reset(self) -> None:
        """Nothing to mend."""

    def renew(self) -> None:
        """A lost connection ends the benchmark."""
        raise RuntimeError("the connection was lost")

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


attach("benchmark", target=CallOnly)


class Bidder(BidderUser):
    """One bid, one tap."""

    @task
    def bid(self) -> None:
        """Tap once and leave."""
        self.wait_at_gate()
        self.tap()
        self.leave()
