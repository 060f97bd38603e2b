"""Ways past the context: what a strategy does that no scheduler decides and no replay repeats, caught in the act.

Python tells an audit hook of connections, threads, processes and sleep before they happen. The hook is deaf but
while an actor's code runs, and there it ends the actor. Of what nobody is told, such as psycopg's connecting in C,
the functions are wrapped meanwhile. Who runs for long without a store command is ended by a timer, and what a
strategy keeps in its class or module is compared after each step.
"""

from __future__ import annotations

import itertools
import operator
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, FunctionType, ModuleType, SimpleNamespace
from typing import Any

import greenlet

from oversold.strategies.past_context import past_its_context

OF_THE_CONTEXT = (
    "take its client from the context (context.redis, .memcached, .sql): then each command waits for its turn"
)
STORED = "keep what it knows in the stores of its context: every execution finds those as they were"
IN_TURN = "do one thing after the other in the method that was called"
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
NOT_KEPT = ("/dev/", "__pycache__")  # where nothing is kept that a strategy could read again
# The inner function of Python's own, which makes an enum of whatever was there: this is done twice a step.
SET_HANDLER: Callable[[int, Any], Any] = getattr(signal, "_signal", signal).signal
TICK_S = 1.0
HANG_S = 10  # how long an actor may run without a store command, in ticks of a second
SWALLOWED = 3  # so many seconds later, who swallows what should end it is left where it is

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


ABANDONED: list[greenlet.greenlet] = []  # who does not let itself be ended; kept, or Python would try it again


def abandon(text: str) -> None:
    """Go back to the explorer for good, from an actor's code that swallows whatever should end it.

    Raises:
        Escape: when called by the explorer's own greenlet, which cannot be left.
    """
    here = greenlet.getcurrent()
    _WATCH.seen = _WATCH.seen or text
    if here is _WATCH.hub or _WATCH.hub is None:
        raise Escape(_WATCH.seen)
    ABANDONED.append(here)
    _WATCH.hub.switch()


class _Timer:
    """Ends the actor under way when it runs for long without a store command. Only in the main thread."""

    def __init__(self, late: Callable[[FrameType | None, bool], None]) -> None:
        self._late = late
        self._on = False
        self._ticks = 0  # not the time: a machine that was suspended is not blamed
        self._handler: Any = None
        self._before = (0.0, 0.0)
        self._began_s = 0.0

    def start(self) -> None:
        self._on = threading.get_ident() == threading.main_thread().ident
        if self._on:
            self._ticks = 0
            self._handler = SET_HANDLER(signal.SIGALRM, self._tick)
            self._before = signal.setitimer(signal.ITIMER_REAL, TICK_S, TICK_S)
            self._began_s = time.monotonic()

    def stop(self) -> None:
        if self._on:
            left_s, every_s = self._before
            if left_s:  # somebody else's timer goes on as if it had never been stopped
                left_s = max(left_s - (time.monotonic() - self._began_s), 0.001)
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            SET_HANDLER(signal.SIGALRM, self._handler)
            signal.setitimer(signal.ITIMER_REAL, left_s, every_s)

    def _tick(self, _: int, frame: FrameType | None) -> None:
        self._ticks += 1
        if self._ticks >= HANG_S:
            self._late(frame, self._ticks >= HANG_S + SWALLOWED)


def _place(frame: FrameType | None) -> str:
    """Return file and line of the innermost code that is the user's own."""
    innermost = frame
    while frame is not None and not _own(frame.f_globals.get("__name__", ""), frame.f_code.co_filename):
        frame = frame.f_back
    frame = frame or innermost
    return f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}" if frame else "?"  # noqa: PTH119


class _Watch:
    """Whether an actor's code runs now, in which thread, and the first escape that it tried."""

    def __init__(self) -> None:
        self.on = self.hooked = False
        self.thread = 0
        self.seen = ""
        self.wraps: list[_Wrap] = []
        self.who = ""
        self.hub: greenlet.greenlet | None = None
        self.timer = _Timer(self._late)

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
        self.hub = greenlet.getcurrent()
        self.timer.start()

    def __exit__(self, *_: object) -> None:
        self.timer.stop()
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

    def _late(self, frame: FrameType | None, swallowed: bool) -> None:
        if not self.on:  # a seam connects again
            return
        text = f"{self.who} has run for {HANG_S} s without a store command ({_place(frame)}): let its loops end"
        if swallowed:
            abandon(text)
        self.seen = self.seen or text
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


def watching(who: str = "the strategy") -> _Watch:
    """Watch what is called within: `with watching("bidder 1"): ...`. Not to be nested.

    Raises:
        Escape: at its end, the first that was tried, even where the strategy has swallowed it before.
    """
    _WATCH.who = who
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


