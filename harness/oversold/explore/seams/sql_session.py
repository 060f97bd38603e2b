"""One actor's connection to an SQL server: which statement is which step, and what its transaction has open."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from oversold.explore.actor import Port
from oversold.explore.naming import Naming, told
from oversold.explore.operation import EVERYTHING, Operation, meet
from oversold.explore.seams.sql_core import Compiled
from oversold.explore.seams.sql_keys import Touched
from oversold.explore.seams.sql_settings import level_of, outlives
from oversold.schedule import Choice

if TYPE_CHECKING:
    from oversold.explore.seams.sql import SqlServer

COLUMNS = 3  # of a single row that is shown as its values
ALL_DATA = "sql/*"
# Which transaction is undone at SERIALIZABLE depends on who has read and written what, and on who met whom.
SERIAL, BEGUN = "sql-serial/conflicts", "sql-serial/begun"
READ_UNCOMMITTED, READ_COMMITTED, SERIALIZABLE = "READ UNCOMMITTED", "READ COMMITTED", "SERIALIZABLE"
NO_LOOK = re.compile(r"\s*(?:SAVEPOINT|RELEASE|ROLLBACK|LOCK)\b", re.IGNORECASE)
ENDINGS = {"COMMIT", "ROLLBACK"}

Said = tuple[str, str, tuple[object, ...]]  # a statement, its answer, and what had been committed by then
Pattern = tuple[
    tuple[Said, ...], tuple[Said, ...]
]  # what a holder of locks had said: outside, and in its transaction


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement with its values, as a step. `mark` tells it from all others; `sql` is without the values."""

    mark: str
    sql: str
    text: str
    touched: Touched


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: for people, and exactly; `rows` is how many were found or changed."""

    text: str
    whole: str
    rows: int


@dataclass
class Transaction:
    """What a connection has open: what it said there, and what that wrote and locked."""

    said: tuple[Said, ...] = ()
    writes: frozenset[str] = frozenset()
    locks: frozenset[str] = frozenset()
    level: str = ""
    seen: int = 0  # how many commits its snapshot has
    wrote: bool = False  # or tried to

    @property
    def begun(self) -> bool:
        """Tell whether it has said anything for which a server looks at data, so that it has a snapshot."""
        return any(not NO_LOOK.match(mark) for mark, _, _ in self.said)


class Driver(Protocol):
    """A driver's connection, as a session needs it."""

    def answer(self, result: Any) -> Answer:
        """Return what came back, of what sending a statement returned."""

    def in_transaction(self) -> bool:
        """Tell whether a transaction is open at the server."""

    def failed(self) -> bool:
        """Tell whether that transaction can only be rolled back."""

    def undone(self, error: Exception) -> bool:
        """Tell whether the server has undone the whole transaction with a statement of it that failed."""

    def sacrifice(self) -> Any:
        """Have the server undo the transaction, and raise what it raises in a deadlock."""

    def keep(self) -> None:
        """Take what is set now, of the connection itself, for what it begins every execution with."""

    def lose(self, what: str) -> Exception:
        """Let the connection fail, after the `request` or the `reply` was lost; return what the driver raises."""


