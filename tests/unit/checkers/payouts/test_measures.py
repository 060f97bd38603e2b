"""The numbers of a payday's summary on literal evidence."""

import pytest

from oversold.checkers.payouts import measures
from oversold.evidence import NEVER
from oversold.model import PAY_REPLIES, PAYOUT_STATUSES
from oversold.payout_evidence import JobRun

S = 1_000_000_000
NO_CALLS = dict.fromkeys(PAY_REPLIES, 0)


def test_time_to_paid_ends_with_the_effect_that_completes_the_amount(story):
    """It counts from when the job was to start; parts, duplicates and the unpaid do not."""
    run = story(100, 100, 100, t_end=60 * S).paid(0, 60, at=2 * S).paid(0, 40, at=4 * S).paid(0, at=50 * S)
    run.paid(1, at=12 * S).paid(2, 99, at=3 * S)
    run.t_due[1] = 10 * S
    assert measures.time_to_paid_s(run.evidence()) == {"p50": 3.0, "p95": pytest.approx(3.9), "max": 4.0}


def test_time_to_paid_of_nothing_is_zero(story):
    """No NaN gets into a summary."""
    for run in (story(), story(100), story(100).paid(0, 50)):
        assert measures.time_to_paid_s(run.evidence()) == {"p50": 0.0, "p95": 0.0, "max": 0.0}


def test_the_backlog_is_that_of_the_spells(story):
    """Three of which two coincide; the one that is still open lasts to the end."""
    run = story(100, t_end=40 * S).unknown(0, 10 * S).unknown(10 * S, 20 * S).unknown(12 * S)
    backlog = measures.unknown_backlog(run.evidence())
    assert backlog == {"peak": 2, "age_p95_s": pytest.approx(26.2), "age_max_s": 28.0}


def test_a_sample_may_have_seen_more_of_the_backlog(story):
    """The peak is the greatest that anybody saw; other statuses are none of it."""
    run = story(100).sample(1, UNKNOWN=5, DUE=9).sample(2, UNKNOWN=3).unknown(0, 10)
    assert measures.unknown_backlog(run.evidence())["peak"] == 5
    assert measures.unknown_backlog(story().evidence()) == {"peak": 0, "age_p95_s": 0.0, "age_max_s": 0.0}


def test_calls_are_counted_by_channel_and_reply(story):
    """Every channel and reply has a number, and replays are calls too."""
    run = story(100).call(0).call(0, reply="timeout", channel=1).paid(0, channel=1).paid(0, channel=1, replay=1)
    assert measures.calls(run.evidence()) == {
        "first": NO_CALLS | {"failed": 1},
        "second": NO_CALLS | {"timeout": 1, "ok": 2},
    }
    assert measures.calls(story().evidence()) == {"first": NO_CALLS, "second": NO_CALLS}


def test_lies_are_a_failed_that_paid_and_an_ok_that_did_not(story):
    """The truth told late, silence, an honest failed and a replayed ok are none."""
    run = story(100).call(0).paid(0).paid(0, t_effect=900).paid(0, reply="timeout").call(0, reply="timeout")
    run.call(0, reply="ok", replay=1).paid(0, reply="failed", replay=1)
    assert measures.lies(run.evidence()) == {"failed_but_paid": 0, "ok_but_unpaid": 0}
    run.paid(0, reply="failed").paid(-1, 5, reply="failed").call(0, reply="ok")
    assert measures.lies(run.evidence()) == {"failed_but_paid": 2, "ok_but_unpaid": 1}


def test_peak_in_flight_is_over_all_channels(story):
    """A call is in flight from its arrival up to, not including, its answer; without one it stays."""
    run = story(100)
    for channel, arrived, replied in ((0, 0, 10), (1, 5, 15), (0, 10, 20)):
        run.call(0, channel=channel, t_arrived=arrived, t_replied=replied)
    assert measures.peak_in_flight(run.evidence()) == 2
    assert measures.peak_in_flight(run.call(0, t_arrived=1, t_replied=NEVER).evidence()) == 3
    assert measures.peak_in_flight(story().evidence()) == 0


def test_overlap_is_the_time_with_two_starts_at_work(story):
    """Three at once count once, one that never ended lasts to the end, one that never began not at all."""
    run = story(t_end=100 * S)
    run.runs = [JobRun("interest#1", 0, 0, 40 * S), JobRun("maturity#1", 0, 30 * S, 50 * S)]
    assert measures.overlap_s(run.evidence()) == 10.0
    run.runs.append(JobRun("interest#2", 0, 35 * S, NEVER))
    assert measures.overlap_s(run.evidence()) == 20.0
    run.runs.append(JobRun("interest#3", 99 * S, NEVER, NEVER))
    assert measures.overlap_s(run.evidence()) == 20.0


def test_starts_that_only_touch_do_not_overlap(story):
    """The next one began when the last one ended; without any start there is nothing to overlap."""
    run = story(t_end=100)
    run.runs = [JobRun("interest#1", 0, 0, 40), JobRun("maturity#1", 40, 40, 50), JobRun("maturity#2", 45, 45, 45)]
    assert measures.overlap_s(run.evidence()) == 0.0
    run.runs = []
    assert measures.overlap_s(run.evidence()) == 0.0


def test_outcomes_count_final_beliefs(story):
    """Every status has a number, and silence has one too."""
    run = story(1, 1, 1, 1).believed(1, "UNKNOWN").believed(2, None).believed(3, None)
    expected = {**dict.fromkeys(PAYOUT_STATUSES, 0), "PAID": 1, "UNKNOWN": 1, "unstated": 2}
    assert measures.outcomes(run.evidence()) == expected
    assert set(measures.outcomes(story().evidence()).values()) == {0}


def test_duplicates_are_charged_to_the_run_that_paid_again(story):
    """The first effect is free, whoever called first; of each obligation on its own."""
    run = story(100, 100, 100).paid(0, at=10, run=1).paid(0, at=20, t_arrived=5).paid(0, at=30).paid(1, run=1)
    assert measures.duplicates_by_run(run.evidence()) == {"interest#1": 2, "maturity#1": 0}
    run.paid(1, at=40, run=-1).paid(1, at=50, replay=1).paid(-1, 5, at=60)
    assert measures.duplicates_by_run(run.evidence()) == {"interest#1": 2, "maturity#1": 0, "other": 1}


@pytest.mark.parametrize("runs", [(0, 1), (1, 0)])
def test_of_two_effects_at_one_time_the_call_that_arrived_first_is_free(runs, story):
    """The order in which the books list them decides nothing; without any difference the earlier start is free."""
    run = story(100)
    for index in runs:
        run.paid(0, at=50, t_arrived=40 - index, run=index)
    assert measures.duplicates_by_run(run.evidence()) == {"interest#1": 1, "maturity#1": 0}
    run = story(100)
    for index in runs:
        run.paid(0, at=50, run=index)
    assert measures.duplicates_by_run(run.evidence()) == {"interest#1": 0, "maturity#1": 1}
