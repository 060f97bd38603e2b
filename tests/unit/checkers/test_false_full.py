"""The FULL flag on literal histories."""

from oversold.checkers.false_full import false_full
from oversold.evidence import HoldEnd, Outcome

S = 1_000_000_000


def test_a_flag_that_is_never_set_is_never_false(story):
    """Without FULL nothing is measured."""
    finding = false_full(story(1000).sold(0, 100).evidence())
    assert finding.verdict == "pass"
    assert set(finding.values.values()) == {0}


def test_full_after_the_last_order_is_true(story):
    """FULL with all stock in orders is no false full, whoever it turns away."""
    run = story(1000, t_end=9 * S).sold(0, 1000, 1 * S, 2 * S).flag(2 * S, True).shut_out(1, 100, at=5 * S)
    assert set(false_full(run.evidence()).values.values()) == {0}


def test_full_while_holds_are_live_is_recoverable(story):
    """Marked full on reservation: until the order is written that is early, but nothing is lost."""
    run = story(1000, t_end=9 * S).sold(0, 1000, 1 * S, 4 * S).flag(1 * S, True).shut_out(1, 100, at=2 * S)
    finding = false_full(run.evidence())
    assert finding.verdict == "pass"
    assert finding.values == {
        "seconds": 3.0,
        "recoverable_s": 3.0,
        "lost_s": 0.0,
        "rejected_fen": 100,
        "lost_rejected_fen": 0,
    }


def test_full_that_stays_after_the_stock_came_back_is_lost(story):
    """The incident: the hold is given back, the tranche stays full, and bidders who fit are sent away."""
    run = story(1000, t_end=99 * S).sold(0, 800, 1 * S, 2 * S).given_back(1, 200, 2 * S, 4 * S)
    run.flag(2 * S, True).shut_out(2, 100, at=3 * S).shut_out(3, 150, at=6 * S)
    finding = false_full(run.evidence())
    assert finding.verdict == "fail"
    assert finding.values == {
        "seconds": 4.0,
        "recoverable_s": 2.0,
        "lost_s": 2.0,
        "rejected_fen": 250,
        "lost_rejected_fen": 150,
    }
    assert "Marked full for 2 s" in finding.detail
    assert "1.50 yuan" in finding.detail


def test_reopening_ends_the_false_full(story):
    """The fix: reopened as the hold comes back, nothing is lost."""
    run = story(1000, t_end=99 * S).given_back(0, 1000, 1 * S, 4 * S).flag(2 * S, True).flag(4 * S, False)
    run.turned_away(1, 100, at=9 * S)
    values = false_full(run.evidence()).values
    assert (values["seconds"], values["lost_s"]) == (2.0, 0.0)


def test_the_flag_may_be_set_several_times(story):
    """Each span counts; setting it again while set changes nothing."""
    run = story(1000, t_end=99 * S).turned_away(0, 100, at=20 * S)
    for t, full in ((1, True), (2, True), (3, False), (5, True), (9, False)):
        run.flag(t * S, full)
    assert false_full(run.evidence()).values["lost_s"] == 6.0


def test_nothing_is_lost_after_the_last_bidder_left(story):
    """Time after the last departure misleads nobody."""
    run = story(1000, t_end=99 * S).flag(1 * S, True).shut_out(0, 100, at=3 * S)
    assert false_full(run.evidence()).values["seconds"] == 2.0


def test_less_than_the_smallest_bid_is_full(story):
    """A remainder that the platform would not sell is full; one that it just sells is not."""
    run = story(1000, min_bid_fen=100, t_end=99 * S).sold(0, 901, 1 * S, 2 * S).flag(2 * S, True)
    assert false_full(run.shut_out(1, 100, at=9 * S).evidence()).values["seconds"] == 0.0
    run = story(1000, min_bid_fen=100, t_end=99 * S).sold(0, 900, 1 * S, 2 * S).flag(2 * S, True)
    assert false_full(run.shut_out(1, 100, at=9 * S).evidence()).values["seconds"] == 7.0


