"""What the contracts share: which class is on trial, how a broken rule is told, and what it lacks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from oversold.errors import UsageError
from oversold.plan import Kind, Sql
from oversold.stores.endpoint import Endpoint
from oversold.stores.providers import STORES
from oversold.strategies import registry
from oversold.strategies.calling import HungCallError, within

CALL_S = 15.0  # a call that takes longer hangs
# A strategy that keeps a lock is to fail its test, not to hang it.
LOCK_TIMEOUT = {
    "postgres": ("SET lock_timeout TO '8s'",),
    "mariadb": ("SET innodb_lock_wait_timeout = 8", "SET lock_wait_timeout = 8"),
}
Answer = TypeVar("Answer")


def rule(kept: bool, text: str, happened: str) -> None:
    """Fail the test with the rule that was broken and with what happened instead."""
    __tracebackhide__ = True
    if not kept:
        raise AssertionError(f"{text}\n  What happened: {happened}")


def on_trial(contract: type[Any], kind: Kind) -> type[Any]:
    """Return the class that a contract is about.

    Raises:
        UsageError: it names none, or one that cannot be loaded.
    """
    named = getattr(contract, "strategy", None)
    if isinstance(named, str):
        return registry.load(named, kind)
    if not inspect.isclass(named):
        raise UsageError(
            f"{contract.__name__} does not say what it tests: write `strategy = MyStrategy` in it, or a name, "
            'or "path.py:Class"'
        )
    return named


def lacking(strategy: type[Any], kind: Kind) -> list[str]:
    """Return what a class lacks to be a strategy of this kind, in words."""
    lacks = [f"no method {name}" for name in registry.METHODS[kind] if not callable(getattr(strategy, name, None))]
    stores = getattr(strategy, "stores", None)
    if not isinstance(stores, frozenset | set) or not stores <= set(STORES):
        lacks.append(f"no `stores`, a frozenset out of {', '.join(STORES)}")
    return lacks


def placed(servers: Mapping[str, Endpoint], stores: frozenset[str], sql: Sql) -> dict[str, Endpoint]:
    """Return where a strategy with these stores finds them, by the names that it knows."""
    names = {store: "mariadb" if store == "sql" and sql == "mariadb" else store for store in stores}
    return {store: servers[name] for store, name in names.items()}


def asked(name: str, call: Callable[[], Answer]) -> Answer:
    """Return what a strategy's method answers; one that does not come back breaks a rule."""
    __tracebackhide__ = True
    try:
        return within(CALL_S, call)
    except HungCallError as error:
        raise AssertionError(f"A strategy must not block for ever.\n  What happened: {name}: {error}") from None


def in_transaction(sql: Any) -> bool:
    """Return whether a lane's SQL connection has left a transaction open, as its server sees it."""
    driver = sql.connection.driver_connection
    if sql.dialect.name == "postgresql":
        return bool(driver.info.transaction_status)
    return bool(driver.server_status & 1)  # SERVER_STATUS_IN_TRANS
