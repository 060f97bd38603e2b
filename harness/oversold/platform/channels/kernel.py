"""The rules of a payment channel: what a call does and what is said of it. No network, no clock, no sleep."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from oversold.clock import seeded
from oversold.model import PayReply, QueryReply, VoidReply
from oversold.platform.channels.books import Books, Call
from oversold.platform.channels.profile import ChannelProfile

Effect = Literal["applied", "none", "later"]
SOONEST = 0.2  # a late effect comes after this share of `later_s` at least
OVERTIME = 2  # a call without an answer is dropped by the channel after so many times `timeout_s`


@dataclass(frozen=True, slots=True)
class Answer:
    """What the channel says to a pay call, and after how many seconds.

    With the reply `timeout` no answer comes within the documented time-out, but `after_s`, which is longer.
    `payment_id` names the call that decided: of a replay, the first one.
    """

    reply: PayReply
    after_s: float
    payment_id: str


@dataclass(frozen=True, slots=True)
class Account:
    """An investor's account at the channel."""

    received_fen: int
    withdrawn_fen: int

    @property
    def balance_fen(self) -> int:
        """What may be withdrawn."""
        return self.received_fen - self.withdrawn_fen


class InFlight:
    """Counts the pay calls that are being processed: `with kernel.in_flight as count`, this one included."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def __enter__(self) -> int:
        with self._lock:
            self.count += 1
            return self.count

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.count -= 1


class Kernel:
    """One channel. Times are nanoseconds of one monotonic clock and never go back.

    What a call meets is drawn from the seed, the channel's name, the ref, and how many calls for that ref came
    before: the same plan meets the same answers, apart from congestion. `namespace` is what the refs of one run
    begin with: it does not count in the draws. Threads may share a kernel.
    """

    def __init__(self, name: str, profile: ChannelProfile, seed: int, books: Books, namespace: str = "") -> None:
        self.name = name
        self.profile = profile
        self.seed = seed
        self.books = books
        self._namespace = namespace
        self.in_flight = InFlight()  # for whoever serves this kernel; `pay` takes the number as an argument
        self._lock = threading.Lock()

    def pay(
        self, now_ns: int, in_flight: int, ref: str, user_id: str, amount_fen: int, key: str | None, caller: str
    ) -> Answer:
        """Decide and enter one call; what it says may be a lie. It is in the books when this returns."""
        profile = self.profile
        with self._lock:
            earlier = self.books.of_ref(ref)
            draw = seeded(self.seed, self.name, ref.removeprefix(self._namespace), len(earlier))
            luck, pace, delay = draw.random(), draw.uniform(0.5, 1.5), draw.uniform(SOONEST, 1)
            remembered = self._remembered(now_ns, ref, user_id, amount_fen, key, earlier)
            t_effect = None
            if remembered:
                first, reply = remembered
            else:
                first = None
                effect, reply = self._outcome(luck, in_flight)
                if effect != "none":
                    t_effect = now_ns + (_ns(delay * profile.later_s) if effect == "later" else 0)
            after_s = pace * profile.mean_latency_s(in_flight)
            if reply == "timeout":
                after_s = OVERTIME * profile.timeout_s
            replay_of = first.id if first else None
            t_replied = now_ns + _ns(after_s)
            row = (ref, user_id, amount_fen, key, caller, reply, replay_of, now_ns, t_replied, t_effect)
            call = self.books.add(*row)
        return Answer(reply, after_s, f"{self.name}-{replay_of or call}")

    def query(self, now_ns: int, ref: str) -> QueryReply:
        """Say what became of all payments under a ref together, as far as they are visible yet."""
        with self._lock:
            calls = self._visible(now_ns, ref)
        if not calls:
            return "not_found"
        if any(call.applied(now_ns) for call in calls):
            return "success"
        return "processing" if any(call.to_come(now_ns) for call in calls) else "failed"

    def void(self, now_ns: int, ref: str) -> VoidReply:
        """Cancel what has had no effect under a ref, at once and for good; `paid` when something had.

        From then on a pay call with a key that was used for this ref before, and did not pay, has no effect.
        So `voided` proves that nothing was paid and nothing of what was asked before ever will be.
        """
        with self._lock:
            self.books.void(ref, now_ns)
            return "paid" if any(call.applied(now_ns) for call in self.books.of_ref(ref)) else "voided"

    def statement(self, now_ns: int) -> dict[str, int]:
        """Return fen paid by ref, of the calls that are visible."""
        with self._lock:
            return self.books.paid(now_ns, now_ns - _ns(self.profile.visibility_s))

    def account(self, now_ns: int, user_id: str) -> Account:
        """Return an investor's account; everybody has one. It shows effects at once."""
        with self._lock:
            return self._account(now_ns, user_id)

    def withdraw(self, now_ns: int, user_id: str, amount_fen: int | None) -> int:
        """Withdraw an amount (None: the whole balance) or what there is of it; return the fen granted."""
        with self._lock:
            balance_fen = self._account(now_ns, user_id).balance_fen
            granted_fen = balance_fen if amount_fen is None else min(amount_fen, balance_fen)
            if granted_fen > 0:
                self.books.withdraw(user_id, granted_fen, now_ns)
            return max(0, granted_fen)

    def _account(self, now_ns: int, user_id: str) -> Account:
        return Account(self.books.received_fen(user_id, now_ns), self.books.withdrawn_fen(user_id))

    def _visible(self, now_ns: int, ref: str) -> list[Call]:
        seen_ns = now_ns - _ns(self.profile.visibility_s)
        return [call for call in self.books.of_ref(ref) if call.replay_of is None and call.t_arrived <= seen_ns]

    def _remembered(
        self, now_ns: int, ref: str, user_id: str, amount_fen: int, key: str | None, earlier: Sequence[Call]
    ) -> tuple[Call, PayReply] | None:
        """Return the call that a key stands for and what is said because of it; None: this is a new call."""
        profile = self.profile
        if key is None:
            return None
        used = [call for call in earlier if call.key == key]
        # A void outlives the key's retention and binds a channel that ignores keys: it would be no proof else.
        if any(call.voided for call in used) and not any(call.applied(now_ns) for call in used):
            return used[0], "failed"
        first = None
        if profile.honours_keys:
            first = self.books.latest_of_key(key, user_id if profile.key_scope == "user" else None)
        if first is None or now_ns - first.t_arrived >= _ns(profile.key_retention_s):
            return None
        if (first.ref, first.user_id, first.amount_fen) != (ref, user_id, amount_fen):
            return first, "mismatch" if profile.on_mismatch == "refuse" else first.reply
        return self._repeated(now_ns, first)

    def _repeated(self, now_ns: int, first: Call) -> tuple[Call, PayReply] | None:
        """Return what the same call with the same key is told; None when it may be tried anew."""
        if first.voided:
            return first, "failed"
        if self.profile.cache_errors and first.reply in ("failed", "timeout"):
            return first, first.reply
        if first.applied(now_ns):
            return first, "ok"
        return (first, "processing") if first.to_come(now_ns) else None

    def _outcome(self, luck: float, in_flight: int) -> tuple[Effect, PayReply]:
        """Return the outcome in whose share of [0, 1) the luck falls."""
        chances = [item for item in self.profile.chances(in_flight).items() if item[1]]
        outcome = chances[-1][0]  # rounding may leave a little luck over
        for name, chance in chances:
            luck -= chance
            if luck < 0:
                outcome = name
                break
        effect, _, reply = outcome.partition("_")
        return cast(Effect, effect), cast(PayReply, reply)


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
