"""The bid pipeline: every way that a tap can take; strategy, ledger, mark, progress and clock are made up here."""

import psycopg
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from oversold.bid_plan import BidPlan, BidSettings
from oversold.evidence import NEVER, HoldEnd, Outcome, RefusedBy
from oversold.model import Bid, Claim, Hold
from oversold.platform.faults import Faults
from oversold.platform.pipeline import BidPipeline, StrategyError, Tap

BID = Bid("t-000007", "t", "user-7", 500)
BUG = KeyError("stock")
GONE = redis.ConnectionError("Connection closed by server.")
STEPS = 10
PROGRESS_STEP = 4


class World:
    """Strategy, ledger, mark, progress and clock in one; `story` is what happened, in order.

    An answer that is an exception is raised. Times are counted, not slept.
    """

    def __init__(self, **answers):
        self.answers = {
            "reserve": Hold("ok", "token"),
            "confirm": True,
            "release": True,
            "status": Claim("open", 10**9),
            "write": True,
            "add": True,
            "confirmed_fen": 0,
        } | answers
        self.full = False
        self.story = []
        self.slept_s = 0.0

    def _answer(self, what):
        self.story.append(what)
        answer = self.answers[what]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def reserve(self, bid):
        """The strategy's."""
        assert bid == BID
        return self._answer("reserve")

    def confirm(self, bid, hold):
        """The strategy's."""
        assert (bid, hold) == (BID, self.answers["reserve"])
        return self._answer("confirm")

    def release(self, bid, hold):
        """The strategy's."""
        assert (bid, hold) == (BID, self.answers["reserve"])
        return self._answer("release")

    def status(self, tranche_id):
        """The strategy's."""
        assert tranche_id == "t"
        return self._answer("status")

    def write(self, bid):
        """The ledger's."""
        assert bid == BID
        return self._answer("write")

    def set(self, *, full):
        """The mark's."""
        self.full = full
        self.story.append("mark full" if full else "mark open")

    def add(self, amount_fen):
        """The progress's."""
        assert amount_fen == BID.amount_fen
        return self._answer("add")

    def take_back(self, amount_fen):
        """The progress's."""
        assert amount_fen == BID.amount_fen
        self.story.append("take back")

    def confirmed_fen(self):
        """The progress's."""
        return self._answer("confirmed_fen")

    def sleep(self, seconds):
        """The clock's."""
        self.slept_s += seconds
        self.story.append("sleep")


def run(world, failing_step=0, steps=STEPS, **bids):
    """Send one tap through; return the tap, the faults, and the StrategyError if there was one."""
    plan = BidPlan(
        scenario="s",
        strategy="none",
        capacity_fen=10_000,
        rtt_s=0.25,
        bids=BidSettings(steps=steps, min_bid_fen=100, **bids),
    )
    faults = Faults()
    tap = Tap(7, BID, 1, 1000, failing_step, steps_s=2.0, fail_s=1.0 if failing_step else 0.0)
    error = None
    try:
        BidPipeline(plan, world, world, world, world, world, faults).run(tap)
    except StrategyError as raised:
        error = raised
    return tap, faults.rows(), error


def told(tap):
    """Return what the history will say of the tap."""
    return tap.outcome, tap.hold, tap.refused_by, tap.failed_step


def test_ok_is_reserved_confirmed_and_written():
    """In this order; the bidder is served, and the hold has become an order."""
    world = World()
    tap, faults, error = run(world)
    assert told(tap) == (Outcome.OK, HoldEnd.CONFIRMED, RefusedBy.NOBODY, 0)
    assert world.story == ["reserve", "sleep", "confirm", "write"]
    assert NEVER < tap.t_sent <= tap.t_reserved
    assert (faults, error) == ([], None)


def test_an_order_that_is_there_already_is_no_failure_of_the_bidder():
    """The ledger refuses the second order of a bid and notes it; whose fault it is, the audit says."""
    tap, faults, _ = run(World(write=False))
    assert told(tap) == (Outcome.OK, HoldEnd.CONFIRMED, RefusedBy.NOBODY, 0)
    assert faults == []


def test_sold_out_without_stock_is_told_and_marked():
    """The claim agrees, so everybody is told from now on."""
    world = World(reserve=Hold("sold_out"), status=Claim("full", 0))
    tap, faults, error = run(world)
    assert told(tap) == (Outcome.SOLD_OUT, HoldEnd.NONE, RefusedBy.STRATEGY, 0)
    assert world.full
    assert (faults, error) == ([], None)


