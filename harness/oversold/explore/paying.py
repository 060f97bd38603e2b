"""Job workers and a reconciler under the explorer, and the evidence that an execution leaves for the checkers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import cast

import numpy as np

from oversold.checkers.payouts import CHECKERS
from oversold.evidence import NEVER
from oversold.explore.actor import Actor
from oversold.explore.escapes import Memory, watching
from oversold.explore.execution import LONG_S, Chooser, Execution, Option
from oversold.explore.operation import EVERYTHING, Operation
from oversold.explore.seams.channel import PaymentChannels, step_of
from oversold.explore.subject import Code, Scenario
from oversold.explore.workload import Workload
from oversold.explore.world import Seat, World
from oversold.model import Finding, Job, PayoutState
from oversold.payout_evidence import BELIEF, PAYMENT, WITHDRAWAL, JobRun, PayoutEvidence
from oversold.payout_plan import obligation_index
from oversold.plan import Kind
from oversold.platform.channels.books import Call, payment
from oversold.platform.faults import connection_lost, told
from oversold.schedule import NOBODY
from oversold.strategies.payouts import obligation_table
from oversold.strategies.payouts.interface import PayoutContext, PayoutStrategy

CHANNELS = "channels"  # what the seam of the channels is called in a world
RECONCILER = "reconciler"
ROUND = "round"
ROUNDS = 8  # of reconciliation, an hour apart
# Safety: what no schedule may break. The rest is told as well, and asked for by name.
SAFETY = ("overpaid", "stranger")


class Disbursement:
    """One payday under one strategy, paid out again in every execution.

    Workers die for good. The reconciler comes once an hour, eight times at most, and begins again when it dies; an
    hour passes when everybody waits.
    """

    kind: Kind = "payouts"
    safety: tuple[str, ...] = SAFETY

    def __init__(
        self,
        strategy: type[PayoutStrategy],
        world: World,
        payday_id: str,
        workload: Workload,
        seed: int,
        code: Code,
    ) -> None:
        self._strategy, self.world, self.workload, self._seed = strategy, world, workload, seed
        self.strategy_name, self.fingerprint, self.versions = code.name, code.fingerprint, code.versions
        self._payday = workload.payday(payday_id)
        self._execution: Execution | None = None
        self.raised: list[tuple[str, str]] = []  # in the last execution, by the strategy's own code: who, what
        self._rounds = 0
        self._next_round_s = 0.0
        self._paused_at = -1  # how many steps the workers had taken when they all paused
        self._own = world.seats[-1]
        self._memory = Memory(strategy)
        self._teller = self._open()

    def _open(self) -> PayoutStrategy:
        sql = self._own.clients.get("sql")
        if sql is not None:
            obligation_table.create(sql, self._payday)
        with watching():
            strategy = self._made(self._own)
            strategy.open(self._payday)
        self._memory.compare()
        self.world.remember()
        # The obligations carry times: whether somebody looks at them must not turn out in the middle of a search.
        self.world.always_timed = True
        return strategy

    @staticmethod
    def seats(workload: Workload) -> int:
        """Return how many places it needs: workers, a reconciler, and the one who opens it and asks at the end."""
        return workload.workers + 2

    def _made(self, seat: Seat) -> PayoutStrategy:
        clients = {store: seat.clients[store] for store in self._strategy.stores}
        channels = seat.clients[CHANNELS]
        return self._strategy(PayoutContext(clients, seat.clock, seat.random(self._seed), channels))

    def play(self, chooser: Chooser, budget: int) -> Execution:
        """Run one execution from the beginning; at most `budget` faults may happen in it."""
        self.world.reset()
        self.raised, self._rounds, self._next_round_s, self._paused_at = [], 0, LONG_S, -1
        *places, own = self.world.seats[: self.workload.workers + 1]
        workers = [
            Actor(f"worker {number}", seat.port, self._worker(number, seat))
            for number, seat in enumerate(places, 1)
        ]
        reconciler = Actor(RECONCILER, own.port, self._reconciler(own), restarts=True)
        execution = Execution(
            [reconciler, *workers],  # after a pause the reconciler goes first, and so finds what it is good for
            chooser,
            budget,
            nobody=self._events,
            stuck=self._stuck,
            died=self.world.buried,
            memory=self._memory,
        )
        self._execution = execution
        execution.run()
        self.raised += [(actor.name, told(actor.error)) for actor in execution.actors if actor.error is not None]
        return execution

    # What the actors do

    def _worker(self, number: int, seat: Seat) -> Callable[[], Callable[[], None]]:
        job = Job(self._payday.payday_id, "interest", number, 0, 1)

        def born() -> Callable[[], None]:
            strategy = self._made(seat)

            def live() -> None:
                try:
                    strategy.run_job(job)
                except Exception as error:
                    if not _excused(seat, error):
                        raise

            return live

        return born

    def _reconciler(self, seat: Seat) -> Callable[[], Callable[[], None]]:
        def born() -> Callable[[], None]:
            strategy = self._made(seat)

            def live() -> None:
                mine, settled = strategy, False
                while self._rounds < ROUNDS:
                    over = self._next_round(seat, again=self._rounds > 0 and not settled)
                    try:
                        settled = mine.reconcile(self._payday.payday_id) == 0
                    except Exception as error:
                        if not _excused(seat, error):
                            raise
                        mine = self._renewed(seat)
                    if settled and over:
                        return

            return live

        return born

    def _next_round(self, seat: Seat, *, again: bool) -> bool:
        """Wait until an hour has passed since the round before; return whether the workers are gone by then.

        While the workers pause it may come `again`, and their pause becomes an hour longer by that: it is the same
        fault. Nothing happens to one who waits.
        """
        longer = again and self._pausing
        now = Operation("begin to reconcile", ROUND, reads=frozenset({"time/now"}))
        later = Operation("begin to reconcile, another hour later", ROUND, writes=frozenset({EVERYTHING}))
        due: Callable[[], bool] = lambda: self.world.now_s >= self._next_round_s  # noqa: E731
        choice = seat.port.ask(later if longer else now, lambda: due() or (longer and self._pausing), faults=())
        if not due():
            self.world.an_hour()
        self._rounds += 1
        self._next_round_s = self.world.now_s + LONG_S
        seat.port.reply("", changed=longer)
        if choice == "crash_after":
            seat.port.crash()
        return self._gone

    @property
    def _gone(self) -> bool:
        """Tell whether all workers have ended, or died."""
        assert self._execution is not None
        return all(actor.done for actor in self._execution.actors if actor.name != RECONCILER)

    @property
    def _worked(self) -> int:
        """How many steps the workers have taken."""
        assert self._execution is not None
        return sum(step.actor not in (RECONCILER, *NOBODY) for step in self._execution.steps)

    @property
    def _pausing(self) -> bool:
        """Tell whether time has passed, and no worker has gone on since."""
        return self._paused_at == self._worked

    def _renewed(self, seat: Seat) -> PayoutStrategy:
        """Throw suspect connections away, and make a new instance over new ones, unseen."""
        actor, seat.port.actor = seat.port.actor, None
        self.world.clean(seat)
        strategy = self._made(seat)
        seat.port.actor = actor
        return strategy

    # What nobody does

    def _events(self, execution: Execution) -> Iterable[tuple[Option, Callable[[], None]]]:
        """Offer what can happen by itself. Once the workers are gone an hour passes anyhow, before each round."""
        for option, happen in self.world.events(execution):
            if option.choice != "time_passes":
                yield option, happen
            elif self.workload.pauses and not self._gone:
                yield option, lambda happen=happen: self._pause(happen)  # type: ignore[misc]

    def _pause(self, happen: Callable[[], None]) -> None:
        happen()
        self._paused_at = self._worked

    def _stuck(self, execution: Execution) -> bool:
        """Let leases end, since everybody waits; when there are none an hour pass, if somebody waits for that."""
        leased = any(what == "expire" for seam in self.world.seams.values() for what, _ in seam.expiring())
        waits = any(
            actor.loops or (actor.pending is not None and actor.pending.name == ROUND)
            for actor in execution.actors
        )
        if leased or not waits:
            return self.world.stuck(execution)
        self.world.an_hour()
        execution.passed("an hour passes")
        return True

    # What came of it

    def scenario(self) -> Scenario:
        """Return the numbers that it runs with."""
        return {**asdict(self.workload), "channels": ",".join(self.workload.channels)}

    @property
    def steps(self) -> int:
        """How many steps the last execution took, whole or not."""
        return len(self._execution.steps) if self._execution else 0

    @property
    def doubts(self) -> frozenset[str]:
        """What its stores may have done that no schedule shows."""
        return self.world.doubts

    @property
    def moved(self) -> bool:
        """Whether anything was paid in the last execution."""
        return any(True for _ in self._effects())

    def step_of(self, check: str) -> int:
        """Return the step of the last execution at which a promise was broken: a payment too many, or the last."""
        owed_fen = dict(enumerate(self.workload.due_fen))
        for call, obligation in sorted(self._effects(), key=lambda each: each[0].t_arrived):
            owed_fen[obligation] = owed_fen.get(obligation, 0) - call.amount_fen
            if owed_fen[obligation] < 0 and check == ("overpaid" if obligation >= 0 else "stranger"):
                return step_of(call)
        return self.steps

    def _effects(self) -> Iterable[tuple[Call, int]]:
        """Return the calls that moved money, and for which obligation (-1: nobody is owed it)."""
        banks = self._channels.banks.values()
        calls = [call for bank in banks for call in bank.books.calls() if call.moves()]
        return [(call, self._owed(call)) for call in calls]

    def _owed(self, call: Call) -> int:
        index = obligation_index(self._payday.payday_id, call.ref, self.workload.obligations)
        return index if index >= 0 and self._payday.obligations[index].user_id == call.user_id else -1

    @property
    def _channels(self) -> PaymentChannels:
        return cast(PaymentChannels, self.world.seams[CHANNELS])

    def evidence(self) -> PayoutEvidence:
        """Return what the last execution leaves for the checkers. Times are steps."""
        count = self.workload.obligations
        starts = {f"worker {number + 1}": number for number in range(self.workload.workers)}
        rows = [
            payment(
                call, channel, self._owed(call), starts.get(call.caller, -1), 0, call.t_arrived - step_of(call)
            )
            for channel, bank in enumerate(self._channels.banks.values())
            for call in bank.books.calls()
        ]
        payments = np.array(rows, PAYMENT)
        states = self._states()
        none = np.zeros(0, np.int64)
        return PayoutEvidence(
            due_fen=np.array(self.workload.due_fen, np.int64),
            user=np.arange(count),
            t_due=np.zeros(count, np.int64),
            channels=self.workload.channels,
            runs=[JobRun(f"interest#{number + 1}", 0, 0, NEVER) for number in starts.values()],
            payments=payments[np.argsort(payments["t_arrived"], kind="stable")],
            withdrawals=np.zeros(0, WITHDRAWAL),
            states=[states.get(each.obligation_id) for each in self._payday.obligations],
            beliefs=np.zeros(0, BELIEF),
            unknown_since=none,
            unknown_until=none,
            t_end=self.steps + 1,
            complete=self._execution is not None and not self._execution.ending,
        )

    def _states(self) -> Mapping[str, PayoutState]:
        try:
            return self._teller.state(self._payday.payday_id)
        except Exception:  # noqa: BLE001 - a strategy that cannot say what it believes says nothing
            return {}

    def broken(self) -> list[Finding]:
        """Return the promises that the last execution has broken, by the checkers of the live runs."""
        evidence = self.evidence()
        return [finding for finding in (check(evidence) for check in CHECKERS) if finding.verdict == "fail"]


def _excused(seat: Seat, error: Exception) -> bool:
    """Tell whether an exception comes of a connection that failed, rather than of the strategy's own code."""
    actor = seat.port.actor
    return connection_lost(error) or (actor is not None and actor.hit)
