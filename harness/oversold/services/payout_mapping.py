"""A payout service as its file describes it: how it gets its obligations, how its jobs start, what it believes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

from pydantic import Field, field_validator, model_validator

from oversold.errors import UsageError, near
from oversold.model import PAYOUT_STATUSES, PayoutStatus
from oversold.services.file import absent_is_default
from oversold.services.placeholders import Gap, parse
from oversold.services.requests import Answer, Request, Rule
from oversold.services.texts import check_key, plain, strings

# What fills the gaps: of a payday, of one start of a job, of one obligation.
PER_PAYDAY = ("run_id", "payday_id")
PER_JOB = (*PER_PAYDAY, "job", "start", "run", "kind", "workers")
PER_ITEM = ("obligation_id", "user_id", "kind", "amount_fen", "amount_yuan")
JOB_ID = "job_id"  # what the service itself calls a start that it has answered
LOCATION = "location"  # as a path: the Location header of the reply
# Gaps that stand for a JSON object or list, and so are all of a JSON value.
OBLIGATIONS, CHANNELS = "obligations", "channels"
CHANNEL = "channel_"  # {channel_A} is the URL of channel A; a hyphen in a channel's name is written _
JOB_ANSWERS: tuple[Answer, ...] = ("ok", "pending", "busy", "error")
MAX_BATCH = 1_000_000
OF_BIDS = ("bid", "open", "poll", "status", "ledger", "tranche_id", "user_id")
# Theirs -> ours, where a file says nothing: our own names, in capitals or small letters.
OUR_STATUSES: Mapping[str, PayoutStatus] = {
    name: status for status in PAYOUT_STATUSES for name in (status, status.lower())
}


def _rule(status: int | tuple[int, ...], verdict: Answer, state: str | None = None) -> Rule:
    return Rule(status=status, json_={} if state is None else {"status": state}, verdict=verdict)


JOB_RULES = (_rule((200, 201, 204), "ok"), _rule(202, "pending"), _rule((409, 429, 503), "busy"))
DONE_RULES = (_rule(200, "ok", "done"), _rule(200, "pending", "running"), _rule(202, "pending"))


def grafted(document: Any, wholes: Mapping[str, Any]) -> Any:
    """Return a JSON document in which every value that is one gap of `wholes` has become what belongs there.

    >>> grafted({"due": "{obligations}", "at": "{payday_id}"}, {"obligations": [1]})
    {'due': [1], 'at': '{payday_id}'}
    """
    if isinstance(document, Mapping):
        return {name: grafted(item, wholes) for name, item in document.items()}
    if isinstance(document, list | tuple):
        return [grafted(item, wholes) for item in document]
    if isinstance(document, str) and document[:1] == "{" and document[1:-1] in wholes and document[-1:] == "}":
        return wholes[document[1:-1]]
    return document


def _gaps(texts: list[tuple[str, str]]) -> set[str]:
    return {piece.name for _, text in texts for piece in parse(text) if isinstance(piece, Gap)}


def _job_rules(rules: tuple[Rule, ...], *needed: Answer) -> tuple[Rule, ...]:
    """Refuse verdicts that mean nothing to a job, and rules by which none could end."""
    for rule in rules:
        if rule.verdict not in JOB_ANSWERS:
            raise ValueError(f"{rule.verdict!r} means nothing to a job: there are {', '.join(JOB_ANSWERS)}")
    if not {rule.verdict for rule in rules} & set(needed):
        raise ValueError(f"no rule says {' or '.join(needed)}, so no job could ever end: add one")
    return rules


class ObligationsRequest(Request):
    """Sent before the first job starts, once or batch by batch: what is due, and where the channels are."""

    method: str = "POST"
    path: str = "/paydays"
    json_: Any = Field(
        {"payday_id": "{payday_id}", "channels": "{channels}", "obligations": "{obligations}"}, alias="json"
    )
    item: Mapping[str, Any] = Field(
        {name: f"{{{name}}}" for name in ("obligation_id", "user_id", "kind", "amount_fen")},
        description="one obligation in the list",
    )
    batch: int | None = Field(None, ge=1, le=MAX_BATCH, description="obligations in one request; none: all")

    def known(self) -> None:
        """The list and the channels' URLs stand alone; the URL of a single channel may stand anywhere."""
        plain(self.item, 0)
        items = strings(self.item, "item")
        for key, text in items:
            check_key(key, text, PER_ITEM)
        if "obligation_id" not in _gaps(items):
            raise ValueError('.item: it has no "{obligation_id}", the ref under which to pay: add it')
        bare = grafted(self.json_, {OBLIGATIONS: "", CHANNELS: ""})
        texts = self.model_copy(update={"json_": bare}).texts()
        for name in _gaps(texts) & {OBLIGATIONS, CHANNELS}:
            raise ValueError(f'.json: {{{name}}} must be a value of its own: write "{{{name}}}" and no more')
        if OBLIGATIONS not in _gaps(self.texts()):
            raise ValueError('.json: it has no "{obligations}", the list of what is due: add it')
        singles = sorted(name for name in _gaps(texts) if name.startswith(CHANNEL))
        self.gaps((*PER_PAYDAY, OBLIGATIONS, CHANNELS, *singles))

    def channels(self) -> set[str]:
        """Return the gaps that are single channels' URLs: `channel_A`."""
        return {name for name in _gaps(self.texts()) if name.startswith(CHANNEL)}


