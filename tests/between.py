"""What happens between two statements of a lane over SQL: another one steps in, or runs into its locks."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import sqlalchemy as sa

IMPATIENT = {"postgresql": "SET lock_timeout TO '1ms'", "mariadb": "SET innodb_lock_wait_timeout = 0"}
# Row locks and advisory locks; MariaDB notes user locks in another place than those of its transactions.
WAITING = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid = {0}",
    "mariadb": "SELECT (SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT' AND "
    "trx_mysql_thread_id = {0}) + (SELECT count(*) FROM information_schema.processlist WHERE state = 'User lock' "
    "AND id = {0})",
}
# MariaDB shows its transactions as they were when somebody asked, until nobody has asked for a tenth of a second.
PAUSE_S = {"postgresql": 0.01, "mariadb": 0.12}
SECONDS = 10


def before(client: sa.Connection, word: str, happen: Callable[[], Any], times: int = 1) -> list[str]:
    """Let something happen just before each of the next `times` statements of a client that contain a word.

    COMMIT and ROLLBACK count as statements. Returns a list that grows by each of all the statements that do.
    """
    seen: list[str] = []

    def look(statement: str) -> None:
        if word in statement:
            seen.append(statement)
            if len(seen) <= times:
                happen()

    sa.event.listen(client.engine, "before_cursor_execute", lambda _, __, statement, *___: look(statement))
    sa.event.listen(client.engine, "commit", lambda _: look("COMMIT"))
    sa.event.listen(client.engine, "rollback", lambda _: look("ROLLBACK"))
    return seen


def impatient(client: sa.Connection) -> None:
    """Let a client give up at once where it would have to wait for a row that somebody has locked."""
    client.exec_driver_sql(IMPATIENT[client.dialect.name])
    client.commit()


def number(client: sa.Connection) -> int:
    """Return the number by which the server knows a client's connection."""
    driver: Any = client.connection.driver_connection
    return int(driver.info.backend_pid if client.dialect.name == "postgresql" else driver.thread_id())


class Meanwhile:
    """Calls made in threads of their own while the test goes on.

    Args:
        watch: a client of nobody's lane, which asks the server who waits for a lock.
    """

    def __init__(self, watch: sa.Connection) -> None:
        self._watch = watch.execution_options(isolation_level="AUTOCOMMIT")
        self._threads = ThreadPoolExecutor(4)

    def until_blocked(self, client: sa.Connection, call: Callable[[], Any]) -> Future[Any]:
        """Start a call and return when its client waits for a lock, or when it is done."""
        query = WAITING[client.dialect.name].format(number(client))
        running = self._threads.submit(call)
        deadline = time.monotonic() + SECONDS
        while not running.done() and not self._watch.exec_driver_sql(query).scalar_one():
            assert time.monotonic() < deadline, "neither done nor waiting for a lock"
            time.sleep(PAUSE_S[client.dialect.name])
        return running

    def close(self) -> None:
        """Wait until all calls are done."""
        self._threads.shutdown()
