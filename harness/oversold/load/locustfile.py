"""What turns an ordinary locustfile into an audited burst: options, roles, and the end of the run.

A scenario calls `attach(name)` at import. Two ways lead here. `oversold run` starts Locust with an
assignment in the environment, keeps the stores and does the audit itself. Plain `locust -f` has none: then
an attendant process (`oversold attend`) starts the stores, hands back the assignment, and audits at the end.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gevent
from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import STATE_MISSING, LocalRunner, MasterRunner, WorkerRunner
from locust.stats import CSV_STATS_INTERVAL_SEC

from oversold.assignment import Assignment
from oversold.bid_plan import BidPlan
from oversold.errors import Exit
from oversold.load import statistics
from oversold.load.attendant import Attendant
from oversold.load.bidding import BidWorker
from oversold.load.conductor import Conductor
from oversold.load.lanes import Target
from oversold.load.paying import PayoutWorker
from oversold.load.sockets import LaneSockets
from oversold.load.worker import LoadWorker
from oversold.payout_plan import PayoutPlan
from oversold.plan import Kind
from oversold.targets.inprocess import PlatformTarget
from oversold.targets.service import ServiceTarget

ASSIGNMENT = "OVERSOLD_ASSIGNMENT"
HOME = "OVERSOLD_HOME"  # where the user stands: paths such as ./shop.py:MyStrategy count from there
FEED_S = 1.0
Options = tuple[tuple[str, str, str], ...]  # name, default, help
OPTIONS: Mapping[Kind, Options] = {
    "bids": (
        ("strategy", "redis-lua", "lock strategy under test; see `oversold list`"),
        ("capacity", "1000000000", "size of the tranche in fen"),
        ("lanes", "64", "app-server workers in each process"),
        ("sql", "postgres", "the strategies' SQL server: postgres or mariadb"),
    ),
    "payouts": (
        ("strategy", "row-lock+state-machine", "payout strategy under test; see `oversold list`"),
        ("channels", "seed", "profile of the payment channels; see `oversold list`"),
        ("lanes", "8", "workers of each job in each process"),
    ),
}
COMMON_OPTIONS: Options = (
    ("seed", "1", "same seed, same plan"),
    ("rtt", "0.5ms", "network delay between app server and store"),
    ("preset", "", "settings of an incident; see `oversold list`"),
    ("out", "reports", "folder for the run's files"),
)

CSV_SPARE_S = 0.5

log = logging.getLogger("oversold")


class Burst:
    """This process's part in the bursts of one Locust environment; the web UI may start several."""

    def __init__(self, scenario: str, drives: Kind, environment: Any, target: Callable[..., Target]) -> None:
        self._scenario = scenario
        self._drives = drives
        self._target = target
        self._environment = environment
        self._runner: Any = environment.runner
        self._conductor: Conductor | None = None
        self._worker: LoadWorker | None = None
        self._attendant: Attendant | None = None
        self._feeder: Any = None
        self._strategy = ""
        listen = self._runner.register_message
        if isinstance(self._runner, MasterRunner):
            listen("oversold_parked", lambda environment, msg, **_: self._heard_parked(msg.data))
            listen("oversold_done", lambda environment, msg, **_: self._heard_done(msg.data))
            listen("oversold_failed", lambda environment, msg, **_: self._heard_failed(msg.data))
        if isinstance(self._runner, WorkerRunner):
            listen("oversold_assignment", lambda environment, msg, **_: self._begin(msg.data["assignment"]))
            listen("oversold_go", lambda environment, msg, **_: self._heard_go(msg.data))
            listen("oversold_stop", lambda environment, msg, **_: gevent.spawn(self._close_worker))

    @property
    def leads(self) -> bool:
        """Whether this process keeps the burst: Locust's master, or the only process."""
        return isinstance(self._runner, MasterRunner | LocalRunner)

    def start(self) -> None:
        """A test starts: the leader gets the assignment and passes it on, before the first bidder spawns."""
        if not self.leads:
            return
        path = os.environ.get(ASSIGNMENT)
        if path:
            text = Path(path).read_text()
        else:
            options = self._environment.parsed_options
            workers = len(self._runner.clients.ready) if isinstance(self._runner, MasterRunner) else 1
            try:
                self._attendant = Attendant(
                    self._scenario, self._drives, options, self._runner.target_user_count, workers
                )
            except RuntimeError as error:
                log.error("%s", error)
                self._environment.process_exit_code = 2
                gevent.spawn(self._runner.quit)
                return
            text = self._attendant.assignment
        self._conductor = Conductor(Assignment.from_json(text), self._send, self._missing, self._over)
        if isinstance(self._runner, MasterRunner):
            self._runner.send_message("oversold_assignment", {"assignment": text})
        else:
            self._begin(text)

    def stop(self) -> None:
        """A test stops, by itself or by hand: what is unfinished is written down as it is."""
        if self._conductor is not None:
            self._conductor.stop()
        self._close_worker()
        if self._conductor is not None:
            self._conductor = None
            self._audit()

    def _close_worker(self) -> None:
        """Write down what this process's bidders did; what is unfinished stays unknown."""
        if self._feeder is not None:
            self._feeder.kill(block=False)
            self._feeder = None
        if self._worker is not None:
            worker = self._worker
            if not worker.finished:
                statistics.feed(self._environment, worker, self._strategy)
            worker.close(complete=worker.finished)
            self._worker = None

    def _begin(self, text: str) -> None:
        try:
            self._open(text)
        except Exception as error:  # a worker that cannot begin must not keep the others waiting
            log.exception("this worker cannot begin")
            self._say(
                "oversold_failed",
                {"worker": self._runner.worker_index, "text": f"{type(error).__name__}: {error}"},
            )

    def _open(self, text: str) -> None:
        assignment, number = Assignment.from_json(text), self._runner.worker_index
        worker: LoadWorker = (
            PayoutWorker(assignment, number, self._say)
            if isinstance(assignment.plan, PayoutPlan)
            else BidWorker(assignment, number, self._say, self._target)
        )
        self._worker, self._strategy = worker, assignment.plan.strategy
        self._environment.oversold_worker = worker
        self._feeder = gevent.spawn(self._feed)

    def _feed(self) -> None:
        while self._worker is not None:
            gevent.sleep(FEED_S)
            statistics.feed(self._environment, self._worker, self._strategy)

    def _say(self, kind: str, data: dict[str, Any]) -> None:
        if kind == "oversold_done" and self._worker is not None:
            statistics.feed(self._environment, self._worker, self._strategy)
        if isinstance(self._runner, WorkerRunner):
            if kind == "oversold_done":
                self._send_statistics()  # before it, so that the master has all of them when it hears of the end
            self._runner.send_message(kind, data)
        elif kind == "oversold_parked":
            self._heard_parked(data)
        elif kind == "oversold_done":
            self._heard_done(data)
        else:
            self._heard_failed(data)

    def _send_statistics(self) -> None:
        """Report to the master now; Locust itself does so every three seconds."""
        data: dict[str, Any] = {}
        self._environment.events.report_to_master.fire(client_id=self._runner.client_id, data=data)
        self._runner.send_message("stats", data)

    def _send(self, kind: str, data: dict[str, Any], worker: int) -> None:
        if isinstance(self._runner, MasterRunner):
            client = next(c for c, index in self._runner.worker_indexes.items() if index == worker)
            self._runner.send_message(kind, data, client_id=client)
        elif kind == "oversold_go":
            self._heard_go(data)
        else:
            self._close_worker()

    def _heard_parked(self, data: dict[str, Any]) -> None:
        if self._conductor is not None:
            self._conductor.parked(data["worker"], data["count"], data["pid"], data["host"])

    def _heard_done(self, data: dict[str, Any]) -> None:
        if self._conductor is not None:
            self._conductor.done(data["worker"])

    def _heard_failed(self, data: dict[str, Any]) -> None:
        if self._conductor is not None:
            self._conductor.failed(data["worker"], data["text"])

    def _heard_go(self, data: dict[str, Any]) -> None:
        if self._worker is not None:
            self._worker.open_gate(data["t0"], data["first"], data["share"])

    def _missing(self) -> set[int]:
        if not isinstance(self._runner, MasterRunner):
            return set()
        missing = [c.id for c in self._runner.clients.values() if c.state == STATE_MISSING]
        return {self._runner.worker_indexes[client] for client in missing if client in self._runner.worker_indexes}

    def _over(self) -> None:
        """The last bidder has left: end the test, and Locust itself when nobody sits at its web page."""
        if self._environment.web_ui is None:
            if getattr(self._environment.parsed_options, "csv_prefix", None):
                # Locust writes its CSV files once a second, and not again at the end.
                gevent.sleep(CSV_STATS_INTERVAL_SEC + CSV_SPARE_S)
            self._runner.quit()
        else:
            self._runner.stop()

    def _audit(self) -> None:
        if self._attendant is not None:
            attendant, self._attendant = self._attendant, None
            self._environment.process_exit_code = attendant.finish()
        else:
            self._environment.process_exit_code = 0


