"""A burst of bids against a service over HTTP, from the opened tranche to its summary.

The service is somebody's own, described by a TOML file, or a built-in strategy behind `oversold serve`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from oversold import bid_runs
from oversold.assignment import Assignment
from oversold.audit import Circumstances, Raw, generator, proof
from oversold.bid_plan import BidPlan
from oversold.bid_runs import NO_ORDERS, SAMPLE_S, BidBurst
from oversold.bid_summary import summarise
from oversold.checkers import SEEN_FROM_OUTSIDE, claimed_only
from oversold.checkers.false_full import false_full
from oversold.checkers.judging import counted
from oversold.clock import SystemClock, now_ns
from oversold.errors import OversoldError
from oversold.evidence import Evidence, Ledger, Outcome, StatusLog
from oversold.model import Finding, yuan
from oversold.report import parquet
from oversold.services import mapping, orders, probes
from oversold.services.desk import Desk
from oversold.services.mapping import Service
from oversold.services.placeholders import fill
from oversold.serving.start import start
from oversold.session import CALL_S, Session, sampling
from oversold.strategies.calling import within

SERVED = "served"  # what a strategy of ours is called as a service
LOOK_AGAIN_S = 0.2


@dataclass
class ServiceBurst(BidBurst):
    """A burst against a service. `service` is None when it is a built-in strategy that we serve ourselves."""

    service: Service | None = None
    desk: Desk | None = None

    def ask_once_more(self) -> None:
        """Take down what the service says in the end; one that is gone is noticed by its bidders."""
        if self.opened and self.desk and self.desk.tells:
            with suppress(Exception):
                self.final_claim = within(CALL_S, self.desk.claim)

    def hurried(self) -> bool:
        """Tell whether somebody wants the run to end."""
        return self.interrupted or bool(self.signals)


@contextmanager
def prepared(session: Session, plan: BidPlan, raw: Path) -> Iterator[tuple[Assignment[BidPlan], BidBurst]]:
    """Open the tranche at the service; what it says of the tranche is sampled meanwhile.

    Raises:
        UsageError: the service's file cannot be used, or its ledger has orders of this tranche already.
        StoreUnavailableError: the service, or its ledger, does not answer.
    """
    run_id = session.new_run()
    raw.mkdir(parents=True, exist_ok=True)
    burst = ServiceBurst(needed=session.servers(plan))
    placed = {name: endpoint.to_json() for name, endpoint in session.placed(plan).items()}
    assignment = Assignment(plan, run_id, placed, raw.resolve())
    if plan.is_service:
        burst.service = mapping.load(Path(plan.strategy))
        yield from _opened(session, assignment, burst, burst.service)
        return
    folder = session.private / run_id
    folder.mkdir()
    served = start(plan, placed, session.guard, folder, processes=plan.processes, lanes=plan.lanes)
    burst.needed |= dict.fromkeys(served.pids, "`oversold serve`")
    try:
        yield from _opened(session, assignment, burst, mapping.served(served.url, SERVED))
        burst.ask_once_more()
    finally:
        for pid in served.pids:
            session.guard.stop(pid, 0.2)


def _opened(
    session: Session, assignment: Assignment[BidPlan], burst: ServiceBurst, service: Service
) -> Iterator[tuple[Assignment[BidPlan], BidBurst]]:
    plan = assignment.plan
    session.telling.phase(f"{plan.strategy}: opening the tranche")
    burst.desk = desk = Desk(service, plan, assignment.run_id)
    refused = desk.open(whole=plan.is_service)
    burst.opened = refused is None
    if refused:
        burst.fault("raised", "open", refused)
    # The workers need neither the ledger nor its password.
    driven = service.model_copy(update={"open": None, "status": None, "ledger": None})
    chosen = {"service": driven.model_dump(mode="json", by_alias=True), "tranche_id": desk.tranche_id}
    sample = (lambda: burst.note(desk.claim())) if burst.opened and service.status else None
    with sampling(sample, SAMPLE_S):
        yield replace(assignment, service=chosen), burst


def reach(plan: BidPlan) -> None:
    """See that a service can be driven and its ledger read, before anything is started for it.

    Raises:
        StoreUnavailableError: it takes no connection.
        UsageError: its file, or its ledger, cannot be used.
    """
    desk = Desk(mapping.load(Path(plan.strategy)), plan, "before")
    try:
        desk.reach()
    finally:
        desk.close()


class Following(bid_runs.Following):
    """Follows a burst whose taps may wait for the service as long as its file says."""

    def __init__(self, session: Session, assignment: Assignment[BidPlan], burst: BidBurst) -> None:
        super().__init__(session, assignment, burst)
        self.own_s = Service.model_validate(assignment.service["service"]).longest_s


class HurriedClock(SystemClock):
    """Real time, until somebody wants the run to end: then it is too late for whatever was waited for."""

    def __init__(self, burst: ServiceBurst) -> None:
        self._burst = burst

    def now_s(self) -> float:
        """Return monotonic seconds."""
        return super().now_s() + (1e9 if self._burst.hurried() else 0.0)


def audited(
    session: Session,
    assignment: Assignment[BidPlan],
    burst: ServiceBurst,
    raw: Raw,
    seen: Circumstances,
    folder: Path,
) -> tuple[dict[str, Any], list[Finding]]:
    """Read the service's ledger, judge, write the Parquet files; return the summary of the burst and findings."""
    plan, service = assignment.plan, burst.service
    truth = _truth(session, assignment, burst, raw)
    if burst.desk:
        burst.desk.close()
    evidence = bid_runs.evidence_of(assignment, burst, raw, truth.ledger, truth.status_log, complete=seen.complete)
    findings = truth.judged(evidence) if burst.opened else []
    if seen.is_canary:
        seen = seen.with_canary(next((f.values["rate"] for f in findings if f.check == "oversubscription"), 0.0))
    findings += proof(seen)
    findings += bid_runs.circumstances_of(plan, evidence, raw)
    findings += [generator(raw), *truth.doubts]
    parquet.write(folder, evidence.history, evidence.ledger, evidence.status_log, evidence.claims)
    own = summarise(evidence, findings, plan)
    if burst.opened and not (truth.lost or truth.only_claims):
        full = false_full(evidence).values
        own["rates"] |= {"false_full_s": float(full["seconds"]), "false_full_lost_s": float(full["lost_s"])}
    if service:
        own["http"] = {**service.public(), "served_by": "itself"}
    else:
        own["http"] = {"name": plan.strategy, "ledger": "sql", "served_by": "oversold serve"}
    own["http"] |= {
        "tranche_id": burst.desk.tranche_id if burst.desk else None,
        **orders.resolved(raw.taps, truth.ledger),
    }
    return own, findings


