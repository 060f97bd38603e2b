"""Stores that stay up for several runs."""

from __future__ import annotations

import resource
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any, TypeVar

import psycopg

from oversold.clock import SystemClock
from oversold.errors import LimitError, StoreUnavailableError
from oversold.load.launch import Ending
from oversold.plan import Plan
from oversold.platform.faults import connection_lost, told
from oversold.stores import postgres
from oversold.stores.endpoint import Endpoint
from oversold.stores.guard import Guard
from oversold.stores.providers import LABELS, SERVERS, StoreChoice, stores
from oversold.strategies import registry
from oversold.strategies.calling import HungCallError, within
from oversold.telling import Telling

Answer = TypeVar("Answer")
LEDGER = "sql"  # the server that holds the ledger, whatever server the strategies use
SPARE_CONNECTIONS = 16
CALL_S = 30.0


def server_of(store: str, plan: Plan) -> str:
    """Return the server that serves a store of a strategy in one run."""
    return "mariadb" if store == "sql" and plan.sql == "mariadb" else store


def servers_of(plan: Plan) -> frozenset[str]:
    """Return the servers that a plan's strategy needs; those of payouts keep their obligations in SQL."""
    stores = set(registry.load(plan.strategy, plan.kind).stores)
    return frozenset(server_of(store, plan) for store in stores)


@dataclass
class Burst:
    """What is known of one run while it goes on, besides what the workers write down.

    `needed` are the processes that must live as long as it does, with their names.
    """

    opened: bool = False
    interrupted: bool = False
    ending: Ending = field(default_factory=Ending)
    faults: list[dict[str, Any]] = field(default_factory=list)
    needed: dict[int, str] = field(default_factory=dict)
    signals: list[int] = field(default_factory=list)  # heard during the audit, which is not to be thrown away

    def fault(self, kind: str, phase: str, text: str) -> None:
        """Note a fault on the coordinator's side."""
        lines = text.splitlines() or [""]
        self.faults.append({"kind": kind, "phase": phase, "text": lines[0][:200], "count": 1})