def target_of(assignment: Assignment[BidPlan], worker: int) -> Target:
    """Return what the lanes of one process drive: a service over HTTP, or the platform in this very process."""
    if assignment.service:
        return ServiceTarget(assignment, worker, LaneSockets().adopt)
    return PlatformTarget(assignment, worker)


def attach(scenario: str, *, drives: Kind = "bids", target: Callable[..., Target] = target_of) -> None:
    """Make the locustfile that calls this a scenario of `oversold`, by name.

    `drives` says what the incident is about; write it as a plain word, since the command line reads it from the
    file without running it. `target` is what the bidders' lanes drive.
    """

    @events.init_command_line_parser.add_listener
    def add_options(parser: LocustArgumentParser, **_: Any) -> None:
        parser.set_defaults(web_host="127.0.0.1")
        add = parser.add_argument_group("oversold").add_argument
        for option, default, text in (*OPTIONS[drives], *COMMON_OPTIONS):
            add(f"--{option}", default=default, help=text)
        add("--set", dest="settings", default="", help="key=value[,key=value]: settings; see `oversold list`")

    @events.init.add_listener
    def begin(environment: Environment, **_: Any) -> None:
        # Not earlier: Locust must not take a user's own locust.conf for this run's.
        os.chdir(os.environ.get(HOME, "."))
        burst = Burst(scenario, drives, environment, target)
        if burst.leads:
            environment.process_exit_code = int(Exit.INCONCLUSIVE)  # until a burst was audited
        environment.events.test_start.add_listener(lambda **_: burst.start())
        environment.events.test_stop.add_listener(lambda **_: burst.stop())