@dataclass(frozen=True)
class Truth:
    """What the ledger says, how it may be judged, and what must be doubted."""

    ledger: Ledger
    doubts: tuple[Finding, ...] = ()
    only_claims: bool = False
    told_left: bool = True
    lost: bool = False
    status_log: StatusLog | None = None

    def judged(self, evidence: Evidence) -> list[Finding]:
        """Return the findings of all that can be told from outside of a service."""
        if self.lost:
            return []
        if self.only_claims:
            return claimed_only(evidence, told_left=self.told_left)
        return [check(evidence) for check in SEEN_FROM_OUTSIDE]


def _truth(session: Session, assignment: Assignment[BidPlan], burst: ServiceBurst, raw: Raw) -> Truth:
    service = burst.service
    if service is None:
        return _our_books(session, assignment, raw)
    if service.ledger is None:
        ledger = orders.claimed(raw.taps)
        # Who neither opened the tranche nor can ask for its stock does not know how much there was to sell.
        told = bool(service.open or service.status)
        burst.ask_once_more()
        detail = (
            f"Claims only: {service.name} has no [ledger], so all that is known of {yuan(ledger.confirmed_fen)} "
            "is what bidders were told; an order that was written without a word, or twice, would not show."
        )
        return Truth(ledger, (Finding("truth", "inconclusive", detail),), only_claims=True, told_left=told)
    if not burst.opened:
        return Truth(NO_ORDERS, lost=True)
    return _own_books(session, assignment, burst, raw, service)


