"""Who bids for what in an exploration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SHARE_FEN = 100  # what one share costs


@dataclass(frozen=True)
class Crowd:
    """So many bidders for so many shares in all. Each makes `bids_each` bids, one after the other over the same
    connections. `shares` are what the bids want, in turn: all first bids, then all second ones, and so on."""

    bidders: int = 2
    capacity_bids: int = 1
    shares: tuple[int, ...] = (1,)
    bids_each: int = 1

    @property
    def bids(self) -> int:
        """How many bids are made in all."""
        return self.bidders * self.bids_each

    def bids_of(self, bidder: int) -> range:
        """Return the numbers of a bidder's bids, in the order in which they are made."""
        return range(bidder, self.bids, self.bidders)

    def wanted(self, bid: int) -> int:
        """Return how many shares a bid asks for."""
        return self.shares[bid % len(self.shares)]

    def wanted_fen(self, bid: int) -> int:
        """Return what a bid asks for."""
        return SHARE_FEN * self.wanted(bid)

    def name(self, bid: int) -> str:
        """Return whose bid it is, and which one of them."""
        number, bidder = divmod(bid, self.bidders)
        which = f", bid {number + 1}" if self.bids_each > 1 else ""
        return f"bidder {bidder + 1}{which}"

    @property
    def capacity_fen(self) -> int:
        """What is for sale."""
        return SHARE_FEN * self.capacity_bids

    @property
    def scenario(self) -> dict[str, int | str]:
        """The numbers of it; `crowd_of` is the inverse. One bid each is not said."""
        return {
            "bidders": self.bidders,
            "capacity_bids": self.capacity_bids,
            "shares": ",".join(map(str, self.shares)),
            **({"bids_each": self.bids_each} if self.bids_each > 1 else {}),
        }


def crowd_of(numbers: Mapping[str, Any]) -> Crowd:
    """Return the crowd of a scenario."""
    shares: Sequence[int] = [int(each) for each in str(numbers["shares"]).split(",")]
    each = int(numbers.get("bids_each", 1))
    return Crowd(int(numbers["bidders"]), int(numbers["capacity_bids"]), tuple(shares), each)