class Session:
    """One actor's connection, as the explorer sees it. `execute` and `end` are its steps."""

    def __init__(self, server: SqlServer, port: Port) -> None:
        self.server, self.port, self._number = server, port, len(server.sessions) + 1
        self.connection: Any = None
        self.backend = 0  # how the server calls it
        self.within = False  # a step is being taken: what goes over the network belongs to it
        self.waiting: Callable[[], None] = lambda: None  # what to do while there is no reply
        self.sql = ""  # of the statement under way
        self.values: Any = None
        self.outside: tuple[Said, ...] = ()  # what it said of locks that outlive transactions
        self._locks_outside: frozenset[str] = frozenset()
        self.transaction = Transaction()
        self.settings = False  # it has set what outlives its transactions
        self.asking: tuple[Statement, Operation] | None = None  # what it is about to have executed
        self.behind: list[tuple[Session, object]] = []  # who waited for it when it was undone, and with what
        self._coming: tuple[str, Compiled | None] = ("", None)

    @property
    def busy(self) -> bool:
        """Tell whether somebody may have to wait for it."""
        return bool(self.transaction.said or self.outside)

    @property
    def in_vain(self) -> bool:
        """Tell whether the statement under way has waited for as long as it may."""
        return self.port.actor is not None and self.port.actor.timed_out

    def ended(self) -> None:
        """Forget what was open: the server has undone it."""
        self.outside, self._locks_outside, self.transaction = (), frozenset(), Transaction()
        self.behind = []

    def announce(self, sql: str, core: Compiled | None) -> None:
        """Hear from SQLAlchemy what it is about to execute."""
        self._coming = (sql, core)

    # A statement

    def execute(self, sql: str, parameters: Any, level: str, send: Callable[[], Any], driver: Driver) -> Any:
        """Take the step of one statement. `level` is empty where each statement commits itself."""
        if sql.strip().upper() in ENDINGS:
            return self.end(sql.strip().upper(), send, driver)
        self._level(sql)
        self.settings = self.settings or outlives(sql)
        self.server.doubt_timeouts(sql)
        if self.port.actor is None:
            self.server.looked(sql)
            return send()
        announced, core = self._coming
        statement = self.server.statement(sql, parameters, core if announced == sql else None)
        if statement.touched.unseen:
            return self._unseen(send)
        if statement.touched.clock:
            self.server.looked_at_clock()
        level = self.transaction.level = level and (self.transaction.level or level)
        operation = self._operation(statement, level)
        choice, undone = self._asked(statement, operation)
        if choice == "lost_request":
            raise driver.lose("request")
        if undone:
            send, self.behind = driver.sacrifice, self.server.waiting_for(self)
        if not level or EVERYTHING in statement.touched.writes:
            self.server.stain(statement.touched.writes)
        before = self.server.committed(operation, len(self.server.commits))
        result = None
        try:
            result = self._sent(statement, operation, parameters, send)
        except Exception as error:
            if not self.server.is_error(error):
                raise
            self._has_failed(statement, error, before, driver)
            if choice == "go":
                raise
        else:
            self._done(statement, driver.answer(result), before, driver)
        self._after(choice, driver)
        return result

    def _asked(self, statement: Statement, operation: Operation) -> tuple[Choice, bool]:
        """Wait for a statement's turn; return what is to become of it, and whether the server, instead of serving
        it, undoes its transaction to end a deadlock."""

        def served() -> bool:
            return self.server.ready(self, statement, operation) and not self.server.comes_later(self)

        self.asking = statement, operation
        try:
            ready = lambda: served() or self.server.in_circle(self)  # noqa: E731
            choice = self.port.ask(operation, ready, times_out=self.server.gives_up(statement))
            return choice, self.server.in_circle(self)
        finally:
            self.asking = None

    def _unseen(self, send: Callable[[], Any]) -> Any:
        """Send what is no step."""
        self.within, self.waiting = True, lambda: None
        try:
            return send()
        finally:
            self.within = False

    def _level(self, sql: str) -> None:
        """Hear which isolation level a statement sets, for the next transaction or for all."""
        found = level_of(sql)
        if found is None:
            return
        level, lasting = self.server.level(found[0]), found[1]
        if lasting:
            self.connection.usual_level = level
        else:
            self.transaction.level = level

    def _sent(self, statement: Statement, operation: Operation, parameters: Any, send: Callable[[], Any]) -> Any:
        self.within, self.sql, self.values = True, statement.sql, parameters
        self.waiting = lambda: self.server.learn(self, statement, operation)
        try:
            return send()
        finally:
            self.within = False

    def _operation(self, statement: Statement, level: str) -> Operation:
        touch = statement.touched
        reads, writes = set(touch.reads), set(touch.locks)
        if not level:
            writes |= touch.writes
        else:
            # A transaction that fails is undone at once, and lets its locks go. Plain reads do not fail.
            if touch.locks or touch.writes or level != READ_COMMITTED:
                writes |= self.transaction.locks
            if level != READ_COMMITTED and not self.transaction.begun:
                reads.add(ALL_DATA)  # here its snapshot is taken
            if level == SERIALIZABLE:
                self._serial(touch, reads, writes)
        return Operation(statement.text, statement.sql, frozenset(reads), frozenset(writes))

    def _serial(self, touch: Touched, reads: set[str], writes: set[str]) -> None:
        """Add the keys of a statement at SERIALIZABLE. Looks of those who have written nothing commute."""
        current = self.transaction
        (writes if touch.writes or touch.locks or current.wrote else reads).add(SERIAL)
        if not current.said:
            writes.add(f"{BEGUN}/{self._number}")
        if self.server.reading_locks:
            reads |= locks_of(touch.reads)

    def _done(self, statement: Statement, answer: Answer, before: tuple[object, ...], driver: Driver) -> None:
        touch, current = statement.touched, self.transaction
        # Of a statement that does several things at once, the number of rows tells about the last only.
        several = len(touch.writes) > 1 or EVERYTHING in touch.writes or statement.sql[:4].upper() == "WITH"
        changed = bool(touch.writes or touch.locks) and (several or answer.rows > 0)
        self.port.reply(answer.text, changed=changed)
        said = (statement.mark, answer.whole, before)
        if touch.held:
            self.outside += (said,)
            self._locks_outside |= touch.locks
        writes = touch.writes if changed else frozenset[str]()
        if not current.level:
            self._committed(writes, (said,))
            return
        self._say(statement, said)
        current.writes |= writes
        if not driver.in_transaction():  # a statement that implies a COMMIT
            self._committed(current.writes | touch.writes, current.said)
            self.transaction = Transaction()

    def _say(self, statement: Statement, said: Said) -> None:
        current = self.transaction
        if not current.begun:
            current.seen = len(self.server.commits)
        current.said += (said,)
        touch = statement.touched
        current.locks |= touch.locks
        current.wrote = current.wrote or bool(touch.writes or touch.locks)
        if current.level == SERIALIZABLE and self.server.reading_locks:
            current.locks |= locks_of(touch.reads)

    def _has_failed(
        self, statement: Statement, error: Exception, before: tuple[object, ...], driver: Driver
    ) -> None:
        text = self.server.told(error)
        undone = driver.undone(error)
        self.port.reply(text, changed=undone and bool(self.transaction.locks))
        if undone:
            self.transaction = Transaction(level=self.transaction.level if driver.failed() else "")
        elif self.transaction.level:
            self._say(statement, (statement.mark, text, before))

    def _committed(self, writes: frozenset[str], said: tuple[Said, ...]) -> None:
        if writes:
            self.server.commits.append((writes, said))

    def _after(self, choice: Choice, driver: Driver) -> None:
        if choice == "crash_after":
            self.port.crash()
        if choice == "lost_reply":
            raise driver.lose("reply")

    # The end of a transaction

    def end(self, word: str, send: Callable[[], Any], driver: Driver) -> Any:
        """Take the step of a COMMIT or ROLLBACK; where there is nothing to end, it is none."""
        current = self.transaction
        if self.port.actor is None or not (current.said or driver.failed()):
            self.transaction = Transaction()
            return self._unseen(send)
        commits = word == "COMMIT" and not driver.failed()
        writes = current.locks | current.writes if commits else current.locks
        serial = frozenset({SERIAL} if current.level == SERIALIZABLE else ())
        reads = serial | {f"{BEGUN}/*"} if serial and commits else serial
        choice = self.port.ask(Operation(word, word, reads, writes | serial if current.wrote else writes))
        if choice == "lost_request":
            raise driver.lose("request")
        if commits:
            self.server.stain(current.writes)
        self.transaction, self.within, self.waiting = Transaction(), True, lambda: None
        result = None
        try:
            result = send()
        except Exception as error:
            if not self.server.is_error(error):
                raise
            self.port.reply(self.server.told(error), changed=bool(writes))
            if choice == "go":
                raise
        else:
            self._committed(current.writes if commits else frozenset(), current.said)
            self.port.reply("done" if commits else "undone", changed=bool(writes))
        finally:
            self.within = False
        self._after(choice, driver)
        return result

    # Waiting

    def wants(self, statement: Statement, operation: Operation) -> tuple[object, ...]:
        """Return all on which it depends for whom a statement would wait, besides what the others have open."""
        current = self.transaction
        now = self.server.committed(operation, len(self.server.commits))
        then = self.server.committed(operation, current.seen) if current.said else ()
        return statement.mark, current.level, current.said, now, then

    @property
    def locked(self) -> frozenset[str]:
        """Which locks it may have, by all that is known."""
        return self.transaction.locks | self._locks_outside

    @property
    def pattern(self) -> Pattern:
        """What it has said, from which its locks follow."""
        return self.outside, self.transaction.said

    def pattern_of(self, operation: Operation) -> Pattern:
        """Return of that what an operation waits for: a lock that outlives transactions does not end with one."""
        return (self.outside, ()) if meet(operation.keys, self._locks_outside) else self.pattern

    def holds(self, pattern: Pattern) -> bool:
        """Tell whether it still has the locks of a connection that had said this."""
        outside, said = pattern
        mine = self.transaction.said
        # Locks stay until the end of a transaction, unless a part of it is rolled back.
        back = any(mark.lstrip().upper().startswith("ROLLBACK") for mark, _, _ in mine[len(said) :])
        return self.outside == outside and mine[: len(said)] == said and not back


def locks_of(keys: frozenset[str]) -> frozenset[str]:
    """Return the keys of the locks on what these keys stand for.

    >>> locks_of(frozenset({"sql/stock/t1"}))
    frozenset({'sql-lock/stock/t1'})
    """
    return frozenset(f"sql-lock/{key.removeprefix('sql/')}" if key != EVERYTHING else key for key in keys)


def answer_of(rows: list[tuple[Any, ...]] | None, count: int, naming: Naming) -> Answer:
    """Return what came back, of a statement that answers with rows, or with their number only."""
    if rows is None:
        # Where the driver does not know how many there are, there may be some.
        return Answer(counted(count) if count >= 0 else "done", str(count), count if count >= 0 else 1)
    if len(rows) == 1 and len(rows[0]) <= COLUMNS:
        text = ", ".join(told(value, naming) for value in rows[0])
    else:
        text = counted(len(rows))
    return Answer(text, repr(rows), len(rows))


def counted(count: int) -> str:
    """Return a number of rows.

    >>> counted(1), counted(0)
    ('1 row', '0 rows')
    """
    return f"{count} row{'' if count == 1 else 's'}"
