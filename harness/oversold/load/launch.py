"""Start Locust as a child of the guard and follow it until the run is over. Runs in an unpatched process."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from oversold.assignment import Assignment
from oversold.plan import Plan
from oversold.stores.endpoint import free_port
from oversold.stores.guard import Guard, package_environment

POLL_S = 0.05
START_S = 90.0  # to import Locust, fork, connect the lanes; users come on top
USERS_PER_S = 1000  # a slow machine parks at least this many
STOP_GRACE_S = 8.0


@dataclass
class Ending:
    """How a run ended. `reason` is None when all users left by themselves."""

    reason: str | None = None
    hung: bool = False
    lost_workers: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Beat:
    """How far a run has come: what is finished, anything that changes while something moves, whether a strategy
    call hangs."""

    finished: int
    moved: Any
    hung: str | None = None


class Follower(Protocol):
    """What an incident knows of its own progress."""

    total: int  # of what `Beat.finished` counts

    def beat(self) -> Beat:
        """Return how far the run is."""

    def tell(self, finished: int, *, opened: bool) -> None:
        """Tell people; `opened` is false while the users still gather at the gate."""

    def overdue(self, since_opening_s: float, since_move_s: float) -> Ending | None:
        """Say that the run takes too long, and how that ends it; None while it may go on."""


def drive(
    assignment: Assignment[Plan],
    locustfile: Path,
    private: Path,
    log: Path,
    guard: Guard,
    follower: Follower,
    needed: Mapping[int, str],
) -> Ending:
    """Run one incident to its end.

    Args:
        assignment: the run; its `raw` folder fills up.
        locustfile: the scenario.
        private: folder for the assignment file, which holds passwords.
        log: gets Locust's output.
        guard: parent of the processes.
        follower: says how far it is.
        needed: name by process id of what the run makes no sense without; it ends when one of them does.

    KeyboardInterrupt passes through after Locust has been stopped; the histories stay.
    """
    plan = assignment.plan
    path = private / f"{assignment.run_id}.json"
    path.write_text(assignment.to_json())
    path.chmod(0o600)
    port = str(free_port())
    argv = [sys.executable, "-m", "locust", "-f", str(locustfile.resolve()), "--headless", "--only-summary"]
    argv += ["-u", str(plan.users), "-r", str(plan.users), "--stop-timeout", "0", "--loglevel", "WARNING"]
    if plan.processes > 1:
        argv += ["--processes", str(plan.processes), "--master-bind-host", "127.0.0.1"]
        argv += ["--master-bind-port", port, "--master-host", "127.0.0.1", "--master-port", port]
    env = {name: value for name, value in package_environment().items() if not name.startswith("LOCUST_")}
    env["OVERSOLD_ASSIGNMENT"] = str(path)
    env["OVERSOLD_HOME"] = str(Path.cwd())
    # Workers wait for one another at the gate; Locust need not wait for their reports as well.
    env["LOCUST_WAIT_FOR_WORKERS_REPORT_AFTER_RAMP_UP"] = "0"
    pid = guard.spawn(argv, log=log.resolve(), cwd=private, env=env)
    ending = Ending("interrupted")
    try:
        ending = _follow(assignment, guard, pid, follower, needed)
    finally:
        # After a clean end all is written down, and Locust has nothing left to do but to say goodbye.
        guard.stop(pid, STOP_GRACE_S if ending.reason else 0.0)
    return heard(assignment.raw, ending)


def heard(raw: Path, ending: Ending) -> Ending:
    """Add to an ending what the conductor wrote down."""
    conductor = raw / "conductor.json"
    if conductor.exists():
        state = json.loads(conductor.read_text())
        ending.lost_workers = state["lost"]
        ending.reason = ending.reason or state["reason"]
    return ending


def _follow(
    assignment: Assignment[Plan], guard: Guard, pid: int, follower: Follower, needed: Mapping[int, str]
) -> Ending:
    raw = assignment.raw
    gate = raw / "gate.json"
    start_by = time.monotonic() + START_S + assignment.plan.users / USERS_PER_S
    opened: float | None = None
    last_move, last_state = time.monotonic(), None
    while True:
        over = (raw / "conductor.json").exists()
        code = guard.returncode(pid)
        now = time.monotonic()
        beat = follower.beat()
        if opened is None and gate.exists():
            opened = last_move = now
        follower.tell(beat.finished, opened=opened is not None)
        if over:
            return Ending()
        if code is not None:
            early = Ending(f"the load generator ended early (exit code {code})")
            return Ending() if beat.finished >= follower.total else early
        if beat.moved != last_state:
            last_state, last_move = beat.moved, now
        ending = _broken(guard, needed, beat)
        if ending is None and opened is None and now > start_by:
            ending = Ending("the users did not come to the gate in time")
        if ending is None and opened is not None:
            ending = follower.overdue(now - opened, now - last_move)
        if ending is not None:
            return ending
        time.sleep(POLL_S)


def _broken(guard: Guard, needed: Mapping[int, str], beat: Beat) -> Ending | None:
    for pid, name in needed.items():
        if guard.returncode(pid) is not None:
            return Ending(f"{name} has ended")
    return Ending(beat.hung, hung=True) if beat.hung else None
