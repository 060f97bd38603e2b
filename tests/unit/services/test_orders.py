"""From a service's books to the ledger: whose an order is, when it was written, and what doubt remains."""

import statistics
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oversold.bid_plan import bid_id
from oversold.errors import UsageError
from oversold.evidence import HISTORY, NEVER, Outcome
from oversold.services.orders import SLACK_NS, claimed, orders, resolved
from oversold.services.probes.rows import Row

GATE = 1_700_000_000_000_000_000
RUN = "r1"
USERS = 6
SECOND = 10**9
T_END = 20 * SECOND


@dataclass(frozen=True)
class Tap:
    """One tap; it was sent at second `sent` after the gate and answered a second later."""

    bid: int
    outcome: Outcome = Outcome.OK
    sent: int = 1
    attempt: int = 1
    amount_fen: int = 100

    def row(self):
        """Return it as a row of a history."""
        told = NEVER if self.outcome == Outcome.UNKNOWN else (self.sent + 1) * SECOND
        row = dict.fromkeys(HISTORY.names, 0)
        row |= {"bid": self.bid, "attempt": self.attempt, "outcome": self.outcome, "amount_fen": self.amount_fen}
        row |= {"t_admitted": self.sent * SECOND, "t_sent": self.sent * SECOND, "t_done": told}
        return tuple(row[name] for name in HISTORY.names)


def history(*taps):
    """Return taps as a history."""
    return np.array([tap.row() for tap in taps], HISTORY)


def user(index):
    """Return the user of a bid."""
    return f"user {index}"


def ledger(rows, *taps, user_ids=user, users=USERS):
    """Make the ledger of some rows after some taps."""
    return orders(
        rows, run_id=RUN, users=users, user_ids=user_ids, taps=history(*taps), gate_wall_ns=GATE, t_end=T_END
    )  # fmt: skip


def row(bid=None, user_id=None, fen=100, at_s=None):
    """Return one order; `at_s` counts from the gate."""
    return Row(bid, user_id, fen, None if at_s is None else GATE + round(at_s * SECOND))


def test_an_order_belongs_to_its_bid_or_to_its_users_bid_or_to_nobody():
    """The bid's id decides where it is one of ours; the service may have ids of its own, too."""
    rows = [
        row(bid_id(RUN, 3), user(1)),
        row("order-77", user(2)),
        row(None, user(4)),
        row(bid_id(RUN, USERS), "stranger"),
        row("r1-3"),
        row(),
    ]
    assert ledger(rows).bid.tolist() == [3, 2, 4, -1, -1, -1]


def test_users_are_named_only_where_they_are_needed():
    """A million names are not made for a ledger that knows our bids."""

    def never(_):
        raise AssertionError("asked")

    assert ledger([row(bid_id(RUN, 1), "x"), row("foreign")], user_ids=never).bid.tolist() == [1, -1]


def test_users_that_cannot_be_told_apart_are_refused():
    """If everybody has one name, an order that has only that is anybody's."""
    with pytest.raises(UsageError, match=r"put \{n\} into user_id"):
        ledger([row(None, "everybody")], user_ids=lambda _: "everybody")


def test_the_books_own_times_are_taken_if_they_can_be_true():
    """They count from the gate, and the orders come in their sequence."""
    found = ledger([row(bid_id(RUN, 0), at_s=3.99), row(bid_id(RUN, 1), at_s=1.995)], Tap(0, sent=3), Tap(1))
    assert found.bid.tolist() == [1, 0]
    assert found.t.tolist() == [1_995_000_000, 3_990_000_000]


def dated_by_the_books(*apart_s):
    """Say whether the books' own times are taken of orders that are so far from when their bidders were told."""
    rows = [row(bid_id(RUN, n), at_s=n + 2 + far) for n, far in enumerate(apart_s)]
    found = ledger(rows, *(Tap(n, sent=n + 1) for n in range(len(apart_s))))
    return found.t.tolist() != [(n + 2) * SECOND for n in range(len(apart_s))]


@pytest.mark.parametrize(
    ("apart_s", "taken"),
    [
        ((-0.004, -0.003, -0.005), True),
        ((0.015, 0.019, 0.001), True),
        ((-0.3, -0.003, -0.005), True),
        ((-0.3, -0.301, -0.005), False),
        ((0.3, 0.301, 0.299), False),
        ((-0.021,), False),
        ((-0.019,), True),
    ],
)
def test_a_foreign_clock_shows_where_orders_and_answers_are_apart(apart_s, taken):
    """By more than 20 ms in the middle, either way; a few stragglers are no other clock."""
    assert dated_by_the_books(*apart_s) is taken


