"""From the records of somebody's ledger to orders: which column is which, amounts in fen, times in Unix ns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from oversold.bid_plan import MAX_OFFERED_FEN
from oversold.errors import UsageError, near

OURS = ("bid_id", "user_id", "amount_fen", "amount_yuan", "at")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
CENT = Decimal("0.01")
# A Unix time is taken for seconds, ms or us where it is below these, else for ns: each reaches past the year 5000.
UNITS = ((10**11, 10**9), (10**14, 10**6), (10**17, 10**3))
MAX_NS = 1 << 62  # so that differences still fit into 64 bits; the year 2116
SHOWN = 60  # characters of a value that cannot be read
MOST_NAMES = 20


class NotNowError(UsageError):
    """A ledger cannot be read just now, and may well be in a moment: away, busy, or being written."""


class Row(NamedTuple):
    """One order as the service's own books have it. `at_ns` is Unix time; None where the books do not say."""

    bid_id: str | None
    user_id: str | None
    amount_fen: int
    at_ns: int | None


@dataclass(frozen=True)
class Columns:
    """At which places of a record the fields of an order are; None for what the records do not have."""

    bid_id: int | None
    user_id: int | None
    amount: int
    in_yuan: bool
    at: int | None


def columns_of(header: Sequence[str], names: Mapping[str, str], where: str) -> Columns:
    """Return where the fields of an order are in records with this header.

    Args:
        header: the names that the records give their fields, in order.
        names: our name -> theirs, where they differ.
        where: the source, for messages.

    Raises:
        UsageError: a field is missing or there twice, or nothing says whose order it is.
    """
    places = {ours: _place(ours, header, names, where) for ours in OURS}
    there = listed(header)
    if places["bid_id"] is None and places["user_id"] is None:
        raise UsageError(
            f"{where} has neither bid_id nor user_id, so nobody can tell whose orders these are: "
            f"name one of its columns in [ledger.columns] (it has {there})"
        )
    # A name that was mapped has precedence over one that is there by chance.
    in_yuan = "amount_yuan" in names or (places["amount_fen"] is None and places["amount_yuan"] is not None)
    amount = places["amount_yuan" if in_yuan else "amount_fen"]
    if amount is None:
        raise UsageError(
            f"{where} has neither amount_fen nor amount_yuan: "
            f"name one of its columns in [ledger.columns] (it has {there})"
        )
    return Columns(places["bid_id"], places["user_id"], amount, in_yuan, places["at"])


def _place(ours: str, header: Sequence[str], names: Mapping[str, str], where: str) -> int | None:
    theirs = names.get(ours, ours)
    count = header.count(theirs)
    if count > 1:
        raise UsageError(f"{where} has {count} columns called {theirs!r}: give each one a name of its own")
    if count:
        return header.index(theirs)
    if ours in names:
        close = near(theirs, [name for name in header if name.isprintable()])
        raise UsageError(
            f"{where} has no column {theirs!r}{close}, which ledger.columns calls {ours}: it has {listed(header)}"
        )
    return None


def listed(names: Iterable[str]) -> str:
    """Return somebody else's names for a message: in one line, and not all of very many."""
    shown = [name if name.isprintable() and name else repr(name) for name in names]
    return ", ".join(shown[:MOST_NAMES]) + (", ..." if len(shown) > MOST_NAMES else "") or "none"


