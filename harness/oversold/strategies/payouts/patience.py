"""How long to wait: for a worker before it is taken for dead, for a channel before people have to look."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from oversold.model import Terms

if TYPE_CHECKING:
    from oversold.strategies.payouts.desk import Row
    from oversold.strategies.payouts.interface import Channel

STALE_S = 2.0  # for channels that are prompt; see `stale_s`
MARGIN_S = 0.2  # added to what a channel promises: replies, commits and clocks take their time
PATIENCE = 4  # times a channel's own times until people have to look


def stale_s(channels: Iterable[Channel]) -> float:
    """Return the age in seconds from which a claim belongs to a worker that died.

    A policy touches its claim before each call, so a living worker's claim is as old as one call at most.
    """
    # A call may take its time-out twice: to get a connection, and to get an answer.
    return max([STALE_S, *(2 * channel.terms.timeout_s + MARGIN_S for channel in channels)])


def overdue(row: Row, terms: Terms) -> bool:
    """Return whether the row has waited in its status for so long that the channel will not help any more."""
    return row.age_s > PATIENCE * (terms.timeout_s + terms.visibility_s + terms.settle_s) + MARGIN_S
