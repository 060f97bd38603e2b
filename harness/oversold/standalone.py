"""The payment channels alone, for a payout service of the user's own: run until Ctrl-C, say what they paid."""

from __future__ import annotations

import signal
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console

from oversold.errors import HarnessError, UsageError
from oversold.model import yuan
from oversold.platform.channels import books as channel_books
from oversold.platform.channels import operator
from oversold.platform.channels.operator import ChannelEndpoint
from oversold.platform.channels.profile import Profile
from oversold.stores.guard import Guard

WATCH_S = 0.2


def serve(profile: Profile, seed: int, first_port: int, out: Path | None, console: Console) -> dict[str, Any]:
    """Run the channels of a profile until Ctrl-C or SIGTERM; return what their books then say.

    Args:
        first_port: of the first channel; the others follow. 0: free ones.
        out: keeps the books; without it they go.

    Raises:
        UsageError: a port is taken, or there are books in `out` already.
        HarnessError: a channel ended by itself; what the books say has been printed.
    """
    ports = {name: first_port + number for number, name in enumerate(profile.channels)} if first_port else None
    if ports and max(ports.values()) > 65_535:
        raise UsageError(f"--port {first_port}: {len(ports)} channels need ports up to {max(ports.values())}")
    with ExitStack() as stack:
        guard = stack.enter_context(Guard())
        folder = out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="oversold-channels-")))
        folder.mkdir(parents=True, exist_ok=True)
        old = sorted(folder.glob("channel-*.sqlite"))
        if old:
            raise UsageError(f"there are books in {folder} already ({old[0].name}): choose another --out")
        channels = operator.start(profile, seed, guard, folder, ports)
        _introduce(profile, channels, console)
        # A shell lets what it starts in the background ignore Ctrl-C, and so `kill -INT`.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        ended = _watch(channels, guard)
        for endpoint in channels.values():
            guard.stop(endpoint.pid)  # so that nothing is paid any more after the books were read
        document = _closing(profile, channels)
    _conclude(document, console)
    if ended:
        raise HarnessError(ended)
    return document


def _watch(channels: Mapping[str, ChannelEndpoint], guard: Guard) -> str:
    """Wait until Ctrl-C, or until a channel ends by itself: return what is to be said of that, else nothing."""
    try:
        while True:
            time.sleep(WATCH_S)
            for name, endpoint in channels.items():
                code = guard.returncode(endpoint.pid)
                if code is not None:
                    lines = endpoint.log.read_text(errors="replace").strip().splitlines()
                    said = f"its log ends with: {lines[-1].strip()}" if lines else "its log is empty"
                    return f"channel {name} has ended by itself (status {code}); {said}"
    except KeyboardInterrupt:
        return ""


def _introduce(profile: Profile, channels: Mapping[str, ChannelEndpoint], console: Console) -> None:
    console.print(f"Profile {profile.name}: {profile.about}", soft_wrap=True, markup=False)
    for name, endpoint in channels.items():
        terms = profile.channels[name].terms()
        promise = f"tells the truth of a call after {terms.visibility_s:g} s"
        keys = f"remembers keys for {terms.key_retention_s:g} s" if terms.honours_keys else "ignores keys"
        console.print(f"channel {name}: {endpoint.url}  {promise}, {keys}", soft_wrap=True, markup=False)
    first = next(iter(channels.values()))
    console.print(f"API: {first.url}/openapi.json", soft_wrap=True, markup=False)
    console.print("Ctrl-C ends it and says who was paid twice.")


def _closing(profile: Profile, channels: Mapping[str, ChannelEndpoint]) -> dict[str, Any]:
    paid: Counter[str] = Counter()
    effects: Counter[str] = Counter()
    rows: dict[str, dict[str, int]] = {}
    for name, endpoint in channels.items():
        calls = channel_books.read_calls(endpoint.books)
        # A late effect that is still to come counts: at a real channel nothing would keep it from coming.
        moved = [call for call in calls if call.moves()]
        failed_but_paid = sum(call.reply == "failed" for call in moved)
        ok_but_unpaid = sum(call.reply == "ok" and call.replay_of is None and not call.moves() for call in calls)
        rows[name] = {
            "calls": len(calls),
            "payments": len(moved),
            "paid_fen": sum(call.amount_fen for call in moved),
            "lies": failed_but_paid + ok_but_unpaid,
            "failed_but_paid": failed_but_paid,
            "ok_but_unpaid": ok_but_unpaid,
        }
        for call in moved:
            effects[call.ref] += 1
            paid[call.ref] += call.amount_fen
    twice = sorted(ref for ref, count in effects.items() if count > 1)
    return {
        "schema": "oversold/channels/1",
        "profile": profile.name,
        "channels": rows,
        "refs_paid": len(effects),
        "refs_paid_twice": twice,
        "paid_fen": sum(paid.values()),
    }


def _conclude(document: Mapping[str, Any], console: Console) -> None:
    for name, row in document["channels"].items():
        console.print(
            f"channel {name}: {row['calls']:,} calls, {row['payments']:,} payments of {yuan(row['paid_fen'])}, "
            f"{row['failed_but_paid']:,} of them answered failed; {row['ok_but_unpaid']:,} told ok did not pay",
            soft_wrap=True,
            markup=False,
        )
    twice = document["refs_paid_twice"]
    names = f": {', '.join(twice[:10])}{' ...' if len(twice) > 10 else ''}" if twice else ""
    console.print(
        f"{len(twice):,} of {document['refs_paid']:,} refs were paid more than once{names}",
        soft_wrap=True,
        markup=False,
    )