def test_sold_out_with_stock_is_told_but_not_marked():
    """The bid was too large for the rest; a smaller one may fit."""
    world = World(reserve=Hold("sold_out"), status=Claim("open", 300))
    tap, _, _ = run(world)
    assert tap.outcome is Outcome.SOLD_OUT
    assert not world.full


def test_sold_out_before_all_is_confirmed_is_busy():
    """Where only orders count, holds may still come back, and the bidder is asked to tap again."""
    world = World(reserve=Hold("sold_out"), confirmed_fen=5000)
    tap, _, _ = run(world, full_when="confirmed")
    assert told(tap) == (Outcome.BUSY, HoldEnd.NONE, RefusedBy.STRATEGY, 0)
    assert not world.full


@pytest.mark.parametrize(
    ("verdict", "outcome"), [("busy", Outcome.BUSY), ("error", Outcome.ERROR), ("unknown", Outcome.UNKNOWN)]
)
def test_other_answers_are_passed_on(verdict, outcome):
    """No step is gone through, nothing is confirmed or released, the mark is not touched."""
    world = World(reserve=Hold(verdict))
    tap, faults, error = run(world)
    assert told(tap) == (outcome, HoldEnd.NONE, RefusedBy.STRATEGY, 0)
    assert world.story == ["reserve"]
    assert (faults, error) == ([], None)


@pytest.mark.parametrize("nonsense", [None, True, "ok", Hold("perhaps"), Claim("open", 1)], ids=repr)
def test_an_answer_that_is_no_hold_is_a_fault(nonsense):
    """Even one that looks like `ok`: the bidder has an error, and the run will say what was answered."""
    world = World(reserve=nonsense)
    tap, [fault], error = run(world)
    assert told(tap) == (Outcome.ERROR, HoldEnd.NONE, RefusedBy.STRATEGY, 0)
    assert (fault["kind"], fault["phase"], fault["count"]) == ("nonsense", "reserve", 1)
    assert repr(nonsense)[:20] in fault["text"]
    assert world.story == ["reserve"]
    assert error is None


def test_a_strategy_that_raises_in_reserve_gave_no_hold():
    """Its own bug is a definite error."""
    tap, faults, error = run(World(reserve=BUG))
    assert told(tap) == (Outcome.ERROR, HoldEnd.NONE, RefusedBy.STRATEGY, 0)
    line = World._answer.__code__.co_firstlineno + 4  # where its own code raised
    text = f"KeyError: 'stock' (test_pipeline.py:{line})"
    assert faults == [{"kind": "raised", "phase": "reserve", "text": text, "count": 1}]
    assert not error.lost
    assert error.__cause__ is BUG
    assert (tap.t_sent > NEVER, tap.t_reserved) == (True, NEVER)


def test_a_connection_lost_in_reserve_leaves_the_tap_unknown():
    """The store may have given the hold or not."""
    tap, [fault], error = run(World(reserve=GONE))
    assert told(tap) == (Outcome.UNKNOWN, HoldEnd.NONE, RefusedBy.NOBODY, 0)
    assert (fault["kind"], fault["phase"]) == ("store", "reserve")
    assert error.lost


def test_a_strategy_that_raises_in_confirm_leaks_its_hold():
    """Nobody confirmed it and nobody gives it back."""
    world = World(confirm=BUG)
    tap, [fault], error = run(world)
    assert told(tap)[:2] == (Outcome.ERROR, HoldEnd.LEAKED)
    assert (fault["kind"], fault["phase"]) == ("raised", "confirm")
    assert not error.lost
    assert "write" not in world.story


def test_a_connection_lost_in_confirm_leaves_the_hold_live():
    """It may be confirmed; without an order the audit will find out."""
    world = World(confirm=GONE)
    tap, _, error = run(world)
    assert told(tap)[:2] == (Outcome.UNKNOWN, HoldEnd.LIVE)
    assert error.lost
    assert "write" not in world.story


@pytest.mark.parametrize("step", [1, 5, STEPS])
def test_a_failing_step_gives_the_hold_back(step):
    """The bidder has an error, the stock has its share again."""
    world = World()
    tap, faults, error = run(world, step)
    assert told(tap) == (Outcome.ERROR, HoldEnd.RELEASED, RefusedBy.STEP, step)
    assert world.story == ["reserve", "sleep", "release", "status", "mark open"]
    assert (faults, error) == ([], None)


class SellsOut(World):
    """A tranche that somebody else marks full while this tap walks its steps."""

    def sleep(self, seconds):
        """Come back to a marked tranche."""
        self.set(full=True)


