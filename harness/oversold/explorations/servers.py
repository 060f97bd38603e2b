"""The servers that explorations run on, and one exploration from its start to its result."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from oversold.explorations.questions import Exploration
from oversold.explore.escapes import Escape, by_its_text
from oversold.explore.explorer import Explorer, Result
from oversold.explore.stage import Stage, require_seams, require_unpatched
from oversold.plan import Sql
from oversold.stores.endpoint import Endpoint
from oversold.stores.guard import Guard
from oversold.stores.providers import StoreChoice, stores

CONNECTIONS = 400  # of every subject that shrinking may need


@dataclass
class Stores:
    """The servers of explorations, started when they are first needed; leaving it stops them.

    `given` are servers of somebody else, who stops them: by name, each started when it is asked for. `word` is
    what all keys on them begin with.
    """

    choice: StoreChoice
    given: Mapping[str, Endpoint] | None = None
    word: str = field(default_factory=lambda: f"t{secrets.token_hex(4)}")

    def __enter__(self) -> Stores:
        self._stack = ExitStack()
        self._guard: Guard | None = None
        self._endpoints: dict[str, Endpoint] = {}
        self._stages = 0
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def stage(self, asked: Exploration) -> Stage:
        """Return a stage for an exploration, with its stores up; who asked for it leaves it.

        Raises:
            StoreUnavailableError, UsageError.
        """
        require_unpatched()
        strategy = asked.loaded
        require_seams(strategy.stores)
        self._stages += 1
        word = f"{self.word}x{self._stages}"
        endpoints = {} if asked.store == "fake" else self._placed(strategy, asked.sql)
        return Stage(asked.strategy, strategy, asked.kind, endpoints, word, asked.limits.seed, asked.store)

    def _placed(self, strategy: type[Any], sql: Sql) -> dict[str, Endpoint]:
        names = {store: "mariadb" if store == "sql" and sql == "mariadb" else store for store in strategy.stores}
        if self.given is not None:
            return {store: self.given[name] for store, name in names.items()}
        missing = frozenset(names.values()) - self._endpoints.keys()
        if missing:
            if self._guard is None:
                self._guard = self._stack.enter_context(Guard())
            started = stores(missing, self.choice, self._guard, CONNECTIONS, self.word)
            self._endpoints |= self._stack.enter_context(started)
        return {store: self._endpoints[name] for store, name in names.items()}

    def used(self, asked: Exploration) -> dict[str, Any]:
        """Return what a report says of an exploration's stores."""
        if asked.store == "fake":
            return {}
        return {store: end.public() for store, end in self._placed(asked.loaded, asked.sql).items()}


NOR = "Nor does any with one share for sale: {:,} more."
NOT_WALKED = "With one share for sale {:,} were tried, and not all."


def explored_and_smaller(
    asked: Exploration, servers: Stores, tell: Callable[[Result], None]
) -> tuple[Exploration, Result]:
    """Search; after a proof also the smaller scenario, in the time that is left. Return what was found, and by
    which exploration: a proof is about the scenario that was asked for.

    Raises:
        As `explored`.
    """
    result = explored(asked, servers, tell)
    left_s = asked.limits.budget_s - result.seconds
    if asked.smaller is None or result.outcome != "EXHAUSTED" or left_s <= 0:
        return asked, result
    less = replace(asked, scenario=asked.smaller, smaller=None)
    second = explored(replace(less, limits=replace(asked.limits, budget_s=left_s)), servers, tell)
    if second.schedule is not None:
        return less, second
    result.besides = (NOR if second.outcome == "EXHAUSTED" else NOT_WALKED).format(second.runs)
    result.seconds += second.seconds
    result.interrupted = second.interrupted
    return asked, result


def explored(asked: Exploration, servers: Stores, tell: Callable[[Result], None]) -> Result:
    """Search, and return what was found.

    Raises:
        StoreUnavailableError: also when a store goes away in the middle of the search.
        UsageError: a store without a seam.
    """
    if why := by_its_text(asked.loaded):
        return Result("NONDETERMINISTIC", why=why)
    with servers.stage(asked) as stage:
        try:
            subject = stage.subject(asked.scenario)
        except Escape as error:
            return Result("NONDETERMINISTIC", why=str(error))
        result = Explorer(subject, asked.limits, stage.subject, tell).search()
        if result.outcome == "NONDETERMINISTIC":
            stage.require_stores()
        return result
