"""What went wrong inside a run besides its verdict: counted by kind, never unbounded."""

from __future__ import annotations

import traceback
from collections import Counter
from pathlib import Path
from typing import Any, Literal

# limit: the harness kept within bounds that the user set, so a part of the load was never sent. unmapped: a reply
# of a service that no rule of its file fits, which may be the file's fault.
FaultKind = Literal["raised", "nonsense", "hung", "store", "limit", "unmapped"]
MAX_KINDS = 50
# MariaDB: cannot connect, server has gone away, connection lost (twice), shutdown, killed, idle too long.
LOST_MARIADB = {(2003,), (2006,), (2013,), (2055,), (1053,), (1927,), (4031,)}
TEXT = 200
PACKAGE = Path(__file__).parents[1]


class Faults:
    """Counts faults by (kind, phase, text); beyond 50 different ones, the rest is counted as `others`."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[FaultKind, str, str]] = Counter()

    def add(self, kind: FaultKind, phase: str, text: str) -> None:
        """Count one fault. `phase` is the call it happened in."""
        lines = text.splitlines()
        entry = (kind, phase, lines[0][:TEXT] if lines else "")
        if entry not in self._counts and len(self._counts) >= MAX_KINDS:
            entry = (kind, phase, "others")
        self._counts[entry] += 1

    def rows(self) -> list[dict[str, Any]]:
        """Return the counts, most frequent first."""
        return [
            {"kind": kind, "phase": phase, "text": text, "count": count}
            for (kind, phase, text), count in self._counts.most_common()
        ]


def told(error: BaseException) -> str:
    """Return an exception in one line, with the place where the strategy's own code raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if PACKAGE not in Path(frame.filename).parents] or frames
    lines = str(error).splitlines() or [""]
    place = f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {lines[0][: TEXT - 60]}{place}"


def connection_lost(error: BaseException) -> bool:
    """Tell whether an exception means that the store or the connection is gone, rather than a strategy's bug.

    Such operations may or may not have happened at the server: their outcome is unknown.
    """
    # All drivers together take a third of a second to import: not before something has gone wrong.
    import pika.exceptions
    import psycopg
    import pymysql.err
    import redis
    import sqlalchemy.exc
    from pika.adapters.utils.connection_workflow import AMQPConnectorException
    from pymemcache.exceptions import MemcacheUnexpectedCloseError

    if isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig is not None:
        error = error.orig
    if isinstance(error, pymysql.err.MySQLError):
        # A deadlock or a lock that was waited for too long has a code of the server's and a definite end.
        return isinstance(error, pymysql.err.InterfaceError) or error.args[:1] in LOST_MARIADB
    if isinstance(error, psycopg.OperationalError):
        # Deadlocks and failed serialisations have a code and a definite end; a dead connection has none.
        return error.sqlstate is None or error.sqlstate[:2] == "08" or error.sqlstate.startswith("57P")
    return isinstance(
        error,
        redis.ConnectionError
        | redis.TimeoutError
        | MemcacheUnexpectedCloseError
        | pika.exceptions.AMQPConnectionError
        | pika.exceptions.ChannelWrongStateError
        | AMQPConnectorException
        | ConnectionError
        | TimeoutError,
    )
