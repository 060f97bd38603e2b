"""What `oversold serve` refuses before it starts anything."""

from __future__ import annotations

import socket
import stat
from pathlib import Path
from typing import Any, cast

import pytest

from oversold.bid_plan import BidPlan
from oversold.errors import UsageError
from oversold.model import Tranche
from oversold.serving.offers import BadWishError, plan_of
from oversold.serving.start import _spawn, start
from oversold.serving.worker import shared_socket
from oversold.stores.guard import Guard

PLAN = BidPlan(scenario="bid-burst", strategy="row-lock")
NOBODY = cast(Guard, None)


def begin(folder: Path, strategy: str = "row-lock", **changes: Any) -> None:
    """Start a server of one process and one lane, changed; nothing gets as far as a process."""
    plan = PLAN.model_copy(update={"strategy": strategy})
    start(plan, {}, NOBODY, folder, **{"processes": 1, "lanes": 1, **changes})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"port": 65_536}, "cannot have port 65536"),
        ({"port": -1}, "cannot have port -1"),
        ({"processes": 0}, "processes=0"),
        ({"processes": 65}, "processes=65"),
        ({"lanes": 0}, "lanes=0"),
        ({"lanes": -5}, "lanes=-5"),
        ({"strategy": "row-lok"}, "did you mean row-lock"),
    ],
)
def test_numbers_and_names_that_cannot_be_are_told(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    """A port, a size or a strategy that cannot be is refused in one line that names it."""
    with pytest.raises(UsageError, match=told) as caught:
        begin(tmp_path, **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shared", [False, True])
def test_a_port_that_somebody_has_is_refused(shared: bool, tmp_path: Path) -> None:
    """A port is not taken over, nor shared with a server that would let us."""
    with socket.socket() as other:
        if shared:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot have port {port} .*choose another"):
            begin(tmp_path, port=port)


def test_answers_are_not_held_back_by_nagle() -> None:
    """asyncio switches Nagle's algorithm off only for sockets that name their protocol; ours does."""
    with shared_socket(0) as first, shared_socket(first.getsockname()[1]) as second:
        assert first.proto == second.proto == socket.IPPROTO_TCP


def test_passwords_are_kept_in_private_files(tmp_path: Path) -> None:
    """The file that tells a process the stores' passwords can be read by its owner alone."""

    class Watching:
        def spawn(self, argv: list[str], **_: Any) -> int:
            assert stat.S_IMODE(Path(argv[-1]).stat().st_mode) == 0o600
            return 7

    assert _spawn(cast(Guard, Watching()), "m", tmp_path / "server", {"password": "x"}) == 7


def test_a_tranche_is_sold_under_its_own_numbers() -> None:
    """Capacity and unit come from the tranche, all else from the server; what does not fit is told."""
    plan = plan_of(PLAN, Tranche("t1", 5_000, 50))
    assert (plan.capacity_fen, plan.min_bid_fen, plan.bids.p) == (5_000, 50, PLAN.bids.p)
    with pytest.raises(BadWishError, match="unit_fen 51 is more than capacity_fen 50"):
        plan_of(PLAN, Tranche("t1", 50, 51))
    demanding = PLAN.model_copy(update={"bids": PLAN.bids.model_copy(update={"demand": 1000.0})})
    with pytest.raises(BadWishError, match="all bids together"):
        plan_of(demanding, Tranche("t1", 10**16, 1))
