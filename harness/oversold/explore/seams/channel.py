"""The seam of payment channels: real kernels over books in memory. What a call does and says is a choice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from oversold.explore.actor import LOST, Port
from oversold.explore.execution import LONG_S
from oversold.explore.naming import Naming
from oversold.explore.operation import Operation
from oversold.model import PayReply, QueryReply, VoidReply, yuan
from oversold.platform.channels.books import Books, Call
from oversold.platform.channels.kernel import Kernel
from oversold.platform.channels.profile import ChannelProfile, Outcomes
from oversold.schedule import Choice

HONEST = ChannelProfile(outcomes=Outcomes(applied_ok=1.0))
PAY_FAULTS: tuple[Choice, ...] = (*LOST, "lie")
# What a call that arrives does and says, by what became of it.
OUTCOMES: Mapping[Choice, Outcomes] = {
    "go": Outcomes(applied_ok=1.0),
    "crash_after": Outcomes(applied_ok=1.0),
    "lost_reply": Outcomes(applied_timeout=1.0),
    "lie": Outcomes(applied_failed=1.0),
}
HOUR_NS = round(LONG_S * 1e9)
KEY_SHOWN = 6  # characters of a long key


class Bank:
    """One channel: its books, and a kernel for each way in which a call may end. Times of the books are hours that
    passed, in nanoseconds, plus the number of the step: they never go back."""

    def __init__(self, name: str, profile: ChannelProfile) -> None:
        self.name, self.terms = name, profile.terms()
        self.books = Books(":memory:")
        self.passed_ns = 0
        self.kernels = {
            choice: Kernel(name, profile.model_copy(update={"outcomes": outcomes}), 0, self.books)
            for choice, outcomes in OUTCOMES.items()
        }


def step_of(call: Call) -> int:
    """Return the number of the step in which a call reached its channel."""
    return call.t_arrived % HOUR_NS


class PaymentChannels:
    """All channels of an exploration, in the order in which jobs try them.

    `profiles` says by name how they behave; their `outcomes` are not looked at, since those are chosen.
    """

    def __init__(self, naming: Naming, profiles: Mapping[str, ChannelProfile]) -> None:
        self.naming = naming
        self.banks = {name: Bank(name, profile) for name, profile in profiles.items()}

    def connect(self, port: Port) -> dict[str, ExploredChannel]:
        """Return an actor's channels by name, whose every call waits for its turn at `port`."""
        return {name: ExploredChannel(bank, port, self.naming) for name, bank in self.banks.items()}

    def clean(self, client: object) -> None:
        """A channel keeps nothing of a caller that is gone."""

    def remember(self) -> None:
        """Nothing was paid before an execution begins."""

    def reset(self) -> None:
        """Empty all books: a fifth of a millisecond cheaper than new ones."""
        for bank in self.banks.values():
            bank.books.clear()

    def expiring(self) -> Iterable[tuple[Choice, str]]:
        """Nothing disappears from a channel by itself."""
        return ()

    def disappear(self, key: str) -> None:
        """Nothing does."""

    def pass_time(self, now_s: float) -> None:
        """Let the channels' clocks show this many seconds since the execution began."""
        for bank in self.banks.values():
            bank.passed_ns = round(now_s * 1e9)

    def close(self) -> None:
        """Close the books."""
        for bank in self.banks.values():
            bank.books.close()


