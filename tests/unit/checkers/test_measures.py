"""The summary's numbers on literal histories."""

import pytest

from oversold.checkers import measures, taps
from oversold.evidence import NEVER, HoldEnd, Outcome

S, MS = 1_000_000_000, 1_000_000


def test_outcomes_count_each_bid_by_its_last_tap(story):
    """Earlier taps do not count; a bidder who never left is unknown."""
    run = story().sold(0).turned_away(1).turned_away(2, outcome=Outcome.BUSY, final=0).sold(2, attempt=2)
    run.given_back(3).turned_away(4, outcome=Outcome.BUSY).tap(5, 1, Outcome.UNKNOWN)
    run.turned_away(6, outcome=Outcome.BUSY, final=0).tap(6, 1, Outcome.UNKNOWN, attempt=2, final=0)
    assert measures.outcomes(run.history) == {"ok": 2, "sold_out": 1, "busy": 1, "error": 1, "unknown": 2}


def test_bids_are_counted_once(story):
    """However often they tapped, and in whatever order the rows are; none of none."""
    run = story().sold(3).turned_away(1).turned_away(3, attempt=2).turned_away(0)
    assert taps.distinct(run.history["bid"]) == 3
    assert taps.distinct(story().history["bid"]) == 0


def test_the_first_tap_of_a_bid_is_that_of_the_smallest_attempt(story):
    """Not the one that comes first in the file: each lane writes when it is done."""
    run = (
        story()
        .turned_away(5, attempt=2)
        .sold(1, attempt=65535)
        .turned_away(5, attempt=1)
        .turned_away(1, attempt=300)
    )
    assert taps.first_taps(run.history).tolist() == [3, 2]
    assert taps.first_taps(story().history).tolist() == []


def test_rollback_is_the_share_of_holds_given_back(story):
    """Taps without a hold do not count."""
    run = story().sold(0).given_back(1).holding(2, 1, 1, 2, hold=HoldEnd.LEAKED, outcome=Outcome.ERROR).sold(3)
    assert measures.rollback(run.turned_away(4).history) == 0.25


def test_the_arrival_span_is_that_of_first_taps(story):
    """Later taps of a bidder are not arrivals."""
    run = story().turned_away(0, at=2 * S, final=0).sold(1, 100, 5 * S, 6 * S).sold(0, 1, 9 * S, 9 * S, attempt=2)
    assert measures.arrival_span_s(run.history) == 3.0


def test_peak_in_flight_counts_taps_that_lanes_have(story):
    """A tap is in flight from admission up to, not including, its end; one never done stays."""
    run = story().sold(0, 1, 0, 10).sold(1, 1, 10, 20).sold(2, 1, 5, 15)
    assert measures.peak_in_flight(run.history) == 2
    assert measures.peak_in_flight(run.tap(3, 1, Outcome.UNKNOWN, t_intended=0).history) == 3
    assert measures.peak_in_flight(run.tap(4, 1, Outcome.UNKNOWN, t_intended=1, t_admitted=NEVER).history) == 3


def test_overlap_needs_another_worker(story):
    """Calls of one worker that overlap each other do not show that processes raced."""
    run = story().turned_away(0, at=1, t_reserved=10, worker=0).turned_away(1, at=2, t_reserved=9, worker=0)
    run.turned_away(2, at=20, t_reserved=30, worker=1).turned_away(3, at=30, t_reserved=31, worker=0)
    assert measures.overlap(run.history) == 0.5


def test_overlap_of_a_single_worker_is_between_its_lanes(story):
    """With one process any other call counts."""
    run = story().turned_away(0, at=1, t_reserved=10).turned_away(1, at=2, t_reserved=9)
    run.turned_away(2, at=20, t_reserved=30).shut_out(3, at=25).turned_away(4, at=40, t_reserved=NEVER)
    assert measures.overlap(run.history) == pytest.approx(2 / 3)


def test_attempts_per_bid_is_taps_by_bids(story):
    """Two bidders, three taps."""
    assert measures.attempts_per_bid(story().sold(0).sold(9).sold(9, attempt=2).history) == 1.5


def test_goodput_is_bids_served_per_second(story):
    """From the first intended tap to the last ok; later refusals do not thin it out, two oks count once."""
    run = story().turned_away(0, at=1 * S).sold(1, 1, 2 * S, 3 * S).sold(2, 1, 2 * S, 5 * S)
    run.sold(1, 1, 2 * S, 4 * S, attempt=2).turned_away(3, at=50 * S)
    assert measures.goodput_per_s(run.history) == 0.5


def test_response_time_starts_when_the_bidder_first_meant_to_tap(story):
    """Waiting for a lane and tapping again count into the response, not into the service."""
    run = story().turned_away(0, at=10 * MS, final=0)
    run.sold(0, 1, 40 * MS, 60 * MS, attempt=2, t_admitted=50 * MS)
    latency = measures.latency_ms(run.history)
    assert latency["service"] == {"p50": 10.0, "p90": 10.0, "p99": 10.0, "max": 10.0}
    assert latency["response"] == {"p50": 50.0, "p90": 50.0, "p99": 50.0, "max": 50.0}


def test_percentiles_are_exact(story):
    """101 bids of 0 to 100 ms have the percentiles one can say by heart; unfinished ones have none."""
    run = story()
    for bid in range(101):
        run.sold(bid, 1, 0, bid * MS)
    run.tap(200, 1, Outcome.UNKNOWN, t_intended=0)
    latency = measures.latency_ms(run.history)
    assert latency["service"] == latency["response"] == {"p50": 50.0, "p90": 90.0, "p99": 99.0, "max": 100.0}


def test_time_to_fill_is_read_from_the_ledger(story):
    """In seconds since the gate, at the order that reaches the share; orders may come unsorted."""
    run = story().order(2, 100, 3 * S).order(0, 500, 1 * S).order(1, 390, 2 * S)
    assert measures.time_to_fill_s(run.ledger, 1000) == {"t50": 1.0, "t99": 3.0, "t100": None}
    assert measures.time_to_fill_s(run.ledger, 990) == {"t50": 1.0, "t99": 3.0, "t100": 3.0}
    assert measures.time_to_fill_s(run.ledger, 1001)["t50"] == 2.0


def test_lane_busy_is_the_share_of_lane_time_used(story):
    """Two lanes over ten seconds, one busy for six and one for four."""
    run = story().sold(0, 1, 0, 6 * S).sold(1, 1, 6 * S, 10 * S, lane=1)
    assert measures.lane_busy(run.history, 2) == 0.5
    assert measures.lane_busy(run.tap(2, 1, Outcome.UNKNOWN, t_intended=5 * S).history, 2) == 0.75


def test_a_run_without_taps_measures_nothing(story):
    """Every measure has a value for an empty history."""
    run = story()
    zeros = {"p50": 0.0, "p90": 0.0, "p99": 0.0, "max": 0.0}
    assert set(measures.outcomes(run.history).values()) == {0}
    assert measures.rollback(run.history) == 0.0
    assert measures.arrival_span_s(run.history) == 0.0
    assert measures.peak_in_flight(run.history) == 0
    assert measures.overlap(run.history) == 0.0
    assert measures.attempts_per_bid(run.history) == 0.0
    assert measures.goodput_per_s(run.history) == 0.0
    assert measures.latency_ms(run.history) == {"service": zeros, "response": zeros}
    assert measures.time_to_fill_s(run.ledger, 1000) == {"t50": None, "t99": None, "t100": None}
    assert measures.lane_busy(run.history, 4) == 0.0
