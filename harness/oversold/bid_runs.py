"""A burst of bids from the opened tranche to its summary; one of the incidents that `runs` can run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

from oversold import history
from oversold.assignment import Assignment
from oversold.audit import Circumstances, Raw, clocks, generator, proof
from oversold.bid_plan import BidPlan, draw_bids
from oversold.bid_summary import summarise
from oversold.checkers import audit, measures
from oversold.checkers.judging import percent
from oversold.clock import SystemClock, now_ns
from oversold.evidence import Claims, Evidence, Ledger, StatusLog
from oversold.load.launch import Beat, Ending
from oversold.model import Claim, Finding, Tranche
from oversold.platform import ledger as ledgers
from oversold.report import parquet
from oversold.session import CALL_S, Burst, Session, opened, sampling
from oversold.stores.guard import package_environment
from oversold.stores.providers import close
from oversold.strategies.calling import within
from oversold.strategies.interface import BidStrategy, ConsumerStrategy, open_context

SAMPLE_S = 0.05
MIN_OVERLAP = 0.01
NO_ORDERS = Ledger(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))
NO_CHANGES = StatusLog(np.zeros(0, np.int64), np.zeros(0, np.bool_))
NOTICE_NS = 50_000_000


@dataclass
class BidBurst(Burst):
    """A burst of bids under way. `claims` are samples (monotonic ns, remaining fen or -1, full)."""

    consumer: int | None = None
    claims: list[tuple[int, int, bool]] = field(default_factory=list)
    final_claim: Claim | None = None

    def note(self, claim: Claim) -> None:
        """Take down what is said to be left now."""
        remaining = -1 if claim.remaining_fen is None else int(claim.remaining_fen)
        self.claims.append((now_ns(), remaining, claim.status == "full"))


@contextmanager
def prepared(session: Session, plan: BidPlan, raw: Path) -> Iterator[tuple[Assignment[BidPlan], BidBurst]]:
    """Open the tranche for one burst; the strategy's consumer and the claim sampler run meanwhile."""
    run_id = session.new_run()
    stores = session.placed(plan)
    fields = {name: endpoint.to_json() for name, endpoint in stores.items()}
    assignment = Assignment(plan, run_id, fields, raw.resolve())
    tranche = tranche_of(assignment)
    raw.mkdir(parents=True, exist_ok=True)
    burst = BidBurst(needed=session.servers(plan))
    kind = session.kind(plan.strategy)
    with session.ledger() as connection:
        ledgers.create(connection, tranche)
    context, clients = open_context(stores, kind.stores, SystemClock(), 0, plan.seed, "coordinator")
    strategy: BidStrategy | None = None
    try:
        strategy = opened(lambda: kind(context), lambda it: it.open(tranche), burst)
        burst.opened = strategy is not None
        if isinstance(strategy, ConsumerStrategy):
            burst.consumer = _start_consumer(session, assignment)
            burst.needed[burst.consumer] = "the strategy's consumer process"
        sample = None if strategy is None else partial(_sample, strategy, tranche.tranche_id, burst)
        with sampling(sample, SAMPLE_S):
            yield assignment, burst
        if burst.consumer is not None and (code := session.guard.returncode(burst.consumer)) is not None:
            burst.fault("raised", "consume", f"the consumer process ended with code {code}")
        if strategy is not None:
            with suppress(Exception):  # a store that is gone is noticed by name elsewhere
                burst.final_claim = within(CALL_S, partial(strategy.status, tranche.tranche_id))
    finally:
        if burst.consumer is not None:
            session.guard.stop(burst.consumer, 0.2)
        for store, client in clients.items():
            close(stores[store].store, client)


def tranche_of(assignment: Assignment[BidPlan]) -> Tranche:
    """Return the tranche of a run."""
    return Tranche(assignment.run_id, assignment.plan.capacity_fen, assignment.plan.min_bid_fen)


def _start_consumer(session: Session, assignment: Assignment[BidPlan]) -> int:
    path = session.private / f"{assignment.run_id}-consumer.json"
    path.write_text(assignment.to_json())
    path.chmod(0o600)
    argv = [sys.executable, "-m", "oversold.platform.consumer", str(path)]
    return session.guard.spawn(argv, log=assignment.raw.parent / "consumer.log", env=package_environment())


def _sample(strategy: BidStrategy, tranche_id: str, burst: BidBurst) -> None:
    """Note what the strategy believes is left."""
    burst.note(strategy.status(tranche_id))


