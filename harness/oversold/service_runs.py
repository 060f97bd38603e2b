"""A burst of bids against a service over HTTP, from the opened tranche to its summary.

The service is somebody's own, described by a TOML file, or a built-in strategy behind `oversold serve`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from oversold import bid_runs
from oversold.assignment import Assignment
from oversold.audit import Circumstances, Raw, generator, proof
from oversold.bid_plan import BidPlan, draw_bids
from oversold.bid_runs import NO_ORDERS, SAMPLE_S, BidBurst
from oversold.bid_summary import summarise
from oversold.checkers import SEEN_FROM_OUTSIDE, claimed_only
from oversold.checkers.false_full import false_full
from oversold.clock import SystemClock, now_ns
from oversold.errors import OversoldError, StoreUnavailableError, UsageError
from oversold.evidence import Claims, Evidence, Ledger, StatusLog
from oversold.model import Claim, Finding, yuan
from oversold.report import parquet
from oversold.services import hosts, mapping, orders, probes
from oversold.services.mapping import Service
from oversold.services.placeholders import Value, fill
from oversold.services.replies import at_path, claim_of
from oversold.services.requests import Request
from oversold.services.templates import Prepared
from oversold.services.wire import Connection, NoAnswerError, NotSentError, Reply, address_of, ask_once
from oversold.serving.start import start
from oversold.session import CALL_S, Session, sampling
from oversold.strategies.calling import within

Following = bid_runs.Following  # the workers' histories are the same


@dataclass
class ServiceBurst(BidBurst):
    """A burst against a service. `service` is None when it is a built-in strategy that we serve ourselves."""

    service: Service | None = None
    fixed: Mapping[str, Value] = field(default_factory=dict)


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
        burst.service = service = mapping.load(Path(plan.strategy))
        hosts.check(service, plan.allow_hosts)
        yield from _opened(session, assignment, burst, service)
        return
    folder = session.private / run_id
    folder.mkdir()
    served = start(plan, placed, session.guard, folder, processes=plan.processes, lanes=plan.lanes)
    burst.needed |= dict.fromkeys(served.pids, "`oversold serve`")
    try:
        yield from _opened(session, assignment, burst, mapping.served(served.url, plan.strategy))
    finally:
        for pid in served.pids:
            session.guard.stop(pid, 0.2)


def _opened(
    session: Session, assignment: Assignment[BidPlan], burst: ServiceBurst, service: Service
) -> Iterator[tuple[Assignment[BidPlan], BidBurst]]:
    plan = assignment.plan
    session.telling.phase(f"{service.name}: opening the tranche")
    desk = Desk(service, plan, assignment.run_id)
    desk.open(burst)
    burst.fixed = desk.fixed
    chosen = {"service": service.model_dump(mode="json", by_alias=True), "tranche_id": desk.tranche_id}
    with sampling(desk.sampler(burst) if burst.opened else None, SAMPLE_S):
        yield replace(assignment, service=chosen), burst
    if burst.opened and service.status:
        with suppress(Exception):  # a service that is gone is noticed by what its bidders were told
            burst.final_claim = within(CALL_S, desk.claim)


def reach(path: Path) -> None:
    """See that a service takes a connection.

    Raises:
        StoreUnavailableError: it does not.
    """
    service = mapping.load(path)
    connection = Connection(address_of(service))
    try:
        connection.open()
    except NotSentError as error:
        raise _silent(service, error) from error
    finally:
        connection.close()


def _silent(service: Service, error: Exception) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"the service {service.name} at {service.url} does not answer ({error}): start it, or mend url"
    )


class Desk:
    """The coordinator's own requests to a service: before the burst, beside it and after it."""

    def __init__(self, service: Service, plan: BidPlan, run_id: str) -> None:
        self._service = service
        self.tranche_id = fill(service.tranche_id, {"run_id": run_id})
        self.fixed: dict[str, Value] = {
            "run_id": run_id,
            "tranche_id": self.tranche_id,
            "capacity_fen": plan.capacity_fen,
            "unit_fen": plan.min_bid_fen,
        }

    def open(self, burst: ServiceBurst) -> None:
        """Make the tranche where the service lets us, and see that nothing was sold of it yet."""
        service = self._service
        if service.open:
            reply = self._ask(service.open)
            if not 200 <= reply.status < 300:
                burst.fault("raised", "open", f"the service answered {reply.status}: {_text(reply)}")
                return
            if service.open.tranche_id is not None:
                self._take_id(service.open.tranche_id, reply)
        elif service.status:
            self.claim()  # one that is not there at all is told now, and not by a thousand bidders
        if sold := self._sold():
            raise UsageError(
                f"the ledger of {service.name} has {len(sold):,} orders of tranche {self.tranche_id} before the "
                "burst: empty it, or let [open] make a new tranche for each run"
            )
        burst.opened = True

    def _sold(self) -> Sequence[probes.Row]:
        """Return the tranche's orders from before the burst."""
        ledger = self._service.ledger
        try:
            return probes.read(self._service, self.fixed) if ledger else ()
        except probes.NotNowError:
            if ledger and ledger.kind == "csv":  # the service makes the file with its first order
                return ()
            raise

    def _take_id(self, path: str, reply: Reply) -> None:
        try:
            found = at_path(json.loads(reply.body), path)
        except ValueError:
            found = None
        if not isinstance(found, str | int) or isinstance(found, bool) or found == "":
            raise UsageError(
                f"{self._service.name}: the reply to [open] has no id at tranche_id = {path!r}: {_text(reply)}"
            )
        self.tranche_id = str(found)
        self.fixed["tranche_id"] = self.tranche_id

    def sampler(self, burst: ServiceBurst) -> Callable[[], None] | None:
        """Return what notes how much the service says is left; None where it does not say."""
        return partial(self._sample, burst) if self._service.status else None

    def _sample(self, burst: ServiceBurst) -> None:
        claim = self.claim()
        remaining = -1 if claim.remaining_fen is None else claim.remaining_fen
        burst.claims.append((now_ns(), remaining, claim.status == "full"))

    def claim(self) -> Claim:
        """Ask what the service says of the tranche."""
        assert self._service.status
        return claim_of(self._service.status, self._ask(self._service.status).body)

    def _ask(self, request: Request) -> Reply:
        try:
            return ask_once(self._service, Prepared(self._service, request, self.fixed).render({}))
        except (NotSentError, NoAnswerError) as error:
            raise _silent(self._service, error) from error


