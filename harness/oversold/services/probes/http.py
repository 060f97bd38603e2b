"""The ledger as a request to the service itself, whose reply has the orders as a list in JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NoReturn

from oversold.errors import UsageError
from oversold.services.mapping import LedgerProbe, Service
from oversold.services.placeholders import Value
from oversold.services.probes.rows import OURS, NotNowError, Row, columns_of, listed, rows_of
from oversold.services.reader import MAX_LIST_BYTES
from oversold.services.replies import at_path
from oversold.services.templates import Prepared
from oversold.services.wire import NoAnswerError, NotHttpError, NotSentError, Reply, ask_once

WHERE = "the ledger's reply"
MAY_PASS = (408, 425, 429)  # besides all of 500 and above


def read(service: Service, probe: LedgerProbe, fixed: Mapping[str, Value]) -> list[Row]:
    """Return the orders that the service lists. One reply has to hold all of them.

    Raises:
        UsageError: the reply is no such list, or an environment variable is missing.
        NotNowError: no answer, or one that says to come again.
    """
    assert probe.http is not None
    try:
        asked = Prepared(service, probe.http, fixed).render({})
        reply = ask_once(service, asked, most_bytes=MAX_LIST_BYTES)
    except NotHttpError as error:
        raise UsageError(f"the ledger's request failed ({error}): mend ledger.http, or the service") from None
    except (NotSentError, NoAnswerError) as error:
        raise NotNowError(f"the ledger's request had no answer ({error}): see that the service runs") from None
    records = _records(reply, probe)
    header = _header(records, probe.columns)
    if not records:
        return []
    columns = columns_of(header, probe.columns, WHERE)
    return rows_of(([_value(record, name) for name in header] for record in records), columns, WHERE)


def _records(reply: Reply, probe: LedgerProbe) -> Sequence[Mapping[str, Any]]:
    """Return the list of orders in a reply."""
    if not 200 <= reply.status < 300:
        passes = reply.status >= 500 or reply.status in MAY_PASS
        kind = NotNowError if passes else UsageError
        raise kind(f"the ledger's request was answered with {reply.status}: mend ledger.http, or the service")
    try:
        # Yuan must not go through binary fractions.
        document = json.loads(reply.body, parse_float=Decimal, parse_constant=_refuse)
    except (ValueError, ArithmeticError, RecursionError):
        raise UsageError(f"{WHERE} is no JSON: mend ledger.http, or the service") from None
    records = at_path(document, probe.rows)
    if not isinstance(records, list):
        there = f" (it has {listed(document)})" if isinstance(document, Mapping) and document else ""
        place = f"at {probe.rows!r}" if probe.rows else "but something else"
        raise UsageError(f"{WHERE} has no list {place}{there}: set ledger.rows to the list's path")
    for number, record in enumerate(records, 1):
        if not isinstance(record, Mapping):
            raise UsageError(f"{WHERE}, row {number} is a {type(record).__name__}: each row must be an object")
    return records


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _header(records: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> list[str]:
    """Return what the records call their fields: all names at the top, and the mapped paths that lead anywhere."""
    top = dict.fromkeys(name for record in records for name in record)
    wanted = [names.get(ours, ours) for ours in OURS]
    deep = [
        path for path in wanted if path not in top and any(_value(record, path) is not None for record in records)
    ]
    return [*top, *deep]


def _value(record: Mapping[str, Any], name: str) -> Any:
    return record[name] if name in record else at_path(record, name)