@pytest.mark.parametrize("reopen", [True, False])
def test_a_release_reopens_a_tranche_that_was_marked_meanwhile(reopen):
    """And leaves the mark alone where the platform does not reopen."""
    world = SellsOut()
    tap, _, _ = run(world, 3, reopen_on_release=reopen)
    assert tap.hold is HoldEnd.RELEASED
    assert world.full is not reopen


def test_a_release_that_says_no_is_a_leak():
    """The hold is neither an order nor stock; the mark is not taken back for it."""
    world = World(release=False)
    tap, faults, error = run(world, 3)
    assert told(tap) == (Outcome.ERROR, HoldEnd.LEAKED, RefusedBy.STEP, 3)
    assert world.story == ["reserve", "sleep", "release"]
    assert (faults, error) == ([], None)


@pytest.mark.parametrize("nonsense", [None, 1, "yes"])
def test_a_release_that_answers_nonsense_is_a_leak_and_a_fault(nonsense):
    """Only True counts: a forgotten return statement must not pass for a release."""
    tap, [fault], _ = run(World(release=nonsense), 3)
    assert tap.hold is HoldEnd.LEAKED
    assert (fault["kind"], fault["phase"]) == ("nonsense", "release")


def test_a_strategy_that_raises_in_release_leaks_its_hold():
    """The step's failure is what the bidder is told."""
    tap, [fault], error = run(World(release=BUG), 3)
    assert told(tap) == (Outcome.ERROR, HoldEnd.LEAKED, RefusedBy.STEP, 3)
    assert (fault["kind"], fault["phase"], error.lost) == ("raised", "release", False)


def test_a_confirm_that_says_no_gives_the_hold_back():
    """The strategy's own answer: the hold is no longer valid."""
    world = World(confirm=False)
    tap, faults, error = run(world)
    assert told(tap) == (Outcome.ERROR, HoldEnd.RELEASED, RefusedBy.STRATEGY, 0)
    assert world.story == ["reserve", "sleep", "confirm", "release", "status", "mark open"]
    assert (faults, error) == ([], None)


@pytest.mark.parametrize("nonsense", [None, 1, "yes", Hold("ok")], ids=repr)
def test_a_confirm_that_answers_nonsense_confirms_nothing(nonsense):
    """Only True counts: no order is written for it."""
    world = World(confirm=nonsense)
    tap, [fault], _ = run(world)
    assert told(tap)[:2] == (Outcome.ERROR, HoldEnd.RELEASED)
    assert (fault["kind"], fault["phase"]) == ("nonsense", "confirm")
    assert "write" not in world.story


def test_a_ledger_that_does_not_answer_leaves_the_tap_unknown():
    """The order may be written or not: the hold stays live, and the driver's error goes on to the lane."""
    world = World(write=psycopg.OperationalError("server closed the connection"))
    tap = Tap(7, BID, 1, 1000, 0, 0.0, 0.0)
    faults = Faults()
    pipeline = BidPipeline(BidPlan(scenario="s", strategy="none"), world, world, world, world, world, faults)
    with pytest.raises(psycopg.OperationalError):
        pipeline.run(tap)
    assert told(tap) == (Outcome.UNKNOWN, HoldEnd.LIVE, RefusedBy.NOBODY, 0)
    assert "release" not in world.story
    assert faults.rows() == []


class Interruption(BaseException):
    """What a watchdog throws into a lane."""


def test_an_interruption_passes_through():
    """The watchdog's exception is no fault of the strategy that the pipeline could count; the tap is unknown."""
    world = World(reserve=Interruption())
    tap = Tap(7, BID, 1, 1000, 0, 0.0, 0.0)
    faults = Faults()
    pipeline = BidPipeline(BidPlan(scenario="s", strategy="none"), world, world, world, world, world, faults)
    with pytest.raises(Interruption):
        pipeline.run(tap)
    assert told(tap) == (Outcome.UNKNOWN, HoldEnd.NONE, RefusedBy.NOBODY, 0)
    assert faults.rows() == []


def test_a_marked_tranche_refuses_before_the_strategy_is_asked():
    """One look at the page, one round trip; no time of the strategy is noted."""
    world = World()
    world.full = True
    tap, faults, error = run(world)
    assert told(tap) == (Outcome.SOLD_OUT, HoldEnd.NONE, RefusedBy.STATUS, 0)
    assert world.story == ["sleep"]
    assert world.slept_s == 0.25
    assert (tap.t_sent, tap.t_reserved) == (NEVER, NEVER)
    assert (faults, error) == ([], None)


def test_a_counted_bid_is_counted_once():
    """The hot progress row is written on the way, before the confirm."""
    world = World()
    tap, _, _ = run(world, progress="row")
    assert tap.outcome is Outcome.OK
    assert world.story == ["reserve", "sleep", "add", "sleep", "confirm", "write"]