class ExploredChannel:
    """A `Channel` (strategies.payouts.interface) each call of which is one step. It never raises."""

    def __init__(self, bank: Bank, port: Port, naming: Naming) -> None:
        self.name, self.terms = bank.name, bank.terms
        self._bank, self._port, self._naming = bank, port, naming

    def pay(self, ref: str, user_id: str, amount_fen: int, key: str | None = None) -> PayReply:
        """Ask to pay."""
        touched = {self._row(ref)} if key is None else {self._row(ref), f"{self._all}key/{self._naming.of(key)}"}
        text = f"pay {self._naming.of(ref)} {yuan(amount_fen)} by {self.name}{self._under(key)}"
        choice = self._ask(Operation(text, f"pay {self.name}", writes=frozenset(touched)), PAY_FAULTS)
        if choice == "lost_request":
            self._port.reply("timeout, not paid", changed=False)
            return "timeout"
        bank = self._bank
        answer = bank.kernels[choice].pay(self._now_ns, 1, ref, user_id, amount_fen, key, self._caller)
        moved = bank.books.of_ref(ref)[-1].moves()
        reply: PayReply = "timeout" if choice == "lost_reply" else answer.reply
        self._end(f"{reply}, paid" if moved and reply != "ok" else reply, choice, changed=moved)
        return reply

    def query(self, ref: str) -> QueryReply:
        """Ask what became of all payments under a ref together."""
        text = f"query {self._naming.of(ref)} at {self.name}"
        choice = self._ask(Operation(text, f"query {self.name}", reads=frozenset({self._row(ref)})), LOST)
        answer = self._bank.kernels["go"].query(self._now_ns, ref)
        return "timeout" if self._unheard(answer, choice, changed=False) else answer

    def void(self, ref: str) -> VoidReply:
        """Cancel whatever under a ref has not moved money yet."""
        text = f"void {self._naming.of(ref)} at {self.name}"
        choice = self._ask(Operation(text, f"void {self.name}", writes=frozenset({self._row(ref)})), LOST)
        if choice == "lost_request":
            self._port.reply("timeout, not voided", changed=False)
            return "timeout"
        answer = self._bank.kernels["go"].void(self._now_ns, ref)
        return "timeout" if self._unheard(answer, choice, changed=answer == "voided") else answer

    def statement(self) -> Mapping[str, int]:
        """Return fen paid by ref; an empty one when the channel does not answer."""
        rows = frozenset({f"{self._all}*"})
        choice = self._ask(Operation(f"statement of {self.name}", f"statement {self.name}", reads=rows), LOST)
        answer = self._bank.kernels["go"].statement(self._now_ns)
        told = ", ".join(f"{self._naming.of(ref)} {yuan(fen)}" for ref, fen in sorted(answer.items())) or "nothing"
        return {} if self._unheard(told, choice, changed=False) else answer

    @property
    def _all(self) -> str:
        return f"channel/{self.name}/"

    def _row(self, ref: str) -> str:
        return f"{self._all}{self._naming.of(ref)}"

    def _under(self, key: str | None) -> str:
        """Return an idempotency key for people: those that are drawn are long, and differ early."""
        if key is None:
            return ", no key"
        shown = self._naming.of(key)
        drawn = len(shown) >= 2 * KEY_SHOWN and shown.isalnum()
        return f", key {shown[:KEY_SHOWN]}" if drawn else f", key {shown}"

    def _ask(self, operation: Operation, faults: tuple[Choice, ...]) -> Choice:
        """Wait for the call's turn.

        A channel that does not answer is no failed connection to a store: what comes of it is the strategy's own.
        """
        actor = self._port.actor
        hit = actor is not None and actor.hit
        choice = self._port.ask(operation, faults=faults)
        if actor is not None:
            actor.hit = hit
        return choice

    def _unheard(self, answer: str, choice: Choice, *, changed: bool) -> bool:
        """Note what was answered; true when the caller does not hear of it."""
        lost = choice in LOST
        self._end("timeout" if lost else answer, choice, changed=changed)
        return lost

    def _end(self, text: str, choice: Choice, *, changed: bool) -> None:
        self._port.reply(text, changed=changed)
        if choice == "crash_after":
            self._port.crash()

    @property
    def _caller(self) -> str:
        return self._port.actor.name if self._port.actor is not None else ""

    @property
    def _now_ns(self) -> int:
        actor = self._port.actor
        execution = actor.execution if actor is not None else None
        return self._bank.passed_ns + (len(execution.steps) if execution is not None else 0)
