"""The ledger as a CSV file with a header line, which the service may still be writing to."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from oversold.errors import UsageError
from oversold.services.mapping import LedgerProbe
from oversold.services.placeholders import Value, fill
from oversold.services.probes.rows import Columns, NotNowError, Row, columns_of, rows_of

DELIMITERS = ",;\t"


def read(probe: LedgerProbe, fixed: Mapping[str, Value]) -> list[Row]:
    """Return the orders in the file: UTF-8, fields between commas, semicolons or tabs, empty lines ignored.

    Raises:
        UsageError: it cannot be read as orders.
        NotNowError: there is no such file, it is empty, or its last line looks half-written.
    """
    path = Path(fill(probe.csv or "", fixed)).expanduser()
    where = f"the ledger file {path}"
    text = _text(path)
    first = text.lstrip("\r\n").partition("\n")[0]
    # The header decides, since names hold no delimiters and amounts may.
    delimiter = max(DELIMITERS, key=first.count)
    try:
        lines = [
            line for line in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if line
        ]
    except csv.Error as error:
        kind = UsageError if _ended(text) else NotNowError
        raise kind(f"{where} is no CSV ({error}): mend it, or name another file in ledger.csv") from None
    if not lines:
        raise NotNowError(f"{where} is empty: its first line must name the columns")
    header, records = [name.strip() for name in lines[0]], lines[1:]
    columns = columns_of(header, probe.columns, where)
    try:
        return _rows(records, columns, len(header), where)
    except UsageError as error:
        if _ended(text):
            raise
        # Half a line was written: if all the others are sound, the rest of it is on its way.
        _rows(records[:-1], columns, len(header), where)
        raise NotNowError(str(error)) from None


def _rows(records: Sequence[Sequence[str]], columns: Columns, width: int, where: str) -> list[Row]:
    for number, record in enumerate(records, 1):
        if len(record) != width:
            raise UsageError(f"{where}, row {number} has {len(record)} fields, the header {width}: mend the file")
    return rows_of(records, columns, where)


def _text(path: Path) -> str:
    """Return what is in the file, without the mark that some programs begin UTF-8 with."""
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"ledger.csv: {path} is no file: give the one that the service writes")
        raw = path.read_bytes()
    except FileNotFoundError:
        # The service may make it with its first order.
        raise NotNowError(f"ledger.csv: there is no file {path}: give the one that the service writes") from None
    except OSError as error:
        raise UsageError(
            f"ledger.csv: {path} cannot be read ({error.strerror}): give a file of your own"
        ) from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # A character of several bytes may have been written in part.
        kind = NotNowError if error.end == len(raw) else UsageError
        line = raw.count(b"\n", 0, error.start) + 1
        raise kind(f"ledger.csv: {path} is not UTF-8 in line {line}: write it as UTF-8") from None


def _ended(text: str) -> bool:
    return text.endswith(("\n", "\r"))