def test_a_lost_race_for_the_progress_row_fails_its_step():
    """The bid was not counted, so there is nothing to take back."""
    world = World(add=False)
    tap, faults, error = run(world, progress="row")
    assert told(tap) == (Outcome.ERROR, HoldEnd.RELEASED, RefusedBy.STEP, PROGRESS_STEP)
    assert world.story == ["reserve", "sleep", "add", "release", "status", "mark open"]
    assert (faults, error) == ([], None)


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_a_bid_that_fails_after_it_was_counted_is_taken_back(step):
    """Up to the progress step it is never counted; beyond it, it is counted and uncounted."""
    world = World()
    tap, _, _ = run(world, step, progress="row")
    assert told(tap) == (Outcome.ERROR, HoldEnd.RELEASED, RefusedBy.STEP, step)
    counted = step > PROGRESS_STEP
    assert world.story.count("add") == counted
    assert world.story.count("take back") == counted


def test_a_counted_bid_that_is_not_confirmed_is_taken_back():
    """Whether the hold comes back or leaks."""
    for release in (True, False):
        world = World(confirm=False, release=release)
        run(world, progress="row")
        assert world.story.count("take back") == 1


@pytest.mark.parametrize(
    "answers", [{"release": BUG}, {"release": True, "status": BUG}], ids=["release", "status"]
)
def test_a_counted_bid_is_taken_back_whatever_the_strategy_raises(answers):
    """The progress row is the platform's own: a strategy's bug must not make it count what was never sold."""
    world = World(**answers)
    run(world, 9, progress="row")
    assert world.story.count("add") == world.story.count("take back") == 1


@given(st.integers(1, 100), st.integers(0, 100), st.sampled_from(["row", "derived"]))
def test_a_tap_takes_its_steps_time_however_it_is_slept(steps, failing_step, progress):
    """Sleeping through several steps at once saves no time, nor does the stop at the progress row add any."""
    world = World()
    tap, _, _ = run(world, min(failing_step, steps), steps=steps, progress=progress)
    assert world.slept_s == pytest.approx(2.0 + (1.0 if failing_step else 0.0))
    assert tap.failed_step == min(failing_step, steps)


@pytest.mark.parametrize("answer", [None, "open", 7], ids=repr)
def test_a_status_that_is_no_claim_is_a_fault_of_the_strategy(answer):
    """As for reserve, confirm and release: the run must say that the strategy gave nonsense, and where."""
    _, [fault], _ = run(World(reserve=Hold("sold_out"), status=answer))
    assert (fault["kind"], fault["phase"]) == ("nonsense", "status")


def test_a_status_that_raises_after_a_release_changes_nothing_about_the_hold():
    """It was given back; the fault is the status's."""
    tap, [fault], error = run(World(status=BUG), 3)
    assert told(tap) == (Outcome.ERROR, HoldEnd.RELEASED, RefusedBy.STEP, 3)
    assert (fault["kind"], fault["phase"], error.lost) == ("raised", "status", False)


@given(
    st.sampled_from([Hold("ok"), Hold("sold_out"), Hold("busy"), Hold("error"), Hold("unknown"), None, BUG, GONE]),
    st.sampled_from([True, False, None, BUG, GONE]),
    st.sampled_from([True, False, None, BUG, GONE]),
    st.sampled_from([Claim("open", 10**9), Claim("full", 0), Claim("open", None), BUG, GONE]),
    st.integers(0, STEPS),
    st.sampled_from(["row", "derived"]),
    st.sampled_from(["reserved", "confirmed"]),
)
def test_no_combination_contradicts_itself(reserve, confirm, release, status, step, progress, full_when):
    """Whatever the strategy does: ok means an order, an order means ok, and a hold has one end."""
    world = World(reserve=reserve, confirm=confirm, release=release, status=status)
    tap, faults, error = run(world, step, progress=progress, full_when=full_when)
    got_hold = reserve == Hold("ok")
    assert (tap.hold != HoldEnd.NONE) == got_hold
    assert (tap.outcome == Outcome.OK) == (tap.hold == HoldEnd.CONFIRMED) == ("write" in world.story)
    assert world.story.count("confirm") <= 1
    assert world.story.count("release") <= 1
    if tap.hold == HoldEnd.RELEASED:
        assert release is True
    if tap.failed_step:
        assert "confirm" not in world.story
    if error is not None:
        assert faults
    if not got_hold:
        assert world.story[:1] == ["reserve"]
        assert "confirm" not in world.story
        assert "release" not in world.story
