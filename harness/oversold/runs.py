"""One run from plan to report: stores, open, drive, quiesce, audit, write down."""

from __future__ import annotations

import json
import os
import resource
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any, TextIO, TypeVar

import numpy as np
import psycopg

from oversold import places
from oversold.assignment import Assignment
from oversold.audit import Circumstances, Raw, proof, read_raw
from oversold.checkers import audit
from oversold.clock import SystemClock, now_ns
from oversold.errors import LimitError, StoreUnavailableError, UsageError
from oversold.evidence import Claims, Evidence, Ledger, StatusLog
from oversold.load.launch import Ending, drive, heard
from oversold.model import Claim, Finding
from oversold.plan import Plan, draw_bids
from oversold.platform import ledger as ledgers
from oversold.report import parquet
from oversold.stores import postgres
from oversold.stores.endpoint import Endpoint
from oversold.stores.guard import Guard
from oversold.stores.providers import LABELS, StoreChoice, stores
from oversold.strategies import registry
from oversold.strategies.interface import BidStrategy, ConsumerStrategy, open_context
from oversold.summary import summarise
from oversold.targets.inprocess import LEDGER_CONNECTIONS

SAMPLE_S = 0.05
SPARE_CONNECTIONS = 16
CALL_S = 30.0
Result = TypeVar("Result")


@dataclass
class Telling:
    """How a run tells people where it is. The defaults say nothing."""

    phase: Callable[[str], None] = lambda text: None
    bids: Callable[[int, int], None] = lambda finished, total: None


@dataclass
class _Burst:
    """What is known of one burst while it goes on."""

    faults: list[dict[str, Any]] = field(default_factory=list)
    claims: list[tuple[int, int, bool]] = field(default_factory=list)
    final_claim: Claim | None = None
    ending: Ending = field(default_factory=Ending)
    opened: bool = False
    consumer: int | None = None


