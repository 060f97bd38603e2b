"""The coordinator's own requests to a service that sells: before the burst, beside it and after it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from oversold.bid_plan import BidPlan
from oversold.errors import StoreUnavailableError, UsageError
from oversold.model import Claim, yuan
from oversold.services import probes
from oversold.services.mapping import Service
from oversold.services.placeholders import Value, fill
from oversold.services.replies import at_path, claim_of
from oversold.services.requests import Request
from oversold.services.said import said
from oversold.services.templates import Prepared
from oversold.services.wire import Connection, NoAnswerError, NotSentError, Reply, address_of


class Desk:
    """One connection to a service, and what is known of its tranche. For one thread at a time.

    Raises:
        UsageError: an environment variable that the file names is not set, or `ca_file` is of no use.
    """

    def __init__(self, service: Service, plan: BidPlan, run_id: str) -> None:
        self._service, self._plan = service, plan
        self._connection = Connection(address_of(service))
        self._status: bytes | None = None  # the request, made once the tranche has its id
        self.tranche_id = fill(service.tranche_id, {"run_id": run_id})
        self.fixed: dict[str, Value] = {
            "run_id": run_id,
            "tranche_id": self.tranche_id,
            "capacity_fen": plan.capacity_fen,
            "unit_fen": plan.min_bid_fen,
        }

    @property
    def tells(self) -> bool:
        """Whether the service says what is left."""
        return self._service.status is not None

    def reach(self) -> None:
        """See that the service takes a connection and that its ledger can be read, before anything is started.

        Raises:
            StoreUnavailableError: it takes none.
            UsageError: the ledger cannot be read, or a tranche that is there already was sold of.
        """
        try:
            self._connection.open()
        except NotSentError as error:
            raise self._silent(error) from error
        opening, ledger = self._service.open, self._service.ledger
        if opening and (opening.tranche_id is not None or (ledger and ledger.kind == "http")):
            return  # which tranche to ask for is not known yet, or the service does not know it yet
        sold = self.sold()
        if not opening:
            self._refuse_sold(sold)

    def open(self, *, whole: bool) -> str | None:
        """Make the tranche where the service lets us, and see that nothing of it was sold.

        `whole`: what the service says is left must be all of it, too.

        Returns what the service said when it failed to; None when all is well.

        Raises:
            UsageError: it refused, or the tranche is not what the plan says.
            StoreUnavailableError: it does not answer.
        """
        opening = self._service.open
        if opening:
            reply = self._ask(self._bytes(opening))
            if reply.status >= 500:
                return f"it answered {reply.status} to [open]: {said(self._service, reply)}"
            if not 200 <= reply.status < 300:
                raise UsageError(
                    f"{self._service.name} refused [open] with {reply.status} ({said(self._service, reply)}): "
                    "mend its path, its json or [auth]"
                )
            if opening.tranche_id is not None:
                self._take_id(opening.tranche_id, reply)
        self._refuse_sold(self.sold())
        if whole and self.tells:
            self._refuse_other_stock(self.claim())
        return None

    def _refuse_sold(self, sold: Sequence[probes.Row]) -> None:
        ledger = self._service.ledger
        if sold and ledger and ledger.query and ":tranche_id" not in ledger.query:
            raise UsageError(
                f"ledger.query of {self._service.name} does not bind :tranche_id, so it finds {len(sold):,} "
                "orders of other runs as well: add it to the WHERE clause"
            )
        if sold:
            raise UsageError(
                f"the ledger of {self._service.name} has {len(sold):,} orders of tranche {self.tranche_id} before "
                "the burst: empty it, or let [open] make a new tranche for each run"
            )

    def _refuse_other_stock(self, claim: Claim) -> None:
        """A slip between fen and yuan, or a tranche of another size, would be taken for a fault of the service."""
        name, capacity, status = self._service.name, self._plan.capacity_fen, self._service.status
        if status and claim.remaining_fen is None and "remaining_fen" in status.model_fields_set:
            raise UsageError(
                f"{name}: the reply to [status] has no whole number at remaining_fen = {status.remaining_fen!r}: "
                "mend the path, or leave it out"
            )
        if claim.remaining_fen is not None and claim.remaining_fen != capacity:
            raise UsageError(
                f"{name} says that {yuan(claim.remaining_fen)} are left before the burst, and the plan says "
                f"{yuan(capacity)}: give --capacity {claim.remaining_fen}, or mend [open] or remaining_fen "
                "of [status]"
            )
        if claim.status == "full":
            raise UsageError(f"{name} says that nothing is left before the burst: open a new tranche for each run")

    def sold(self) -> Sequence[probes.Row]:
        """Return the tranche's orders as they are now; none where the service has no ledger."""
        ledger = self._service.ledger
        try:
            return probes.read(self._service, self.fixed) if ledger else ()
        except probes.NotNowError:
            if ledger and ledger.kind == "csv":  # the service makes the file with its first order
                return ()
            raise

    def _take_id(self, path: str, reply: Reply) -> None:
        try:
            found = at_path(json.loads(reply.body), path)
        except ValueError:
            found = None
        if not isinstance(found, str | int) or isinstance(found, bool) or found == "":
            raise UsageError(
                f"{self._service.name}: the reply to [open] has no id at tranche_id = {path!r}: "
                f"{said(self._service, reply)}"
            )
        self.tranche_id = str(found)
        self.fixed["tranche_id"] = self.tranche_id

    def claim(self) -> Claim:
        """Ask what the service says of the tranche.

        Raises:
            UsageError: its reply is no such thing.
            StoreUnavailableError: it does not answer.
        """
        assert self._service.status
        if self._status is None:
            self._status = self._bytes(self._service.status)
        reply = self._ask(self._status)
        try:
            if not 200 <= reply.status < 300:
                raise ValueError(f"it answered {reply.status}")
            return claim_of(self._service.status, reply.body)
        except ValueError as error:
            raise UsageError(
                f"{self._service.name} does not tell the tranche's status ({error}: {said(self._service, reply)}"
                "): mend [status], or leave it out"
            ) from error

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _bytes(self, request: Request) -> bytes:
        return Prepared(self._service, request, self.fixed).render({})

    def _ask(self, request: bytes) -> Reply:
        try:
            return self._connection.ask(request)
        except (NotSentError, NoAnswerError) as error:
            raise self._silent(error) from error

    def _silent(self, error: Exception) -> StoreUnavailableError:
        service = self._service
        return StoreUnavailableError(
            f"the service {service.name} at {service.url} does not answer ({error}): start it, or mend url"
        )
