"""One run from plan to report: open, drive, quiesce, audit, write down."""

from __future__ import annotations

import json
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO, cast

from oversold import bid_runs, payout_runs, places, service_runs
from oversold.assignment import Assignment
from oversold.audit import Circumstances, Raw, read_raw
from oversold.bid_plan import BidPlan
from oversold.errors import UsageError
from oversold.evidence import Outcome
from oversold.load.launch import Ending, Follower, drive, heard
from oversold.model import Finding
from oversold.plan import Kind, Plan
from oversold.services import hosts, mapping
from oversold.session import Burst, Session
from oversold.summary import framed

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Incident(Protocol):
    """One kind of incident. `bid_runs` and `payout_runs` have these as functions."""

    def prepared(
        self, session: Session, plan: Any, raw: Path
    ) -> AbstractContextManager[tuple[Assignment[Plan], Burst]]:
        """Put everything in place for one run; what runs beside it ends with it."""

    def Following(self, session: Session, assignment: Any, burst: Any) -> Follower:  # noqa: N802 - a class
        """Follow its progress."""

    def audited(
        self, session: Session, assignment: Any, burst: Any, raw: Raw, seen: Circumstances, folder: Path
    ) -> tuple[dict[str, Any], list[Finding]]:
        """Gather the evidence, write its files, judge; return the incident's part of the summary, and findings."""


INCIDENTS: Mapping[Kind, Incident] = {"bids": cast(Incident, bid_runs), "payouts": cast(Incident, payout_runs)}


def incident_of(plan: Plan) -> Incident:
    """Return what can run a plan."""
    if isinstance(plan, BidPlan) and plan.http:
        return cast(Incident, service_runs)
    return INCIDENTS[plan.kind]


def reach(plans: Iterable[Plan]) -> None:
    """See that every service that is to be driven takes a connection, before anything is started for it.

    Raises:
        StoreUnavailableError: one does not.
    """
    for plan in {plan.strategy: plan for plan in plans if plan.is_service}.values():
        _allowed(plan)
        if isinstance(plan, BidPlan):
            service_runs.reach(plan)


def _allowed(plan: Plan) -> None:
    """Refuse a service that is on a machine which may get no load; its file may have changed since the plan."""
    if plan.is_service:
        hosts.check(mapping.load(Path(plan.strategy)), plan.allow_hosts)


def run(session: Session, plan: Plan, folder: Path, canary: float | None) -> dict[str, Any]:
    """Drive and audit one plan; write its files to `folder`; return the summary.

    `canary` is how badly the plan's canary broke its promise under the same load (None: not run). Ctrl-C in
    mid-run ends it: the summary is then inconclusive and carries `"interrupted": true`.
    """
    _allowed(plan)
    incident = incident_of(plan)
    started = time.monotonic()
    with ExitStack() as late:
        with incident.prepared(session, plan, folder / "raw") as (assignment, burst):
            if burst.opened:
                _drive(session, incident, assignment, burst, folder)
            # From here on nothing is to come but what writes the run down.
            late.enter_context(_undisturbed(burst.signals))
        return _audited(session, assignment, burst, folder, canary, started)


def _drive(session: Session, incident: Incident, assignment: Assignment[Plan], burst: Burst, folder: Path) -> None:
    """Let Locust run the scenario; Ctrl-C ends it."""
    try:
        burst.ending = drive(
            assignment,
            places.scenario(assignment.plan.scenario),
            session.private,
            folder / "locust.log",
            session.guard,
            incident.Following(session, assignment, burst),
            burst.needed,
        )
    except KeyboardInterrupt:
        burst.interrupted = True
        burst.ending = heard(assignment.raw, Ending("the run was interrupted"))


def attend(session: Session, plan: Plan, folder: Path, orders: TextIO, answers: TextIO) -> dict[str, Any]:
    """Prepare, hand the assignment to a Locust that somebody else started, and audit when it says so.

    `answers` gets one JSON line with the assignment; the end of `orders`, or any line on it, ends the run.
    """
    started = time.monotonic()
    _allowed(plan)
    with incident_of(plan).prepared(session, plan, folder / "raw") as (assignment, burst):
        if not burst.opened:
            raise UsageError(f"strategy {plan.strategy} could not be opened: {burst.faults[0]['text']}")
        print(json.dumps({"assignment": json.loads(assignment.to_json())}), file=answers, flush=True)
        if not orders.readline():
            burst.ending = Ending("Locust went away without finishing the run")
    heard(assignment.raw, burst.ending)
    return _audited(session, assignment, burst, folder, None, started)


@contextmanager
def _undisturbed(heard: list[int]) -> Iterator[None]:
    """Put off Ctrl-C and SIGTERM: a burst that is over is not thrown away in the second its audit takes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda got, _: heard.append(got)) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if heard:
            signal.raise_signal(heard[0])


def _audited(
    session: Session,
    assignment: Assignment[Plan],
    burst: Burst,
    folder: Path,
    canary: float | None,
    started: float,
) -> dict[str, Any]:
    """Read what the run left, judge, and write summary.json and the Parquet files."""
    plan = assignment.plan
    session.telling.phase(f"auditing {plan.strategy}")
    raw = read_raw(assignment.raw)
    seen = _circumstances(session, plan, burst, raw, canary)
    own, findings = incident_of(plan).audited(session, assignment, burst, raw, seen, folder)
    summary = framed(own, findings, seen, raw, session.used(plan), time.monotonic() - started)
    if burst.interrupted:
        summary["interrupted"] = True
    if getattr(session.kind(plan.strategy), "broken", False):
        summary["broken"] = True  # on purpose: its pass proves nothing of its hole
    places.write_json(folder / "summary.json", summary)
    shutil.rmtree(assignment.raw, ignore_errors=True)
    return summary


def _together(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the faults of all workers, equal ones counted together, the most frequent first."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for row in rows:
        counts[row["kind"], row["phase"], row["text"]] += row["count"]
    return [
        {"kind": kind, "phase": phase, "text": text, "count": count}
        for (kind, phase, text), count in counts.most_common()
    ]


def _circumstances(session: Session, plan: Plan, burst: Burst, raw: Raw, canary: float | None) -> Circumstances:
    lost_workers = set(burst.ending.lost_workers) - set(raw.manifests)  # those have written down all they did
    if raw.gate_opened and not burst.ending.reason:
        lost_workers |= set(range(plan.processes)) - set(raw.manifests)
    stopped = any(not manifest["complete"] for manifest in raw.manifests.values())
    reason = burst.ending.reason or ("the test was stopped before all users had left" if stopped else None)
    faults = burst.faults + [row for manifest in raw.manifests.values() for row in manifest["faults"]]
    return Circumstances(
        plan=plan,
        is_canary=plan == plan.canary,
        canary=canary,
        ended=reason
        or (None if burst.opened else f"the {'service' if plan.is_service else 'strategy'} could not be opened"),
        hung=burst.ending.hung or not burst.opened,
        lost_workers=sorted(lost_workers),
        lost_stores=session.lost_stores(plan),
        faults=_together(faults),
        damaged=raw.damaged,
        answers=int((raw.taps["outcome"] != Outcome.UNKNOWN).sum()),
    )