class Session:
    """Stores that stay up for several runs. Leaving it stops everything that was started, whatever happened.

    Args:
        strategies: names of all strategies that will run, the canary included.
        choice: what the user said of the stores.
        plan: any of the plans; the largest number of lanes and processes decides the connection limits.

    Raises:
        StoreUnavailableError, LimitError, UsageError.
    """

    def __init__(self, strategies: list[str], choice: StoreChoice, plan: Plan, telling: Telling) -> None:
        self._kinds = {name: registry.load(name) for name in strategies}
        self._names = frozenset({"sql"}).union(*(kind.stores for kind in self._kinds.values()))
        self._choice = choice
        self._connections = _connections(plan)
        self._telling = telling
        self._stack = ExitStack()
        self._word = f"t{secrets.token_hex(4)}"
        self._runs = 0

    def __enter__(self) -> Session:
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _open(self) -> None:
        self._telling.phase("starting " + ", ".join(LABELS[name] for name in sorted(self._names)))
        with ExitStack() as stack:
            self.guard = stack.enter_context(Guard())
            self._private = self.guard.folder("oversold-run-")
            self.endpoints: Mapping[str, Endpoint] = stack.enter_context(
                stores(self._names, self._choice, self.guard, self._connections, self._word)
            )
            self._stack = stack.pop_all()

    def _lost_stores(self) -> list[str]:
        """Return the labels of the stores that have died since they were started."""
        return [
            LABELS[name]
            for name, endpoint in sorted(self.endpoints.items())
            if (endpoint.pid is not None and self.guard.returncode(endpoint.pid) is not None)
            or not _answers(endpoint)
        ]

    @contextmanager
    def prepared(self, plan: Plan, raw: Path) -> Iterator[tuple[Assignment, _Burst]]:
        """Open the tranche for one burst; the strategy's consumer and the claim sampler run meanwhile."""
        if self._runs and self._lost_stores():
            self._stack.close()  # a store died in the run before; this one gets new ones
            self._open()
        self._runs += 1
        assignment = Assignment(
            plan,
            f"{self._word}-{self._runs}",
            {name: endpoint.to_json() for name, endpoint in self.endpoints.items()},
            raw,
        )
        raw.mkdir(parents=True, exist_ok=True)
        burst = _Burst()
        kind = self._kinds[plan.strategy]
        with self._ledger() as connection:
            ledgers.create(connection, assignment.tranche)
        context, clients = open_context(self.endpoints, kind.stores, SystemClock(), 0, plan.seed, "coordinator")
        strategy: BidStrategy | None = None
        consumer: int | None = None
        try:
            strategy = _called(burst, "open", lambda: kind(context))
            if strategy is not None:
                opened = strategy
                burst.opened = _called(burst, "open", lambda: (opened.open(assignment.tranche), True)[1]) is True
            if burst.opened and isinstance(strategy, ConsumerStrategy):
                consumer = burst.consumer = self._start_consumer(assignment)
            with _sampling(strategy if burst.opened else None, assignment, burst):
                yield assignment, burst
            if consumer is not None and (code := self.guard.returncode(consumer)) is not None:
                text = f"the consumer process ended with code {code}"
                burst.faults.append({"kind": "raised", "phase": "consume", "text": text, "count": 1})
            if burst.opened and strategy is not None:
                opened = strategy
                with suppress(Exception):  # a store that is gone is noticed by name elsewhere
                    burst.final_claim = _within(CALL_S, lambda: opened.status(assignment.tranche_id))
        finally:
            if consumer is not None:
                self.guard.stop(consumer, 0.2)
            for client in clients.values():
                with suppress(Exception):
                    client.close()

    def _start_consumer(self, assignment: Assignment) -> int:
        path = self._private / f"{assignment.tranche_id}-consumer.json"
        path.write_text(assignment.to_json())
        path.chmod(0o600)
        package = str(Path(__file__).parents[1])
        env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")])),
        }
        argv = [sys.executable, "-m", "oversold.platform.consumer", str(path)]
        return self.guard.spawn(argv, log=assignment.raw.parent / "consumer.log", env=env)

    def _ledger(self) -> psycopg.Connection[tuple[Any, ...]]:
        return postgres.connect_raw(self.endpoints["sql"], SystemClock(), 0, autocommit=True)

    def run(self, plan: Plan, folder: Path, canary: float | None, *, is_canary: bool = False) -> dict[str, Any]:
        """Drive and audit one plan; write its files to `folder`; return the summary.

        `canary` is the oversubscription of strategy `none` under the same load (None: not run). Ctrl-C in
        mid-run ends it: the summary is then inconclusive and carries `"interrupted": true`.
        """
        started = time.monotonic()
        interrupted = False
        raw_folder = folder / "raw"
        with self.prepared(plan, raw_folder) as (assignment, burst):
            if burst.opened:
                try:
                    burst.ending = drive(
                        assignment,
                        places.scenario(plan.scenario),
                        self._private,
                        folder / "locust.log",
                        self.guard,
                        self._tell(plan),
                        needed=[burst.consumer] if burst.consumer is not None else [],
                    )
                except KeyboardInterrupt:
                    interrupted = True
                    burst.ending = Ending("the run was interrupted")
        summary = self.audited(plan, assignment, burst, folder, canary, is_canary=is_canary, started=started)
        if interrupted:
            summary["interrupted"] = True
        return summary

    def attended(self, plan: Plan, folder: Path, orders: TextIO, answers: TextIO) -> dict[str, Any]:
        """Prepare, hand the assignment to a Locust that somebody else started, and audit when it says so.

        `answers` gets one JSON line with the assignment; the end of `orders`, or any line on it, ends the run.
        """
        started = time.monotonic()
        with self.prepared(plan, folder / "raw") as (assignment, burst):
            if not burst.opened:
                raise UsageError(f"strategy {plan.strategy} could not be opened: {burst.faults[0]['text']}")
            print(json.dumps({"assignment": json.loads(assignment.to_json())}), file=answers, flush=True)
            if not orders.readline():
                burst.ending = Ending("Locust went away without finishing the run")
        heard(assignment.raw, burst.ending)
        return self.audited(
            plan, assignment, burst, folder, None, is_canary=plan.strategy == registry.CANARY, started=started
        )

    def audited(
        self,
        plan: Plan,
        assignment: Assignment,
        burst: _Burst,
        folder: Path,
        canary: float | None,
        *,
        is_canary: bool,
        started: float,
    ) -> dict[str, Any]:
        """Read ledger and histories, judge, and write summary.json and the Parquet files."""
        self._telling.phase(f"auditing {plan.strategy}")
        raw = read_raw(assignment.raw)
        lost = self._lost_stores()
        t_end = now_ns() - raw.t0_ns if raw.gate_opened else 0
        orders = self._read_ledger(assignment, plan, raw)
        missing = [w for w in range(plan.processes) if w not in raw.manifests] if raw.gate_opened else []
        faults = burst.faults + [row for manifest in raw.manifests.values() for row in manifest["faults"]]
        circumstances = Circumstances(
            plan=plan,
            is_canary=is_canary,
            canary=canary,
            ended=burst.ending.reason or (None if burst.opened else "the strategy could not be opened"),
            hung=burst.ending.hung or not burst.opened,
            lost_workers=sorted(set(burst.ending.lost_workers) | (set() if burst.ending.reason else set(missing))),
            lost_stores=lost,
            faults=sorted(faults, key=lambda row: -row["count"]),
            damaged=raw.damaged,
        )
        sampled = np.array(burst.claims, np.int64).reshape(-1, 3)
        claims = Claims(sampled[:, 0] - raw.t0_ns, sampled[:, 1], sampled[:, 2] == 1)
        evidence = Evidence(
            tranche=assignment.tranche,
            min_bid_fen=plan.min_bid_fen,
            bid_amount_fen=draw_bids(plan).amount_fen,
            history=raw.taps,
            ledger=orders[0] if orders else _NO_ORDERS,
            status_log=orders[1] if orders else _NO_CHANGES,
            claims=claims,
            final_claim=burst.final_claim,
            t_end=t_end,
            complete=circumstances.complete and burst.opened,
        )
        findings = audit(evidence) if orders and burst.opened else []
        if is_canary or plan.strategy == registry.CANARY:
            over = next((f.values["rate"] for f in findings if f.check == "oversubscription"), 0.0)
            circumstances = _with_canary(circumstances, over)
        findings += proof(circumstances, raw, int(evidence.bid_amount_fen.sum()))
        if orders is None:
            findings.append(Finding("ledger", "inconclusive", "The ledger is lost with its PostgreSQL server."))
        summary = summarise(evidence, findings, circumstances, raw, self.endpoints, time.monotonic() - started)
        summary["t_end_s"] = t_end / 1e9
        parquet.write(folder, evidence.history, evidence.ledger, evidence.status_log, evidence.claims)
        (folder / "summary.json").write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
        shutil.rmtree(assignment.raw, ignore_errors=True)
        return summary

    def _read_ledger(self, assignment: Assignment, plan: Plan, raw: Raw) -> tuple[Ledger, StatusLog] | None:
        try:
            with self._ledger() as connection:
                return ledgers.read(connection, assignment.tranche_id, plan.users, raw.gate_wall_ns)
        except (psycopg.Error, OSError):
            return None

    def _tell(self, plan: Plan) -> Callable[[str, int], None]:
        def told(phase: str, finished: int) -> None:
            if phase == "parking":
                self._telling.phase(f"{plan.strategy}: {plan.users:,} bidders go to the gate")
            else:
                self._telling.bids(finished, plan.users)

        return told


