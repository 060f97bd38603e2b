"""When the tranche is marked full and when that is taken back, and the progress that the rules ask."""

from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oversold.bid_plan import BidPlan, BidSettings
from oversold.model import Claim
from oversold.platform.progress import ADD, READ, TAKE_BACK, DerivedProgress, ProgressRow
from oversold.platform.tranche_status import MarkingRules

CAPACITY, MIN_BID = 1000, 100


class Mark:
    """The FULL mark, and everything that was written to it."""

    def __init__(self):
        self.full = False
        self.changes = []

    def set(self, *, full):
        """Write it down."""
        self.full = full
        self.changes.append(full)


class Sold:
    """A progress that says so many fen are confirmed."""

    def __init__(self, confirmed_fen=0):
        self.fen = confirmed_fen

    def confirmed_fen(self):
        """Say it."""
        return self.fen


class Claims:
    """A strategy's status, scripted: one remaining number an answer."""

    def __init__(self, *remaining):
        self.left = list(remaining)
        self.asked = 0

    def __call__(self):
        self.asked += 1
        return Claim("open", self.left.pop(0))


def rules(mark, progress=None, **bids):
    """Return the marking rules of a plan with these settings."""
    settings = BidSettings(min_bid_fen=MIN_BID, **bids)
    plan = BidPlan(scenario="s", strategy="none", capacity_fen=CAPACITY, bids=settings)
    return MarkingRules(plan, mark, progress or Sold())


def unasked():
    """Fail the test: this strategy must not be asked."""
    raise AssertionError("the strategy was asked for its status")


def test_reserved_marks_full_when_nothing_is_left():
    """The strategy says sold out and has less left than any bid: the bidder is told so, and all others too."""
    mark = Mark()
    assert rules(mark).sold_out(Claims(0, 0)) is True
    assert mark.changes == [True]


@pytest.mark.parametrize(("left", "marked"), [(0, True), (MIN_BID - 1, True), (MIN_BID, False), (CAPACITY, False)])
def test_less_than_the_smallest_bid_counts_as_nothing(left, marked):
    """A remainder that nobody may buy keeps no tranche open; a bid that was merely too large closes none."""
    mark = Mark()
    assert rules(mark).sold_out(Claims(left, left)) is True
    assert mark.full is marked


def test_stock_below_zero_is_nothing():
    """An overshoot is no stock."""
    mark = Mark()
    assert rules(mark).sold_out(Claims(-500, -500)) is True
    assert mark.full


@pytest.mark.parametrize(("status", "marked"), [("full", True), ("open", False)])
def test_a_claim_without_a_number_is_taken_by_its_status(status, marked):
    """For sold-out answers and for releases alike."""
    mark = Mark()
    assert rules(mark).sold_out(lambda: Claim(status, None)) is True
    assert mark.full is marked
    mark.full = True
    rules(mark).released(lambda: Claim(status, None))
    assert mark.full is marked


def test_a_number_beats_the_status():
    """What is left is more than what it is called."""
    mark = Mark()
    rules(mark).sold_out(lambda: Claim("full", CAPACITY))
    assert not mark.changes
    rules(mark).sold_out(lambda: Claim("open", 0))
    assert mark.full


def test_a_release_between_claim_and_mark_is_noticed():
    """The claim says none, a hold comes back, the mark is set: with reopening on it ends open."""
    mark = Mark()
    assert rules(mark, reopen_on_release=True).sold_out(Claims(0, MIN_BID)) is True
    assert mark.changes == [True, False]


def test_without_reopening_the_same_race_latches_the_mark():
    """The incident's design: nobody looks again."""
    mark, claims = Mark(), Claims(0, MIN_BID)
    assert rules(mark, reopen_on_release=False).sold_out(claims) is True
    assert mark.changes == [True]
    assert claims.asked == 1


def test_a_release_takes_the_mark_back():
    """When what is left is enough for a bid again."""
    for left, reopened in ((MIN_BID, True), (MIN_BID - 1, False)):
        mark = Mark()
        mark.full = True
        rules(mark, reopen_on_release=True).released(Claims(left))
        assert mark.full is not reopened


def test_without_reopening_a_release_changes_nothing():
    """Not even the question is asked: the undersubscription of the incident."""
    mark = Mark()
    mark.full = True
    rules(mark, reopen_on_release=False).released(unasked)
    assert mark.full
    assert not mark.changes


@pytest.mark.parametrize(
    ("confirmed_fen", "told_sold_out"),
    [(0, False), (CAPACITY - MIN_BID, False), (CAPACITY - MIN_BID + 1, True), (CAPACITY, True), (1200, True)],
)
def test_confirmed_counts_orders_alone(confirmed_fen, told_sold_out):
    """Holds may still come back: until the orders leave no room for a bid, the bidder is asked to tap again."""
    mark = Mark()
    answer = rules(mark, Sold(confirmed_fen), full_when="confirmed").sold_out(unasked)
    assert answer is told_sold_out
    assert mark.full is told_sold_out


