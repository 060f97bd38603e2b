"""Random histories against brute force: slow, obvious references written from the definitions."""

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from oversold.checkers import audit, measures
from oversold.checkers.false_full import false_full
from oversold.checkers.subscription import undersubscription, witnesses
from oversold.evidence import NEVER, Claims, HoldEnd, Ledger, Outcome
from oversold.model import Claim

T_END = 30
KINDS = (
    "sold",
    "given_back",
    "leaked",
    "live",
    "live_ordered",
    "unheard",
    "no_order",
    "twice",
    "away",
    "shut",
)
# Mostly bidders and holds that come and go, for orders soon leave nothing to argue about.
MIX = KINDS + 2 * ("given_back", "away", "shut")


@dataclass(frozen=True)
class Visit:
    """One bid's whole visit, in ticks: what became of it, when it asked, when it was told."""

    kind: str
    amount: int
    asked: int
    reserved: int
    done: int
    skew: int  # how far the ledger's clock is from the bidder's

    def occupies(self, tick: int) -> int:
        """Return how much of the stock this bid takes at a tick, from the definition."""
        if self.kind in ("sold", "live_ordered", "no_order"):
            return self.amount * (tick >= self.reserved)
        if self.kind == "twice":
            return self.amount * ((tick >= self.reserved) + (tick >= self.done + 1))
        if self.kind in ("given_back", "leaked"):
            return self.amount * (self.reserved <= tick < self.done)
        if self.kind == "live":
            return self.amount * (self.reserved <= tick < T_END)
        if self.kind == "unheard":
            return self.amount * (tick >= self.done)
        return 0

    def ordered(self, tick: int) -> int:
        """Return how much the ledger has of this bid at a tick."""
        if self.kind == "sold":
            return self.amount * (tick >= self.done + self.skew)
        if self.kind in ("live_ordered", "unheard"):
            return self.amount * (tick >= self.done)
        if self.kind == "twice":
            return self.amount * ((tick >= self.done) + (tick >= self.done + 1))
        return 0

    def live(self, tick: int) -> bool:
        """Tell whether a hold of this bid is open at a tick."""
        if self.kind == "live":
            return self.asked <= tick < T_END
        holds = ("sold", "given_back", "leaked", "live_ordered", "no_order", "twice")
        return self.kind in holds and self.asked <= tick < self.done

    def tell(self, run, bid, scale):
        """Write the visit into a story."""
        amount = self.amount * scale
        times = {"t_sent": self.asked, "t_reserved": self.reserved}
        if self.kind == "away":
            early = self.asked - abs(self.skew)
            run.turned_away(bid, amount, early, t_done=self.done, **times)
            return
        if self.kind == "shut":
            run.shut_out(bid, amount, self.asked, t_done=self.done)
            return
        hold, outcome = {
            "given_back": (HoldEnd.RELEASED, Outcome.ERROR),
            "leaked": (HoldEnd.LEAKED, Outcome.ERROR),
            "live": (HoldEnd.LIVE, Outcome.UNKNOWN),
            "live_ordered": (HoldEnd.LIVE, Outcome.UNKNOWN),
            "unheard": (HoldEnd.NONE, Outcome.UNKNOWN),
        }.get(self.kind, (HoldEnd.CONFIRMED, Outcome.OK))
        done = NEVER if outcome == Outcome.UNKNOWN else self.done
        run.holding(bid, amount, self.asked, done, hold=hold, outcome=outcome, **times)
        if self.kind in ("sold", "live_ordered", "unheard", "twice"):
            run.order(bid, amount, self.done + (self.skew if self.kind == "sold" else 0))
        if self.kind == "twice":
            run.order(bid, amount, self.done + 1)


