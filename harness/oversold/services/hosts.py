"""Who may be sent load: this machine, and hosts that the user named; what looks like production, named twice."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from oversold.errors import UsageError
from oversold.services.mapping import Service
from oversold.services.placeholders import expand, parse
from oversold.services.requests import requests_in

PRODUCTION = {"prod", "production", "prd", "live", "www"}
# A part that is one of these words tells that a host is there to be tried out.
TRIAL = {
    *("dev", "devel", "development", "test", "tests", "testing", "stag", "stage", "staging", "stg", "qa", "uat"),
    *("sandbox", "local", "localhost", "ci", "demo", "preview", "perf", "loadtest", "lab"),
}
# As the last label most of them are domains that anybody can buy, such as .dev; these are not.
TRIAL_TOPS = {"test", "local", "localhost"}
TRIAL_ENDS = (".internal", ".lan", ".home.arpa", ".example", ".invalid")


def check(service: Service, allowed: Sequence[str]) -> None:
    """Refuse a service that is elsewhere, unless the user allowed every host that its file names.

    Loopback (localhost, 127.0.0.0/8, ::1) is always allowed. `allowed` has what `--allow-host` was given, one
    entry each time; a host that looks like production must be there twice. Names are compared as they are
    written: none is looked up, and no entry stands for several hosts.

    Raises:
        UsageError: a host is not allowed; the text says exactly what to type. Or ledger.sql cannot be read, or the
            environment leads past its host.
    """
    named = [_plain(entry) for entry in allowed]
    for key, host in hosts_of(service):
        if is_loopback(host):
            continue
        reason = production(host)
        if named.count(_plain(host)) >= (2 if reason else 1):
            continue
        flag = f"--allow-host {host}"
        if reason:
            raise UsageError(
                f"{key}: {host} looks like production ({reason}): if it may be sent load, add {flag} {flag}"
            )
        raise UsageError(f"{key}: {host} is not this machine: if it may be sent load, add {flag}")


def hosts_of(service: Service) -> Iterator[tuple[str, str]]:
    """Yield every host that a service's file names, each with its key: url, Host headers, ledger.sql.

    Raises:
        UsageError: a Host header has a gap, or ledger.sql cannot be read.
    """
    yield "url", urlsplit(service.url).hostname or ""
    headers = {"headers": service.headers}
    headers |= {f"{key}.headers": request.headers for key, request in requests_in(service)}
    for key, table in headers.items():
        for name, value in table.items():
            if name.lower() == "host":
                yield f"{key}.{name}", _host_header(f"{key}.{name}", value)
    if service.ledger and service.ledger.sql is not None:
        # Its drivers take long to import, and most service files are read without them.
        from oversold.services.probes.sql import refuse_detours, url_of

        url = url_of(expand(service.ledger.sql))
        refuse_detours(url)
        if url.get_backend_name() != "sqlite" and url.host:
            yield "ledger.sql", url.host


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, as its name says: no name is looked up."""
    host = _plain(host)
    if host == "localhost":
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def production(host: str) -> str:
    """Return why a host looks like production, or an empty string.

    A label, or a part of one between hyphens, is a word such as prod or www, digits after it or not; or the name
    has a domain and no part before its last label that is dev, test, staging or the like; or it is a public
    address.
    """
    host = _plain(host)
    address = _address(host)
    if address is not None:
        return "a public address" if address.is_global else ""
    labels = host.split(".")
    parts = _words(labels)
    words = [part for part in parts if part in PRODUCTION]
    if words:
        return f"{words[0]!r} in its name"
    trial = TRIAL.intersection(_words(labels[:-1])) or labels[-1] in TRIAL_TOPS
    if len(labels) == 1 or host.endswith(TRIAL_ENDS) or trial:
        return ""
    return "nothing in its name says dev, test or staging"


def _words(labels: Sequence[str]) -> list[str]:
    return [part.rstrip("0123456789") for label in labels for part in re.split(r"[-_]", label)]


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        # A zone belongs to an IPv6 address; elsewhere what follows the % is a part of a name that is looked up.
        address = ipaddress.ip_address(host.partition("%")[0] if ":" in host else host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _plain(host: str) -> str:
    return host.strip().strip("[]").rstrip(".").lower()


def _host_header(key: str, value: str) -> str:
    if not all(isinstance(piece, str) for piece in parse(value)):
        raise UsageError(f"{key}: a host has no placeholders: write it out")
    return re.sub(r":\d+$", "", value.strip())
