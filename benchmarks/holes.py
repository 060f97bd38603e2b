"""Which exploration shows the known hole of which strategy, and why none can show the others."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from oversold.explorations.options import Typed, exploration_of
from oversold.explorations.questions import Exploration
from oversold.plan import Kind

TIME = "is a matter of time"
RABBIT = "RabbitMQ has no seam: its commands cannot be taken one at a time"


@dataclass(frozen=True)
class Hole:
    """How a hole shows: the words after `oversold explore STRATEGY` that find it, empty where none can; `beyond`
    says what of it lies outside the model."""

    words: str = ""
    beyond: str = ""

    @property
    def broken(self) -> bool:
        """Whether it is one of the promises that are searched for when nobody names one."""
        return bool(self.words) and "--check" not in self.words


RACE = Hole("--bidders 2 --capacity-bids 1")
FAULT = Hole("--bidders 2 --capacity-bids 1 --faults 1")
LEAK = Hole("--bidders 2 --capacity-bids 1 --faults 1 --check leak")
UNSOLD = "--check undersubscription"
TURNED_AWAY = f"--bidders 2 --capacity-bids 1 --faults 1 {UNSOLD}"
# One wants more than there is, and that keeps another from buying what there is.
TOO_BIG = f"--bidders 2 --capacity-bids 1 --shares 2,1 {UNSOLD}"

BIDS: dict[str, Hole] = {
    "none": RACE,
    "check-then-decr": RACE,
    "memcached-cas": Hole(f"--bidders 3 --capacity-bids 2 {UNSOLD}"),
    "memcached-cas-retry": Hole(beyond=f"eight conflicts in a row take nine bidders, and the storm {TIME}"),
    "memcached-cas-readd": FAULT,
    "memcached-decr": RACE,
    "memcached-decr-offset": Hole(f"--bidders 3 --capacity-bids 3 --shares 2,2,1 {UNSOLD}"),
    "memcached-lock": FAULT,
    "memcached-lock-fenced": Hole(beyond=f"the stall {TIME}"),
    "redis-watch": Hole(beyond=f"sixteen conflicts in a row take seventeen bidders, and the storm {TIME}"),
    "redis-decr": Hole(TOO_BIG),
    "redis-lua": Hole(LEAK.words, "a failover to a replica: one server is explored"),
    "redis-lock": FAULT,
    "redis-lock-fenced": Hole(beyond=f"the stall {TIME}"),
    "redlock": Hole(FAULT.words, "a server that restarts empty, or whose clock jumps"),
    "redis-queue": Hole(TURNED_AWAY, f"the backlog {TIME}"),
    "redis-stream": Hole(TURNED_AWAY, f"the backlog {TIME}"),
    "redis-stream-no-dedupe": Hole(f"--bidders 2 --capacity-bids 2 --faults 1 {UNSOLD}"),
    "rabbitmq-queue": Hole(beyond=RABBIT),
    "rabbitmq-queue-ack-first": Hole(beyond=RABBIT),
    "rabbitmq-queue-no-dedupe": Hole(beyond=RABBIT),
    "row-lock": Hole(beyond=f"the convoy {TIME}"),
    "row-lock-held": Hole(beyond=f"the convoy {TIME}"),
    "skip-locked": Hole(TOO_BIG),
    "skip-locked-busy": Hole(beyond=f"the cost of a row for each unit {TIME}"),
    "conditional-update": Hole(beyond=f"the hot row {TIME}"),
    "version": Hole(f"--bidders 4 --capacity-bids 4 {UNSOLD}"),
    "version-retry": Hole(beyond=f"the work in vain {TIME}"),
    "serializable": Hole(f"--bidders 4 --capacity-bids 4 --mode hunt {UNSOLD}"),
    "serializable-retry": Hole(beyond=f"the work in vain {TIME}"),
    "advisory-lock": Hole(beyond=f"the convoy {TIME}; and a caller who forgets the lock is another design"),
    "advisory-lock-try": Hole(f"--bidders 2 --capacity-bids 2 {UNSOLD}"),
    "advisory-lock-early": RACE,
    "buckets": Hole(f"--bidders 2 --capacity-bids 1 {UNSOLD}"),
    "buckets-steal": Hole(f"--bidders 2 --capacity-bids 2 --shares 2 {UNSOLD}"),
    "tokens": Hole(TURNED_AWAY),
    "tokens-returned": Hole(TOO_BIG),
    "two-phase": Hole(TURNED_AWAY),
    "two-phase-unchecked": FAULT,
}

TWICE = "--workers 2 --faults 0"
ONE_FAULT = "--workers 2 --faults 1"
PAUSE = "--workers 1 --faults 1"
OF_THE_POLICY = "it leaves the payment to the policy, whose hole it is"
CLAIMS: dict[str, Hole] = {
    "none": Hole(TWICE),
    "cas": Hole(beyond=OF_THE_POLICY),
    "row-lock": Hole(beyond=OF_THE_POLICY),
    "queue": Hole(beyond=OF_THE_POLICY),
    "lease": Hole(ONE_FAULT),
    "lease-fenced": Hole(ONE_FAULT),
}
POLICIES: dict[str, Hole] = {
    "blind-failover": Hole(ONE_FAULT),
    "retry-new-key": Hole(ONE_FAULT),
    "retry-same-key": Hole(
        beyond="a channel that forgets or ignores keys: the explored ones honour them for a day"
    ),
    "query-then-retry": Hole(beyond="a visibility lag: the explored channels know a call at once"),
    "failover-after-proof": Hole(PAUSE, "a call that a stalled channel takes up after the void"),
    "unique-outbox": Hole(ONE_FAULT),
    "state-machine": Hole(PAUSE, f"the backlog for people {TIME}"),
}


def broken_payouts() -> Iterator[tuple[str, str]]:
    """Yield payout strategies that pay twice, a few for each reason, and the words that show it."""
    for name in ("none+blind-failover", "none+retry-new-key", "none+query-then-retry"):
        yield name, TWICE
    for lock in ("row-lock", "cas", "lease-fenced"):
        for policy in ("blind-failover", "retry-new-key", "unique-outbox"):
            yield f"{lock}+{policy}", ONE_FAULT


def asked(strategy: str, kind: Kind, words: str) -> Exploration:
    """Return what `oversold explore STRATEGY` with these words asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bidders", "--workers")
    for option in ("--capacity-bids", "--shares", "--faults"):
        parser.add_argument(option)
    parser.add_argument("--budget", default="30s")
    parser.add_argument("--mode", default="exhaustive")
    parser.add_argument("--store", default="real")
    parser.add_argument("--no-pauses", dest="pauses", action="store_false")
    parser.add_argument("--check", dest="checks", action="append", default=[])
    given = vars(parser.parse_args(shlex.split(words)))
    return exploration_of(Typed(strategy, **{**given, "checks": tuple(given["checks"])}), kind)