@st.composite
def visits(draw):
    """Draw one visit, on few ticks so that moments coincide."""
    asked = draw(st.integers(0, 12))
    reserved = asked + draw(st.integers(0, 3))
    done = reserved + draw(st.integers(0, 5))
    kind, amount, skew = draw(st.tuples(st.sampled_from(MIX), st.integers(1, 5), st.integers(-2, 2)))
    return Visit(kind, amount, asked, reserved, done, skew)


crowds = st.lists(visits(), max_size=12)
capacities = st.integers(1, 25)
flag_changes = st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=5).map(sorted)


def told(story, crowd, capacity, flags=(), *, scale=1, smallest=1):
    """Write a crowd's visits into a story."""
    run = story(capacity * scale, min_bid_fen=smallest * scale, t_end=T_END)
    for bid, visit in enumerate(crowd):
        visit.tell(run, bid, scale)
    for t, full in flags:
        run.flag(t, full)
    return run


@given(crowd=crowds, capacity=capacities)
@settings(max_examples=100, deadline=None)
def test_witnesses_are_those_that_the_definition_names(story, crowd, capacity):
    """Trying every tick from the last question to the end of the run gives the same witnesses."""
    unsold = capacity - sum(visit.ordered(T_END) for visit in crowd)
    expected = [
        visit.kind in ("away", "shut")
        and visit.amount <= unsold
        and all(
            visit.amount <= capacity - sum(other.occupies(tick) for other in crowd)
            for tick in range(visit.asked, T_END + 1)
        )
        for visit in crowd
    ]
    evidence = told(story, crowd, capacity).evidence()
    assert witnesses(evidence).tolist() == expected
    rate = undersubscription(evidence).values["rate"]
    assert rate == (unsold / capacity if any(expected) else 0.0)