class Stage:
    """A tranche with one hold outstanding, whose release may come at any moment of a sold-out answer."""

    def __init__(self, moment, reopen):
        self.mark, self.left, self.moment, self.clock = Mark(), 0, moment, 0
        self.rules = rules(self, reopen_on_release=reopen)

    def tick(self):
        """Come to the next moment; at the chosen one the other bidder's hold is given back."""
        self.clock += 1
        if self.clock == self.moment:
            self.left += MIN_BID
            self.rules.released(lambda: Claim("open", self.left))

    def set(self, *, full):
        """Write the mark; a moment passes before and after it."""
        self.tick()
        self.mark.set(full=full)
        self.tick()

    def claim(self):
        """Answer what is left; a moment passes before and after it."""
        self.tick()
        answer = Claim("open", self.left)
        self.tick()
        return answer


@pytest.mark.parametrize("moment", range(1, 9))
def test_a_release_at_any_moment_leaves_the_tranche_open(moment):
    """However a release falls among claim, mark and second look: with reopening on, stock is never shut away."""
    stage = Stage(moment, reopen=True)
    stage.rules.sold_out(stage.claim)
    while stage.clock < moment:
        stage.tick()
    assert stage.left == MIN_BID
    assert not stage.mark.full


def test_the_moments_do_find_a_latched_mark():
    """The same stage without reopening: from the first claim on, every release leaves the tranche shut."""
    shut = []
    for moment in range(1, 9):
        stage = Stage(moment, reopen=False)
        stage.rules.sold_out(stage.claim)
        while stage.clock < moment:
            stage.tick()
        shut.append(stage.mark.full)
    assert shut == [False, *[True] * 7]


class Row:
    """A database with the progress row; others change the version before the first `conflicts` updates."""

    def __init__(self, conflicts=0):
        self.fen, self.version, self.conflicts, self.statements, self.borrowed = 0, 0, conflicts, [], 0

    @contextmanager
    def connection(self):
        """Lend this object as its own connection."""
        self.borrowed += 1
        yield self
        self.borrowed -= 1

    def execute(self, statement, arguments):
        """Understand the three statements of the progress row."""
        self.statements.append(statement)
        self.rowcount = 0
        if statement == TAKE_BACK:
            self.fen, self.version = self.fen - arguments[0], self.version + 1
        elif statement == ADD:
            if self.conflicts:
                self.conflicts, self.version = self.conflicts - 1, self.version + 1
            if arguments[2] == self.version:
                self.fen, self.version, self.rowcount = self.fen + arguments[0], self.version + 1, 1
        else:
            assert statement == READ
        return self

    def fetchone(self):
        """Return the row that was read."""
        return self.fen, self.version


@given(st.integers(0, 6), st.integers(1, 6))
def test_the_progress_row_gives_up_after_its_tries(conflicts, tries):
    """Each lost race costs one try; who runs out of them is not counted."""
    row = Row(conflicts)
    progress = ProgressRow(row, "t", tries)
    assert progress.add(50) is (conflicts < tries)
    assert progress.confirmed_fen() == (50 if conflicts < tries else 0)
    assert row.statements.count(ADD) == min(tries, conflicts + 1)
    assert row.borrowed == 0


def test_what_is_taken_back_is_not_counted():
    """Without a race: a lost subtraction would be one fault more."""
    row = Row()
    progress = ProgressRow(row, "t", 3)
    progress.add(50)
    progress.add(30)
    progress.take_back(50)
    assert progress.confirmed_fen() == 30


class Now:
    """A clock that stands still until it is told."""

    def __init__(self):
        self.s = 0.0

    def now_s(self):
        """Return the time it was told."""
        return self.s


class Orders:
    """A ledger that counts how often it is asked for its sum."""

    def __init__(self):
        self.sum, self.asked = 0, 0

    def sold_fen(self, tranche_id):
        """Answer."""
        self.asked += 1
        return self.sum


def test_derived_progress_is_the_sum_of_the_orders():
    """At most 20 ms old; a crowd that asks at once asks the database once."""
    orders, clock = Orders(), Now()
    progress = DerivedProgress(orders, "t", clock)
    orders.sum = 70
    assert [progress.confirmed_fen() for _ in range(100)] == [70] * 100
    assert orders.asked == 1
    orders.sum = 90
    assert progress.confirmed_fen() == 70
    clock.s = 0.021
    assert progress.confirmed_fen() == 90
    assert orders.asked == 2


def test_derived_progress_needs_no_counting():
    """There is no row to fight over, so the step never fails."""
    orders = Orders()
    progress = DerivedProgress(orders, "t", Now())
    assert progress.add(50) is True
    progress.take_back(50)
    assert progress.confirmed_fen() == 0
    assert orders.asked == 1
