"""Honest payment channels in a contract test, and the books of what they paid."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

from oversold.model import PayReply, QueryReply, Terms, VoidReply

PROMPT = Terms(timeout_s=0.01, visibility_s=0.0, settle_s=0.0, honours_keys=True, key_retention_s=1e6)


class Payment(NamedTuple):
    """Money that a channel has moved."""

    ref: str
    user_id: str
    amount_fen: int


class Books:
    """What the channels did, all together. `refuses`: they pay nothing, and say so."""

    def __init__(self) -> None:
        self.refuses = False
        self.payments: list[Payment] = []
        self._keys: dict[tuple[str, str], PayReply] = {}
        self._lock = threading.Lock()

    def pay(self, payment: Payment, key: str | None) -> PayReply:
        """Pay, unless the key of this wish is known: then repeat what was said to it."""
        with self._lock:
            if key is not None and (payment.ref, key) in self._keys:
                return self._keys[payment.ref, key]
            reply: PayReply = "failed" if self.refuses else "ok"
            if reply == "ok":
                self.payments.append(payment)
            if key is not None:
                self._keys[payment.ref, key] = reply
            return reply

    @property
    def paid(self) -> Counter[str]:
        """How often each ref was paid: the truth."""
        with self._lock:
            return Counter(payment.ref for payment in self.payments)


class WorkerChannel:
    """One worker's client of an honest channel, which answers at once.

    `meets` is called `before` and `after` each payment: there the worker may be held, or die.
    """

    terms = PROMPT

    def __init__(self, name: str, books: Books, meets: Callable[[str], None]) -> None:
        self.name = name
        self._books, self._meets = books, meets

    def pay(self, ref: str, user_id: str, amount_fen: int, key: str | None = None) -> PayReply:
        """Pay, and tell the truth."""
        self._meets("before")
        reply = self._books.pay(Payment(ref, user_id, amount_fen), key and f"{self.name} {key}")
        self._meets("after")
        return reply

    def query(self, ref: str) -> QueryReply:
        """Tell the truth."""
        return "success" if self._books.paid[ref] else "not_found"

    def void(self, ref: str) -> VoidReply:
        """Tell the truth: nothing is ever under way."""
        return "paid" if self._books.paid[ref] else "voided"

    def statement(self) -> Mapping[str, int]:
        """Return all that was paid, by ref. The first channel's books are those of both."""
        told: Counter[str] = Counter()
        for payment in self._books.payments if self.name == "A" else ():
            told[payment.ref] += payment.amount_fen
        return told