def test_books_in_whole_seconds_date_nothing():
    """All orders of a second would come at once, and before their bids; one with a part of a second will do."""
    taps = [Tap(n, Outcome.UNKNOWN, sent=5) for n in range(2)]
    whole = [row(bid_id(RUN, 0), at_s=6), row(bid_id(RUN, 1), at_s=7)]
    assert ledger(whole, *taps).t.tolist() == [T_END, T_END]
    assert ledger([whole[0], row(bid_id(RUN, 1), at_s=7.25)], *taps).t.tolist() == [6 * SECOND, 7_250_000_000]


def test_times_that_were_rounded_are_moved_to_when_the_bid_was_sent():
    """A time that was rounded down cannot be before its own cause; by a second or more it is another clock's."""
    assert ledger([row(bid_id(RUN, 0), at_s=4.1)], Tap(0, Outcome.ERROR, sent=5)).t.tolist() == [5 * SECOND]
    assert ledger([row(at_s=-0.5)]).t.tolist() == [0]


def test_a_tap_that_was_never_sent_dates_nothing():
    """Only one that reached the service can have caused an order."""
    taps = history(Tap(0, Outcome.BUSY, sent=1), Tap(0, Outcome.ERROR, attempt=2, sent=5))
    taps["t_sent"][0] = NEVER
    rows = [row(bid_id(RUN, 0), at_s=4.1)]
    found = orders(rows, run_id=RUN, users=USERS, user_ids=user, taps=taps, gate_wall_ns=GATE, t_end=T_END)
    assert found.t.tolist() == [5 * SECOND]


@pytest.mark.parametrize("at_s", [None, -1.5, 3.5, 21.5, 8 * 3600, -8 * 3600, -9e8])
def test_one_time_that_cannot_be_true_discredits_all(at_s):
    """Then an order counts from when its bidder was told ok, and at the end where none was."""
    rows = [row(bid_id(RUN, 0), at_s=2.01), row(bid_id(RUN, 1), at_s=at_s), row(bid_id(RUN, 2), at_s=3)]
    taps = (Tap(0, sent=1), Tap(1, sent=5), Tap(2, Outcome.UNKNOWN, sent=1))
    found = ledger(rows, *taps)
    assert dict(zip(found.bid.tolist(), found.t.tolist(), strict=True)) == {
        0: 2 * SECOND,
        1: 6 * SECOND,
        2: T_END,
    }


def test_nothing_becomes_nothing():
    """No orders, no taps, or neither."""
    assert len(ledger([]).bid) == len(ledger([], Tap(0)).t) == len(claimed(history()).bid) == 0
    assert ledger([row(at_s=1.5)]).t.tolist() == [1_500_000_000]
    assert set(resolved(history(), ledger([])).values()) == {0}


def test_claims_count_each_bid_once():
    """A bid that was told ok twice was told of one order; whoever was told anything else has none."""
    taps = [Tap(2, sent=7, attempt=2), Tap(2, sent=3), Tap(1, sent=4, amount_fen=50), Tap(0, Outcome.BUSY)]
    found = claimed(history(*taps))
    assert found.bid.tolist() == [2, 1]
    assert found.amount_fen.tolist() == [100, 50]
    assert found.t.tolist() == [4 * SECOND, 5 * SECOND]


def test_doubt_is_resolved_by_the_ledger():
    """Only last words count: whoever was told ok or no after an unknown is in no doubt."""
    taps = [
        Tap(0, Outcome.UNKNOWN),
        Tap(1, Outcome.UNKNOWN),
        Tap(2, Outcome.UNKNOWN, attempt=1),
        Tap(2, Outcome.OK, attempt=2, sent=3),
        Tap(3, Outcome.UNKNOWN, attempt=2, sent=3),
        Tap(3, Outcome.BUSY, attempt=1),
        Tap(4),
    ]
    rows = [row(bid_id(RUN, 0)), row(bid_id(RUN, 0), fen=5), row(bid_id(RUN, 2)), row(bid_id(RUN, 4)), row("x")]
    taps = history(*taps)
    made = orders(rows, run_id=RUN, users=USERS, user_ids=user, taps=taps, gate_wall_ns=GATE, t_end=T_END)
    assert resolved(taps, made) == {"unknown": 3, "ordered": 1, "not_ordered": 2, "ordered_fen": 105}