@given(crowd=crowds, capacity=capacities, flags=flag_changes, smallest=st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_false_full_time_is_the_sum_over_all_ticks(story, crowd, capacity, flags, smallest):
    """Walking tick by tick, flag, ledger and holds in hand, gives the same spans and rejections."""
    departures = [v.done for v in crowd if v.kind not in ("live", "live_ordered", "unheard")]

    def state(tick):
        full = [flag for t, flag in flags if t <= tick][-1:] == [True]
        left = capacity - sum(visit.ordered(tick) for visit in crowd)
        return full and left >= smallest, any(visit.live(tick) for visit in crowd), left

    spans = [state(tick)[:2] for tick in range(max(departures, default=0))]
    shut = [(v.amount, *state(v.asked)) for v in crowd if v.kind == "shut"]
    fitting = [(amount, live) for amount, false, live, left in shut if false and amount <= left]
    values = false_full(told(story, crowd, capacity, flags, smallest=smallest).evidence()).values
    assert round(values["recoverable_s"] * 1e9) == sum(false and live for false, live in spans)
    assert round(values["lost_s"] * 1e9) == sum(false and not live for false, live in spans)
    assert round(values["seconds"] * 1e9) == sum(false for false, _ in spans)
    assert values["rejected_fen"] == sum(amount for amount, _ in fitting)
    assert values["lost_rejected_fen"] == sum(amount for amount, live in fitting if not live)


@given(crowd=crowds, capacity=capacities)
@settings(max_examples=50, deadline=None)
def test_leaks_losses_and_duplicates_are_those_told(story, crowd, capacity):
    """Each kind of visit is found by its own check, and only by it."""
    found = {f.check: f.values for f in audit(told(story, crowd, capacity).evidence())}
    kinds = [visit.kind for visit in crowd]
    assert found["leak"]["holds"] == kinds.count("leaked") + kinds.count("live")
    assert found["lost_order"]["bids"] == kinds.count("no_order")
    assert found["duplicate_order"]["bids"] == kinds.count("twice")
    assert found["phantom_order"]["orders"] == 0


@given(crowd=crowds, capacity=capacities)
@settings(max_examples=50, deadline=None)
def test_too_much_and_too_little_exclude_each_other(story, crowd, capacity):
    """A run never has an oversubscription and an undersubscription rate at once."""
    over, under, *_ = audit(told(story, crowd, capacity).evidence())
    assert over.values["rate"] == 0 or under.values["rate"] == under.values["raw"] == 0


@given(crowd=crowds, capacity=capacities, flags=flag_changes, scale=st.integers(2, 1000))
@settings(max_examples=50, deadline=None)
def test_scaling_all_money_scales_fen_and_nothing_else(story, crowd, capacity, flags, scale):
    """With all amounts multiplied, values in fen are multiplied; rates, counts and verdicts stay."""
    once = audit(told(story, crowd, capacity, flags).evidence(claim=Claim("open", 3)))
    many = audit(told(story, crowd, capacity, flags, scale=scale).evidence(claim=Claim("open", 3 * scale)))
    for small, large in zip(once, many, strict=True):
        assert small.verdict == large.verdict
        for name, value in small.values.items():
            assert large.values[name] == (value * scale if name.endswith("_fen") else value), name


@given(crowd=crowds, capacity=capacities, flags=flag_changes, data=st.data())
@settings(max_examples=50, deadline=None)
def test_the_order_of_rows_does_not_matter(story, crowd, capacity, flags, data):
    """Several workers write one history: any order of its rows, and of the ledger's, is the same run."""
    evidence = told(story, crowd, capacity, flags).evidence()
    rows = data.draw(st.permutations(range(len(evidence.history))))
    orders = data.draw(st.permutations(range(len(evidence.ledger.bid))))
    ledger = Ledger(
        *(column[list(orders)] for column in (evidence.ledger.bid, evidence.ledger.amount_fen, evidence.ledger.t))
    )
    shuffled = replace(evidence, history=evidence.history[list(rows)], ledger=ledger)
    assert audit(shuffled) == audit(evidence)


@given(crowd=crowds, capacity=capacities, remaining=st.integers(0, 9), seed=st.integers(0, 9))
@settings(max_examples=50, deadline=None)
def test_claims_sampled_on_the_way_are_no_evidence(story, crowd, capacity, remaining, seed):
    """What a strategy said during the run changes no verdict: it is never the truth."""
    evidence = told(story, crowd, capacity).evidence()
    boast = Claims(np.array([seed]), np.array([remaining]), np.array([True]))
    assert audit(replace(evidence, claims=boast)) == audit(evidence)


calls = st.lists(st.tuples(st.integers(0, 15), st.integers(0, 6), st.integers(0, 2)), max_size=12)


@given(calls=calls)
@settings(max_examples=100, deadline=None)
def test_overlap_is_what_comparing_all_pairs_gives(story, calls):
    """Two calls overlap when each has begun by the other's end; of another worker, if there is one."""
    run = story()
    for bid, (start, length, worker) in enumerate(calls):
        run.turned_away(bid, at=start, t_reserved=start + length, worker=worker)
    alone = len({worker for *_, worker in calls}) == 1
    met = [
        any(a <= c + d and c <= a + b and (alone or w != v) for j, (c, d, v) in enumerate(calls) if j != i)
        for i, (a, b, w) in enumerate(calls)
    ]
    assert measures.overlap(run.history) == (sum(met) / len(met) if met else 0.0)


@given(taps=st.lists(st.tuples(st.integers(0, 15), st.one_of(st.none(), st.integers(0, 6))), max_size=12))
@settings(max_examples=100, deadline=None)
def test_peak_in_flight_is_what_counting_at_every_tick_gives(story, taps):
    """At each tick: admitted by then and not done yet."""
    run = story()
    for bid, (start, length) in enumerate(taps):
        done = NEVER if length is None else start + length
        run.tap(bid, 1, t_intended=start, t_done=done)
    counts = [
        sum(start <= tick and (length is None or tick < start + length) for start, length in taps)
        for tick in range(25)
    ]
    assert measures.peak_in_flight(run.history) == max(counts)
