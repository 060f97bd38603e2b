"""Ways past the context: what a strategy does that no scheduler decides and no replay repeats, caught in the act.

Python tells an audit hook of connections, threads, processes and sleep before they happen. The hook is deaf but
while an actor's code runs, and there it ends the actor. Of what nobody is told, such as psycopg's connecting in C,
the functions are wrapped meanwhile.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from oversold.strategies.past_context import past_its_context

OF_THE_CONTEXT = (
    "take its client from the context (context.redis, .memcached, .sql): then each command waits for its turn"
)
STORED = "keep what it knows in the stores of its context: every execution finds those as they were"
IN_TURN = "do one thing after the other in the method that was called"
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
NOT_KEPT = ("/dev/", "__pycache__")  # where nothing is kept that a strategy could read again

What = Callable[[tuple[Any, ...]], str]  # of an event's arguments; nothing where it is harmless


def _connection(arguments: tuple[Any, ...]) -> str:
    address = arguments[1]
    where = f"{address[0]}:{address[1]}" if isinstance(address, tuple) else "a socket file"
    return f"opened a connection of its own, to {where}"


def _file(arguments: tuple[Any, ...]) -> str:
    path, _, flags = arguments
    writes = isinstance(path, str | bytes | os.PathLike) and isinstance(flags, int) and flags & WRITES
    kept = writes and not any(each in os.fsdecode(path) for each in NOT_KEPT)
    return f"wrote the file {os.path.basename(os.fsdecode(path))}" if kept else ""  # noqa: PTH119 - bytes as well


def _said(text: str) -> What:
    return lambda _: text


PROCESS = (_said("started a process"), IN_TURN)
THREAD = (_said("started a thread"), IN_TURN)
EVENTS: Mapping[str, tuple[What, str]] = {
    "socket.connect": (_connection, OF_THE_CONTEXT),
    "socket.sendto": (_connection, OF_THE_CONTEXT),
    "psycopg.connect": (_said("opened a connection of its own, by psycopg"), OF_THE_CONTEXT),
    "sqlite3.connect": (_said("opened a database of its own, by sqlite3"), STORED),
    "open": (_file, STORED),
    "_thread.start_new_thread": THREAD,
    "_thread.start_joinable_thread": THREAD,
    **dict.fromkeys(("os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.exec", "os.system"), PROCESS),
    "subprocess.Popen": PROCESS,
    "time.sleep": (_said("slept by time.sleep"), "use context.clock.sleep(seconds)"),
}


# Of threads Python tells nobody before 3.12, and of sleeping before 3.13.
THREADS = [("threading", "_start_new_thread"), ("_thread", "start_new_thread")]
UNHEARD = [("time", "sleep", "time.sleep")] if sys.version_info < (3, 13) else []
if sys.version_info < (3, 12):
    UNHEARD += [(module, name, "_thread.start_new_thread") for module, name in THREADS]


class Escape(BaseException):
    """A strategy got past its context. The text says by which way, and how to mend it.

    No `except Exception` of a strategy may hide it.
    """


class _Watch:
    """Whether an actor's code runs now, in which thread, and the first escape that it tried."""

    def __init__(self) -> None:
        self.on = self.hooked = False
        self.thread = 0
        self.seen = ""
        self.wraps: list[_Wrap] = []

    def __enter__(self) -> None:
        if not self.hooked:
            self.hooked = True
            sys.addaudithook(_hook)
            self.wraps += [_Wrap(sys.modules[module], name, event) for module, name, event in UNHEARD]
        if len(self.wraps) == len(UNHEARD) and "psycopg.generators" in sys.modules:
            self.wraps.append(_Wrap(sys.modules["psycopg.generators"], "connect", "psycopg.connect"))
        for wrap in self.wraps:
            wrap.put_on()
        self.thread, self.seen, self.on = threading.get_ident(), "", True

    def __exit__(self, *_: object) -> None:
        self.on = False
        for wrap in self.wraps:
            wrap.take_off()
        if self.seen:
            raise Escape(self.seen)

    def tell(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Refuse what is no strategy's business."""
        known = EVENTS.get(event)
        if known is None or threading.get_ident() != self.thread:
            return
        what = known[0](arguments)
        if what:
            self.seen = self.seen or f"the strategy {what}: {known[1]}"
            raise Escape(self.seen)


class _Wrap:
    """Tells of a function's calls as if Python did."""

    def __init__(self, module: ModuleType, name: str, event: str) -> None:
        self._module, self._name, self._event = module, name, event
        self._inner: Any = None

    def put_on(self) -> None:
        self._inner = getattr(self._module, self._name)
        setattr(self._module, self._name, self._called)

    def take_off(self) -> None:
        setattr(self._module, self._name, self._inner)

    def _called(self, *arguments: Any, **options: Any) -> Any:
        if _WATCH.on:
            _WATCH.tell(self._event, arguments)
        return self._inner(*arguments, **options)


_WATCH = _Watch()


def _hook(event: str, arguments: tuple[Any, ...], watch: _Watch = _WATCH) -> None:
    if watch.on:
        watch.tell(event, arguments)


def watching() -> _Watch:
    """Watch what is called within: `with watching(): ...`. Not to be nested.

    Raises:
        Escape: at its end, the first that was tried, even where the strategy has swallowed it before.
    """
    return _WATCH


@contextmanager
def ours() -> Iterator[None]:
    """Let a seam connect again, or whatever else the explorer does while an actor's code runs."""
    before, _WATCH.on = _WATCH.on, False
    try:
        yield
    finally:
        _WATCH.on = before


def by_its_text(strategy: type[Any]) -> str:
    """Return in words by which ways a strategy gets past its context, as its text says; nothing if it does not."""
    uses = past_its_context(strategy)
    return "; ".join(f"the strategy uses {name}: {mend}" for name, mend in uses)
