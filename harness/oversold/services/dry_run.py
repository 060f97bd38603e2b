"""What `--dry-run` prints: each request as it would be sent, how replies are read, where the truth is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from oversold.model import Job, Obligation, Payday
from oversold.services.hosts import is_loopback
from oversold.services.mapping import LedgerProbe, PollRequest, Service
from oversold.services.paydays import PaydayRequests
from oversold.services.payout_mapping import CHANNEL, PayoutService
from oversold.services.placeholders import Gap, Value, Variable, expand, fill, parse
from oversold.services.requests import Request, Rule, requests_in
from oversold.services.templates import LOCATION, Prepared

LOCATION_OF_THE_REPLY = "/LOCATION-OF-THE-REPLY"
# As `strategies.payouts.service` takes them.
JOB_OTHERWISE = "error, but 408, 425, 429 and 502 to 504 -> unknown"
DONE_OTHERWISE = "error, but 408, 425, 429 and 5xx -> pending, for 10 s at most"
CHANNEL_URL = "http://127.0.0.1:PORT"


def describe(service: Service, fixed: Mapping[str, Value], sample: Mapping[str, Value]) -> list[str]:
    """Return the lines that tell what a run would do; nothing is sent, and secrets are ***.

    Args:
        service: what its file says.
        fixed: the run's values: run_id, tranche_id, capacity_fen, unit_fen.
        sample: one tap's values: bid_id, user_id, n, amount_fen, attempt.

    Raises:
        UsageError: ledger.sql cannot be read, or its environment variable is not set.
    """
    lines = [f"service {service.name} at {service.url}; nothing has been sent", ""]
    if service.payout:
        lines += _payday(service, service.payout, str(fixed["run_id"]))
    else:
        lines += _sale(service, fixed, sample)
    return [*lines, "", *_bounds(service), *notes(service)]


def _sale(service: Service, fixed: Mapping[str, Value], sample: Mapping[str, Value]) -> Iterator[str]:
    if service.open:
        yield "open, once before the load:"
        yield from _request(service, service.open, fixed, sample)
        if service.open.tranche_id is not None:
            yield f"  the tranche's id is read from its reply, at {_path(service.open.tranche_id)}"
    else:
        yield "open: none, the tranche must be there already"
    yield from ("", "bid, once a tap; this is one of them:")
    yield from _request(service, service.bid, fixed, sample)
    yield from _replies(service.bid.reply)
    later = ", looked up in the ledger afterwards" if service.ledger else ""
    yield f"  no whole reply within {service.timeout_s:g} s -> unknown{later}"
    if any(rule.verdict == "pending" for rule in service.bid.reply):
        yield ""
        yield from _poll(service, service.poll, fixed, sample)
    if service.status:
        yield from ("", "status, again and again beside the load:")
        yield from _request(service, service.status, fixed, sample)
        full = " and ".join(f"{_path(path)} = {value!r}" for path, value in service.status.full.items())
        yield f"  left: {_path(service.status.remaining_fen or '')}; full when {full or 'nothing is left'}"
    yield ""
    yield from _truth(service, fixed, sample)


def _payday(service: Service, payout: PayoutService, payday_id: str) -> Iterator[str]:
    """Yield the requests of a payday, with one obligation. Which channels there are, only the run knows."""
    asked = PaydayRequests(service, payout, payday_id, masked=True)
    due = Payday(payday_id, (Obligation(f"{payday_id}-0", "user-0", "interest", 120),))
    names = sorted(gap.removeprefix(CHANNEL) for gap in payout.obligations.channels()) or ["A"]
    job = Job(payday_id, "interest", 1, 0, 1)
    yield "obligations, before the first job; the channels' addresses are the run's:"
    yield from _shown(next(asked.obligations(due, dict.fromkeys(names, CHANNEL_URL))))
    yield from (
        "",
        "job, each time that one starts:",
        *_shown(asked.job(job)),
        *_replies(payout.job.reply, JOB_OTHERWISE),
    )
    done, kill = payout.job.done, payout.job.kill
    if any(rule.verdict == "pending" for rule in payout.job.reply):
        yield from (
            "",
            f"done, after a reply that is pending, every {done.every_ms:g} ms for {done.for_s:g} s at most:",
        )
        yield from _shown(asked.done(job, "JOB-ID", LOCATION_OF_THE_REPLY))
        yield from _replies(done.reply, DONE_OTHERWISE)
    if kill:
        yield from ("", "kill, when a job is killed:", *_shown(asked.kill(kill, job, "JOB-ID")))
    if payout.reconcile:
        yield from (
            "",
            "reconcile, again and again, until nothing is open:",
            *_shown(asked.once(payout.reconcile)),
        )
    if payout.state:
        yield from ("", "state, again and again beside the jobs:", *_shown(asked.once(payout.state)))
    yield from ("", "truth: the books of our own payment channels")


def notes(service: Service) -> Iterator[str]:
    """Yield what may well be a mistake, though it is no error."""
    yield from _odd_bids(service) if service.payout is None else ()
    for name in sorted(_variables(service)):
        if not os.environ.get(name):
            yield f"note: the environment variable {name} is not set: a run would stop there"
    plain = service.url.startswith("http:") and not is_loopback(urlsplit(service.url).hostname or "")
    if service.auth and plain:
        yield "note: the token would go over the network unencrypted: take https"


def _odd_bids(service: Service) -> Iterator[str]:
    named = {gap.name for _, text in service.bid.texts() for gap in parse(text) if isinstance(gap, Gap)}
    if not named & {"bid_id", "user_id", "n"}:
        yield "note: the bid names neither {bid_id} nor {user_id} nor {n}: all bidders send the same request"
    if not named & {"amount_fen", "amount_yuan"}:
        yield "note: the bid names neither {amount_fen} nor {amount_yuan}: the ledger's amounts may not be ours"
    ledger = service.ledger
    if ledger and ledger.query and ":tranche_id" not in ledger.query:
        yield "note: ledger.query does not bind :tranche_id: orders of earlier runs would be counted too"
    if ledger and ledger.csv and "{tranche_id}" not in ledger.csv:
        yield "note: ledger.csv has no {tranche_id} in its name: orders of earlier runs would be counted too"


def _request(
    service: Service, request: Request, fixed: Mapping[str, Value], sample: Mapping[str, Value]
) -> list[str]:
    values = {LOCATION: LOCATION_OF_THE_REPLY, **sample}
    return _shown(Prepared(service, request, fixed, masked=True).render(values))


def _shown(raw: bytes) -> list[str]:
    head, _, body = raw.decode("utf-8", "replace").partition("\r\n\r\n")
    return [f"  | {line}" for line in (*head.split("\r\n"), *(["", body] if body else []))]


def _replies(rules: Sequence[Rule], otherwise: str = "error") -> list[str]:
    lines = []
    for rule in rules:
        status = rule.status if isinstance(rule.status, tuple) else (rule.status,)
        codes = "any status" if rule.status is None else ", ".join(map(str, status))
        wanted = "".join(f", {_path(path)} = {value!r}" for path, value in rule.json_.items())
        lines.append(f"  {codes}{wanted} -> {rule.verdict}")
    return [*lines, f"  anything else -> {otherwise}"]


def _poll(
    service: Service, poll: PollRequest, fixed: Mapping[str, Value], sample: Mapping[str, Value]
) -> Iterator[str]:
    yield f"poll, while a bid is pending, every {poll.every_ms:g} ms for at most {poll.for_s:g} s, then unknown:"
    yield from _request(service, poll, fixed, sample)
    yield from _replies(poll.reply, "pending, it says nothing of the bid")


def _truth(service: Service, fixed: Mapping[str, Value], sample: Mapping[str, Value]) -> list[str]:
    ledger = service.ledger
    if ledger is None:
        return ["truth: no ledger, so every result is claims only and can never be a pass: add [ledger]"]
    lines = [
        f"truth, after the load, once it has not changed for {ledger.settle_s:g} s ({ledger.wait_s:g} s at most):"
    ]
    if ledger.http:
        lines += _request(service, ledger.http, fixed, sample)
        lines.append(f"  orders: the list at {_path(ledger.rows)}")
    elif ledger.csv is not None:
        lines.append(f"  the file {fill(ledger.csv, fixed)}")
    else:
        lines += [f"  {_database(ledger)}", *(f"  | {line}" for line in (ledger.query or "").strip().splitlines())]
    names = ", ".join(f"{ours} = {theirs}" for ours, theirs in ledger.columns.items())
    return [*lines, f"  columns: {names}"] if names else lines


def _database(ledger: LedgerProbe) -> str:
    from oversold.services.probes.sql import url_of

    shown = url_of(expand(ledger.sql or ""))
    return f"{shown.get_backend_name()} {shown.host or 'on this machine'}, database {shown.database}"


def _bounds(service: Service) -> Iterator[str]:
    bounds = service.bounds
    yield f"bounds: at most {bounds.users:,} users and {bounds.requests:,} requests"
    if service.auth:
        yield f"every request has {service.auth.header}, from the environment variable {service.auth.env}"


def _variables(service: Service) -> set[str]:
    """Return the environment variables that a run would read, but for those of ledger.sql: they must be set."""
    tables = [service.headers, *(request.headers for _, request in requests_in(service))]
    texts = [text for table in tables for text in table.values()]
    found = {piece.name for text in texts for piece in parse(text) if isinstance(piece, Variable)}
    return found | ({service.auth.env} if service.auth else set())


def _path(path: str) -> str:
    return path or "the whole document"
