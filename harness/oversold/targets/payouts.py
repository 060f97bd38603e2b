"""The payout service in the load generator's own process: what each job worker holds, and what investors see."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from oversold.assignment import Assignment
from oversold.clock import SystemClock, now_ns, seeded
from oversold.model import PayReply, QueryReply, Terms, VoidReply
from oversold.payout_plan import PayoutPlan
from oversold.platform.channels.client import HttpChannel, fetch_terms
from oversold.platform.faults import Faults
from oversold.stores.endpoint import Endpoint
from oversold.stores.providers import close, connect, cut
from oversold.strategies import registry
from oversold.strategies.payouts.interface import Channel, PayoutContext, PayoutStrategy

# Told of each call to a channel: what it was and what was answered, whether that is a failure, how long it took.
Told = Callable[[str, bool, int], None]
GOOD = {"ok", "success", "voided", "processing"}
Reply = TypeVar("Reply", bound=str)
TELLERS = 4  # connections to each channel that the investors of one process share


class PayoutTarget:
    """The payout service of one worker process.

    Raises:
        Exception: a store or a channel does not answer; the driver's own error says which.
    """

    def __init__(self, assignment: Assignment[PayoutPlan], worker: int, told: Told) -> None:
        self.plan = assignment.plan
        self._worker = worker
        self._told = told
        self._clock = SystemClock()
        self._endpoints = {name: Endpoint(**fields) for name, fields in assignment.endpoints.items()}
        self._strategy = registry.load_payouts(self.plan.strategy)
        self._urls = dict(assignment.channels)
        self._terms = {name: fetch_terms(url) for name, url in self._urls.items()}
        self._tellers: queue.SimpleQueue[Mapping[str, HttpChannel]] = queue.SimpleQueue()
        for _ in range(TELLERS):
            self._tellers.put(self.channels("investor"))
        self.faults = Faults()

    def channels(self, caller: str) -> dict[str, HttpChannel]:
        """Return a client of each channel, in order; `caller` is noted in the channels' books."""
        return {name: HttpChannel(name, url, self._terms[name], caller) for name, url in self._urls.items()}

    def server(self, store: str) -> str:
        """Return which server serves a store."""
        return self._endpoints[store].store

    def hand(self, number: int) -> Hand:
        """Open the connections of one job worker."""
        stores = sorted(self._strategy.stores)
        return Hand(
            self,
            number,
            {store: connect(self._endpoints[store], self._clock, self.plan.rtt_s) for store in stores},
        )

    def strategy(
        self, number: int, clients: Mapping[str, Any], channels: Mapping[str, HttpChannel]
    ) -> PayoutStrategy:
        """Make one worker's instance of the strategy."""
        watched = {name: Watched(channel, self._told) for name, channel in channels.items()}
        generator = seeded(self.plan.seed, self._worker, number)
        return self._strategy(PayoutContext(clients, self._clock, generator, watched))

    @contextmanager
    def teller(self) -> Iterator[Mapping[str, HttpChannel]]:
        """Lend an investor a client of each channel."""
        lent = self._tellers.get()
        try:
            yield lent
        finally:
            self._tellers.put(lent)

    def close(self) -> None:
        """Close what the investors share."""
        while not self._tellers.empty():
            for channel in self._tellers.get().values():
                channel.close()


class Hand:
    """What one job worker, or the reconciler, works with: connections, channels and its strategy's instance."""

    def __init__(self, target: PayoutTarget, number: int, clients: Mapping[str, Any]) -> None:
        self._target, self._number, self._clients = target, number, clients
        self._channels: dict[str, HttpChannel] = {}
        self.dead = False  # cut: what its code raises from then on, no dead process could have raised

    def take(self, caller: str) -> PayoutStrategy:
        """Return the strategy of somebody who is known to the channels as `caller`."""
        self._channels = self._target.channels(caller)
        return self._target.strategy(self._number, self._clients, self._channels)

    def cut(self, error: BaseException) -> None:
        """Let this worker's code reach nothing any more, as when its process has died: whatever its `finally`
        blocks still want to tell a store or a channel raises `error` instead."""
        self.dead = True
        for channel in self._channels.values():
            channel.cut(error)
        for store, client in self._clients.items():
            cut(self._target.server(store), client, error)

    def close(self) -> None:
        """Close everything; what was cut closes its socket and says no goodbye."""
        for channel in self._channels.values():
            channel.close()
        for store, client in self._clients.items():
            close(self._target.server(store), client)


class Watched:
    """A channel whose calls are timed."""

    def __init__(self, channel: Channel, told: Told) -> None:
        self._channel, self._told = channel, told
        self.name: str = channel.name
        self.terms: Terms = channel.terms

    def pay(self, ref: str, user_id: str, amount_fen: int, key: str | None = None) -> PayReply:
        """Pass on, and tell."""
        return self._timed("pay", lambda: self._channel.pay(ref, user_id, amount_fen, key))

    def query(self, ref: str) -> QueryReply:
        """Pass on, and tell."""
        return self._timed("query", lambda: self._channel.query(ref))

    def void(self, ref: str) -> VoidReply:
        """Pass on, and tell."""
        return self._timed("void", lambda: self._channel.void(ref))

    def statement(self) -> Mapping[str, int]:
        """Pass on."""
        return self._channel.statement()

    def _timed(self, what: str, call: Callable[[], Reply]) -> Reply:
        before = now_ns()
        reply = call()
        self._told(f"{what} {self.name}: {reply}", reply not in GOOD, now_ns() - before)
        return reply
