"""Documents that the tests of a pipeline's files start from: recorded ones, and the same with a change."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

REPORTS = Path(__file__).parents[3] / "fixtures" / "reports"
HOSTILE = "a|b <script>alert(1)</script> `x` 100 % ]]> & \x00\x1b[31m\ud800\ufffe 中文\n::error::no @all"


@cache
def _recorded(scenario: str) -> str:
    return (REPORTS / scenario / "compare.json").read_text(encoding="utf-8")


def comparison(scenario: str = "bid-burst", *strategies: str) -> dict[str, Any]:
    """Return a recorded comparison; of bids those with 300 users, two seeds each; only named strategies if any."""
    document: dict[str, Any] = json.loads(_recorded(scenario))
    document["runs"] = [
        run
        for run in document["runs"]
        if (scenario != "bid-burst" or run["load"]["users"] == 300)
        and (not strategies or run["strategy"] in strategies)
    ]
    return document


def single(strategy: str = "redis-lua", scenario: str = "bid-burst") -> dict[str, Any]:
    """Return the summary of one run that passed."""
    return dict(comparison(scenario, strategy)["runs"][0])


def changed(document: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """Return a copy of a summary with one number, by the dotted path that leads to it, replaced."""
    copied = copy.deepcopy(document)
    *way, last = place.split(".")
    part = copied
    for key in way:
        part = part[key]
    part[last] = value
    return copied


def broken(document: dict[str, Any], check: str = "oversubscription", verdict: str = "fail") -> dict[str, Any]:
    """Return a copy of a summary in which one check came out so, and the run with it."""
    copied = copy.deepcopy(document)
    detail = f"The check {check} says so."
    for found in copied["findings"]:
        if found["check"] == check:
            found |= {"verdict": verdict, "detail": detail}
    return {**copied, "verdict": verdict, "reasons": [detail]}


def several(*runs: dict[str, Any]) -> dict[str, Any]:
    """Return a comparison of these runs, seeds counted from 1 for those of one strategy."""
    seen: dict[str, int] = {}
    numbered = []
    for run in runs:
        seen[run["strategy"]] = seen.get(run["strategy"], 0) + 1
        numbered.append({**run, "seed": seen[run["strategy"]], "folder": f"{run['strategy']}-{len(numbered)}"})
    return {"schema": "oversold/compare/1", "runs": numbered, "cells": [], "canary": {}, "planned": len(runs)}