class Session:
    """Stores that stay up for several runs. Leaving it stops everything that was started, whatever happened.

    Args:
        plans: all that will run, the canary included; they differ in strategy, SQL server and users alone.
        choice: what the user said of the stores.

    Raises:
        StoreUnavailableError, LimitError, UsageError.
    """

    def __init__(self, plans: Sequence[Plan], choice: StoreChoice, telling: Telling) -> None:
        self._kinds = _kinds(plans)
        self._names = frozenset({LEDGER}).union(*(servers_of(plan) for plan in plans))
        self._choice = choice
        self._connections = max(_connections(plan) for plan in plans)
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
            self.endpoints: Mapping[str, Endpoint] = stack.enter_context(self._started(self._names))
            self._stack = stack.pop_all()

    def _started(self, names: frozenset[str]) -> AbstractContextManager[dict[str, Endpoint]]:
        return stores(names, self._choice, self.guard, self._connections, self._word, self.telling.phase)

    def admit(self, plans: Sequence[Plan]) -> None:
        """Have ready what these plans need as well: they were not known when the session began.

        Raises:
            StoreUnavailableError, LimitError, UsageError.
        """
        self._kinds |= _kinds(plans)
        needed = max(_connections(plan) for plan in plans)
        if needed > self._connections:  # no server can be told to admit more
            self._connections = needed
            self._stack.close()
            self._open()
        self.have(frozenset[str]().union(*(servers_of(plan) for plan in plans)))

    def have(self, names: frozenset[str]) -> None:
        """Start those of these servers that are not there yet."""
        missing = names - self.endpoints.keys()
        if missing:
            self.endpoints = {**self.endpoints, **self._stack.enter_context(self._started(missing))}
            self._names |= missing

    def lost_stores(self, plan: Plan | None = None) -> list[str]:
        """Return the labels of the servers that have died since they were started: those of a run, or all."""
        return [
            LABELS[name]
            for name, endpoint in sorted((self.used(plan) if plan else self.endpoints).items())
            if any(self.guard.returncode(pid) is not None for pid in endpoint.pids) or not _answers(endpoint)
        ]

    def kind(self, strategy: str) -> type[Any]:
        """Return a strategy's class."""
        return self._kinds[strategy]

    def servers(self, plan: Plan) -> dict[int, str]:
        """Return the processes of the servers that a run uses and that this session has started, with labels."""
        return {pid: LABELS[name] for name, endpoint in self.used(plan).items() for pid in endpoint.pids}

    def new_run(self) -> str:
        """Return the id of the next run; servers that died in the one before are replaced first."""
        if self._runs and not self._whole():
            self._stack.close()
            self._open()
        self._runs += 1
        return f"{self._word}-{self._runs}"

    def _whole(self) -> bool:
        """Return whether all servers run; they do not where the guard has died, or could not start them anew."""
        try:
            return not self.lost_stores()
        except OSError:
            return False

    def used(self, plan: Plan) -> dict[str, Endpoint]:
        """Return the servers that one run uses, by their own names."""
        return {name: self.endpoints[name] for name in sorted({LEDGER, *servers_of(plan)})}

    def placed(self, plan: Plan) -> dict[str, Endpoint]:
        """Return where one run finds its stores, by the names that its strategy knows; `ledger` is the truth's."""
        stores = {"sql", *self._kinds[plan.strategy].stores}
        found = {store: self.endpoints[server_of(store, plan)] for store in stores}
        return {**found, "ledger": self.endpoints[LEDGER]}

    def ledger(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Open a connection to the ledger's server."""
        return postgres.connect_raw(self.endpoints[LEDGER], SystemClock(), 0, autocommit=True)


def _kinds(plans: Sequence[Plan]) -> dict[str, type[Any]]:
    return {plan.strategy: registry.load(plan.strategy, plan.kind) for plan in plans}


def _connections(plan: Plan) -> int:
    """Return how many clients a server must admit, after checking that this machine allows them.

    Raises:
        LimitError: with the limit and the largest number of lanes that fits.
    """
    needed = plan.processes * plan.connections + SPARE_CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = hard if hard != resource.RLIM_INFINITY else max(soft, 1 << 20)
    if needed + 64 > limit:
        room = (limit - 64 - SPARE_CONNECTIONS) // plan.processes
        fewer = (plan.model_copy(update={"lanes": lanes}) for lanes in range(plan.lanes - 1, 0, -1))
        most = next((each.lanes for each in fewer if each.connections <= room), 1)
        raise LimitError(
            f"{plan.processes} processes with {plan.lanes} lanes need {needed} connections to a server, but a "
            f"process here may open {limit} files: use at most --lanes {most}, or raise `ulimit -n`"
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


def asked(work: Callable[[], Answer], phase: str, burst: Burst) -> Answer | None:
    """Return what the coordinator's own instance of a strategy answers; None when it raised or hung, which is a
    fault of the run, or when its store did not answer."""
    try:
        return within(CALL_S, work)
    except HungCallError as error:
        burst.fault("hung", phase, str(error))
    except LimitError:
        raise  # the plan asks for more than the strategy is made for: no fault of either
    except Exception as error:  # noqa: BLE001 - user code may raise anything
        burst.fault("store" if connection_lost(error) else "raised", phase, told(error))
    return None


def opened(make: Callable[[], Answer], prepare: Callable[[Answer], None], burst: Burst) -> Answer | None:
    """Make the coordinator's instance of a strategy and let it prepare its stores; None when it could not."""
    strategy = asked(make, "__init__", burst)
    if strategy is None:
        return None

    def work() -> bool:
        prepare(strategy)
        return True

    return strategy if asked(work, "open", burst) else None


@contextmanager
def sampling(sample: Callable[[], None] | None, every_s: float) -> Iterator[None]:
    """Call `sample` every so many seconds, in a thread of its own; None: there is nothing to sample.

    What a strategy cannot say now is no sample; its faults count elsewhere.
    """
    if sample is None:
        yield
        return
    over = Event()

    def work() -> None:
        while not over.wait(every_s):
            try:
                sample()
            except Exception:  # noqa: BLE001 - user code may raise anything
                over.wait(0.5)

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(CALL_S)
