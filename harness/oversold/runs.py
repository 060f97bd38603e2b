"""One run from plan to report: open, drive, quiesce, audit, write down."""

from __future__ import annotations

import json
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import psycopg

from oversold import places
from oversold.assignment import Assignment
from oversold.audit import Circumstances, Raw, clocks, proof, read_raw
from oversold.checkers import audit
from oversold.clock import now_ns
from oversold.errors import UsageError
from oversold.evidence import Claims, Evidence, Ledger, StatusLog
from oversold.load.launch import Ending, drive, heard
from oversold.model import Finding
from oversold.plan import Plan, draw_bids
from oversold.platform import ledger as ledgers
from oversold.report import parquet
from oversold.session import Burst, Session
from oversold.strategies import registry
from oversold.summary import summarise

NO_ORDERS = Ledger(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))
NOTICE_NS = 50_000_000
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
NO_CHANGES = StatusLog(np.zeros(0, np.int64), np.zeros(0, np.bool_))


def run(session: Session, plan: Plan, folder: Path, canary: float | None) -> dict[str, Any]:
    """Drive and audit one plan; write its files to `folder`; return the summary.

    `canary` is the oversubscription of strategy `none` under the same load (None: not run). Ctrl-C in mid-run
    ends it: the summary is then inconclusive and carries `"interrupted": true`.
    """
    started = time.monotonic()
    with session.prepared(plan, folder / "raw") as (assignment, burst):
        if burst.opened:
            try:
                burst.ending = drive(
                    assignment,
                    places.scenario(plan.scenario),
                    session.private,
                    folder / "locust.log",
                    session.guard,
                    _teller(session, plan),
                    needed=session.needed(burst),
                )
            except KeyboardInterrupt:
                burst.interrupted = True
                burst.ending = heard(assignment.raw, Ending("the run was interrupted"))
    with _undisturbed():
        return _audited(session, assignment, burst, folder, canary, started)


def attend(session: Session, plan: Plan, folder: Path, orders: TextIO, answers: TextIO) -> dict[str, Any]:
    """Prepare, hand the assignment to a Locust that somebody else started, and audit when it says so.

    `answers` gets one JSON line with the assignment; the end of `orders`, or any line on it, ends the run.
    """
    started = time.monotonic()
    with session.prepared(plan, folder / "raw") as (assignment, burst):
        if not burst.opened:
            raise UsageError(f"strategy {plan.strategy} could not be opened: {burst.faults[0]['text']}")
        print(json.dumps({"assignment": json.loads(assignment.to_json())}), file=answers, flush=True)
        if not orders.readline():
            burst.ending = Ending("Locust went away without finishing the run")
    heard(assignment.raw, burst.ending)
    return _audited(session, assignment, burst, folder, None, started)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Put off Ctrl-C and SIGTERM: a burst that is over is not thrown away in the second its audit takes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[int] = []
    before = {number: signal.signal(number, lambda got, _: heard.append(got)) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if heard:
            signal.raise_signal(heard[0])


def _audited(
    session: Session, assignment: Assignment, burst: Burst, folder: Path, canary: float | None, started: float
) -> dict[str, Any]:
    """Read ledger and histories, judge, and write summary.json and the Parquet files."""
    plan = assignment.plan
    session.telling.phase(f"auditing {plan.strategy}")
    raw = read_raw(assignment.raw)
    seen = _circumstances(session, plan, burst, raw, canary)
    books = _read_ledger(session, assignment, raw)
    evidence = _evidence(assignment, burst, raw, books, complete=seen.complete)
    findings = audit(evidence) if books and burst.opened else []
    if seen.is_canary:
        over = next((f.values["rate"] for f in findings if f.check == "oversubscription"), 0.0)
        seen = replace(seen, canary=over)
    findings += proof(seen, raw, int(evidence.bid_amount_fen.sum()))
    if books and raw.gate_opened:
        findings.append(clocks(books[2]))
    if books is None:
        findings.append(Finding("ledger", "inconclusive", "The ledger is lost with its PostgreSQL server."))
    summary = summarise(evidence, findings, seen, raw, session.endpoints, time.monotonic() - started)
    if burst.interrupted:
        summary["interrupted"] = True
    parquet.write(folder, evidence.history, evidence.ledger, evidence.status_log, evidence.claims)
    (folder / "summary.json").write_text(
        json.dumps(summary, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    shutil.rmtree(assignment.raw, ignore_errors=True)
    return summary


def _circumstances(session: Session, plan: Plan, burst: Burst, raw: Raw, canary: float | None) -> Circumstances:
    lost_workers = set(burst.ending.lost_workers)
    if raw.gate_opened and not burst.ending.reason:
        lost_workers |= set(range(plan.processes)) - set(raw.manifests)
    stopped = any(not manifest["complete"] for manifest in raw.manifests.values())
    reason = burst.ending.reason or ("the test was stopped before all bidders had left" if stopped else None)
    faults = burst.faults + [row for manifest in raw.manifests.values() for row in manifest["faults"]]
    return Circumstances(
        plan=plan,
        is_canary=plan.strategy == registry.CANARY,
        canary=canary,
        ended=reason or (None if burst.opened else "the strategy could not be opened"),
        hung=burst.ending.hung or not burst.opened,
        lost_workers=sorted(lost_workers),
        lost_stores=session.lost_stores(),
        faults=sorted(faults, key=lambda row: -row["count"]),
        damaged=raw.damaged,
    )


def _evidence(
    assignment: Assignment,
    burst: Burst,
    raw: Raw,
    books: tuple[Ledger, StatusLog, int] | None,
    *,
    complete: bool,
) -> Evidence:
    sampled = np.array(burst.claims, np.int64).reshape(-1, 3)
    ledger, status_log, _ = books or (NO_ORDERS, NO_CHANGES, 0)
    return Evidence(
        tranche=assignment.tranche,
        min_bid_fen=assignment.plan.min_bid_fen,
        bid_amount_fen=draw_bids(assignment.plan).amount_fen,
        history=raw.taps,
        ledger=ledger,
        status_log=status_log,
        claims=Claims(sampled[:, 0] - raw.t0_ns, sampled[:, 1], sampled[:, 2] == 1),
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


def _read_ledger(session: Session, assignment: Assignment, raw: Raw) -> tuple[Ledger, StatusLog, int] | None:
    """Return orders, status changes, and by how many ns the ledger's clock and this machine's went apart."""
    try:
        with session.ledger() as connection:
            books = ledgers.read(connection, assignment.tranche_id, assignment.plan.users, raw.gate_wall_ns)
            return *books, ledgers.wall_offset_ns(connection) - (raw.gate_wall_ns - raw.t0_ns)
    except (psycopg.Error, OSError):
        return None


def _teller(session: Session, plan: Plan) -> Callable[[str, int], None]:
    def told(phase: str, finished: int) -> None:
        if phase == "parking":
            session.telling.phase(f"{plan.strategy}: {plan.users:,} bidders go to the gate")
        else:
            session.telling.bids(f"{plan.strategy}: bidding", finished, plan.users)

    return told