TAPS = st.lists(
    st.builds(
        Tap,
        bid=st.integers(0, USERS - 1),
        outcome=st.sampled_from(Outcome),
        sent=st.integers(0, 12),
        attempt=st.integers(1, 3),
    ),
    max_size=12,
)
IDS = st.one_of(st.none(), st.integers(0, USERS).map(lambda n: bid_id(RUN, n)), st.text(max_size=4))
NAMES = st.one_of(st.none(), st.integers(0, USERS).map(user), st.text(max_size=4))
TIMES = st.one_of(st.floats(-2, 22), st.sampled_from([0.0, 1.0, 5.0, 1.99, 2.015, 3.001, 4.03]))
SOME_ROWS = st.lists(st.builds(row, bid=IDS, user_id=NAMES, fen=st.integers(0, 10**12), at_s=TIMES), max_size=12)


def owner(order):
    """Say whose an order is, from the definition."""
    for names, name in ((lambda n: bid_id(RUN, n), order.bid_id), (user, order.user_id)):
        for index in range(USERS):
            if name == names(index):
                return index
    return -1


def moment(order, taps, believed):
    """Say when an order was written, from the definition."""
    own = [tap for tap in taps if tap.bid == owner(order)]
    if believed:
        return max(order.at_ns - GATE, min((tap.sent * SECOND for tap in own), default=0))
    return min(
        (tap.row()[HISTORY.names.index("t_done")] for tap in own if tap.outcome == Outcome.OK), default=T_END
    )


def credible(order, taps):
    """Say whether an order's time can be true, from the definition."""
    sent = min((tap.sent * SECOND for tap in taps if tap.bid == owner(order)), default=0)
    return sent - SLACK_NS <= order.at_ns - GATE <= T_END + SLACK_NS


def in_step(rows, taps):
    """Say whether the books' clock goes with ours and shows parts of seconds, from the definition."""
    told = [(order.at_ns - GATE, moment(order, taps, believed=False), owner(order)) for order in rows]
    ok = {tap.bid for tap in taps if tap.outcome == Outcome.OK}
    apart = [at - heard for at, heard, bid in told if bid in ok]
    fine = not rows or any(order.at_ns % SECOND for order in rows)
    return fine and (not apart or abs(statistics.median(apart)) <= 20_000_000)


@settings(deadline=None)
@given(SOME_ROWS, TAPS)
def test_every_ledger_is_what_the_definition_says(rows, taps):
    """Each order once, with its bid, amount and time; in the sequence of the times."""
    found = ledger(rows, *taps)
    believed = all(credible(order, taps) for order in rows) and in_step(rows, taps)
    wanted = sorted((moment(order, taps, believed), owner(order), order.amount_fen) for order in rows)
    got = list(zip(found.t.tolist(), found.bid.tolist(), found.amount_fen.tolist(), strict=True))
    assert sorted(got) == wanted
    assert found.t.tolist() == sorted(found.t.tolist())
    assert found.confirmed_fen == sum(order.amount_fen for order in rows)


@settings(deadline=None)
@given(SOME_ROWS, TAPS)
def test_doubts_and_claims_are_what_the_definition_says(rows, taps):
    """Counted bid by bid."""
    found = ledger(rows, *taps)
    last = {}
    for tap in sorted(taps, key=lambda tap: (tap.attempt, tap.sent)):
        last[tap.bid] = tap
    owners = [owner(order) for order in rows]
    latest = {(tap.bid, tap.attempt, tap.sent): tap for tap in taps}  # the history's last of equal ones
    unknown = {bid for bid, tap in last.items() if latest[bid, tap.attempt, tap.sent].outcome == Outcome.UNKNOWN}
    counts = resolved(history(*taps), found)
    assert (counts["unknown"], counts["ordered"]) == (len(unknown), len(unknown & set(owners)))
    assert counts["ordered"] + counts["not_ordered"] == counts["unknown"]
    told = claimed(history(*taps))
    assert sorted(told.bid.tolist()) == sorted({tap.bid for tap in taps if tap.outcome == Outcome.OK})
