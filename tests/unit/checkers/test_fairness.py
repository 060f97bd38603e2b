"""Who was served in whose place: literal histories, the definitions tried pair by pair, and wrong versions."""

from fractions import Fraction
from itertools import combinations, groupby

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oversold.checkers import fairness
from oversold.checkers.fairness import Contenders, cohorts, contenders, gini, inversions
from oversold.evidence import NEVER, HoldEnd, Outcome, RefusedBy


def among(run):
    """Return the contenders of a story."""
    return contenders(run.history, run.ledger.bid)


def crowd(rows):
    """Return contenders from (arrival, amount, won) rows."""
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    return Contenders(np.array(columns[0], np.int64), np.array(columns[1], np.int64), np.array(columns[2], bool))


def test_first_come_first_served_has_no_inversion(story):
    """The early ones are served, the late ones are not: 0; the other way round: 1."""
    fair = story().sold(0, start=1).sold(1, start=2).turned_away(2, at=3).turned_away(3, at=4)
    unfair = story().turned_away(0, at=1).turned_away(1, at=2).sold(2, start=3).sold(3, start=4)
    assert inversions(among(fair)) == 0.0
    assert inversions(among(unfair)) == 1.0


def test_inversions_are_counted_by_pairs(story):
    """Of the pairs (away 1, sold 2), (away 1, sold 4), (sold 2, away 3), (away 3, sold 4) three are inverted."""
    run = story().turned_away(0, at=1).sold(1, start=2).turned_away(2, at=3).sold(3, start=4)
    assert inversions(among(run)) == 0.75


def test_bids_of_different_size_are_not_compared(story):
    """A small bid that fits after a large one was refused took nobody's place."""
    run = story().turned_away(0, 500, at=1).sold(1, 100, start=2)
    assert inversions(among(run)) is None
    assert inversions(among(run.turned_away(2, 100, at=1))) == 1.0


def test_who_came_together_has_no_order(story):
    """A crowd at the gate is not compared with itself, only with those who came later."""
    run = story().turned_away(0, at=1).sold(1, start=1)
    assert inversions(among(run)) is None
    assert inversions(among(run.turned_away(2, at=5))) == 0.0


def test_a_bidder_arrives_when_he_first_meant_to_tap(story):
    """Neither a wait for a lane nor another tap after `busy` makes a bidder a late comer."""
    run = story().turned_away(0, at=1, outcome=Outcome.BUSY, final=0)
    run.sold(0, start=50, attempt=2).turned_away(1, at=10, t_admitted=60)
    assert inversions(among(run)) == 0.0
    assert among(run).arrival.tolist() == [1, 10]


def test_a_failed_step_is_nobodys_unfairness(story):
    """A bidder who had the stock and lost it by a failing step of his own was not turned away by the lock."""
    run = story().given_back(0, start=1).sold(1, start=2).turned_away(2, at=3)
    assert among(run).won.tolist() == [True, False]
    assert inversions(among(run)) == 0.0
    refused = run.turned_away(3, at=1, outcome=Outcome.ERROR, refused_by=RefusedBy.STRATEGY)
    assert inversions(among(refused)) == 0.5


def test_bidders_of_unknown_fate_are_left_out(story):
    """Never answered, never left, told ok without an order: other checks count those."""
    run = story().sold(0, start=5).tap(1, t_intended=1, outcome=Outcome.UNKNOWN)
    run.turned_away(2, at=1, outcome=Outcome.BUSY, final=0)
    run.holding(3, 100, 1, 2, hold=HoldEnd.CONFIRMED, outcome=Outcome.OK)
    assert len(among(run).won) == 1
    assert len(among(run.turned_away(4, at=1)).won) == 2


def test_the_ledger_says_who_won(story):
    """Told sold out and ordered all the same: that bidder won. Orders of strangers count for nobody."""
    run = story().turned_away(0, at=1).order(0, 100, 2).turned_away(1, at=2).order(-1, 100, 3).order(9, 100, 3)
    assert among(run).won.tolist() == [True, False]


def test_nobody_is_treated_unfairly_where_nobody_was_turned_away(story):
    """No pair to compare, all chances equal."""
    assert inversions(among(story().sold(0).sold(1))) is None
    assert cohorts(among(story().sold(0).sold(1))).tolist() == [1.0] * 10
    assert inversions(among(story().turned_away(0, t_intended=NEVER).sold(1))) is None  # who never came


def test_a_run_without_contenders_says_nothing(story):
    """Nobody came: no chances and no Gini, rather than a chance of zero that all have alike, as when all lost."""
    nobody, losers = among(story()), among(story().turned_away(0).turned_away(1))
    assert (inversions(nobody), gini(cohorts(nobody)), cohorts(nobody).tolist()) == (None, None, [])
    assert (inversions(losers), gini(cohorts(losers)), cohorts(losers).tolist()) == (None, 0.0, [0.0] * 10)


def test_a_lottery_inverts_half_of_the_pairs():
    """Winners drawn at random, whoever came first: near 0.5, and all tenths have nearly the same chance."""
    draw = np.random.default_rng(7)
    people = Contenders(np.arange(20_000), draw.integers(1, 4, 20_000), draw.uniform(size=20_000) < 0.6)
    assert inversions(people) == pytest.approx(0.5, abs=0.02)
    assert cohorts(people) == pytest.approx(np.full(10, 0.6), abs=0.05)
    assert gini(cohorts(people)) < 0.05


def test_cohorts_are_tenths_by_arrival():
    """Of 20 bidders the first ten win, whatever the order of their rows: five tenths of 1, five of 0."""
    rows = [(moment, 100, moment < 10) for moment in range(20)]
    assert cohorts(crowd(rows[::-1])).tolist() == [1.0] * 5 + [0.0] * 5
    assert cohorts(crowd(rows[:10] + [(moment, 1, True) for moment in range(10, 20)])).tolist() == [1.0] * 10


