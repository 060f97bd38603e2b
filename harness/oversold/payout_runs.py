"""A payday from its obligations to its summary; one of the incidents that `runs` can run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from oversold import places
from oversold.assignment import Assignment
from oversold.audit import Circumstances, Raw, generator, proof
from oversold.checkers.payouts import audit, audit_books
from oversold.clock import SystemClock, now_ns, seeded
from oversold.load.launch import Beat, Ending
from oversold.model import PAYOUT_STATUSES, Finding, PayoutState
from oversold.payout_books import Sample, channels_misled, gathered, jobs_met, longest_stall_ns
from oversold.payout_plan import DrawnPayday, PayoutPlan, draw_payday
from oversold.payout_summary import summarise
from oversold.platform.channels import operator
from oversold.platform.channels.client import HttpChannel, fetch_terms
from oversold.platform.channels.profile import Profile
from oversold.report import payout_parquet
from oversold.session import Burst, Session, asked, opened, sampling
from oversold.stores.providers import close, connect
from oversold.strategies.payouts import obligation_table
from oversold.strategies.payouts.desk import END_STATUSES
from oversold.strategies.payouts.interface import PayoutContext, PayoutStrategy

SAMPLE_S = 0.25
GRACE_S = 10.0  # after the horizon; then a process that does not end by itself is ended


@dataclass
class PayoutBurst(Burst):
    """A payday under way."""

    drawn: DrawnPayday | None = None
    profile: Profile | None = None
    channels: Mapping[str, operator.ChannelEndpoint] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    states: Mapping[str, PayoutState] = field(default_factory=dict)


@contextmanager
def prepared(
    session: Session, plan: PayoutPlan, raw: Path
) -> Iterator[tuple[Assignment[PayoutPlan], PayoutBurst]]:
    """Enter the obligations, start the channels, open the strategy; its beliefs are sampled meanwhile."""
    # The canary's channels are the incident's, whatever lies in a folder of the user's under their name.
    profile = places.profile(plan.profile, shipped=plan == plan.canary)
    payday_id = session.new_run()
    drawn = draw_payday(plan, payday_id)
    burst = PayoutBurst(drawn=drawn, profile=profile)
    folder = session.private / payday_id
    folder.mkdir()
    raw.mkdir(parents=True, exist_ok=True)
    kind = session.kind(plan.strategy)
    stores = sorted({"sql", *kind.stores})
    placed = session.placed(plan)
    fields = {name: endpoint.to_json() for name, endpoint in placed.items()}
    with ExitStack() as stack:
        session.telling.phase(f"{plan.strategy}: opening the payment channels")
        burst.channels = operator.start(profile, plan.seed, session.guard, folder, namespace=payday_id)
        for endpoint in burst.channels.values():
            stack.callback(session.guard.stop, endpoint.pid, 0.2)
        urls = {name: endpoint.url for name, endpoint in burst.channels.items()}
        assignment = Assignment(plan, payday_id, fields, raw.resolve(), urls)
        burst.needed = {
            **session.servers(plan),
            **{endpoint.pid: f"payment channel {name}" for name, endpoint in burst.channels.items()},
        }
        clients = {store: connect(placed[store], SystemClock(), 0) for store in stores}
        for store, client in clients.items():
            stack.callback(close, placed[store].store, client)
        obligation_table.create(clients["sql"], drawn.payday)
        context = _context(plan, clients, urls, stack)
        strategy: PayoutStrategy | None = opened(lambda: kind(context), lambda it: it.open(drawn.payday), burst)
        burst.opened = strategy is not None
        sample = None if strategy is None else partial(_sample, strategy, payday_id, burst)
        with sampling(sample, SAMPLE_S):
            yield assignment, burst
        if strategy is not None:
            _ask_for_states(strategy, payday_id, burst)


def _context(
    plan: PayoutPlan, clients: Mapping[str, Any], urls: Mapping[str, str], stack: ExitStack
) -> PayoutContext:
    channels = {name: HttpChannel(name, url, fetch_terms(url), "coordinator/0") for name, url in urls.items()}
    for channel in channels.values():
        stack.callback(channel.close)
    return PayoutContext(clients, SystemClock(), seeded(plan.seed, "coordinator"), channels)


def _ask_for_states(strategy: PayoutStrategy, payday_id: str, burst: PayoutBurst) -> None:
    states = asked(lambda: dict(strategy.state(payday_id)), "state", burst) or {}
    strange = [each for each in states.values() if not _is_state(each)]
    if strange:
        burst.fault("nonsense", "state", f"{strange[0]!r} is no PayoutState with a known status and a reason")
    if not strange and states:
        burst.states = states
        burst.samples.append(Sample.of(now_ns(), states))  # what is believed in the end belongs to the course


def _is_state(thing: Any) -> bool:
    return isinstance(thing, PayoutState) and thing.status in PAYOUT_STATUSES and isinstance(thing.reason, str)


def _sample(strategy: PayoutStrategy, payday_id: str, burst: PayoutBurst) -> None:
    """Note what the strategy believes of the obligations."""
    burst.samples.append(Sample.of(now_ns(), strategy.state(payday_id)))


class Following:
    """Follows the strategy's own beliefs while the jobs run: what they are worth, the books say later."""

    def __init__(self, session: Session, assignment: Assignment[PayoutPlan], burst: PayoutBurst) -> None:
        self._session, self._plan, self._burst = session, assignment.plan, burst
        self.total = assignment.plan.payouts.obligations

    def beat(self) -> Beat:
        """Return how many obligations are believed to be in an end state."""
        if not self._burst.samples:
            return Beat(0, None)
        counts = self._burst.samples[-1].counts
        return Beat(sum(counts[PAYOUT_STATUSES.index(status)] for status in END_STATUSES), counts)

    def tell(self, finished: int, *, opened: bool) -> None:
        """Draw the bar."""
        plan = self._plan
        if opened:
            self._session.telling.count(f"{plan.strategy}: paying", finished, self.total)
        else:
            self._session.telling.phase(f"{plan.strategy}: {plan.users:,} users go to the gate")

    def overdue(self, since_opening_s: float, since_move_s: float) -> Ending | None:
        """Every process ends itself at the horizon, unless a strategy spins in it without yielding."""
        if since_opening_s > self._plan.horizon_s + GRACE_S:
            return Ending(f"a call was still busy {GRACE_S:g} s after the horizon of the payday", hung=True)
        return None


