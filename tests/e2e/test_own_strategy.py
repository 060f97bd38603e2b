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

class LosesHolds(RedisLua):
    def confirm(self, bid, hold):
        return False
'''  # fmt: skip


FAULTY = {
    "Raises": "raised in reserve: ValueError: no stock row",
    "Nonsense": "nonsense in reserve",
    "Hangs": "hung in call: no answer within",
    "Spins": "hangs: nothing has moved",
    "CannotOpen": "raised in open: RuntimeError: no table",
    "ReleasesNothing": "neither",
    "LosesHolds": "stayed unsold although",
}


def test_a_faulty_strategy_fails_with_a_finding_and_the_others_go_on(oversold: Call, tmp_path: Path) -> None:
    """Each fails with a finding that says what went wrong, without a traceback, and costs only its own row."""
    (tmp_path / "shop.py").write_text(SHOP)
    names = [*(f"shop.py:{name}" for name in FAULTY), "redis-lua", "none"]
    quick = ["-u", "300", "--set", "hang_s=2", "--set", "patience_s=0", "--set", "late=0"]
    said = oversold("compare", "bid-burst", "-s", ",".join(names), *quick, "--json", timeout=200)
    assert said.code == 1, said.err
    assert "Traceback" not in said.err
    runs = {run["strategy"]: run for run in said.json["runs"]}
    for name, says in FAULTY.items():
        run = runs[f"shop.py:{name}"]
        failed = [finding["detail"] for finding in run["findings"] if finding["verdict"] == "fail"]
        assert run["verdict"] == "fail", name
        assert any(says in detail for detail in failed), (name, failed)
    assert runs["redis-lua"]["verdict"] in {"pass", "inconclusive"}
    assert runs["redis-lua"]["tranche"]["confirmed_fen"] > 0