_NO_ORDERS = Ledger(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))
_NO_CHANGES = StatusLog(np.zeros(0, np.int64), np.zeros(0, np.bool_))


def _with_canary(circumstances: Circumstances, over: float) -> Circumstances:
    fields = {name: getattr(circumstances, name) for name in circumstances.__dataclass_fields__}
    return Circumstances(**{**fields, "is_canary": True, "canary": over})


def _connections(plan: Plan) -> int:
    """Return how many clients a server must admit, after checking that this machine allows them.

    Raises:
        LimitError: with the limit and the largest number of lanes that fits.
    """
    per_process = plan.lanes + LEDGER_CONNECTIONS + 1
    needed = plan.processes * per_process + SPARE_CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = hard if hard != resource.RLIM_INFINITY else max(soft, 1 << 20)
    if needed + 64 > limit:
        most = (limit - 64 - SPARE_CONNECTIONS) // plan.processes - LEDGER_CONNECTIONS - 1
        raise LimitError(
            f"{plan.processes} processes with {plan.lanes} lanes need {needed} connections to a server, but a "
            f"process here may open {limit} files: use at most --lanes {max(1, most)}, or raise `ulimit -n`"
        )
    if soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit, max(soft, needed + 1024)), hard))
    return needed


def _answers(endpoint: Endpoint) -> bool:
    from oversold.stores.providers import SERVERS

    try:
        SERVERS[endpoint.store].probe(endpoint.url)
    except StoreUnavailableError:
        return False
    return True


def _within(seconds: float, call: Callable[[], Result]) -> Result:
    """Return what `call` returns; TimeoutError when a strategy's own code takes longer."""
    box: list[Any] = []

    def work() -> None:
        try:
            box.append((True, call()))
        except Exception as error:  # noqa: BLE001 - handed on to the caller
            box.append((False, error))

    thread = Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if not box:
        raise TimeoutError(f"no answer within {seconds:g} s")
    fine, value = box[0]
    if not fine:
        raise value
    result: Result = value
    return result


def _called(burst: _Burst, phase: str, call: Callable[[], Result]) -> Result | None:
    """Call the strategy on the coordinator's side; what it raises is a fault of this run."""
    try:
        return _within(CALL_S, call)
    except TimeoutError as error:
        burst.faults.append({"kind": "hung", "phase": phase, "text": str(error), "count": 1})
    except Exception as error:  # noqa: BLE001 - user code may raise anything
        text = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        burst.faults.append({"kind": "raised", "phase": phase, "text": text, "count": 1})
    return None


@contextmanager
def _sampling(strategy: BidStrategy | None, assignment: Assignment, burst: _Burst) -> Iterator[None]:
    """Ask the strategy every 50 ms what it believes is left, while the burst runs."""
    if strategy is None:
        yield
        return
    over = Event()

    def sample() -> None:
        while not over.wait(SAMPLE_S):
            try:
                claim = strategy.status(assignment.tranche_id)
                remaining = -1 if claim.remaining_fen is None else int(claim.remaining_fen)
                burst.claims.append((now_ns(), remaining, claim.status == "full"))
            except Exception:  # noqa: BLE001 - a claim that cannot be had is no claim; faults count in the lanes
                over.wait(0.5)

    thread = Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(CALL_S)