def _text(reply: Reply) -> str:
    return reply.body[:120].decode("utf-8", "replace")


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
    sampled = np.array(burst.claims, np.int64).reshape(-1, 3)
    claims = Claims(sampled[:, 0] - raw.t0_ns, sampled[:, 1], sampled[:, 2] == 1)
    evidence = Evidence(
        tranche=bid_runs.tranche_of(assignment),
        min_bid_fen=plan.min_bid_fen,
        bid_amount_fen=draw_bids(plan).amount_fen,
        history=raw.taps,
        ledger=truth.ledger,
        # The mark is known by the service's own word only: what it said when it was asked.
        status_log=truth.status_log or StatusLog(claims.t, claims.full),
        claims=claims,
        final_claim=burst.final_claim,
        t_end=now_ns() - raw.t0_ns if raw.gate_opened else 0,
        complete=seen.complete,
        notice_ns=bid_runs.notice_ns(raw),
    )
    findings = truth.judged(evidence) if burst.opened else []
    if seen.is_canary:
        seen = seen.with_canary(next((f.values["rate"] for f in findings if f.check == "oversubscription"), 0.0))
    findings += proof(seen)
    findings += bid_runs.circumstances_of(plan, evidence, raw)
    findings += [generator(raw), *truth.doubts]
    parquet.write(folder, evidence.history, evidence.ledger, evidence.status_log, evidence.claims)
    own = summarise(evidence, findings, plan)
    full = false_full(evidence).values
    own["rates"] |= {"false_full_s": float(full["seconds"]), "false_full_lost_s": float(full["lost_s"])}
    if service:
        own["http"] = {**service.public(), "served_by": "itself"}
    else:
        own["http"] = {"name": plan.strategy, "ledger": "sql", "served_by": "oversold serve"}
    own["http"] |= {
        "tranche_id": burst.fixed.get("tranche_id"),
        **orders.resolved(raw.taps, truth.ledger),
    }
    return own, findings


@dataclass(frozen=True)
class Truth:
    """What the ledger says, how it may be judged, and what must be doubted."""

    ledger: Ledger
    doubts: tuple[Finding, ...] = ()
    only_claims: bool = False
    lost: bool = False
    status_log: StatusLog | None = None

    def judged(self, evidence: Evidence) -> list[Finding]:
        """Return the findings of all that can be told from outside of a service."""
        if self.lost:
            return []
        if self.only_claims:
            return claimed_only(evidence)
        return [check(evidence) for check in SEEN_FROM_OUTSIDE]


def _truth(session: Session, assignment: Assignment[BidPlan], burst: ServiceBurst, raw: Raw) -> Truth:
    service = burst.service
    if service is None:
        return _our_books(session, assignment, raw)
    if service.ledger is None:
        ledger = orders.claimed(raw.taps)
        detail = (
            f"Claims only: {service.name} has no [ledger], so all that is known of {yuan(ledger.confirmed_fen)} "
            "is what bidders were told; an order that was written without a word, or twice, would not show."
        )
        return Truth(ledger, (Finding("truth", "inconclusive", detail),), only_claims=True)
    if not burst.opened:
        return Truth(NO_ORDERS, lost=True)
    plan = assignment.plan
    session.telling.phase(f"{service.name}: reading its ledger")
    try:
        reading = probes.settled(service, burst.fixed, SystemClock())
    except OversoldError as error:
        return Truth(NO_ORDERS, (Finding("ledger", "inconclusive", f"The ledger is lost: {error}."),), lost=True)
    rows = reading.rows
    ledger = orders.orders(
        rows,
        run_id=assignment.run_id,
        users=plan.users,
        user_ids=lambda n: fill(service.user_id, {"run_id": assignment.run_id, "n": n}),
        taps=raw.taps,
        gate_wall_ns=raw.gate_wall_ns,
        t_end=now_ns() - raw.t0_ns if raw.gate_opened else 0,
    )
    values: Mapping[str, float] = {"orders": len(rows)}
    if reading.settled:
        detail = f"{len(rows):,} orders were read from the service's ledger, which had come to rest."
        return Truth(ledger, (Finding("truth", "pass", detail, values),))
    detail = (
        f"The ledger was still changing {service.ledger.wait_s:g} s after the burst, with {len(rows):,} orders in "
        "it: raise wait_s of [ledger], or find out who writes."
    )
    return Truth(ledger, (Finding("truth", "inconclusive", detail, values),))


def _our_books(session: Session, assignment: Assignment[BidPlan], raw: Raw) -> Truth:
    """Read the ledger of a strategy that we serve ourselves."""
    books = bid_runs.read_ledger(session, assignment, raw)
    if books is None:
        lost = Finding("ledger", "inconclusive", "The ledger is lost with its PostgreSQL server.")
        return Truth(NO_ORDERS, (lost,), lost=True)
    return Truth(books[0], status_log=books[1])
