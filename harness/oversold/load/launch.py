"""Start Locust as a child of the guard and follow it until the burst is over. Runs in an unpatched process."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from oversold import history
from oversold.assignment import Assignment
from oversold.plan import Plan
from oversold.stores.endpoint import free_port
from oversold.stores.guard import Guard, package_environment

POLL_S = 0.05
START_S = 90.0  # to import Locust, fork, connect the lanes; bidders come on top
BIDDERS_PER_S = 1000  # a slow machine parks at least this many
STOP_GRACE_S = 8.0
NOTHING: Mapping[int, str] = {}


@dataclass
class Ending:
    """How a burst ended. `reason` is None when all bidders left by themselves."""

    reason: str | None = None
    hung: bool = False
    lost_workers: list[int] = field(default_factory=list)


def drive(
    assignment: Assignment,
    locustfile: Path,
    private: Path,
    log: Path,
    guard: Guard,
    told: Callable[[str, int], None],
    needed: Mapping[int, str] = NOTHING,
) -> Ending:
    """Run one burst to its end.

    Args:
        assignment: the run; its `raw` folder fills up.
        locustfile: the scenario.
        private: folder for the assignment file, which holds passwords.
        log: gets Locust's output.
        guard: parent of the processes.
        told: called with the phase ("parking", "bidding") and the number of bids finished.
        needed: name by process id of what the burst makes no sense without; it ends when one of them does.

    KeyboardInterrupt passes through after Locust has been stopped; the histories stay.
    """
    plan = assignment.plan
    path = private / f"{assignment.tranche_id}.json"
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
        ending = _follow(assignment, guard, pid, told, needed)
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
    assignment: Assignment, guard: Guard, pid: int, told: Callable[[str, int], None], needed: Mapping[int, str]
) -> Ending:
    plan, raw = assignment.plan, assignment.raw
    gate = raw / "gate.json"
    paths = [history.path_of(raw, worker) for worker in range(plan.processes)]
    start_by = time.monotonic() + START_S + plan.users / BIDDERS_PER_S
    opened: float | None = None
    last_move, last_state = time.monotonic(), (0, 0)
    while True:
        over = (raw / "conductor.json").exists()
        code = guard.returncode(pid)
        now = time.monotonic()
        states = [history.progress(path) for path in paths]
        finished = sum(state.bids_finished for state in states)
        if opened is None and gate.exists():
            opened = last_move = now
        told("parking" if opened is None else "bidding", finished)
        if over:
            return Ending()
        if code is not None:
            return (
                Ending()
                if finished >= plan.users
                else Ending(f"the load generator ended early (exit code {code})")
            )
        moved = (finished, sum(state.rows for state in states))
        if moved != last_state:
            last_state, last_move = moved, now
        ending = _broken(plan, guard, needed, states)
        if ending is None and opened is None and now > start_by:
            ending = Ending("the bidders did not come to the gate in time")
        if ending is None and opened is not None and finished < plan.users:
            ending = _overdue(plan, now - opened, now - last_move)
        if ending is not None:
            return ending
        time.sleep(POLL_S)


def _broken(
    plan: Plan, guard: Guard, needed: Mapping[int, str], states: Sequence[history.Progress]
) -> Ending | None:
    for pid, name in needed.items():
        if guard.returncode(pid) is not None:
            return Ending(f"{name} has ended")
    if any(state.hung for state in states):
        return Ending(f"a strategy call took longer than {plan.bids.hang_s:g} s", hung=True)
    return None


def _overdue(plan: Plan, since_opening_s: float, since_move_s: float) -> Ending | None:
    if since_opening_s > plan.bids.limit_s:
        return Ending(f"the burst was not over after limit_s={plan.bids.limit_s:g} s")
    # A lane that spins without yielding cannot be interrupted from inside its process. Bidders who think or have
    # not come yet are no hang.
    bids = plan.bids
    quiet_s = bids.arrival_s + plan.late_s + bids.patience_s
    quiet_s += (5 * bids.think_ms + 1.5 * (bids.steps_ms + bids.fail_ms)) / 1e3
    if since_move_s > 2 * bids.hang_s + quiet_s:
        return Ending(f"nothing has moved for {since_move_s:.0f} s", hung=True)
    return None