def _own_books(
    session: Session, assignment: Assignment[BidPlan], burst: ServiceBurst, raw: Raw, service: Service
) -> Truth:
    """Read a service's own ledger, once it has come to rest and holds what nobody was answered for."""
    assert service.ledger
    assert burst.desk
    session.telling.phase(f"{service.name}: waiting for its ledger to come to rest")
    clock, fixed = HurriedClock(burst), burst.desk.fixed
    give_up_s = clock.now_s() + service.ledger.wait_s
    t_end = now_ns() - raw.t0_ns if raw.gate_opened else 0

    def read() -> tuple[probes.Reading, Ledger, int]:
        reading = probes.settled(service, fixed, clock)
        ledger = orders.orders(
            reading.rows,
            run_id=assignment.run_id,
            users=assignment.plan.users,
            user_ids=lambda n: fill(service.user_id, {"run_id": assignment.run_id, "n": n}),
            taps=raw.taps,
            gate_wall_ns=raw.gate_wall_ns,
            t_end=t_end,
        )
        return reading, ledger, int(orders.resolved(raw.taps, ledger)["not_ordered"])

    try:
        reading, ledger, open_bids = read()
        # A request that was never answered may still be at work in the service.
        while open_bids and reading.settled and clock.now_s() < give_up_s:
            clock.sleep(LOOK_AGAIN_S)
            reading, ledger, open_bids = read()
    except OversoldError as error:
        return Truth(NO_ORDERS, (Finding("ledger", "inconclusive", f"The ledger is lost: {error}."),), lost=True)
    burst.ask_once_more()
    nothing = not len(reading.rows) and bool((raw.taps["outcome"] == Outcome.OK).any())
    return Truth(ledger, (_rest(service, reading, open_bids, nothing=nothing),))


def _rest(service: Service, reading: probes.Reading, open_bids: int, *, nothing: bool) -> Finding:
    """Say whether the ledger can be believed to hold all; `nothing`: it has no order, though some were told ok."""
    assert service.ledger
    count, wait_s = len(reading.rows), service.ledger.wait_s
    values = {"orders": count, "unanswered": open_bids}
    if not reading.settled:
        detail = (
            f"The ledger was still changing {wait_s:g} s after the burst, with {count:,} orders in it: raise "
            "wait_s of [ledger], or find out who writes."
        )
    elif open_bids:
        detail = (
            f"{counted(open_bids, 'bid')} got no answer and {'has' if open_bids == 1 else 'have'} no order after "
            f"{wait_s:g} s: nobody knows what becomes of them. Raise timeout_s, or wait_s of [ledger]."
        )
    else:
        detail = f"{counted(count, 'order')} were read from the service's ledger, which had come to rest."
        if nothing:
            detail = "Bidders were told ok and not one order was found: is [ledger] aimed at this tranche?"
        return Finding("truth", "pass", detail, values)
    return Finding("truth", "inconclusive", detail, values)


def _our_books(session: Session, assignment: Assignment[BidPlan], raw: Raw) -> Truth:
    """Read the ledger of a strategy that we serve ourselves."""
    books = bid_runs.read_ledger(session, assignment, raw)
    if books is None:
        lost = Finding("ledger", "inconclusive", "The ledger is lost with its PostgreSQL server.")
        return Truth(NO_ORDERS, (lost,), lost=True)
    return Truth(books[0], status_log=books[1])
