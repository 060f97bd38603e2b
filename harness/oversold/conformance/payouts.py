"""The contract of payout strategies: the rules of docs/payouts.md, each one a test on real private servers."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar

import pytest

from oversold.conformance.books import Payment
from oversold.conformance.payday import PaydayOnTrial, Worker
from oversold.conformance.rules import lacking, on_trial, rule
from oversold.plan import Sql
from oversold.stores.endpoint import Endpoint
from oversold.strategies.past_context import past_its_context

OBLIGATIONS = 12
MEET_S = 0.5  # a second start that may pay does so within this time

Open = Callable[[], PaydayOnTrial]


class PayoutStrategyContract:
    """Subclass it in a test file, and pytest runs one test for each rule:

        class TestMyPayroll(PayoutStrategyContract):
            strategy = MyPayroll

    `strategy` is a class, a name of `oversold list payouts`, or "path.py:Class". The channels are honest and
    prompt: what a design does when they lie is seen in a run. A rule that yours breaks knowingly is taken out by
    `test_... = None`.
    """

    __test__ = False  # what pytest collects are its subclasses
    strategy: ClassVar[Any] = None
    sql: ClassVar[Sql] = "postgres"

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        if "__test__" not in vars(cls):
            cls.__test__ = True

    @pytest.fixture
    def payday(self, oversold_stores: Mapping[str, Endpoint]) -> Iterator[Open]:
        """Open a payday of twelve obligations under the strategy: payday()."""
        with opening(type(self), oversold_stores) as payday:
            yield payday

    def test_has_the_interface(self) -> None:
        """It has open, run_job, reconcile and state, and says which stores it uses."""
        lacks = lacking(on_trial(type(self), "payouts"), "payouts")
        rule(not lacks, "A payout strategy has four methods and `stores`; see docs/payouts.md.", "; ".join(lacks))

    def test_takes_time_and_chance_from_its_context(self) -> None:
        """It uses context.clock and context.random, not `time`, `random` or `threading`."""
        used = past_its_context(on_trial(type(self), "payouts"))
        text = "A strategy takes time and random numbers from its context, and starts no threads."
        rule(not used, text, "; ".join(f"it uses {name}: {mend}" for name, mend in used))

    def test_pays_everybody_once(self, payday: Open) -> None:
        """Two jobs side by side pay everything once, and reconciliation comes to its end without paying more."""
        run = payday()
        run.run(("interest", 1), ("maturity", 1))
        run.paid_once("interest", "principal")
        run.reconciled()
        run.paid_once("interest", "principal")

    def test_pays_the_right_amount_to_the_right_person(self, payday: Open) -> None:
        """Each payment has the obligation's id as ref, its user and its amount in fen."""
        run = payday()
        run.run(("interest", 1), ("maturity", 1))
        due = Counter(
            Payment(each.obligation_id, each.user_id, each.amount_fen) for each in run.payday.obligations
        )
        strange = Counter(run.books.payments).keys() - due.keys()
        text = "A payment names the obligation, its user and its amount in fen."
        rule(not strange, text, f"nothing like {next(iter(strange), None)} is due")

    def test_a_job_pays_its_own_kind_only(self, payday: Open) -> None:
        """The interest job leaves the principal alone."""
        run = payday()
        run.run(("interest", 1))
        run.paid_once("interest")

    def test_says_what_it_believes(self, payday: Open) -> None:
        """From the beginning `state` tells of every obligation, and nothing is PAID before it was tried."""
        run = payday()
        early = [ref for ref, state in run.states.items() if state.status == "PAID"]
        rule(not early, "Nothing is PAID before it is paid.", f"{len(early)} are, before the first job")

    def test_a_second_start_pays_nobody_again(self, payday: Open) -> None:
        """The same job started while it runs, and once more when it is through, pays nothing twice."""
        run = payday()
        met = threading.Event()
        first_call = threading.Lock()

        def hold_the_first(worker: Worker, moment: str) -> None:
            if moment == "before":
                if first_call.acquire(blocking=False):
                    met.wait(MEET_S)
                else:
                    met.set()

        run.happens = hold_the_first
        threads = run.begin("interest", 1)
        run.join([*threads, *run.begin("interest", 2)])
        run.run(("interest", 3))
        run.nobody_twice()

    def test_what_is_refused_is_not_paid(self, payday: Open) -> None:
        """While the channels pay nothing and say so, nothing is believed PAID."""
        run = payday()
        run.books.refuses = True
        run.run(("interest", 1))
        believed = sum(run.states[ref].status == "PAID" for ref in run.owed("interest"))
        rule(not believed, "PAID is what a channel has paid.", f"{believed} are, though every call failed")

    def test_survives_a_death_before_a_call(self, payday: Open) -> None:
        """A worker dies just before it calls a channel: nothing is paid twice, or believed paid that is not."""
        self._survives(payday(), "before")

    def test_survives_a_death_after_a_call(self, payday: Open) -> None:
        """A worker dies when the channel has paid and before it writes that down: nothing is paid twice."""
        self._survives(payday(), "after")

    def test_holds_no_transaction_over_a_call(self, payday: Open) -> None:
        """No SQL transaction is open while a channel is called."""
        run = payday()
        run.run(("interest", 1), workers=1)
        text = "What a worker is about to do is committed before it calls a channel."
        rule(not run.open_calls, text, f"during {run.open_calls} calls a transaction was open")

    def _survives(self, run: PaydayOnTrial, moment: str) -> None:
        __tracebackhide__ = True
        calls = iter(range(OBLIGATIONS * 100))

        def die_at_the_third(worker: Worker, now: str) -> None:
            if now == moment and next(calls) == 2:
                worker.die()

        run.happens = die_at_the_third
        run.join(run.begin("interest", 1))
        run.happens = lambda worker, now: None
        run.settled()
        run.nobody_twice()
        paid, states = run.books.paid, run.states
        dreamt = [ref for ref in run.owed("interest") if states[ref].status == "PAID" and not paid[ref]]
        text = "PAID is what a channel has paid."
        rule(not dreamt, text, f"a worker died {moment} its call, and {len(dreamt)} unpaid are believed PAID")


@contextmanager
def opening(contract: type[PayoutStrategyContract], servers: Mapping[str, Endpoint]) -> Iterator[Open]:
    """Yield a function that opens a payday under the strategy of a contract; all is closed afterwards."""
    kind = on_trial(contract, "payouts")
    if lacking(kind, "payouts"):
        pytest.skip(f"{kind.__name__} is no strategy yet: see test_has_the_interface")
    with ExitStack() as stack:
        yield lambda: PaydayOnTrial(kind, servers, contract.sql, stack, OBLIGATIONS)