# What is kept in classes and modules

PLAIN = (int, float, str, bytes, bool, type(None))
# What changes in place, and shows it in its `repr`.
CHANGING = (
    *(list, dict, set, deque, bytearray, itertools.count),
    *(type(threading.Lock()), type(threading.RLock()), threading.Condition, threading.Semaphore, threading.Event),
)
LONG = 10_000  # characters of a `repr` made after each step; of what has more, only the length is looked at


def _own(module: str, file: str | None) -> bool:
    """Tell whether a module is the user's: not ours, not Python's, not a library's."""
    root = module.partition(".")[0]
    if root == "oversold" or root in sys.stdlib_module_names or (file or "").startswith("<frozen"):
        return False
    return file is None or not {"site-packages", "dist-packages"} & set(Path(file).parts)


def _own_module(name: object) -> ModuleType | None:
    module = sys.modules.get(name) if isinstance(name, str) else None
    return module if module and _own(module.__name__, getattr(module, "__file__", None)) else None


class _Names:
    """What one class or module keeps under which names."""

    def __init__(self, owner: type[Any] | ModuleType) -> None:
        self._names: Mapping[str, Any] = vars(owner)
        self._owner = (
            f"module {owner.__name__}" if isinstance(owner, ModuleType) else f"class {owner.__qualname__}"
        )
        self._known: dict[str, Any] = {}
        self._values: list[Any] = []
        self._note()
        shown = {name: _shown(value) for name, value in self._known.items() if not _not_theirs(name)}
        self._changing = [(name, show, show()) for name, show in shown.items() if show is not None]

    def _note(self) -> None:
        self._known = dict(self._names)
        self._values = list(self._known.values())

    def compare(self) -> None:
        same = len(self._names) == len(self._values) and all(map(operator.is_, self._names.values(), self._values))
        if not same:
            self._look_closely()
        for name, show, before in self._changing:
            if show() != before:
                self._tell(name)

    def _look_closely(self) -> None:
        missing = object()
        for name in {**self._known, **self._names}:
            before, now = self._known.get(name, missing), self._names.get(name, missing)
            equal = type(before) is type(now) and isinstance(now, PLAIN) and before == now
            if before is not now and not equal and not _not_theirs(name) and not isinstance(now, ModuleType):
                self._tell(name)
        self._note()

    def _tell(self, name: str) -> None:
        raise Escape(
            f"the strategy keeps {name} in its {self._owner}, which other processes never see: keep it in a store"
        )


def _not_theirs(name: str) -> bool:
    """Tell whether Python or SQLAlchemy keeps something under a name: a module's `__warningregistry__`, how an
    expression's class is cached (`_generated_cache_key_traversal`)."""
    return (name.startswith("__") and name.endswith("__")) or name.startswith("_generated_")


def _shown(value: Any) -> Callable[[], object] | None:
    """Return what shows whether a value has changed in place; None when nothing does."""
    if not isinstance(value, CHANGING):
        mine = isinstance(value, SimpleNamespace) or _own_module(type(value).__module__) is not None
        if isinstance(value, type) or not mine or not hasattr(value, "__dict__"):
            return None
        value = vars(value)
    try:
        long = len(repr(value)) > LONG
    except Exception:  # noqa: BLE001 - a user's `repr` may raise anything
        long = True
    if long:
        return (lambda: len(value)) if hasattr(value, "__len__") else None
    return lambda: repr(value)


class Memory:
    """What a strategy's classes and modules keep, by which bidders of one process would tell each other something.

    The modules are the user's own: those of the class and its bases, and those which they take something from.
    Plain values are compared by value, containers and locks by what they show, all else by identity.
    """

    def __init__(self, strategy: type[Any]) -> None:
        owners: dict[int, type[Any] | ModuleType] = {}
        waiting: list[object] = list(strategy.__mro__)
        while waiting:
            each = waiting.pop()
            name = each.__name__ if isinstance(each, ModuleType) else getattr(each, "__module__", None)
            module = _own_module(name)
            if module is None or id(each) in owners:
                continue
            if isinstance(each, type):
                owners[id(each)] = each
            if id(module) not in owners:
                owners[id(module)] = module
                waiting += _parts(vars(module).values())
        self._owners = [_Names(owner) for owner in owners.values()]

    def compare(self) -> None:
        """Look whether anything has changed since the beginning.

        Raises:
            Escape: it has; the text says what.
        """
        for names in self._owners:
            names.compare()


def _parts(values: Iterable[object]) -> list[object]:
    return [each for each in values if isinstance(each, type | ModuleType | FunctionType)]
