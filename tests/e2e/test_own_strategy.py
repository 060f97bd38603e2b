"""A user's own strategy that raises, hangs or answers nonsense fails with a finding; the others go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.servers, pytest.mark.slow]
Call = Callable[..., Any]

SHOP = '''
from oversold.model import Hold
from oversold.strategies.bids.redis_lua import RedisLua

class Raises(RedisLua):
    def reserve(self, bid):
        raise ValueError("no stock row for " + bid.tranche_id)

class Nonsense(RedisLua):
    def reserve(self, bid):
        return "yes"

class Hangs(RedisLua):
    def reserve(self, bid):
        self._redis.blpop(["nobody writes here"], timeout=25)
        return Hold("busy")

class Spins(RedisLua):
    def reserve(self, bid):
        while True:
            pass

class CannotOpen(RedisLua):
    def open(self, tranche):
        raise RuntimeError("no table")

class ReleasesNothing(RedisLua):
    def release(self, bid, hold):
        return False

class AlwaysError(RedisLua):
    def reserve(self, bid):
        return Hold("error")

class LosesHolds(RedisLua):
    def confirm(self, bid, hold):
        return False
'''  # fmt: skip


@pytest.mark.parametrize(
    ("name", "says", "more"),
    [
        ("Raises", "raised in reserve: ValueError: no stock row", []),
        ("Nonsense", "nonsense in reserve", []),
        ("Hangs", "hung in call: no answer within", ["--set", "hang_s=2"]),
        ("Spins", "hangs: nothing has moved", ["--set", "hang_s=1", "--set", "patience_s=0"]),
        ("CannotOpen", "raised in open: RuntimeError: no table", []),
        ("ReleasesNothing", "neither", []),
        ("LosesHolds", "stayed unsold although", []),
        ("AlwaysError", "stayed unsold although", []),
    ],
)
def test_a_faulty_strategy_fails_with_a_finding(
    oversold: Call, tmp_path: Path, name: str, says: str, more: list[str]
) -> None:
    """Exit 1 with a finding that says what went wrong; nothing hangs, no traceback."""
    (tmp_path / "shop.py").write_text(SHOP)
    said = oversold("run", "bid-burst", "-s", f"shop.py:{name}", "-u", "300", "--no-canary", "--json", *more)
    assert said.code == 1, said.err
    assert "Traceback" not in said.err
    failed = [f["detail"] for f in said.json["findings"] if f["verdict"] == "fail"]
    assert any(says in detail for detail in failed), failed


def test_the_others_go_on(oversold: Call, tmp_path: Path) -> None:
    """In a comparison a strategy that cannot even be opened costs only its own row."""
    (tmp_path / "shop.py").write_text(SHOP)
    said = oversold("compare", "bid-burst", "-s", "shop.py:CannotOpen,redis-lua", "-u", "300", "--json")
    assert said.code == 1, said.err
    verdicts = {run["strategy"]: run["verdict"] for run in said.json["runs"]}
    assert verdicts["shop.py:CannotOpen"] == "fail"
    assert verdicts["redis-lua"] in {"pass", "inconclusive"}
    sold = {run["strategy"]: run["tranche"]["confirmed_fen"] for run in said.json["runs"]}
    assert sold["redis-lua"] > 0
