"""Start the processes of `oversold serve` on one port, and wait until all of them listen."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psycopg
from pydantic import ValidationError

from oversold.assignment import Assignment
from oversold.bid_plan import BidPlan
from oversold.clock import SystemClock
from oversold.errors import StoreUnavailableError, UsageError
from oversold.serving import books
from oversold.stores.endpoint import Endpoint
from oversold.stores.guard import Guard, package_environment
from oversold.stores.postgres import connect_raw
from oversold.strategies import registry

WORKER = "oversold.serving.worker"  # by name: the parent need not load a web framework
CONSUMER = "oversold.serving.consumer"
START_S = 60.0
LOOK_S = 0.02
Answers = Literal["sync", "async"]


@dataclass(frozen=True)
class Served:
    """A running server: its URL, its processes with what each is, and where each writes what goes wrong."""

    url: str
    names: Mapping[int, str]
    logs: Mapping[int, Path]

    @property
    def pids(self) -> tuple[int, ...]:
        """All of its processes."""
        return tuple(self.names)

    def ended(self, guard: Guard) -> str:
        """Return what is to be said of a process that has ended by itself; nothing while all run."""
        for pid, name in self.names.items():
            if (code := guard.returncode(pid)) is not None:
                return f"{name} has ended by itself (status {code}); {_last_words(self.logs[pid])}"
        return ""

    def stop(self, guard: Guard) -> None:
        """End all processes."""
        for pid in self.names:
            guard.stop(pid)


def start(
    plan: BidPlan,
    endpoints: Mapping[str, Mapping[str, Any]],
    guard: Guard,
    folder: Path,
    *,
    processes: int,
    lanes: int,
    port: int = 0,
    answers: Answers = "sync",
) -> Served:
    """Start a plan's strategy behind HTTP on 127.0.0.1, in so many processes with so many lanes each.

    Args:
        plan: settings of every tranche, but for its capacity and unit. Bids with the plan's ids fail where they
            would in-process.
        endpoints: the fields of `Endpoint` by the names that the strategy knows; `ledger` is the ledger's.
        guard: parent of the processes; stops them when it ends.
        folder: a private folder; gets files with the stores' passwords (0600) and the logs.
        port: 0 takes a free one.
        answers: async: bids are answered 202 and decided afterwards.

    Raises:
        UsageError: the port is taken; unknown strategy; numbers out of range.
        StoreUnavailableError: the ledger or a store does not answer, or a process did not start.
    """
    plan = _sized(plan, processes, lanes)
    consumes = hasattr(registry.load_bids(plan.strategy), "consume")
    assignment = Assignment(plan, "serving", endpoints, folder.resolve())
    with _reserved(port) as holder:
        number = int(holder.getsockname()[1])
        _make_books(Endpoint(**endpoints["ledger"]))
        fields = {"assignment": assignment.to_json(), "port": number, "answers": answers}
        parts = [
            (WORKER, f"server process {process}", {**fields, "process": process}) for process in range(processes)
        ]
        if consumes:
            parts.append((CONSUMER, "consumer process", fields))
        names: dict[int, str] = {}
        logs: dict[int, Path] = {}
        ready: list[Path] = []
        for module, name, own in parts:
            stem = folder.resolve() / name.replace(" ", "-")
            sign = stem.with_suffix(".ready")
            sign.unlink(missing_ok=True)
            pid = _spawn(guard, module, stem, {**own, "ready": str(sign)})
            names[pid], logs[pid] = name, stem.with_suffix(".log")
            ready.append(sign)
        served = Served(f"http://127.0.0.1:{number}", names, logs)
        _wait(served, guard, ready)
    return served


def _sized(plan: BidPlan, processes: int, lanes: int) -> BidPlan:
    try:
        return BidPlan.model_validate({**plan.model_dump(), "processes": processes, "lanes": lanes})
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"{first['loc'][0]}={first['input']!r}: {first['msg'].lower()}") from error


def _spawn(guard: Guard, module: str, stem: Path, fields: Mapping[str, Any]) -> int:
    path = stem.with_suffix(".json")
    path.touch(0o600)
    path.write_text(json.dumps(fields))
    argv = [sys.executable, "-m", module, str(path)]
    return guard.spawn(argv, log=stem.with_suffix(".log"), env=package_environment())


def _wait(served: Served, guard: Guard, ready: list[Path]) -> None:
    deadline = time.monotonic() + START_S
    while not all(sign.exists() for sign in ready):
        late = time.monotonic() > deadline
        reason = served.ended(guard) or (f"not all of its processes listen after {START_S:g} s" if late else "")
        if reason:
            served.stop(guard)
            raise StoreUnavailableError(f"the server did not start: {reason}")
        time.sleep(LOOK_S)


def _reserved(port: int) -> socket.socket:
    """Return a socket that keeps the port for the processes while they start; it takes no connections.

    Raises:
        UsageError: somebody has the port, or nobody may have it.
    """
    try:
        with socket.socket() as probe:
            # What a closed connection leaves behind on a port does not keep a server from it.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Without sharing: another server that shares its port must not get some of our bids.
            probe.bind(("127.0.0.1", port))
        holder = socket.socket()
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"the server cannot have port {port} ({error}): choose another, or stop what listens there"
        ) from error
    return holder


def _make_books(ledger: Endpoint) -> None:
    try:
        with connect_raw(ledger, SystemClock(), 0, autocommit=True) as connection:
            books.create(connection)
    except psycopg.Error as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise StoreUnavailableError(f"the ledger's PostgreSQL does not answer: {lines[-1]}") from error


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return f"its log ends with: {lines[-1].strip()[:300]}" if lines else "its log is empty"
