"""The truth about a service: its own orders, read where its file says, until they no longer change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from oversold.clock import Clock
from oversold.errors import UsageError
from oversold.services.mapping import LedgerProbe, Service
from oversold.services.placeholders import Value
from oversold.services.probes.rows import NotNowError, Row
from oversold.services.said import hushed, secrets_of

__all__ = ["NotNowError", "Reading", "Row", "read", "settled"]
PAUSES = 4  # readings in the time for which nothing may change
SHORTEST_S, LONGEST_S = 0.02, 1.0


class Reading(NamedTuple):
    """The orders, and whether they can be believed to be all: `settled` is false where they went on changing."""

    rows: list[Row]
    settled: bool
    waited_s: float


def read(service: Service, fixed: Mapping[str, Value]) -> list[Row]:
    """Return the service's orders as they are now.

    Args:
        service: one that has a ledger.
        fixed: what is known of the run: `run_id`, `tranche_id`, `capacity_fen`, `unit_fen`.

    Raises:
        UsageError: the ledger cannot be read as orders; one line that never shows a password.
        NotNowError: it cannot be read just now.
    """
    probe = service.ledger
    if probe is None:
        raise UsageError(f"the service {service.name} has no ledger to read: add [ledger] to its file")
    try:
        return _read(service, probe, fixed)
    except UsageError as error:
        # What somebody's books say may hold anything, and a message may show a part of it.
        text = hushed(str(error), secrets_of(service))
        raise type(error)(text) from None


def _read(service: Service, probe: LedgerProbe, fixed: Mapping[str, Value]) -> list[Row]:
    # Each is imported when it is needed: a CSV file needs no SQL.
    if probe.kind == "sql":
        from oversold.services.probes import sql

        return sql.read(probe, str(fixed["tranche_id"]))
    if probe.kind == "http":
        from oversold.services.probes import http

        return http.read(service, probe, fixed)
    from oversold.services.probes import csvfile

    return csvfile.read(probe, fixed)


def settled(service: Service, fixed: Mapping[str, Value], clock: Clock) -> Reading:
    """Read until nothing has changed for the ledger's `settle_s`, for at most its `wait_s`.

    An answer may reach a bidder before the order reaches the books. The sequence of the orders does not matter. A
    ledger that cannot be read just now is asked again.

    Args:
        service: one that has a ledger.
        fixed: see `read`.
        clock: time and sleep.

    Raises:
        UsageError: the ledger cannot be read as orders; where waiting may help, not once within `wait_s`.
    """
    probe = service.ledger
    settle_s, wait_s = (probe.settle_s, probe.wait_s) if probe else (0.0, 0.0)
    pause_s = min(max(settle_s / PAUSES, SHORTEST_S), LONGEST_S)
    start_s = clock.now_s()
    rows: list[Row] | None = None
    seen: Counter[Row] = Counter()
    since_s = start_s
    while True:
        asked_s = clock.now_s()
        late: NotNowError | None = None
        try:
            newest = read(service, fixed)
        except NotNowError as error:
            late = error
        else:
            counted = Counter(newest)
            if rows is None or counted != seen:
                since_s = clock.now_s()
            rows, seen = newest, counted
            # From the end of the first reading to the beginning of this one: in between nothing was written.
            if asked_s - since_s >= settle_s or not settle_s:
                return Reading(rows, True, clock.now_s() - start_s)
        left_s = start_s + wait_s - clock.now_s()
        if left_s <= 0:
            if rows is None and late is not None:
                raise late
            return Reading(rows or [], False, clock.now_s() - start_s)
        clock.sleep(min(pause_s, left_s))
