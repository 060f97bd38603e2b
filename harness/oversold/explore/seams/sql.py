"""What the seams of all SQL servers share: their tables, what was committed, and which statement waits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.compiler import SQLCompiler

from oversold.explore.escapes import Escape
from oversold.explore.execution import Learned
from oversold.explore.naming import Naming
from oversold.explore.operation import EVERYTHING, Operation, meet
from oversold.explore.seams.sql_core import Compiled, Shape
from oversold.explore.seams.sql_keys import ADVISORY, touched
from oversold.explore.seams.sql_session import READ_COMMITTED, Pattern, Said, Session, Statement
from oversold.explore.seams.sql_settings import TIMEOUTS
from oversold.explore.seams.sql_text import text_of
from oversold.stores.endpoint import Endpoint

LOCK = re.compile(r"\s*LOCK\b", re.IGNORECASE)
# Why a search that has walked all its orders has not walked all that there are: here a statement begins when it
# gets its lock, but at the server before it waits.
ELSEWHERE = "a statement waits for a lock and looks at more than the rows it locks, as they were before its wait"
OLDER = "a transaction's first statement waits for a lock, so its snapshot is older than the lock"
GIVES_UP = "the strategy sets a timeout of the server's; here whoever waits waits as long as it takes"
PATIENCE_MS = 2  # without a reply, while others have transactions open; then the server is asked who waits
# Where SQLAlchemy counts the savepoints that it names; a connection outlives executions, which all begin the same.
SAVEPOINTS = "_Connection__savepoint_seq"
UNNAMED = "SQL None"  # an exchange that no cursor's `execute` announced
UNKNOWN_LOCK = (
    "a statement waits for a lock that no statement of the context's connections took: take all connections from "
    "the context, and send statements by `execute`"
)
UNMODELLED = "waits for a lock that its keys do not name: the explorer cannot tell in which orders that matters"


@dataclass
class SqlServer:
    """What is known of one server: its tables, what was committed in this execution, and which statements wait."""

    endpoint: Endpoint
    naming: Naming
    looked_at_clock: Callable[[], None] = lambda: None
    reading_locks: bool = False  # at SERIALIZABLE
    tables: dict[str, Shape] = field(default_factory=dict)
    sessions: list[Session] = field(default_factory=list)
    clients: list[sa.Connection] = field(default_factory=list)
    commits: list[tuple[frozenset[str], tuple[Said, ...]]] = field(default_factory=list)
    functions: frozenset[str] = frozenset()  # that somebody made
    doubts: set[str] = field(default_factory=set)  # why there may be orders that no search here walks
    stained: set[str] = field(default_factory=set)  # keys that were written since the last reset

    def __post_init__(self) -> None:
        self._known: dict[str, Statement] = {}
        self._locks: dict[object, str] = {}  # advisory ones, by what they are called
        self._waits: dict[tuple[object, ...], set[Pattern]] = {}

    def watch(self, client: sa.Connection, session: Session) -> None:
        """Have SQLAlchemy announce what it is about to execute."""
        self.clients.append(client)

        def announce(connection: Any, cursor: Any, sql: str, parameters: Any, context: Any, many: bool) -> None:
            compiled = getattr(context, "compiled", None)
            core = None
            if isinstance(compiled, SQLCompiler) and not isinstance(compiled.statement, sa.TextClause):
                rows = context.compiled_parameters
                core = Compiled(compiled.statement, compiled.bind_names, rows[0] if rows else {}, len(rows) > 1)
            session.announce(sql, core)

        sa.event.listen(client.engine, "before_cursor_execute", announce)

    def statement(self, sql: str, parameters: Any, core: Compiled | None) -> Statement:
        """Return a statement as a step; the same one for the same words and values."""
        mark = f"{sql} {parameters!r}"
        if mark not in self._known:
            values = self._named(parameters) if ADVISORY.search(sql.lower()) else parameters
            touch = touched(sql, values, self.tables, self.naming, core, self.functions)
            self._known[mark] = Statement(mark, sql, text_of(sql, values, self.naming), touch)
        return self._known[mark]

    def _named(self, parameters: Any) -> Any:
        """Give advisory locks names of our own: they are often digests of ids that differ between sessions."""
        if not isinstance(parameters, Mapping):
            return [self._lock(value) for value in parameters or ()]
        return {name: self._lock(value) for name, value in parameters.items()}

    def _lock(self, value: object) -> str:
        text = str(value)
        known = int(text) if text.lstrip("-").isdigit() else text
        return self._locks.setdefault(known, f"lock {len(self._locks) + 1}")

    def level(self, name: str) -> str:
        """Return what an isolation level that a strategy asks for is here."""
        return name

    def looked(self, sql: str) -> None:
        """Note that the explorer itself had something executed: preparing, or asking at the end."""
        if not sql.lstrip().upper().startswith(("SELECT", "SET", "SHOW")):
            self.stained.add(EVERYTHING)

    def committed(self, operation: Operation, count: int) -> tuple[object, ...]:
        """Return what was committed that an operation could see, of the first so many commits."""
        keys = operation.keys
        return tuple(said for written, said in self.commits[:count] if meet(written, keys))

    def stain(self, keys: Iterable[str]) -> None:
        """Note that something may have been written."""
        self.stained.update(keys)

    def remembered(self, tables: dict[str, Shape]) -> None:
        """Begin with other data: what was learned held for those before."""
        self.tables = tables
        for session in self.sessions:
            session.settings = False
            session.connection.keep()
        self._known.clear()
        self._waits.clear()
        self.fresh()

    def fresh(self) -> None:
        """Begin anew: nothing was committed, nothing written."""
        self.commits.clear()
        self.stained.clear()
        for session in self.sessions:
            session.ended()

    # Who waits for whom

    def ready(self, session: Session, statement: Statement, operation: Operation) -> bool:
        """Tell whether a statement would be served now, as far as is known."""
        return not self._holders(session, statement, operation)

    def _holders(self, session: Session, statement: Statement, operation: Operation) -> list[Session]:
        """Return for whom a statement would wait, as far as is known."""
        others = [each for each in self.sessions if each is not session and each.busy]
        if not others:
            return []
        patterns = self._waits.get(session.wants(statement, operation), ())
        return [each for each in others if any(each.holds(pattern) for pattern in patterns)]

    def in_circle(self, session: Session) -> bool:
        """Tell whether a session waits for itself in the end, so that the server would undo its transaction.

        A server undoes one of the circle: which one depends on what it counts, or on whose clock rings first. So
        it may be each of them.
        """
        known: list[Session] = []
        left = [session]
        while left:
            each = left.pop()
            if each.asking is not None and self.sees_circle(each.asking[0]):
                new = [holder for holder in self._holders(each, *each.asking) if holder not in known]
                known += new
                left += new
        return session in known

    def waiting_for(self, session: Session) -> list[tuple[Session, object]]:
        """Return who waits for a session now, and with what."""
        return [
            (each, each.asking)
            for each in self.sessions
            if each.asking is not None and session in self._holders(each, *each.asking)
        ]

    def comes_later(self, session: Session) -> bool:
        """Tell whether the server has served others by now, who waited for a session when it was undone."""
        return any(
            each.asking is not None and each.asking is asking and self.ready(each, *each.asking)
            for each, asking in session.behind
        )

    def gives_up(self, statement: Statement) -> bool:
        """Tell whether the server lets a statement wait for so long only, and then answers that it was in vain."""
        return False

    def sees_circle(self, statement: Statement) -> bool:
        """Tell whether the server finds a circle of waits that this statement is a part of."""
        return True

    def others_busy(self, session: Session) -> bool:
        """Tell whether a statement of this session could have to wait."""
        return any(each.busy for each in self.sessions if each is not session)

    def learn(self, session: Session, statement: Statement, operation: Operation) -> None:
        """Ask the server whether a statement waits for a lock; if it does, keep for whom, and begin anew.

        Raises:
            Learned: it does.
        """
        backends = set(self.blocking(session))
        if not backends:
            return
        holders = [each for each in self.sessions if each.backend in backends and each.busy]
        known = [each for each in holders if meet(operation.keys, each.locked)]
        marks = {statement.mark, *(mark for each in holders for said in each.pattern for mark, _, _ in said)}
        if len(known) < len(backends) or UNNAMED in marks:
            self.cancel(session)
            raise Escape(UNKNOWN_LOCK if known == holders else f"{statement.text} {UNMODELLED}")
        self._doubt(session, statement)
        patterns = self._waits.setdefault(session.wants(statement, operation), set())
        patterns.update(holder.pattern_of(operation) for holder in holders)
        self.cancel(session)
        raise Learned(statement.text)

    def _doubt(self, session: Session, statement: Statement) -> None:
        """Note whether it matters that a statement which waits is sent only when it need not wait."""
        if LOCK.match(statement.sql):
            return
        if statement.touched.besides:
            self.doubts.add(ELSEWHERE)
        current = session.transaction
        # Where looks of SERIALIZABLE lock, statements that lock look at what is committed, whatever the snapshot.
        if current.level not in {"", READ_COMMITTED} and not current.begun and not self.reading_locks:
            self.doubts.add(OLDER)

    def doubt_timeouts(self, sql: str) -> None:
        """Note whether a statement of the strategy has the server end waits."""
        if TIMEOUTS.search(sql):
            self.doubts.add(GIVES_UP)

    def blocking(self, session: Session) -> list[int]:
        """Return the connections for which a session waits now, as the server calls them."""
        raise NotImplementedError

    def cancel(self, session: Session) -> None:
        """End the statement for whose answer a session waits."""
        raise NotImplementedError

    def is_error(self, error: Exception) -> bool:
        """Tell whether an exception is the server's answer."""
        raise NotImplementedError

    def told(self, error: Exception) -> str:
        """Return an error of the server's in one line, the same in every execution."""
        raise NotImplementedError