def rows_of(records: Iterable[Sequence[Any]], columns: Columns, where: str) -> list[Row]:
    """Return the orders in `records`, in their order.

    An order may lack a bid_id, a user_id or a time; it may not lack an amount.

    Raises:
        UsageError: a record cannot be read (its number counts from 1), or all together are more than 64 bits hold.
    """
    rows = []
    bid, user, amount, at = columns.bid_id, columns.user_id, columns.amount, columns.at
    name = "amount_yuan" if columns.in_yuan else "amount_fen"
    fen_of = _fen_of_yuan if columns.in_yuan else _fen
    for number, record in enumerate(records, 1):
        try:
            fen = fen_of(record[amount])
        except (ValueError, ArithmeticError) as error:
            raise UsageError(f"{where}, row {number}: {name} is {_shown(record[amount])}, {error}") from None
        time = None if at is None else record[at]
        try:
            at_ns = _unix_ns(time)
        except (ValueError, ArithmeticError):
            raise UsageError(
                f"{where}, row {number}: at is {_shown(time)}, which is no time: "
                "give a timestamp, ISO text or Unix time, or leave it out"
            ) from None
        rows.append(
            Row(
                None if bid is None else _name(record[bid]),
                None if user is None else _name(record[user]),
                fen,
                at_ns,
            )
        )
    if sum(row.amount_fen for row in rows) > MAX_OFFERED_FEN:
        raise UsageError(
            f"{where}: all orders together come to more than {MAX_OFFERED_FEN} fen: check the amounts"
        )
    return rows


def _shown(value: object) -> str:
    """Return a value for a message: one line, not too long."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _name(value: Any) -> str | None:
    """Return an id as text; None for an empty one. Spaces around it are what a CHAR column fills up with."""
    if value is None:
        return None
    if isinstance(value, bytes | bytearray | memoryview):
        value = bytes(value).decode(errors="replace")
    return str(value).strip(" ") or None


def _fen(value: Any) -> int:
    """Return a whole number of fen.

    Raises:
        ValueError: it is none; the text says why.
    """
    if type(value) is int:
        return _within(value)
    number = _decimal(value, "which is no number of fen")
    if number != number.to_integral_value():
        raise ValueError("which is no whole number of fen: amounts in yuan are called amount_yuan")
    return _within(int(number))


def _fen_of_yuan(value: Any) -> int:
    """Return an amount in yuan as fen, exactly.

    Raises:
        ValueError: it is no amount of yuan with at most two places; the text says why.
    """
    if type(value) is int:
        return _within(value * 100)
    number = _decimal(value, "which is no number of yuan")
    rounded = number.quantize(CENT)
    if rounded != number:
        raise ValueError("which has more than two places: a fen is the smallest amount")
    return _within(int(rounded.scaleb(2)))


def _decimal(value: Any, complaint: str) -> Decimal:
    """Return a number exactly as it is written; a float stands for the shortest number that is stored like it."""
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        raise ValueError(complaint) from None
    if not number.is_finite():
        raise ValueError(complaint)
    if abs(number) > MAX_OFFERED_FEN:
        raise ValueError("which is more than all bids together can be: check the amounts")
    return number


def _within(fen: int) -> int:
    if fen < 0:
        raise ValueError(
            "which is negative: let the ledger yield the orders that stand, each with what was bought"
        )
    if fen > MAX_OFFERED_FEN:
        raise ValueError("which is more than all bids together can be: check the amounts")
    return fen


def _unix_ns(value: Any) -> int | None:
    """Return a time as Unix ns; None for none, and for one that is centuries away, such as a placeholder's.

    A datetime or text without a zone is UTC. Numbers, also as text, count seconds, ms, us or ns since 1970.

    Raises:
        ValueError: it is no time.
        ArithmeticError: it is a number, but no finite one.
    """
    if isinstance(value, str):
        value = value.strip()
        try:
            value = Decimal(value) if value else None
        except InvalidOperation:
            value = _moment(value)
    if value is None:
        return None
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        ns = (aware - EPOCH) // MICROSECOND * 1000
    elif isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        number: Any = value if isinstance(value, int) else Decimal(str(value))
        ns = int(number * next((factor for below, factor in UNITS if abs(number) < below), 1))
    else:
        raise ValueError("no time")
    return ns if abs(ns) < MAX_NS else None


def _moment(text: str) -> datetime:
    """Return a date and time in ISO 8601, or as HTTP and mail write them, which Flask's JSON does."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return parsedate_to_datetime(text)
