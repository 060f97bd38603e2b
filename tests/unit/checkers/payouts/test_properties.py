"""Random paydays against brute force, and what must hold of every one of them."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oversold.checkers.payouts import audit, measures
from oversold.evidence import NEVER
from oversold.model import PAY_REPLIES, PAYOUT_STATUSES, PayoutState, PayReply
from oversold.payout_evidence import JobRun

OBLIGATIONS, USERS, T_END = 4, 3, 20


@dataclass(frozen=True)
class Call:
    """One pay call, in ticks."""

    obligation: int
    amount: int
    reply: PayReply
    replay: bool
    channel: int
    run: int
    arrived: int
    took: int
    effect: int | None  # ticks after the arrival; None: never

    @property
    def moved(self) -> bool:
        """Whether money moved."""
        return self.effect is not None and not self.replay

    def tell(self, run):
        """Write the call into a story."""
        run.call(
            self.obligation,
            self.amount,
            self.reply,
            replay=int(self.replay),
            channel=self.channel,
            run=self.run,
            t_arrived=self.arrived,
            t_replied=self.arrived + self.took,
            t_effect=NEVER if self.effect is None else self.arrived + self.effect,
        )


calls = st.builds(
    Call,
    obligation=st.integers(-1, OBLIGATIONS - 1),
    amount=st.integers(1, 6),
    reply=st.sampled_from(PAY_REPLIES),
    replay=st.integers(0, 4).map(lambda number: number == 0),
    channel=st.integers(0, 1),
    run=st.integers(-1, 1),
    arrived=st.integers(0, 15),
    took=st.integers(0, 5),
    effect=st.none() | st.integers(0, 10),
)
states = st.none() | st.builds(PayoutState, st.sampled_from(PAYOUT_STATUSES), st.sampled_from(["", "why"]))


@dataclass(frozen=True)
class Case:
    """One payday: what is due to whom, the calls, the withdrawals (user, amount, channel), the beliefs."""

    due: list[int]
    users: list[int]
    calls: list[Call]
    withdrawals: list[tuple[int, int, int]]
    states: list[PayoutState | None]

    def received(self, index, until=10**9):
        """Return what an obligation has received up to and with a tick, from the definition."""
        return sum(
            call.amount
            for call in self.calls
            if call.obligation == index and call.moved and call.arrived + call.effect <= until
        )

    def evidence(self, story, t_end=T_END):
        """Return the case as evidence."""
        run = story(*self.due, users=self.users, t_end=t_end)
        run.states = list(self.states)
        for call in self.calls:
            call.tell(run)
        for withdrawal in self.withdrawals:
            run.withdrew(*withdrawal)
        return run.evidence()


cases = st.builds(
    Case,
    due=st.lists(st.integers(1, 6), min_size=OBLIGATIONS, max_size=OBLIGATIONS),
    users=st.lists(st.integers(0, USERS - 1), min_size=OBLIGATIONS, max_size=OBLIGATIONS),
    calls=st.lists(calls, max_size=12),
    withdrawals=st.lists(st.tuples(st.integers(-1, USERS), st.integers(1, 8), st.integers(0, 1)), max_size=4),
    states=st.lists(states, min_size=OBLIGATIONS, max_size=OBLIGATIONS),
)


def values(evidence):
    """Return the values of all findings by check."""
    return {finding.check: finding.values for finding in audit(evidence)}


def summary(evidence):
    """Return every measure of a payday."""
    return (
        measures.time_to_paid_s(evidence),
        measures.calls(evidence),
        measures.lies(evidence),
        measures.peak_in_flight(evidence),
        measures.outcomes(evidence),
        measures.duplicates_by_run(evidence),
    )


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(case=cases)
def test_the_checks_agree_with_their_definitions(case, story):
    """Obligation by obligation, written out."""
    found = values(case.evidence(story))
    paid = [case.received(index) for index in range(OBLIGATIONS)]
    in_time = [case.received(index, T_END) for index in range(OBLIGATIONS)]
    over = [max(0, paid[index] - case.due[index]) for index in range(OBLIGATIONS)]
    assert found["overpaid"]["overpaid_fen"] == sum(over)
    assert found["overpaid"]["duplicates"] == sum(
        sum(call.moved for call in case.calls if call.obligation == index) > 1 for index in range(OBLIGATIONS)
    )
    assert found["overpaid"]["users_affected"] == len({case.users[index] for index, fen in enumerate(over) if fen})
    gone = 0
    for user in range(USERS):
        own = [index for index in range(OBLIGATIONS) if case.users[index] == user]
        too_much = sum(over[index] for index in own)
        left = sum(paid[index] for index in own) - sum(fen for who, fen, _ in case.withdrawals if who == user)
        gone += too_much - max(0, min(too_much, left))
    assert found["unrecoverable"]["unrecoverable_fen"] == gone
    lost = [
        case.due[index] - in_time[index]
        for index, state in enumerate(case.states)
        if in_time[index] < case.due[index] and not (state and state.status == "REVIEW" and state.reason)
    ]
    assert (found["missed"]["missed"], found["missed"]["missed_fen"]) == (len(lost), sum(lost))
    assert found["missed"]["late"] == sum(
        in_time[index] < case.due[index] <= paid[index] for index in range(OBLIGATIONS)
    )
    assert found["stranger"]["payments"] == sum(call.moved and call.obligation < 0 for call in case.calls)


@settings(max_examples=200, deadline=None)
@given(case=cases)
def test_time_to_paid_is_that_of_the_first_tick_at_which_enough_was_received(case, story):
    """Tick by tick, written out."""
    paid_at = [
        next((tick for tick in range(40) if case.received(index, tick) >= case.due[index]), None)
        for index in range(OBLIGATIONS)
    ]
    latest = max((tick for tick in paid_at if tick is not None), default=0)
    assert measures.time_to_paid_s(case.evidence(story))["max"] == latest / 1e9


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(case=cases)
def test_what_was_paid_is_what_is_due_with_the_excess_and_without_the_lack(case, story):
    """No fen is lost between the checks: paid = due + overpaid - short."""
    nobody_excused = replace(case, states=[None] * OBLIGATIONS)
    found = values(nobody_excused.evidence(story, t_end=10**6))
    paid = sum(call.amount for call in case.calls if call.moved and call.obligation >= 0)
    assert paid == sum(case.due) + found["overpaid"]["overpaid_fen"] - found["missed"]["missed_fen"]


@settings(max_examples=100, deadline=None)
@given(case=cases, order=st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(case, order, story):
    """Channels may hand in their books in any order."""
    shuffled = replace(
        case,
        calls=order.sample(case.calls, len(case.calls)),
        withdrawals=order.sample(case.withdrawals, len(case.withdrawals)),
    )
    one, other = case.evidence(story), shuffled.evidence(story)
    assert audit(one) == audit(other)
    assert summary(one) == summary(other)


@settings(max_examples=100, deadline=None)
@given(case=cases)
def test_merging_channels_does_not_matter(case, story):
    """Who moved the money is nothing to the person who has it."""
    merged = replace(
        case,
        calls=[replace(call, channel=0) for call in case.calls],
        withdrawals=[(user, fen, 0) for user, fen, _ in case.withdrawals],
    )
    assert audit(case.evidence(story)) == audit(merged.evidence(story))


@settings(max_examples=100, deadline=None)
@given(case=cases, more=calls)
def test_one_more_effect_never_lowers_what_was_overpaid(case, more, story):
    """Paying again mends no double payment."""
    before = values(case.evidence(story))["overpaid"]
    after = values(replace(case, calls=[*case.calls, more]).evidence(story))["overpaid"]
    assert all(after[name] >= before[name] for name in before)


@settings(max_examples=100, deadline=None)
@given(case=cases, user=st.integers(0, USERS), taken=st.integers(1, 9))
def test_what_is_gone_is_a_part_of_what_was_overpaid(case, user, taken, story):
    """Withdrawing more makes it more, up to all of it."""
    before = values(case.evidence(story))
    after = values(replace(case, withdrawals=[*case.withdrawals, (user, taken, 0)]).evidence(story))
    least, most = (found["unrecoverable"]["unrecoverable_fen"] for found in (before, after))
    assert 0 <= least <= most <= after["overpaid"]["overpaid_fen"]
    assert after["unrecoverable"]["users"] <= after["overpaid"]["users_affected"]


runs = st.lists(st.tuples(st.integers(0, 15), st.none() | st.integers(0, 10)), max_size=5)


@settings(max_examples=200, deadline=None)
@given(times=runs)
def test_overlap_agrees_with_counting_ticks(times, story):
    """A tick counts where two starts are at work in it."""
    run = story(t_end=T_END)
    run.runs = [
        JobRun(f"interest#{index}", 0, start, NEVER if took is None else start + took)
        for index, (start, took) in enumerate(times)
    ]
    work = np.zeros(60, int)
    for start, took in times:
        work[start : T_END if took is None else start + took] += 1
    assert measures.overlap_s(run.evidence()) == (work >= 2).sum() / 1e9
