"""Stores that stay up for several runs, and the tranche of each run opened in them."""

from __future__ import annotations

import resource
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psycopg

from oversold.assignment import Assignment
from oversold.clock import SystemClock, now_ns
from oversold.errors import LimitError, StoreUnavailableError
from oversold.load.launch import Ending
from oversold.model import Claim
from oversold.plan import Plan
from oversold.platform import ledger as ledgers
from oversold.stores import postgres
from oversold.stores.endpoint import Endpoint
from oversold.stores.guard import Guard, package_environment
from oversold.stores.providers import LABELS, SERVERS, StoreChoice, stores
from oversold.strategies import registry
from oversold.strategies.calling import within
from oversold.strategies.interface import BidStrategy, ConsumerStrategy, Context, open_context
from oversold.targets.inprocess import LEDGER_CONNECTIONS

SAMPLE_S = 0.05
SPARE_CONNECTIONS = 16
CALL_S = 30.0


@dataclass
class Telling:
    """How a run tells people where it is. The defaults say nothing."""

    phase: Callable[[str], None] = lambda text: None
    bids: Callable[[str, int, int], None] = lambda text, finished, total: None


@dataclass
class Burst:
    """What is known of one burst while it goes on, besides what the workers write down.

    `claims` are samples (monotonic ns, remaining fen or -1, full).
    """

    opened: bool = False
    consumer: int | None = None
    interrupted: bool = False
    ending: Ending = field(default_factory=Ending)
    claims: list[tuple[int, int, bool]] = field(default_factory=list)
    final_claim: Claim | None = None
    faults: list[dict[str, Any]] = field(default_factory=list)

    def fault(self, kind: str, phase: str, text: str) -> None:
        """Note a fault on the coordinator's side."""
        lines = text.splitlines() or [""]
        self.faults.append({"kind": kind, "phase": phase, "text": lines[0][:200], "count": 1})


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
        self.telling = telling
        self._stack = ExitStack()
        self._word = f"t{secrets.token_hex(4)}"
        self._runs = 0

    def __enter__(self) -> Session:
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _open(self) -> None:
        self.telling.phase("starting " + ", ".join(LABELS[name] for name in sorted(self._names)))
        with ExitStack() as stack:
            self.guard = stack.enter_context(Guard())
            self.private = self.guard.folder("oversold-run-")
            self.endpoints: Mapping[str, Endpoint] = stack.enter_context(
                stores(self._names, self._choice, self.guard, self._connections, self._word)
            )
            self._stack = stack.pop_all()

    def lost_stores(self) -> list[str]:
        """Return the labels of the stores that have died since they were started."""
        return [
            LABELS[name]
            for name, endpoint in sorted(self.endpoints.items())
            if (endpoint.pid is not None and self.guard.returncode(endpoint.pid) is not None)
            or not _answers(endpoint)
        ]

    def needed(self, burst: Burst) -> dict[int, str]:
        """Return the processes that must live as long as the burst, with their names."""
        names = {
            endpoint.pid: LABELS[name] for name, endpoint in self.endpoints.items() if endpoint.pid is not None
        }
        if burst.consumer is not None:
            names[burst.consumer] = "the strategy's consumer process"
        return names

    @contextmanager
    def prepared(self, plan: Plan, raw: Path) -> Iterator[tuple[Assignment, Burst]]:
        """Open the tranche for one burst; the strategy's consumer and the claim sampler run meanwhile."""
        if self._runs and self.lost_stores():
            self._stack.close()  # a store died in the run before; this one gets new ones
            self._open()
        self._runs += 1
        assignment = Assignment(
            plan,
            f"{self._word}-{self._runs}",
            {name: endpoint.to_json() for name, endpoint in self.endpoints.items()},
            raw.resolve(),
        )
        raw.mkdir(parents=True, exist_ok=True)
        burst = Burst()
        kind = self._kinds[plan.strategy]
        with self.ledger() as connection:
            ledgers.create(connection, assignment.tranche)
        context, clients = open_context(self.endpoints, kind.stores, SystemClock(), 0, plan.seed, "coordinator")
        strategy: BidStrategy | None = None
        try:
            strategy = _opened(kind, context, assignment, burst)
            burst.opened = strategy is not None
            if isinstance(strategy, ConsumerStrategy):
                burst.consumer = self._start_consumer(assignment)
            with _sampling(strategy, assignment, burst):
                yield assignment, burst
            if burst.consumer is not None and (code := self.guard.returncode(burst.consumer)) is not None:
                burst.fault("raised", "consume", f"the consumer process ended with code {code}")
            if strategy is not None:
                with suppress(Exception):  # a store that is gone is noticed by name elsewhere
                    burst.final_claim = within(CALL_S, partial(strategy.status, assignment.tranche_id))
        finally:
            if burst.consumer is not None:
                self.guard.stop(burst.consumer, 0.2)
            for client in clients.values():
                with suppress(Exception):
                    client.close()

    def _start_consumer(self, assignment: Assignment) -> int:
        path = self.private / f"{assignment.tranche_id}-consumer.json"
        path.write_text(assignment.to_json())
        path.chmod(0o600)
        argv = [sys.executable, "-m", "oversold.platform.consumer", str(path)]
        return self.guard.spawn(argv, log=assignment.raw.parent / "consumer.log", env=package_environment())

    def ledger(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Open a connection to the ledger's server."""
        return postgres.connect_raw(self.endpoints["sql"], SystemClock(), 0, autocommit=True)


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
    try:
        SERVERS[endpoint.store].probe(endpoint.url)
    except StoreUnavailableError:
        return False
    return True


def _opened(kind: type[BidStrategy], context: Context, assignment: Assignment, burst: Burst) -> BidStrategy | None:
    """Make the coordinator's instance and let it put the stock in place; what it raises is a fault of the run."""

    def work() -> BidStrategy:
        strategy = kind(context)
        strategy.open(assignment.tranche)
        return strategy

    try:
        return within(CALL_S, work)
    except TimeoutError as error:
        burst.fault("hung", "open", str(error))
    except Exception as error:  # noqa: BLE001 - user code may raise anything
        burst.fault("raised", "open", f"{type(error).__name__}: {error}")
    return None


@contextmanager
def _sampling(strategy: BidStrategy | None, assignment: Assignment, burst: Burst) -> Iterator[None]:
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