def test_a_bid_that_would_not_have_fitted_lost_nothing_to_the_flag(story):
    """A bid above what was left would have been turned away without the flag as well."""
    run = story(1000, t_end=99 * S).sold(0, 900, 1 * S, 2 * S).flag(2 * S, True).shut_out(1, 101, at=9 * S)
    finding = false_full(run.evidence())
    assert (finding.verdict, finding.values["lost_s"], finding.values["rejected_fen"]) == ("pass", 7.0, 0)


def test_a_bid_below_the_smallest_is_not_rejected_by_a_true_full(story):
    """While less than the smallest bid is left the flag is true, even for a bid that is smaller still."""
    run = story(1000, min_bid_fen=100, t_end=99 * S).sold(0, 950, 1 * S, 2 * S).flag(2 * S, True)
    assert false_full(run.shut_out(1, 40, at=9 * S).evidence()).values["rejected_fen"] == 0


def test_only_bids_that_the_flag_refused_are_counted(story):
    """What the strategy refused is not the flag's doing; nor is a tap after which the bidder tried again."""
    run = story(1000, t_end=99 * S).flag(1 * S, True).turned_away(0, 100, at=3 * S)
    run.shut_out(1, 100, at=3 * S, final=0)
    assert false_full(run.evidence()).values["rejected_fen"] == 0


def test_a_hold_counts_as_live_from_the_question_on(story):
    """The store gives the hold before the answer arrives, so FULL in between is explained."""
    run = story(1000, t_end=99 * S).holding(
        0, 1000, 1 * S, 5 * S, hold=HoldEnd.CONFIRMED, outcome=Outcome.OK, t_reserved=3 * S
    )
    run.order(0, 1000, 5 * S).flag(2 * S, True).shut_out(1, 100, at=int(2.5 * S))
    values = false_full(run.evidence()).values
    assert (values["recoverable_s"], values["lost_s"]) == (3.0, 0.0)


def test_an_unfinished_hold_is_live_until_its_order(story):
    """A tap that never completed explains FULL to the end, but no longer than to its order."""
    live = {"hold": HoldEnd.LIVE, "t_intended": S, "t_sent": S, "t_reserved": S}
    run = story(1000, t_end=99 * S).tap(0, 500, Outcome.UNKNOWN, **live).flag(2 * S, True)
    run.shut_out(1, 100, at=9 * S)
    assert false_full(run.evidence()).values["lost_s"] == 0.0
    finding = false_full(run.order(0, 500, 4 * S).evidence())
    assert (finding.values["lost_s"], finding.values["lost_rejected_fen"]) == (5.0, 100)


def test_a_hold_recorded_as_live_is_live_to_the_end(story):
    """Whatever time its row has for the answer: nobody resolved it."""
    run = story(1000, t_end=99 * S).holding(0, 500, 1 * S, 3 * S, hold=HoldEnd.LIVE, outcome=Outcome.UNKNOWN)
    values = false_full(run.flag(2 * S, True).shut_out(1, 100, at=9 * S).evidence()).values
    assert (values["recoverable_s"], values["lost_s"]) == (7.0, 0.0)


def test_a_leaked_hold_explains_nothing_once_its_tap_is_done(story):
    """After the tap nobody is left who could give the hold back: FULL is lost time."""
    run = story(1000, t_end=99 * S).holding(0, 1000, 1 * S, 3 * S, hold=HoldEnd.LEAKED, outcome=Outcome.ERROR)
    run.flag(1 * S, True).shut_out(1, 100, at=9 * S)
    assert false_full(run.evidence()).values["lost_s"] == 6.0


def test_false_full_of_an_incomplete_run_is_inconclusive(story):
    """A lost worker may have held what seemed to be free."""
    run = story(1000, t_end=99 * S).flag(1 * S, True).shut_out(0, 100, at=3 * S)
    assert false_full(run.evidence()).verdict == "fail"
    assert false_full(run.evidence(complete=False)).verdict == "inconclusive"