class DoneRequest(Request):
    """How a start that was answered `pending` is asked whether it is done.

    `for_s`: a job may take so long, whether it is asked about or its own reply waits for its end.
    """

    path: str = "/paydays/{payday_id}/jobs/{run}"
    every_ms: float = Field(100, ge=1, le=60_000)
    for_s: float = Field(3600, gt=0, le=86_400)
    reply: tuple[Rule, ...] = DONE_RULES

    @field_validator("path")
    @classmethod
    def _sound_path(cls, path: str) -> str:
        return path if path == LOCATION else super()._sound_path(path)

    @field_validator("reply")
    @classmethod
    def _of_jobs(cls, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        return _job_rules(rules, "ok")

    def known(self) -> None:
        """The service may have given the start an id."""
        self.gaps((*PER_JOB, JOB_ID))


class KillRequest(Request):
    """Sent when a job is killed on purpose, and to what still runs when the payday is over."""

    method: str = "DELETE"
    path: str = "/paydays/{payday_id}/jobs/{run}"

    def known(self) -> None:
        """The service may have given the start an id."""
        self.gaps((*PER_JOB, JOB_ID))


class JobRequest(Request):
    """Starts a job. ok: it is done. pending: `done` is asked. busy: it cannot start yet, so it is asked again.

    `job_id` is the JSON path, in the reply, of what the service calls this start: {job_id} in `done` and `kill`.
    """

    method: str = "POST"
    path: str = "/paydays/{payday_id}/jobs"
    json_: Any = Field({name: f"{{{name}}}" for name in ("run", "job", "start", "workers")}, alias="json")
    reply: tuple[Rule, ...] = JOB_RULES
    job_id: str | None = None
    done: DoneRequest = DoneRequest()
    kill: KillRequest | None = None

    @model_validator(mode="before")
    @classmethod
    def _form_instead(cls, table: Any) -> Any:
        return absent_is_default(table)

    @field_validator("reply")
    @classmethod
    def _of_jobs(cls, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        return _job_rules(rules, "ok", "pending")

    @model_validator(mode="after")
    def _ids_are_known(self) -> JobRequest:
        for name, request in (("done", self.done), ("kill", self.kill)):
            if request is not None and self.job_id is None and JOB_ID in _gaps(request.texts()):
                raise ValueError(
                    f".{name}: it has {{job_id}}, and no job_id says where in the reply that is: add one"
                )
        return self

    def known(self) -> None:
        """It has no id yet."""
        self.gaps(PER_JOB)


class ReconcileRequest(Request):
    """Asked again and again, beside the jobs and after them, until nothing is open any more."""

    method: str = "POST"
    path: str = "/paydays/{payday_id}/reconcile"
    open: str = Field("open", description="JSON path of how many obligations are in no end state")

    def known(self) -> None:
        """It is about the whole payday."""
        self.gaps(PER_PAYDAY)


class StateRequest(Request):
    """What the service believes of each obligation, four times a second. `rows`, and in each row the others, are
    JSON paths; `statuses` maps its words to ours."""

    path: str = "/paydays/{payday_id}"
    rows: str = "obligations"
    id: str = "obligation_id"
    status: str = "status"
    reason: str = "reason"
    statuses: Mapping[str, PayoutStatus] = OUR_STATUSES

    @field_validator("statuses", mode="before")
    @classmethod
    def _ours(cls, table: Any) -> Any:
        for theirs, ours in table.items() if isinstance(table, Mapping) else ():
            if ours not in PAYOUT_STATUSES:
                hint, known = near(str(ours), list(PAYOUT_STATUSES)), ", ".join(PAYOUT_STATUSES)
                raise ValueError(f'{theirs!r} is mapped to {ours!r}{hint}: write theirs = "OURS", one of {known}')
        return table

    def known(self) -> None:
        """It is about the whole payday."""
        self.gaps(PER_PAYDAY)


@dataclass(frozen=True)
class PayoutService:
    """The sections of a service that pays. Those that are None it does not have."""

    obligations: ObligationsRequest
    job: JobRequest
    reconcile: ReconcileRequest | None = None
    state: StateRequest | None = None

    def public(self) -> dict[str, str]:
        """Return what a report may say of the requests: method and path of each."""
        asked: dict[str, Request | None] = {
            "obligations": self.obligations,
            "job": self.job,
            "done": self.job.done,
            "kill": self.job.kill,
            "reconcile": self.reconcile,
            "state": self.state,
        }
        return {name: f"{one.method} {one.path.partition('?')[0]}" for name, one in asked.items() if one}


SECTIONS = tuple(field.name for field in fields(PayoutService))


def refuse_mixed(keys: Collection[str]) -> None:
    """Refuse a file whose keys are those of bids and of payouts, or half of those that a payout needs.

    Raises:
        ValueError: which keys, and what to do.
    """
    payouts = [name for name in SECTIONS if name in keys]
    bids = [name for name in OF_BIDS if name in keys]
    if payouts and bids:
        raise ValueError(
            f"{bids[0]} is about bids and {payouts[0]} about payouts: a file describes one of them, take one out"
        )
    for name in ("obligations", "job") if payouts else ():
        if name not in keys:
            raise ValueError(f"it has [{payouts[0]}] and no [{name}]: a payout service needs obligations and job")


def check_jobs(name: str, payout: PayoutService, jobs: str) -> None:
    """Refuse to replay, with a service called `name`, what it cannot do: `jobs` is the setting of a payday.

    Raises:
        UsageError: its jobs cannot be killed.
    """
    if jobs == "killed" and payout.job.kill is None:
        raise UsageError(
            f"{name} has no [job.kill], so jobs=killed cannot be replayed: add it, or take jobs=twice"
        )


def check_headers(headers: Mapping[str, str]) -> None:
    """Refuse headers of all requests with gaps that only bids fill.

    Raises:
        ValueError: which header.
    """
    for name, value in headers.items():
        check_key(f"headers.{name}", value, PER_PAYDAY, variables=True)
