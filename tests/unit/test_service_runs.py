"""The truth of a run over HTTP: when a service's ledger is believed, and what must be doubted."""

from types import SimpleNamespace

import numpy as np
import pytest

from oversold import service_runs
from oversold.assignment import Assignment
from oversold.audit import Raw
from oversold.bid_plan import BidPlan
from oversold.errors import UsageError
from oversold.evidence import HISTORY, Outcome
from oversold.service_runs import HurriedClock, ServiceBurst, Truth
from oversold.services.mapping import Service
from oversold.services.probes import Reading, Row
from oversold.telling import Telling

PLAN = BidPlan(scenario="bid-burst", strategy="shop.toml", capacity_fen=1_000, users=4, http=True)


class Shop:
    """A run of two bids, the second never answered, whose ledger is read as `readings` say."""

    def __init__(self, monkeypatch, tmp_path, *readings, ledger=True, **service):
        self.readings, self.reads = list(readings), 0
        monkeypatch.setattr(service_runs.probes, "settled", self._settled)
        self.clock = 0.0
        monkeypatch.setattr(service_runs.HurriedClock, "now_s", lambda _: self.clock)
        monkeypatch.setattr(service_runs.HurriedClock, "sleep", self._sleep)
        taps = np.zeros(2, HISTORY)
        taps["bid"], taps["attempt"], taps["final"] = [0, 1], 1, 1
        taps["amount_fen"], taps["outcome"] = 500, [Outcome.OK, Outcome.UNKNOWN]
        fields = {"name": "shop", "url": "http://127.0.0.1:1", **service}
        if ledger:
            fields["ledger"] = {"csv": str(tmp_path / "orders.csv"), "wait_s": 2}
        self.service = Service.model_validate(fields)
        desk = SimpleNamespace(fixed={"tranche_id": "r1"}, tranche_id="r1", tells=False)
        self.burst = ServiceBurst(opened=True, service=self.service, desk=desk)
        self.assignment = Assignment(PLAN, "r1", {}, tmp_path)
        self.raw = Raw(taps, {}, 0, 0, gate_opened=True)

    def _settled(self, *_):
        self.reads += 1
        reading = self.readings.pop(0) if len(self.readings) > 1 else self.readings[0]
        if isinstance(reading, Exception):
            raise reading
        return reading

    def _sleep(self, _clock=None, seconds=0.2):
        self.clock += seconds if isinstance(seconds, float) else 0.2

    def truth(self) -> Truth:
        """Ask for the truth."""
        session = SimpleNamespace(telling=Telling())
        return service_runs._truth(session, self.assignment, self.burst, self.raw)


@pytest.fixture
def shop(monkeypatch, tmp_path):
    """Make a `Shop`."""
    return lambda *readings, **more: Shop(monkeypatch, tmp_path, *readings, **more)


def rows(*bids):
    """Return the orders of some bids."""
    return [Row(f"r1-{bid:06d}", None, 500, None) for bid in bids]


def test_an_answer_that_never_came_is_waited_for(shop):
    """A request without an answer may still be at work: its order, when it comes, makes the truth whole."""
    one = shop(Reading(rows(0), True, 0.1), Reading(rows(0), True, 0.1), Reading(rows(0, 1), True, 0.1))
    truth = one.truth()
    assert one.reads == 3
    assert [finding.verdict for finding in truth.doubts] == ["pass"]
    assert truth.ledger.confirmed_fen == 1_000


def test_a_bid_that_nobody_answers_for_is_no_pass(shop):
    """Planted: the order never comes. Whether it will, nobody knows, so the run proves nothing."""
    one = shop(Reading(rows(0), True, 0.1))
    (found,) = one.truth().doubts
    assert found.verdict == "inconclusive"
    assert found.detail.startswith("1 bid got no answer and has no order after 2 s")
    assert one.clock >= 2


def test_a_ledger_that_goes_on_changing_is_no_pass(shop):
    """It is read no more, and said to be moving."""
    one = shop(Reading(rows(0, 1), False, 2.0))
    (found,) = one.truth().doubts
    assert (found.verdict, one.reads) == ("inconclusive", 1)
    assert "still changing" in found.detail


def test_a_ledger_that_cannot_be_read_is_lost(shop):
    """Then nothing is judged at all."""
    truth = shop(UsageError("no such table: orders")).truth()
    assert truth.lost
    assert [(found.check, found.verdict) for found in truth.doubts] == [("ledger", "inconclusive")]
    assert truth.judged(None) == []


@pytest.mark.parametrize(("more", "told"), [({}, False), ({"status": {}}, True), ({"open": {}}, True)])
def test_without_a_ledger_there_are_claims_only(more, told, shop):
    """What bidders were told is never a pass. What stayed unsold counts where the stock is known."""
    truth = shop(None, ledger=False, **more).truth()
    assert [(found.check, found.verdict) for found in truth.doubts] == [("truth", "inconclusive")]
    assert truth.only_claims
    assert truth.told_left is told
    assert truth.ledger.confirmed_fen == 500


def test_who_wants_the_run_to_end_need_not_wait(tmp_path):
    """SIGTERM in the audit, or Ctrl-C before it, makes it too late for whatever was waited for."""
    burst = ServiceBurst()
    clock = HurriedClock(burst)
    before_s = clock.now_s()
    assert clock.now_s() - before_s < 60
    burst.signals.append(15)
    assert clock.now_s() - before_s > 1e6
    burst.signals.clear()
    burst.interrupted = True
    assert clock.now_s() - before_s > 1e6


def test_a_ledger_without_a_single_order_is_asked_about(shop):
    """It is a fact, and the check of lost orders fails; but a query that looks elsewhere is likelier."""
    one = shop(Reading([], True, 0.1))
    one.raw.taps["outcome"] = Outcome.OK
    (found,) = one.truth().doubts
    assert found.verdict == "pass"
    assert "not one order was found: is [ledger] aimed at this tranche?" in found.detail
