"""Which strategies there are: built-in, installed by somebody else's package, or in a file of the user's."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, cast

from oversold.errors import UsageError, near
from oversold.plan import Kind
from oversold.stores.providers import STORES
from oversold.strategies.interface import BidStrategy
from oversold.strategies.payouts import composed
from oversold.strategies.payouts.interface import PayoutStrategy

BID_STRATEGIES = {
    "none": "oversold.strategies.bids.none:NoLock",
    "check-then-decr": "oversold.strategies.bids.check_then_decr:CheckThenDecr",
    "memcached-cas": "oversold.strategies.bids.memcached_cas:MemcachedCas",
    "memcached-cas-retry": "oversold.strategies.bids.memcached_cas_retry:MemcachedCasRetry",
    "memcached-cas-readd": "oversold.strategies.bids.memcached_cas_readd:MemcachedCasReadd",
    "memcached-decr": "oversold.strategies.bids.memcached_decr:MemcachedDecr",
    "memcached-decr-offset": "oversold.strategies.bids.memcached_decr_offset:MemcachedDecrOffset",
    "memcached-lock": "oversold.strategies.bids.memcached_lock:MemcachedLock",
    "memcached-lock-fenced": "oversold.strategies.bids.memcached_lock_fenced:MemcachedLockFenced",
    "redis-watch": "oversold.strategies.bids.redis_watch:RedisWatch",
    "redis-decr": "oversold.strategies.bids.redis_decr:RedisDecr",
    "redis-lua": "oversold.strategies.bids.redis_lua:RedisLua",
    "redis-lock": "oversold.strategies.bids.redis_lock:RedisLock",
    "redis-lock-fenced": "oversold.strategies.bids.redis_lock_fenced:RedisLockFenced",
    "redlock": "oversold.strategies.bids.redlock:Redlock",
    "redis-queue": "oversold.strategies.bids.redis_queue:RedisQueue",
    "redis-stream": "oversold.strategies.bids.redis_stream:RedisStream",
    "redis-stream-no-dedupe": "oversold.strategies.bids.redis_stream_no_dedupe:RedisStreamNoDedupe",
    "rabbitmq-queue": "oversold.strategies.bids.rabbitmq_queue:RabbitmqQueue",
    "rabbitmq-queue-ack-first": "oversold.strategies.bids.rabbitmq_queue_ack_first:RabbitmqQueueAckFirst",
    "rabbitmq-queue-no-dedupe": "oversold.strategies.bids.rabbitmq_queue_no_dedupe:RabbitmqQueueNoDedupe",
    "row-lock": "oversold.strategies.bids.row_lock:RowLock",
    "row-lock-held": "oversold.strategies.bids.row_lock_held:RowLockHeld",
    "skip-locked": "oversold.strategies.bids.skip_locked:SkipLocked",
    "skip-locked-busy": "oversold.strategies.bids.skip_locked_busy:SkipLockedBusy",
    "conditional-update": "oversold.strategies.bids.conditional_update:ConditionalUpdate",
    "version": "oversold.strategies.bids.version:Version",
    "version-retry": "oversold.strategies.bids.version_retry:VersionRetry",
    "serializable": "oversold.strategies.bids.serializable:Serializable",
    "serializable-retry": "oversold.strategies.bids.serializable_retry:SerializableRetry",
    "advisory-lock": "oversold.strategies.bids.advisory_lock:AdvisoryLock",
    "advisory-lock-try": "oversold.strategies.bids.advisory_lock_try:AdvisoryLockTry",
    "advisory-lock-early": "oversold.strategies.bids.advisory_lock_early:AdvisoryLockEarly",
    "buckets": "oversold.strategies.bids.buckets:Buckets",
    "buckets-steal": "oversold.strategies.bids.buckets_steal:BucketsSteal",
    "tokens": "oversold.strategies.bids.tokens:Tokens",
    "tokens-returned": "oversold.strategies.bids.tokens_returned:TokensReturned",
    "two-phase": "oversold.strategies.bids.two_phase:TwoPhase",
    "two-phase-unchecked": "oversold.strategies.bids.two_phase_unchecked:TwoPhaseUnchecked",
}
GROUPS: Mapping[Kind, str] = {"bids": "oversold.strategies", "payouts": "oversold.payouts"}
METHODS: Mapping[Kind, tuple[str, ...]] = {
    "bids": ("open", "reserve", "confirm", "release", "status"),
    "payouts": ("open", "run_job", "reconcile", "state"),
}


@dataclass(frozen=True)
class StrategyCard:
    """What people are told of a strategy, taken from its class and docstring."""

    name: str
    stores: tuple[str, ...]
    algorithm: str
    guarantee: str
    hole: str
    broken: bool = False  # on purpose, to be compared with the design that mends it


def names(kind: Kind = "bids") -> list[str]:
    """Return the names of all strategies of a kind that are installed here."""
    own = _built_in(kind)
    return [*own, *(entry.name for entry in entry_points(group=GROUPS[kind]) if entry.name not in own)]


def load_bids(name: str) -> type[BidStrategy]:
    """Return a bid strategy's class; see `load`."""
    return cast("type[BidStrategy]", load(name, "bids"))


