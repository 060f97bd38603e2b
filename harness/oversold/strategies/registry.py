"""Which strategies there are: built-in, installed by somebody else's package, or in a file of the user's."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, cast

from oversold.errors import UsageError, near
from oversold.stores.providers import SERVERS
from oversold.strategies.interface import BidStrategy

CANARY = "none"
BID_STRATEGIES = {
    "none": "oversold.strategies.bids.none:NoLock",
    "check-then-decr": "oversold.strategies.bids.check_then_decr:CheckThenDecr",
    "memcached-cas": "oversold.strategies.bids.memcached_cas:MemcachedCas",
    "memcached-cas-retry": "oversold.strategies.bids.memcached_cas_retry:MemcachedCasRetry",
    "redis-lua": "oversold.strategies.bids.redis_lua:RedisLua",
    "redis-queue": "oversold.strategies.bids.redis_queue:RedisQueue",
    "row-lock": "oversold.strategies.bids.row_lock:RowLock",
    "conditional-update": "oversold.strategies.bids.conditional_update:ConditionalUpdate",
}
GROUP = "oversold.strategies"
METHODS = ("open", "reserve", "confirm", "release", "status")


@dataclass(frozen=True)
class StrategyCard:
    """What people are told of a strategy, taken from its class and docstring."""

    name: str
    stores: tuple[str, ...]
    algorithm: str
    guarantee: str
    hole: str


def names() -> list[str]:
    """Return the names of all strategies that are installed here."""
    return [*BID_STRATEGIES, *(e.name for e in entry_points(group=GROUP) if e.name not in BID_STRATEGIES)]


def load(name: str) -> type[BidStrategy]:
    """Return a strategy class by its name, or by `path/to/file.py:Class`.

    Raises:
        UsageError: unknown name, unreadable file, or a class that is no bid strategy.
    """
    if ".py:" in name:
        path, _, class_name = name.rpartition(":")
        found = getattr(_module_at(Path(path)), class_name, None)
        if found is None:
            raise UsageError(f"{path} has no class {class_name}")
    else:
        target = BID_STRATEGIES.get(name)
        if target is None:
            outside = [entry for entry in entry_points(group=GROUP) if entry.name == name]
            if not outside:
                raise UsageError(
                    f"unknown strategy {name!r}{near(name, names())}: see `oversold list`, or give path.py:Class"
                )
            try:
                found = outside[0].load()
            except (Exception, SystemExit) as error:
                raise UsageError(f"strategy {name!r} cannot be loaded: {_brief(error)}") from error
        else:
            module, _, class_name = target.partition(":")
            found = getattr(importlib.import_module(module), class_name)
    _check(name, found)
    return cast("type[BidStrategy]", found)


def card(name: str) -> StrategyCard:
    """Return a strategy's description: its docstring's first sentence, its guarantee and its hole."""
    strategy = load(name)
    text = inspect.getdoc(strategy) or ""
    parts = [" ".join(part.split()) for part in text.split("\n\n")]

    def labelled(label: str) -> str:
        return next((part.removeprefix(label).strip() for part in parts if part.startswith(label)), "")

    return StrategyCard(
        name,
        tuple(sorted(strategy.stores)),
        parts[0] if parts else "",
        labelled("Guarantee:"),
        labelled("Known hole:"),
    )


def _module_at(path: Path) -> Any:
    if not path.is_file():
        raise UsageError(f"strategy file {path} does not exist")
    spec = importlib.util.spec_from_file_location(f"oversold_user_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise UsageError(f"strategy file {path} cannot be loaded: {_brief(error)}") from error
    return module


def _check(name: str, found: Any) -> None:
    """Refuse, before anything is started, a class that cannot be a strategy."""
    if not inspect.isclass(found):
        raise UsageError(f"strategy {name!r} is not a class")
    missing = [method for method in METHODS if not callable(getattr(found, method, None))]
    if missing:
        raise UsageError(f"strategy {name!r} lacks {', '.join(missing)}: see docs/strategies.md for the interface")
    stores = getattr(found, "stores", None)
    if not isinstance(stores, frozenset | set) or not stores <= set(SERVERS):
        raise UsageError(f"strategy {name!r} must have `stores`, a frozenset out of {', '.join(SERVERS)}")


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
