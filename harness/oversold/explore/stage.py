"""Sets the stage: the stores' seams, the seats, and the subject that is played on them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from contextlib import nullcontext, suppress
from typing import Any, Literal

from oversold.errors import OversoldError, StoreUnavailableError, UsageError
from oversold.explore import fingerprint
from oversold.explore.bidding import Sale
from oversold.explore.crowd import crowd_of
from oversold.explore.naming import Naming
from oversold.explore.subject import Code, Scenario, Subject
from oversold.explore.world import Seam, World
from oversold.plan import Kind
from oversold.platform.faults import connection_lost
from oversold.stores.endpoint import Endpoint
from oversold.stores.providers import LABELS, SERVERS, close

Store = Literal["real", "fake"]
KEPT = 3  # subjects besides the first one
LOOKER = 1  # the seat of whoever opens a sale and asks at its end what is left


def require_unpatched() -> None:
    """Refuse a process in which gevent has replaced sockets or threads: there, a wait for a reply lets others go
    on.

    Raises:
        UsageError.
    """
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and any(monkey.is_module_patched(name) for name in ("socket", "threading")):
        raise UsageError(
            "gevent has patched this process, as importing Locust does, so nothing can be explored in it: import "
            "Locust in another process"
        )


class Stage:
    """Makes subjects of one strategy in scenarios of any size, on the same stores; leaving it closes all of them.

    Args:
        name: what the strategy is called.
        strategy: its class.
        endpoints: where the stores are, by the names that the strategy knows; not needed for fakes.
        word: what the ids of this exploration begin with, and so all of its keys.

    Raises:
        UsageError: a store that has no seam.
    """

    def __init__(
        self,
        name: str,
        strategy: type[Any],
        kind: Kind,
        endpoints: Mapping[str, Endpoint],
        word: str,
        seed: int,
        store: Store = "real",
    ) -> None:
        self._strategy, self._kind, self._endpoints = strategy, kind, endpoints
        self._word, self._seed, self._store = word, seed, store
        if store == "fake":
            from oversold.explore.seams import fakes

            endpoints = fakes.endpoints(sorted(strategy.stores))
        versions = {store: f"{LABELS[end.store]} {end.version}" for store, end in endpoints.items()}
        self._code = Code(name, fingerprint.of(strategy), versions)
        self._made: dict[tuple[tuple[str, int | str], ...], Subject] = {}
        self._worlds: list[World] = []
        self._latest: tuple[tuple[str, int | str], ...] = ()
        self._subjects = 0

    def subject(self, scenario: Scenario) -> Subject:
        """Return the subject of a scenario; the same one for the same numbers."""
        numbers = tuple(sorted(scenario.items()))
        if numbers != self._latest and self._latest in self._made:
            # A lock that its last execution has left is in the way of others where its name is the server's.
            self._worlds[list(self._made).index(self._latest)].rest()
        self._latest = numbers
        if numbers not in self._made:
            if (
                len(self._made) > KEPT
            ):  # the first one is the one that is asked for; the others are tried by the way
                forgotten = list(self._made)[1]
                del self._made[forgotten]
                self._close(self._worlds.pop(1))
            self._subjects += 1
            self._made[numbers] = self._bids(scenario) if self._kind == "bids" else self._payouts(scenario)
        return self._made[numbers]

    def _bids(self, scenario: Scenario) -> Subject:
        crowd = crowd_of(scenario)
        sale_id = f"{self._word}-{self._subjects}"
        naming = Naming(sale_id, "tranche")
        consumer = callable(getattr(self._strategy, "consume", None))
        world = self._world(naming, crowd.bidders + consumer + LOOKER)
        world.sit()
        return Sale(self._strategy, world, sale_id, crowd, self._seed, self._code)

    def _payouts(self, scenario: Scenario) -> Subject:
        from oversold.explore import paying
        from oversold.explore.seams.channel import PaymentChannels
        from oversold.explore.workload import workload_of

        workload = workload_of(scenario)
        payday_id = f"{self._word}-{self._subjects}"
        naming = Naming(payday_id, "payday")
        world = self._world(naming, paying.Disbursement.seats(workload))
        world.add(paying.CHANNELS, PaymentChannels(naming, workload.profiles))
        world.sit()
        return paying.Disbursement(self._strategy, world, payday_id, workload, self._seed, self._code)

    def _world(self, naming: Naming, seats: int) -> World:
        world = World(naming, seats)
        self._worlds.append(world)
        for store in sorted(self._strategy.stores):
            world.add(store, self._seam(store, naming, world))
        scripted(world.seams)
        return world

    def _seam(self, store: str, naming: Naming, world: World) -> Seam:
        # A design without SQL is explored without the time that SQLAlchemy takes to import, and so on.
        if self._store == "fake":
            from oversold.explore.seams import fakes

            return fakes.seam(store, naming)
        endpoint = self._endpoints[store]
        if endpoint.store == "memcached":
            from oversold.explore.seams.memcached import MemcachedServer

            return MemcachedServer(endpoint, naming)
        if endpoint.store == "sql":
            from oversold.explore.seams.postgres import PostgresServer

            return PostgresServer(endpoint, naming, world.look_at_clock)
        if endpoint.store == "mariadb":
            from oversold.explore.seams.mariadb import MariadbServer

            return MariadbServer(endpoint, naming, world.look_at_clock)
        if endpoint.store == "redis":
            from oversold.explore.seams.redis import RedisServer

            return RedisServer(endpoint, naming)
        if endpoint.store == "redlock":
            from oversold.explore.seams.redlock import RedlockServers

            return RedlockServers(endpoint, naming)
        raise AssertionError(f"{endpoint.store} has a seam in SEAMS and none here")

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        # What cannot be closed since its server has gone would hide why.
        with suppress(Exception) if error is not None else nullcontext():
            for world in self._worlds:
                self._close(world)
        if isinstance(error, Exception) and not isinstance(error, OversoldError):
            self.require_stores()
            if connection_lost(error):
                raise StoreUnavailableError(CUT) from error

    def require_stores(self) -> None:
        """Ask each server whether it still answers: what one that does not has done is not the strategy's fault.

        Raises:
            StoreUnavailableError: one does not.
        """
        for endpoint in self._endpoints.values():
            try:
                SERVERS[endpoint.store].probe(endpoint.url)
            except StoreUnavailableError as error:
                raise StoreUnavailableError(GONE.format(label=LABELS[endpoint.store])) from error

    def _close(self, world: World) -> None:
        for seat in world.seats:
            seat.port.actor = None  # whoever was not let go to the end asks no more
        world.close()
        for seat in world.seats:
            for store, endpoint in self._endpoints.items():
                close(endpoint.store, seat.clients[store])


GONE = "{label} stopped answering during the exploration, so nothing is proven: start it, and explore again"
CUT = "a store cut its connections during the exploration, so nothing is proven: look why, and explore again"
SEAMS = frozenset({"redis", "redlock", "memcached", "sql"})
NO_SEAM = (
    "{label} has no seam, so its commands cannot be taken one at a time: explore the design over another store, "
    "or run it live"
)


def require_seams(stores: Iterable[str]) -> None:
    """Refuse, before any server is started, a store whose commands nobody can hold back.

    Raises:
        UsageError: with its name.
    """
    for store in sorted(stores):
        if store not in SEAMS:
            raise UsageError(NO_SEAM.format(label=LABELS[store]))


def scripted(seams: Mapping[str, Any]) -> None:
    """Let all Redis servers of one world know one another's scripts: a script may be registered at one and used at
    another."""
    servers = [
        each for seam in seams.values() for each in getattr(seam, "servers", [seam]) if hasattr(each, "others")
    ]
    for server in servers:
        server.others = [other for other in servers if other is not server]