class Following:
    """Follows the workers' histories while a burst goes on."""

    def __init__(self, session: Session, assignment: Assignment[BidPlan], _burst: BidBurst) -> None:
        self._session, self._plan = session, assignment.plan
        self._paths = [history.path_of(assignment.raw, worker) for worker in range(assignment.plan.processes)]
        self.total = assignment.plan.users
        self._finished = 0
        self.own_s = 0.0  # what a tap may wait besides

    def beat(self) -> Beat:
        """Return how many bidders have left."""
        states = [history.progress(path) for path in self._paths]
        finished = self._finished = sum(state.bids_finished for state in states)
        hung = None
        if any(state.hung for state in states):
            hung = f"a strategy call took longer than {self._plan.bids.hang_s:g} s"
        return Beat(finished, (finished, sum(state.rows for state in states)), hung)

    def tell(self, finished: int, *, opened: bool) -> None:
        """Draw the bar."""
        plan = self._plan
        if opened:
            self._session.telling.count(f"{plan.strategy}: bidding", finished, plan.users)
        else:
            self._session.telling.phase(f"{plan.strategy}: {plan.users:,} bidders go to the gate")

    def overdue(self, since_opening_s: float, since_move_s: float) -> Ending | None:
        """Bound the whole burst, and notice when nothing moves any more."""
        plan, bids = self._plan, self._plan.bids
        if self._finished >= self.total:
            return None  # all have left: what is still being written down takes its time
        if since_opening_s > bids.limit_s:
            return Ending(f"the burst was not over after limit_s={bids.limit_s:g} s")
        # A lane that spins without yielding cannot be interrupted from inside its process. Bidders who think or
        # have not come yet are no hang.
        quiet_s = bids.arrival_s + plan.late_s + bids.patience_s
        quiet_s += self.own_s
        quiet_s += (5 * bids.think_ms + 1.5 * (bids.steps_ms + bids.fail_ms)) / 1e3
        if since_move_s > 2 * bids.hang_s + quiet_s:
            return Ending(f"nothing has moved for {since_move_s:.0f} s", hung=True)
        return None


def audited(
    session: Session, assignment: Assignment[BidPlan], burst: BidBurst, raw: Raw, seen: Circumstances, folder: Path
) -> tuple[dict[str, Any], list[Finding]]:
    """Read the ledger, judge, write the Parquet files; return the summary of the incident and the findings."""
    plan = assignment.plan
    books = read_ledger(session, assignment, raw)
    ledger, status_log, _ = books or (NO_ORDERS, NO_CHANGES, 0)
    evidence = evidence_of(assignment, burst, raw, ledger, status_log, complete=seen.complete)
    findings = audit(evidence) if books and burst.opened else []
    if seen.is_canary:
        seen = seen.with_canary(next((f.values["rate"] for f in findings if f.check == "oversubscription"), 0.0))
    findings += proof(seen)
    findings += [*circumstances_of(plan, evidence, raw), generator(raw)]
    if books and raw.gate_opened:
        findings.append(clocks(books[2]))
    if books is None:
        findings.append(Finding("ledger", "inconclusive", "The ledger is lost with its PostgreSQL server."))
    parquet.write(folder, evidence.history, evidence.ledger, evidence.status_log, evidence.claims)
    return summarise(evidence, findings, plan), findings


def circumstances_of(plan: BidPlan, evidence: Evidence, raw: Raw) -> list[Finding]:
    """Return whether there was anything to fight over, and whether anybody met another one."""
    return [_demand(plan, int(evidence.bid_amount_fen.sum())), _overlap(plan, raw)]


def _demand(plan: BidPlan, offered_fen: int) -> Finding:
    ratio = offered_fen / plan.capacity_fen
    if ratio <= 1:
        detail = f"Demand was {ratio:.2f} of the capacity: a tranche that nobody fights over cannot be oversold."
        return Finding("demand", "inconclusive", detail, {"demand": ratio})
    return Finding("demand", "pass", f"Demand was {ratio:.2f} times the capacity.", {"demand": ratio})


def _overlap(plan: BidPlan, raw: Raw) -> Finding:
    calls = "requests" if plan.http else "store calls"
    share = measures.overlap(raw.taps)
    if share < MIN_OVERLAP:
        detail = f"Only {percent(share)} of the {calls} met another process's: there was no race to lose."
        return Finding("overlap", "inconclusive", detail, {"overlap": share})
    return Finding("overlap", "pass", f"{share:.0%} of the {calls} met another one.", {"overlap": share})


def evidence_of(
    assignment: Assignment[BidPlan],
    burst: BidBurst,
    raw: Raw,
    ledger: Ledger,
    status_log: StatusLog | None,
    *,
    complete: bool,
) -> Evidence:
    """Gather what the checkers look at. Without a status log the mark is known by the design's own word only: what
    it said when it was asked."""
    sampled = np.array(burst.claims, np.int64).reshape(-1, 3)
    claims = Claims(sampled[:, 0] - raw.t0_ns, sampled[:, 1], sampled[:, 2] == 1)
    return Evidence(
        tranche=tranche_of(assignment),
        min_bid_fen=assignment.plan.min_bid_fen,
        bid_amount_fen=draw_bids(assignment.plan).amount_fen,
        history=raw.taps,
        ledger=ledger,
        status_log=status_log or StatusLog(claims.t, claims.full),
        claims=claims,
        final_claim=burst.final_claim,
        t_end=now_ns() - raw.t0_ns if raw.gate_opened else 0,
        complete=complete,
        notice_ns=_notice_ns(raw),
    )


def _notice_ns(raw: Raw) -> int:
    """Return how long this run's platform may have taken to hear of stock that came back: 50 ms, or what its own
    processes stood still for. A generator that stalls must not be charged to the design."""
    stalls = [manifest["loop_lag_ms"]["max"] * 1e6 for manifest in raw.manifests.values()]
    return max(NOTICE_NS, int(2 * max(stalls, default=0.0)))


def read_ledger(
    session: Session, assignment: Assignment[BidPlan], raw: Raw
) -> tuple[Ledger, StatusLog, int] | None:
    """Return orders, status changes, and by how many ns the ledger's clock and this machine's went apart."""
    try:
        with session.ledger() as connection:
            books = ledgers.read(connection, assignment.run_id, assignment.plan.users, raw.gate_wall_ns)
            return *books, ledgers.wall_offset_ns(connection) - (raw.gate_wall_ns - raw.t0_ns)
    except (psycopg.Error, OSError):
        return None
