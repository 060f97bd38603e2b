"""The requests of one payday as bytes: obligations batch by batch, jobs, and what is asked meanwhile."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from oversold.errors import UsageError, near
from oversold.model import Job, Obligation, Payday
from oversold.services.mapping import Service
from oversold.services.payout_mapping import (
    CHANNEL,
    CHANNELS,
    LOCATION,
    OBLIGATIONS,
    DoneRequest,
    KillRequest,
    ObligationsRequest,
    PayoutService,
    grafted,
)
from oversold.services.placeholders import Value
from oversold.services.requests import Request
from oversold.services.templates import Prepared, place_of

BODY = b"\r\n\r\n"


class PaydayRequests:
    """Whole HTTP/1.1 requests about one payday. `masked`: for people to read, so secrets are ***.

    Raises (all methods):
        UsageError: an environment variable is not set, or a channel is named that is not there.
    """

    def __init__(self, service: Service, payout: PayoutService, payday_id: str, *, masked: bool = False) -> None:
        self._service, self._payout, self._masked = service, payout, masked
        self._fixed: Mapping[str, Value] = {"run_id": payday_id, "payday_id": payday_id}

    def obligations(self, payday: Payday, channels: Mapping[str, str]) -> Iterator[bytes]:
        """Yield what enters a payday, in batches. `channels` maps names to URLs, in the order of the channels.

        A payday without obligations is entered too, by one request with an empty list.
        """
        request = self._payout.obligations
        fixed = {**self._fixed, **_singles(request, channels)}
        due = payday.obligations
        size = request.batch or max(1, len(due))
        for start in range(0, max(1, len(due)), size):
            wholes = {OBLIGATIONS: self._items(request, due[start : start + size]), CHANNELS: dict(channels)}
            body = grafted(request.json_, {name: _literal(whole) for name, whole in wholes.items()})
            yield self._rendered(request.model_copy(update={"json_": body}), fixed)

    def job(self, job: Job) -> bytes:
        """Return what starts a job."""
        return self._rendered(self._payout.job, self._of_job(job))

    def done(self, job: Job, job_id: Value | None, location: str | None) -> bytes:
        """Return what asks whether a start is done; `job_id` and `location` are what its reply said, if it did.

        Raises:
            UsageError: the file asks by what the reply did not say.
        """
        return self._about(self._payout.job.done, "[job.done]", job, job_id, location)

    def kill(self, request: KillRequest, job: Job, job_id: Value | None) -> bytes:
        """Return what kills a start; see `done`."""
        return self._about(request, "[job.kill]", job, job_id, None)

    def once(self, request: Request) -> bytes:
        """Return a request about the whole payday: [reconcile] or [state]."""
        return self._rendered(request, self._fixed)

    def _about(
        self,
        request: DoneRequest | KillRequest,
        section: str,
        job: Job,
        job_id: Value | None,
        location: str | None,
    ) -> bytes:
        service = self._service
        if request.path == LOCATION:
            asked = self.job(job).split(b" ", 2)[1].decode("ascii")
            place = None if location is None else place_of(service, asked, location)
            if place is None:
                raise UsageError(
                    f"{service.name}: the reply to [job] has no Location at the service for {section}"
                )
            # It is a whole path already: the prefix of the service's url is in it.
            parts = urlsplit(service.url)
            service = service.model_copy(update={"url": f"{parts.scheme}://{parts.netloc}"})
            request = request.model_copy(update={"path": _literal(place)})
        values = self._of_job(job)
        if job_id is not None:
            values["job_id"] = job_id
        try:
            return Prepared(service, request, values, masked=self._masked).render({})
        except KeyError:
            raise UsageError(f"{service.name}: the reply to [job] has no id for {section} at job_id") from None

    def _items(self, request: ObligationsRequest, due: Sequence[Obligation]) -> list[Any]:
        bare = request.model_copy(update={"path": "/", "headers": {}, "json_": request.item})
        one = Prepared(self._service, bare, self._fixed, masked=self._masked)
        texts = (
            one.render(
                {
                    "obligation_id": each.obligation_id,
                    "user_id": each.user_id,
                    "kind": each.kind,
                    "amount_fen": each.amount_fen,
                }
            )
            for each in due
        )
        return [json.loads(text.partition(BODY)[2]) for text in texts]

    def _of_job(self, job: Job) -> dict[str, Value]:
        return {
            **self._fixed,
            "job": job.name,
            "start": job.start,
            "run": job.run,
            "kind": job.kind,
            "workers": job.workers,
        }

    def _rendered(self, request: Request, values: Mapping[str, Value]) -> bytes:
        return Prepared(self._service, request, values, masked=self._masked).render({})


def _singles(request: ObligationsRequest, channels: Mapping[str, str]) -> dict[str, str]:
    """Return the URLs of single channels by their gaps.

    Raises:
        UsageError: the file names a channel that the profile does not have.
    """
    known = {f"{CHANNEL}{name.replace('-', '_')}": url for name, url in channels.items()}
    for gap in sorted(request.channels() - known.keys()):
        there = ", ".join(f"{{{name}}}" for name in known)
        raise UsageError(f"[obligations] has {{{gap}}}, and no channel of the profile is called so"
                         f"{near(gap, list(known))}: there are {there}")  # fmt: skip
    return known


def _literal(value: Any) -> Any:
    """Return a JSON document, or a text, as a template in which nothing is a gap."""
    if isinstance(value, str):
        return value.replace("{", "{{").replace("}", "}}")
    if isinstance(value, Mapping):
        return {_literal(name): _literal(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_literal(item) for item in value]
    return value