def test_those_who_came_together_share_their_chance():
    """Eight of ten came at once and half of them won: each of the eight tenths has one half."""
    rows = [(0, 100, bid % 2 == 0) for bid in range(8)] + [(1, 100, True), (2, 100, False)]
    assert cohorts(crowd(rows)).tolist() == [0.5] * 8 + [1.0, 0.0]


@pytest.mark.parametrize(
    ("chances", "coefficient"),
    [([0.3] * 10, 0.0), ([0.0] * 10, 0.0), ([1.0] + [0.0] * 9, 0.9), ([1.0] * 5 + [0.0] * 5, 0.5)],
)
def test_gini_is_what_one_can_say_by_heart(chances, coefficient):
    """All equal: 0; nobody wins: 0; one tenth takes all: 0.9; half of them share all: 0.5."""
    assert gini(np.array(chances)) == pytest.approx(coefficient)


def pair_by_pair(rows):
    """Return the share of inversions from its definition: all pairs, O(n^2)."""
    inverted = comparable = 0
    for one, other in combinations(rows, 2):
        (early, amount, early_won), (late, amount_too, late_won) = sorted((one, other))
        if amount == amount_too and early < late and early_won != late_won:
            comparable += 1
            inverted += late_won
    return inverted / comparable if comparable else None


def place_by_place(rows):
    """Return the cohorts' chances by definition: each place in the queue has its moment's common chance."""
    if not rows:
        return []
    places = []
    for _, group in groupby(sorted(rows), key=lambda row: row[0]):
        won = [row[2] for row in group]
        places += [Fraction(sum(won), len(won))] * len(won)
    shares = [Fraction(0)] * 10
    for place, chance in enumerate(places):
        for tenth in range(10):
            low, high = Fraction(tenth * len(places), 10), Fraction((tenth + 1) * len(places), 10)
            inside = max(Fraction(0), min(high, Fraction(place + 1)) - max(low, Fraction(place)))
            shares[tenth] += chance * inside / (high - low)
    return [float(share) for share in shares]


rows_of_a_crowd = st.lists(st.tuples(st.integers(-3, 9), st.integers(1, 3), st.booleans()), max_size=40)


@given(rows=rows_of_a_crowd)
@settings(max_examples=200, deadline=None)
def test_inversions_are_what_comparing_all_pairs_gives(rows):
    """Any crowd, on few moments and amounts so that they coincide."""
    assert inversions(crowd(rows)) == pair_by_pair(rows)


@given(rows=rows_of_a_crowd)
@settings(max_examples=100, deadline=None)
def test_cohorts_are_what_going_through_the_queue_gives(rows):
    """Any crowd; each share is between 0 and 1, and their mean is the share of winners."""
    shares = cohorts(crowd(rows))
    assert shares == pytest.approx(place_by_place(rows), abs=1e-9)
    assert ((shares >= 0) & (shares <= 1)).all()
    if rows:
        assert shares.mean() == pytest.approx(sum(row[2] for row in rows) / len(rows))


@given(rows=rows_of_a_crowd, data=st.data())
@settings(max_examples=50, deadline=None)
def test_only_the_order_of_arrival_matters(rows, data):
    """Other units of time, another order of the rows: the same. Time run backwards: the other pairs."""
    share = inversions(crowd(rows))
    shuffled = data.draw(st.permutations(rows))
    assert inversions(crowd([(7 * t + 10**15, amount, won) for t, amount, won in shuffled])) == share
    assert cohorts(crowd(shuffled)).tolist() == cohorts(crowd(rows)).tolist()
    backwards = inversions(crowd([(-t, amount, won) for t, amount, won in rows]))
    assert backwards == (None if share is None else pytest.approx(1 - share))


def mixed_up(people):
    """Compare bids of all sizes with one another."""
    return inversions(Contenders(people.arrival, np.zeros_like(people.amount_fen), people.won))


def in_row_order(people):
    """Take those who came together in the order of their rows."""
    order = np.argsort(people.arrival, kind="stable")
    return inversions(Contenders(np.arange(len(order)), people.amount_fen[order], people.won[order]))


def of_all_pairs(people):
    """Divide by all pairs of equal size, also those who both won."""
    rows = list(zip(people.arrival, people.amount_fen, people.won, strict=True))
    pairs = [sorted(pair) for pair in combinations(rows, 2) if pair[0][1] == pair[1][1]]
    inverted = sum(bool(late[2] and not early[2]) for early, late in pairs if early[0] < late[0])
    return inverted / len(pairs)


@pytest.mark.parametrize("wrong", [mixed_up, in_row_order, of_all_pairs])
def test_a_wrong_version_is_told_from_the_definition(wrong):
    """On a hundred seeded crowds the real one always agrees with all pairs compared, a wrong one does not."""
    draw = np.random.default_rng(3)
    crowds = [[(int(t), int(a), bool(w)) for t, a, w in draw.integers(0, (6, 3, 2), (12, 3))] for _ in range(100)]
    assert all(fairness.inversions(crowd(rows)) == pair_by_pair(rows) for rows in crowds)
    assert not all(wrong(crowd(rows)) == pair_by_pair(rows) for rows in crowds)


def test_a_wrong_cut_into_tenths_is_told_from_the_definition():
    """Cutting the rows as they come, without sharing the chance of those who came together, is found out."""
    rows = [(0, 1, True)] * 5 + [(0, 1, False)] * 5
    cut = [float(won) for _, _, won in rows]
    assert cohorts(crowd(rows)).tolist() == place_by_place(rows)
    assert cut != place_by_place(rows)
