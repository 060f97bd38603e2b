"""A payday from its obligations to its summary; one of the incidents that `runs` can run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from oversold import places
from oversold.assignment import Assignment
from oversold.audit import Circumstances, Raw, generator, proof
from oversold.checkers.payouts import audit
from oversold.clock import SystemClock, now_ns, seeded
from oversold.load.launch import Beat, Ending
from oversold.model import PAYOUT_STATUSES, Finding, PayoutState
from oversold.payday import DrawnPayday, PayoutPlan, draw_payday
from oversold.payout_books import END_STATES, Sample, gathered, jobs_met
from oversold.payout_summary import summarise
from oversold.platform.channels import operator
from oversold.platform.channels.client import HttpChannel, fetch_terms
from oversold.report import payout_parquet
from oversold.session import CALL_S, Burst, Session, opened, sampling
from oversold.stores.providers import connect
from oversold.strategies.calling import within
from oversold.strategies.payouts import obligation_table
from oversold.strategies.payouts.interface import PayoutContext, PayoutStrategy

SAMPLE_S = 0.25
GRACE_S = 10.0  # after the horizon; then a process that does not end by itself is ended


@dataclass
class PayoutBurst(Burst):
    """A payday under way."""

    drawn: DrawnPayday | None = None
    channels: Mapping[str, operator.ChannelEndpoint] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    states: Mapping[str, PayoutState] = field(default_factory=dict)


@contextmanager
def prepared(
    session: Session, plan: PayoutPlan, raw: Path
) -> Iterator[tuple[Assignment[PayoutPlan], PayoutBurst]]:
    """Enter the obligations, start the channels, open the strategy; its beliefs are sampled meanwhile."""
    profile = places.profile(plan.profile)
    payday_id = session.new_run()
    drawn = draw_payday(plan, payday_id)
    burst = PayoutBurst(drawn=drawn)
    folder = session.private / payday_id
    folder.mkdir()
    raw.mkdir(parents=True, exist_ok=True)
    kind = session.kind(plan.strategy)
    stores = sorted({"sql", *kind.stores})
    with ExitStack() as stack:
        session.telling.phase(f"{plan.strategy}: opening the payment channels")
        burst.channels = operator.start(profile, plan.seed, session.guard, folder, namespace=payday_id)
        for endpoint in burst.channels.values():
            stack.callback(session.guard.stop, endpoint.pid, 0.2)
        urls = {name: endpoint.url for name, endpoint in burst.channels.items()}
        assignment = Assignment(plan, payday_id, session.stores(), raw.resolve(), urls)
        burst.needed = {
            **session.servers(),
            **{endpoint.pid: f"payment channel {name}" for name, endpoint in burst.channels.items()},
        }
        clients = {store: connect(session.endpoints[store], SystemClock(), 0) for store in stores}
        for client in clients.values():
            stack.callback(_close, client)
        obligation_table.create(clients["sql"], drawn.payday)
        strategy = _opened(kind, _context(plan, clients, urls, stack), burst)
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


def _close(client: Any) -> None:
    with suppress(Exception):  # its server may have gone
        client.close()


def _opened(kind: type[PayoutStrategy], context: PayoutContext, burst: PayoutBurst) -> PayoutStrategy | None:
    """Make the coordinator's instance and let it prepare its stores; what it raises is a fault of the run."""
    assert burst.drawn is not None
    payday = burst.drawn.payday

    def work() -> PayoutStrategy:
        strategy = kind(context)
        strategy.open(payday)
        return strategy

    return opened(work, burst)


def _ask_for_states(strategy: PayoutStrategy, payday_id: str, burst: PayoutBurst) -> None:
    try:
        burst.states = dict(within(CALL_S, partial(strategy.state, payday_id)))
    except TimeoutError as error:
        burst.fault("hung", "state", str(error))
    except Exception as error:  # noqa: BLE001 - user code may raise anything
        burst.fault("raised", "state", f"{type(error).__name__}: {error}")
    strange = [each for each in burst.states.values() if getattr(each, "status", None) not in PAYOUT_STATUSES]
    if strange:
        burst.fault("nonsense", "state", f"{strange[0]!r} is no PayoutState with a known status")
        burst.states = {}


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
        return Beat(sum(counts[PAYOUT_STATUSES.index(status)] for status in END_STATES), counts)

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
    books = {name: endpoint.books for name, endpoint in burst.channels.items()}
    evidence = gathered(plan, burst.drawn, books, raw, burst.samples, burst.states, complete=seen.complete)
    findings = audit(evidence) if burst.opened and raw.gate_opened else []
    if seen.is_canary:
        seen = seen.with_canary(next((f.values["duplicate_rate"] for f in findings if f.check == "overpaid"), 0.0))
    findings += [*proof(seen), jobs_met(plan, evidence), generator(raw)]
    payout_parquet.write(folder, evidence)
    profile = places.profile(plan.profile)
    return summarise(evidence, findings, plan, profile), findings