def audited(
    session: Session,
    assignment: Assignment[PayoutPlan],
    burst: PayoutBurst,
    raw: Raw,
    seen: Circumstances,
    folder: Path,
) -> tuple[dict[str, Any], list[Finding]]:
    """Read the channels' books, judge, write the Parquet files; return the payday's part of the summary and the
    findings."""
    plan = assignment.plan
    assert burst.drawn is not None
    assert burst.profile is not None
    books = {name: endpoint.books for name, endpoint in burst.channels.items()}
    evidence = gathered(plan, burst.drawn, books, raw, burst.samples, burst.states, complete=seen.complete)
    # A service may keep what it believes to itself; a strategy's class has no such attribute, and has to tell.
    judged = audit if getattr(session.kind(plan.strategy), "claims", True) else audit_books
    findings = judged(evidence) if burst.opened and raw.gate_opened else []
    if seen.is_canary:
        seen = seen.with_canary(next((f.values["duplicate_rate"] for f in findings if f.check == "overpaid"), 0.0))
    findings += [
        *proof(seen),
        jobs_met(plan, evidence),
        channels_misled(plan, evidence, longest_stall_ns(books)),
        generator(raw),
    ]
    payout_parquet.write(folder, evidence)
    return summarise(evidence, findings, plan, burst.profile), findings