def load_payouts(name: str) -> type[PayoutStrategy]:
    """Return a payout strategy's class; see `load`."""
    return cast("type[PayoutStrategy]", load(name, "payouts"))


def load(name: str, kind: Kind = "bids") -> type[Any]:
    """Return a strategy class by its name or by `path/to/file.py:Class`; what stands for a service by its file.

    Raises:
        UsageError: unknown name, unreadable file, or a class that is no strategy of this kind.
    """
    if name.endswith(".toml"):
        return _service(name, kind)
    if ".py:" in name:
        path, _, class_name = name.rpartition(":")
        found = getattr(_module_at(Path(path)), class_name, None)
        if found is None:
            raise UsageError(f"{path} has no class {class_name}")
    elif name in _built_in(kind):
        found = _load_built_in(name, kind)
    else:
        outside = [entry for entry in entry_points(group=GROUPS[kind]) if entry.name == name]
        if not outside:
            raise UsageError(_unknown(name, kind))
        try:
            found = outside[0].load()
        except (Exception, SystemExit) as error:
            raise UsageError(f"strategy {name!r} cannot be loaded: {_brief(error)}") from error
    check(name, found, kind)
    return cast("type[Any]", found)


def _service(name: str, kind: Kind) -> type[Any]:
    """Return what stands for somebody's running service: it uses no store of ours."""
    from oversold.services import mapping
    from oversold.strategies.payouts import service as payout_service

    service = mapping.load(Path(name))
    if kind == "payouts":
        return payout_service.bound(service)
    if service.payout:
        raise UsageError(
            f"{name} describes a payout service, and this scenario is about bids: run payout-overlap, or give a "
            "file with [bid]"
        )
    text = f"{service.name}, a service at {service.url} (described by {name})."
    return type("BidService", (), {"__doc__": text, "stores": frozenset(), "service": service})


def _built_in(kind: Kind) -> list[str]:
    return list(BID_STRATEGIES) if kind == "bids" else composed.names()


def _load_built_in(name: str, kind: Kind) -> Any:
    if kind == "payouts":
        return composed.load(name)
    module, _, class_name = BID_STRATEGIES[name].partition(":")
    return getattr(importlib.import_module(module), class_name)


def _unknown(name: str, kind: Kind) -> str:
    other: Kind = "payouts" if kind == "bids" else "bids"
    if kind == "payouts" and name in (*composed.LOCKS, *composed.POLICIES):
        whole = f"{name}+POLICY" if name in composed.LOCKS else f"LOCK+{name}"
        return f"strategy {name!r} is one half of a payout strategy: write {whole}; see `oversold list payouts`"
    if name in names(other):
        return f"strategy {name!r} is for {other}, and this scenario is about {kind}: see `oversold list`"
    if kind == "payouts" and "+" in name:
        composed.load(name)  # says which half is unknown
    known = near(name, names(kind))
    return f"unknown strategy {name!r}{known}: see `oversold list`, or give path.py:Class or service.toml"


def card(name: str, kind: Kind = "bids") -> StrategyCard:
    """Return a strategy's description: its docstring's first sentence, its guarantee and its hole."""
    strategy = load(name, kind)
    return described(name, strategy, tuple(sorted(strategy.stores)))


def halves(names: Mapping[str, str]) -> list[StrategyCard]:
    """Return the descriptions of claim locks or settlement policies; `names` maps each to its `module:Class`."""
    cards = []
    for name, target in names.items():
        module, _, class_name = target.partition(":")
        found = getattr(importlib.import_module(module), class_name)
        cards.append(described(name, found, tuple(sorted(found.stores))))
    return cards


def described(name: str, thing: type[Any], stores: tuple[str, ...]) -> StrategyCard:
    """Return what the docstring of a strategy, a claim lock or a settlement policy says."""
    text = inspect.getdoc(thing) or ""
    parts = [" ".join(part.split()) for part in text.split("\n\n")]

    def labelled(label: str) -> str:
        return next((part.removeprefix(label).strip() for part in parts if part.startswith(label)), "")

    return StrategyCard(
        name,
        stores,
        parts[0] if parts else "",
        labelled("Guarantee:"),
        labelled("Known hole:"),
        bool(getattr(thing, "broken", False)),
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


def check(name: str, found: Any, kind: Kind) -> None:
    """Refuse, before anything is started, a class that cannot be a strategy.

    Raises:
        UsageError: with what it lacks.
    """
    if not inspect.isclass(found):
        raise UsageError(f"strategy {name!r} is not a class")
    missing = [method for method in METHODS[kind] if not callable(getattr(found, method, None))]
    if missing:
        page = "strategies.md" if kind == "bids" else "payouts.md"
        raise UsageError(
            f"strategy {name!r} lacks {', '.join(missing)} for {kind}: see docs/{page} for the interface"
        )
    stores = getattr(found, "stores", None)
    if not isinstance(stores, frozenset | set) or not stores <= set(STORES):
        raise UsageError(f"strategy {name!r} must have `stores`, a frozenset out of {', '.join(STORES)}")


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
