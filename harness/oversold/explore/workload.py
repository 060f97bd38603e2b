"""What is paid in an exploration, by how many workers, over which channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from oversold.errors import UsageError, near
from oversold.explore.seams.channel import HONEST
from oversold.model import Obligation, Payday
from oversold.payout_plan import obligation_id, user_id
from oversold.platform.channels.profile import DAY_S, ChannelProfile

DUE_FEN = 100
LEAST = {"visibility_s": 0, "key_life_s": 0, "pauses": 0}


@dataclass(frozen=True)
class Workload:
    """What is paid, and by how many: each worker is a start of the interest job of its own, and they overlap.

    The channels are honest and prompt where no fault is chosen; a query or a statement knows a call only after
    `visibility_s`, an idempotency key is honoured for `key_life_s` (0: not at all). `pauses` is 0 where no worker
    ever stops for hours; else that is one of the faults.
    """

    obligations: int = 1
    workers: int = 2
    channels: tuple[str, ...] = ("A", "B")
    visibility_s: int = 0
    key_life_s: int = DAY_S
    pauses: int = 1

    @property
    def due_fen(self) -> tuple[int, ...]:
        """What each obligation comes to; no two are alike."""
        return tuple(DUE_FEN + index for index in range(self.obligations))

    @property
    def profiles(self) -> Mapping[str, ChannelProfile]:
        """How each channel behaves where no fault is chosen."""
        terms = {"visibility_s": self.visibility_s, "key_retention_s": self.key_life_s}
        return dict.fromkeys(self.channels, HONEST.model_copy(update=terms))

    def payday(self, payday_id: str) -> Payday:
        """Return the obligations, each of which somebody else is owed."""
        return Payday(
            payday_id,
            tuple(
                Obligation(obligation_id(payday_id, index), user_id(payday_id, index), "interest", fen)
                for index, fen in enumerate(self.due_fen)
            ),
        )


def workload_of(numbers: Mapping[str, Any]) -> Workload:
    """Return the workload of a scenario; what it does not say is as usual.

    Raises:
        UsageError: a number that there is not, or that is none.
    """
    known = asdict(Workload())
    for name, number in numbers.items():
        least = LEAST.get(name, 1)
        if name not in known:
            raise UsageError(f"a payday has no {name!r}{near(name, list(known))}: there are {', '.join(known)}")
        if name != "channels" and not (isinstance(number, int) and number >= least):
            raise UsageError(f"{name} cannot be {number!r}: it must be a whole number of at least {least}")
    channels = tuple(str(numbers.get("channels", "A,B")).split(","))
    if not all(channels) or len(set(channels)) < len(channels):
        raise UsageError(f"channels cannot be {numbers['channels']!r}: give names with commas between, like A,B")
    return Workload(**{**numbers, "channels": channels})
